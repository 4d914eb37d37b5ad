//! One state of a shop's file, read while a server may go on writing: for exports and backups.
//!
//! A read transaction holds the state still. In a write-ahead log readers and the writer do not wait for each other; the log
//! grows until the snapshot is dropped, because SQLite cannot begin it anew while someone reads an old state from it.

use std::path::{Path, PathBuf};

use iso_currency::Currency;
use jiff::Timestamp;
use rusqlite::backup::{Backup, Progress, StepResult};
use rusqlite::{Connection, Row, params};

use super::connections::{beside, keep_log, open_reader};
use super::dead_letters::time;
use super::schema::{self, SchemaError};
use super::{FILE_NAME, OpenError, open_error, read_document, storage_error};
use crate::catalog;
use crate::error::{Error, Kind, Result};
use crate::events::Queue;
use crate::store::{Key, Table};
use crate::transfer::{DeadLetter, Document, Message, Record, TransferError};

/// Pages that are copied to a backup in one go: a megabyte.
const PAGES_AT_ONCE: i32 = 256;

/// The state that a shop had when this was opened.
pub struct Snapshot {
    connection: Connection,
    file: PathBuf,
}

/// Why a snapshot could not be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The shop cannot be read.
    #[error(transparent)]
    Store(#[from] Error),
    /// A record cannot be written.
    #[error(transparent)]
    Transfer(#[from] TransferError),
}

impl Snapshot {
    /// Opens the shop in `folder`, whether a server runs on it or not. Changes nothing in it.
    ///
    /// # Errors
    /// See [`OpenError`]; [`OpenError::NoShop`] when there is none.
    pub fn open(folder: &Path) -> Result<Snapshot, OpenError> {
        Snapshot::open_if(folder, |_| Ok(()))
    }

    /// As [`Snapshot::open`], a shop whose documents this release can export.
    ///
    /// # Errors
    /// As [`Snapshot::open`]; [`OpenError::Unusable`] for the file of an older release too.
    pub fn open_current(folder: &Path) -> Result<Snapshot, OpenError> {
        Snapshot::open_if(folder, schema::require_current)
    }

    fn open_if(folder: &Path, check: fn(usize) -> Result<(), SchemaError>) -> Result<Snapshot, OpenError> {
        let file = folder.join(FILE_NAME);
        if !file.is_file() {
            return Err(OpenError::NoShop { folder: folder.to_owned() });
        }
        let open = || -> Result<_, SchemaError> {
            let connection = open_reader(&file)?;
            connection.execute_batch("BEGIN")?;
            // A log there is of a server that runs, or that ended in a way that may have had its reason.
            if std::fs::metadata(beside(&file, "-wal")).is_ok_and(|log| log.len() > 0) {
                keep_log(&connection);
            }
            let version = schema::check(&connection)?;
            if version > 0 {
                check(version)?;
            }
            Ok((connection, version))
        };
        match open().map_err(|source| open_error(&file, source))? {
            (_, 0) => Err(OpenError::NoShop { folder: folder.to_owned() }),
            (connection, _) => Ok(Snapshot { connection, file }),
        }
    }

    /// The currency of its prices; none when it was never started.
    ///
    /// # Errors
    /// Those of the store.
    pub fn currency(&self) -> Result<Option<Currency>> {
        currency(&self.connection)
    }

    /// How many records [`Snapshot::export`] will find.
    ///
    /// # Errors
    /// Those of the store.
    pub fn count(&self) -> Result<u64> {
        let tables = Table::ALL.map(Table::name).into_iter().chain(["messages", "dead_letters"]);
        let counts = tables.map(|table| {
            self.connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, u64>(0))
        });
        counts.sum::<rusqlite::Result<_>>().map_err(storage_error)
    }

    /// Hands out every record, in the order of an export; always in the same order.
    ///
    /// # Errors
    /// Those of the store, and those of `each`.
    pub fn export(&self, mut each: impl FnMut(&Record) -> Result<(), TransferError>) -> Result<(), ExportError> {
        for table in Table::ALL {
            let sql = format!("SELECT pk, sk, version, expires_at_ms, body FROM {} ORDER BY pk, sk", table.name());
            self.each_row(&sql, None, |row| document(table, row), &mut each)?;
        }
        for queue in Queue::ALL {
            let sql = "SELECT receives, enqueued_at_ms, due_at_ms, body FROM messages WHERE queue = ?1 ORDER BY seq";
            self.each_row(sql, Some(queue), |row| message(queue, row), &mut each)?;
        }
        for queue in Queue::ALL {
            let sql = "SELECT reason, receives, enqueued_at_ms, died_at_ms, body FROM dead_letters \
                       WHERE queue = ?1 ORDER BY seq";
            self.each_row(sql, Some(queue), |row| dead_letter(queue, row), &mut each)?;
        }
        Ok(())
    }

    fn each_row(
        &self,
        sql: &str,
        queue: Option<Queue>,
        record: impl Fn(&Row<'_>) -> rusqlite::Result<Record>,
        each: &mut impl FnMut(&Record) -> Result<(), TransferError>,
    ) -> Result<(), ExportError> {
        let mut statement = self.connection.prepare(sql).map_err(storage_error)?;
        let rows = match queue {
            Some(queue) => statement.query(params![queue.name()]),
            None => statement.query([]),
        };
        let mut rows = rows.map_err(storage_error)?;
        while let Some(row) = rows.next().map_err(storage_error)? {
            each(&record(row).map_err(storage_error)?)?;
        }
        Ok(())
    }

    /// Copies the whole file, page by page, to the database `to`, and checks the copy. Calls `progress` with the pages that
    /// are copied, and all of them. What is written to the shop meanwhile does not matter: the snapshot holds still.
    ///
    /// # Errors
    /// Those of the store; `storage_damaged` when the copy does not pass SQLite's `integrity_check`.
    pub fn copy_to(self, to: &Path, progress: impl FnMut(u64, u64)) -> Result<()> {
        self.copy_pages(to, progress).map_err(storage_error)?;
        // The check may take as long again, and the log of the shop need not grow all that time.
        let Snapshot { connection, file } = self;
        drop(connection);
        let problem = check_copy(to).map_err(storage_error)?;
        problem.map_or(Ok(()), |problem| {
            let message =
                format!("{} is damaged: restore an older backup ({})", file.display(), problem.replace('\n', " "));
            Err(Error::new(Kind::Internal, "storage_damaged", message))
        })
    }

    fn copy_pages(&self, to: &Path, mut progress: impl FnMut(u64, u64)) -> rusqlite::Result<()> {
        let mut copy = Connection::open(to)?;
        // The copy counts only when it is whole, and is synced then.
        copy.pragma_update(None, "journal_mode", "OFF")?;
        copy.pragma_update(None, "synchronous", "OFF")?;
        let backup = Backup::new(&self.connection, &mut copy)?;
        loop {
            let step = backup.step(PAGES_AT_ONCE)?;
            let Progress { remaining, pagecount } = backup.progress();
            let (all, left) = (u64::from(pagecount.unsigned_abs()), u64::from(remaining.unsigned_abs()));
            progress(all - left.min(all), all);
            match step {
                StepResult::More => {}
                StepResult::Done => return Ok(()),
                // Somebody has the file in an exclusive grip: only a tool does that.
                _ => {
                    let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
                    return Err(rusqlite::Error::SqliteFailure(busy, None));
                }
            }
        }
    }
}

/// Makes the copy one file without a log, and looks whether it is sound. Returns what is wrong with it.
fn check_copy(copy: &Path) -> rusqlite::Result<Option<String>> {
    let connection = Connection::open(copy)?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "journal_mode", "DELETE")?;
    let found: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(Some(found).filter(|found| found != "ok"))
}

/// The currency that is pinned in the file, if one is.
pub(super) fn currency(connection: &Connection) -> Result<Option<Currency>> {
    let settings = read_document(connection, &catalog::ops::settings_key()).map_err(storage_error)?;
    settings.map(|settings| catalog::ops::currency_of(&settings)).transpose()
}

fn document(table: Table, row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record::Document(Document {
        key: Key::new(table, row.get::<_, String>(0)?, row.get::<_, String>(1)?),
        version: row.get(2)?,
        expires_at: time_or_none(row, 3)?,
        body: row.get(4)?,
    }))
}

fn message(queue: Queue, row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record::Message(Message {
        queue,
        receives: row.get(0)?,
        enqueued_at: time(row, 1)?,
        due_at: time_or_none(row, 2)?,
        body: row.get(3)?,
    }))
}

fn dead_letter(queue: Queue, row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record::DeadLetter(DeadLetter {
        queue,
        reason: row.get(0)?,
        receives: row.get(1)?,
        enqueued_at: time(row, 2)?,
        died_at: time(row, 3)?,
        body: row.get(4)?,
    }))
}

fn time_or_none(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Timestamp>> {
    row.get::<_, Option<i64>>(at)?.map(|_| time(row, at)).transpose()
}
