//! One run: what happens step by step, as a plan says, and what is brought to its end when the plan is over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use cartwright::api;
use cartwright::app::Clock;
use cartwright::events::Queue;
use cartwright::rest::Door;
use http::Request;
use http_body_util::BodyExt;
use jiff::SignedDuration;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::model::State;
use super::mutants::Mutant;
use super::plan::{Plan, Word};
use super::ports::{ACTOR, ActorId, Go, Run, Shared, Step};
use super::shoppers::{self, Answer, Intent, Known, USERS};
use super::sqlite::{File, now_or_wait};

/// Longest a consumer may take. As in every home.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(30);
/// Requests and messages under way at the same time.
const MAX_ACTORS: usize = 6;
/// More steps than any run needs to come to rest.
const MAX_STEPS_TO_REST: usize = 30_000;

/// Where the shop is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// The store in memory, whose queues are filled with the commit.
    Memory,
    /// As DynamoDB behaves: events come later, twice, out of order, in batches; reads of several documents are no snapshot.
    Dynamo,
    /// The real file.
    Sqlite,
}

/// What happened in a run.
pub struct Outcome {
    /// The first promise that was broken.
    pub broken: Option<String>,
    /// What happened, when it was asked for.
    pub history: Vec<String>,
    /// What was done.
    pub figures: Figures,
}

/// How much a run covered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    pub requests: usize,
    pub messages: usize,
    pub faults: usize,
    pub crashes: usize,
    pub orders: usize,
}

impl Figures {
    pub fn add(&mut self, other: Figures) {
        self.requests += other.requests;
        self.messages += other.messages;
        self.faults += other.faults;
        self.crashes += other.crashes;
        self.orders += other.orders;
    }
}

/// A shop that is used for one run after the other.
pub struct Simulator {
    shared: Arc<Shared>,
    door: Door,
}

impl Simulator {
    pub fn new() -> Simulator {
        let shared = Shared::new();
        let door = api::door(&shared.app(None));
        Simulator { shared, door }
    }

    /// Runs a plan.
    pub fn run(&self, plan: &Plan, home: Home, mutant: Option<Mutant>, with_history: bool) -> Outcome {
        let mut setting = Word(plan.setting);
        let faults = Faults::of(&mut setting, home);
        *self.shared.model.state() = State::new(home == Home::Dynamo);
        let mut run = Run::new(plan.seed);
        (run.mutant, run.history, run.torn_reads) = (mutant, with_history.then(Vec::new), home == Home::Dynamo);
        *self.shared.run() = run;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let mut world = World {
            shared: Arc::clone(&self.shared),
            door: self.door.clone(),
            home,
            faults,
            actors: BTreeMap::new(),
            next_actor: 0,
            known: Known::default(),
            received: Arc::default(),
            file: None,
            figures: Figures::default(),
            outage: 0,
        };
        runtime.block_on(world.live(setting, &plan.words));
        let figures = world.figures;
        drop((runtime, world));
        let run = std::mem::replace(&mut *self.shared.run(), Run::new(0));
        let orders = run.oracle.orders().len();
        let history = run.history.unwrap_or_default();
        Outcome { broken: run.oracle.broken, history, figures: Figures { orders, ..figures } }
    }
}

/// Kinds of faults, a bit of the setting for each.
pub const FAULT_KINDS: u32 = 7;

/// Which faults there are in a run. Many faults at once hide each other, so each run has some of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Faults {
    pub(super) storage: bool,
    pub(super) network: bool,
    pub(super) crashes: bool,
    pub(super) doubles: bool,
    pub(super) clock: bool,
    pub(super) hangs: bool,
    pub(super) panics: bool,
}

