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

use crate::error::{Error, Result};
use crate::events::{Envelope, Queue};
use crate::values::Text;

pub use ops::replace_dead_letters;

/// Most dead letters that are redriven or discarded in one transaction, and so most ids of one request. More would make
/// commits that come meanwhile wait.
pub const MAX_AT_ONCE: usize = 1_000;

/// Why dead letters are discarded, in the operator's words.
pub type Reason = Text<1, 500>;

/// Names a dead letter among those of all queues: its place in the queue it died in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeadLetterId(pub i64);

impl fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Text that is not written as an id is written is the id of nothing.
impl FromStr for DeadLetterId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let id = text.parse().ok().filter(|id: &i64| *id > 0 && id.to_string() == text);
        id.map(DeadLetterId).ok_or_else(|| Error::not_found("dead_letter_not_found", "such dead letter"))
    }
}

/// What a queue holds now, and what has gone through it since this process started.
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
    /// When the oldest message that is not processed was put into the queue.
    pub oldest_enqueued_at: Option<Timestamp>,
    /// Messages received since the start; one that failed is counted each time.
    pub received: u64,
    /// Messages processed since the start.
    pub processed: u64,
    /// Receives in vain since the start.
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
    /// The oldest [`MAX_AT_ONCE`], or all there are, of those up to this one.
    UpTo(DeadLetterId),
}

/// Makes the event of the transaction, once it is known which dead letters it is about: the one that tells what was done,
/// or the message that takes the place of one.
pub type Audit = Box<dyn FnOnce(&[DeadLetterId]) -> Envelope + Send>;

/// Events: dead letters were put back into their queue, or removed for good.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLettersTaken {
    /// The queue.
    pub queue: String,
    /// The ids the dead letters had.
    pub ids: Vec<String>,
    /// Why, for those that were removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
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
    /// Those of reading.
    async fn list_dead_letters(
        &self,
        queue: Queue,
        oldest_first: bool,
        after: Option<DeadLetterId>,
        limit: usize,
    ) -> Result<DeadLetterPage>;

    /// A dead letter of `queue`, if it is there.
    ///
    /// # Errors
    /// Those of reading.
    async fn find_dead_letter(&self, queue: Queue, id: DeadLetterId) -> Result<Option<DeadLetter>>;

    /// Does `action` to the dead letters of `queue` that `which` means, and emits the event that `audit` makes of them, in
    /// one durable transaction. Returns which they were, oldest first; none, and no event, when there are none.
    ///
    /// # Errors
    /// `dead_letter_not_found` when one that was named is not there; those of writing. Nothing changed then.
    async fn take(&self, queue: Queue, action: Action, which: Which, audit: Audit) -> Result<Vec<DeadLetterId>>;
}
