//! The store in memory: the port's promises in the fewest words, and queues that let themselves be told what to hand out.
//!
//! Fast, and under the simulation's control: nothing in it waits, and nothing happens in it by itself. It passes the
//! conformance suite, so that what is found over it is true of every store that does.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use cartwright::error::{Error, Result};
use cartwright::events::{Envelope, Queue, queues_of};
use cartwright::queues::{
    Action, Audit, DeadLetter, DeadLetterId, DeadLetterPage, QueueAdmin, Statistics, Which, not_there,
};
use cartwright::store::{
    Adjustment, Batch, Body, CommitError, Doc, Expect, Key, MAX_GET_MANY, MAX_PAGE, Page, Range, Store, Table, Write,
};
use jiff::Timestamp;
use serde_json::{Map, Value};

/// A store, its queues and its dead letters.
#[derive(Default)]
pub struct Model(Mutex<State>);

#[derive(Default)]
pub struct State {
    partitions: BTreeMap<(Table, String), BTreeMap<String, Stored>>,
    /// Committed, and not yet in any queue: what a stream has not carried there.
    pub outbox: Vec<Message>,
    /// In the queues, in the order they came.
    pub messages: Vec<Message>,
    /// Dead, oldest first.
    pub dead: Vec<(Message, String)>,
    has_outbox: bool,
    next_id: u64,
    now: Timestamp,
}

#[derive(Clone)]
struct Stored {
    doc: Doc,
    expires_at: Option<Timestamp>,
}

/// A message of a queue.
#[derive(Debug, Clone)]
pub struct Message {
    pub id: u64,
    pub queue: Queue,
    pub text: Arc<str>,
    /// Receives in vain.
    pub receives: u32,
    pub due_ms: i64,
    /// Whether someone works on it.
    pub in_hand: bool,
    pub enqueued_at: Timestamp,
}

/// What a commit did to a document.
pub struct Changed {
    pub key: Key,
    pub before: Option<Doc>,
    pub after: Option<Doc>,
}

impl State {
    /// Nothing. With an outbox, events go there first, as on DynamoDB.
    pub fn new(has_outbox: bool) -> State {
        State { has_outbox, ..State::default() }
    }

    fn stored(&self, key: &Key) -> Option<&Stored> {
        self.partitions.get(&(key.table, key.pk.clone()))?.get(&key.sk)
    }

    /// The version a write gives its document, and its text; none for what writes nothing. An error when it does not find
    /// what it expects.
    fn prepare(&self, write: &Write) -> std::result::Result<Option<Stored>, ()> {
        let before = self.stored(write.key());
        let holds = |expect: &Expect| match (expect, before) {
            (Expect::Anything, _) | (Expect::Absent, None) | (Expect::Exists, Some(_)) => true,
            (Expect::Version(version), Some(stored)) => stored.doc.version == *version,
            (Expect::Absent, Some(_)) | (Expect::Exists | Expect::Version(_), None) => false,
        };
        match write {
            Write::Put { key, expect, body, expires_at } if holds(expect) => {
                let version = if let Expect::Version(version) = expect { version + 1 } else { 1 };
                Ok(Some(stored(&key.sk, version, body.as_str(), *expires_at)))
            }
            Write::Adjust { key, fields } => {
                let before = before.ok_or(())?;
                let text = adjusted(before.doc.body.text(), fields).ok_or(())?;
                Ok(Some(stored(&key.sk, before.doc.version + 1, text, before.expires_at)))
            }
            Write::Delete { expect, .. } | Write::Check { expect, .. } if holds(expect) => Ok(None),
            Write::Put { .. } | Write::Delete { .. } | Write::Check { .. } => Err(()),
        }
    }

    fn enqueue(&mut self, queue: Queue, text: Arc<str>) {
        self.next_id += 1;
        let enqueued_at = self.now;
        let message = Message { id: self.next_id, queue, text, receives: 0, due_ms: 0, in_hand: false, enqueued_at };
        if self.has_outbox { self.outbox.push(message) } else { self.messages.push(message) }
    }

    fn emit(&mut self, event: &Envelope) {
        let text: Arc<str> = serde_json::to_string(event).unwrap().into();
        for queue in queues_of(&event.source, &event.detail_type) {
            self.enqueue(*queue, Arc::clone(&text));
        }
    }

    /// Carries a message of the outbox to its queue; it stays in the outbox when it is to be carried again.
    pub fn relay(&mut self, at: usize, again: bool) {
        self.next_id += 1;
        let message = Message { id: self.next_id, ..self.outbox[at].clone() };
        if !again {
            self.outbox.remove(at);
        }
        self.messages.push(message);
    }

