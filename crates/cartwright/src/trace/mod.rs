//! Traces: what came of one request, step by step, wherever it was done.
//!
//! A [`Context`] is the place in a trace that a step belongs to, as W3C Trace Context has it. It comes with a request
//! (`traceparent`), travels in the envelope of each event, and goes from there to the consumer: so an order's confirmation is
//! in the trace of the checkout, however many queues lie between. A [`Span`] is one step. Spans are recorded only where a
//! [`Tracer`] sends them somewhere; the context is carried on in any case.
//!
//! What a task works for is its [`Scope`], which the log reads too. Spans name routes, tables, queues and events, and never
//! tell what is in them.

mod context;
mod span;

use std::sync::Arc;

pub use context::{Context, TRACEPARENT, read_or_none};
pub use span::{Attribute, Finished, Role, Sampling, Sink, Span, Tracer};

/// What a task works for: a request, or a message that came of one.
#[derive(Clone, Default)]
pub struct Scope {
    /// The id of the request all this comes of.
    pub correlation_id: Option<Arc<str>>,
    /// The place in its trace, if it has one.
    pub context: Option<Context>,
    /// Who records spans, if this trace is recorded.
    pub tracer: Option<Tracer>,
}

tokio::task_local! {
    static SCOPE: Scope;
}

impl Scope {
    /// Does `work` within this scope. What it spawns is outside of it.
    pub async fn run<F: Future>(self, work: F) -> F::Output {
        SCOPE.scope(self, work).await
    }
}

/// Reads the scope of this task, if it has one, without a copy of it.
pub fn with_current<T>(read: impl FnOnce(&Scope) -> T) -> Option<T> {
    SCOPE.try_with(read).ok()
}

/// The place in the trace that this task is at.
pub fn current() -> Option<Context> {
    with_current(|scope| scope.context).flatten()
}

/// Whether the steps of what this task works for are recorded.
pub fn is_recorded() -> bool {
    with_current(|scope| scope.tracer.is_some()).unwrap_or(false)
}

/// Begins a step of what this task works for; none where its trace is not recorded.
pub fn span(role: Role, name: impl FnOnce() -> String) -> Option<Span> {
    let (tracer, context) = with_current(|scope| scope.tracer.clone().zip(scope.context)).flatten()?;
    Some(tracer.child(context, role, name()))
}
