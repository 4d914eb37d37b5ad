//! Metrics of a function: after each invocation, what it added, as lines of the log in CloudWatch's embedded metric format.
//!
//! CloudWatch makes metrics of the lines by itself, under the names they have everywhere and with few dimensions, because it
//! charges for each metric, and every value of a dimension is one. All labels are in the line; Logs Insights finds by them
//! what the metrics do not tell apart.

use std::io::Write;
use std::sync::Arc;

use cartwright::metrics::{
    COMMIT_DURATION, COMMITS, EVENT_DELAY, HANDLER_DURATION, HTTP_DURATION, HTTP_REFUSALS, HTTP_REQUESTS, Kind,
    MESSAGES, Metric, ORDER_VALUE, ORDERS, Registry, Sample, Unit, shown,
};
use serde_json::{Map, Value, json};

/// Where CloudWatch puts the metrics.
pub const NAMESPACE: &str = "Cartwright";

/// The metrics that CloudWatch keeps, and the dimensions it keeps each under: `service`, which is the part of the shop that the
/// function is, or labels. What else is measured here is in the lines only.
pub const KEPT: [(&Metric, &[&str]); 10] = [
    (HTTP_REQUESTS, &["service"]),
    (HTTP_DURATION, &["service"]),
    (HTTP_REFUSALS, &[]),
    (COMMITS, &["outcome"]),
    (COMMIT_DURATION, &[]),
    (MESSAGES, &["queue", "outcome"]),
    (HANDLER_DURATION, &["queue"]),
    (EVENT_DELAY, &["queue"]),
    (ORDERS, &["step"]),
    (ORDER_VALUE, &["currency"]),
];

/// Writes the metrics of a function to its log.
pub struct Emf {
    registry: Arc<Registry>,
    service: &'static str,
}

impl Emf {
    /// For the function that is this part of the shop.
    pub fn new(registry: Arc<Registry>, service: &'static str) -> Self {
        registry.keep_samples();
        Emf { registry, service }
    }

    /// Writes what was added since the last time. `request_id` is that of the invocation.
    pub fn flush(&self, request_id: &str, now_ms: i64) {
        let lines = lines(&self.registry.collect(), self.service, request_id, now_ms);
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        if let Err(error) = std::io::stdout().write_all(text.as_bytes()) {
            tracing::warn!(%error, "metrics could not be written");
        }
    }
}

/// A line that is being put together.
#[derive(Default)]
struct Line {
    members: Map<String, Value>,
    directives: Vec<Value>,
}

/// The lines of these samples: as few as there can be, with one value of each label in each.
pub fn lines(samples: &[Sample], service: &str, request_id: &str, now_ms: i64) -> Vec<Value> {
    let mut lines: Vec<Line> = Vec::new();
    for sample in samples.iter().filter(|sample| sample.metric.kind != Kind::Gauge) {
        let at = lines.iter().position(|line| line.takes(sample)).unwrap_or_else(|| {
            lines.push(Line::default());
            lines.len() - 1
        });
        lines[at].add(sample);
    }
    let finish = |Line { mut members, directives }| {
        members.insert("service".to_owned(), service.into());
        members.insert("requestId".to_owned(), request_id.into());
        members.insert("_aws".to_owned(), json!({"Timestamp": now_ms, "CloudWatchMetrics": directives}));
        Value::Object(members)
    };
    lines.into_iter().map(finish).collect()
}

impl Line {
    fn takes(&self, sample: &Sample) -> bool {
        let mut labels = sample.metric.labels.iter().zip(&sample.labels);
        !self.members.contains_key(sample.metric.name)
            && labels.all(|(name, value)| self.members.get(*name).is_none_or(|other| other == value.as_str()))
    }

    fn add(&mut self, sample: &Sample) {
        let Sample { metric, labels, values } = sample;
        for (name, value) in metric.labels.iter().zip(labels) {
            self.members.insert((*name).to_owned(), value.as_str().into());
        }
        let mut values: Vec<Value> = values.iter().map(|value| number(metric.unit, *value)).collect();
        let value = if values.len() == 1 { values.remove(0) } else { Value::Array(values) };
        self.members.insert(metric.name.to_owned(), value);
        if let Some((_, dimensions)) = KEPT.iter().find(|(kept, _)| kept == metric) {
            let unit = match metric.unit {
                Unit::Count => "Count",
                Unit::Seconds => "Seconds",
                Unit::Bytes => "Bytes",
                Unit::MinorUnits => "None",
            };
            self.directives.push(json!({"Namespace": NAMESPACE, "Dimensions": [dimensions],
                "Metrics": [{"Name": metric.name, "Unit": unit}]}));
        }
    }
}

fn number(unit: Unit, value: u64) -> Value {
    serde_json::from_str(&shown(unit, value)).expect("what is shown of a value is a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(metric: &'static Metric, labels: &[&str], values: &[u64]) -> Sample {
        Sample { metric, labels: labels.iter().map(|label| (*label).to_owned()).collect(), values: values.to_vec() }
    }

    #[test]
    fn what_one_invocation_did_is_one_line_unless_a_label_has_two_values() {
        let samples = [
            sample(HTTP_REQUESTS, &["/v1/baskets/{user}/checkout", "POST", "202"], &[1]),
            sample(HTTP_DURATION, &["/v1/baskets/{user}/checkout", "POST"], &[12_500]),
            sample(COMMITS, &["basket", "conflict"], &[2]),
            sample(COMMITS, &["basket", "committed"], &[1]),
            sample(COMMIT_DURATION, &["basket"], &[900, 1_000_000, 7]),
            sample(ORDER_VALUE, &["USD"], &[2500]),
            sample(cartwright::metrics::HTTP_IN_FLIGHT, &[], &[1]),
        ];
        let lines = lines(&samples, "basket", "r-1", 1_700_000_000_000);
        let directive = |name: &str, dimensions: &[&str], unit: &str| json!({"Namespace": "Cartwright", "Dimensions": [dimensions], "Metrics": [{"Name": name, "Unit": unit}]});
        assert_eq!(lines.len(), 2, "{lines:#?}");
        assert_eq!(
            lines[0],
            json!({
                "service": "basket", "requestId": "r-1", "route": "/v1/baskets/{user}/checkout", "method": "POST",
                "status": "202", "table": "basket", "outcome": "conflict", "currency": "USD",
                "cartwright_http_requests_total": 1, "cartwright_http_request_duration_seconds": 0.0125,
                "cartwright_commits_total": 2, "cartwright_commit_duration_seconds": [0.0009, 1, 0.000007],
                "cartwright_order_value_total": 2500,
                "_aws": {"Timestamp": 1_700_000_000_000_i64, "CloudWatchMetrics": [
                    directive("cartwright_http_requests_total", &["service"], "Count"),
                    directive("cartwright_http_request_duration_seconds", &["service"], "Seconds"),
                    directive("cartwright_commits_total", &["outcome"], "Count"),
                    directive("cartwright_commit_duration_seconds", &[], "Seconds"),
                    directive("cartwright_order_value_total", &["currency"], "None"),
                ]},
            })
        );
        assert_eq!((&lines[1]["outcome"], &lines[1]["cartwright_commits_total"]), (&json!("committed"), &json!(1)));
    }

    #[test]
    fn dimensions_are_labels_that_the_metric_has() {
        for (metric, dimensions) in KEPT {
            for dimension in dimensions {
                assert!(*dimension == "service" || metric.labels.contains(dimension), "{}: {dimension}", metric.name);
            }
        }
    }
}
