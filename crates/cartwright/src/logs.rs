//! The log: a line for each event, as text for people or as JSON for programs.
//!
//! A line says when, how grave, and where in the code; what happened, with its fields; and for which request and in which
//! trace, as far as that is known. In JSON these are `timestamp`, `level`, `target`, `message`, `service`, `correlationId` and
//! `traceId`, whichever home the shop has. What requests and messages contain is never logged, and neither are paths, which may
//! name a customer: a request goes by its route.

use std::fmt::{self, Debug};
use std::sync::Arc;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::app::Clock;
use crate::trace;

/// The form of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Writes lines.
pub struct Lines {
    format: Format,
    service: Option<&'static str>,
    clock: Arc<dyn Clock>,
}

impl Lines {
    /// Lines of this form. `service` is what each says it comes from, unless a span around it says so.
    pub fn new(format: Format, service: Option<&'static str>, clock: Arc<dyn Clock>) -> Self {
        Lines { format, service, clock }
    }

    fn text<S, N>(&self, context: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
        N: for<'a> FormatFields<'a> + 'static,
    {
        let about = event.metadata();
        write!(to, "{} {:>5} {}: ", self.clock.now(), about.level(), about.target())?;
        context.format_fields(to.by_ref(), event)?;
        let (correlation_id, trace_id) = ids();
        if let Some(id) = correlation_id {
            write!(to, " correlationId={id}")?;
        }
        if let Some(id) = trace_id {
            write!(to, " traceId={id}")?;
        }
        writeln!(to)
    }

    fn json<S, N>(&self, context: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
        N: for<'a> FormatFields<'a> + 'static,
    {
        let mut fields = Fields::default();
        fields.0.extend(self.service.map(|service| ("service".to_owned(), service.into())));
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            let formatted = extensions.get::<FormattedFields<N>>();
            let object =
                formatted.and_then(|formatted| serde_json::from_str::<Map<String, Value>>(&formatted.fields).ok());
            fields.0.extend(object.into_iter().flatten());
        }
        let (correlation_id, trace_id) = ids();
        fields.0.extend(correlation_id.map(|id| ("correlationId".to_owned(), Value::from(&*id))));
        fields.0.extend(trace_id.map(|id| ("traceId".to_owned(), id.into())));
        event.record(&mut fields);
        let about = event.metadata();
        let mut put = |name: &str, value: String| fields.0.insert(name.to_owned(), value.into());
        put("timestamp", self.clock.now().to_string());
        put("level", about.level().to_string());
        put("target", about.target().to_owned());
        writeln!(to, "{}", Value::Object(fields.0))
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        match self.format {
            Format::Text => self.text(context, to, event),
            Format::Json => self.json(context, to, event),
        }
    }
}

/// Starts the log of a server on standard error. In JSON, panics are lines of it too.
pub fn start(format: Format, levels: Targets, clock: Arc<dyn Clock>) {
    let service = (format == Format::Json).then_some("cartwright");
    let lines = tracing_subscriber::fmt::layer().event_format(Lines::new(format, service, clock));
    tracing_subscriber::registry().with(lines.with_writer(std::io::stderr)).with(levels).init();
    if format == Format::Json {
        std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a panic")));
    }
}

/// The ids of the request and of the trace that this task works for.
fn ids() -> (Option<Arc<str>>, Option<String>) {
    let ids = trace::with_current(|scope| {
        let trace_id = scope.context.map(|context| format!("{:032x}", context.trace_id));
        (scope.correlation_id.clone().filter(|id| !id.is_empty()), trace_id)
    });
    ids.unwrap_or_default()
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
