//! Dead letters as documents of the operations table.
//!
//! A queue's letters are a partition, in the order in which the messages were put into the queue. How many there are is
//! counted in a document beside them, by the commit that adds or takes letters, so that nobody has to count.

use cartwright::error::{Error, Kind, Result};
use cartwright::events::Queue;
use cartwright::queues::{DeadLetter, DeadLetterId};
use cartwright::store::{Adjustment, Batch, CommitError, Doc, Expect, Key, MAX_MESSAGE_BYTES, Partition, Store, Table};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

/// A message that died, before it is recorded.
#[derive(Debug, Clone)]
pub struct NewLetter {
    /// The message's id.
    pub message_id: String,
    /// When it was put into its queue, in milliseconds since 1970.
    pub sent_at_ms: i64,
    /// Why it died.
    pub reason: String,
    /// How often it was received.
    pub receives: u32,
    /// Its text, as it may be kept.
    pub text: String,
}

/// A letter as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    reason: String,
    receives: u32,
    enqueued_at: Timestamp,
    died_at: Timestamp,
    /// The text when it is an object, to the letter; otherwise a JSON text of it.
    message: Box<RawValue>,
}

/// How many letters a queue has.
#[derive(Serialize, Deserialize)]
struct Count {
    dead: i64,
}

/// The letters of a queue.
pub fn partition(queue: Queue) -> Partition {
    Partition::new(Table::Operations, format!("DEADLETTERS#{}", queue.name()))
}

/// Where they are counted.
fn count_key(queue: Queue) -> Key {
    Key::new(Table::Operations, "DEADLETTERS", queue.name())
}

/// The id of the letter a message becomes: it sorts by time, and the same message always has the same.
fn id_of(letter: &NewLetter) -> Result<DeadLetterId> {
    format!("{:013}-{}", letter.sent_at_ms.max(0), letter.message_id).parse()
}

/// Records a letter. One that is there already stays as it is.
///
/// # Errors
/// `dead_letter_too_large` beyond 384 KB; those of the store.
pub async fn record(store: &dyn Store, queue: Queue, letter: NewLetter, died_at: Timestamp) -> Result<DeadLetterId> {
    let id = id_of(&letter)?;
    let NewLetter { sent_at_ms, reason, receives, text, .. } = letter;
    if text.len() > MAX_MESSAGE_BYTES {
        let message = format!("A dead letter has at most {MAX_MESSAGE_BYTES} bytes, not {}.", text.len());
        return Err(Error::new(Kind::TooLarge, "dead_letter_too_large", message));
    }
    let enqueued_at = Timestamp::from_millisecond(sent_at_ms).map_err(Error::internal)?;
    let message = if text.starts_with('{') { RawValue::from_string(text.clone()).ok() } else { None };
    let message = message.map_or_else(|| to_raw_value(&text), Ok).map_err(Error::internal)?;
    let stored = Stored { reason, receives, enqueued_at, died_at, message };
    let mut batch = Batch::new(Table::Operations);
    batch.put(partition(queue).key(id.as_str()), Expect::Absent, &stored)?;
    let mut first = batch.clone();
    count(&mut batch, queue, 1);
    first.put(count_key(queue), Expect::Absent, &Count { dead: 1 })?;
    // The first letter of a queue finds nothing to count with, unless another was first after all.
    for batch in [batch.clone(), first, batch] {
        match store.commit(batch).await {
            Ok(()) => return Ok(id),
            Err(CommitError::Conflict(failed)) if failed.contains(&0) => return Ok(id),
            Err(CommitError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(CommitError::Conflict(vec![1]).into())
}

/// Adds to the count of a queue's letters.
pub fn count(batch: &mut Batch, queue: Queue, by: i64) {
    batch.adjust(count_key(queue), vec![Adjustment { field: "dead", by, at_least: None }]);
}

/// How many letters a queue has.
///
/// # Errors
/// Those of the store.
pub async fn counted(store: &dyn Store, queue: Queue) -> Result<u64> {
    let Some(doc) = store.get(&count_key(queue)).await? else { return Ok(0) };
    Ok(u64::try_from(doc.parse_owned::<Count>()?.dead).unwrap_or(0))
}

/// The letter in a document.
///
/// # Errors
/// When it is damaged.
pub fn read(doc: &Doc) -> Result<DeadLetter> {
    let Stored { reason, receives, enqueued_at, died_at, message } = doc.parse_owned()?;
    let body = serde_json::from_str::<String>(message.get()).unwrap_or_else(|_| message.get().to_owned());
    Ok(DeadLetter { id: doc.sk.parse()?, reason, receives, enqueued_at, died_at, body })
}
