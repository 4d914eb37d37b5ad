//! A whole shop as a file: what `cartwright export` writes and `cartwright import` reads, whichever home the shop has.
//!
//! The file is lines of JSON; `docs/export-format.md` specifies it. A header comes first, then a line for each record:
//! documents, then waiting messages, then dead letters. Checkpoints stand between them, so that a reader verifies what it
//! has read before it applies it; an end line says what there must have been. [`Writer`] and [`Reader`] stream: they hold a
//! chunk, however large the shop is.
//!
//! Nothing in the file tells when or where it was made, so the same content is the same file. Two homes list their
//! documents in different orders; [`Totals::digest`] is the same for both.

mod lines;
mod stream;

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use iso_currency::Currency;
use jiff::Timestamp;
use serde::Serialize;

use crate::events::Queue;
use crate::store::Key;

pub use stream::{Chunk, Reader, Writer};

/// The version of the format that is written and read here.
pub const VERSION: u64 = 1;
/// Longest line, its end included. The largest document is 400 KB and its keys; the largest message 256 KB, which as a
/// text in JSON may grow sixfold, beside the reason it died of, which may quote it.
pub const MAX_LINE_BYTES: usize = 2 * 1024 * 1024;
/// Records after which a checkpoint must stand.
pub const CHUNK_RECORDS: u64 = 1_000;
/// Bytes of records after which a checkpoint must stand: a reader holds this much, and one more line, before it knows
/// whether they are right.
pub const CHUNK_BYTES: usize = 1024 * 1024;

/// How the header begins.
const HEADER: &str = r#"{"format":"cartwright.export","#;

/// Whether a file that begins so is an export, of whatever version.
pub fn is_export(start: &[u8]) -> bool {
    start.starts_with(HEADER.as_bytes())
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The currency of all prices; none of a shop that was never started.
    pub currency: Option<Currency>,
    /// The release that wrote the file. The only thing that may differ between two exports of the same content.
    pub cartwright: String,
}

impl Header {
    /// The header of a shop of this currency, as this release writes it.
    pub fn new(currency: Option<Currency>) -> Header {
        Header { currency, cartwright: env!("CARGO_PKG_VERSION").to_owned() }
    }
}

/// One thing that a shop knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A document of a table.
    Document(Document),
    /// A message that is still to be processed.
    Message(Message),
    /// A message that could not be processed.
    DeadLetter(DeadLetter),
}

/// A document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Where it is.
    pub key: Key,
    /// How often it was written; at least 1.
    pub version: u64,
    /// When it may be removed. In the file, the next whole second: a later removal is always right.
    pub expires_at: Option<Timestamp>,
    /// The JSON object. In the file its members are sorted by name, each value to the letter but for space between tokens;
    /// a member that is named twice is there once, the last.
    pub body: String,
}

/// A message that waits in a queue. Those of one queue are in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The queue.
    pub queue: Queue,
    /// How often it was received in vain.
    pub receives: u32,
    /// When it was put into the queue.
    pub enqueued_at: Timestamp,
    /// When it is to be received again, after a failure.
    pub due_at: Option<Timestamp>,
    /// The text in the queue: the JSON of an [`Envelope`](crate::events::Envelope), which in the file has the form of a
    /// document's body; any other text is there to the letter.
    pub body: String,
}

/// A message that could not be processed. Those of one queue are in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The queue it died in.
    pub queue: Queue,
    /// Why.
    pub reason: String,
    /// How often it was received.
    pub receives: u32,
    /// When it was put into the queue.
    pub enqueued_at: Timestamp,
    /// When it died.
    pub died_at: Timestamp,
    /// The whole message, to the letter.
    pub body: String,
}

