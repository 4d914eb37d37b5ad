//! What a shop does to its files, as seen from outside: nothing in the server counts, and nothing slows it.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use cartwright::local::sqlite::FILE_NAME;

/// Where the header of SQLite's index of the write-ahead log (`-shm`) counts transactions that wrote (`iChange`), in the
/// byte order of the machine.
const CHANGES_AT: u64 = 8;
/// Where the header of the log (`-wal`) counts how often it was begun anew, big-endian.
const RESTARTS_AT: u64 = 12;

/// What a server has written since some time in the past.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    /// Bytes it has caused to be written to the disk (`write_bytes` of `/proc/PID/io`).
    bytes: u64,
    /// Transactions of SQLite that wrote. With `synchronous=FULL` each is one `fsync` of the log.
    transactions: u64,
    /// Times the log was copied back to the database and begun anew: three more `fsync`s each.
    restarts: u64,
}

impl Written {
    /// Of the process and its data folder; none where the system does not tell.
    pub(crate) fn read(pid: u32, folder: &Path) -> Option<Self> {
        let io = std::fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
        let bytes = io.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.parse().ok()?;
        let number = |suffix: &str, at| -> Option<[u8; 4]> {
            let mut bytes = [0; 4];
            File::open(folder.join(format!("{FILE_NAME}{suffix}"))).ok()?.read_exact_at(&mut bytes, at).ok()?;
            Some(bytes)
        };
        let transactions = u32::from_ne_bytes(number("-shm", CHANGES_AT)?).into();
        let restarts = u32::from_be_bytes(number("-wal", RESTARTS_AT)?).into();
        Some(Written { bytes, transactions, restarts })
    }

    /// What was written since `before`.
    pub(crate) fn since(&self, before: &Written) -> Written {
        Written {
            bytes: self.bytes.saturating_sub(before.bytes),
            transactions: self.transactions.saturating_sub(before.transactions),
            restarts: self.restarts.saturating_sub(before.restarts),
        }
    }

    /// In words, for each of so many.
    pub(crate) fn of(&self, count: u64) -> impl fmt::Display {
        let each = |all: u64| all as f64 / count.max(1) as f64;
        let Written { bytes, transactions, restarts } = *self;
        let (kb, transactions) = (each(bytes) / 1024.0, each(transactions));
        format!(
            "{transactions:.2} transactions with one fsync each, {kb:.1} KB written; the log began anew {restarts} times"
        )
    }
}

/// Size of the database and its log, in bytes.
pub(crate) fn size_of(folder: &Path) -> u64 {
    ["", "-wal"]
        .iter()
        .filter_map(|suffix| std::fs::metadata(folder.join(format!("{FILE_NAME}{suffix}"))).ok())
        .map(|metadata| metadata.len())
        .sum()
}
