//! A shop that is being built out of records, under a name that passes for no shop until it is whole.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use iso_currency::Currency;
use rusqlite::{Connection, ErrorCode, params};
use tempfile::TempPath;

use super::connections::{beside, open_reader, open_writer};
use super::snapshot::currency;
use super::writer::Statements;
use super::{FILE_NAME, OpenError, SchemaError, open_error, schema, storage_error, take_lock};
use crate::error::Error;
use crate::local::files::sync_folder;
use crate::transfer::Record;

/// The name of the database until it is whole.
const TEMPORARY_NAME: &str = "cartwright.db.importing";
/// What SQLite appends to the name of a database for files of its own.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// A shop that is being built in a folder that has none. Dropping it before [`Building::finish`] leaves none.
pub struct Building {
    connection: Connection,
    temporary: TempPath,
    folder: PathBuf,
    last_seq: i64,
    _lock: File,
}

/// Why a shop cannot be built in a folder.
#[derive(Debug, thiserror::Error)]
pub enum BuildingError {
    /// The folder cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It has a shop already.
    #[error("there is a shop in {folder} already; choose a folder without one with --data")]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
    },
    /// It has an empty shop that was started with another currency.
    #[error(
        "the empty shop in {folder} was started with the currency {found}, and this one has {wanted}; choose another folder with --data"
    )]
    OtherCurrency {
        /// The folder.
        folder: PathBuf,
        /// The currency of the empty shop.
        found: &'static str,
        /// The currency that was expected.
        wanted: &'static str,
    },
    /// It has the log of a database that is gone, and whoever removed that may want it back.
    #[error("{file} is the log of a shop whose {FILE_NAME} is gone; put both together again, or move the log away")]
    LogWithoutShop {
        /// The log.
        file: PathBuf,
    },
    /// A document is there twice.
    #[error("a document with this key came before")]
    Twice,
    /// The records do not agree with their header.
    #[error("its header says that its currency is {header}, and its documents say {documents}")]
    Contradiction {
        /// The currency in the header.
        header: String,
        /// The currency in the documents.
        documents: String,
    },
    /// The store cannot take it.
    #[error(transparent)]
    Store(#[from] Error),
    /// The file system cannot take it.
    #[error("cannot write the shop in {folder}: {source}")]
    Io {
        /// The folder.
        folder: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

impl Building {
    /// Begins a shop of this currency in `folder`, which is made if it is not there. A shop that has nothing but its currency
    /// will be replaced. What is left of an earlier attempt is removed.
    ///
    /// # Errors
    /// [`BuildingError::Open`], [`BuildingError::NotEmpty`], [`BuildingError::OtherCurrency`],
    /// [`BuildingError::LogWithoutShop`].
    pub fn begin(folder: &Path, wanted: Option<Currency>) -> Result<Building, BuildingError> {
        let lock = take_lock(folder)?;
        check_empty(folder, wanted)?;
        let file = folder.join(TEMPORARY_NAME);
        let remove_old = || std::iter::once("").chain(COMPANIONS).try_for_each(|suffix| remove(&beside(&file, suffix)));
        let cannot_write = |source| OpenError::Folder { folder: folder.to_owned(), source };
        remove_old().map_err(cannot_write)?;
        let temporary = TempPath::try_from_path(&file).map_err(cannot_write)?;
        let connection = open_writer(&file)?;
        let prepare = || -> rusqlite::Result<()> {
            // Nobody will see this file unless it is whole, and on disk by then: nothing in it needs to survive before.
            connection.pragma_update(None, "journal_mode", "OFF")?;
            connection.pragma_update(None, "synchronous", "OFF")?;
            connection.execute_batch("BEGIN IMMEDIATE")
        };
        prepare().map_err(|error| open_error(&file, error.into()))?;
        Ok(Building { connection, temporary, folder: folder.to_owned(), last_seq: 0, _lock: lock })
    }

    /// Adds a record. Messages get their places in the order in which they come.
    ///
    /// # Errors
    /// [`BuildingError::Twice`], [`BuildingError::Store`]; then the shop cannot be finished.
    pub fn add(&mut self, record: &Record) -> Result<(), BuildingError> {
        self.insert(record).map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => BuildingError::Twice,
            _ => storage_error(error).into(),
        })
    }

    fn insert(&mut self, record: &Record) -> rusqlite::Result<()> {
        if !matches!(record, Record::Document(_)) {
            self.last_seq += 1;
        }
        match record {
            Record::Document(document) => {
                let (key, expires_at_ms) = (&document.key, document.expires_at.map(|at| at.as_millisecond()));
                let mut statement = self.connection.prepare_cached(Statements::of(key.table).insert)?;
                statement.execute(params![key.pk, key.sk, document.version, expires_at_ms, document.body])
            }
            Record::Message(message) => {
                let sql = "INSERT INTO messages (queue, seq, receives, due_at_ms, enqueued_at_ms, body) \
                           VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
                let (due_at_ms, enqueued_at_ms) =
                    (message.due_at.map(|at| at.as_millisecond()), message.enqueued_at.as_millisecond());
                let values = params![
                    message.queue.name(),
                    self.last_seq,
                    message.receives,
                    due_at_ms,
                    enqueued_at_ms,
                    message.body
                ];
                self.connection.prepare_cached(sql)?.execute(values)
            }
            Record::DeadLetter(letter) => {
                let sql = "INSERT INTO dead_letters (queue, seq, reason, receives, enqueued_at_ms, died_at_ms, body) \
                           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
                let (enqueued_at_ms, died_at_ms) =
                    (letter.enqueued_at.as_millisecond(), letter.died_at.as_millisecond());
                let (queue, seq) = (letter.queue.name(), self.last_seq);
                let values =
                    params![queue, seq, letter.reason, letter.receives, enqueued_at_ms, died_at_ms, letter.body];
                self.connection.prepare_cached(sql)?.execute(values)
            }
        }
        .map(drop)
    }

    /// Makes it the shop of the folder, durably, if its documents say what its currency is.
    ///
    /// # Errors
    /// [`BuildingError::Contradiction`], [`BuildingError::Store`], [`BuildingError::Io`]; [`BuildingError::Open`] when another
    /// program uses the empty shop that is to be replaced. Nothing has changed then.
    pub fn finish(self, wanted: Option<Currency>) -> Result<(), BuildingError> {
        let Building { connection, temporary, folder, last_seq: _, _lock } = self;
        let found = currency(&connection)?;
        if found != wanted {
            let name = |currency: Option<Currency>| currency.map_or("none", |currency| currency.code()).to_owned();
            return Err(BuildingError::Contradiction { header: name(wanted), documents: name(found) });
        }
        connection.execute_batch("COMMIT").map_err(storage_error)?;
        connection.close().map_err(|(_, error)| storage_error(error))?;
        let io = |source| BuildingError::Io { folder: folder.clone(), source };
        File::open(&temporary).and_then(|file| file.sync_all()).map_err(io)?;
        let file = folder.join(FILE_NAME);
        put_away(&file, io)?;
        temporary.persist(&file).map_err(|error| io(error.error))?;
        sync_folder(&folder).map_err(io)
    }
}

