//! All values in the text form of Prometheus (version 0.0.4), which every collector reads.

use std::fmt::{self, Write};
use std::sync::atomic::Ordering;

use super::registry::{Buckets, Cell};
use super::{Metric, Registry, Unit};

/// The media type of that form.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Microseconds in a second.
const MICROS: u64 = 1_000_000;

impl Registry {
    /// Every metric that has values.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.for_each(|metric, family| {
            let _ = writeln!(text, "# HELP {} {}", metric.name, metric.about);
            let _ = writeln!(text, "# TYPE {} {}", metric.name, metric.kind_name());
            for (labels, series) in family {
                let _ = match &series.cell {
                    Cell::Number(number) => {
                        let value = Shown(metric.unit, number.load(Ordering::Relaxed));
                        let open = if labels.is_empty() { "" } else { "{" };
                        let close = if labels.is_empty() { "" } else { "}" };
                        writeln!(text, "{}{open}{labels}{close} {value}", metric.name)
                    }
                    Cell::Histogram(buckets) => write_histogram(&mut text, metric, labels, buckets),
                };
            }
        });
        text
    }
}

fn write_histogram(text: &mut String, metric: &Metric, labels: &str, buckets: &Buckets) -> fmt::Result {
    let name = metric.name;
    let comma = if labels.is_empty() { "" } else { "," };
    let mut count = 0;
    for (at, within) in buckets.counts.iter().enumerate() {
        count += within.load(Ordering::Relaxed);
        match buckets.bounds.get(at) {
            Some(bound) => {
                writeln!(text, "{name}_bucket{{{labels}{comma}le=\"{}\"}} {count}", Shown(metric.unit, *bound))?;
            }
            None => writeln!(text, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}")?,
        }
    }
    let (open, close) = if labels.is_empty() { ("", "") } else { ("{", "}") };
    let sum = Shown(metric.unit, buckets.sum.load(Ordering::Relaxed));
    writeln!(text, "{name}_sum{open}{labels}{close} {sum}\n{name}_count{open}{labels}{close} {count}")
}

/// A value of this unit as it is shown, in decimal digits.
pub fn shown(unit: Unit, value: u64) -> String {
    Shown(unit, value).to_string()
}

/// A value as it is shown: seconds with their decimals, without a float in between.
struct Shown(Unit, u64);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown(unit, value) = *self;
        if unit != Unit::Seconds || value == 0 {
            return write!(f, "{value}");
        }
        let (whole, rest) = (value / MICROS, value % MICROS);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let decimals = format!("{rest:06}");
        write!(f, "{whole}.{}", decimals.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{COMMITS, HTTP_DURATION, HTTP_IN_FLIGHT, START_TIME};
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let registry = Registry::default();
        registry.counter(COMMITS, &["a\"b\\c\nd", "committed"]).add(3);
        registry.gauge(HTTP_IN_FLIGHT, &[]).set(2);
        registry.gauge(START_TIME, &[]).set(1_700_000_000_250_000);
        let times = registry.histogram(HTTP_DURATION, &["/v1/products/{id}", "GET"]);
        [100, 101, 250, 40_000_000].into_iter().for_each(|value| times.record(value));
        let text = registry.text();
        for line in [
            "# TYPE cartwright_commits_total counter",
            r#"cartwright_commits_total{table="a\"b\\c\nd",outcome="committed"} 3"#,
            "# HELP cartwright_http_requests_in_flight Requests that are at work now",
            "cartwright_http_requests_in_flight 2",
            "cartwright_start_time_seconds 1700000000.25",
            r#"cartwright_http_request_duration_seconds_bucket{route="/v1/products/{id}",method="GET",le="0.0001"} 1"#,
            r#"cartwright_http_request_duration_seconds_bucket{route="/v1/products/{id}",method="GET",le="0.00025"} 3"#,
            r#"cartwright_http_request_duration_seconds_bucket{route="/v1/products/{id}",method="GET",le="30"} 3"#,
            r#"cartwright_http_request_duration_seconds_bucket{route="/v1/products/{id}",method="GET",le="+Inf"} 4"#,
            r#"cartwright_http_request_duration_seconds_sum{route="/v1/products/{id}",method="GET"} 40.000451"#,
            r#"cartwright_http_request_duration_seconds_count{route="/v1/products/{id}",method="GET"} 4"#,
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
    }
}
