//! Where those who listen in this process wait for what comes.
//!
//! A channel is an inbox, a queue, or the purchases. It is there as long as someone listens to it. Of an inbox it knows the
//! number of the newest entry and nothing else: listeners read the store. Of a queue it keeps the newest figures, of purchases
//! the last thousand, for all listeners together; one that falls further behind has missed some.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::{Live, News, Source, ops};
use crate::app::App;
use crate::error::{Error, Kind, Result};
use crate::events::Queue;
use crate::notifications::Inbox;
use crate::rest::{Caller, CallerKey, Share, Shares};

/// Purchases that are kept for listeners who are behind: about a megabyte, for all of them together.
const PURCHASES_KEPT: usize = 1_000;
/// How often the figures of a queue are looked at while someone listens.
const QUEUE_PERIOD: Duration = Duration::from_secs(1);

/// What is told of a queue or a purchase.
pub(super) type Fact = Arc<Map<String, Value>>;

/// How often it is looked at whether a listener's credential is still good.
const CHECK_PERIOD: Duration = Duration::from_secs(30);

/// How many streams wait at the same time, and how long a credential is trusted.
#[derive(Debug, Clone, Copy)]
pub struct HubLimits {
    /// In all.
    pub max_streams: Option<usize>,
    /// Of one caller.
    pub max_streams_per_caller: Option<usize>,
    /// How often it is looked at whether the credential of one is still good.
    pub check_period: Duration,
}

impl Default for HubLimits {
    fn default() -> Self {
        HubLimits { max_streams: None, max_streams_per_caller: None, check_period: CHECK_PERIOD }
    }
}

/// Where listeners wait. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    channels: Mutex<HashMap<ChannelKey, Arc<Channel>>>,
    listeners: AtomicU64,
    streams: Arc<Semaphore>,
    of_callers: Option<Shares<CallerKey>>,
    check_period: Duration,
    closing: watch::Sender<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum ChannelKey {
    Inbox(Inbox),
    Queue(Queue),
    Purchases,
}

impl ChannelKey {
    fn of(source: &Source) -> ChannelKey {
        match source {
            Source::Entries { inbox, .. } => ChannelKey::of_inbox(inbox),
            Source::Queue(queue) => ChannelKey::Queue(*queue),
            Source::Purchases => ChannelKey::Purchases,
        }
    }

    /// User names are one in upper and lower case.
    fn of_inbox(inbox: &Inbox) -> ChannelKey {
        ChannelKey::Inbox(match inbox {
            Inbox::Customer(username) => {
                Inbox::Customer(username.key().try_into().unwrap_or_else(|_| username.clone()))
            }
            Inbox::Operators => Inbox::Operators,
        })
    }
}

#[derive(Default)]
struct Channel(Mutex<ChannelState>);

#[derive(Default)]
struct ChannelState {
    /// Of an inbox, the number of the newest entry that was told of; else how many facts there were.
    newest: u64,
    /// The newest facts, the last of which has the number `newest`.
    recent: VecDeque<Fact>,
    bells: HashMap<u64, Bell>,
}

/// Rings when there may be something new on any of the channels of a listener.
#[derive(Clone, Default)]
pub struct Bell(Arc<Notify>);

impl Bell {
    /// Waits until it rings; at once when it rang since it was last waited for.
    pub async fn rung(&self) {
        self.0.notified().await;
    }

    /// Rings it.
    pub fn ring(&self) {
        self.0.notify_one();
    }
}

/// One that listens to a channel, until it is dropped.
pub struct Listening {
    hub: Weak<Inner>,
    key: ChannelKey,
    channel: Arc<Channel>,
    id: u64,
}

/// What a stream holds as long as it is there.
pub struct Place {
    _stream: OwnedSemaphorePermit,
    _of_caller: Option<Share<CallerKey>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Hub {
    fn default() -> Self {
        Hub::new(HubLimits::default())
    }
}

impl Hub {
    /// Nobody listens yet.
    pub fn new(limits: HubLimits) -> Self {
        let streams = limits.max_streams.unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        Hub(Arc::new(Inner {
            channels: Mutex::default(),
            listeners: AtomicU64::new(0),
            streams: Arc::new(Semaphore::new(streams)),
            of_callers: limits.max_streams_per_caller.map(Shares::new),
            check_period: limits.check_period,
            closing: watch::Sender::new(false),
        }))
    }

    /// A place for one more stream.
    ///
    /// # Errors
    /// `too_many_streams` (503) when there are as many as there may be, `too_many_streams_at_once` (429) when the caller has
    /// as many as one may have.
    pub fn place(&self, caller: &Caller) -> Result<Place> {
        let of_caller = match self.0.of_callers.as_ref().zip(caller.key()) {
            Some((shares, key)) => Some(shares.take(key).ok_or_else(|| {
                let message = "You have as many streams as one caller may have; end one first.";
                Error::new(Kind::TooManyRequests, "too_many_streams_at_once", message)
            })?),
            None => None,
        };
        let stream = Arc::clone(&self.0.streams).try_acquire_owned().map_err(|_| {
            let message = "The server has all the streams it takes on; try again later.";
            Error::new(Kind::Overloaded, "too_many_streams", message)
        })?;
        Ok(Place { _stream: stream, _of_caller: of_caller })
    }

