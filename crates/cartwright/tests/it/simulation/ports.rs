//! The ports of the application in the simulation's hands: every read and every commit waits until it is told to go on, and
//! how it is to end.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use cartwright::app::{App, Clock, Ids};
use cartwright::config::Config;
use cartwright::error::{Error, Kind, Result};
use cartwright::events::Queue;
use cartwright::local::sqlite::SqliteStore;
use cartwright::notifications::{Notification, Notifier};
use cartwright::queues::{Action, Audit, DeadLetter, DeadLetterId, DeadLetterPage, QueueAdmin, Statistics, Which};
use cartwright::store::{Batch, CommitError, Doc, Key, Page, Range, Store};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;

use super::model::Model;
use super::mutants::{self, Mutant};
use super::oracle::{Oracle, Who};
use super::plan;
use super::sqlite::now_or_wait;

/// Someone at work: a request or the attempt at a message.
pub type ActorId = u64;

tokio::task_local! {
    /// Whose request this task carries out.
    pub static ACTOR: ActorId;
}

/// What waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Read,
    Commit,
    /// What became of a message is to be noted.
    Note,
    /// An answer is on its way to the client.
    Answer,
    /// Between the two halves of what a mutant does in two.
    Half,
}

/// How a step ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Go {
    On,
    /// It fails, and nothing happened.
    Refuse,
    /// It happens, and is said to have failed.
    LoseAnswer,
    /// It happens, and whoever asked for it never hears of it.
    Vanish,
    /// Someone else was first, it says.
    Conflict,
    /// Nothing happens, for ever.
    Hang,
    Panic,
}

/// Someone who waits to be told to go on.
pub struct Waiting {
    pub actor: ActorId,
    pub step: Step,
    pub what: String,
    pub go: oneshot::Sender<Go>,
}

/// What one run has: all of it is forgotten at the start of the next.
pub struct Run {
    pub now: Timestamp,
    ids: u64,
    pub alive: BTreeSet<ActorId>,
    pub waiting: Vec<Waiting>,
    pub oracle: Oracle,
    /// What happened, line by line, when someone wants to read it.
    pub history: Option<Vec<String>>,
    pub mutant: Option<Mutant>,
    /// A read of several documents is two moments.
    pub torn_reads: bool,
    /// The requests: what they are for, and the key under which they are to be done once.
    pub who: Vec<(ActorId, Who, Option<String>)>,
    /// Those a fault made panic.
    pub panicked: BTreeSet<ActorId>,
    /// Writes that nobody waits for.
    pub deferred: Vec<(ActorId, Batch)>,
    /// The file behind the model, when there is one.
    pub sqlite: Option<Arc<SqliteStore>>,
}

impl Run {
    /// The start of a run.
    pub fn new(seed: u64) -> Run {
        Run {
            now: "2026-01-02T03:04:05Z".parse().unwrap(),
            ids: seed,
            alive: BTreeSet::new(),
            waiting: Vec::new(),
            oracle: Oracle::default(),
            history: None,
            mutant: None,
            torn_reads: false,
            who: Vec::new(),
            panicked: BTreeSet::new(),
            deferred: Vec::new(),
            sqlite: None,
        }
    }

    /// Adds a line to the history.
    pub fn say(&mut self, line: impl FnOnce() -> String) {
        if let Some(history) = &mut self.history {
            history.push(line());
        }
    }

    fn who(&self, actor: ActorId) -> (Who, Option<String>) {
        let found = self.who.iter().rev().find(|(other, _, _)| *other == actor);
        found.map_or((Who::Consumer, None), |(_, who, key)| (*who, key.clone()))
    }
}

/// What all ports share.
pub struct Shared {
    pub model: Model,
    run: Mutex<Run>,
}

impl Shared {
    pub fn new() -> Arc<Shared> {
        Arc::new(Shared { model: Model::default(), run: Mutex::new(Run::new(0)) })
    }

    pub fn run(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap()
    }

