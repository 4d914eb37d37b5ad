//! The store on one machine: one SQLite file, one writer with group commit, readers beside it.
//!
//! Every change goes through the writer thread (`writer`), which answers only after `fsync`. Readers have connections
//! of their own and see what was committed. A cache of hot documents stands before them; the writer keeps it right.
//! Events become rows of the queue tables in the transaction of their commit (`queues`).

mod building;
mod cache;
mod checkpoints;
mod connections;
mod dead_letters;
mod figures;
mod queues;
mod readers;
mod schema;
mod snapshot;
mod writer;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode, InterruptHandle, OptionalExtension, params};
use tokio::sync::{mpsc, oneshot};

use super::super::store::{Batch, Body, CommitError, Doc, Key, MAX_GET_MANY, MAX_PAGE, Page, Range, Store, Table};
use crate::app::Clock;
use crate::error::{Error, Kind, Result};
use crate::rest::Refusals;
use cache::{Cache, read_through};
use connections::{keep_log, map, open_reader, open_writer};
use figures::Meters;
use queues::Queues;
use readers::Readers;
use writer::Command;

pub use building::{Building, BuildingError};
pub use connections::set_up_writer;
pub use queues::Received;
pub use schema::SchemaError;
pub use snapshot::{ExportError, Snapshot};
pub use writer::MAX_EXPIRED;

/// The database's name in the data folder.
pub const FILE_NAME: &str = "cartwright.db";
const LOCK_NAME: &str = "cartwright.lock";

/// Commits that may wait for the writer before callers wait to hand in theirs.
const MAX_WAITING: usize = 1024;
/// Documents that are read in place at most. The file may have room in memory and yet not be there; a thread that may block
/// waits for more of them.
const MAX_READ_IN_PLACE: usize = 8;
/// As many of a range, which lie side by side.
const MAX_LISTED_IN_PLACE: usize = 25;
/// How often it is looked whether the counting of messages has ended that was told to.
const COUNTING_END_LOOK: Duration = Duration::from_millis(1);

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("another cartwright process{owner} is using {folder}; stop it first, or choose another folder with --data")]
    InUse {
        /// The data folder.
        folder: PathBuf,
        /// Its process id, when known, as " 123".
        owner: String,
    },
    /// The folder has no shop.
    #[error("there is no shop in {folder}: no {FILE_NAME}")]
    NoShop {
        /// The data folder.
        folder: PathBuf,
    },
    /// Something that is no folder has its name.
    #[error("{folder} is a file, not a folder; choose another with --data")]
    NotAFolder {
        /// The path that was given.
        folder: PathBuf,
    },
    /// The folder cannot be made or written.
    #[error("cannot write to the data folder {folder}: {source}; mend its permissions, or choose another with --data")]
    Folder {
        /// The data folder.
        folder: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The file is no database, or a damaged one.
    #[error("{file} is damaged or not a SQLite database ({source}); put it aside and restore a backup")]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// Another program holds a lock on the file.
    #[error("{file} is locked by another program (a SQLite tool with an open transaction?); close it there first")]
    Locked {
        /// The file.
        file: PathBuf,
    },
    /// The file may be read but not written.
    #[error("{file} is read-only for this user; mend its permissions, or choose another folder with --data")]
    ReadOnly {
        /// The file.
        file: PathBuf,
    },
    /// The disk is full.
    #[error("the disk is full: no space is left to open {file}")]
    Full {
        /// The file.
        file: PathBuf,
    },
    /// Anything else about the file.
    #[error("cannot use {file}: {source}; choose another folder with --data")]
    Unusable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: SchemaError,
    },
}

/// The store on one machine. Cheap to share; one a process and folder.
pub struct SqliteStore {
    file: PathBuf,
    commands: mpsc::Sender<Command>,
    cache: Arc<Cache>,
    queues: Arc<Queues>,
    readers: Readers,
    health: Arc<Mutex<Option<Error>>>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
    counting: Mutex<Option<Counting>>,
    lock: Mutex<Option<File>>,
    max_backlog: AtomicI64,
    refusals: Refusals,
    meters: Arc<OnceLock<Meters>>,
}

/// A thread that counts what was in the queues at the start, and how to end it early.
struct Counting {
    thread: std::thread::JoinHandle<()>,
    stop: InterruptHandle,
}

