//! The queues of the store: rows of one table, and in memory what is to be received next.
//!
//! A message is durable with the commit that emitted it. The newest messages are also kept in memory, up to a bound, so
//! that receiving one costs neither a read nor a write; what does not fit waits on disk and is loaded when the memory has
//! run dry. A failed receive writes when the message is due again; a processed one deletes its row.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::{Notify, SetOnce};

use super::SqliteStore;
use super::dead_letters::TakenRows;
use super::writer::Command;
use crate::error::{Error, Result};
use crate::events::{Envelope, Queue};
use crate::queues::Throughput;

/// Places in the queues count from here: the first of January 2026.
const SEQ_EPOCH_S: i64 = 1_767_225_600;
/// Messages of one queue held in memory.
const MAX_IN_MEMORY: usize = 1_000;
/// Messages loaded from disk in one go.
const LOAD: usize = 200;
/// Messages and dead letters that are few: they are counted before the store is open.
const FEW: i64 = 1_000;

/// A message as it is received.
#[derive(Debug, Clone)]
pub struct Received {
    /// The queue.
    pub queue: Queue,
    /// Its place in the queue.
    pub seq: i64,
    /// How often it was received before, in vain.
    pub receives: u32,
    /// The message; what is wrong with the row when it is none.
    pub envelope: Result<Arc<Envelope>, String>,
}

/// A message that is being enqueued.
pub(super) struct NewMessage {
    pub(super) queue: Queue,
    pub(super) seq: i64,
    /// The message; none when this and others of the same queue right before it are to be loaded from disk.
    pub(super) envelope: Option<Result<Arc<Envelope>, String>>,
}

/// A change of a message's state.
pub(super) enum QueueCommand {
    /// It was processed.
    Delete { queue: Queue, seq: i64 },
    /// It is to be received again, at that time.
    Retry { queue: Queue, seq: i64, receives: u32, due_at_ms: i64 },
    /// It goes to the dead letters.
    Bury { queue: Queue, seq: i64, receives: u32, reason: String },
}

/// What is in memory of all queues.
pub(super) struct Queues {
    backlogs: [Backlog; Queue::ALL.len()],
    next_seq: AtomicI64,
    /// Set when what was in the file at the start has been counted.
    counted: SetOnce<()>,
}

#[derive(Default)]
struct Backlog {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Default)]
struct State {
    /// To be received next, in order.
    ready: VecDeque<Received>,
    /// Every message up to here is or was in memory, but for those that wait to be received again.
    loaded_to: i64,
    /// The newest message. Greater than `loaded_to` when some wait on disk.
    newest: i64,
    /// When the first of those that wait to be received again is due.
    next_due_ms: Option<i64>,
    /// Of those that wait to be received again: those that are in memory or in work.
    in_hand: HashSet<i64>,
    counts: Counts,
}

/// How many messages there are of a queue, and what has become of those received since the start. Each is changed where
/// the lock is held anyway.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    /// Rows, those in work included.
    pub(super) in_queue: i64,
    /// In work.
    pub(super) in_flight: i64,
    /// Dead letters.
    pub(super) dead: i64,
    pub(super) since_start: Throughput,
}

impl State {
    /// Notes that a message that waits to be received again is due then.
    fn due_at(&mut self, due_ms: i64) {
        self.next_due_ms = Some(self.next_due_ms.map_or(due_ms, |earlier| earlier.min(due_ms)));
    }

    /// Hands out the message that is to be received next.
    fn take_ready(&mut self) -> Option<Received> {
        let received = self.ready.pop_front()?;
        self.counts.in_flight += 1;
        self.counts.since_start.received += 1;
        Some(received)
    }
}

impl Queues {
    /// Finds out what waits in the file, but for how much.
    pub(super) fn load(connection: &Connection, now: Timestamp) -> rusqlite::Result<Self> {
        let highest = |table: &str, queue: Queue| {
            let sql = format!("SELECT max(seq) FROM {table} WHERE queue = ?1");
            connection.query_row(&sql, [queue.name()], |row| row.get::<_, Option<i64>>(0))
        };
        let queues = Queues { backlogs: Default::default(), next_seq: AtomicI64::new(0), counted: SetOnce::new() };
        let mut last = 0;
        for queue in Queue::ALL {
            let newest = highest("messages", queue)?.unwrap_or(0);
            last = last.max(newest).max(highest("dead_letters", queue)?.unwrap_or(0));
            let mut state = queues.state(queue);
            state.newest = newest;
            state.next_due_ms = next_due(connection, queue)?;
        }
        // A place is never given twice, although those of messages that are gone are not in the file: each start begins
        // with a thousand for every second there has been since.
        let first = (now.as_second() - SEQ_EPOCH_S).max(0) * 1000;
        queues.next_seq.store(first.max(last + 1), Ordering::Relaxed);
        Ok(queues)
    }