impl Faults {
    fn of(setting: &mut Word, home: Home) -> Faults {
        // The first seven bits: one for each kind of fault. Then, once in eight runs, nothing at all goes wrong.
        let mut bits = setting.pick(1 << FAULT_KINDS);
        if setting.once_in(8) {
            bits = 0;
        }
        let mut has = || {
            let has = bits % 2 == 1;
            bits /= 2;
            has
        };
        let (storage, network, crashes) = (has(), has(), has());
        let (doubles, clock, hangs, panics) = (has(), has(), has(), has());
        Faults { storage, network, crashes, doubles: doubles || home == Home::Dynamo, clock, hangs, panics }
    }

    fn none(self) -> bool {
        !(self.storage || self.network || self.crashes || self.doubles || self.clock || self.hangs || self.panics)
    }

    /// How a step ends.
    fn decide(self, word: &mut Word, step: Step) -> Go {
        if word.pick(12) != 11 {
            return Go::On;
        }
        match (word.pick(7), step) {
            (0, Step::Answer) if self.network => Go::Refuse,
            (0, Step::Note) if self.storage => Go::Refuse,
            (0 | 1, Step::Read | Step::Commit) if self.storage => Go::Refuse,
            (2 | 3, Step::Commit) if self.storage => Go::LoseAnswer,
            (4, Step::Commit) if self.storage => Go::Conflict,
            (1..=4, Step::Half) if self.storage => Go::Refuse,
            (5, Step::Read | Step::Commit | Step::Half) if self.hangs => Go::Hang,
            (6, Step::Commit) if self.hangs => Go::Vanish,
            (0, Step::Read | Step::Commit) if self.panics => Go::Panic,
            _ => Go::On,
        }
    }
}

/// Who is at work.
pub(super) struct Actor {
    pub(super) task: JoinHandle<()>,
    /// The message it works on.
    pub(super) message: Option<u64>,
}

/// What an actor leaves when it is done.
pub(super) enum Done {
    Answer { intent: usize, answer: Option<Answer> },
    Message,
}

pub(super) struct World {
    pub(super) shared: Arc<Shared>,
    pub(super) door: Door,
    pub(super) home: Home,
    pub(super) faults: Faults,
    pub(super) actors: BTreeMap<ActorId, Actor>,
    pub(super) next_actor: ActorId,
    pub(super) known: Known,
    pub(super) received: Arc<std::sync::Mutex<Vec<(ActorId, Done)>>>,
    pub(super) file: Option<File>,
    pub(super) figures: Figures,
    /// Steps for which the store is down.
    pub(super) outage: usize,
}

impl World {
    async fn live(&mut self, mut setting: Word, words: &[u64]) {
        if self.home == Home::Sqlite {
            self.open(None);
        }
        for user in &USERS[..setting.pick(USERS.len())] {
            let intent = shoppers::customer(user, 0);
            self.set_up(intent).await;
        }
        for _ in 0..1 + setting.pick(3) {
            let intent = self.known.new_product(&mut setting);
            self.set_up(intent).await;
        }
        for word in words {
            self.step(Word(*word)).await;
            if self.shared.run().oracle.broken.is_some() {
                return;
            }
        }
        self.shared.run().say(|| "-- nothing fails from here on".to_owned());
        self.rest().await;
        if self.shared.run().oracle.broken.is_none() {
            let (strict, clock) = (self.faults.none(), self.faults.clock);
            self.shared.run().oracle.at_rest(&self.shared.model.state(), strict, clock);
        }
    }

    async fn set_up(&mut self, intent: Intent) {
        let at = self.known.intents.len();
        self.known.intents.push(intent);
        self.ask(at);
        while !self.actors.is_empty() {
            self.quiesce().await;
            self.release(0, Go::On);
        }
    }

    /// Lets everyone run until all wait.
    async fn quiesce(&mut self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let done = std::mem::take(&mut *self.received.lock().unwrap());
        for (id, done) in done {
            self.actors.remove(&id);
            let mut run = self.shared.run();
            run.alive.remove(&id);
            let Done::Answer { intent, answer } = done else { continue };
            let Some(answer) = answer else { continue };
            let Answer { status, body, .. } = &answer;
            run.say(|| format!("{id:3} is answered {status} {body}"));
            if status.is_server_error() && status.as_u16() != 503 && !run.panicked.contains(&id) {
                run.oracle
                    .fail(|| format!("a request failed on our side: {:?}: {answer:?}", self.known.intents[intent]));
            }
            self.known.answered(intent, &answer, &mut run.oracle);
        }
    }