    /// The message with this id, if it is still in a queue.
    pub fn message(&mut self, id: u64) -> Option<&mut Message> {
        self.messages.iter_mut().find(|message| message.id == id)
    }

    /// Takes a message out of its queue.
    pub fn remove(&mut self, id: u64) -> Option<Message> {
        let at = self.messages.iter().position(|message| message.id == id)?;
        Some(self.messages.remove(at))
    }

    /// Every document, in the order of the keys.
    pub fn documents(&self) -> impl Iterator<Item = (Key, &Doc)> {
        self.partitions.iter().flat_map(|((table, pk), docs)| {
            docs.iter().map(move |(sk, stored)| (Key::new(*table, pk.clone(), sk.clone()), &stored.doc))
        })
    }

    /// Removes the documents whose time is over.
    pub fn sweep(&mut self, now: Timestamp) {
        for docs in self.partitions.values_mut() {
            docs.retain(|_, stored| stored.expires_at.is_none_or(|at| at > now));
        }
    }
}

fn stored(sk: &str, version: u64, text: impl Into<Box<str>>, expires_at: Option<Timestamp>) -> Stored {
    Stored { doc: Doc { sk: sk.into(), version, body: Arc::new(Body::from_text(text)) }, expires_at }
}

/// The document after an adjustment; none when a field is no integer, or would fall below its floor.
fn adjusted(text: &str, fields: &[Adjustment]) -> Option<String> {
    let mut document: Map<String, Value> = serde_json::from_str(text).ok()?;
    for Adjustment { field, by, at_least } in fields {
        let sum = document.get(*field)?.as_i64()?.checked_add(*by)?;
        if at_least.is_some_and(|floor| sum < floor) {
            return None;
        }
        document.insert((*field).to_owned(), sum.into());
    }
    serde_json::to_string(&document).ok()
}

impl Model {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The document under `key`.
    pub fn find(&self, key: &Key) -> Option<Doc> {
        self.state().stored(key).map(|stored| stored.doc.clone())
    }

    /// Does a batch, and tells what changed.
    pub fn apply(&self, batch: &Batch, now: Timestamp) -> Result<Vec<Changed>, CommitError> {
        batch.validate()?;
        let mut state = self.state();
        let prepared: Vec<_> = batch.writes.iter().map(|write| state.prepare(write)).collect();
        let failed: Vec<usize> = (0..prepared.len()).filter(|&at| prepared[at].is_err()).collect();
        if !failed.is_empty() {
            return Err(CommitError::Conflict(failed));
        }
        state.now = now;
        let mut changes = Vec::new();
        for (write, after) in batch.writes.iter().zip(prepared.into_iter().flatten()) {
            let key = write.key();
            if matches!(write, Write::Check { .. }) {
                continue;
            }
            let partition = state.partitions.entry((key.table, key.pk.clone())).or_default();
            let before = match &after {
                Some(after) => partition.insert(key.sk.clone(), after.clone()),
                None => partition.remove(&key.sk),
            };
            let doc = |stored: Stored| stored.doc;
            changes.push(Changed { key: key.clone(), before: before.map(doc), after: after.map(doc) });
        }
        batch.events.iter().for_each(|event| state.emit(event));
        batch.messages.iter().for_each(|(queue, text)| state.enqueue(*queue, text.as_str().into()));
        Ok(changes)
    }
}

#[async_trait]
impl Store for Model {
    async fn get(&self, key: &Key) -> Result<Option<Doc>> {
        key.validate().map_err(Error::internal)?;
        Ok(self.find(key))
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Doc>>> {
        if keys.len() > MAX_GET_MANY {
            return Err(Error::internal("too many keys"));
        }
        keys.iter().try_for_each(Key::validate).map_err(Error::internal)?;
        Ok(keys.iter().map(|key| self.find(key)).collect())
    }

    async fn list(&self, range: &Range, after: Option<&str>, limit: usize) -> Result<Page> {
        let limit = limit.clamp(1, MAX_PAGE);
        let state = self.state();
        let partition = state.partitions.get(&(range.partition.table, range.partition.pk.clone()));
        let Some(docs) = partition else { return Ok(Page::default()) };
        let in_prefix = |(sk, _): &(&String, &Stored)| sk.starts_with(&range.prefix);
        let mut found: Vec<Doc> = if range.descending {
            let bounds = (Bound::Unbounded, after.map_or(Bound::Unbounded, Bound::Excluded));
            let docs = docs.range::<str, _>(bounds).rev().filter(in_prefix);
            docs.take(limit + 1).map(|(_, stored)| stored.doc.clone()).collect()
        } else {
            let bounds = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
            let docs = docs.range::<str, _>(bounds).filter(in_prefix);
            docs.take(limit + 1).map(|(_, stored)| stored.doc.clone()).collect()
        };
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|doc| doc.sk.to_string());
        Ok(Page { docs: found, next })
    }

