//! The recorder: what arrives in the dead-letter queues becomes documents, where operators see and decide.
//!
//! Most letters come from a [worker](crate::worker), with a reason. What took a function down comes by SQS's own redrive and
//! has none. A letter stays in its dead-letter queue until it is recorded and the operators are told; recorded twice, it is one.

use cartwright::app::App;
use cartwright::error::{Error, Result};
use cartwright::events::Queue;
use cartwright::notifications;

use crate::letters::{self, NewLetter};
use crate::message::{keepable, read};
use crate::sqs::{BatchAnswer, DEAD_SUFFIX, SqsEvent, SqsMessage};

/// The reason of a letter that came without one.
const NO_REASON: &str =
    "handler_lost: The handler was cut off each time: the function crashed or ran out of time; its log tells more.";

/// Records a batch of letters from queues whose names begin with `prefix`. Answers which could not be recorded.
pub async fn record(app: &App, prefix: &str, batch: SqsEvent) -> BatchAnswer {
    let mut failed = Vec::new();
    // One after the other: they are counted in the same document.
    for message in batch.records {
        let message_id = message.message_id.clone();
        let queue_name = message.queue_name().to_owned();
        match record_one(app, prefix, message).await {
            Ok((queue, id)) => tracing::info!(queue = queue.name(), %id, "a dead letter is recorded"),
            Err(error) => {
                tracing::error!(queue = queue_name, message_id, %error, "a dead letter could not be recorded; it stays in its queue");
                failed.push(message_id);
            }
        }
    }
    failed.into_iter().collect()
}

async fn record_one(app: &App, prefix: &str, message: SqsMessage) -> Result<(Queue, cartwright::queues::DeadLetterId)> {
    let name = message.queue_name().strip_prefix(prefix).and_then(|name| name.strip_suffix(DEAD_SUFFIX));
    let queue = name.and_then(Queue::named);
    let queue = queue.ok_or_else(|| Error::internal(format!("{} is not a dead-letter queue", message.queue_arn)))?;
    let letter = letter_of(queue, &message);
    let code = letter.reason.split(':').next().unwrap_or_default().to_owned();
    let id = letters::record(&*app.store, queue, letter, app.clock.now()).await?;
    notifications::on_message_died(app, queue, read(&message.body).ok().as_ref(), &code).await?;
    Ok((queue, id))
}

/// What is to be recorded of a message: what the worker says, and what SQS says where no worker had a say.
fn letter_of(queue: Queue, message: &SqsMessage) -> NewLetter {
    let number = |name: &str| message.attribute(name).and_then(|text| text.parse().ok());
    let is_id = |id: &&str| id.len() <= 60 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let sent_at_ms = number("SentTimestamp").or_else(|| message.attributes.sent_timestamp.parse().ok());
    NewLetter {
        message_id: message.attribute("MessageId").filter(is_id).unwrap_or(&message.message_id).to_owned(),
        sent_at_ms: sent_at_ms.unwrap_or_default(),
        reason: message.attribute("Reason").unwrap_or(NO_REASON).to_owned(),
        receives: number("Receives")
            .and_then(|receives| receives.try_into().ok())
            .unwrap_or(queue.retries().max_receives()),
        text: keepable(&message.body),
    }
}