    /// Lets one of those that wait go on.
    fn release(&mut self, at: usize, go: Go) {
        let mut run = self.shared.run();
        if at >= run.waiting.len() {
            return;
        }
        let waiting = run.waiting.remove(at);
        run.say(|| {
            format!(
                "{:3} {}{}",
                waiting.actor,
                waiting.what,
                if go == Go::On { String::new() } else { format!(": {go:?}") }
            )
        });
        drop(run);
        self.figures.faults += usize::from(go != Go::On);
        let _ = waiting.go.send(go);
    }

    async fn step(&mut self, mut word: Word) {
        self.shared.run().now += SignedDuration::from_millis(3);
        if self.outage > 0 {
            self.outage -= 1;
            self.suffer(word);
            return self.quiesce().await;
        }
        match word.pick(100) {
            50..=66 if self.actors.len() < MAX_ACTORS => {
                let shared = Arc::clone(&self.shared);
                let new_order_id = || shared.app(None).new_order_id(shared.now()).to_string();
                let at = self.known.next_intent(word, new_order_id);
                self.ask(at);
                // Impatient people ask twice.
                if self.faults.doubles && word.once_in(9) {
                    self.ask(at);
                }
            }
            67..=87 if self.actors.len() < MAX_ACTORS => self.receive(word),
            88..=91 => self.relay(word),
            92..=94 => self.pass_time(word).await,
            95 if self.faults.crashes => self.crash().await,
            96 if self.faults.crashes && self.home == Home::Dynamo => self.end_one(word).await,
            97 if self.faults.network => self.end_one(word).await,
            98 if self.home != Home::Sqlite => {
                let now = self.shared.run().now;
                self.shared.model.state().sweep(now);
            }
            99 if !self.shared.run().deferred.is_empty() => self.do_deferred(word),
            99 if self.faults.storage && word.once_in(3) => {
                self.outage = 20 + word.pick(80);
                self.shared.run().say(|| "    the store is down for a while".to_owned());
            }
            _ => self.go_on(word),
        }
        self.quiesce().await;
    }

    /// A step while the store is down: whoever asks it for anything fails, and what failed comes again.
    fn suffer(&mut self, word: Word) {
        self.shared.run().now += SignedDuration::from_secs(10);
        let step = self.shared.run().waiting.first().map(|waiting| waiting.step);
        match step {
            None => self.receive(word),
            Some(Step::Read | Step::Commit) => self.release(0, Go::Refuse),
            Some(Step::Note | Step::Answer | Step::Half) => self.release(0, Go::On),
        }
    }

    fn go_on(&mut self, mut word: Word) {
        let (count, step) = {
            let run = self.shared.run();
            let at = Word(word.0).pick(run.waiting.len());
            (run.waiting.len(), run.waiting.get(at).map(|waiting| waiting.step))
        };
        let Some(step) = step else { return self.receive(word) };
        let at = word.pick(count);
        let go = self.faults.decide(&mut word, step);
        self.release(at, go);
    }

    pub(super) fn new_actor(&mut self) -> ActorId {
        self.next_actor += 1;
        self.shared.run().alive.insert(self.next_actor);
        self.next_actor
    }

