//! Classic faults, put back in around the real code: each is a shop that someone has built, and that the oracle must catch.
//!
//! Nothing of this is in the product. A mutant changes how a commit, a delivery or a message's key is handled on the way
//! between the services and their store.

use std::future::pending;
use std::sync::Arc;

use cartwright::error::Result;
use cartwright::events::Envelope;
use cartwright::store::{Batch, CommitError, Expect, Key, Write};
use cartwright::values::OrderId;
use serde_json::{Value, json};

use super::ports::{ActorId, Go, Shared, Step, fault};

/// A classic fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// The checkout is published, and then the basket is deleted: two steps.
    PublishThenDelete,
    /// A consumer does not wait for its writes: it is done before they are.
    WritesNotAwaited,
    /// A consumer makes the key of what it writes of its own clock.
    KeyFromConsumersClock,
    /// Stock is read, checked and written: whoever comes in between is overwritten.
    CheckThenWrite,
    /// Of a batch of messages, the first is processed and all are deleted.
    FirstRecordOnly,
    /// What may have failed is done again, as it is.
    BlindRetry,
    /// The answer to an idempotency key is kept after the work is done, in a commit of its own.
    AnswerKeptLater,
    /// A document is replaced whatever version it has.
    LastWriterWins,
    /// A message is deleted when it is received.
    DeletedOnReceive,
    /// A message that failed too often is gone.
    NoDeadLetters,
    /// The event leaves after the commit.
    PublishedAfterCommit,
}

impl Mutant {
    pub const ALL: [Mutant; 11] = [
        Mutant::PublishThenDelete,
        Mutant::WritesNotAwaited,
        Mutant::KeyFromConsumersClock,
        Mutant::CheckThenWrite,
        Mutant::FirstRecordOnly,
        Mutant::BlindRetry,
        Mutant::AnswerKeptLater,
        Mutant::LastWriterWins,
        Mutant::DeletedOnReceive,
        Mutant::NoDeadLetters,
        Mutant::PublishedAfterCommit,
    ];

    /// The mutant called so.
    pub fn named(name: &str) -> Option<Mutant> {
        Mutant::ALL.into_iter().find(|mutant| format!("{mutant:?}") == name)
    }
}

/// Commits as a mutant does.
pub async fn commit(
    mutant: Mutant,
    shared: &Arc<Shared>,
    actor: ActorId,
    batch: Batch,
    go: Go,
) -> Result<(), CommitError> {
    let is_consumer = !shared.run().who.iter().any(|(other, ..)| *other == actor);
    let is_checkout =
        batch.events.iter().any(|event| event.detail_type == "CheckoutBasket") && !batch.writes.is_empty();
    match mutant {
        Mutant::PublishThenDelete if is_checkout => {
            let (mut published, mut deleted) = (batch.clone(), batch);
            published.writes.clear();
            deleted.events.clear();
            in_two(shared, actor, published, deleted).await
        }
        Mutant::PublishedAfterCommit if !batch.events.is_empty() && !batch.writes.is_empty() => {
            let (mut written, mut published) = (batch.clone(), batch);
            written.events.clear();
            published.writes.clear();
            in_two(shared, actor, written, published).await
        }
        Mutant::AnswerKeptLater if batch.writes.iter().any(is_answer) && batch.writes.len() > 1 => {
            let (mut work, mut answer) = (batch.clone(), batch);
            work.writes.retain(|write| !is_answer(write));
            answer.writes.retain(is_answer);
            answer.events.clear();
            in_two(shared, actor, work, answer).await
        }
        Mutant::WritesNotAwaited if is_consumer => {
            shared.run().deferred.push((actor, batch));
            Ok(())
        }
        Mutant::CheckThenWrite if batch.writes.iter().any(|write| matches!(write, Write::Adjust { .. })) => {
            let read = checked(shared, batch)?;
            shared.step(actor, Step::Half, || "has checked the stock".to_owned()).await;
            shared.commit(actor, &read)
        }
        Mutant::LastWriterWins => {
            let mut batch = batch;
            batch.writes.iter_mut().for_each(expect_anything);
            shared.commit(actor, &batch)
        }
        Mutant::BlindRetry if go == Go::LoseAnswer => {
            shared.commit(actor, &batch)?;
            let mut again = batch;
            again
                .writes
                .retain(|write| !matches!(write, Write::Check { .. }) && !write.key().sk.starts_with("MOVEMENT#"));
            again.writes.iter_mut().for_each(expect_anything);
            shared.commit(actor, &again)
        }
        _ => shared.commit(actor, &batch),
    }
}

async fn in_two(shared: &Arc<Shared>, actor: ActorId, first: Batch, second: Batch) -> Result<(), CommitError> {
    shared.commit(actor, &first)?;
    match shared.step(actor, Step::Half, || "has done the first half".to_owned()).await {
        Go::On => shared.commit(actor, &second),
        Go::Refuse => Err(CommitError::Failed(fault())),
        _ => pending().await,
    }
}

fn is_answer(write: &Write) -> bool {
    write.key().pk.starts_with("IDEMPOTENCY#")
}

fn expect_anything(write: &mut Write) {
    match write {
        Write::Put { expect, .. } | Write::Delete { expect, .. } | Write::Check { expect, .. } => {
            *expect = Expect::Anything;
        }
        Write::Adjust { .. } => {}
    }
}

/// The batch with what its adjustments come to now, if that is allowed now.
fn checked(shared: &Shared, mut batch: Batch) -> Result<Batch, CommitError> {
    for write in &mut batch.writes {
        let Write::Adjust { key, fields } = write else { continue };
        let conflict = || CommitError::Conflict(vec![0]);
        let doc = shared.model.find(key).ok_or_else(conflict)?;
        let mut document: Value = doc.parse_owned()?;
        for field in fields.iter() {
            let sum = document[field.field].as_i64().ok_or_else(conflict)? + field.by;
            if field.at_least.is_some_and(|floor| sum < floor) {
                return Err(conflict());
            }
            document[field.field] = json!(sum);
        }
        let key: Key = key.clone();
        *write = Write::Put { key, expect: Expect::Anything, body: document.to_string(), expires_at: None };
    }
    Ok(batch)
}

/// The message as the consumer of a mutant reads it.
pub fn read(mutant: Option<Mutant>, shared: &Arc<Shared>, message: Envelope) -> Envelope {
    if mutant != Some(Mutant::KeyFromConsumersClock) || message.detail_type != "CheckoutBasket" {
        return message;
    }
    let app = shared.app(None);
    let id: OrderId = app.new_order_id(app.clock.now());
    let mut detail: Value = serde_json::from_str(message.detail.get()).unwrap();
    detail["orderId"] = json!(id);
    Envelope { detail: serde_json::value::to_raw_value(&detail).unwrap(), ..message }
}
