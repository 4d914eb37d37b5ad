//! The one writer: group commit.
//!
//! It takes every command that is waiting, and what comes while those are carried out, up to a bound, into one transaction.
//! Each batch is checked against the state that includes the earlier batches of its group; one that fails leaves no trace
//! and does not disturb the others. After one `fsync` the cache is brought up to date, the queues learn of their new
//! messages, and all callers are answered.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use rusqlite::{Connection, ErrorCode, TransactionBehavior, params};
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

use super::cache::Cache;
use super::checkpoints::Checkpoints;
use super::connections::keep_log;
use super::dead_letters::{TakeCommand, TakenRows, id_of};
use super::figures::Meters;
use super::queues::{NewMessage, QueueCommand, Queues, envelope_of};
use super::{OpenError, closed, read_document, storage_error};
use crate::app::Clock;
use crate::error::{Error, Result};
use crate::events::{Envelope, queues_of};
use crate::queues::DeadLetterId;
use crate::store::{Adjustment, Batch, Body, CommitError, Doc, Expect, Key, Table, Write};

/// Most commands in one group. More would make the first wait for the last without saving much of an fsync.
const MAX_GROUP: usize = 256;
/// Most expired documents of a table that are removed in one go. Others wait for that meanwhile.
pub const MAX_EXPIRED: usize = 100;

/// What the writer can be asked.
pub(super) enum Command {
    /// Commit a batch that keeps the limits of the port.
    Commit(Batch, oneshot::Sender<Result<(), CommitError>>),
    /// Change the state of a message.
    Queue(QueueCommand, oneshot::Sender<Result<()>>),
    /// Put dead letters back into their queue, or remove them.
    Take(TakeCommand, oneshot::Sender<Result<Vec<DeadLetterId>>>),
    /// Remove documents whose time is over.
    RemoveExpired(oneshot::Sender<Result<usize>>),
    /// Finish, and end the thread.
    Close(oneshot::Sender<Result<()>>),
}

pub(super) struct Writer {
    connection: Connection,
    checkpoints: Checkpoints,
    cache: Arc<Cache>,
    queues: Arc<Queues>,
    clock: Arc<dyn Clock>,
    /// Set when the disk failed in a way after which nothing that was written can be trusted until it is read again.
    failed: Arc<Mutex<Option<Error>>>,
    meters: Arc<OnceLock<Meters>>,
}

/// The commands of one group: the first, and what comes while those before it are carried out. Whoever was answered with the
/// last group comes back during this one, and need not wait for the next.
struct Incoming<'a> {
    first: Option<Command>,
    inbox: &'a mut mpsc::Receiver<Command>,
    /// How many more are taken.
    room: usize,
    /// Where to say that the writer has finished, once it was told to. Nothing that comes later is taken.
    close: Option<oneshot::Sender<Result<()>>>,
}

impl Iterator for Incoming<'_> {
    type Item = Command;

    fn next(&mut self) -> Option<Command> {
        if self.room == 0 || self.close.is_some() {
            return None;
        }
        self.room -= 1;
        match self.first.take().or_else(|| self.inbox.try_recv().ok())? {
            Command::Close(done) => {
                self.close = Some(done);
                None
            }
            command => Some(command),
        }
    }
}

/// The documents a group has changed so far; `None` for one that it deleted or found absent.
type Overlay = HashMap<Key, Option<Doc>>;

/// What a group has done so far.
#[derive(Default)]
struct Group {
    overlay: Overlay,
    changed: Vec<Key>,
    messages: Vec<NewMessage>,
    taken: Vec<TakenRows>,
    answers: Vec<Answer>,
    wrote: bool,
}

/// Tells a caller how it went, once the group is durable or lost.
type Answer = Box<dyn FnOnce(Result<()>) + Send>;

