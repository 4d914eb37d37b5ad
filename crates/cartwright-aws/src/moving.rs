//! Moving a shop to AWS and away from it, as the file that `cartwright export` writes and `cartwright import` reads.
//!
//! Whoever moves a shop stops what writes to it first: a table cannot be read as it is at one moment. An export therefore reads
//! everything twice, and fails when something changed in between; an import reads back what it has written.

use std::io::{BufRead, Write};

use cartwright::catalog::ops::{currency_of, settings_key};
use cartwright::error::Error;
use cartwright::events::Queue;
use cartwright::queues::QueueAdmin;
use cartwright::store::{Batch, Expect, Key, MAX_PAGE, Store, Table};
use cartwright::transfer::{DeadLetter, Document, Header, Message, Reader, Record, Totals, TransferError, Writer};
use iso_currency::Currency;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::dynamodb::DynamoStore;
use crate::letters::{self, NewLetter};

/// Why a shop was not moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// The file is not as it was written, or cannot be read or written.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// A service of AWS does not do what it is asked.
    #[error("{0}")]
    Store(#[from] Error),
    /// The tables hold another shop.
    #[error("the {0} table is not empty; import into a new stack")]
    NotEmpty(&'static str),
    /// An import of another file has not been finished.
    #[error(
        "an import of another file was begun here ({0} records of it are in); finish that one, or make a new stack"
    )]
    AnotherFile(u64),
    /// The shop has prices in another currency.
    #[error("the prices of the export are in {0}, those of the stack in {1}; deploy the stack with Currency={0}")]
    Currency(&'static str, &'static str),
    /// Messages wait to be processed, and cannot be exported.
    #[error(
        "{0} messages wait in {1}; stop what writes to the shop, wait until the queues are empty, and export again"
    )]
    Waiting(u64, &'static str),
    /// The shop changed while it was read.
    #[error("the shop changed while it was exported; stop what writes to it, and export again")]
    Changed,
    /// What was read back is not what was written.
    #[error(
        "what is in the tables is not what is in the export: expected {expected}, found {found}; was something writing to the shop?"
    )]
    Different {
        /// Counts and digest of the export.
        expected: String,
        /// Those of the tables.
        found: String,
    },
}

/// How far an import has come.
#[derive(Debug, Serialize, Deserialize)]
struct Progress {
    /// The digest of the file's first chunk: which file it is.
    file: String,
    /// Records that are in.
    records: u64,
}

fn progress_key() -> Key {
    Key::new(Table::Operations, "IMPORT", "PROGRESS")
}

/// Whether a document belongs to the shop: not to an import, and not one of the dead letters, which are records of their own.
fn is_of_shop(document: &Document) -> bool {
    let pk = document.key.pk.as_str();
    document.key.table != Table::Operations
        || !(pk == "IMPORT" || pk == "DEADLETTERS" || pk.starts_with("DEADLETTERS#"))
}

/// Counts and digest of documents. Those that expire are left out: DynamoDB may remove them at any time.
struct Sum(Writer<std::io::Sink>);

impl Sum {
    fn new() -> Result<Sum, TransferError> {
        Ok(Sum(Writer::new(std::io::sink(), &Header::new(None))?))
    }

    fn add(&mut self, document: &Document) -> Result<(), TransferError> {
        match document.expires_at {
            None => self.0.write(&Record::Document(document.clone())),
            Some(_) => Ok(()),
        }
    }

    fn finish(self) -> Result<Totals, TransferError> {
        self.0.finish().map(|(_, totals)| totals)
    }
}

/// Goes through all documents of the shop.
async fn each_document(
    store: &DynamoStore,
    mut each: impl FnMut(Document) -> Result<(), TransferError>,
) -> Result<(), MoveError> {
    for table in Table::ALL {
        let mut start = None;
        loop {
            let scanned = store.scan(table, start).await?;
            scanned.documents.into_iter().filter(is_of_shop).try_for_each(&mut each)?;
            start = scanned.next;
            if start.is_none() {
                break;
            }
        }
    }
    Ok(())
}

async fn sum_of(store: &DynamoStore) -> Result<Totals, MoveError> {
    let mut sum = Sum::new()?;
    each_document(store, |document| sum.add(&document)).await?;
    Ok(sum.finish()?)
}

async fn currency(store: &DynamoStore) -> Result<Option<Currency>, MoveError> {
    Ok(store.get(&settings_key()).await?.map(|settings| currency_of(&settings)).transpose()?)
}

