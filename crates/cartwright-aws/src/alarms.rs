//! When operators are called: one table for both homes.
//!
//! The rules of Prometheus (`deploy/prometheus-rules.yaml`) are made of it, and the alarms of `deploy/template.yaml` and the
//! table in `docs/operations.md` are checked against it, so that the homes call for the same reasons and at the same limits.

use std::fmt::Write;

/// One reason to call someone.
#[derive(Debug, Clone, Copy)]
pub struct Alarm {
    /// Its name, in Prometheus.
    pub name: &'static str,
    /// What is wrong, as a sentence without its full stop.
    pub says: &'static str,
    /// Beyond what it rings, in the unit of the metric: the same in both homes.
    pub limit: &'static str,
    /// How urgent it is: `page` for now, `ticket` for today.
    pub severity: &'static str,
    /// What Prometheus looks at, with `LIMIT` for the limit, and for how long it must be so; none where it cannot happen.
    pub prometheus: Option<(&'static str, &'static str)>,
    /// The alarms of CloudWatch that say so.
    pub cloudwatch: &'static [CloudWatch],
}

/// Alarms of CloudWatch: all whose name ends in this.
#[derive(Debug, Clone, Copy)]
pub struct CloudWatch {
    /// The end of their names in the template.
    pub ends_in: &'static str,
    /// The metric they are on.
    pub metric: &'static str,
    /// The limit as CloudWatch has it: in its unit.
    pub threshold: &'static str,
}

const fn on(ends_in: &'static str, metric: &'static str, threshold: &'static str) -> CloudWatch {
    CloudWatch { ends_in, metric, threshold }
}