impl Writer {
    pub(super) fn new(
        mut connection: Connection,
        cache: Arc<Cache>,
        queues: Arc<Queues>,
        clock: Arc<dyn Clock>,
        failed: Arc<Mutex<Option<Error>>>,
        meters: Arc<OnceLock<Meters>>,
        file: &Path,
    ) -> Result<Self, OpenError> {
        let checkpoints = Checkpoints::start(&mut connection, file)?;
        Ok(Writer { connection, checkpoints, cache, queues, clock, failed, meters })
    }

    pub(super) fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        while let Some(first) = inbox.blocking_recv() {
            let mut commands = Incoming { first: Some(first), inbox: &mut inbox, room: MAX_GROUP, close: None };
            self.run_group(&mut commands);
            self.tend_log();
            if let Some(done) = commands.close.take() {
                inbox.close();
                while let Ok(command) = inbox.try_recv() {
                    refuse(command);
                }
                self.end();
                let _ = done.send(Ok(()));
                return;
            }
        }
        self.end();
    }

    /// Has the log written back when it is long.
    fn tend_log(&mut self) {
        if self.failure().is_none() {
            let outcome = self.checkpoints.after_group(&self.connection);
            self.note_checkpoint(outcome);
        }
    }

    fn note_checkpoint(&self, outcome: rusqlite::Result<()>) {
        if let Err(error) = outcome {
            let error = self.note_failure(error);
            tracing::warn!(%error, "the log could not be written back into the file");
        }
    }

    /// Ends with an empty log; after a failure with all of it, for the next start to read.
    fn end(mut self) {
        let stopped = self.checkpoints.stop();
        self.note_checkpoint(stopped);
        if self.failure().is_none() {
            self.note_checkpoint(self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
        }
        if self.failure().is_some() {
            keep_log(&self.connection);
        }
    }

    /// Why nothing is written any more, if that is so.
    fn failure(&self) -> Option<Error> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn run_group(&mut self, commands: &mut Incoming) {
        let mut group = Group::default();
        let outcome = match self.failure() {
            Some(error) => {
                group.answers.extend(commands.map(answer_of));
                Err(error)
            }
            None => self.commit_group(commands, &mut group),
        };
        if outcome.is_ok() && group.wrote {
            let (changed, mut overlay) = (group.changed, group.overlay);
            self.cache.update(changed.into_iter().filter_map(|key| overlay.remove(&key).map(|doc| (key, doc))));
            self.queues.offer(group.messages);
            group.taken.iter().for_each(|taken| self.queues.note_taken(taken));
        }
        for answer in group.answers {
            answer(outcome.clone());
        }
    }

    /// Does a group in one transaction. On an error nothing of it happened, and every caller is told.
    fn commit_group(&mut self, commands: &mut Incoming, group: &mut Group) -> Result<()> {
        let result = (|| {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut work = Work {
                connection: &transaction,
                cache: &self.cache,
                now_ms: self.clock.now().as_millisecond(),
                queues: &self.queues,
            };
            for command in commands.by_ref() {
                if let Err((error, answer)) = work.apply(command, group) {
                    group.answers.push(answer);
                    return Err(error);
                }
            }
            if !group.wrote {
                return transaction.rollback();
            }
            let began = Instant::now();
            transaction.commit()?;
            if let Some(meters) = self.meters.get() {
                meters.group(group.answers.len(), began.elapsed());
            }
            Ok(())
        })();
        // When the transaction could not be begun, the first is still there: all that wait are told, or each would wait for
        // its own try; and a `Close` is heeded.
        if commands.first.is_some() {
            group.answers.extend(commands.by_ref().map(answer_of));
        }
        result.map_err(|error| self.note_failure(error))
    }

    /// The error, as callers are told it. After one of the disk no more is written.
    fn note_failure(&self, error: rusqlite::Error) -> Error {
        // After a failed fsync the kernel may have dropped the pages: only a restart, which reads the log again,
        // tells what is there. See "fsyncgate" (PostgreSQL, 2018).
        let fatal = matches!(error.sqlite_error_code(), Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt));
        let error = storage_error(error);
        if fatal {
            tracing::error!(%error, "the disk failed; no more writes until the server is restarted");
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
        }
        error
    }
}