    /// Sends a request.
    fn ask(&mut self, at: usize) {
        let id = self.new_actor();
        let intent = self.known.intents[at].clone();
        self.figures.requests += 1;
        let mut run = self.shared.run();
        run.who.push((id, intent.who(), intent.key.clone()));
        let key = intent.key.as_deref().unwrap_or("no key");
        run.say(|| format!("{id:3} asks {} {} {} ({key})", intent.method, intent.path, intent.body));
        if intent.is_event {
            shoppers::order_from_outside(&intent).into_iter().for_each(|order| run.oracle.expect_elsewhere(&order));
        }
        drop(run);
        let (door, shared, received) = (self.door.clone(), Arc::clone(&self.shared), Arc::clone(&self.received));
        let task = tokio::spawn(ACTOR.scope(id, async move {
            let answer = send(&door, id, &intent).await;
            let arrives = shared.step(id, Step::Answer, || format!("'s answer {} is on its way", answer.status)).await;
            let answer = (arrives == Go::On).then_some(answer);
            received.lock().unwrap().push((id, Done::Answer { intent: at, answer }));
        }));
        self.actors.insert(id, Actor { task, message: None });
    }

    /// A little time, the time a hung call takes to be given up, or a clock that is put right.
    async fn pass_time(&mut self, mut word: Word) {
        let by = match word.pick(6) {
            0..=2 => SignedDuration::from_secs(1),
            3 => SignedDuration::from_secs(70),
            4 if self.faults.hangs => {
                tokio::time::sleep(TIME_LIMIT + Duration::from_secs(1)).await;
                SignedDuration::from_secs(31)
            }
            _ if self.faults.clock && word.pick(2) == 0 => SignedDuration::from_mins(-10),
            _ if self.faults.clock => SignedDuration::from_hours(1),
            _ => SignedDuration::from_secs(5),
        };
        let mut run = self.shared.run();
        run.now += by;
        run.say(|| format!("    the clock moves by {} s", by.as_secs()));
    }

    /// The process dies, with everything that was under way, and comes back.
    async fn crash(&mut self) {
        self.figures.crashes += 1;
        self.forget_those_at_work();
        for (_, actor) in std::mem::take(&mut self.actors) {
            actor.task.abort();
        }
        self.quiesce().await;
        for message in &mut self.shared.model.state().messages {
            message.in_hand = false;
        }
        if let Some(file) = self.file.take() {
            self.open(Some(&file));
        }
    }

    fn forget_those_at_work(&self) {
        let mut run = self.shared.run();
        run.say(|| "    the process dies and starts again".to_owned());
        run.alive.clear();
        run.waiting.clear();
        run.deferred.clear();
    }

    fn open(&mut self, before: Option<&File>) {
        let clock: Arc<dyn Clock> = Arc::clone(&self.shared) as _;
        let file = match before {
            None => File::new(clock),
            Some(before) => before.after_power_cut(clock),
        };
        self.shared.run().sqlite = Some(Arc::clone(&file.store));
        self.file = Some(file);
    }

    /// One of those at work is cut off: a client hangs up, a function is ended.
    async fn end_one(&mut self, mut word: Word) {
        let at = word.pick(self.actors.len());
        let Some(id) = self.actors.keys().nth(at).copied() else { return };
        let is_request = self.shared.run().who.iter().any(|(other, ..)| *other == id);
        if !is_request && self.home != Home::Dynamo {
            return;
        }
        let Some(actor) = self.actors.remove(&id) else { return };
        let mut run = self.shared.run();
        run.say(|| format!("{id:3} is cut off"));
        run.alive.remove(&id);
        run.waiting.retain(|waiting| waiting.actor != id);
        let now_ms = run.now.as_millisecond();
        drop(run);
        actor.task.abort();
        if let Some(message) = actor.message
            && let Some(message) = self.shared.model.state().message(message)
        {
            (message.in_hand, message.due_ms) = (false, now_ms + 30_000);
        }
    }

    /// A write that nobody waits for happens, or fails and nobody knows.
    fn do_deferred(&mut self, mut word: Word) {
        let mut run = self.shared.run();
        if run.deferred.is_empty() {
            return;
        }
        let at = word.pick(run.deferred.len());
        let (actor, batch) = run.deferred.remove(at);
        run.say(|| format!("{actor:3}'s write happens that it did not wait for"));
        drop(run);
        let _ = self.shared.commit(actor, &batch);
    }