/// What is wrong with an export. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The first line is no header.
    #[error("line 1: this is not the header of an export of a shop; name a file that `cartwright export` has made")]
    NotAnExport,
    /// The header is one of another version of the format.
    #[error(
        "line 1: the export has version {0} of the format, and this release reads version {VERSION}; import it with the release that made it, or a newer one"
    )]
    Version(u64),
    /// The file ends before its end line.
    #[error("line {line}: the file ends here, before its end line: it was cut off; copy it again, or export again")]
    Truncated {
        /// The line that is missing, or cut off.
        line: u64,
    },
    /// A line is not what it must be.
    #[error("line {line}: {what}; the file is damaged: copy it again, or export again")]
    Damaged {
        /// The line.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
    /// A line names a table or queue that this release does not have.
    #[error(
        "line {line}: {what} is not known to this release; import the file with the release that made it, or a newer one"
    )]
    Unknown {
        /// The line.
        line: u64,
        /// The table or queue.
        what: String,
    },
    /// A record has no form in the file.
    #[error("{what} cannot be exported: {why}; the shop is damaged: restore a backup")]
    Unwritable {
        /// The record.
        what: String,
        /// Why not.
        why: String,
    },
    /// The file cannot be read.
    #[error("cannot read the export: {0}")]
    Read(io::Error),
    /// The file cannot be written.
    #[error("cannot write the export: {0}")]
    Write(io::Error),
}

/// What an export holds: the content of its end line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// All records.
    pub records: u64,
    /// Documents of each table that has any.
    pub documents: BTreeMap<&'static str, u64>,
    /// Waiting messages of each queue that has any.
    pub messages: BTreeMap<&'static str, u64>,
    /// Dead letters of each queue that has any.
    pub dead_letters: BTreeMap<&'static str, u64>,
    /// Of all records, whatever their order.
    pub digest: Digest,
}

impl Totals {
    /// Counts a record whose line (without its end) is this. An error when it may not come after the one before it.
    fn add(&mut self, record: &Record, line: &str) -> Result<(), &'static str> {
        let in_order = match record {
            Record::Document(_) => self.messages.is_empty() && self.dead_letters.is_empty(),
            Record::Message(_) => self.dead_letters.is_empty(),
            Record::DeadLetter(_) => true,
        };
        if !in_order {
            return Err("documents come first, then waiting messages, then dead letters");
        }
        let count = match record {
            Record::Document(document) => self.documents.entry(document.key.table.name()),
            Record::Message(message) => self.messages.entry(message.queue.name()),
            Record::DeadLetter(letter) => self.dead_letters.entry(letter.queue.name()),
        };
        *count.or_default() += 1;
        self.records += 1;
        self.digest.add(line);
        Ok(())
    }

    /// The end line.
    fn line(&self) -> String {
        #[derive(Serialize)]
        struct End<'a> {
            end: &'a Totals,
        }
        serde_json::to_string(&End { end: self }).expect("counts have a JSON form") + "\n"
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |counts: &BTreeMap<_, u64>| counts.values().sum::<u64>();
        let counts = [
            (sum(&self.documents), "document"),
            (sum(&self.messages), "waiting message"),
            (sum(&self.dead_letters), "dead letter"),
        ];
        let counts = counts.map(|(count, name)| format!("{count} {name}{}", if count == 1 { "" } else { "s" }));
        write!(f, "{}, {} and {}", counts[0], counts[1], counts[2])
    }
}

/// A digest of records that does not depend on their order: the sum of their BLAKE3 hashes, each taken as four numbers of 64
/// bits, little-endian, that are added one by one without their carries. It finds what went wrong by accident; whoever can
/// choose the records can make two shops that have the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digest([u64; 4]);

impl Digest {
    fn add(&mut self, line: &str) {
        let hash = blake3::hash(line.as_bytes());
        let (numbers, _) = hash.as_bytes().as_chunks();
        for (sum, number) in self.0.iter_mut().zip(numbers) {
            *sum = sum.wrapping_add(u64::from_le_bytes(*number));
        }
    }
}

/// Its 32 bytes in hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().flat_map(|number| number.to_le_bytes()).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
