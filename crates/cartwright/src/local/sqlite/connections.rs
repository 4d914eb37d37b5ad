//! The connections to the file: how they are opened, and what each may do.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::{OpenError, SchemaError, open_error, schema};

/// How long to wait for another program that has the file locked, before giving up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Part of the file that a reader maps, when it does, which halves the cost of a read: the most that SQLite maps.
/// What the system keeps of it in memory is its own affair, and no memory that the server holds.
const MMAP_BYTES: i64 = 0x7fff_0000;
/// Pages in the log from which on it is written back into the file: 16 MB. A page that changes again and again is written back once
/// for all of them, but what is not written back yet has to be read again after a crash.
pub(super) const LONG_LOG_PAGES: i32 = 4000;

/// A file that SQLite has beside the database: `-wal` is the log.
pub(super) fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The connection of the writer, to a file that is made if it is not there, and has the present schema then.
pub(super) fn open_writer(file: &Path) -> Result<Connection, OpenError> {
    let open = || -> Result<Connection, SchemaError> {
        let mut connection = Connection::open(file)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        schema::check(&connection)?;
        set_up_writer(&connection)?;
        connection.set_prepared_statement_cache_capacity(64);
        schema::migrate(&mut connection)?;
        Ok(connection)
    };
    if std::fs::metadata(file).is_ok_and(|metadata| metadata.len() > 0)
        && OpenOptions::new().append(true).open(file).is_err()
    {
        return Err(OpenError::ReadOnly { file: file.to_owned() });
    }
    open().map_err(|source| open_error(file, source))
}

/// A connection that changes nothing.
pub(super) fn open_reader(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "query_only", true)?;
    plan_once(&connection)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Lets a connection that reads map the file.
pub(super) fn map(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "mmap_size", MMAP_BYTES)
}

/// Makes a connection one that writes as the store does: durably, with a log that is long enough to write in bulk. Public
/// for the benchmark, which writes the same way without a store.
///
/// # Errors
/// Those of SQLite.
pub fn set_up_writer(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", LONG_LOG_PAGES)?;
    connection.pragma_update(None, "cache_size", -8 * 1024)?;
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    plan_once(connection)
}

/// Keeps a connection from writing the log back when it is closed and is the last: that is for the writer, which knows whether
/// the disk has failed.
pub(super) fn keep_log(connection: &Connection) {
    let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
}

/// Has statements planned when they are prepared, and not again for each value that is bound to them.
fn plan_once(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}
