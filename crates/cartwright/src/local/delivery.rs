//! Delivery: every message of every queue to its consumer, until it is processed or dead.
//!
//! A message is received at least once. While its handler works it is in nobody else's hands; a handler that fails,
//! panics or takes longer than the visibility timeout counts as one receive in vain. Then the message waits, longer each
//! time, and after the maximum receives goes to the queue's dead letters with the reason. A message that no number of
//! receives can help goes there at once. The messages behind it are not held up.
//!
//! Beside the queues, documents whose time is over are removed, a few at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::sqlite::{MAX_EXPIRED, Received, SqliteStore};
use crate::app::App;
use crate::attempt::{Outcome, attempt, count, is_dead, tell_of_death};
use crate::error::Result;
use crate::events::Queue;

/// How messages are delivered.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Longest a handler may take. As on SQS, where a message becomes visible again after it.
    pub visibility_timeout: Duration,
    /// Receives after which a message is dead, of any queue; none, and each has [its own](Queue::retries).
    pub max_receives: Option<u32>,
    /// Handlers of one queue at work at the same time.
    pub concurrency: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { visibility_timeout: Duration::from_secs(30), max_receives: None, concurrency: 16 }
    }
}

/// How often documents whose time is over are removed: few at a time, for those of a minute at once would hold up every commit.
const SWEEP_PERIOD: Duration = Duration::from_secs(1);
/// Pause for the commits of others, while there is more to remove.
const SWEEP_PAUSE: Duration = Duration::from_millis(20);
/// Pause before trying again to remove them when the store did not.
const SWEEP_FAILURE_PAUSE: Duration = Duration::from_secs(60);
/// Pause before trying again to note what became of a message when the store did not take it.
const NOTE_PAUSE: Duration = Duration::from_secs(1);

/// The deliverer of a store's queues.
#[derive(Clone)]
pub struct Delivery {
    app: App,
    store: Arc<SqliteStore>,
    settings: Settings,
}

/// A running delivery.
pub struct Running {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Delivery {
    /// Delivers the queues of `store` to the services of `app`.
    pub fn new(app: App, store: Arc<SqliteStore>, settings: Settings) -> Self {
        Delivery { app, store, settings }
    }

    /// Starts delivering, on tasks of their own.
    pub fn start(self) -> Running {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for queue in Queue::ALL {
            tasks.spawn(self.clone().deliver_queue(queue, stopped.clone()));
        }
        tasks.spawn(self.sweep(stopped));
        Running { stop, tasks }
    }

    /// Receives and processes messages of one queue until told to stop; then waits for the handlers at work.
    async fn deliver_queue(self, queue: Queue, mut stopped: watch::Receiver<bool>) {
        let slots = Arc::new(Semaphore::new(self.settings.concurrency));
        let mut handlers = JoinSet::new();
        while !*stopped.borrow() {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { break };
            match self.store.receive(queue, self.now_ms()).await {
                Ok(Some(received)) => {
                    let (delivery, stopped) = (self.clone(), stopped.clone());
                    handlers.spawn(async move {
                        delivery.process(received, &stopped).await;
                        drop(slot);
                    });
                }
                Ok(None) => {
                    drop(slot);
                    tokio::select! {
                        () = self.store.arrival(queue, self.now_ms()) => {}
                        _ = stopped.wait_for(|stop| *stop) => {}
                    }
                }
                Err(error) => {
                    drop(slot);
                    tracing::warn!(queue = queue.name(), %error, "cannot receive; trying again");
                    tokio::time::sleep(NOTE_PAUSE).await;
                }
            }
            while handlers.try_join_next().is_some() {}
        }
        while handlers.join_next().await.is_some() {}
    }

    /// Removes documents whose time is over.
    async fn sweep(self, mut stopped: watch::Receiver<bool>) {
        while !*stopped.borrow() {
            let pause = match self.store.remove_expired().await {
                // A table that has more gave as many; a few of several tables may be as many, too.
                Ok(count) if count >= MAX_EXPIRED => SWEEP_PAUSE,
                Ok(_) => SWEEP_PERIOD,
                Err(error) => {
                    tracing::warn!(%error, "cannot remove expired documents; trying again later");
                    SWEEP_FAILURE_PAUSE
                }
            };
            let _ = tokio::time::timeout(pause, stopped.wait_for(|stop| *stop)).await;
        }
    }

    fn now_ms(&self) -> i64 {
        self.app.clock.now().as_millisecond()
    }

    /// Processes one message and notes what became of it. The store may refuse the note (a full disk, say): it is tried
    /// again until it is taken or the delivery stops, so that a message is never in nobody's hands.
    async fn process(&self, received: Received, stopped: &watch::Receiver<bool>) {
        let outcome = self.run_handler(&received).await;
        while let Err(error) = self.note(&received, &outcome).await {
            tracing::warn!(queue = received.queue.name(), seq = received.seq, %error, "cannot note what became of a message; trying again");
            if *stopped.borrow() {
                return;
            }
            tokio::time::sleep(NOTE_PAUSE).await;
        }
    }

    async fn run_handler(&self, received: &Received) -> Result<()> {
        attempt(&self.app, received.queue, received.envelope.clone(), self.settings.visibility_timeout).await
    }

    async fn note(&self, received: &Received, outcome: &Result<()>) -> Result<()> {
        let fate = self.settle(received, outcome).await?;
        count(&self.app, received.queue, fate);
        Ok(())
    }

    async fn settle(&self, received: &Received, outcome: &Result<()>) -> Result<Outcome> {
        let Err(error) = outcome else {
            self.store.delete_message(received).await?;
            return Ok(Outcome::Processed);
        };
        let (queue, seq, receives) = (received.queue.name(), received.seq, received.receives + 1);
        let retries = received.queue.retries();
        if is_dead(error, receives, self.settings.max_receives.unwrap_or(retries.max_receives())) {
            let message = received.envelope.as_deref().ok();
            let time_limit = self.settings.visibility_timeout;
            tell_of_death(&self.app, received.queue, message, error.code(), time_limit).await?;
            self.store.bury_message(received, error.to_string()).await?;
            tracing::error!(queue, seq, receives, %error, "a message is dead");
            return Ok(Outcome::Dead);
        }
        let pause = retries.pause_after(receives, self.app.ids.random());
        let due_at_ms = self.now_ms() + i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        self.store.retry_message(received, due_at_ms).await?;
        tracing::warn!(queue, seq, receives, %error, ?pause, "a message failed; it will be received again");
        Ok(Outcome::Failed)
    }

    /// Processes everything that is due, one message at a time, until nothing is. Returns how many handlers ran. For
    /// tests and tools: with the clock and ids under control, the order of everything is too.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn deliver_all_due(&self) -> Result<usize> {
        let mut count = 0;
        loop {
            let before = count;
            for queue in Queue::ALL {
                while let Some(received) = self.store.receive(queue, self.now_ms()).await? {
                    let outcome = self.run_handler(&received).await;
                    self.note(&received, &outcome).await?;
                    count += 1;
                }
            }
            if count == before {
                return Ok(count);
            }
        }
    }
}

impl Running {
    /// Stops receiving, and waits for the handlers at work, up to `patience`. A handler that is cut off then has its
    /// message received again after the next start.
    pub async fn stop(mut self, patience: Duration) {
        let _ = self.stop.send(true);
        let drained = tokio::time::timeout(patience, async { while self.tasks.join_next().await.is_some() {} });
        if drained.await.is_err() {
            tracing::warn!("some handlers did not finish in time; their messages will be received again");
        }
    }
}
