//! The store port: documents by key, pages of a partition, and one atomic `commit` of writes and events.
//!
//! What is promised here holds on every adapter, and [`conformance`] is the same promise as tests. The limits are those
//! of DynamoDB, so that what works on a laptop works there.
//!
//! A document is a JSON object under a [`Key`] with a version that starts at 1 and grows by one with every write. A
//! service reads, decides in a pure function, and commits a [`Batch`]: the writes, what each expects to find, and the
//! events that come of them. Either all of it happens or nothing does.

pub mod conformance;
pub mod measured;
mod page;
mod update;

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Kind, Result};
use crate::events::{Envelope, Queue};

pub use page::{Cursor, Sharded, list_merged};
pub use update::{ANSWER_KEPT, Change, InFlight, Once, transact};

/// Most items (writes, events and messages together) in one commit: DynamoDB's limit for a transaction.
pub const MAX_ITEMS_PER_COMMIT: usize = 100;
/// Largest document, key included: DynamoDB's limit of 400 KB for an item, less room for what the store adds to it.
pub const MAX_ITEM_BYTES: usize = 399 * 1024;
/// Largest sum of all documents of one commit: DynamoDB's limit of 4 MB for a transaction, less the same room for each.
pub const MAX_COMMIT_BYTES: usize = 4 * 1024 * 1024 - MAX_ITEMS_PER_COMMIT * 1024;
/// Longest partition key in bytes: DynamoDB's limit.
pub const MAX_PARTITION_KEY_BYTES: usize = 2048;
/// Longest sort key in bytes: DynamoDB's limit.
pub const MAX_SORT_KEY_BYTES: usize = 1024;
/// Most documents in one page.
pub const MAX_PAGE: usize = 100;
/// Most keys in one [`Store::get_many`]: DynamoDB's limit for a batch read.
pub const MAX_GET_MANY: usize = 100;
/// Largest detail of an event: EventBridge's limit of 256 KB for an entry, less room for the envelope.
pub const MAX_EVENT_BYTES: usize = 250 * 1024;
/// Largest message for one queue: what fits into a document with room to note what became of it. Larger than any event
/// with its envelope, smaller than what SQS takes.
pub const MAX_MESSAGE_BYTES: usize = 384 * 1024;

/// A table of documents. A service owns one; customers and orders share theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Products, stock, reservations.
    Catalog,
    /// Baskets.
    Basket,
    /// Customers and their orders.
    Ordering,
    /// Purchases that were made elsewhere.
    Purchases,
    /// Free-form items.
    Operations,
    /// API keys, and the audit trail.
    Access,
    /// In-boxes, those who watch products, webhooks and their deliveries.
    Notifications,
}

impl Table {
    /// Every table.
    pub const ALL: [Table; 7] = [
        Table::Catalog,
        Table::Basket,
        Table::Ordering,
        Table::Purchases,
        Table::Operations,
        Table::Access,
        Table::Notifications,
    ];

    /// The table's name, in SQLite and as the stem of its name on AWS.
    pub fn name(self) -> &'static str {
        match self {
            Table::Catalog => "catalog",
            Table::Basket => "basket",
            Table::Ordering => "ordering",
            Table::Purchases => "purchases",
            Table::Operations => "operations",
            Table::Access => "access",
            Table::Notifications => "notifications",
        }
    }
}

/// Documents that are stored and listed together, in the order of their sort keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Partition {
    /// The table it is in.
    pub table: Table,
    /// The partition key.
    pub pk: String,
}

impl Partition {
    /// The partition `pk` of `table`.
    pub fn new(table: Table, pk: impl Into<String>) -> Self {
        Partition { table, pk: pk.into() }
    }

    /// The key of one document in this partition.
    pub fn key(&self, sk: impl Into<String>) -> Key {
        Key { table: self.table, pk: self.pk.clone(), sk: sk.into() }
    }

    /// All documents of this partition whose sort key begins with `prefix`, in ascending order.
    pub fn starting_with(self, prefix: impl Into<String>) -> Range {
        Range { partition: self, prefix: prefix.into(), descending: false }
    }

    /// All documents of this partition, in ascending order.
    pub fn all(self) -> Range {
        self.starting_with("")
    }
}

/// What a [`Store::list`] goes through: one partition, or the part of it under a prefix, in one direction.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Range {
    /// The partition.
    pub partition: Partition,
    /// Only documents whose sort key begins so.
    pub prefix: String,
    /// From the greatest sort key to the least.
    pub descending: bool,
}

