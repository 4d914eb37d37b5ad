//! A notifier that remembers, and refuses when told to.

use std::sync::Mutex;

use async_trait::async_trait;
use cartwright::error::{Error, Kind, Result};
use cartwright::notifications::{Facts, Notification, Notifier};

type Refusal = Box<dyn Fn(&Notification) -> bool + Send>;

/// Remembers what it took over, and what it was asked to.
#[derive(Default)]
pub struct TestNotifier {
    sent: Mutex<Vec<Notification>>,
    refused: Mutex<Vec<Notification>>,
    refusal: Mutex<Option<Refusal>>,
}

impl TestNotifier {
    /// From now on, fails for those that `refuses` says.
    pub fn refuse(&self, refuses: impl Fn(&Notification) -> bool + Send + 'static) {
        *self.refusal.lock().unwrap() = Some(Box::new(refuses));
    }

    /// From now on, takes all.
    pub fn mend(&self) {
        *self.refusal.lock().unwrap() = None;
    }

    /// What was taken over, in order.
    pub fn sent(&self) -> Vec<Notification> {
        self.sent.lock().unwrap().clone()
    }

    /// What was refused, in order.
    pub fn refused(&self) -> Vec<Notification> {
        self.refused.lock().unwrap().clone()
    }

    /// What was told of an order, by the names of the events, in order.
    pub fn told_of(&self, order: &str) -> Vec<String> {
        let is_of = |notification: &&Notification| is_about(notification, order);
        self.sent.lock().unwrap().iter().filter(is_of).map(|notification| notification.event.clone()).collect()
    }
}

/// Whether a notification is about this order.
pub fn is_about(notification: &Notification, order: &str) -> bool {
    matches!(&notification.facts, Facts::Order { order_id, .. } if order_id.as_str() == order)
}

#[async_trait]
impl Notifier for TestNotifier {
    async fn notify(&self, notification: &Notification) -> Result<()> {
        if self.refusal.lock().unwrap().as_ref().is_some_and(|refuses| refuses(notification)) {
            self.refused.lock().unwrap().push(notification.clone());
            return Err(Error::new(Kind::Unavailable, "topic_unavailable", "The topic takes nothing now."));
        }
        self.sent.lock().unwrap().push(notification.clone());
        Ok(())
    }
}
