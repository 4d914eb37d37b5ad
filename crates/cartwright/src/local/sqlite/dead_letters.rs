//! The queues of the store as an operator sees them: their figures, and what becomes of dead letters.
//!
//! What an operator does is one command of the writer, and so part of a transaction like any commit. A redriven message
//! gets a new place, at the end of its queue; its text is not read for that, it goes from table to table. It waits on disk
//! until the delivery has come to it, however many they are.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params, types::Type};

use super::SqliteStore;
use super::queues::Queues;
use super::writer::Command;
use crate::error::{Error, Result};
use crate::events::Queue;
use crate::queues::{
    Action, Audit, DeadLetter, DeadLetterId, DeadLetterPage, MAX_PAGE_BYTES, QueueAdmin, Statistics, Which, not_there,
};

/// Most dead letters that are redriven or discarded in one transaction. More would make commits that come meanwhile wait.
const MAX_IN_ONE_TRANSACTION: usize = 1_000;

/// Something an operator wants done to dead letters.
pub(super) struct TakeCommand {
    queue: Queue,
    action: Action,
    which: Which,
    pub(super) audit: Audit,
}

/// What was done.
pub(super) struct TakenRows {
    pub(super) queue: Queue,
    /// The places of the dead letters, oldest first.
    pub(super) places: Vec<i64>,
    /// The place of the last one in the queue now, if they were redriven.
    pub(super) redriven_to: Option<i64>,
}

impl TakeCommand {
    /// Does it, but for the event. The inner error is the operator's, and nothing was written then.
    pub(super) fn execute(
        &self,
        connection: &Connection,
        queues: &Queues,
        now_ms: i64,
    ) -> rusqlite::Result<Result<TakenRows>> {
        let queue = self.queue.name();
        let places = match self.find(connection)? {
            Ok(places) => places,
            Err(unknown) => return Ok(Err(unknown)),
        };
        let mut redriven_to = None;
        let mut redrive = connection.prepare_cached(
            "INSERT INTO messages (queue, seq, enqueued_at_ms, body) \
             SELECT queue, ?3, ?4, body FROM dead_letters WHERE queue = ?1 AND seq = ?2",
        )?;
        let mut remove = connection.prepare_cached("DELETE FROM dead_letters WHERE queue = ?1 AND seq = ?2")?;
        for place in &places {
            if self.action == Action::Redrive {
                let seq = queues.next_seq();
                redrive.execute(params![queue, place, seq, now_ms])?;
                redriven_to = Some(seq);
            }
            remove.execute(params![queue, place])?;
        }
        Ok(Ok(TakenRows { queue: self.queue, places, redriven_to }))
    }

    /// The places of the dead letters that are meant, which are there, oldest first.
    fn find(&self, connection: &Connection) -> rusqlite::Result<Result<Vec<i64>>> {
        let queue = self.queue.name();
        match &self.which {
            Which::UpTo(newest) => {
                let sql = "SELECT seq FROM dead_letters WHERE queue = ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3";
                let mut statement = connection.prepare_cached(sql)?;
                let newest = place_of(newest).unwrap_or(0);
                let places = statement.query_map(params![queue, newest, MAX_IN_ONE_TRANSACTION], |row| row.get(0))?;
                places.collect::<rusqlite::Result<_>>().map(Ok)
            }
            Which::These(ids) => {
                let mut there =
                    connection.prepare_cached("SELECT 1 FROM dead_letters WHERE queue = ?1 AND seq = ?2")?;
                let (mut places, mut unknown) = (Vec::with_capacity(ids.len()), Vec::new());
                for id in ids {
                    match place_of(id) {
                        Some(place) if there.exists(params![queue, place])? => places.push(place),
                        _ => unknown.push(id),
                    }
                }
                places.sort_unstable();
                Ok(if unknown.is_empty() { Ok(places) } else { Err(not_there(self.queue, &unknown)) })
            }
        }
    }
}