/// Every alarm, in the order of their urgency.
pub const ALARMS: [Alarm; 17] = [
    Alarm {
        name: "CartwrightDown",
        says: "The shop does not run, or crashed",
        limit: "0",
        severity: "page",
        prometheus: Some(("absent(cartwright_build_info) > LIMIT", "2m")),
        cloudwatch: &[on("Errors", "Errors", "0")],
    },
    Alarm {
        name: "CartwrightStoreFails",
        says: "The store takes no commits, or fails at requests",
        limit: "0",
        severity: "page",
        prometheus: Some(("(1 - cartwright_store_writable) > LIMIT", "1m")),
        cloudwatch: &[on("Errors", "SystemErrors", "0")],
    },
    Alarm {
        name: "CartwrightRequestsFail",
        says: "1 of 100 requests fails on our side",
        limit: "0.01",
        severity: "page",
        prometheus: Some((
            "sum(rate(cartwright_http_requests_total{status=~\"5..\"}[5m])) / sum(rate(cartwright_http_requests_total[5m])) > LIMIT",
            "5m",
        )),
        cloudwatch: &[on("ApiErrors", "5XXError", "0.01")],
    },
    Alarm {
        name: "CartwrightRequestsSlow",
        says: "1 of 100 requests takes more than two seconds",
        limit: "2",
        severity: "page",
        prometheus: Some((
            "histogram_quantile(0.99, sum by (le) (rate(cartwright_http_request_duration_seconds_bucket[5m]))) > LIMIT",
            "10m",
        )),
        cloudwatch: &[on("ApiSlow", "Latency", "2000")],
    },
    Alarm {
        name: "CartwrightRefusing",
        says: "Requests are refused because there are too many of all, or the tables or functions give no more",
        limit: "0",
        severity: "page",
        prometheus: Some((
            "sum(rate(cartwright_http_refusals_total{code=~\"overloaded|queues_full|too_many_connections|too_many_streams\"}[5m])) > LIMIT",
            "5m",
        )),
        cloudwatch: &[
            on("Throttles", "Throttles", "0"),
            on("ReadsThrottled", "ReadThrottleEvents", "0"),
            on("WritesThrottled", "WriteThrottleEvents", "0"),
        ],
    },
    Alarm {
        name: "CartwrightMessageOld",
        says: "A message has been waiting for more than five minutes",
        limit: "300",
        severity: "page",
        prometheus: Some((
            "max by (queue) (cartwright_queue_oldest_age_seconds{queue!~\"EmailQueue|WebhookQueue\"}) > LIMIT",
            "3m",
        )),
        cloudwatch: &[on("Old", "ApproximateAgeOfOldestMessage", "300")],
    },
    Alarm {
        name: "CartwrightMailOld",
        says: "An e-mail has been waiting for more than twelve hours",
        limit: "43200",
        severity: "ticket",
        prometheus: Some(("max by (queue) (cartwright_queue_oldest_age_seconds{queue=\"EmailQueue\"}) > LIMIT", "3m")),
        cloudwatch: &[on("EmailQueueOld", "ApproximateAgeOfOldestMessage", "43200")],
    },
    Alarm {
        name: "CartwrightWebhookOld",
        says: "A webhook has been waiting for more than two days",
        limit: "172800",
        severity: "ticket",
        prometheus: Some((
            "max by (queue) (cartwright_queue_oldest_age_seconds{queue=\"WebhookQueue\"}) > LIMIT",
            "3m",
        )),
        cloudwatch: &[on("WebhookQueueOld", "ApproximateAgeOfOldestMessage", "172800")],
    },
    Alarm {
        name: "CartwrightDeadLetter",
        says: "A message could not be processed",
        limit: "0",
        severity: "ticket",
        prometheus: Some(("max by (queue) (cartwright_queue_dead_letters) > LIMIT", "0m")),
        cloudwatch: &[on("DeadLetter", "NumberOfMessagesReceived", "0")],
    },
    Alarm {
        name: "CartwrightConsumerSlow",
        says: "1 of 100 messages, or runs of a function, takes more than five seconds",
        limit: "5",
        severity: "ticket",
        prometheus: Some((
            "histogram_quantile(0.99, sum by (le, queue) (rate(cartwright_handler_duration_seconds_bucket[5m]))) > LIMIT",
            "15m",
        )),
        cloudwatch: &[on("Slow", "Duration", "5000")],
    },
    Alarm {
        name: "CartwrightDiskFull",
        says: "Less than 1 GB is left on the disk of the data folder",
        limit: "1073741824",
        severity: "page",
        prometheus: Some(("cartwright_store_disk_free_bytes < LIMIT", "5m")),
        cloudwatch: &[],
    },
    Alarm {
        name: "CartwrightDiskSlow",
        says: "1 of 100 writes takes the disk more than a second",
        limit: "1",
        severity: "ticket",
        prometheus: Some((
            "histogram_quantile(0.99, sum by (le) (rate(cartwright_store_fsync_duration_seconds_bucket[5m]))) > LIMIT",
            "10m",
        )),
        cloudwatch: &[],
    },
    Alarm {
        name: "CartwrightDeadLetterLost",
        says: "A dead letter cannot be recorded",
        limit: "900",
        severity: "page",
        prometheus: None,
        cloudwatch: &[on("DeadLetterOld", "ApproximateAgeOfOldestMessage", "900")],
    },
    Alarm {
        name: "CartwrightEventLost",
        says: "An event did not get where it should",
        limit: "0",
        severity: "page",
        prometheus: None,
        cloudwatch: &[on("Some", "ApproximateNumberOfMessagesVisible", "0")],
    },
    Alarm {
        name: "CartwrightEventsStay",
        says: "Events do not leave the tables",
        limit: "0",
        severity: "page",
        prometheus: None,
        cloudwatch: &[on("PipeFails", "ExecutionFailed", "0"), on("RelayBehind", "IteratorAge", "60000")],
    },
    Alarm {
        name: "CartwrightSocketsFail",
        says: "What was said on WebSockets could not be answered",
        limit: "0",
        severity: "page",
        prometheus: None,
        cloudwatch: &[on("SocketErrors", "IntegrationError", "0")],
    },
    Alarm {
        name: "CartwrightNoOrders",
        says: "Nobody has checked out for longer than the operator says there can be",
        limit: "1",
        severity: "page",
        prometheus: None,
        cloudwatch: &[on("NoOrders", "NumberOfMessagesSent", "1")],
    },
];

/// The alarm that one of CloudWatch on this metric belongs to: that with the longest ending.
pub fn of_cloudwatch(name: &str, metric: &str) -> Option<(&'static Alarm, CloudWatch)> {
    let all = ALARMS.iter().flat_map(|alarm| alarm.cloudwatch.iter().map(move |cloudwatch| (alarm, *cloudwatch)));
    all.filter(|(_, cloudwatch)| name.ends_with(cloudwatch.ends_in) && metric == cloudwatch.metric)
        .max_by_key(|(_, cloudwatch)| cloudwatch.ends_in.len())
}

/// The rules as Prometheus reads them.
pub fn prometheus_rules() -> String {
    let mut text = String::from(
        "# When operators are called, on one machine. Made of the table in crates/cartwright-aws/src/alarms.rs, which has the\n\
         # alarms of AWS too; docs/operations.md says what to do about each.\n\
         groups:\n  - name: cartwright\n    rules:\n",
    );
    for Alarm { name, says, limit, severity, prometheus, .. } in ALARMS {
        let Some((expression, lasts)) = prometheus else { continue };
        let expression = expression.replace("LIMIT", limit);
        let _ = write!(
            text,
            "      - alert: {name}\n        expr: '{expression}'\n        for: {lasts}\n        labels:\n          \
             severity: {severity}\n        annotations:\n          summary: {says}\n"
        );
    }
    text
}
