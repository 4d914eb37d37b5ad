//! What it takes to listen: the right to, where to begin, and what comes next.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use super::hub::Fact;
use super::{Bell, Listening, Source, Told, Topic};
use crate::access::{self, Principal, Requires};
use crate::app::App;
use crate::basket;
use crate::error::{Error, Kind, Result};
use crate::events::{Envelope, Queue};
use crate::notifications::{self, Inbox, InboxItem};
use crate::ordering;
use crate::purchases::PurchaseStored;
use crate::queues::http::view;

/// Entries that are read at once. What one has at most in memory for a listener is so many, however slow it is.
pub const MAX_AT_ONCE: usize = 20;

/// What feeds `topic`, if the one who asks may listen to it. An order is there from the moment of its checkout.
///
/// # Errors
/// `unauthenticated` and `forbidden` for who may not, `order_not_found`; those of the store.
pub async fn source_of(app: &App, topic: &Topic) -> Result<Source> {
    match topic {
        Topic::Order(id) => {
            let owner = match ordering::find_customer_of(app, id).await? {
                Some(customer) => Some(customer),
                None => basket::find_checkout(app, id).await?.map(|checkout| checkout.basket.user_name),
            };
            // What is there and not for whoever asks is as if it were not there.
            let owner = owner.filter(|owner| app.principal().may_act_for(owner));
            let owner = owner.ok_or_else(|| Error::not_found("order_not_found", "such order"))?;
            Ok(Source::Entries { inbox: Inbox::Customer(owner), order: Some(id.clone()) })
        }
        Topic::Customer(username) => {
            app.principal().must_act_for(username)?;
            Ok(Source::Entries { inbox: Inbox::Customer(username.clone()), order: None })
        }
        Topic::Operators => {
            Requires::Staff.check(app.principal())?;
            Ok(Source::Entries { inbox: Inbox::Operators, order: None })
        }
        Topic::Queue(queue) => Requires::Staff.check(app.principal()).map(|()| Source::Queue(*queue)),
        Topic::Purchases => Requires::Staff.check(app.principal()).map(|()| Source::Purchases),
    }
}

/// Looks at a credential again that was good when somebody began to listen by it. That it cannot be looked at now does not
/// count against it.
///
/// # Errors
/// `unauthenticated` when it is good no longer, or good for somebody else.
pub async fn check_again(app: &App, bearer: Option<&str>) -> Result<()> {
    let Some(bearer) = bearer else { return Ok(()) };
    let (before, now) = match access::authenticate(app, bearer).await {
        Ok(now) => (app.principal(), now),
        Err(error) if error.kind() == Kind::Unauthenticated => return Err(error),
        Err(error) => {
            tracing::warn!(%error, "the credential of a listener cannot be looked at now");
            return Ok(());
        }
    };
    if is_same(before, &now) {
        return Ok(());
    }
    Err(access::unauthenticated("What you may do has changed; begin again."))
}

/// Whether two principals are one, who may do the same.
pub fn is_same(one: &Principal, other: &Principal) -> bool {
    match (one, other) {
        (Principal::Known(one), Principal::Known(other)) => {
            (&one.id, one.role, &one.username) == (&other.id, other.role, &other.username)
        }
        (Principal::Operator, Principal::Operator) | (Principal::Anonymous, Principal::Anonymous) => true,
        _ => false,
    }
}

/// One that follows a source: how far it has come, and how it learns that there is more.
pub struct Following {
    source: Source,
    position: u64,
    /// Up to where its inbox was read when it began.
    read_up_to: u64,
    /// Whether there may be something behind `position` of which it was not told.
    is_behind: bool,
    listening: Option<Listening>,
}

/// What comes next.
#[derive(Debug, Default)]
pub struct Next {
    /// What is told, oldest first.
    pub told: Vec<Told>,
    /// The number of the last entry that was looked at, when there was one.
    pub reached: Option<u64>,
}

