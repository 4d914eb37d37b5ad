//! The file under the simulation: the real store, one call at a time, and a power cut after any of them.

use std::fs;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use cartwright::app::Clock;
use cartwright::local::sqlite::SqliteStore;
use tempfile::TempDir;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a call of the real store to its end. The store's threads do the work, so that this thread may stand still
/// meanwhile, and with it everything else in the simulation.
pub fn now_or_wait<T>(call: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut call = pin!(tokio::task::unconstrained(call));
    loop {
        match call.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(outcome) => return outcome,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// A shop's file, in a folder of its own.
pub struct File {
    pub store: Arc<SqliteStore>,
    folder: TempDir,
}

impl File {
    /// A new one.
    pub fn new(clock: Arc<dyn Clock>) -> File {
        let folder = TempDir::new().unwrap();
        File { store: SqliteStore::open(folder.path(), clock).unwrap(), folder }
    }

    /// What is on disk at this moment, opened as after a power cut.
    pub fn after_power_cut(&self, clock: Arc<dyn Clock>) -> File {
        let folder = TempDir::new().unwrap();
        copy(self.folder.path(), folder.path());
        File { store: SqliteStore::open(folder.path(), clock).unwrap(), folder }
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        // The index of the log lies in memory that a power cut takes.
        if path.extension().is_none_or(|extension| extension != "db-shm" && extension != "lock") {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}
