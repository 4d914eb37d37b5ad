//! Spans, and who records them.

use std::sync::Arc;

use jiff::Timestamp;

use super::Context;
use crate::app::{Clock, Ids};

/// What a step is to the one it comes of, in the words of OpenTelemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It answers a request.
    Server,
    /// It emits events.
    Producer,
    /// It processes a message.
    Consumer,
    /// It asks another service and waits for it.
    Client,
}

/// What is told of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Attribute::Text(text.to_owned())
    }
}

impl From<i64> for Attribute {
    fn from(number: i64) -> Self {
        Attribute::Number(number)
    }
}

/// A step that is done.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The step itself.
    pub context: Context,
    /// What it came of, if that is not the beginning.
    pub parent: Option<u64>,
    /// What it is to that.
    pub role: Role,
    /// What it did: a route, a table, a queue.
    pub name: String,
    /// When it began.
    pub began: Timestamp,
    /// When it was done.
    pub ended: Timestamp,
    /// What is told of it, by the names of OpenTelemetry's semantic conventions where it has some.
    pub attributes: Vec<(&'static str, Attribute)>,
    /// The code of the error it ended with.
    pub error: Option<String>,
}

/// Where finished spans go. It must not wait: whoever finishes one has other things to do.
pub trait Sink: Send + Sync + 'static {
    /// Takes a span, or drops it.
    fn take(&self, span: Finished);
}

/// Which traces are recorded that begin here: so many of a million. Others are recorded if whoever began them does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling(u32);

impl Sampling {
    /// Every trace.
    pub const ALL: Sampling = Sampling(1_000_000);
    /// None but those that others began.
    pub const OTHERS: Sampling = Sampling(0);

    fn takes(self, trace_id: u128) -> bool {
        (trace_id % 1_000_000) < u128::from(self.0)
    }
}

/// A part of one in decimals, such as `1`, `0.25` or `0`; of the decimals the first six count.
impl std::str::FromStr for Sampling {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = "must be a part of one in decimals, such as 0.25";
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(whole) || !is_digits(decimals) {
            return Err(bad);
        }
        let millionths: u32 = format!("{decimals:0<6}")[..6].parse().map_err(|_| bad)?;
        match (whole.trim_start_matches('0'), millionths) {
            ("", part) => Ok(Sampling(part)),
            ("1", 0) => Ok(Sampling::ALL),
            _ => Err(bad),
        }
    }
}

/// Records spans. Cheap to clone.
#[derive(Clone)]
pub struct Tracer(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    sampling: Sampling,
    sink: Box<dyn Sink>,
}

/// A step at work. Dropped before it is [done](Span::done), it was given up.
pub struct Span {
    tracer: Tracer,
    /// None once it is done.
    span: Option<Finished>,
}

impl Tracer {
    /// A tracer that sends what is recorded to `sink`.
    pub fn new(clock: Arc<dyn Clock>, ids: Arc<dyn Ids>, sampling: Sampling, sink: Box<dyn Sink>) -> Self {
        Tracer(Arc::new(Inner { clock, ids, sampling, sink }))
    }

    /// The context of what begins here: a trace of its own if there is no `parent`. The span is none if the trace is not
    /// recorded.
    pub fn begin(&self, parent: Option<Context>, role: Role, name: impl FnOnce() -> String) -> (Context, Option<Span>) {
        match parent {
            Some(parent) if !parent.is_sampled => (parent, None),
            Some(parent) => {
                let span = self.child(parent, role, name());
                (span.context(), Some(span))
            }
            None => {
                let mut bytes = [0; 16];
                self.0.ids.fill(&mut bytes);
                // X-Ray wants the time in the first half of it, and nobody else minds.
                let seconds = u128::from(u32::try_from(self.0.clock.now().as_second()).unwrap_or(0));
                let trace_id = (seconds << 96) | (u128::from_be_bytes(bytes) >> 32) | 1;
                let is_sampled = self.0.sampling.takes(trace_id >> 1);
                let context = Context { trace_id, span_id: self.new_id(), is_sampled };
                (context, is_sampled.then(|| self.start(context, None, role, name())))
            }
        }
    }

    /// A step that comes of `parent`, which is recorded.
    pub(super) fn child(&self, parent: Context, role: Role, name: String) -> Span {
        self.start(Context { span_id: self.new_id(), ..parent }, Some(parent.span_id), role, name)
    }

    fn start(&self, context: Context, parent: Option<u64>, role: Role, name: String) -> Span {
        let began = self.0.clock.now();
        let attributes = Vec::new();
        let span = Finished { context, parent, role, name, began, ended: began, attributes, error: None };
        Span { tracer: self.clone(), span: Some(span) }
    }

    fn new_id(&self) -> u64 {
        self.0.ids.random().max(1)
    }
}

impl Span {
    /// The span, as those see it that come of it.
    pub fn context(&self) -> Context {
        self.span.as_ref().expect("a span is there until it is done").context
    }

    /// Tells something of it.
    pub fn set(&mut self, name: &'static str, value: impl Into<Attribute>) {
        if let Some(span) = &mut self.span {
            span.attributes.push((name, value.into()));
        }
    }

    /// It is done, with the code of an error if it failed.
    pub fn done(mut self, error: Option<&str>) {
        self.finish(error);
    }

    fn finish(&mut self, error: Option<&str>) {
        if let Some(mut span) = self.span.take() {
            span.ended = self.tracer.0.clock.now();
            span.error = error.map(str::to_owned);
            self.tracer.0.sink.take(span);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.finish(Some("given_up"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_traces_is_written_in_decimals() {
        for (text, millionths) in [("0", 0), ("1", 1_000_000), ("1.0", 1_000_000), ("0.25", 250_000), ("0.0000019", 1)]
        {
            assert_eq!(text.parse(), Ok(Sampling(millionths)), "{text}");
        }
        for bad in ["", ".5", "1.5", "2", "-1", "half", "1e-3", "0.", "0.é"] {
            assert!(bad.parse::<Sampling>().is_err(), "{bad}");
        }
        assert!(Sampling::ALL.takes(999_999) && !Sampling::OTHERS.takes(0) && !Sampling(5).takes(5));
    }
}
