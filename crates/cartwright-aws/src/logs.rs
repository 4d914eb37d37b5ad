//! Logs: one JSON object a line on standard output, which CloudWatch Logs takes in.
//!
//! Each line has the members that [`cartwright::logs`] gives it everywhere; and which function said it (`role`, `service`), in
//! which invocation (`requestId`, `xrayTraceId`).

use std::sync::Arc;

use cartwright::logs::{Format, Lines};
use cartwright::system::SystemClock;
use lambda_runtime::Context;
use tracing::Span;
use tracing::field::Empty;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::settings::Role;
use crate::xray;

/// Starts logging. Panics are logged too, one line each.
pub fn start(levels: Targets) {
    let lines = Lines::new(Format::Json, None, Arc::new(SystemClock));
    let lines = tracing_subscriber::fmt::layer().fmt_fields(JsonFields::new()).event_format(lines);
    tracing_subscriber::registry().with(lines.with_writer(std::io::stdout)).with(levels).init();
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a panic")));
}

/// The span of the time before the first invocation.
pub fn init_span(role: &Role) -> Span {
    tracing::error_span!("init", role = role.name(), service = role.part())
}

/// The span of an invocation. `correlationId` is recorded where it is known.
pub fn invocation_span(context: &Context) -> Span {
    let (request_id, header) = (context.request_id.as_str(), context.xray_trace_id.as_deref());
    let root = header.and_then(|header| header.split(';').find_map(|part| part.strip_prefix("Root=")));
    let trace_id = header.and_then(xray::trace_id).map(|id| format!("{id:032x}"));
    tracing::error_span!(
        "invocation",
        requestId = request_id,
        xrayTraceId = root,
        traceId = trace_id,
        correlationId = Empty
    )
}
