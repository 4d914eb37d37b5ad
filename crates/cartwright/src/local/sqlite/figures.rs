//! What the store tells of itself: how its writer is doing, how large its file is, how much room is left.

use std::sync::Arc;
use std::time::Duration;

use super::SqliteStore;
use super::connections::beside;
use crate::metrics::{
    Histogram, Host, Registry, STORE_CACHE_HITS, STORE_CACHE_MISSES, STORE_DISK_FREE_BYTES, STORE_FILE_BYTES,
    STORE_FSYNC_DURATION, STORE_GROUP_SIZE, STORE_WRITABLE,
};
use crate::store::Store;

/// What the writer measures, once someone wants to know.
pub(super) struct Meters {
    registry: Arc<Registry>,
    group_size: Histogram,
    fsync: Histogram,
}

impl Meters {
    /// So many commands became durable, by an fsync that took so long.
    pub(super) fn group(&self, commands: usize, fsync: Duration) {
        self.group_size.record(commands as u64);
        self.fsync.time(fsync);
    }
}

impl Host for SqliteStore {
    fn attach(&self, registry: &Arc<Registry>) {
        let group_size = registry.histogram(STORE_GROUP_SIZE, &[]);
        let fsync = registry.histogram(STORE_FSYNC_DURATION, &[]);
        let _ = self.meters.set(Meters { registry: Arc::clone(registry), group_size, fsync });
    }

    fn refresh(&self) {
        let Some(Meters { registry, .. }) = self.meters.get() else { return };
        registry.counter(STORE_CACHE_HITS, &[]).set(self.cache.hits());
        registry.counter(STORE_CACHE_MISSES, &[]).set(self.cache.misses());
        for (name, file) in [("database", self.file.clone()), ("wal", beside(&self.file, "-wal"))] {
            let bytes = std::fs::metadata(file).map_or(0, |file| file.len());
            registry.gauge(STORE_FILE_BYTES, &[name]).set(bytes);
        }
        registry.gauge(STORE_WRITABLE, &[]).set(u64::from(self.health().is_ok()));
        if let Some(bytes) = self.disk_free_bytes() {
            registry.gauge(STORE_DISK_FREE_BYTES, &[]).set(bytes);
        }
    }

    fn disk_free_bytes(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(self.file.parent()?).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}
