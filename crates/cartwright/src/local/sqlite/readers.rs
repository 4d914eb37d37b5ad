//! Reads past the cache, by connections that change nothing: where the caller is, or on a thread that may block.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::cache::Cache;
use super::connections::{keep_log, map, open_reader};
use super::{closed, storage_error};
use crate::error::{Error, Result};

/// Reads at the same time. More would only wait for the same cores. As many connections of each kind may be left open, with up to 2 MB
/// of pages each.
const MAX_READERS: usize = 8;
/// So many reads in a row must have seen no change for the next to map the file.
const READS_TO_MAP: u64 = 16;
/// Reads of few documents between two looks at the size of the file.
const READS_PER_LOOK: u64 = 1024;
/// Part of the memory that the file may take to be as good as in memory: one in so many.
const PART_OF_MEMORY: u64 = 2;

/// Those who read the file.
pub(super) struct Readers {
    idle: Arc<Idle>,
    slots: Semaphore,
    file_in_memory_bytes: u64,
    reads: AtomicU64,
    fits_in_memory: AtomicBool,
}

/// Connections that nobody uses just now.
struct Idle {
    file: PathBuf,
    cache: Arc<Cache>,
    /// Changes of the file that the last read saw.
    seen: AtomicU64,
    /// Reads in a row that saw as many.
    unchanged: AtomicU64,
    mapped: Mutex<Vec<Connection>>,
    plain: Mutex<Vec<Connection>>,
}

impl Readers {
    /// Readers of `file`, whose changes `cache` counts.
    pub(super) fn new(file: &Path, cache: &Arc<Cache>) -> Self {
        let (file, cache) = (file.to_owned(), Arc::clone(cache));
        let (seen, unchanged) = (AtomicU64::new(0), AtomicU64::new(0));
        let idle = Idle { file, cache, seen, unchanged, mapped: Mutex::default(), plain: Mutex::default() };
        Readers {
            idle: Arc::new(idle),
            slots: Semaphore::new(MAX_READERS),
            file_in_memory_bytes: memory_bytes() / PART_OF_MEMORY,
            reads: AtomicU64::new(0),
            fits_in_memory: AtomicBool::new(false),
        }
    }

    /// Runs `read` on a thread that may block, with a connection of its own.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let _slot = self.slots.acquire().await.map_err(|_| closed())?;
        let idle = Arc::clone(&self.idle);
        let task = tokio::task::spawn_blocking(move || idle.read(read));
        task.await.map_err(Error::internal)?.map_err(storage_error)
    }

    /// Runs a `read` of documents: here, when they are few and the file is as good as in memory, because handing the read to another
    /// thread then costs several times the read.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn read_documents<T: Send + 'static>(
        &self,
        are_few: bool,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        if are_few
            && self.fits_in_memory()
            && let Ok(_slot) = self.slots.try_acquire()
        {
            return self.idle.read(read).map_err(storage_error);
        }
        self.read(read).await
    }

    /// Whether the file takes no more than half of the memory, and so is there after it has been read once; looked at now and then.
    fn fits_in_memory(&self) -> bool {
        if self.reads.fetch_add(1, Ordering::Relaxed).is_multiple_of(READS_PER_LOOK) {
            let fits = std::fs::metadata(&self.idle.file).is_ok_and(|file| file.len() <= self.file_in_memory_bytes);
            self.fits_in_memory.store(fits, Ordering::Relaxed);
        }
        self.fits_in_memory.load(Ordering::Relaxed)
    }

    /// Closes the connections that nobody uses.
    pub(super) fn close_idle(&self) {
        for connections in [&self.idle.mapped, &self.idle.plain] {
            connections.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}

impl Idle {
    /// Runs `read` with a connection that nobody else uses meanwhile: one that is idle, or a new one.
    ///
    /// It maps the file if nothing has changed for a while. Reading mapped pages costs half, but with each change SQLite gives the
    /// map back to the system, and what a new one costs takes many reads to come in.
    fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let is_mapped = self.unchanged_reads() >= READS_TO_MAP;
        let idle = if is_mapped { &self.mapped } else { &self.plain };
        let connection = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = connection.map_or_else(|| self.open(is_mapped), Ok)?;
        let result = read(&connection);
        if result.is_ok() {
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        result
    }

    /// Counts a read, and tells how many before it, in a row, saw the same state of the file.
    fn unchanged_reads(&self) -> u64 {
        let changes = self.cache.changes();
        if self.seen.swap(changes, Ordering::Relaxed) == changes {
            return self.unchanged.fetch_add(1, Ordering::Relaxed);
        }
        self.unchanged.store(1, Ordering::Relaxed);
        0
    }

    fn open(&self, is_mapped: bool) -> rusqlite::Result<Connection> {
        let connection = open_reader(&self.file).inspect(keep_log)?;
        if is_mapped {
            map(&connection)?;
        }
        Ok(connection)
    }
}

/// Memory of this machine, or as much of it as this process may take.
#[cfg(target_os = "linux")]
fn memory_bytes() -> u64 {
    let machine = rustix::system::sysinfo();
    let all = u64::from(machine.mem_unit).saturating_mul(machine.totalram);
    limit_of_groups().map_or(all, |limit| limit.min(all))
}

/// The least memory that this process may take as a member of its control groups, if one of them has a limit.
#[cfg(target_os = "linux")]
fn limit_of_groups() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let limit_of = |group: &Path| {
        let file = Path::new("/sys/fs/cgroup").join(group).join("memory.max");
        std::fs::read_to_string(file).ok()?.trim().parse().ok()
    };
    Path::new(group).ancestors().filter_map(limit_of).min()
}

/// Memory of a machine that is not asked: 4 GB.
#[cfg(not(target_os = "linux"))]
fn memory_bytes() -> u64 {
    4 << 30
}
