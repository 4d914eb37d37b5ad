//! One attempt at a message, and what becomes of it: the same wherever messages are delivered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Instrument;

use crate::app::App;
use crate::error::{Error, Fate, Kind, Result};
use crate::events::{Envelope, Queue, handle};
use crate::metrics::{EVENT_DELAY, HANDLER_DURATION, MESSAGES};
use crate::rest::panic_text;
use crate::trace::{Role, Scope, Span};

/// Receives after which a message is dead.
pub const MAX_RECEIVES: u32 = 6;
/// Pause after the first receive in vain; four times as long after each further one.
pub const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause. All of them come to one to two minutes: long enough for a restart or a full disk, short enough to be
/// noticed.
pub const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Has the consumer of `queue` process a message, or what is wrong with it when it is none. A consumer that panics, or
/// takes longer than `time_limit`, has failed; it is cut off where it waits.
///
/// # Errors
/// `unreadable_message`, which cannot be mended by trying again; `handler_timeout`; those of [`handle`].
pub async fn attempt(
    app: &App,
    queue: Queue,
    message: Result<Arc<Envelope>, String>,
    time_limit: Duration,
) -> Result<()> {
    let envelope = message.map_err(|why| {
        Error::new(Kind::Unprocessable, "unreadable_message", format!("The message is unreadable: {why}"))
    })?;
    let delay_ms = app.clock.now().as_millisecond() - envelope.time.as_millisecond();
    app.telemetry.metrics.histogram(EVENT_DELAY, &[queue.name()]).record(u64::try_from(delay_ms).unwrap_or(0) * 1000);
    let (scope, span) = begin(app, queue, &envelope, delay_ms);
    let began = Instant::now();
    let result = run(app, queue, envelope, time_limit, scope).await;
    if let Some(span) = span {
        span.done(result.as_ref().err().map(Error::code));
    }
    app.telemetry.metrics.histogram(HANDLER_DURATION, &[queue.name()]).time(began.elapsed());
    result
}

/// What the consumer of a message works for, and its step in the trace of the event if that is recorded.
fn begin(app: &App, queue: Queue, envelope: &Envelope, delay_ms: i64) -> (Scope, Option<Span>) {
    let correlation_id = Some(Arc::from(envelope.correlation_id.as_str()));
    let name = || format!("{} {}", queue.name(), envelope.detail_type);
    let begun =
        app.telemetry.tracer.get().map(|tracer| (tracer, tracer.begin(envelope.traceparent, Role::Consumer, name)));
    let Some((tracer, (context, span))) = begun else {
        return (Scope { correlation_id, context: envelope.traceparent, tracer: None }, None);
    };
    let span = span.map(|mut span| {
        span.set("messaging.destination.name", queue.name());
        span.set("messaging.message.id", envelope.id.to_string().as_str());
        span.set("cartwright.delay_ms", delay_ms);
        span
    });
    (Scope { correlation_id, context: Some(context), tracer: span.as_ref().map(|_| tracer.clone()) }, span)
}

/// Runs the consumer on a task of its own, so that whatever it does ends there.
async fn run(app: &App, queue: Queue, envelope: Arc<Envelope>, time_limit: Duration, scope: Scope) -> Result<()> {
    let app = app.clone();
    let work = scope.run(async move { handle(&app, queue, &envelope).await });
    let mut handler = tokio::spawn(work.in_current_span());
    match tokio::time::timeout(time_limit, &mut handler).await {
        Ok(Ok(result)) => result,
        Ok(Err(join)) => {
            let why = join
                .try_into_panic()
                .map_or_else(|_| "was cancelled".to_owned(), |panic| panic_text(&*panic).to_owned());
            Err(Error::internal(format!("the handler panicked: {why}")))
        }
        Err(_) => {
            handler.abort();
            Err(Error::new(Kind::Unavailable, "handler_timeout", "The handler took longer than it may."))
        }
    }
}

/// What became of a message that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Processed,
    /// It will be received again.
    Failed,
    /// It is a dead letter.
    Dead,
}

/// Counts what became of a message of `queue`. Called when that is noted, so that nothing is counted that is not so.
pub fn count(app: &App, queue: Queue, outcome: Outcome) {
    let outcome = match outcome {
        Outcome::Processed => "processed",
        Outcome::Failed => "failed",
        Outcome::Dead => "dead",
    };
    app.telemetry.metrics.counter(MESSAGES, &[queue.name(), outcome]).increment();
}

/// Whether a message is dead that failed with `error` after so many receives, this one included.
pub fn is_dead(error: &Error, receives: u32, max_receives: u32) -> bool {
    error.kind().fate() == Fate::DeadLetter || receives >= max_receives
}

/// How long a message that failed waits, after so many receives: between half of a pause that grows and all of it, so that
/// messages that failed together do not come back together.
pub fn pause_after(receives: u32, first_pause: Duration, max_pause: Duration, random: u64) -> Duration {
    let factor = 4_u32.saturating_pow(receives.saturating_sub(1));
    let ceiling = first_pause.saturating_mul(factor).min(max_pause);
    let half_ms = u64::try_from(ceiling.as_millis() / 2).unwrap_or(u64::MAX);
    Duration::from_millis(half_ms + random % (half_ms + 1))
}