impl SqliteStore {
    /// Opens the store in `folder`, making it if it is not there.
    ///
    /// # Errors
    /// See [`OpenError`]; each says what to do.
    pub fn open(folder: &Path, clock: Arc<dyn Clock>) -> Result<Arc<Self>, OpenError> {
        let folder_error = |source| OpenError::Folder { folder: folder.to_owned(), source };
        let lock = take_lock(folder)?;
        let file = folder.join(FILE_NAME);
        let connection = open_writer(&file)?;
        let queues =
            Arc::new(Queues::load(&connection, clock.now()).map_err(|source| open_error(&file, source.into()))?);
        let counting = start_counting(&file, &queues)?;
        let cache = Arc::new(Cache::new());
        let (commands, inbox) = mpsc::channel(MAX_WAITING);
        let (health, meters) = (Arc::new(Mutex::new(None)), Arc::new(OnceLock::new()));
        let readers = Readers::new(&file, &cache);
        let writer = writer::Writer::new(
            connection,
            Arc::clone(&cache),
            Arc::clone(&queues),
            clock,
            Arc::clone(&health),
            Arc::clone(&meters),
            &file,
        )?;
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run(inbox))
            .map_err(folder_error)?;
        let writer = Mutex::new(Some(thread));
        Ok(Arc::new(SqliteStore {
            file,
            commands,
            cache,
            queues,
            readers,
            health,
            writer,
            counting: Mutex::new(counting),
            lock: Mutex::new(Some(lock)),
            max_backlog: AtomicI64::new(i64::MAX),
            refusals: Refusals::new("the queues hold all they may; requests that would add to them are refused"),
            meters,
        }))
    }

    /// From now on refuses what requests would add to the queues, with `queues_full` (503), while these hold so many messages
    /// all together. What the consumers of messages add is taken, because only they can make the queues shorter.
    pub fn limit_backlog(&self, messages: u64) {
        self.max_backlog.store(i64::try_from(messages).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Waits for all commits that were handed in, writes the log back into the file, and ends the writer. Commits that
    /// come later are refused with `store_closed`; another process may open the folder.
    pub async fn close(&self) {
        let counting = self.counting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Counting { thread, stop }) = counting {
            let end = move || {
                // Only a statement that runs can be interrupted, and there are several.
                while !thread.is_finished() {
                    stop.interrupt();
                    std::thread::sleep(COUNTING_END_LOOK);
                }
            };
            let _ = tokio::task::spawn_blocking(end).await;
        }
        // So that the writer is the last to close the file, but for those that are reading now.
        self.readers.close_idle();
        let (done, wait) = oneshot::channel();
        if self.commands.send(Command::Close(done)).await.is_ok() {
            let _ = wait.await;
        }
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        self.readers.close_idle();
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Removes documents whose time is over, up to [`MAX_EXPIRED`] of each table. Returns how many.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn remove_expired(&self) -> Result<usize> {
        self.command(Command::RemoveExpired).await
    }

    /// Hands a command to the writer and waits for its answer.
    async fn command<T>(&self, make: impl FnOnce(oneshot::Sender<Result<T>>) -> Command) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(make(reply)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn get(&self, key: &Key) -> Result<Option<Doc>> {
        key.validate().map_err(Error::internal)?;
        if let Some(known) = self.cache.get(key) {
            return Ok(known);
        }
        let (key, cache) = (key.clone(), Arc::clone(&self.cache));
        self.readers.read_documents(true, move |connection| read_through(connection, &cache, &key)).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Doc>>> {
        if keys.len() > MAX_GET_MANY {
            return Err(Error::internal(format!("at most {MAX_GET_MANY} keys at once, not {}", keys.len())));
        }
        let mut docs: Vec<Option<Doc>> = Vec::with_capacity(keys.len());
        let mut missing = Vec::new();
        for (at, key) in keys.iter().enumerate() {
            key.validate().map_err(Error::internal)?;
            let known = self.cache.get(key);
            if known.is_none() {
                missing.push((at, key.clone()));
            }
            docs.push(known.flatten());
        }
        if missing.is_empty() {
            return Ok(docs);
        }
        let (are_few, cache) = (missing.len() <= MAX_READ_IN_PLACE, Arc::clone(&self.cache));
        let read = move |connection: &Connection| {
            let read = missing.into_iter().map(|(at, key)| Ok((at, read_through(connection, &cache, &key)?)));
            read.collect::<rusqlite::Result<Vec<_>>>()
        };
        for (at, doc) in self.readers.read_documents(are_few, read).await? {
            docs[at] = doc;
        }
        Ok(docs)
    }

    async fn list(&self, range: &Range, after: Option<&str>, limit: usize) -> Result<Page> {
        let (range, after, limit) = (range.clone(), after.map(str::to_owned), limit.clamp(1, MAX_PAGE));
        let read = move |connection: &Connection| list(connection, &range, after.as_deref(), limit);
        self.readers.read_documents(limit <= MAX_LISTED_IN_PLACE, read).await
    }

    fn revision(&self, table: Table) -> Option<u64> {
        Some(self.cache.revision(table))
    }

    fn health(&self) -> Result<()> {
        if self.commands.is_closed() {
            return Err(closed());
        }
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        batch.validate()?;
        let of_a_request = batch.events.iter().any(|event| event.causation_id.is_none());
        let max_backlog = self.max_backlog.load(Ordering::Relaxed);
        if of_a_request && max_backlog < i64::MAX {
            self.queues.counted().await;
        }
        if of_a_request && self.queues.len() >= max_backlog {
            self.refusals.note();
            let message =
                "Too many messages wait to be processed; nothing was changed. Reading goes on; try again later.";
            return Err(Error::new(Kind::Overloaded, "queues_full", message).into());
        }
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Commit(batch, reply)).await.map_err(|_| CommitError::Failed(closed()))?;
        answer.await.map_err(|_| CommitError::Failed(closed()))?
    }
}

fn closed() -> Error {
    Error::new(Kind::Unavailable, "store_closed", "The server is shutting down.")
}

fn read_document(connection: &Connection, key: &Key) -> rusqlite::Result<Option<Doc>> {
    let mut statement = connection.prepare_cached(match key.table {
        Table::Catalog => "SELECT version, body FROM catalog WHERE pk = ?1 AND sk = ?2",
        Table::Basket => "SELECT version, body FROM basket WHERE pk = ?1 AND sk = ?2",
        Table::Ordering => "SELECT version, body FROM ordering WHERE pk = ?1 AND sk = ?2",
        Table::Purchases => "SELECT version, body FROM purchases WHERE pk = ?1 AND sk = ?2",
        Table::Operations => "SELECT version, body FROM operations WHERE pk = ?1 AND sk = ?2",
        Table::Access => "SELECT version, body FROM access WHERE pk = ?1 AND sk = ?2",
        Table::Notifications => "SELECT version, body FROM notifications WHERE pk = ?1 AND sk = ?2",
    })?;
    let row = statement.query_row(params![key.pk, key.sk], |row| {
        let body = Body::from_text(row.get_ref(1)?.as_str()?);
        Ok(Doc { sk: Arc::from(key.sk.as_str()), version: row.get(0)?, body: Arc::new(body) })
    });
    row.optional()
}

fn list(connection: &Connection, range: &Range, after: Option<&str>, limit: usize) -> rusqlite::Result<Page> {
    let (table, pk) = (range.partition.table.name(), &range.partition.pk);
    let end = successor(&range.prefix);
    let (from, to, order) = match (range.descending, after) {
        (false, Some(after)) if after >= range.prefix.as_str() => (Bound::After(after), end.as_deref(), "ASC"),
        (false, _) => (Bound::From(&range.prefix), end.as_deref(), "ASC"),
        (true, Some(after)) if end.as_deref().is_none_or(|end| after < end) => {
            (Bound::From(&range.prefix), Some(after), "DESC")
        }
        (true, _) => (Bound::From(&range.prefix), end.as_deref(), "DESC"),
    };
    let (operator, from) = match from {
        Bound::After(from) => (">", from),
        Bound::From(from) => (">=", from),
    };
    let upper = if to.is_some() { "AND sk < ?3" } else { "AND ?3 IS NULL" };
    let sql = format!(
        "SELECT sk, version, body FROM {table} WHERE pk = ?1 AND sk {operator} ?2 {upper} ORDER BY sk {order} LIMIT ?4"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![pk, from, to, limit + 1], |row| {
        let body = Body::from_text(row.get_ref(2)?.as_str()?);
        Ok(Doc { sk: Arc::from(row.get_ref(0)?.as_str()?), version: row.get(1)?, body: Arc::new(body) })
    })?;
    let mut docs = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let more = docs.len() > limit;
    docs.truncate(limit);
    let next = docs.last().filter(|_| more).map(|doc| doc.sk.to_string());
    Ok(Page { docs, next })
}

enum Bound<'a> {
    After(&'a str),
    From(&'a str),
}

/// The least text that is greater than every text that begins with `prefix`; none when there is no such text.
fn successor(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        let next = if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(last as u32 + 1) };
        if let Some(next) = next {
            text.push(next);
            return Some(text);
        }
    }
    None
}

/// Makes the folder if it is not there, and keeps other processes out of it.
fn take_lock(folder: &Path) -> Result<File, OpenError> {
    let folder_error = |source| OpenError::Folder { folder: folder.to_owned(), source };
    if folder.exists() && !folder.is_dir() {
        return Err(OpenError::NotAFolder { folder: folder.to_owned() });
    }
    std::fs::create_dir_all(folder).map_err(folder_error)?;
    let options =
        || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(folder.join(LOCK_NAME));
    let mut lock = options().map_err(folder_error)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            let _ = lock.read_to_string(&mut owner);
            let owner = owner.trim().parse::<u32>().map(|pid| format!(" {pid}")).unwrap_or_default();
            return Err(OpenError::InUse { folder: folder.to_owned(), owner });
        }
        Err(TryLockError::Error(source)) => return Err(folder_error(source)),
    }
    let note_owner = |lock: &mut File| {
        lock.set_len(0)?;
        lock.rewind()?;
        writeln!(lock, "{}", std::process::id())
    };
    note_owner(&mut lock).map_err(folder_error)?;
    Ok(lock)
}