/// The answer to a command that has `result` if its group becomes durable, and the group's error if it does not.
fn answer<T, E>(reply: oneshot::Sender<Result<T, E>>, result: Result<T, E>) -> Answer
where
    T: Send + 'static,
    E: From<Error> + Send + 'static,
{
    Box::new(move |outcome| drop(reply.send(outcome.map_err(E::from).and(result))))
}

/// The answer to a command that was not carried out: its group's error.
fn answer_of(command: Command) -> Answer {
    match command {
        Command::Commit(_, reply) => answer(reply, Err(closed().into())),
        Command::Queue(_, reply) | Command::Close(reply) => answer(reply, Err(closed())),
        Command::Take(_, reply) => answer(reply, Err(closed())),
        Command::RemoveExpired(reply) => answer(reply, Err(closed())),
    }
}

/// The answer to a command that SQLite has carried out; or its error, which ends the group, and the answer to that.
fn settle<T, E>(
    reply: oneshot::Sender<Result<T, E>>,
    done: rusqlite::Result<Result<T, E>>,
) -> Result<Answer, (rusqlite::Error, Answer)>
where
    T: Send + 'static,
    E: From<Error> + Send + 'static,
{
    match done {
        Ok(result) => Ok(answer(reply, result)),
        Err(error) => Err((error, answer(reply, Err(closed().into())))),
    }
}

fn refuse(command: Command) {
    answer_of(command)(Err(closed()));
}

/// One group at work inside its transaction.
struct Work<'a> {
    connection: &'a Connection,
    cache: &'a Cache,
    queues: &'a Queues,
    now_ms: i64,
}