    /// Whether there is so little in the file that counting it takes no time.
    pub(super) fn are_few(connection: &Connection) -> rusqlite::Result<bool> {
        let some = "SELECT count(*) FROM (SELECT 1 FROM messages UNION ALL SELECT 1 FROM dead_letters LIMIT ?1)";
        connection.query_row(some, [FEW + 1], |row| Ok(row.get::<_, i64>(0)? <= FEW))
    }

    /// Adds to the counts what `connection` sees of the file: its state before anything was changed that is counted
    /// otherwise. Takes the longer the more there is.
    pub(super) fn count(&self, connection: &Connection) -> rusqlite::Result<()> {
        for queue in Queue::ALL {
            let count = |table: &str| {
                let sql = format!("SELECT count(*) FROM {table} WHERE queue = ?1");
                connection.query_row(&sql, [queue.name()], |row| row.get::<_, i64>(0))
            };
            let (messages, dead) = (count("messages")?, count("dead_letters")?);
            let counts = &mut self.state(queue).counts;
            counts.in_queue += messages;
            counts.dead += dead;
        }
        Ok(())
    }

    /// Says that nothing more will be added to the counts.
    pub(super) fn note_counted(&self) {
        let _ = self.counted.set(());
    }

    /// Waits until the counts are whole: a moment after the start, when much is in the file.
    pub(super) async fn counted(&self) {
        self.counted.wait().await;
    }

    pub(super) fn counts(&self, queue: Queue) -> Counts {
        self.state(queue).counts
    }

    /// Messages of all queues together, those in work included.
    pub(super) fn len(&self) -> i64 {
        Queue::ALL.into_iter().map(|queue| self.state(queue).counts.in_queue).sum()
    }

    fn backlog(&self, queue: Queue) -> &Backlog {
        &self.backlogs[queue as usize]
    }

    fn state(&self, queue: Queue) -> MutexGuard<'_, State> {
        self.backlog(queue).state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn next_seq(&self) -> i64 {
        self.next_seq.fetch_add(1, Ordering::Relaxed)
    }

    /// Writes the row of a new message, which `body` is the text of.
    pub(super) fn insert(
        &self,
        connection: &Connection,
        queue: Queue,
        body: &str,
        envelope: Result<Arc<Envelope>, String>,
        now_ms: i64,
    ) -> rusqlite::Result<NewMessage> {
        let seq = self.next_seq();
        let sql = "INSERT INTO messages (queue, seq, enqueued_at_ms, body) VALUES (?1, ?2, ?3, ?4)";
        connection.prepare_cached(sql)?.execute(params![queue.name(), seq, now_ms, body])?;
        Ok(NewMessage { queue, seq, envelope: Some(envelope) })
    }

    /// Writes a change of a message's state.
    pub(super) fn execute(&self, connection: &Connection, command: &QueueCommand, now_ms: i64) -> rusqlite::Result<()> {
        let delete = |queue: &Queue, seq: &i64| {
            let sql = "DELETE FROM messages WHERE queue = ?1 AND seq = ?2";
            connection.prepare_cached(sql)?.execute(params![queue.name(), seq])
        };
        match command {
            QueueCommand::Delete { queue, seq } => delete(queue, seq)?,
            QueueCommand::Retry { queue, seq, receives, due_at_ms } => {
                let sql = "UPDATE messages SET receives = ?3, due_at_ms = ?4 WHERE queue = ?1 AND seq = ?2";
                connection.prepare_cached(sql)?.execute(params![queue.name(), seq, receives, due_at_ms])?
            }
            QueueCommand::Bury { queue, seq, receives, reason } => {
                let sql = "INSERT OR REPLACE INTO dead_letters (queue, seq, reason, receives, enqueued_at_ms, died_at_ms, body) \
                           SELECT queue, seq, ?3, ?4, enqueued_at_ms, ?5, body FROM messages WHERE queue = ?1 AND seq = ?2";
                connection.prepare_cached(sql)?.execute(params![queue.name(), seq, reason, receives, now_ms])?;
                delete(queue, seq)?
            }
        };
        Ok(())
    }