    /// Brings everything to its end: those at work, one more start, every message, and the dead letters put back.
    async fn rest(&mut self) {
        self.drain().await;
        self.crash().await;
        self.drain().await;
        let redrives = Queue::ALL.map(|queue| format!("/v1/queues/{}/dead-letters/redrive", queue.name()));
        // Twice: what is told of an erased customer's order dies until the order has its alias, which another queue gives it.
        for path in redrives.iter().chain(&redrives).cloned() {
            let intent = Intent {
                method: "POST",
                path,
                body: serde_json::json!({"all": true}),
                key: None,
                about: shoppers::About::Nothing,
                answer: None,
                is_event: false,
            };
            self.known.intents.push(intent);
            self.ask(self.known.intents.len() - 1);
            self.drain().await;
        }
        if let Some(file) = &self.file {
            for queue in Queue::ALL {
                let left = now_or_wait(file.store.depth(queue)).unwrap();
                let letters =
                    now_or_wait(cartwright::queues::QueueAdmin::list_dead_letters(&*file.store, queue, true, None, 1));
                let dead = letters.unwrap().letters.len();
                // A clock that was put back can leave a notification to someone erased in the future.
                if left > 0 || (dead > 0 && !self.faults.clock) {
                    self.shared
                        .run()
                        .oracle
                        .fail(|| format!("{left} messages of {} wait for ever, {dead} are dead", queue.name()));
                }
            }
        }
    }

    async fn drain(&mut self) {
        for _ in 0..MAX_STEPS_TO_REST {
            self.quiesce().await;
            if self.shared.run().oracle.broken.is_some() {
                return;
            }
            if !self.shared.run().waiting.is_empty() {
                self.release(0, Go::On);
            } else if !self.actors.is_empty() {
                // Someone pauses before another try, or waits for what will never come.
                tokio::time::sleep(Duration::from_millis(100)).await;
                self.quiesce().await;
                if self.shared.run().waiting.is_empty() && !self.actors.is_empty() {
                    self.shared.run().now += SignedDuration::from_secs(31);
                    tokio::time::sleep(TIME_LIMIT + Duration::from_secs(1)).await;
                }
            } else if !self.shared.run().deferred.is_empty() {
                self.do_deferred(Word(0));
            } else if !self.shared.model.state().outbox.is_empty() {
                self.relay(Word(0));
            } else {
                self.receive(Word(0));
                if self.actors.is_empty() && !self.wait_for_next() {
                    return;
                }
            }
        }
        self.shared.run().oracle.fail(|| "it never comes to rest".to_owned());
    }

    /// Moves the clock on to the next message that waits; false when none does.
    fn wait_for_next(&mut self) -> bool {
        let in_file = |file: &File| Queue::ALL.into_iter().filter_map(|queue| file.store.next_due_ms(queue)).min();
        let next = match &self.file {
            Some(file) => in_file(file),
            None => self.shared.model.state().messages.iter().map(|message| message.due_ms).min(),
        };
        let Some(next) = next else { return false };
        let mut run = self.shared.run();
        let wait_ms = (next - run.now.as_millisecond()).max(0) + 1;
        run.now += SignedDuration::from_millis(wait_ms);
        true
    }
}

/// Sends a request through the door.
async fn send(door: &Door, id: ActorId, intent: &Intent) -> Answer {
    let mut request =
        Request::builder().method(intent.method).uri(&intent.path).header("x-request-id", format!("sim-{id}"));
    if let Some(key) = &intent.key {
        request = request.header("idempotency-key", key);
    }
    if intent.is_event {
        request = request.header("x-amz-target", "AWSEvents.PutEvents");
    } else if !intent.body.is_null() {
        request = request.header("content-type", "application/json");
    }
    let body = if intent.body.is_null() { Body::empty() } else { Body::from(intent.body.to_string()) };
    let response = door.answer(request.body(body).unwrap()).await;
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    let etag = parts.headers.get("etag").and_then(|tag| tag.to_str().ok()).unwrap_or_default().to_owned();
    Answer { status: parts.status, etag, body }
}
