//! What an operator can do about queues and dead letters.

use jiff::SignedDuration;

use super::{Action, DeadLetter, DeadLetterId, DeadLettersTaken, Reason, Statistics, Which};
use crate::access::actor;
use crate::app::App;
use crate::error::{Error, Kind, Result};
use crate::events::{Envelope, Event, Queue};
use crate::rest::{List, Listing};
use crate::store::{Batch, Change, Cursor, MAX_PAGE, Once, Table, transact};

/// Longest a request goes on redriving or discarding: well below the time after which it would be given up without an
/// answer.
const MAX_WORK_TIME: SignedDuration = SignedDuration::from_secs(15);

/// What an operator asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// These dead letters, or none if one of them is not there.
    Ids(Vec<DeadLetterId>),
    /// All that are there when the work begins.
    All,
}

/// How many dead letters were dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Taken {
    /// How many.
    pub count: u64,
    /// True when there are so many that time ran out: the same request goes on with the others. Absent otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// What `queue` holds, and for how long the oldest message has been in it, in milliseconds.
///
/// # Errors
/// Those of reading.
pub async fn statistics(app: &App, queue: Queue) -> Result<(Statistics, Option<i64>)> {
    let now = app.clock.now();
    let statistics = app.queues.statistics(queue, now).await?;
    let age_ms = statistics.oldest_enqueued_at.map(|at| (now.as_millisecond() - at.as_millisecond()).max(0));
    Ok((statistics, age_ms))
}

/// A page of the dead letters of `queue`.
///
/// # Errors
/// `invalid_request` for a cursor of another list; those of reading.
pub async fn list_dead_letters(
    app: &App,
    queue: Queue,
    oldest_first: bool,
    list: &List,
) -> Result<Listing<DeadLetter>> {
    let scope = format!("dead letters of {} {}", queue.name(), if oldest_first { "up" } else { "down" });
    let foreign =
        |_| Error::field("?cursor", "is not a cursor of this list; use one from a previous answer, unchanged");
    let after: Option<DeadLetterId> = list.after(&scope)?.map(|id| id.parse().map_err(foreign)).transpose()?;
    let page = app.queues.list_dead_letters(queue, oldest_first, after.as_ref(), list.limit()).await;
    let page = page.map_err(|error| if error.kind() == Kind::NotFound { foreign(error) } else { error })?;
    let last = page.letters.last().filter(|_| page.more);
    let next = last.map(|letter| Cursor::new(&scope, &letter.id.to_string()));
    Ok(Listing { items: page.letters, next })
}

/// One dead letter.
///
/// # Errors
/// `dead_letter_not_found`; those of reading.
pub async fn get_dead_letter(app: &App, queue: Queue, id: &DeadLetterId) -> Result<DeadLetter> {
    let missing = || Error::not_found("dead_letter_not_found", format!("dead letter {id} in {}", queue.name()));
    app.queues.find_dead_letter(queue, id).await?.ok_or_else(missing)
}

/// Puts dead letters back at the end of their queue, to be received as if for the first time.
///
/// # Errors
/// `dead_letter_not_found` when one of those that were named is not there, `dead_letters_too_large` (413) when they are too
/// large for one transaction together; nothing changed then. Those of writing; of very many, some may have been dealt with.
pub async fn redrive(app: &App, once: &Once, queue: Queue, selection: Selection) -> Result<Taken> {
    take(app, once, queue, Action::Redrive, selection, None).await
}

/// Removes dead letters for good.
///
/// # Errors
/// As [`redrive`].
pub async fn discard(app: &App, once: &Once, queue: Queue, selection: Selection, reason: Reason) -> Result<Taken> {
    take(app, once, queue, Action::Discard, selection, Some(reason)).await
}