    /// The application as this actor sees it; without one, as the request does that the task carries out.
    pub fn app(self: &Arc<Self>, actor: Option<ActorId>) -> App {
        let store = Arc::new(GatedStore { shared: Arc::clone(self), actor });
        let queues = Arc::new(Queues(Arc::clone(self)));
        App::new(store, queues, Arc::clone(self) as _, Arc::clone(self) as _, Arc::clone(self) as _, Config::default())
    }

    /// Waits until the simulation says how this step ends. For those that are not alive any more, for ever.
    pub async fn step(&self, actor: ActorId, step: Step, what: impl FnOnce() -> String) -> Go {
        let told = {
            let mut run = self.run();
            let what = if run.history.is_some() { what() } else { String::new() };
            let (go, told) = oneshot::channel();
            if run.alive.contains(&actor) {
                run.waiting.push(Waiting { actor, step, what, go });
                Some(told)
            } else {
                None
            }
        };
        match told {
            Some(told) => match told.await {
                Ok(go) => go,
                Err(_) => pending().await,
            },
            None => pending().await,
        }
    }

    /// Does a batch at once, and has the oracle look at it.
    pub fn commit(&self, actor: ActorId, batch: &Batch) -> Result<(), CommitError> {
        let (now, sqlite) = {
            let run = self.run();
            (run.now, run.sqlite.clone())
        };
        let outcome = self.model.apply(batch, now);
        if let Some(sqlite) = sqlite {
            let real = now_or_wait(sqlite.commit(batch.clone()));
            let (expected, found) = (format!("{:?}", outcome.as_ref().map(drop)), format!("{real:?}"));
            let mut run = self.run();
            if expected != found {
                run.oracle.fail(|| format!("SQLite answers {found}, the model {expected}, to {batch:?}"));
            }
            self.model.state().messages.clear();
        }
        let changes = outcome?;
        let mut run = self.run();
        let (who, key) = run.who(actor);
        run.oracle.committed(who, batch, &changes);
        if let Some(key) = key {
            run.oracle.done_under(&key, batch);
        }
        Ok(())
    }

    fn find(&self, key: &Key) -> Option<Doc> {
        let found = self.model.find(key);
        let sqlite = self.run().sqlite.clone();
        let Some(sqlite) = sqlite else { return found };
        let real = now_or_wait(sqlite.get(key)).unwrap();
        let plain =
            |doc: &Option<Doc>| doc.as_ref().map(|doc| (doc.version, doc.parse_owned::<serde_json::Value>().unwrap()));
        if plain(&real) != plain(&found) {
            self.run().oracle.fail(|| format!("SQLite has {real:?} under {key}, the model {found:?}"));
        }
        real
    }
}

impl Clock for Shared {
    fn now(&self) -> Timestamp {
        let mut run = self.run();
        run.now += SignedDuration::from_micros(1);
        run.now
    }
}