/// Makes sure that nothing of value is in the folder.
fn check_empty(folder: &Path, wanted: Option<Currency>) -> Result<(), BuildingError> {
    let file = folder.join(FILE_NAME);
    if fs::metadata(&file).map_or(0, |metadata| metadata.len()) == 0 {
        let log = beside(&file, "-wal");
        let is_empty = fs::metadata(&log).map_or(0, |metadata| metadata.len()) == 0;
        return if is_empty { Ok(()) } else { Err(BuildingError::LogWithoutShop { file: log }) };
    }
    let look = || -> Result<_, SchemaError> {
        let connection = open_reader(&file)?;
        let version = schema::check(&connection)?;
        let rows = if version == 0 { 0 } else { rows(&connection)? };
        Ok((connection, version, rows))
    };
    let (connection, version, rows) = look().map_err(|source| open_error(&file, source))?;
    if version == 0 {
        return Ok(());
    }
    let found = currency(&connection)?;
    match (rows, found) {
        (0, _) => Ok(()),
        (1, Some(found)) if wanted.is_none_or(|wanted| wanted == found) => Ok(()),
        (1, Some(found)) => Err(BuildingError::OtherCurrency {
            folder: folder.to_owned(),
            found: found.code(),
            wanted: wanted.map_or("none", |wanted| wanted.code()),
        }),
        _ => Err(BuildingError::NotEmpty { folder: folder.to_owned() }),
    }
}

/// How many rows all tables have together; of each, two are as many as a million.
fn rows(connection: &Connection) -> rusqlite::Result<u64> {
    let mut tables = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
    let tables = tables.query_map([], |row| row.get::<_, String>(0))?;
    let counts = tables.map(|table| {
        let sql = format!("SELECT count(*) FROM (SELECT 1 FROM \"{}\" LIMIT 2)", table?);
        connection.query_row(&sql, [], |row| row.get::<_, u64>(0))
    });
    counts.sum()
}

/// Readies an empty shop, or none, for being replaced: it has no log any more. SQLite refuses to end the log while another
/// connection is open, which would otherwise take the new shop's log for the old one's.
fn put_away(file: &Path, io: impl Fn(io::Error) -> BuildingError) -> Result<(), BuildingError> {
    if file.exists() {
        let end_log = || -> rusqlite::Result<String> {
            let connection = Connection::open(file)?;
            let mode = connection.pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get(0))?;
            connection.close().map_err(|(_, error)| error)?;
            Ok(mode)
        };
        if end_log().map_err(|error| open_error(file, error.into()))? != "delete" {
            return Err(OpenError::Locked { file: file.to_owned() }.into());
        }
    }
    COMPANIONS.iter().try_for_each(|suffix| remove(&beside(file, suffix))).map_err(io)
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
