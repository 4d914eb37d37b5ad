//! What those ask who watch over the process: is it alive, is it ready, how is it doing.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Serialize;

use crate::app::App;
use crate::error::{Error, Result};
use crate::events::Queue;
use crate::metrics::{self, QUEUE_DEAD_LETTERS, QUEUE_MESSAGES, QUEUE_OLDEST_AGE};
use crate::queues::ops::statistics;

/// Space that must be left on the disk for the shop to be ready: what some minutes of its busiest hour may need.
pub const MIN_DISK_FREE_BYTES: u64 = 64 * 1024 * 1024;

/// How one thing is that readiness depends on.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Messages that nobody could process. They do not keep the shop from serving.
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letters: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    free_bytes: Option<u64>,
}

/// Whether the shop is ready, and why not.
#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    store: Check,
    queues: Check,
    disk: Check,
}

impl Check {
    fn of(reason: Option<String>) -> Self {
        let status = if reason.is_none() { "ok" } else { "failed" };
        Check { status, reason, dead_letters: None, free_bytes: None }
    }
}

/// Ready to serve: the listener opens only when the store is open and the queues are loaded, and the store can take
/// commits. A store that cannot is a 503, so that whoever watches restarts the server.
pub(crate) async fn health(State(app): State<App>) -> Result<impl IntoResponse> {
    app.store.health()?;
    Ok(([(CONTENT_TYPE, "application/json")], r#"{"status":"ok"}"#))
}

/// Alive: the process answers. Nothing else is looked at, because a restart would mend nothing else.
pub(crate) async fn live() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], r#"{"status":"ok"}"#)
}

/// Ready for requests: the store takes commits, the queues can be read, the disk has room. 503 with the reasons otherwise; figures
/// and reasons are for staff.
pub(crate) async fn ready(app: App) -> Response {
    let store = Check::of(app.store.health().err().map(|error| error.to_string()));
    let mut queues = Check::of(None);
    // Elsewhere the queues are not this process's affair.
    let own = if app.telemetry.host.get().is_some() { &Queue::ALL[..] } else { &[] };
    for &queue in own {
        match statistics(&app, queue).await {
            Ok((figures, _)) => *queues.dead_letters.get_or_insert(0) += figures.dead,
            Err(error) => queues = Check::of(Some(format!("{} cannot be read: {error}", queue.name()))),
        }
    }
    let free_bytes = app.telemetry.host.get().and_then(|host| host.disk_free_bytes());
    let is_full = free_bytes.is_some_and(|bytes| bytes < MIN_DISK_FREE_BYTES);
    let full = || format!("less than {} MB are left on the disk of the data folder", MIN_DISK_FREE_BYTES >> 20);
    let disk = Check { free_bytes, ..Check::of(is_full.then(full)) };
    let is_ready = [&store, &queues, &disk].iter().all(|check| check.reason.is_none());
    let (code, status) =
        if is_ready { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
    let readiness = Readiness { status, store, queues, disk };
    let json = match app.principal().is_staff() {
        true => serde_json::to_string(&readiness).expect("texts and numbers have a JSON form"),
        false => serde_json::json!({"status": status}).to_string(),
    };
    (code, [(CONTENT_TYPE, "application/json")], json).into_response()
}

/// Every metric, in the text form of Prometheus. Where the metrics of a process are collected otherwise, there is nothing here.
pub(crate) async fn metrics(State(app): State<App>) -> Result<Response> {
    if app.telemetry.metrics.keeps_samples() {
        return Err(Error::not_found("route_not_found", "metrics here; they are in the log"));
    }
    if let Some(host) = app.telemetry.host.get() {
        host.refresh();
    }
    for queue in Queue::ALL {
        let (figures, oldest_age_ms) = statistics(&app, queue).await?;
        let states = [("waiting", figures.waiting), ("in_flight", figures.in_flight), ("delayed", figures.delayed)];
        for (state, count) in states {
            app.telemetry.metrics.gauge(QUEUE_MESSAGES, &[queue.name(), state]).set(count);
        }
        app.telemetry.metrics.gauge(QUEUE_DEAD_LETTERS, &[queue.name()]).set(figures.dead);
        let age_micros = u64::try_from(oldest_age_ms.unwrap_or(0)).unwrap_or(0) * 1000;
        app.telemetry.metrics.gauge(QUEUE_OLDEST_AGE, &[queue.name()]).set(age_micros);
    }
    Ok(([(CONTENT_TYPE, metrics::CONTENT_TYPE)], app.telemetry.metrics.text()).into_response())
}
