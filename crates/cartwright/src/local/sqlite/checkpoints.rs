//! Writing the log back into the file (a checkpoint), beside the writer.
//!
//! SQLite would do it in the commit after which the log has become long, and whoever waits for that commit, and all behind them,
//! would wait for thousands of pages and an `fsync` of the file. So a thread of its own writes back what is in the log by then, while
//! the writer goes on; after that the writer itself writes back the little that came meanwhile, which only it can end: the log
//! begins anew at a commit before which all of it was written back.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::{LONG_LOG_PAGES, OpenError, open_error, open_reader};

/// The writer's side of it.
pub(super) struct Checkpoints {
    /// Pages in the log, after the last commit.
    pages: Arc<AtomicI32>,
    /// Those after which the log is looked at as if it were empty: an attempt left them there, because somebody was reading them.
    left: i32,
    is_at_work: bool,
    begin: Sender<()>,
    ended: Receiver<()>,
    thread: JoinHandle<()>,
}

impl Checkpoints {
    /// Takes the checkpoints of the writer's `connection` to `file` over from SQLite.
    ///
    /// # Errors
    /// When the file cannot be opened once more, or there can be no further thread.
    pub(super) fn start(connection: &mut Connection, file: &Path) -> Result<Self, OpenError> {
        let cannot_use = |source: rusqlite::Error| open_error(file, source.into());
        let pages = Arc::new(AtomicI32::new(0));
        let hook = {
            let pages = Arc::clone(&pages);
            move |_: &mut _, count| {
                pages.store(count, Ordering::Relaxed);
                Ok(())
            }
        };
        connection.wal_hook(Some(hook)).map_err(cannot_use)?;
        let beside = open_reader(file).map_err(cannot_use)?;
        let (begin, begun) = channel();
        let (end, ended) = channel();
        let thread = std::thread::Builder::new().name("store-checkpoint".into()).spawn(move || {
            while begun.recv().is_ok() {
                checkpoint(&beside);
                if end.send(()).is_err() {
                    break;
                }
            }
        });
        let thread = thread.map_err(|source| OpenError::Folder { folder: file.to_owned(), source })?;
        Ok(Checkpoints { pages, left: 0, is_at_work: false, begin, ended, thread })
    }

    /// Called by the writer after each group: has the log written back when it has become long.
    pub(super) fn after_group(&mut self, connection: &Connection) {
        if self.is_at_work {
            if self.ended.try_recv() == Err(TryRecvError::Empty) {
                return;
            }
            self.is_at_work = false;
            checkpoint(connection);
            self.left = self.pages.load(Ordering::Relaxed);
            return;
        }
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < self.left {
            self.left = 0;
        }
        self.is_at_work = pages - self.left >= LONG_LOG_PAGES;
        if self.is_at_work {
            // A thread that is gone is noticed after the next group, and the writer does all of it by itself.
            let _ = self.begin.send(());
        }
    }

    /// Waits for what is under way, and ends the thread.
    pub(super) fn stop(self) {
        drop(self.begin);
        let _ = self.thread.join();
    }
}

/// Writes back what is in the log and nobody reads. What is written back is durable before the log is written over.
fn checkpoint(connection: &Connection) {
    if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
        tracing::warn!(%error, "the log could not be written back into the file; it grows until that succeeds");
    }
}