/// Exports the shop to `output`. Calls `progress` with the number of records after each.
///
/// # Errors
/// [`MoveError::Waiting`], [`MoveError::Changed`], those of reading and writing. What was written is no whole export then.
pub async fn export<W: Write>(
    store: &DynamoStore,
    queues: &dyn QueueAdmin,
    now: Timestamp,
    output: W,
    mut progress: impl FnMut(u64),
) -> Result<(W, Totals), MoveError> {
    nothing_waits(queues, now).await?;
    let mut writer = Writer::new(output, &Header::new(currency(store).await?))?;
    let (mut sum, mut records) = (Sum::new()?, 0);
    each_document(store, |document| {
        sum.add(&document)?;
        writer.write(&Record::Document(document))?;
        records += 1;
        progress(records);
        Ok(())
    })
    .await?;
    for queue in Queue::ALL {
        let mut after: Option<String> = None;
        loop {
            let page = store.list(&letters::partition(queue).all(), after.as_deref(), MAX_PAGE).await?;
            for doc in &page.docs {
                let letter = letters::read(doc)?;
                writer.write(&Record::DeadLetter(DeadLetter {
                    queue,
                    reason: letter.reason,
                    receives: letter.receives,
                    enqueued_at: letter.enqueued_at,
                    died_at: letter.died_at,
                    body: letter.body,
                }))?;
                records += 1;
                progress(records);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    if sum.finish()? != sum_of(store).await? {
        return Err(MoveError::Changed);
    }
    nothing_waits(queues, now).await?;
    Ok(writer.finish()?)
}

async fn nothing_waits(queues: &dyn QueueAdmin, now: Timestamp) -> Result<(), MoveError> {
    for queue in Queue::ALL {
        let found = queues.statistics(queue, now).await?;
        let waiting = found.waiting + found.in_flight + found.delayed;
        if waiting > 0 {
            return Err(MoveError::Waiting(waiting, queue.name()));
        }
    }
    Ok(())
}

/// Imports an export into the empty tables of a stack, and reads it back. An import that was cut off goes on where it
/// was when it is started again with the same file. Calls `progress` with the bytes that were read.
///
/// # Errors
/// See [`MoveError`]. Until all is in, the tables hold a part of the shop.
pub async fn import(
    store: &DynamoStore,
    input: impl BufRead,
    mut progress: impl FnMut(u64),
) -> Result<Totals, MoveError> {
    let mut reader = Reader::new(input)?;
    let theirs = reader.header().currency;
    if let (Some(theirs), Some(ours)) = (theirs, currency(store).await?)
        && theirs != ours
    {
        return Err(MoveError::Currency(theirs.code(), ours.code()));
    }
    let mut begun: Option<Progress> = None;
    let mut sum = Some(Sum::new()?);
    while let Some(chunk) = reader.next_chunk()? {
        let read = reader.totals().records;
        let done = match &mut begun {
            Some(done) => done,
            None => begun.insert(begin(store, reader.totals().digest.to_string()).await?),
        };
        let is_in = done.records >= read;
        let documents: Vec<&Document> = chunk.records.iter().filter_map(document_of).collect();
        if let Some(sum) = &mut sum {
            documents.iter().try_for_each(|document| sum.add(document))?;
        }
        if !is_in {
            store.put_all(documents.iter().copied()).await?;
        }
        // Messages come after the last document: what they set off must not be mistaken for a fault of the import.
        let first = read - chunk.records.len() as u64;
        for (record, at) in chunk.records.iter().zip(first..) {
            if matches!(record, Record::Document(_)) {
                continue;
            }
            if let Some(sum) = sum.take() {
                verify(store, sum, done.records > at).await?;
            }
            if !is_in {
                put(store, record, at).await?;
            }
        }
        if !is_in {
            done.records = read;
            note(store, done).await?;
        }
        progress(reader.bytes_read());
    }
    if let Some(sum) = sum {
        verify(store, sum, false).await?;
    }
    let mut batch = Batch::new(Table::Operations);
    batch.delete(progress_key(), Expect::Anything);
    store.commit(batch).await.map_err(Error::from)?;
    Ok(reader.totals().clone())
}

fn document_of(record: &Record) -> Option<&Document> {
    match record {
        Record::Document(document) => Some(document),
        Record::Message(_) | Record::DeadLetter(_) => None,
    }
}

/// What an earlier start of the same import has done; nothing, if the tables are empty.
async fn begin(store: &DynamoStore, file: String) -> Result<Progress, MoveError> {
    if let Some(doc) = store.get(&progress_key()).await? {
        let begun: Progress = doc.parse_owned()?;
        return if begun.file == file { Ok(begun) } else { Err(MoveError::AnotherFile(begun.records)) };
    }
    for table in Table::ALL {
        let mut start = None;
        loop {
            let scanned = store.scan(table, start).await?;
            // A stack pins its currency when it starts.
            if scanned.documents.iter().any(|document| document.key != settings_key()) {
                return Err(MoveError::NotEmpty(table.name()));
            }
            start = scanned.next;
            if start.is_none() {
                break;
            }
        }
    }
    let begun = Progress { file, records: 0 };
    note(store, &begun).await?;
    Ok(begun)
}

async fn note(store: &DynamoStore, progress: &Progress) -> Result<(), MoveError> {
    let mut batch = Batch::new(Table::Operations);
    batch.put(progress_key(), Expect::Anything, progress)?;
    Ok(store.commit(batch).await.map_err(Error::from)?)
}

/// Checks that the tables hold what was read. Not again after messages were sent: what they set off changes the tables.
async fn verify(store: &DynamoStore, sum: Sum, messages_are_sent: bool) -> Result<(), MoveError> {
    if messages_are_sent {
        return Ok(());
    }
    let (expected, found) = (sum.finish()?, sum_of(store).await?);
    if expected == found {
        return Ok(());
    }
    let describe = |totals: &Totals| format!("{} documents, digest {}", totals.records, totals.digest);
    Err(MoveError::Different { expected: describe(&expected), found: describe(&found) })
}

/// Sends a message, or records a dead letter: under an id that follows from its place, so that a second time is none.
async fn put(store: &DynamoStore, record: &Record, at: u64) -> Result<(), MoveError> {
    match record {
        Record::Document(_) => {}
        Record::Message(Message { queue, body, .. }) => {
            let mut batch = Batch::new(Table::Operations);
            batch.send(*queue, body.clone());
            store.commit(batch).await.map_err(Error::from)?;
        }
        Record::DeadLetter(DeadLetter { queue, reason, receives, enqueued_at, died_at, body }) => {
            let letter = NewLetter {
                message_id: format!("imported-{at}"),
                sent_at_ms: enqueued_at.as_millisecond(),
                reason: reason.clone(),
                receives: *receives,
                text: body.clone(),
            };
            letters::record(store, *queue, letter, *died_at).await?;
        }
    }
    Ok(())
}
