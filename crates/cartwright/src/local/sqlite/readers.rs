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

/// Reads at the same time. More would only wait for the same cores, and each costs file descriptors.
const MAX_READERS: usize = 8;
/// Reads between which nothing may have changed for the next to map the file.
const READS_TO_MAP: u64 = 16;
/// Reads between two looks at the size of the file.
const READS_PER_LOOK: u64 = 1024;
/// Memory of a machine that does not tell.
const ASSUMED_MEMORY_BYTES: u64 = 4 << 30;

/// Those who read the file.
pub(super) struct Readers {
    idle: Arc<Idle>,
    slots: Semaphore,
    memory_bytes: u64,
    reads: AtomicU64,
    fits_in_memory: AtomicBool,
}

/// Connections that nobody uses just now.
struct Idle {
    file: PathBuf,
    cache: Arc<Cache>,
    /// Changes of the store that the last read saw, and reads since that saw no further one.
    seen: AtomicU64,
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
            memory_bytes: memory_bytes(),
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

    /// Runs a `read` of few documents: here, when the file is as good as in memory, because handing the read to another thread then
    /// costs several times the read.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn read_few<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        if self.fits_in_memory()
            && let Ok(_slot) = self.slots.try_acquire()
        {
            return self.idle.read(read).map_err(storage_error);
        }
        self.read(read).await
    }

    /// Whether the system has room for the whole file in memory, beside everything else; it is looked now and then.
    fn fits_in_memory(&self) -> bool {
        if self.reads.fetch_add(1, Ordering::Relaxed).is_multiple_of(READS_PER_LOOK) {
            let fits = std::fs::metadata(&self.idle.file).is_ok_and(|file| file.len() <= self.memory_bytes / 2);
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

    /// Counts a read, and tells how many before it saw what it will see.
    fn unchanged_reads(&self) -> u64 {
        let changes = self.cache.changes();
        if self.seen.swap(changes, Ordering::Relaxed) == changes {
            return self.unchanged.fetch_add(1, Ordering::Relaxed);
        }
        self.unchanged.store(0, Ordering::Relaxed);
        0
    }

    fn open(&self, is_mapped: bool) -> rusqlite::Result<Connection> {
        let connection = open_reader(&self.file)?;
        keep_log(&connection);
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
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|limit| limit.trim().parse().ok());
    [Some(all), limit].into_iter().flatten().min().unwrap_or(ASSUMED_MEMORY_BYTES)
}

#[cfg(not(target_os = "linux"))]
fn memory_bytes() -> u64 {
    ASSUMED_MEMORY_BYTES
}