impl Work<'_> {
    fn apply(&mut self, command: Command, group: &mut Group) -> Result<(), (rusqlite::Error, Answer)> {
        let answer = match command {
            Command::Commit(batch, reply) => settle(reply, self.apply_batch(batch, group)),
            Command::Queue(command, reply) => settle(reply, self.change_message(&command, group)),
            Command::Take(command, reply) => settle(reply, self.take(command, group)),
            Command::RemoveExpired(reply) => settle(reply, self.remove_expired(group).map(Ok)),
            Command::Close(reply) => settle(reply, Ok(Ok(()))),
        };
        group.answers.push(answer?);
        Ok(())
    }

    fn change_message(&mut self, command: &QueueCommand, group: &mut Group) -> rusqlite::Result<Result<()>> {
        self.queues.execute(self.connection, command, self.now_ms)?;
        group.wrote = true;
        Ok(Ok(()))
    }

    fn apply_batch(&mut self, batch: Batch, group: &mut Group) -> rusqlite::Result<Result<(), CommitError>> {
        let mut failed = Vec::new();
        let mut changes = Vec::with_capacity(batch.writes.len());
        for (at, write) in batch.writes.into_iter().enumerate() {
            let found = self.current(write.key(), &mut group.overlay)?;
            match change_of(write, found.as_ref()) {
                Some(Some(change)) => changes.push((change, found.is_some())),
                Some(None) => {}
                None => failed.push(at),
            }
        }
        if !failed.is_empty() {
            return Ok(Err(CommitError::Conflict(failed)));
        }
        for (change, exists) in changes {
            self.write(&change, exists)?;
            let ChangedDoc { key, next, .. } = change;
            let doc = next.map(|(version, body)| Doc { sk: Arc::from(key.sk.as_str()), version, body: Arc::new(body) });
            group.overlay.insert(key.clone(), doc);
            group.changed.push(key);
            group.wrote = true;
        }
        for event in batch.events {
            self.emit(event, group)?;
        }
        for (queue, text) in batch.messages {
            let envelope = envelope_of(text.as_bytes());
            group.messages.push(self.queues.insert(self.connection, queue, &text, envelope, self.now_ms)?);
            group.wrote = true;
        }
        Ok(Ok(()))
    }

    /// Enqueues an event wherever the rules of the bus send it.
    fn emit(&mut self, event: Envelope, group: &mut Group) -> rusqlite::Result<()> {
        let queues = queues_of(&event.source, &event.detail_type);
        if queues.is_empty() {
            return Ok(());
        }
        let body =
            serde_json::to_string(&event).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        let event = Arc::new(event);
        for &queue in queues {
            let envelope = Ok(Arc::clone(&event));
            group.messages.push(self.queues.insert(self.connection, queue, &body, envelope, self.now_ms)?);
            group.wrote = true;
        }
        Ok(())
    }

    fn take(&mut self, command: TakeCommand, group: &mut Group) -> rusqlite::Result<Result<Vec<DeadLetterId>>> {
        let taken = match command.execute(self.connection, self.queues, self.now_ms)? {
            Ok(taken) => taken,
            Err(refused) => return Ok(Err(refused)),
        };
        let ids: Vec<_> = taken.places.iter().map(|place| id_of(*place)).collect();
        if ids.is_empty() {
            return Ok(Ok(ids));
        }
        group.wrote = true;
        if let Some(seq) = taken.redriven_to {
            group.messages.push(NewMessage { queue: taken.queue, seq, envelope: None });
        }
        group.taken.push(taken);
        self.emit((command.audit)(&ids), group)?;
        Ok(Ok(ids))
    }

    /// The document under `key` as the group has left it so far.
    fn current(&self, key: &Key, overlay: &mut Overlay) -> rusqlite::Result<Option<Doc>> {
        if let Some(doc) = overlay.get(key) {
            return Ok(doc.clone());
        }
        let found = match self.cache.get(key) {
            Some(known) => known,
            None => read_document(self.connection, key)?,
        };
        overlay.insert(key.clone(), found.clone());
        Ok(found)
    }

    fn write(&self, change: &ChangedDoc, exists: bool) -> rusqlite::Result<()> {
        let (Key { table, pk, sk }, body) = (&change.key, change.next.as_ref());
        let statements = Statements::of(*table);
        let Some((version, body)) = body.map(|(version, body)| (*version as i64, body.text())) else {
            return self.connection.prepare_cached(statements.delete)?.execute(params![pk, sk]).map(drop);
        };
        match change.expiry {
            Expiry::Kept => self.connection.prepare_cached(statements.adjust)?.execute(params![pk, sk, version, body]),
            Expiry::At(at_ms) => {
                let sql = if exists { statements.update } else { statements.insert };
                self.connection.prepare_cached(sql)?.execute(params![pk, sk, version, at_ms, body])
            }
        }
        .map(drop)
    }

    fn remove_expired(&mut self, group: &mut Group) -> rusqlite::Result<usize> {
        let mut count = 0;
        for table in Table::ALL {
            let name = table.name();
            let sql = format!(
                "DELETE FROM {name} WHERE (pk, sk) IN \
                 (SELECT pk, sk FROM {name} WHERE expires_at_ms <= ?1 ORDER BY expires_at_ms LIMIT ?2) RETURNING pk, sk"
            );
            let mut statement = self.connection.prepare_cached(&sql)?;
            let keys = statement.query_map(params![self.now_ms, MAX_EXPIRED], |row| {
                Ok(Key::new(table, row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })?;
            for key in keys {
                let key = key?;
                group.overlay.insert(key.clone(), None);
                group.changed.push(key);
                group.wrote = true;
                count += 1;
            }
        }
        Ok(count)
    }
}

/// What becomes of one document.
struct ChangedDoc {
    key: Key,
    next: Option<(u64, Body)>,
    expiry: Expiry,
}

/// What becomes of the time after which a document may be removed.
enum Expiry {
    Kept,
    At(Option<i64>),
}

/// What `write` makes of what it found: `None` when that is not what it expected, `Some(None)` when nothing changes.
fn change_of(write: Write, found: Option<&Doc>) -> Option<Option<ChangedDoc>> {
    let version = found.map_or(0, |doc| doc.version);
    match write {
        Write::Put { key, expect, body, expires_at } => {
            let next = if expect == Expect::Anything { 1 } else { version + 1 };
            let expiry = Expiry::At(expires_at.map(|at| at.as_millisecond()));
            let changed = ChangedDoc { key, next: Some((next, Body::from_text(body))), expiry };
            holds(expect, found).then_some(Some(changed))
        }
        Write::Delete { key, expect } => {
            let changed = found.map(|_| ChangedDoc { key, next: None, expiry: Expiry::Kept });
            holds(expect, found).then_some(changed)
        }
        Write::Check { expect, .. } => holds(expect, found).then_some(None),
        Write::Adjust { key, fields } => {
            let body = adjust(found?.body.text(), &fields)?;
            Some(Some(ChangedDoc { key, next: Some((version + 1, Body::from_text(body))), expiry: Expiry::Kept }))
        }
    }
}

fn holds(expect: Expect, found: Option<&Doc>) -> bool {
    match (expect, found) {
        (Expect::Anything, _) | (Expect::Absent, None) | (Expect::Exists, Some(_)) => true,
        (Expect::Version(version), Some(doc)) => doc.version == version,
        (Expect::Absent, Some(_)) | (Expect::Exists | Expect::Version(_), None) => false,
    }
}

/// The body after an adjustment; `None` when a field is missing, is no integer, or would fall below its floor. The other
/// fields keep their exact text.
fn adjust(body: &str, fields: &[Adjustment]) -> Option<String> {
    let mut object: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(body).ok()?;
    let mut adjusted = Vec::with_capacity(fields.len());
    for Adjustment { field, by, at_least } in fields {
        let before: i64 = object.get(*field)?.get().parse().ok()?;
        let after = before.checked_add(*by)?;
        if at_least.is_some_and(|floor| after < floor) {
            return None;
        }
        adjusted.push((*field, RawValue::from_string(after.to_string()).ok()?));
    }
    for (field, value) in &adjusted {
        object.insert(Cow::Borrowed(field), value);
    }
    serde_json::to_string(&object).ok()
}

/// How a table is written.
pub(super) struct Statements {
    /// `pk sk version expires_at_ms body`
    pub(super) insert: &'static str,
    update: &'static str,
    adjust: &'static str,
    delete: &'static str,
}

macro_rules! statements {
    ($table:literal) => {
        Statements {
            insert: concat!(
                "INSERT INTO ",
                $table,
                " (pk, sk, version, expires_at_ms, body) VALUES (?1, ?2, ?3, ?4, ?5)"
            ),
            update: concat!(
                "UPDATE ",
                $table,
                " SET version = ?3, expires_at_ms = ?4, body = ?5 WHERE pk = ?1 AND sk = ?2"
            ),
            adjust: concat!("UPDATE ", $table, " SET version = ?3, body = ?4 WHERE pk = ?1 AND sk = ?2"),
            delete: concat!("DELETE FROM ", $table, " WHERE pk = ?1 AND sk = ?2"),
        }
    };
}

impl Statements {
    pub(super) fn of(table: Table) -> &'static Statements {
        match table {
            Table::Catalog => &statements!("catalog"),
            Table::Basket => &statements!("basket"),
            Table::Ordering => &statements!("ordering"),
            Table::Purchases => &statements!("purchases"),
            Table::Operations => &statements!("operations"),
            Table::Access => &statements!("access"),
            Table::Notifications => &statements!("notifications"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adjustment_leaves_other_fields_to_the_letter() {
        let by = |by, at_least| [Adjustment { field: "n", by, at_least }];
        assert_eq!(adjust(r#"{"a":1.50,"n":5}"#, &by(-5, Some(0))).unwrap(), r#"{"a":1.50,"n":0}"#);
        assert_eq!(adjust(r#"{"n":5}"#, &by(-6, Some(0))), None);
        assert_eq!(adjust(r#"{"n":5.0}"#, &by(1, None)), None);
        assert_eq!(adjust(r#"{"m":5}"#, &by(1, None)), None);
        assert_eq!(adjust(r#"{"n":9223372036854775807}"#, &by(1, None)), None);
    }
}
