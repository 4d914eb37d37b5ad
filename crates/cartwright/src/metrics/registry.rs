//! The values of metrics, counted by atomics: adding to one takes no lock once its handle is at hand.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::{ALL, Kind, Metric, micros};

/// Values of one histogram that are kept one by one between two collections, at most: as many as one line of CloudWatch's
/// embedded metric format takes.
const MAX_SAMPLES: usize = 100;

/// All values of a process.
pub struct Registry {
    families: [RwLock<Family>; ALL.len()],
    keeps_samples: AtomicBool,
}

/// The values of a metric, by its labels in the form of Prometheus.
type Family = BTreeMap<String, Series>;

/// One value, and what it is of.
pub(super) struct Series {
    labels: Vec<String>,
    pub(super) cell: Cell,
}

pub(super) enum Cell {
    Number(Arc<AtomicU64>),
    Histogram(Arc<Buckets>),
}

/// A count that only grows. Cheap to clone.
#[derive(Clone)]
pub struct Counter(Arc<AtomicU64>);

/// A figure that goes up and down, and is never below zero. Cheap to clone.
#[derive(Clone)]
pub struct Gauge(Arc<AtomicU64>);

/// A distribution. Cheap to clone.
#[derive(Clone)]
pub struct Histogram(Arc<Buckets>);

pub(super) struct Buckets {
    pub(super) bounds: &'static [u64],
    /// How many were within each bound and beyond the one before; the last is beyond all.
    pub(super) counts: Box<[AtomicU64]>,
    pub(super) sum: AtomicU64,
    samples: Option<RwLock<Vec<u64>>>,
}

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// Takes over a count that is kept elsewhere.
    pub fn set(&self, to: u64) {
        self.0.store(to, Ordering::Relaxed);
    }
}

impl Gauge {
    /// The figure is this now.
    pub fn set(&self, to: u64) {
        self.0.store(to, Ordering::Relaxed);
    }

    /// One more.
    pub fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One less; never more often than [`Gauge::increment`].
    pub fn decrement(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Histogram {
    /// Adds a value, in the metric's unit as it is kept.
    pub fn record(&self, value: u64) {
        let Buckets { bounds, counts, sum, samples } = &*self.0;
        let at = bounds.partition_point(|bound| *bound < value);
        counts[at].fetch_add(1, Ordering::Relaxed);
        sum.fetch_add(value, Ordering::Relaxed);
        if let Some(samples) = samples {
            let mut samples = samples.write().unwrap_or_else(PoisonError::into_inner);
            if samples.len() < MAX_SAMPLES {
                samples.push(value);
            }
        }
    }

    /// Adds a duration.
    pub fn time(&self, duration: Duration) {
        self.record(micros(duration));
    }
}

/// What was added to a metric since the last collection, or what a gauge is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Which.
    pub metric: &'static Metric,
    /// The values of its labels, in their order.
    pub labels: Vec<String>,
    /// One value of a counter or a gauge; of a histogram each that was recorded, up to a hundred.
    pub values: Vec<u64>,
}

/// Counters without labels are there from the start, at zero: so a rule over one sees its first step.
impl Default for Registry {
    fn default() -> Self {
        let families = std::array::from_fn(|_| RwLock::default());
        let registry = Registry { families, keeps_samples: AtomicBool::new(false) };
        for metric in ALL.iter().filter(|metric| metric.kind == Kind::Counter && metric.labels.is_empty()) {
            registry.counter(metric, &[]);
        }
        registry
    }
}

impl Registry {
    /// From now on keeps the values of histograms one by one too, for [`Registry::collect`]. For processes that collect
    /// often; the histograms that were asked for before do not.
    pub fn keep_samples(&self) {
        self.keeps_samples.store(true, Ordering::Relaxed);
    }

    /// Whether it does.
    pub fn keeps_samples(&self) -> bool {
        self.keeps_samples.load(Ordering::Relaxed)
    }

    /// A counter, zero at first. `labels` are the values of the metric's labels in their order.
    pub fn counter(&self, metric: &'static Metric, labels: &[&str]) -> Counter {
        Counter(self.number(metric, labels))
    }

    /// A gauge, zero at first.
    pub fn gauge(&self, metric: &'static Metric, labels: &[&str]) -> Gauge {
        Gauge(self.number(metric, labels))
    }

    /// A histogram, empty at first.
    pub fn histogram(&self, metric: &'static Metric, labels: &[&str]) -> Histogram {
        self.series(metric, labels, |series| match &series.cell {
            Cell::Histogram(buckets) => Histogram(Arc::clone(buckets)),
            Cell::Number(_) => unreachable!("{} is made as the table says", metric.name),
        })
    }