impl Range {
    /// The same documents from the greatest sort key to the least.
    pub fn descending(mut self) -> Self {
        self.descending = true;
        self
    }
}

/// Where a document is: table, partition key, sort key. Any text is a valid key up to the length limits, except the
/// empty one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The table.
    pub table: Table,
    /// The partition key.
    pub pk: String,
    /// The sort key; sorts by its UTF-8 bytes.
    pub sk: String,
}

impl Key {
    /// The key of one document.
    pub fn new(table: Table, pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Key { table, pk: pk.into(), sk: sk.into() }
    }

    /// Checks the key against the limits of the port.
    ///
    /// # Errors
    /// Which limit it breaks, in words.
    pub fn validate(&self) -> Result<(), String> {
        if self.pk.is_empty() || self.pk.len() > MAX_PARTITION_KEY_BYTES {
            return Err(format!("a partition key has 1 to {MAX_PARTITION_KEY_BYTES} bytes, not {}", self.pk.len()));
        }
        if self.sk.is_empty() || self.sk.len() > MAX_SORT_KEY_BYTES {
            return Err(format!("a sort key has 1 to {MAX_SORT_KEY_BYTES} bytes, not {}", self.sk.len()));
        }
        Ok(())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.table.name(), self.pk, self.sk)
    }
}

/// The JSON text of a document, with its parsed form kept beside it once someone has asked for it.
pub struct Body {
    text: Box<str>,
    parsed: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl Body {
    /// A body of this JSON text, which must be an object.
    pub fn from_text(text: impl Into<Box<str>>) -> Self {
        Body { text: text.into(), parsed: OnceLock::new() }
    }

    /// The JSON text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// A stored document: cheap to clone.
#[derive(Clone)]
pub struct Doc {
    /// Its sort key (its partition is known to whoever asked).
    pub sk: Arc<str>,
    /// How often it has been written: 1 after it was created.
    pub version: u64,
    /// Its content.
    pub body: Arc<Body>,
}

impl Doc {
    /// The document as a `T`. Parsed once and shared by all who hold this version of the document.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the stored JSON is not a `T`: damage, or a document of a newer release.
    pub fn parse<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Arc<T>> {
        if let Some(parsed) = self.body.parsed.get().and_then(|any| Arc::clone(any).downcast::<T>().ok()) {
            return Ok(parsed);
        }
        let parsed: Arc<T> = Arc::new(self.parse_owned()?);
        let _ = self.body.parsed.set(Arc::clone(&parsed) as Arc<dyn Any + Send + Sync>);
        Ok(parsed)
    }

    /// The document as a `T` of one's own.
    ///
    /// # Errors
    /// As [`Doc::parse`].
    pub fn parse_owned<T: DeserializeOwned>(&self) -> Result<T> {
        let unreadable =
            |error: serde_json::Error| Error::internal(format!("document {} is unreadable: {error}", self.sk));
        serde_json::from_str(&self.body.text).map_err(unreadable)
    }
}

impl fmt::Debug for Doc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} v{} {}", self.sk, self.version, self.body.text)
    }
}

/// What a write expects to find. When it does not, nothing of the batch happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Whatever is there. For index entries and projections, which nobody edits by version: a document put so starts
    /// again at version 1.
    Anything,
    /// No document.
    Absent,
    /// A document, of any version. Only for deleting and checking: a put that must not lose another's work has read
    /// the document and names its version.
    Exists,
    /// The document in this version.
    Version(u64),
}

impl Expect {
    /// What a write has to find of a document that was read in this version, or was not there: version 0.
    pub fn as_read(version: u64) -> Self {
        if version == 0 { Expect::Absent } else { Expect::Version(version) }
    }
}

/// One item of a batch.
#[derive(Debug, Clone)]
pub enum Write {
    /// Stores a document in whole.
    Put {
        /// Where.
        key: Key,
        /// What must be there: not [`Expect::Exists`].
        expect: Expect,
        /// The JSON object.
        body: String,
        /// When the store may remove it by itself, at any time after; readers must not rely on the removal.
        expires_at: Option<Timestamp>,
    },
    /// Removes a document.
    Delete {
        /// Where.
        key: Key,
        /// What must be there.
        expect: Expect,
    },
    /// Adds to integer fields at the top level of a document without reading it first. Expects the document to exist,
    /// with every named field an integer, and each floor to hold afterwards. Its version grows by one.
    Adjust {
        /// Where.
        key: Key,
        /// The fields, each named once.
        fields: Vec<Adjustment>,
    },
    /// Changes nothing, but the batch fails unless this holds.
    Check {
        /// Where.
        key: Key,
        /// What must be there.
        expect: Expect,
    },
}