/// Has the messages counted that are in the file now: at once when they are few, else by a thread of its own, beside the
/// writer.
fn start_counting(file: &Path, queues: &Arc<Queues>) -> Result<Option<Counting>, OpenError> {
    let unreadable = |source: rusqlite::Error| open_error(file, source.into());
    let connection = open_reader(file).inspect(keep_log).map_err(unreadable)?;
    map(&connection).map_err(unreadable)?;
    // Until the counting ends, the connection sees the file as it is at its first read.
    connection.execute_batch("BEGIN").map_err(unreadable)?;
    if Queues::are_few(&connection).map_err(unreadable)? {
        queues.count(&connection).map_err(unreadable)?;
        queues.note_counted();
        return Ok(None);
    }
    let (queues, stop) = (Arc::clone(queues), connection.get_interrupt_handle());
    let thread = std::thread::Builder::new().name("store-counting".into()).spawn(move || {
        match queues.count(&connection) {
            Err(error) if error.sqlite_error_code() != Some(ErrorCode::OperationInterrupted) => {
                tracing::error!(%error, "the messages in the queues could not be counted; the figures are too low");
            }
            _ => {}
        }
        queues.note_counted();
    });
    let thread = thread.map_err(|source| OpenError::Folder { folder: file.to_owned(), source })?;
    Ok(Some(Counting { thread, stop }))
}

