//! What is measured: every metric in one table, the same in each home, and the values of this process.
//!
//! [`ALL`] says what there is. A [`Registry`] holds the values; the binary shows them in the text form of Prometheus
//! (`text`), a Lambda function writes what was added during an invocation to its log. Labels are few and bounded: routes as
//! they are listed and never paths as they were sent, so no label tells of a customer.

mod registry;
mod text;

pub use registry::{Counter, Gauge, Histogram, Registry, Sample};
pub use text::{CONTENT_TYPE, shown};

use std::sync::Arc;
use std::time::Duration;

/// What kind of figure a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How values are distributed: how many were at most so large, for each of these bounds, ascending; their number and sum.
    Histogram(&'static [u64]),
}

/// What a metric counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Seconds; kept as microseconds and shown with six decimals.
    Seconds,
    /// Bytes.
    Bytes,
    /// The smallest units of a currency, such as cents.
    MinorUnits,
}

/// A metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What kind of figure it is.
    pub kind: Kind,
    /// What it counts in.
    pub unit: Unit,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says, in a sentence without its full stop.
    pub about: &'static str,
    /// Its place in [`ALL`].
    place: usize,
}

const COUNTER: Kind = Kind::Counter;
const GAUGE: Kind = Kind::Gauge;
/// Bounds of what takes from a tenth of a millisecond to half a minute, in microseconds.
const TIMES: Kind = Kind::Histogram(&[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000,
]);
/// Bounds of how many commits become durable together.
const GROUPS: Kind = Kind::Histogram(&[1, 2, 4, 8, 16, 32, 64, 128, 256]);

macro_rules! metrics {
    ($($id:ident $kind:ident $unit:ident $name:literal [$($label:ident),*] $about:literal;)*) => {
        /// The places of all metrics.
        #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "they are numbers behind the constants")]
        enum Place { $($id,)* }
        $(
            #[doc = $about]
            pub const $id: &Metric = &Metric {
                name: $name,
                kind: $kind,
                unit: Unit::$unit,
                labels: &[$(stringify!($label)),*],
                about: $about,
                place: Place::$id as usize,
            };
        )*
        /// Every metric.
        pub const ALL: &[&Metric] = &[$($id),*];
    };
}

metrics! {
    HTTP_REQUESTS COUNTER Count "cartwright_http_requests_total" [route, method, status]
        "Requests that were answered; status is aborted when the client went away before";
    HTTP_DURATION TIMES Seconds "cartwright_http_request_duration_seconds" [route, method]
        "Time from the head of a request to the head of its answer";
    HTTP_IN_FLIGHT GAUGE Count "cartwright_http_requests_in_flight" []
        "Requests that are at work now";
    HTTP_REFUSALS COUNTER Count "cartwright_http_refusals_total" [code]
        "Requests that were answered with a 429 or a 503, by the code of the problem";
    COMMITS COUNTER Count "cartwright_commits_total" [table, outcome]
        "Commits by what became of them: committed, conflict (another was first; it is tried again), refused, failed";
    COMMIT_DURATION TIMES Seconds "cartwright_commit_duration_seconds" [table]
        "Time from handing a commit in until it is durable or not";
    STORE_GROUP_SIZE GROUPS Count "cartwright_store_group_size" []
        "Commands that became durable together, by one fsync";
    STORE_FSYNC_DURATION TIMES Seconds "cartwright_store_fsync_duration_seconds" []
        "Time to write the end of a group to the log and have the disk confirm it";
    STORE_CACHE_HITS COUNTER Count "cartwright_store_cache_hits_total" []
        "Documents that were found in the cache";
    STORE_CACHE_MISSES COUNTER Count "cartwright_store_cache_misses_total" []
        "Documents that were not";
    STORE_FILE_BYTES GAUGE Bytes "cartwright_store_file_bytes" [file]
        "Size of the database and of its log (wal)";
    STORE_DISK_FREE_BYTES GAUGE Bytes "cartwright_store_disk_free_bytes" []
        "Space that is left on the disk of the data folder";
    STORE_WRITABLE GAUGE Count "cartwright_store_writable" []
        "1 when the store takes commits, 0 when someone has to step in";
    QUEUE_MESSAGES GAUGE Count "cartwright_queue_messages" [queue, state]
        "Messages by state: waiting, in_flight, delayed (failed, and will be received again)";
    QUEUE_OLDEST_AGE GAUGE Seconds "cartwright_queue_oldest_age_seconds" [queue]
        "How long the oldest message has been in its queue";
    QUEUE_DEAD_LETTERS GAUGE Count "cartwright_queue_dead_letters" [queue]
        "Dead letters that nobody has dealt with";
    MESSAGES COUNTER Count "cartwright_messages_total" [queue, outcome]
        "Receives by what became of them: processed, failed (received again later), dead";
    HANDLER_DURATION TIMES Seconds "cartwright_handler_duration_seconds" [queue]
        "Time a consumer worked on a message";
    EVENT_DELAY TIMES Seconds "cartwright_event_delay_seconds" [queue]
        "Time from the commit of an event until its consumer begins, each time it is received";
    EVENTS COUNTER Count "cartwright_events_total" [event]
        "Events that were committed";
    ORDERS COUNTER Count "cartwright_orders_total" [step]
        "Steps that orders took: placed, confirmed, rejected, and the further ones";
    ORDER_VALUE COUNTER MinorUnits "cartwright_order_value_total" [currency]
        "What the placed orders come to";
    SPANS_DROPPED COUNTER Count "cartwright_spans_dropped_total" []
        "Spans of traces that were not exported, because the collector was slow or away";
    START_TIME GAUGE Seconds "cartwright_start_time_seconds" []
        "When this process started, since 1970";
    BUILD_INFO GAUGE Count "cartwright_build_info" [version]
        "Always 1; the label is the version of this build";
}

impl Metric {
    /// The word for its kind, as Prometheus has it.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        }
    }
}

/// What runs the store, as far as it can tell of itself.
pub trait Host: Send + Sync + 'static {
    /// From now on measures into `registry`.
    fn attach(&self, registry: &Arc<Registry>);

    /// Brings those figures up to date that are only worked out when someone asks.
    fn refresh(&self);

    /// Space that is left on the disk; none when that is not known.
    fn disk_free_bytes(&self) -> Option<u64>;
}

/// A duration as metrics in seconds keep it.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        let mut names: Vec<_> = ALL.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        for (place, metric) in ALL.iter().enumerate() {
            let name = metric.name;
            assert_eq!(metric.place, place);
            assert!(name.starts_with("cartwright_"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            assert_eq!(name.contains("_seconds"), metric.unit == Unit::Seconds, "{name}");
            assert_eq!(name.contains("_bytes"), metric.unit == Unit::Bytes, "{name}");
            assert!(!metric.about.ends_with('.'), "{name}");
        }
    }
}