impl Write {
    /// The key this write is about.
    pub fn key(&self) -> &Key {
        match self {
            Write::Put { key, .. }
            | Write::Delete { key, .. }
            | Write::Adjust { key, .. }
            | Write::Check { key, .. } => key,
        }
    }
}

/// One field of a [`Write::Adjust`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjustment {
    /// The field, at the top level of the document.
    pub field: &'static str,
    /// What is added; may be negative.
    pub by: i64,
    /// The least value the field may have afterwards.
    pub at_least: Option<i64>,
}

/// What one commit does: writes of one table, the events that come of them, and messages that are put back.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The table all keys are of.
    pub table: Table,
    /// The writes, each of another key.
    pub writes: Vec<Write>,
    /// The events, delivered after the commit, at least once each.
    pub events: Vec<Envelope>,
    /// Texts for one queue alone, past the rules of the bus, delivered like events. Only for messages that were in that
    /// queue before: services emit events.
    pub messages: Vec<(Queue, String)>,
}

impl Batch {
    /// An empty batch for `table`.
    pub fn new(table: Table) -> Self {
        Batch { table, writes: Vec::new(), events: Vec::new(), messages: Vec::new() }
    }

    /// Adds a put.
    ///
    /// # Errors
    /// [`Kind::Internal`] when `document` has no JSON form.
    pub fn put(&mut self, key: Key, expect: Expect, document: &impl Serialize) -> Result<&mut Self> {
        let body = serde_json::to_string(document).map_err(Error::internal)?;
        self.writes.push(Write::Put { key, expect, body, expires_at: None });
        Ok(self)
    }

    /// Adds a put of a document that may be removed at any time after `expires_at`.
    ///
    /// # Errors
    /// As [`Batch::put`].
    pub fn put_until(
        &mut self,
        key: Key,
        expect: Expect,
        document: &impl Serialize,
        expires_at: Timestamp,
    ) -> Result<&mut Self> {
        let body = serde_json::to_string(document).map_err(Error::internal)?;
        self.writes.push(Write::Put { key, expect, body, expires_at: Some(expires_at) });
        Ok(self)
    }

    /// Adds a delete.
    pub fn delete(&mut self, key: Key, expect: Expect) -> &mut Self {
        self.writes.push(Write::Delete { key, expect });
        self
    }

    /// Adds an adjustment.
    pub fn adjust(&mut self, key: Key, fields: Vec<Adjustment>) -> &mut Self {
        self.writes.push(Write::Adjust { key, fields });
        self
    }

    /// Adds a check.
    pub fn check(&mut self, key: Key, expect: Expect) -> &mut Self {
        self.writes.push(Write::Check { key, expect });
        self
    }

    /// Adds an event.
    pub fn emit(&mut self, event: Envelope) -> &mut Self {
        self.events.push(event);
        self
    }

    /// Adds a message for one queue alone: any text, an envelope's JSON if its consumer is to read it.
    pub fn send(&mut self, queue: Queue, text: impl Into<String>) -> &mut Self {
        self.messages.push((queue, text.into()));
        self
    }

    /// True when there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.events.is_empty() && self.messages.is_empty()
    }

    /// Checks the batch against the limits and rules of the port. Every adapter calls it first, so that a batch is
    /// refused alike everywhere.
    ///
    /// # Errors
    /// [`CommitError::Refused`] with what is wrong.
    pub fn validate(&self) -> Result<(), CommitError> {
        let refuse = |why: String| Err(CommitError::Refused(why));
        let items = self.writes.len() + self.events.len() + self.messages.len();
        if items == 0 || items > MAX_ITEMS_PER_COMMIT {
            return refuse(format!("a commit holds 1 to {MAX_ITEMS_PER_COMMIT} items, not {items}"));
        }
        let mut total_bytes = 0;
        let mut keys = std::collections::HashSet::with_capacity(self.writes.len());
        for write in &self.writes {
            let key = write.key();
            key.validate().map_err(CommitError::Refused)?;
            if key.table != self.table {
                return refuse(format!("a commit stays in one table, {}: {key}", self.table.name()));
            }
            if !keys.insert(key) {
                return refuse(format!("a commit writes a document once: {key}"));
            }
            match write {
                Write::Put { body, expect, .. } => {
                    let bytes = body.len() + key.pk.len() + key.sk.len();
                    total_bytes += bytes;
                    if bytes > MAX_ITEM_BYTES {
                        return refuse(format!("a document has at most {MAX_ITEM_BYTES} bytes, not {bytes}: {key}"));
                    }
                    if !body.starts_with('{') {
                        return refuse(format!("a document is a JSON object: {key}"));
                    }
                    if *expect == Expect::Exists {
                        return refuse(format!("a put names the version it replaces: {key}"));
                    }
                }
                Write::Adjust { fields, .. } => {
                    let mut names: Vec<_> = fields.iter().map(|field| field.field).collect();
                    names.sort_unstable();
                    names.dedup();
                    if names.is_empty() || names.len() != fields.len() {
                        return refuse(format!("an adjustment names each of its fields once: {key}"));
                    }
                }
                Write::Delete { .. } | Write::Check { .. } => {}
            }
        }
        for event in &self.events {
            let bytes = event.detail.get().len();
            total_bytes += bytes;
            if bytes > MAX_EVENT_BYTES {
                return refuse(format!("an event has at most {MAX_EVENT_BYTES} bytes, not {bytes}"));
            }
        }
        for (_, text) in &self.messages {
            total_bytes += text.len();
            if text.is_empty() || text.len() > MAX_MESSAGE_BYTES {
                return refuse(format!("a message has 1 to {MAX_MESSAGE_BYTES} bytes, not {}", text.len()));
            }
        }
        if total_bytes > MAX_COMMIT_BYTES {
            return refuse(format!("a commit has at most {MAX_COMMIT_BYTES} bytes, not {total_bytes}"));
        }
        Ok(())
    }
}

