//! The queues as an operator sees them: how much waits, what died and why, and what becomes of it.
//!
//! [`QueueAdmin`] is the port. Whoever runs the queues implements it: the embedded runtime over its own tables, SQS over its
//! queue and dead-letter queue. A dead letter stays until someone redrives it (its message is received again, as if for the
//! first time) or discards it, with a reason. Either is an event, in the transaction of the change it tells of.

pub mod http;
pub mod ops;

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Actor;
use crate::error::{Error, Result};
use crate::events::{Envelope, Queue};
use crate::values::Text;

pub use ops::replace_dead_letters;

/// Most dead letters that one request may name. All of them or none are taken, and on DynamoDB each that is put back is two
/// items of a transaction, which holds a hundred.
pub const MAX_AT_ONCE: usize = 40;
/// Messages of one page of dead letters, together: what DynamoDB puts into one. A page has at least one, however large.
pub const MAX_PAGE_BYTES: usize = 1024 * 1024;
/// Longest id of a dead letter.
const MAX_ID_CHARS: usize = 80;

/// Why dead letters are discarded, in the operator's words.
pub type Reason = Text<1, 500>;

/// Names a dead letter of a queue: 1 to 80 ASCII letters, digits and dashes, which mean something only to whoever keeps
/// the letters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeadLetterId(String);

impl DeadLetterId {
    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Text that is not written as an id is written is the id of nothing.
impl FromStr for DeadLetterId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let is_id = (1..=MAX_ID_CHARS).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let missing = || Error::not_found("dead_letter_not_found", "such dead letter");
        is_id.then(|| DeadLetterId(text.to_owned())).ok_or_else(missing)
    }
}

/// What a queue holds now, and what has gone through it. Not every home knows all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Messages that could be received now.
    pub waiting: u64,
    /// Messages that a handler is working on.
    pub in_flight: u64,
    /// Messages that failed and wait until they are received again.
    pub delayed: u64,
    /// Dead letters.
    pub dead: u64,
    /// When the oldest message that is not processed was put into the queue; none also when that is not known.
    pub oldest_enqueued_at: Option<Timestamp>,
    /// What has gone through since this process started, if it is this process that delivers.
    pub since_start: Option<Throughput>,
}

/// What has gone through a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct Throughput {
    /// Messages received; one that failed is counted each time.
    pub received: u64,
    /// Messages processed.
    pub processed: u64,
    /// Receives in vain.
    pub failed: u64,
}

/// A message that could not be processed.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Its id.
    pub id: DeadLetterId,
    /// Why, in words.
    pub reason: String,
    /// How often it was received.
    pub receives: u32,
    /// When it was put into the queue, for the last time.
    pub enqueued_at: Timestamp,
    /// When it died.
    pub died_at: Timestamp,
    /// The whole message, as it was enqueued.
    pub body: String,
}

/// A page of dead letters.
#[derive(Debug, Clone, Default)]
pub struct DeadLetterPage {
    /// The dead letters.
    pub letters: Vec<DeadLetter>,
    /// Whether there are more behind them.
    pub more: bool,
}

/// The error of naming dead letters that are not there. Nothing was changed.
pub fn not_there(queue: Queue, unknown: &[&DeadLetterId]) -> Error {
    let ids: Vec<&str> = unknown.iter().map(|id| id.as_str()).collect();
    let first = ids.first().copied().unwrap_or_default();
    let what = format!("dead letter {first} in {}; nothing was changed", queue.name());
    Error::not_found("dead_letter_not_found", what).with("ids", ids)
}

/// What becomes of dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// They go to the end of their queue, as if they had never been received.
    Redrive,
    /// They are removed for good.
    Discard,
}

/// Which dead letters are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// These, each named once and at most [`MAX_AT_ONCE`]; when one is not there, none.
    These(Vec<DeadLetterId>),
    /// The oldest of those up to this one, as many as one transaction takes; none only when there are none.
    UpTo(DeadLetterId),
}

/// Makes the event of the transaction, once it is known which dead letters it is about (again when the transaction lost a
/// race): the one that tells what was done, or the message that takes the place of one.
pub type Audit = Box<dyn Fn(&[DeadLetterId]) -> Envelope + Send + Sync>;

/// Events: dead letters were put back into their queue, or removed for good.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLettersTaken {
    /// The queue.
    pub queue: String,
    /// The ids the dead letters had.
    pub ids: Vec<String>,
    /// Why, for those that were removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Who did it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
}

/// What an operator can see and do about queues. Object-safe: held as `Arc<dyn QueueAdmin>`.
#[async_trait]
pub trait QueueAdmin: Send + Sync + 'static {
    /// What `queue` holds at `now`. The figures are taken one after the other while messages move on, so that together
    /// they may be off by those.
    ///
    /// # Errors
    /// Those of reading.
    async fn statistics(&self, queue: Queue, now: Timestamp) -> Result<Statistics>;

    /// Up to `limit` dead letters of `queue` from the newest to the oldest, or the other way round, which come after
    /// `after`. `after` need not be there any more. A page may be shorter when its messages are large.
    ///
    /// # Errors
    /// `dead_letter_not_found` when `after` cannot have been an id here; those of reading.
    async fn list_dead_letters(
        &self,
        queue: Queue,
        oldest_first: bool,
        after: Option<&DeadLetterId>,
        limit: usize,
    ) -> Result<DeadLetterPage>;

    /// A dead letter of `queue`, if it is there.
    ///
    /// # Errors
    /// Those of reading.
    async fn find_dead_letter(&self, queue: Queue, id: &DeadLetterId) -> Result<Option<DeadLetter>>;

    /// Does `action` to the dead letters of `queue` that `which` means, and emits the event that `audit` makes of them, in
    /// one durable transaction. Returns which they were, oldest first; none, and no event, when there are none.
    ///
    /// # Errors
    /// `dead_letter_not_found` when one that was named is not there, `dead_letters_too_large` when those that were named
    /// are too much for one transaction; those of writing. Nothing changed then.
    async fn take(&self, queue: Queue, action: Action, which: Which, audit: Audit) -> Result<Vec<DeadLetterId>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_1_to_80_letters_digits_and_dashes() {
        for text in ["7", "a-B-9", &"x".repeat(80)] {
            assert_eq!(text.parse::<DeadLetterId>().unwrap().as_str(), text);
        }
        for text in ["", "a_b", "a b", "ä", "a/b", &"x".repeat(81)] {
            assert_eq!(text.parse::<DeadLetterId>().unwrap_err().code(), "dead_letter_not_found", "{text:?}");
        }
    }
}
