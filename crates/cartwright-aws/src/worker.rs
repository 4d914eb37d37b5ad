//! The worker of a queue: each message of a batch to its consumer, and what becomes of it.
//!
//! Messages of a batch are processed side by side, each on its own: one that fails, panics or hangs leaves the others
//! alone. One that failed is named in the answer, so that SQS hands it out again, after a pause that grows. One that can never
//! succeed, or has failed for the last time, is sent with the reason to the queue where dead letters wait to be recorded; only
//! when that has worked does it count as done. What takes the whole function down with it gets there by SQS's own redrive.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::Client;
use cartwright::app::App;
use cartwright::attempt::{Outcome, attempt, count, is_dead};
use cartwright::error::{Error, Result};
use cartwright::events::Queue;
use futures_util::future::join_all;
use tracing::{Instrument, Span};

use crate::letters::NewLetter;
use crate::message;
use crate::sqs::{BatchAnswer, DEAD_SUFFIX, SqsEvent, SqsMessage, bury, sqs_error};

/// Time kept for noting what became of messages, before the function itself is cut off.
const TIME_TO_NOTE: Duration = Duration::from_secs(5);

/// The worker of one queue.
#[derive(Clone)]
pub struct Worker {
    app: App,
    queue: Queue,
    sqs: Client,
}

impl Worker {
    /// A worker that has the messages of `queue` processed by the services of `app`.
    pub fn new(app: App, queue: Queue, sqs: Client) -> Self {
        Worker { app, queue, sqs }
    }

    /// Processes a batch, within the time the function has left. Answers what of it is to be handed out again.
    pub async fn process(&self, batch: SqsEvent, time_left: Duration) -> BatchAnswer {
        let time_limit = time_left.saturating_sub(TIME_TO_NOTE).max(time_left / 2);
        let outcomes = join_all(batch.records.iter().map(|message| {
            let span =
                tracing::error_span!("message", messageId = message.message_id, correlationId = tracing::field::Empty);
            self.process_one(message, time_limit).instrument(span)
        }));
        let outcomes = outcomes.await.into_iter().zip(&batch.records);
        outcomes.filter(|(done, _)| !done).map(|(_, message)| message.message_id.clone()).collect()
    }

    /// Processes one message. False when it is to be handed out again.
    async fn process_one(&self, message: &SqsMessage, time_limit: Duration) -> bool {
        let event = message::read(&message.body).map(Arc::new);
        if let Ok(event) = &event {
            Span::current().record("correlationId", event.correlation_id.as_str());
        }
        let Err(error) = attempt(&self.app, self.queue, event, time_limit).await else {
            count(&self.app, self.queue, Outcome::Processed);
            return true;
        };
        let (queue, receives) = (self.queue.name(), message.receives());
        if is_dead(&error, receives, self.queue.retries().max_receives()) {
            let buried = self.bury(message, receives, &error).await;
            match &buried {
                Ok(()) => {
                    count(&self.app, self.queue, Outcome::Dead);
                    tracing::error!(queue, receives, %error, "a message is dead");
                }
                Err(why) => {
                    tracing::error!(queue, receives, %error, %why, "a dead message could not be sent on; it will be received again")
                }
            }
            return buried.is_ok();
        }
        count(&self.app, self.queue, Outcome::Failed);
        let pause = self.queue.retries().pause_after(receives, self.app.ids.random());
        tracing::warn!(queue, receives, %error, ?pause, "a message failed; it will be received again");
        if let Err(error) = self.hide(message, pause).await {
            tracing::warn!(queue, %error, "the pause of a message could not be set; it is that of the queue");
        }
        false
    }

    async fn bury(&self, message: &SqsMessage, receives: u32, error: &Error) -> Result<()> {
        let sent_at_ms = message.attributes.sent_timestamp.parse().unwrap_or_default();
        let (message_id, text) = (message.message_id.clone(), message::keepable(&message.body));
        let letter = NewLetter { message_id, sent_at_ms, reason: error.to_string(), receives, text };
        bury(&self.sqs, &url(message, DEAD_SUFFIX)?, letter).await
    }

    /// Has a message handed out again after a pause. SQS counts in whole seconds.
    async fn hide(&self, message: &SqsMessage, pause: Duration) -> Result<()> {
        let seconds = i32::try_from(pause.as_millis().div_ceil(1000)).unwrap_or(i32::MAX);
        let request = self.sqs.change_message_visibility().queue_url(url(message, "")?);
        let request = request.receipt_handle(&message.receipt_handle).visibility_timeout(seconds);
        request.send().await.map(drop).map_err(sqs_error)
    }
}

fn url(message: &SqsMessage, suffix: &str) -> Result<String> {
    message.queue_url(suffix).ok_or_else(|| Error::internal(format!("{:?} is no ARN of a queue", message.queue_arn)))
}
