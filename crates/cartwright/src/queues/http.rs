//! Queues and dead letters under `/v1`: parse, call an operation, answer.

use std::collections::HashSet;

use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use utoipa::{IntoParams, ToSchema};

use super::ops::{self, Selection, Taken};
use super::{DeadLetter, DeadLetterId, MAX_AT_ONCE, Reason, Throughput};
use crate::app::App;
use crate::error::{Error, Result};
use crate::events::{BUS, Queue, RULES, Rule};
use crate::rest::{Items, List, Params, Post, Reply, Segment};

/// A queue, what it holds, and what has gone through it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueView {
    /// Its name.
    name: &'static str,
    /// Messages that could be received now.
    waiting: u64,
    /// Messages that a handler is working on.
    in_flight: u64,
    /// Messages that failed and wait until they are received again.
    delayed: u64,
    /// Dead letters.
    dead: u64,
    /// For how long the oldest message that is not processed has been in the queue; null when there is none, or when that is
    /// not known here (on AWS, CloudWatch knows).
    oldest_age_ms: Option<i64>,
    /// What has gone through it since the server started; absent where no server delivers.
    #[serde(skip_serializing_if = "Option::is_none")]
    since_start: Option<Throughput>,
}

/// Every queue.
#[derive(Serialize, ToSchema)]
pub struct QueueList {
    /// The queues.
    items: Vec<QueueView>,
}

/// The events of the shop: who emits which, the queues they go to, and who consumes those.
#[derive(Serialize, ToSchema)]
pub struct EventMap {
    /// The name of the event bus.
    bus: &'static str,
    /// Every event.
    events: Vec<EventView>,
    /// Every queue.
    queues: Vec<ConsumerView>,
}

/// An event, and where it goes.
#[derive(Serialize, ToSchema)]
pub struct EventView {
    /// Its name.
    event: &'static str,
    /// Its emitter, as envelopes spell it.
    source: &'static str,
    /// The service that emits it.
    service: &'static str,
    /// The queues it goes to.
    queues: Vec<&'static str>,
}

/// A queue, and who takes from it.
#[derive(Clone, Serialize, ToSchema)]
pub struct ConsumerView {
    /// Its name.
    name: &'static str,
    /// The service that processes its messages.
    consumer: &'static str,
}

impl From<&Rule> for EventView {
    fn from(rule: &Rule) -> Self {
        let Rule { source, detail_type, queues } = *rule;
        let queues = queues.iter().map(|queue| queue.name()).collect();
        EventView { event: detail_type, source, service: rule.service(), queues }
    }
}

/// A message that could not be processed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterView {
    /// Its id.
    id: String,
    /// Why it could not be processed.
    reason: String,
    /// How often it was received.
    receives: u32,
    /// When it was put into the queue, for the last time.
    #[schema(value_type = String)]
    enqueued_at: Timestamp,
    /// When it died.
    #[schema(value_type = String)]
    died_at: Timestamp,
    /// The message, an event in its envelope; its text, when it is not JSON.
    #[schema(value_type = serde_json::Value)]
    event: Box<RawValue>,
}

impl From<DeadLetter> for DeadLetterView {
    fn from(letter: DeadLetter) -> Self {
        let DeadLetter { id, reason, receives, enqueued_at, died_at, body } = letter;
        let event = serde_json::from_str(&body).or_else(|_| to_raw_value(&body));
        let event = event.expect("a text has a JSON form");
        DeadLetterView { id: id.to_string(), reason, receives, enqueued_at, died_at, event }
    }
}

/// In which order to list dead letters.
#[derive(Deserialize, IntoParams)]
pub struct DeadLetterOrder {
    /// `newest` (the default) or `oldest`: which come first.
    order: Option<String>,
}

/// Which dead letters to put back into their queue: either `ids` or `all`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Redrive {
    /// Their ids, at most 40. When one is not there, nothing happens.
    ids: Option<Vec<String>>,
    /// `true`: all of the queue.
    all: Option<bool>,
}