/// Why a commit did not happen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// Some writes did not find what they expected: their places in [`Batch::writes`], all of them, ascending. Nothing
    /// changed. Read again and decide again.
    #[error("the writes {0:?} did not find what they expected")]
    Conflict(Vec<usize>),
    /// The batch breaks a rule or limit of the port: a defect of the caller. Nothing changed.
    #[error("the batch is refused: {0}")]
    Refused(String),
    /// The store cannot commit now (full, overloaded, closing). Nothing changed on the embedded store; on a remote one
    /// the outcome may be unknown, so commit again only what its expectations make safe to repeat.
    #[error(transparent)]
    Failed(Error),
}

impl From<Error> for CommitError {
    fn from(error: Error) -> CommitError {
        CommitError::Failed(error)
    }
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Error {
        match error {
            CommitError::Conflict(_) => {
                let message = "Someone else changed this at the same moment; try again.";
                Error::new(Kind::Unavailable, "contention", message).because(error)
            }
            CommitError::Refused(why) => Error::internal(format!("a batch broke the store's rules: {why}")),
            CommitError::Failed(error) => error,
        }
    }
}

/// One page of a list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The documents, in the order of the range.
    pub docs: Vec<Doc>,
    /// The sort key to go on after, when there may be more.
    pub next: Option<String>,
}

/// Durable documents with atomic commits. Object-safe: held as `Arc<dyn Store>`.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The document under `key`, as of the newest commit acknowledged before this call or a later one.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when the store cannot be read now, [`Kind::Internal`] when what it holds is damaged or the
    /// key breaks a limit.
    async fn get(&self, key: &Key) -> Result<Option<Doc>>;

    /// The documents under `keys` (at most [`MAX_GET_MANY`]; a key may be named twice), in their order. Each is as fresh as with [`Store::get`];
    /// together they are no snapshot.
    ///
    /// # Errors
    /// As [`Store::get`]; [`Kind::Internal`] for too many keys.
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Doc>>>;

    /// Up to `limit` (1 to [`MAX_PAGE`], clamped) documents of `range` whose sort keys come after `after` in the
    /// range's direction, as of the newest acknowledged commit. `after` need not name a document. Going through all
    /// pages yields every document that was there throughout exactly once, whatever is written meanwhile.
    ///
    /// # Errors
    /// As [`Store::get`].
    async fn list(&self, range: &Range, after: Option<&str>, limit: usize) -> Result<Page>;

    /// Whether commits can be taken.
    ///
    /// # Errors
    /// Why not, when they cannot until someone steps in.
    fn health(&self) -> Result<()>;

    /// A number that changes whenever a document of `table` does, before the commit is acknowledged: what was read after
    /// asking for it is still so while it is the same. `None` where others change documents that this process is not told of.
    fn revision(&self, _table: Table) -> Option<u64> {
        None
    }

    /// Does all of `batch` or nothing. When it returns `Ok`, the writes are durable and visible to every later read, and
    /// the events and messages will be delivered at least once each, whatever happens to this process.
    ///
    /// # Errors
    /// See [`CommitError`].
    async fn commit(&self, batch: Batch) -> Result<(), CommitError>;
}