fn open_error(file: &Path, error: SchemaError) -> OpenError {
    let file = file.to_owned();
    match error {
        SchemaError::Sqlite(source) => match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => OpenError::Damaged { file, source },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Locked { file },
            Some(ErrorCode::DiskFull) => OpenError::Full { file },
            _ if source
                .sqlite_error()
                .is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE) =>
            {
                OpenError::Full { file }
            }
            Some(ErrorCode::ReadOnly) => OpenError::ReadOnly { file },
            _ => OpenError::Unusable { file, source: SchemaError::Sqlite(source) },
        },
        source => OpenError::Unusable { file, source },
    }
}

/// What an error of SQLite means to a caller.
fn storage_error(error: rusqlite::Error) -> Error {
    let (kind, code, message) = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => (Kind::Unavailable, "storage_full", "The disk is full; nothing was changed."),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (Kind::Unavailable, "storage_locked", "Another program holds the database; nothing was changed.")
        }
        Some(ErrorCode::SystemIoFailure | ErrorCode::ReadOnly | ErrorCode::CannotOpen) => {
            (Kind::Unavailable, "storage_failed", "The disk does not take writes or reads.")
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            (Kind::Internal, "storage_damaged", "The database file is damaged; restore a backup.")
        }
        _ => return Error::internal(error),
    };
    Error::new(kind, code, message).because(error)
}

#[cfg(test)]
mod tests {
    use super::successor;

    #[test]
    fn the_successor_of_a_prefix_follows_all_that_begin_with_it() {
        assert_eq!(successor("a"), Some("b".into()));
        assert_eq!(successor("a\u{10ffff}"), Some("b".into()));
        assert_eq!(successor("\u{d7ff}"), Some("\u{e000}".into()));
        assert_eq!(successor("\u{10ffff}"), None);
        assert_eq!(successor(""), None);
    }
}