    /// Listens to what feeds `source`; `bell` rings when there is something new. Of a queue, the figures are looked at while
    /// someone listens.
    pub fn listen(&self, app: &App, source: &Source, bell: &Bell) -> Listening {
        let id = self.0.listeners.fetch_add(1, Ordering::Relaxed);
        let key = ChannelKey::of(source);
        let mut channels = lock(&self.0.channels);
        let mut is_new = false;
        let channel = Arc::clone(channels.entry(key.clone()).or_insert_with(|| {
            is_new = true;
            Arc::default()
        }));
        lock(&channel.0).bells.insert(id, bell.clone());
        drop(channels);
        if let (true, Source::Queue(queue)) = (is_new, source) {
            tokio::spawn(watch_queue(app.clone(), *queue, Arc::clone(&channel)));
        }
        Listening { hub: Arc::downgrade(&self.0), key, channel, id }
    }

    /// How often it is looked at whether a listener's credential is still good.
    pub fn check_period(&self) -> Duration {
        self.0.check_period
    }

    /// Tells all who wait that the server ends.
    pub fn close(&self) {
        self.0.closing.send_replace(true);
    }

    /// Waits until the server ends.
    pub async fn closed(&self) {
        let _ = self.0.closing.subscribe().wait_for(|closing| *closing).await;
    }

    fn channel(&self, key: &ChannelKey) -> Option<Arc<Channel>> {
        lock(&self.0.channels).get(key).cloned()
    }
}

#[async_trait]
impl Live for Hub {
    async fn tell(&self, _app: &App, news: News<'_>) -> Result<()> {
        match news {
            News::Entry(inbox, entry) => {
                if let Some(channel) = self.channel(&ChannelKey::of_inbox(inbox)) {
                    channel.reach(entry.sequence);
                }
            }
            News::Purchase(envelope, stored) => {
                if let Some(channel) = self.channel(&ChannelKey::Purchases) {
                    channel.add(ops::purchase_fact(envelope, stored)?, PURCHASES_KEPT);
                }
            }
        }
        Ok(())
    }

    fn hub(&self) -> Option<&Hub> {
        Some(self)
    }
}

impl Channel {
    /// There is an entry of this number.
    fn reach(&self, sequence: u64) {
        let mut state = lock(&self.0);
        if sequence > state.newest {
            state.newest = sequence;
            state.bells.values().for_each(Bell::ring);
        }
    }

    /// There is one more fact, of which the newest `kept` are kept.
    fn add(&self, fact: Fact, kept: usize) {
        let mut state = lock(&self.0);
        state.newest += 1;
        state.recent.push_back(fact);
        if state.recent.len() > kept {
            state.recent.pop_front();
        }
        state.bells.values().for_each(Bell::ring);
    }
}

/// Looks at the figures of a queue until nobody listens any more.
async fn watch_queue(app: App, queue: Queue, channel: Arc<Channel>) {
    let mut period = interval(QUEUE_PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        if lock(&channel.0).bells.is_empty() {
            return;
        }
        match ops::queue_fact(&app, queue).await {
            Ok(fact) if lock(&channel.0).recent.back() != Some(&fact) => channel.add(fact, 1),
            Ok(_) => {}
            Err(error) => tracing::warn!(queue = queue.name(), %error, "the figures of a queue cannot be told"),
        }
    }
}

impl Listening {
    /// The number of the newest on the channel that this listener could have been told of; 0 while there was none.
    pub fn newest(&self) -> u64 {
        lock(&self.channel.0).newest
    }

    /// Up to `limit` facts with a number above `after`, and the number of the last; none when some of them are gone.
    pub fn facts_after(&self, after: u64, limit: usize) -> Option<(Vec<Fact>, u64)> {
        let state = lock(&self.channel.0);
        let behind = usize::try_from(state.newest.saturating_sub(after)).unwrap_or(usize::MAX);
        let skipped = state.recent.len().checked_sub(behind)?;
        let facts: Vec<Fact> = state.recent.iter().skip(skipped).take(limit).cloned().collect();
        let last = after + facts.len() as u64;
        Some((facts, last))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let Some(hub) = self.hub.upgrade() else { return };
        let mut channels = lock(&hub.channels);
        let mut state = lock(&self.channel.0);
        state.bells.remove(&self.id);
        if state.bells.is_empty() && channels.get(&self.key).is_some_and(|current| Arc::ptr_eq(current, &self.channel))
        {
            channels.remove(&self.key);
        }
    }
}