    fn health(&self) -> Result<()> {
        Ok(())
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        self.apply(&batch, Timestamp::UNIX_EPOCH).map(drop)
    }
}

fn letter_id(message: &Message) -> DeadLetterId {
    message.id.to_string().parse().unwrap()
}

fn letter((message, reason): &(Message, String)) -> DeadLetter {
    DeadLetter {
        id: letter_id(message),
        reason: reason.clone(),
        receives: message.receives,
        enqueued_at: message.enqueued_at,
        died_at: message.enqueued_at,
        body: message.text.to_string(),
    }
}

#[async_trait]
impl QueueAdmin for Model {
    async fn statistics(&self, queue: Queue, now: Timestamp) -> Result<Statistics> {
        let (state, now_ms) = (self.state(), now.as_millisecond());
        let of_queue: Vec<&Message> = state.messages.iter().filter(|message| message.queue == queue).collect();
        let count = |which: &dyn Fn(&Message) -> bool| of_queue.iter().filter(|message| which(message)).count() as u64;
        Ok(Statistics {
            waiting: count(&|message| !message.in_hand && message.due_ms <= now_ms),
            in_flight: count(&|message| message.in_hand),
            delayed: count(&|message| !message.in_hand && message.due_ms > now_ms),
            dead: state.dead.iter().filter(|(message, _)| message.queue == queue).count() as u64,
            oldest_enqueued_at: None,
            since_start: None,
        })
    }

    async fn list_dead_letters(
        &self,
        queue: Queue,
        oldest_first: bool,
        after: Option<&DeadLetterId>,
        limit: usize,
    ) -> Result<DeadLetterPage> {
        let after: Option<u64> = after.and_then(|id| id.as_str().parse().ok());
        let state = self.state();
        let mut letters: Vec<_> = state.dead.iter().filter(|(message, _)| message.queue == queue).collect();
        letters.sort_by_key(|(message, _)| message.id);
        if !oldest_first {
            letters.reverse();
        }
        let behind = |id: u64| after.is_none_or(|after| if oldest_first { id > after } else { id < after });
        let mut letters: Vec<DeadLetter> =
            letters.into_iter().filter(|(message, _)| behind(message.id)).take(limit + 1).map(letter).collect();
        let more = letters.len() > limit;
        letters.truncate(limit);
        Ok(DeadLetterPage { letters, more })
    }

    async fn find_dead_letter(&self, queue: Queue, id: &DeadLetterId) -> Result<Option<DeadLetter>> {
        let state = self.state();
        let found = state.dead.iter().find(|(message, _)| message.queue == queue && letter_id(message) == *id);
        Ok(found.map(letter))
    }

    async fn take(&self, queue: Queue, action: Action, which: Which, audit: Audit) -> Result<Vec<DeadLetterId>> {
        let mut state = self.state();
        let there = |message: &Message| message.queue == queue;
        let ids: Vec<DeadLetterId> = match &which {
            Which::These(ids) => {
                let known =
                    |id: &DeadLetterId| state.dead.iter().any(|(dead, _)| there(dead) && letter_id(dead) == *id);
                let unknown: Vec<&DeadLetterId> = ids.iter().filter(|id| !known(id)).collect();
                if !unknown.is_empty() {
                    return Err(not_there(queue, &unknown));
                }
                ids.clone()
            }
            Which::UpTo(newest) => {
                let newest: u64 = newest.as_str().parse().unwrap_or(0);
                let old = state.dead.iter().filter(|(dead, _)| there(dead) && dead.id <= newest);
                old.map(|(dead, _)| letter_id(dead)).collect()
            }
        };
        if ids.is_empty() {
            return Ok(ids);
        }
        let (taken, left) = std::mem::take(&mut state.dead)
            .into_iter()
            .partition::<Vec<_>, _>(|(dead, _)| there(dead) && ids.contains(&letter_id(dead)));
        state.dead = left;
        if action == Action::Redrive {
            taken.into_iter().for_each(|(dead, _)| state.enqueue(dead.queue, dead.text));
        }
        let event = audit(&ids);
        state.emit(&event);
        Ok(ids)
    }
}