impl Following {
    /// Follows `source` after the entry with the number `after`, or from now on. Listens before it reads, so that nothing is
    /// missed between; `bell` rings when there may be more.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn begin(app: &App, source: Source, after: Option<u64>, bell: &Bell) -> Result<Following> {
        let listening = app.live().hub().map(|hub| hub.listen(app, &source, bell));
        let mut read_up_to = 0;
        let position = match &source {
            Source::Entries { inbox, .. } => {
                let numbers = notifications::numbers_of(app, inbox).await?;
                read_up_to = numbers.read_up_to;
                // What was seen of an inbox that has begun again does not count.
                after.map_or(numbers.last, |after| if after > numbers.last { 0 } else { after })
            }
            Source::Queue(_) => 0,
            Source::Purchases => listening.as_ref().map_or(0, Listening::newest),
        };
        Ok(Following { source, position, read_up_to, is_behind: true, listening })
    }

    /// The number of the last entry it has seen, by which it can be gone on after; none where there are no numbers.
    pub fn position(&self) -> Option<u64> {
        matches!(self.source, Source::Entries { .. }).then_some(self.position)
    }

    /// Whether there may be something to tell.
    pub fn is_behind(&self) -> bool {
        self.is_behind || self.listening.as_ref().is_some_and(|listening| listening.newest() > self.position)
    }

    /// What comes next, at most [`MAX_AT_ONCE`].
    ///
    /// # Errors
    /// `fell_behind` when something was told meanwhile that is not kept any more; those of the store.
    pub async fn next(&mut self, app: &App) -> Result<Next> {
        if !self.is_behind() {
            return Ok(Next::default());
        }
        match &self.source {
            Source::Entries { inbox, .. } => {
                // Asked before the read: what comes during it is read the next time.
                let newest = self.listening.as_ref().map_or(0, Listening::newest);
                let entries = notifications::list_entries_after(app, inbox, self.position, MAX_AT_ONCE).await?;
                self.is_behind = entries.len() == MAX_AT_ONCE;
                let reached = entries.last().map(|last| last.sequence);
                self.position = reached.unwrap_or(self.position);
                if !self.is_behind {
                    // What it was told of and is not there is gone, with a customer who was erased.
                    self.position = self.position.max(newest);
                }
                let of_topic = entries.into_iter().filter(|entry| self.source.has(entry));
                let told = of_topic.map(|entry| Told::Entry(Box::new(InboxItem::of(entry, self.read_up_to))));
                Ok(Next { told: told.collect(), reached })
            }
            Source::Queue(queue) => {
                let facts = match &self.listening {
                    None => vec![queue_fact(app, *queue).await?],
                    Some(listening) => {
                        let newest = listening.newest();
                        let facts = listening.facts_after(newest.saturating_sub(1).max(self.position), 1);
                        self.position = newest;
                        facts.map(|(facts, _)| facts).unwrap_or_default()
                    }
                };
                self.is_behind = false;
                Ok(Next { told: facts.into_iter().map(Told::Fact).collect(), reached: None })
            }
            Source::Purchases => {
                self.is_behind = false;
                let Some(listening) = &self.listening else { return Ok(Next::default()) };
                let (facts, last) = listening.facts_after(self.position, MAX_AT_ONCE).ok_or_else(|| {
                    let message = "More happened than you took, and some of it is gone; begin again.";
                    Error::new(Kind::Conflict, "fell_behind", message)
                })?;
                self.position = last;
                Ok(Next { told: facts.into_iter().map(Told::Fact).collect(), reached: None })
            }
        }
    }
}

/// What is told of the figures of a queue: those of `GET /v1/queues/{name}`, as the event `QueueChanged`.
///
/// # Errors
/// Those of reading.
pub async fn queue_fact(app: &App, queue: Queue) -> Result<Fact> {
    fact(None, "QueueChanged", &view(app, queue).await?)
}

/// What is told of a purchase: the detail of its event, with the event's name, id and time.
///
/// # Errors
/// None, as long as an event has a JSON form.
pub fn purchase_fact(envelope: &Envelope, stored: &PurchaseStored) -> Result<Fact> {
    fact(Some(envelope), "PurchaseStored", stored)
}

fn fact(envelope: Option<&Envelope>, event: &str, what: &impl Serialize) -> Result<Fact> {
    let mut fact = Map::new();
    fact.insert("event".to_owned(), event.into());
    if let Some(envelope) = envelope {
        fact.insert("id".to_owned(), envelope.id.to_string().into());
        fact.insert("at".to_owned(), envelope.time.to_string().into());
    }
    if let Value::Object(members) = serde_json::to_value(what).map_err(Error::internal)? {
        fact.extend(members);
    }
    Ok(Arc::new(fact))
}