impl Ids for Shared {
    fn fill(&self, bytes: &mut [u8]) {
        let mut run = self.run();
        for chunk in bytes.chunks_mut(8) {
            let word = plan::next(&mut run.ids).to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

#[async_trait]
impl Notifier for Shared {
    async fn notify(&self, notification: &Notification) -> Result<()> {
        let mut run = self.run();
        run.oracle.told(notification);
        run.say(|| format!("    people are told: {}", notification.subject));
        Ok(())
    }
}

/// The error of a fault that was put in.
pub fn fault() -> Error {
    Error::new(Kind::Unavailable, "storage_failed", "A fault that the simulation put in.")
}

/// The store as an actor sees it.
pub struct GatedStore {
    shared: Arc<Shared>,
    actor: Option<ActorId>,
}

impl GatedStore {
    fn actor(&self) -> ActorId {
        self.actor.unwrap_or_else(|| ACTOR.get())
    }

    /// Waits for a read to be told to go on.
    async fn may_read(&self, what: impl FnOnce() -> String) -> Result<()> {
        match self.shared.step(self.actor(), Step::Read, what).await {
            Go::On | Go::LoseAnswer | Go::Conflict => Ok(()),
            Go::Refuse => Err(fault()),
            Go::Vanish | Go::Hang => pending().await,
            Go::Panic => self.panic(),
        }
    }

    fn panic(&self) -> ! {
        self.shared.run().panicked.insert(self.actor());
        // Not raised by the macro: nobody need read of it on the terminal.
        std::panic::resume_unwind(Box::new("a fault that the simulation put in"))
    }
}

#[async_trait]
impl Store for GatedStore {
    async fn get(&self, key: &Key) -> Result<Option<Doc>> {
        key.validate().map_err(Error::internal)?;
        self.may_read(|| format!("reads {key}")).await?;
        Ok(self.shared.find(key))
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Doc>>> {
        self.may_read(|| format!("reads {}", keys.iter().map(Key::to_string).collect::<Vec<_>>().join(", "))).await?;
        let torn = self.shared.run().torn_reads && keys.len() > 1;
        let (first, rest) = keys.split_at(if torn { keys.len() / 2 } else { keys.len() });
        let mut found: Vec<_> = first.iter().map(|key| self.shared.find(key)).collect();
        if torn {
            self.may_read(|| "reads the rest".to_owned()).await?;
            found.extend(rest.iter().map(|key| self.shared.find(key)));
        }
        Ok(found)
    }

    async fn list(&self, range: &Range, after: Option<&str>, limit: usize) -> Result<Page> {
        let sqlite = self.shared.run().sqlite.clone();
        match sqlite {
            Some(sqlite) => now_or_wait(sqlite.list(range, after, limit)),
            None => self.shared.model.list(range, after, limit).await,
        }
    }

    fn health(&self) -> Result<()> {
        Ok(())
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        let (actor, mutant) = (self.actor(), self.shared.run().mutant);
        let what = || {
            let writes = batch.writes.iter().map(|write| write.key().to_string());
            let events = batch.events.iter().map(|event| event.detail_type.clone());
            format!("commits {}", writes.chain(events).collect::<Vec<_>>().join(", "))
        };
        let go = self.shared.step(actor, Step::Commit, what).await;
        match go {
            Go::Refuse => return Err(CommitError::Failed(fault())),
            Go::Conflict => return Err(CommitError::Conflict(vec![0])),
            Go::Hang => pending().await,
            Go::Panic => self.panic(),
            Go::On | Go::LoseAnswer | Go::Vanish => {}
        }
        match mutant {
            Some(mutant) => mutants::commit(mutant, &self.shared, actor, batch, go).await?,
            None => self.shared.commit(actor, &batch)?,
        }
        match go {
            Go::LoseAnswer if mutant != Some(Mutant::BlindRetry) => Err(CommitError::Failed(fault())),
            Go::Vanish => pending().await,
            _ => Ok(()),
        }
    }
}

/// The queues as operators see them: of the file when there is one, else of the model.
struct Queues(Arc<Shared>);

impl Queues {
    fn sqlite(&self) -> Option<Arc<SqliteStore>> {
        self.0.run().sqlite.clone()
    }
}

#[async_trait]
impl QueueAdmin for Queues {
    async fn statistics(&self, queue: Queue, now: Timestamp) -> Result<Statistics> {
        match self.sqlite() {
            Some(sqlite) => now_or_wait(sqlite.statistics(queue, now)),
            None => self.0.model.statistics(queue, now).await,
        }
    }

    async fn list_dead_letters(
        &self,
        queue: Queue,
        oldest_first: bool,
        after: Option<&DeadLetterId>,
        limit: usize,
    ) -> Result<DeadLetterPage> {
        match self.sqlite() {
            Some(sqlite) => now_or_wait(sqlite.list_dead_letters(queue, oldest_first, after, limit)),
            None => self.0.model.list_dead_letters(queue, oldest_first, after, limit).await,
        }
    }

    async fn find_dead_letter(&self, queue: Queue, id: &DeadLetterId) -> Result<Option<DeadLetter>> {
        match self.sqlite() {
            Some(sqlite) => now_or_wait(sqlite.find_dead_letter(queue, id)),
            None => self.0.model.find_dead_letter(queue, id).await,
        }
    }

    async fn take(&self, queue: Queue, action: Action, which: Which, audit: Audit) -> Result<Vec<DeadLetterId>> {
        match self.sqlite() {
            Some(sqlite) => now_or_wait(sqlite.take(queue, action, which, audit)),
            None => self.0.model.take(queue, action, which, audit).await,
        }
    }
}