/// Which dead letters to remove for good, either `ids` or `all`, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Discard {
    /// Their ids, at most 40. When one is not there, nothing happens.
    ids: Option<Vec<String>>,
    /// `true`: all of the queue.
    all: Option<bool>,
    /// Why; it is kept in the log and in the event that tells of it.
    reason: Reason,
}

fn selection(ids: Option<Vec<String>>, all: Option<bool>) -> Result<Selection> {
    let ids = match (ids, all.unwrap_or(false)) {
        (Some(ids), false) => ids,
        (None, true) => return Ok(Selection::All),
        _ => return Err(Error::field("/ids", "give either ids, or \"all\": true")),
    };
    if ids.is_empty() || ids.len() > MAX_AT_ONCE {
        return Err(Error::field("/ids", format!("must be 1 to {MAX_AT_ONCE} ids")));
    }
    let mut ids = ids.iter().map(|id| id.parse()).collect::<Result<Vec<DeadLetterId>>>()?;
    let mut named = HashSet::with_capacity(ids.len());
    ids.retain(|id| named.insert(id.clone()));
    Ok(Selection::Ids(ids))
}

/// What `queue` holds now.
///
/// # Errors
/// Those of reading.
pub(crate) async fn view(app: &App, queue: Queue) -> Result<QueueView> {
    let (statistics, oldest_age_ms) = ops::statistics(app, queue).await?;
    Ok(QueueView {
        name: queue.name(),
        waiting: statistics.waiting,
        in_flight: statistics.in_flight,
        delayed: statistics.delayed,
        dead: statistics.dead,
        oldest_age_ms,
        since_start: statistics.since_start,
    })
}

pub(crate) async fn list_queues(app: App) -> Result<Reply<200, QueueList>> {
    let items = try_join_all(Queue::ALL.map(|queue| view(&app, queue))).await?;
    Ok(Reply::new(QueueList { items }))
}

pub(crate) async fn list_events(_app: App) -> Result<Reply<200, EventMap>> {
    let queues = Queue::ALL.map(|queue| ConsumerView { name: queue.name(), consumer: queue.consumer() });
    let events = RULES.iter().map(EventView::from).collect();
    Ok(Reply::new(EventMap { bus: BUS, events, queues: queues.to_vec() }))
}

pub(crate) async fn get_queue(app: App, Segment(queue): Segment<Queue>) -> Result<Reply<200, QueueView>> {
    view(&app, queue).await.map(Reply::new)
}

pub(crate) async fn list_dead_letters(
    app: App,
    Segment(queue): Segment<Queue>,
    Params(filter): Params<DeadLetterOrder>,
    list: List,
) -> Result<Reply<200, Items<DeadLetterView>>> {
    let oldest_first = match filter.order.as_deref() {
        None | Some("newest") => false,
        Some("oldest") => true,
        Some(_) => return Err(Error::field("?order", "must be newest or oldest")),
    };
    let listing = ops::list_dead_letters(&app, queue, oldest_first, &list).await?;
    Ok(Reply::page(&list, listing, DeadLetterView::from))
}

pub(crate) async fn get_dead_letter(
    app: App,
    Segment((queue, id)): Segment<(Queue, DeadLetterId)>,
) -> Result<Reply<200, DeadLetterView>> {
    ops::get_dead_letter(&app, queue, &id).await.map(|letter| Reply::new(letter.into()))
}

pub(crate) async fn redrive_dead_letters(
    app: App,
    Segment(queue): Segment<Queue>,
    post: Post<Redrive>,
) -> Result<Reply<200, Taken>> {
    let Redrive { ids, all } = post.body;
    ops::redrive(&app, &post.once, queue, selection(ids, all)?).await.map(Reply::new)
}

pub(crate) async fn discard_dead_letters(
    app: App,
    Segment(queue): Segment<Queue>,
    post: Post<Discard>,
) -> Result<Reply<200, Taken>> {
    let Discard { ids, all, reason } = post.body;
    ops::discard(&app, &post.once, queue, selection(ids, all)?, reason).await.map(Reply::new)
}