    fn number(&self, metric: &'static Metric, labels: &[&str]) -> Arc<AtomicU64> {
        self.series(metric, labels, |series| match &series.cell {
            Cell::Number(number) => Arc::clone(number),
            Cell::Histogram(_) => unreachable!("{} is made as the table says", metric.name),
        })
    }

    /// What `take` takes of a value, which is made if it is not there.
    fn series<T>(&self, metric: &'static Metric, labels: &[&str], take: impl Fn(&Series) -> T) -> T {
        debug_assert_eq!(metric.labels.len(), labels.len(), "{}", metric.name);
        let key = label_text(metric, labels);
        let family = &self.families[metric.place];
        if let Some(series) = family.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return take(series);
        }
        let mut family = family.write().unwrap_or_else(PoisonError::into_inner);
        take(family.entry(key).or_insert_with(|| self.new_series(metric, labels)))
    }

    fn new_series(&self, metric: &Metric, labels: &[&str]) -> Series {
        let cell = match metric.kind {
            Kind::Counter | Kind::Gauge => Cell::Number(Arc::default()),
            Kind::Histogram(bounds) => Cell::Histogram(Arc::new(Buckets {
                bounds,
                counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
                sum: AtomicU64::new(0),
                samples: self.keeps_samples().then(RwLock::default),
            })),
        };
        Series { labels: labels.iter().map(|label| (*label).to_owned()).collect(), cell }
    }

    /// Calls `each` with every metric that has values, and them.
    pub(super) fn for_each(&self, mut each: impl FnMut(&'static Metric, &Family)) {
        for (metric, family) in ALL.iter().zip(&self.families) {
            let family = family.read().unwrap_or_else(PoisonError::into_inner);
            if !family.is_empty() {
                each(metric, &family);
            }
        }
    }

    /// Takes what was added since the last time. Counters and histograms begin again from nothing, gauges stay. Needs
    /// [`Registry::keep_samples`] for histograms.
    pub fn collect(&self) -> Vec<Sample> {
        let mut samples = Vec::new();
        self.for_each(|metric, family| {
            for series in family.values() {
                let values = match &series.cell {
                    Cell::Number(number) if metric.kind == Kind::Gauge => vec![number.load(Ordering::Relaxed)],
                    Cell::Number(number) => {
                        Some(number.swap(0, Ordering::Relaxed)).filter(|added| *added > 0).into_iter().collect()
                    }
                    Cell::Histogram(buckets) => buckets.take_samples(),
                };
                if !values.is_empty() {
                    samples.push(Sample { metric, labels: series.labels.clone(), values });
                }
            }
        });
        samples
    }
}

impl Buckets {
    fn take_samples(&self) -> Vec<u64> {
        let Some(samples) = &self.samples else { return Vec::new() };
        std::mem::take(&mut *samples.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Labels as Prometheus writes them, without their braces.
fn label_text(metric: &Metric, values: &[&str]) -> String {
    let mut text = String::new();
    for (name, value) in metric.labels.iter().zip(values) {
        let comma = if text.is_empty() { "" } else { "," };
        let _ = write!(text, "{comma}{name}=\"");
        for char in value.chars() {
            match char {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                char => text.push(char),
            }
        }
        text.push('"');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::{COMMITS, HTTP_DURATION, HTTP_IN_FLIGHT};
    use super::*;

    #[test]
    fn what_was_added_is_collected_once_and_gauges_stay() {
        let registry = Registry::default();
        registry.keep_samples();
        let commits = registry.counter(COMMITS, &["basket", "committed"]);
        commits.increment();
        registry.counter(COMMITS, &["basket", "committed"]).add(2);
        registry.histogram(HTTP_DURATION, &["/v1/products", "GET"]).record(7);
        registry.gauge(HTTP_IN_FLIGHT, &[]).increment();
        let names_and_values = |samples: Vec<Sample>| {
            samples.into_iter().map(|sample| (sample.metric.name, sample.values)).collect::<Vec<_>>()
        };
        let gauge = (HTTP_IN_FLIGHT.name, vec![1]);
        let first = names_and_values(registry.collect());
        assert_eq!(first, [(HTTP_DURATION.name, vec![7]), gauge.clone(), (COMMITS.name, vec![3])]);
        assert_eq!(names_and_values(registry.collect()), [gauge]);
    }

    #[test]
    fn no_more_samples_are_kept_than_a_line_takes() {
        let registry = Registry::default();
        registry.keep_samples();
        let histogram = registry.histogram(HTTP_DURATION, &["/", "GET"]);
        (0..1000).for_each(|value| histogram.record(value));
        assert_eq!(registry.collect()[0].values.len(), MAX_SAMPLES);
    }
}
