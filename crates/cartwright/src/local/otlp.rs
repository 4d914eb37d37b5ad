//! Spans to a collector: OTLP over HTTP, in its JSON form.
//!
//! Finished spans wait in memory, up to a bound, and go out in batches; a batch that the collector does not take is sent again a
//! few times. Nobody who finishes a span waits for any of it: what does not fit is dropped and counted.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::metrics::{Counter, Registry, SPANS_DROPPED};
use crate::outbound::{Call, Outbound, Reach};
use crate::trace::{Attribute, Finished, Role, Sink};

/// Finished spans that wait; more are dropped.
const MAX_WAITING: usize = 8192;
/// Most spans of one request.
const MAX_BATCH: usize = 512;
/// How long a batch waits for more spans.
const BATCH_PAUSE: Duration = Duration::from_millis(500);
/// Longest wait for the collector's answer.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a batch is sent before it is dropped, and the pause before it is sent again, which grows.
const MAX_ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// How long the last spans have, when the process ends.
const LAST_MOMENT: Duration = Duration::from_secs(3);
/// Largest answer that is read: it says what of a batch was not taken, which nobody acts on.
const MAX_ANSWER_BYTES: usize = 4096;
/// The path of traces under the URL of a collector.
const PATH: &str = "/v1/traces";

/// Where spans go, and how this process is called there.
#[derive(Debug, Clone)]
pub struct Collector {
    /// The collector's URL, without the path of traces.
    pub url: String,
    /// What is sent along with each request, such as a key.
    pub headers: HeaderMap,
    /// The name of this service.
    pub service: String,
}

/// The way of spans into the queue.
struct Inlet {
    spans: mpsc::Sender<Finished>,
    dropped: Counter,
}

impl Sink for Inlet {
    fn take(&self, span: Finished) {
        if self.spans.try_send(span).is_err() {
            self.dropped.increment();
        }
    }
}

/// A running export.
pub struct Export {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Export {
    /// Starts exporting. What is given to the sink goes to `collector`.
    pub fn start(collector: Collector, metrics: &Arc<Registry>) -> (Self, Box<dyn Sink>) {
        let (spans, waiting) = mpsc::channel(MAX_WAITING);
        let dropped = metrics.counter(SPANS_DROPPED, &[]);
        let (stop, stopped) = watch::channel(false);
        let sender = Sender { collector, client: Outbound::default(), dropped: dropped.clone(), is_away: false };
        let task = tokio::spawn(sender.run(waiting, stopped));
        (Export { stop, task }, Box::new(Inlet { spans, dropped }))
    }

    /// Sends what waits, as far as there is time, and ends.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let _ = timeout(LAST_MOMENT, self.task).await;
    }
}

struct Sender {
    collector: Collector,
    client: Outbound,
    dropped: Counter,
    /// Whether the last batch was not taken.
    is_away: bool,
}

impl Sender {
    async fn run(mut self, mut waiting: mpsc::Receiver<Finished>, mut stopped: watch::Receiver<bool>) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        loop {
            let is_last = tokio::select! {
                count = waiting.recv_many(&mut batch, MAX_BATCH) => count == 0,
                _ = stopped.wait_for(|stop| *stop) => true,
            };
            if is_last {
                waiting.close();
            }
            self.fill(&mut batch, &mut waiting, &mut stopped).await;
            if batch.is_empty() {
                return;
            }
            self.send(&batch).await;
            batch.clear();
        }
    }

    /// Waits a moment for more spans of a batch; not when the process ends.
    async fn fill(
        &self,
        batch: &mut Vec<Finished>,
        waiting: &mut mpsc::Receiver<Finished>,
        stopped: &mut watch::Receiver<bool>,
    ) {
        let more =
            async { while batch.len() < MAX_BATCH && waiting.recv_many(batch, MAX_BATCH - batch.len()).await > 0 {} };
        tokio::select! {
            _ = timeout(BATCH_PAUSE, more) => {}
            _ = stopped.wait_for(|stop| *stop) => {}
        }
        while batch.len() < MAX_BATCH
            && let Ok(span) = waiting.try_recv()
        {
            batch.push(span);
        }
    }

    async fn send(&mut self, batch: &[Finished]) {
        let body = Bytes::from(request(batch, &self.collector.service).to_string());
        let mut why = String::new();
        for attempt in 0..MAX_ATTEMPTS {
            if attempt > 0 {
                sleep(FIRST_PAUSE * 2_u32.pow(attempt - 1)).await;
            }
            match self.post(body.clone()).await {
                Ok(status) if status.is_success() => {
                    if std::mem::take(&mut self.is_away) {
                        tracing::info!("the collector takes spans again");
                    }
                    return;
                }
                Ok(status) => {
                    why = format!("status {status}");
                    if !may_change(status) {
                        break;
                    }
                }
                Err(error) => why = error,
            }
        }
        self.dropped.add(batch.len() as u64);
        if !std::mem::replace(&mut self.is_away, true) {
            tracing::warn!(why, spans = batch.len(), "the collector does not take spans; they are dropped");
        }
    }

    async fn post(&self, body: Bytes) -> Result<StatusCode, String> {
        let mut headers = self.collector.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let url = format!("{}{PATH}", self.collector.url.trim_end_matches('/'));
        let call = Call {
            method: Method::POST,
            url: &url,
            headers,
            body,
            timeout: SEND_TIMEOUT,
            max_answer_bytes: MAX_ANSWER_BYTES,
            reach: Reach::Anywhere,
        };
        self.client.send(call).await.map(|answer| answer.status).map_err(|failure| failure.to_string())
    }
}

/// Whether a collector that answers so may take the same batch later, as the protocol says.
fn may_change(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// The body of a request, an `ExportTraceServiceRequest`.
fn request(batch: &[Finished], service: &str) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    json!({"resourceSpans": [{
        "resource": {"attributes": [text("service.name", service), text("service.version", version)]},
        "scopeSpans": [{
            "scope": {"name": "cartwright", "version": version},
            "spans": batch.iter().map(span).collect::<Vec<_>>(),
        }],
    }]})
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn span(span: &Finished) -> Value {
    let kind = match span.role {
        Role::Server => 2,
        Role::Client => 3,
        Role::Producer => 4,
        Role::Consumer => 5,
    };
    let attributes: Vec<Value> = span
        .attributes
        .iter()
        .map(|(key, value)| match value {
            Attribute::Text(value) => text(key, value),
            Attribute::Number(value) => json!({"key": key, "value": {"intValue": value.to_string()}}),
        })
        .collect();
    let mut json = json!({
        "traceId": format!("{:032x}", span.context.trace_id),
        "spanId": format!("{:016x}", span.context.span_id),
        "name": span.name,
        "kind": kind,
        "startTimeUnixNano": span.began.as_nanosecond().to_string(),
        "endTimeUnixNano": span.ended.as_nanosecond().to_string(),
        "attributes": attributes,
    });
    if let Some(parent) = span.parent {
        json["parentSpanId"] = format!("{parent:016x}").into();
    }
    if let Some(error) = &span.error {
        json["status"] = json!({"code": 2, "message": error});
    }
    json
}