/// The queue is no part of a commit, so the answer to an `Idempotency-Key` is stored after the work: a repeated request
/// finds it, unless the process ended just between the two. Then it finds nothing of what it names any more, and changes
/// nothing.
async fn take(
    app: &App,
    once: &Once,
    queue: Queue,
    action: Action,
    selection: Selection,
    reason: Option<Reason>,
) -> Result<Taken> {
    transact(app, once, Table::Operations, || async {
        let result = match &selection {
            Selection::Ids(ids) => {
                let which = Which::These(ids.clone());
                Taken { count: take_some(app, queue, action, which, &reason).await? as u64, more: false }
            }
            Selection::All => take_all(app, queue, action, &reason).await?,
        };
        Ok(Change { batch: Batch::new(Table::Operations), result })
    })
    .await
}

/// Deals with all that are dead now, part by part. What dies while this goes on is left alone, so that it ends even when
/// messages die again as soon as they are redriven.
async fn take_all(app: &App, queue: Queue, action: Action, reason: &Option<Reason>) -> Result<Taken> {
    let newest = app.queues.list_dead_letters(queue, false, None, 1).await?.letters.pop();
    let Some(newest) = newest else { return Ok(Taken { count: 0, more: false }) };
    let stop_at = app.clock.now() + MAX_WORK_TIME;
    let mut count = 0;
    loop {
        let taken = take_some(app, queue, action, Which::UpTo(newest.id.clone()), reason).await?;
        count += taken as u64;
        if taken == 0 {
            return Ok(Taken { count, more: false });
        }
        if app.clock.now() >= stop_at {
            return Ok(Taken { count, more: true });
        }
    }
}

/// Deals with what fits into one transaction, and says so in the log.
async fn take_some(app: &App, queue: Queue, action: Action, which: Which, reason: &Option<Reason>) -> Result<usize> {
    let (author, reason_kept, by) = (app.clone(), reason.clone(), actor(app));
    let audit = move |ids: &[DeadLetterId]| {
        let ids = ids.iter().map(ToString::to_string).collect();
        let taken =
            DeadLettersTaken { queue: queue.name().to_owned(), ids, reason: reason_kept.clone(), by: by.clone() };
        author.envelope(&match action {
            Action::Redrive => Event::DeadLettersRedriven(taken),
            Action::Discard => Event::DeadLettersDiscarded(taken),
        })
    };
    let ids = app.queues.take(queue, action, which, Box::new(audit)).await?;
    let (Some(first), Some(last)) = (ids.first(), ids.last()) else { return Ok(0) };
    let (queue, count, request_id) = (queue.name(), ids.len(), app.correlation_id());
    match reason {
        None => tracing::info!(queue, count, %first, %last, request_id, "dead letters were put back into their queue"),
        Some(reason) => {
            let reason = reason.as_str();
            tracing::warn!(queue, count, %first, %last, request_id, reason, "dead letters were discarded");
        }
    }
    Ok(count)
}

/// Puts another message in the place of each dead letter of `queue` for which `instead` has one: that one is received as
/// if for the first time, and the dead letter is gone, in one transaction. The rules of the bus must send the new message
/// to `queue`. Goes through all that are there, page by page.
///
/// # Errors
/// Those of reading and writing; some may have been replaced.
pub async fn replace_dead_letters(
    app: &App,
    queue: Queue,
    instead: impl Fn(&Envelope) -> Option<Envelope>,
) -> Result<()> {
    let mut after: Option<DeadLetterId> = None;
    loop {
        let page = app.queues.list_dead_letters(queue, true, after.as_ref(), MAX_PAGE).await?;
        for letter in &page.letters {
            // What is no message is nobody's.
            let Ok(message) = serde_json::from_str::<Envelope>(&letter.body) else { continue };
            let Some(message) = instead(&message) else { continue };
            let audit = Box::new(move |_: &[DeadLetterId]| message.clone());
            match app.queues.take(queue, Action::Discard, Which::These(vec![letter.id.clone()]), audit).await {
                Ok(_) => tracing::info!(queue = queue.name(), id = %letter.id, "a dead letter was replaced"),
                // Someone dealt with it meanwhile.
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        after = page.letters.last().map(|letter| letter.id.clone());
        if !page.more || after.is_none() {
            return Ok(());
        }
    }
}