    /// Takes over messages that have just become durable, in their order, as far as there is room.
    pub(super) fn offer(&self, messages: Vec<NewMessage>) {
        for NewMessage { queue, seq, envelope } in messages {
            let mut state = self.state(queue);
            if let Some(envelope) = envelope {
                if state.loaded_to == state.newest && state.ready.len() < MAX_IN_MEMORY {
                    state.ready.push_back(Received { queue, seq, receives: 0, envelope });
                    state.loaded_to = seq;
                }
                state.counts.in_queue += 1;
            }
            state.newest = seq;
            drop(state);
            self.backlog(queue).arrived.notify_one();
        }
    }

    /// Counts dead letters that have just been dealt with.
    pub(super) fn note_taken(&self, taken: &TakenRows) {
        let count = i64::try_from(taken.places.len()).unwrap_or(i64::MAX);
        let mut state = self.state(taken.queue);
        state.counts.dead -= count;
        if taken.redriven_to.is_some() {
            state.counts.in_queue += count;
        }
    }
}

impl SqliteStore {
    /// The next message of `queue` that is due at `now_ms`, if there is one. It stays in the queue until it is
    /// [deleted](Self::delete_message), [retried](Self::retry_message) or [buried](Self::bury_message); after a crash it
    /// is received again.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn receive(&self, queue: Queue, now_ms: i64) -> Result<Option<Received>> {
        if let Some(received) = self.queues.state(queue).take_ready() {
            return Ok(Some(received));
        }
        let on_disk = {
            let state = self.queues.state(queue);
            (state.loaded_to < state.newest).then_some((state.loaded_to, state.newest))
        };
        if let Some((after, newest)) = on_disk {
            self.load_new(queue, after, newest).await?;
        }
        // Taken, not copied: a message that is put back while we read sets it again, and must not be forgotten.
        let due = self.queues.state(queue).next_due_ms.take_if(|due| *due <= now_ms);
        if let Some(due_ms) = due {
            let loaded = self.load_due(queue, now_ms).await;
            loaded.inspect_err(|_| self.queues.state(queue).due_at(due_ms))?;
        }
        Ok(self.queues.state(queue).take_ready())
    }

    /// Loads messages that have never been received. Only one task receives of a queue, so nobody else moves `loaded_to`
    /// while some wait on disk.
    async fn load_new(&self, queue: Queue, after: i64, newest: i64) -> Result<()> {
        let sql = "SELECT seq, receives, body FROM messages WHERE queue = ?1 AND seq > ?2 AND due_at_ms IS NULL ORDER BY seq LIMIT ?3";
        let rows = self.readers.read(move |connection| load(connection, sql, queue, after)).await?;
        let mut state = self.queues.state(queue);
        state.loaded_to = match rows.last() {
            Some(last) if rows.len() == LOAD => last.seq,
            Some(last) => last.seq.max(newest),
            None => newest,
        };
        state.ready.extend(rows);
        Ok(())
    }

    async fn load_due(&self, queue: Queue, now_ms: i64) -> Result<()> {
        let sql =
            "SELECT seq, receives, body FROM messages WHERE queue = ?1 AND due_at_ms <= ?2 ORDER BY due_at_ms LIMIT ?3";
        let (rows, next_due_ms) = self
            .readers
            .read(move |connection| {
                let rows = load(connection, sql, queue, now_ms)?;
                let later = "SELECT min(due_at_ms) FROM messages WHERE queue = ?1 AND due_at_ms > ?2";
                let next: Option<i64> = connection.query_row(later, params![queue.name(), now_ms], |row| row.get(0))?;
                Ok((rows, next))
            })
            .await?;
        let mut state = self.queues.state(queue);
        // A full page may not be all that is due: look again as soon as these are in hand.
        if let Some(next_due_ms) = if rows.len() == LOAD { Some(now_ms) } else { next_due_ms } {
            state.due_at(next_due_ms);
        }
        for row in rows {
            if state.in_hand.insert(row.seq) {
                state.ready.push_back(row);
            }
        }
        Ok(())
    }

    /// Waits until something may be there to receive of `queue`: a new message, or the time a failed one is due
    /// (returned at once when it has passed).
    pub async fn arrival(&self, queue: Queue, now_ms: i64) {
        let arrived = self.queues.backlog(queue).arrived.notified();
        let wait_ms = {
            let state = self.queues.state(queue);
            if !state.ready.is_empty() || state.loaded_to < state.newest {
                return;
            }
            state.next_due_ms.map(|due| u64::try_from(due - now_ms).unwrap_or(0))
        };
        match wait_ms {
            Some(ms) => drop(tokio::time::timeout(std::time::Duration::from_millis(ms), arrived).await),
            None => arrived.await,
        }
    }

    /// When the next failed message of `queue` is due, if one waits.
    pub fn next_due_ms(&self, queue: Queue) -> Option<i64> {
        self.queues.state(queue).next_due_ms
    }

    /// Removes a message that was processed.
    ///
    /// # Errors
    /// Those of the store; the message will be received again after a restart.
    pub async fn delete_message(&self, received: &Received) -> Result<()> {
        let Received { queue, seq, .. } = *received;
        self.command(|reply| Command::Queue(QueueCommand::Delete { queue, seq }, reply)).await?;
        let mut state = self.queues.state(queue);
        state.in_hand.remove(&seq);
        state.counts.in_queue -= 1;
        state.counts.in_flight -= 1;
        state.counts.since_start.processed += 1;
        Ok(())
    }

    /// Puts a message back, to be received again at `due_at_ms`.
    ///
    /// # Errors
    /// Those of the store; the message will be received again after a restart.
    pub async fn retry_message(&self, received: &Received, due_at_ms: i64) -> Result<()> {
        let Received { queue, seq, receives, .. } = *received;
        let command = QueueCommand::Retry { queue, seq, receives: receives + 1, due_at_ms };
        self.command(|reply| Command::Queue(command, reply)).await?;
        let mut state = self.queues.state(queue);
        state.in_hand.remove(&seq);
        state.due_at(due_at_ms);
        state.counts.in_flight -= 1;
        state.counts.since_start.failed += 1;
        drop(state);
        self.queues.backlog(queue).arrived.notify_one();
        Ok(())
    }

    /// Moves a message to the dead letters, with the reason.
    ///
    /// # Errors
    /// Those of the store; the message will be received again after a restart.
    pub async fn bury_message(&self, received: &Received, reason: String) -> Result<()> {
        let Received { queue, seq, receives, .. } = *received;
        let command = QueueCommand::Bury { queue, seq, receives: receives + 1, reason };
        self.command(|reply| Command::Queue(command, reply)).await?;
        let mut state = self.queues.state(queue);
        state.in_hand.remove(&seq);
        state.counts.in_queue -= 1;
        state.counts.in_flight -= 1;
        state.counts.since_start.failed += 1;
        state.counts.dead += 1;
        Ok(())
    }

    /// How many messages wait in `queue`, in memory or on disk, those in work included.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn depth(&self, queue: Queue) -> Result<usize> {
        let sql = "SELECT count(*) FROM messages WHERE queue = ?1";
        self.readers.read(move |connection| connection.query_row(sql, [queue.name()], |row| row.get(0))).await
    }
}

fn next_due(connection: &Connection, queue: Queue) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT min(due_at_ms) FROM messages WHERE queue = ?1 AND due_at_ms IS NOT NULL";
    connection.query_row(sql, [queue.name()], |row| row.get(0)).optional().map(Option::flatten)
}

/// The envelope a message's text is, or why it is none.
pub(super) fn envelope_of(body: &[u8]) -> Result<Arc<Envelope>, String> {
    serde_json::from_slice(body).map(Arc::new).map_err(|error| Error::internal(error).to_string())
}

fn load(connection: &Connection, sql: &str, queue: Queue, bound: i64) -> rusqlite::Result<Vec<Received>> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![queue.name(), bound, LOAD], |row| {
        let envelope = envelope_of(row.get_ref(2)?.as_bytes()?);
        Ok(Received { queue, seq: row.get(0)?, receives: row.get(1)?, envelope })
    })?;
    rows.collect()
}
