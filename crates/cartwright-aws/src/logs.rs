//! Logs: one JSON object a line on standard output, which CloudWatch Logs takes in.
//!
//! Each line has `timestamp`, `level`, `message` and `target`; which function said it (`role`, `service`), in which
//! invocation (`requestId`, `traceId`) and on account of which request (`correlationId`), as far as that is known. What
//! requests and messages contain is never logged.

use std::fmt::{self, Debug};

use cartwright::app::Clock;
use cartwright::system::SystemClock;
use lambda_runtime::Context;
use serde_json::{Map, Value};
use tracing::field::{Empty, Field, Visit};
use tracing::{Event, Span, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::settings::Role;

/// Starts logging. Panics are logged too, one line each.
pub fn start(levels: Targets) {
    let lines = tracing_subscriber::fmt::layer().fmt_fields(JsonFields::new()).event_format(Line);
    tracing_subscriber::registry().with(lines.with_writer(std::io::stdout)).with(levels).init();
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a panic")));
}

/// The span of the time before the first invocation.
pub fn init_span(role: &Role) -> Span {
    tracing::error_span!("init", role = role.name(), service = role.part())
}

/// The span of an invocation. `correlationId` is recorded where it is known.
pub fn invocation_span(context: &Context) -> Span {
    let (request_id, trace_id) = (context.request_id.as_str(), context.xray_trace_id.as_deref());
    tracing::error_span!("invocation", requestId = request_id, traceId = trace_id, correlationId = Empty)
}

/// The form of a line: the fields of the event and of all spans it is in, side by side.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            let formatted = extensions.get::<FormattedFields<N>>();
            let object =
                formatted.and_then(|formatted| serde_json::from_str::<Map<String, Value>>(&formatted.fields).ok());
            fields.0.extend(object.into_iter().flatten());
        }
        event.record(&mut fields);
        let mut put = |name: &str, value: String| fields.0.insert(name.to_owned(), value.into());
        put("timestamp", SystemClock.now().to_string());
        put("level", event.metadata().level().to_string());
        put("target", event.metadata().target().to_owned());
        writeln!(writer, "{}", Value::Object(fields.0))
    }
}

/// Fields in their JSON form.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}