#[async_trait]
impl QueueAdmin for SqliteStore {
    async fn statistics(&self, queue: Queue, now: Timestamp) -> Result<Statistics> {
        let now_ms = now.as_millisecond();
        let read = move |connection: &Connection| {
            let delayed = "SELECT count(*) FROM messages WHERE queue = ?1 AND due_at_ms > ?2";
            let delayed: u64 =
                connection.prepare_cached(delayed)?.query_row(params![queue.name(), now_ms], |row| row.get(0))?;
            // Messages get their places in the order of their times, redriven ones too.
            let oldest = "SELECT enqueued_at_ms FROM messages WHERE queue = ?1 ORDER BY seq LIMIT 1";
            let oldest = connection.prepare_cached(oldest)?.query_row([queue.name()], |row| time(row, 0)).optional()?;
            Ok((delayed, oldest))
        };
        self.queues.counted().await;
        let (delayed, oldest_enqueued_at) = self.readers.read(move |connection| read(connection)).await?;
        let counts = self.queues.counts(queue);
        let in_queue = u64::try_from(counts.in_queue).unwrap_or(0);
        let in_flight = u64::try_from(counts.in_flight).unwrap_or(0).min(in_queue);
        Ok(Statistics {
            waiting: in_queue.saturating_sub(in_flight).saturating_sub(delayed),
            in_flight,
            delayed,
            dead: u64::try_from(counts.dead).unwrap_or(0),
            oldest_enqueued_at,
            since_start: Some(counts.since_start),
        })
    }

    async fn list_dead_letters(
        &self,
        queue: Queue,
        oldest_first: bool,
        after: Option<&DeadLetterId>,
        limit: usize,
    ) -> Result<DeadLetterPage> {
        let sql = if oldest_first {
            "SELECT seq, reason, receives, enqueued_at_ms, died_at_ms, body FROM dead_letters \
             WHERE queue = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3"
        } else {
            "SELECT seq, reason, receives, enqueued_at_ms, died_at_ms, body FROM dead_letters \
             WHERE queue = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3"
        };
        let start = if oldest_first { 0 } else { i64::MAX };
        let missing = || Error::not_found("dead_letter_not_found", "such dead letter");
        let after = after.map_or(Ok(start), |id| place_of(id).ok_or_else(missing))?;
        self.readers
            .read(move |connection| {
                let mut statement = connection.prepare_cached(sql)?;
                let mut rows = statement.query(params![queue.name(), after, limit.saturating_add(1)])?;
                let (mut page, mut bytes) = (DeadLetterPage::default(), 0);
                while let Some(row) = rows.next()? {
                    if page.letters.len() == limit || bytes >= MAX_PAGE_BYTES {
                        page.more = true;
                        break;
                    }
                    let letter = dead_letter(row)?;
                    bytes += letter.body.len();
                    page.letters.push(letter);
                }
                Ok(page)
            })
            .await
    }

    async fn find_dead_letter(&self, queue: Queue, id: &DeadLetterId) -> Result<Option<DeadLetter>> {
        let sql = "SELECT seq, reason, receives, enqueued_at_ms, died_at_ms, body FROM dead_letters \
                   WHERE queue = ?1 AND seq = ?2";
        let Some(place) = place_of(id) else { return Ok(None) };
        self.readers
            .read(move |connection| {
                connection.prepare_cached(sql)?.query_row(params![queue.name(), place], dead_letter).optional()
            })
            .await
    }

    async fn take(&self, queue: Queue, action: Action, which: Which, audit: Audit) -> Result<Vec<DeadLetterId>> {
        let command = TakeCommand { queue, action, which, audit };
        self.command(|reply| Command::Take(command, reply)).await
    }
}

/// The id of the dead letter at this place.
pub(super) fn id_of(place: i64) -> DeadLetterId {
    place.to_string().parse().expect("a number is an id")
}

/// The place of the dead letter called so: the number the id is, written as numbers are.
fn place_of(id: &DeadLetterId) -> Option<i64> {
    let text = id.as_str();
    text.parse().ok().filter(|place: &i64| *place > 0 && place.to_string() == text)
}

fn dead_letter(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    Ok(DeadLetter {
        id: id_of(row.get(0)?),
        reason: row.get(1)?,
        receives: row.get(2)?,
        enqueued_at: time(row, 3)?,
        died_at: time(row, 4)?,
        // Of what is no text any more, an operator is shown what is left of it. In the file it stays as it is.
        body: String::from_utf8_lossy(row.get_ref(5)?.as_bytes()?).into_owned(),
    })
}

pub(super) fn time(row: &Row<'_>, at: usize) -> rusqlite::Result<Timestamp> {
    let no_time = |error: jiff::Error| rusqlite::Error::FromSqlConversionFailure(at, Type::Integer, Box::new(error));
    Timestamp::from_millisecond(row.get(at)?).map_err(no_time)
}
