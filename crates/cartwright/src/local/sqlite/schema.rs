//! What the file looks like, and how an older one becomes a newer one.

use rusqlite::Connection;

/// Marks the file as ours (`PRAGMA application_id`): "CART".
const APPLICATION_ID: i32 = 0x4341_5254;

/// The steps from one schema version to the next; `PRAGMA user_version` counts those that were taken. Never change a step
/// that was released: add one.
const MIGRATIONS: &[&str] = &[include_str!("schema_1.sql"), include_str!("schema_2.sql"), include_str!("schema_3.sql")];

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Written by a newer release.
    #[error("it was written by a newer Cartwright (schema {found}; this one knows up to {known}); upgrade to open it", known = MIGRATIONS.len())]
    Newer {
        /// The version found.
        found: i32,
    },
    /// Written by an older release, and not opened by this one yet.
    #[error("it was written by an older Cartwright (schema {found}; this one exports {known}); start it once with this release, or export it with that one", known = MIGRATIONS.len())]
    Older {
        /// The version found.
        found: usize,
    },
    /// A database of another program.
    #[error("it is a SQLite database of another program")]
    Foreign,
    /// The file system cannot share memory between processes, as SQLite's write-ahead log needs.
    #[error("its file system does not support a write-ahead log (a network drive?)")]
    NoWriteAheadLog,
    /// SQLite refused.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// Makes sure that the file is ours, or new, before anything in it is changed. Returns the steps it has taken.
pub(super) fn check(connection: &Connection) -> Result<usize, SchemaError> {
    let application_id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let found: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application_id != APPLICATION_ID && (tables > 0 || application_id != 0) {
        return Err(SchemaError::Foreign);
    }
    let taken = usize::try_from(found).unwrap_or(0);
    if taken > MIGRATIONS.len() {
        return Err(SchemaError::Newer { found });
    }
    Ok(taken)
}

/// Makes sure that a file on which so many steps were taken needs no more.
pub(super) fn require_current(taken: usize) -> Result<(), SchemaError> {
    if taken < MIGRATIONS.len() { Err(SchemaError::Older { found: taken }) } else { Ok(()) }
}

/// Brings the file to the present schema, in one transaction a step.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), SchemaError> {
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    if mode != "wal" {
        return Err(SchemaError::NoWriteAheadLog);
    }
    let taken = check(connection)?;
    for (at, step) in MIGRATIONS.iter().enumerate().skip(taken) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", at + 1)?;
        transaction.commit()?;
    }
    Ok(())
}
