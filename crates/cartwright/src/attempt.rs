//! One attempt at a message, and what becomes of it: the same wherever messages are delivered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Instrument;

use crate::app::App;
use crate::error::{Error, Fate, Kind, Result};
use crate::events::{Envelope, Queue, handle};
use crate::metrics::{EVENT_DELAY, HANDLER_DURATION, MESSAGES};
use crate::notifications;
use crate::rest::panic_text;
use crate::trace::{Role, Scope, Span};

/// How often a message is received, and how long it waits in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The longest pause after each receive in vain but the last, in milliseconds.
    pauses_ms: &'static [u64],
}

impl RetryPolicy {
    /// Of work within the shop. All pauses come to one to two minutes: long enough for a restart or a full disk, short
    /// enough to be noticed.
    pub const INSIDE: RetryPolicy = RetryPolicy { pauses_ms: &[500, 2_000, 8_000, 32_000, 60_000] };
    /// Of e-mail: its servers put off whom they do not know by a quarter of an hour, and may be down for some. All pauses come
    /// to four to eight hours.
    pub const MAIL: RetryPolicy = RetryPolicy {
        pauses_ms: &[30_000, 120_000, 10 * MINUTE_MS, 30 * MINUTE_MS, 60 * MINUTE_MS, 120 * MINUTE_MS, 240 * MINUTE_MS],
    };
    /// Of webhooks: whoever is to receive them may be down for a night. All pauses come to half a day to a day. None is longer
    /// than SQS can hide a message, twelve hours with the time of the attempt.
    pub const WEBHOOKS: RetryPolicy = RetryPolicy {
        pauses_ms: &[
            5_000,
            30_000,
            2 * MINUTE_MS,
            10 * MINUTE_MS,
            30 * MINUTE_MS,
            60 * MINUTE_MS,
            120 * MINUTE_MS,
            240 * MINUTE_MS,
            360 * MINUTE_MS,
            660 * MINUTE_MS,
        ],
    };

    /// Receives after which a message is dead.
    pub const fn max_receives(self) -> u32 {
        self.pauses_ms.len() as u32 + 1
    }

    /// How long a message that failed waits, after so many receives: between half of a pause that grows and all of it, so that
    /// messages that failed together do not come back together.
    pub fn pause_after(self, receives: u32, random: u64) -> Duration {
        let at = usize::try_from(receives.saturating_sub(1)).unwrap_or(usize::MAX).min(self.pauses_ms.len() - 1);
        let half_ms = self.pauses_ms[at] / 2;
        Duration::from_millis(half_ms + random % (half_ms + 1))
    }
}

const MINUTE_MS: u64 = 60_000;

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
            Err(too_long())
        }
    }
}

fn too_long() -> Error {
    Error::new(Kind::Unavailable, "handler_timeout", "The handler took longer than it may.")
}

/// Tells operators of a message that dies of an error with this code, before it is noted as dead.
///
/// # Errors
/// Those of the store, or that it took longer than `time_limit`: then they may have been told or not, and telling them again
/// is no harm.
pub async fn tell_of_death(
    app: &App,
    queue: Queue,
    message: Option<&Envelope>,
    code: &str,
    time_limit: Duration,
) -> Result<()> {
    let told = notifications::on_message_died(app, queue, message, code);
    tokio::time::timeout(time_limit, told).await.unwrap_or_else(|_| Err(too_long()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_none_is_longer_than_sqs_can_hide_a_message() {
        for policy in [RetryPolicy::INSIDE, RetryPolicy::MAIL, RetryPolicy::WEBHOOKS] {
            assert!(policy.pauses_ms.is_sorted(), "{policy:?}");
            assert!(policy.pauses_ms.iter().all(|pause| *pause <= 11 * 60 * MINUTE_MS), "{policy:?}");
        }
        let webhooks = RetryPolicy::WEBHOOKS;
        let sum =
            |random: u64| -> Duration { (1..webhooks.max_receives()).map(|n| webhooks.pause_after(n, random)).sum() };
        let (least, hour) = (sum(0), Duration::from_secs(3600));
        assert!(least > 12 * hour && least < 13 * hour, "{least:?}");
        assert_eq!(webhooks.pause_after(1, u64::MAX), webhooks.pause_after(1, u64::MAX));
        assert!(webhooks.pause_after(99, 7) >= 5 * hour, "beyond the last, the last");
    }
}
