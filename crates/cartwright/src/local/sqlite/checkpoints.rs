//! Writing the log back into the file (a checkpoint), beside the writer.
//!
//! SQLite would do it in the commit after which the log has become long, and whoever waits for that commit, and all behind them,
//! would wait until thousands of pages are copied. So a thread of its own copies what is in the log by then, while the writer goes
//! on. After that the writer copies the little that came meanwhile, and flushes the file, which nobody may do earlier: the log begins
//! anew at a commit before which all of it was written back, and durably.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::connections::{LONG_LOG_PAGES, keep_log, open_reader};
use super::{OpenError, open_error};

/// Pages that come until the log is looked at again that has not begun anew, because somebody was reading it just then.
const RETRY_PAGES: i32 = 250;
/// Pages in the log from which on the writer copies all there is, so that it does not grow faster than it is written back.
const HUGE_LOG_PAGES: i32 = 16 * LONG_LOG_PAGES;

/// The writer's side of it.
pub(super) struct Checkpoints {
    /// Pages in the log, after the last commit.
    pages: Arc<AtomicI32>,
    /// As many as there were when it was last looked at.
    seen: i32,
    /// How many are the next to be written back.
    due: i32,
    is_at_work: bool,
    /// The thread goes on until there is none.
    begin: Option<Sender<()>>,
    ended: Receiver<rusqlite::Result<i32>>,
    thread: Option<JoinHandle<()>>,
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
        let beside = open_reader(file).inspect(keep_log).map_err(cannot_use)?;
        let (begin, begun) = channel();
        let (end, ended) = channel();
        let work = move || {
            for () in begun {
                if end.send(checkpoint(&beside)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("store-checkpoint".into()).spawn(work);
        let thread = thread.map_err(|source| OpenError::Folder { folder: file.to_owned(), source })?;
        let (begin, thread) = (Some(begin), Some(thread));
        Ok(Checkpoints { pages, seen: 0, due: LONG_LOG_PAGES, is_at_work: false, begin, ended, thread })
    }

    /// Called by the writer after each group: has the log written back when it has become long.
    ///
    /// # Errors
    /// Why it could not be. After an I/O error what was copied may be lost, and only the log still has it: then nothing must be
    /// written back any more, because the log would end.
    pub(super) fn after_group(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < self.seen {
            self.due = LONG_LOG_PAGES;
        }
        self.seen = pages;
        if !self.is_at_work {
            if let Some(begin) = &self.begin
                && pages >= self.due
            {
                self.is_at_work = true;
                // A thread that is gone is noticed after the next group.
                let _ = begin.send(());
            }
            return Ok(());
        }
        let copied = match self.ended.try_recv() {
            Err(TryRecvError::Empty) => return Ok(()),
            Ok(copied) => copied,
            Err(TryRecvError::Disconnected) => Ok(pages),
        };
        self.is_at_work = false;
        let left = pages - copied?;
        // The thread had copied all of it, and the log has begun anew since.
        if left < 0 {
            return Ok(());
        }
        self.due = pages + RETRY_PAGES;
        // Very much is left when somebody has been reading an old state: that is for the thread, the next time.
        if left < LONG_LOG_PAGES || pages >= HUGE_LOG_PAGES {
            checkpoint(connection)?;
        }
        Ok(())
    }

    /// Waits for what is under way, and ends the thread.
    ///
    /// # Errors
    /// Those of [`Checkpoints::after_group`], of what was under way.
    pub(super) fn stop(&mut self) -> rusqlite::Result<()> {
        self.begin = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.ended.try_iter().try_for_each(|copied| copied.map(drop))
    }
}

/// Copies what is in the log, and not read by anybody as it was before, into the file; and flushes the file, if that was all. Returns
/// how many pages of the log are copied now.
fn checkpoint(connection: &Connection) -> rusqlite::Result<i32> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(2))
}
