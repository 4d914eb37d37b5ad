//! Webhooks: subscriptions to notifications, and each delivery with its attempts.
//!
//! A notification that an active subscription asked for becomes a delivery in the commit that records it, and a message of
//! `WebhookQueue`. The message is received again, for up to a day, until the receiver answers with a 2xx; each attempt is in
//! the delivery. Requests are signed as [Standard Webhooks](https://www.standardwebhooks.com) says. A delivery has the id of
//! its notification in every attempt, by which a receiver drops repeats.
//!
//! A subscription is disabled at once when its receiver answers 410, and when a delivery is given up while nothing has
//! succeeded for [`DISABLED_AFTER`].

mod events;
pub mod http;
pub(super) mod ops;
mod sender;
mod signing;
pub(super) mod store;

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Audience, Facts, Notification, id_of};
use crate::error::{Error, Result};
use crate::outbound::is_public;
use crate::values::Text;

pub use events::on_delivery_due;
pub use sender::{HttpWebhooks, WebhookRequest, WebhookSender};
pub use signing::Secret;

/// Most subscriptions: each that matches is two items of the commit that records a notification, and a commit holds a
/// hundred.
pub const MAX_SUBSCRIPTIONS: usize = 40;
/// Longest URL.
pub const MAX_URL_BYTES: usize = 2_000;
/// Attempts that a delivery shows; older ones are forgotten.
pub const MAX_ATTEMPTS_SHOWN: usize = 50;
/// How long nothing may have succeeded before a delivery that is given up disables its subscription.
pub const DISABLED_AFTER: SignedDuration = SignedDuration::from_hours(24 * 5);
/// How long the secret before still signs after there is a new one.
pub const OLD_SECRET_KEPT: SignedDuration = SignedDuration::from_hours(24);

/// The events that webhooks can be for.
pub const EVENTS: [&str; 12] = [
    "OrderPlaced",
    "OrderConfirmed",
    "OrderRejected",
    "OrderPacked",
    "OrderShipped",
    "OrderDelivered",
    "OrderCancelled",
    "OrderReturned",
    "ProductBackInStock",
    "StockDepleted",
    "StockReplenished",
    "MessageDied",
];
/// The event of a test.
const TEST: &str = "WebhookTest";

/// What a subscription is for, in the words of whoever made it.
pub type SubscriptionNote = Text<0, 200>;

/// Whether a subscription is delivered to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum SubscriptionStatus {
    /// It is.
    Active,
    /// It is not, until somebody makes it active again.
    Disabled,
}

/// A subscription as it is stored. Its secrets have to be: they sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// Its id.
    pub id: Uuid,
    /// Where to.
    pub url: String,
    /// For which events; empty for all.
    pub events: Vec<String>,
    /// What it is for.
    pub description: SubscriptionNote,
    /// Whether it is delivered to.
    pub status: SubscriptionStatus,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_reason: Option<String>,
    /// Since when it is there.
    pub created_at: Timestamp,
    /// What signs: the secret, and the one before as long as that still counts.
    secrets: Vec<Secret>,
}

impl Subscription {
    /// The secret that whoever receives is to know.
    pub fn secret(&self) -> &str {
        self.secrets.first().map_or("", Secret::text)
    }

    /// With a new secret; the one before signs beside it for [`OLD_SECRET_KEPT`].
    fn rotated(mut self, secret: Secret, now: Timestamp) -> Subscription {
        self.secrets.truncate(1);
        if let Some(before) = self.secrets.first_mut() {
            before.expires_at = Some(now + OLD_SECRET_KEPT);
        }
        self.secrets.insert(0, secret);
        self
    }

    /// The value of `webhook-signature` for a request.
    fn signature(&self, id: &str, timestamp_s: i64, body: &str, now: Timestamp) -> String {
        let valid = self.secrets.iter().filter(|secret| secret.expires_at.is_none_or(|end| now < end));
        valid.map(|secret| secret.sign(id, timestamp_s, body)).collect::<Vec<_>>().join(" ")
    }

    /// Not delivered to any more.
    fn disabled(mut self, reason: String) -> Subscription {
        self.status = SubscriptionStatus::Disabled;
        self.disabled_reason = Some(reason);
        self
    }

    fn listener(&self) -> Listener {
        let is_active = self.status == SubscriptionStatus::Active;
        Listener { id: self.id, events: self.events.clone(), is_active }
    }
}

/// What is to change in a subscription; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct SubscriptionPatch {
    /// New URL.
    pub url: Option<String>,
    /// New events.
    pub events: Option<Vec<String>>,
    /// New description.
    pub description: Option<SubscriptionNote>,
    /// On or off.
    pub status: Option<SubscriptionStatus>,
}

impl SubscriptionPatch {
    fn apply(&self, subscription: &Subscription) -> Subscription {
        let mut changed = subscription.clone();
        changed.url = self.url.clone().unwrap_or(changed.url);
        changed.events = self.events.clone().unwrap_or(changed.events);
        changed.description = self.description.clone().unwrap_or(changed.description);
        match self.status {
            Some(SubscriptionStatus::Active) => {
                changed.status = SubscriptionStatus::Active;
                changed.disabled_reason = None;
            }
            Some(SubscriptionStatus::Disabled) if changed.status == SubscriptionStatus::Active => {
                changed = changed.disabled("An operator disabled it.".to_owned());
            }
            Some(SubscriptionStatus::Disabled) | None => {}
        }
        changed
    }
}

/// What has to be known of a subscription when a notification is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listener {
    pub(super) id: Uuid,
    events: Vec<String>,
    is_active: bool,
}

/// All subscriptions, as far as has to be known when a notification is recorded: one document, so that it is one read.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Listeners {
    subscriptions: Vec<Listener>,
}

impl Listeners {
    /// Those that a notification is delivered to. What goes wrong with webhooks is not told through them.
    pub(super) fn of(&self, notification: &Notification) -> impl Iterator<Item = &Listener> {
        let is_of_webhooks = match &notification.facts {
            Facts::Webhook { .. } => true,
            Facts::Queue { queue, .. } => queue == "WebhookQueue",
            Facts::Order { .. } | Facts::Product { .. } => false,
        };
        let wants = |listener: &Listener| {
            listener.is_active && (listener.events.is_empty() || listener.events.contains(&notification.event))
        };
        self.subscriptions.iter().filter(move |listener| !is_of_webhooks && wants(listener))
    }

    fn with(mut self, listener: Listener) -> Listeners {
        match self.subscriptions.iter_mut().find(|other| other.id == listener.id) {
            Some(other) => *other = listener,
            None => self.subscriptions.push(listener),
        }
        self
    }

    fn without(mut self, id: Uuid) -> Listeners {
        self.subscriptions.retain(|listener| listener.id != id);
        self
    }
}

/// How a subscription has fared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Health {
    /// When the first attempt failed after which none has succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failing_since: Option<Timestamp>,
}

impl Health {
    /// After an attempt; none when that changes nothing.
    fn after(self, succeeded: bool, at: Timestamp) -> Option<Health> {
        match (succeeded, self.failing_since) {
            (true, Some(_)) => Some(Health::default()),
            (false, None) => Some(Health { failing_since: Some(at) }),
            (true, None) | (false, Some(_)) => None,
        }
    }

    /// Whether what came last was not taken.
    fn is_failing(self) -> bool {
        self.failing_since.is_some()
    }

    /// Whether nothing has succeeded for too long.
    fn is_hopeless(self, now: Timestamp) -> bool {
        self.failing_since.is_some_and(|since| now.duration_since(since) >= DISABLED_AFTER)
    }
}

/// How far a delivery has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum DeliveryStatus {
    /// It is being tried.
    Pending,
    /// The receiver has it.
    Delivered,
    /// It was given up.
    Failed,
}

/// An attempt to deliver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The HTTP status of the answer, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What went wrong, if anything did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub duration_ms: i64,
}

/// A notification on its way to a webhook, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// Its id.
    pub id: Uuid,
    /// The subscription.
    pub subscription_id: Uuid,
    /// What it tells.
    pub notification: Notification,
    /// How far it has come.
    pub status: DeliveryStatus,
    /// The attempts so far, oldest first.
    pub attempts: Vec<Attempt>,
    /// Since when it is there.
    pub created_at: Timestamp,
    /// How often somebody asked for it to be delivered again. A message of an earlier round has no say any more.
    #[serde(default)]
    round: u32,
}

impl Delivery {
    pub(super) fn new(id: Uuid, subscription_id: Uuid, notification: Notification, created_at: Timestamp) -> Delivery {
        let (status, attempts) = (DeliveryStatus::Pending, Vec::new());
        Delivery { id, subscription_id, notification, status, attempts, created_at, round: 0 }
    }

    /// The event that has it tried.
    pub(super) fn due(&self) -> DeliveryDue {
        DeliveryDue { delivery_id: self.id, subscription_id: self.subscription_id, round: self.round }
    }

    /// To be delivered again, from the beginning.
    fn again(mut self) -> Delivery {
        self.status = DeliveryStatus::Pending;
        self.round += 1;
        self
    }

    fn with_attempt(mut self, attempt: Attempt, status: DeliveryStatus) -> Delivery {
        if self.attempts.len() >= MAX_ATTEMPTS_SHOWN {
            self.attempts.remove(0);
        }
        self.attempts.push(attempt);
        self.status = status;
        self
    }
}

/// Event: a delivery is to be tried.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryDue {
    /// Which.
    pub delivery_id: Uuid,
    /// Of which subscription.
    pub subscription_id: Uuid,
    /// The how manieth time it was asked for.
    pub round: u32,
}

/// What a receiver is sent, as Standard Webhooks has it.
#[derive(Serialize)]
struct Payload<'a> {
    r#type: &'a str,
    timestamp: Timestamp,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    id: Uuid,
    subject: &'a str,
    text: &'a str,
    facts: &'a Facts,
}

/// The body of a request.
fn payload(notification: &Notification) -> Result<String> {
    let Notification { id, event, at, subject, text, facts, .. } = notification;
    let payload = Payload { r#type: event, timestamp: *at, data: Data { id: *id, subject, text, facts } };
    serde_json::to_string(&payload).map_err(Error::internal)
}

/// Checks that a URL can be delivered to. Where it really leads, only the connection tells.
fn check_url(url: &str, allow_private: bool) -> Result<()> {
    let refuse = |why: &str| Err(Error::field("/url", why));
    if url.len() > MAX_URL_BYTES {
        return refuse(&format!("must be at most {MAX_URL_BYTES} bytes"));
    }
    let Ok(uri) = url.parse::<::http::Uri>() else { return refuse("must be a URL") };
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if allow_private => {}
        Some("http") => return refuse("must begin with https://"),
        _ => return refuse("must be an https:// URL"),
    }
    let Some(authority) = uri.authority() else { return refuse("must name a host") };
    if authority.as_str().contains('@') || url.contains('#') {
        return refuse("must have neither a user nor a fragment");
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return refuse("must name a host");
    }
    let is_ours = match host.parse::<IpAddr>() {
        Ok(address) => !is_public(address),
        // Some take these for addresses, each in its own way.
        Err(_) => ends_in_number(host) || host.eq_ignore_ascii_case("localhost"),
    };
    if is_ours && !allow_private { refuse("must lead to an address of the public internet") } else { Ok(()) }
}

/// Whether the last label of a host is a number, which no name of the internet has.
fn ends_in_number(host: &str) -> bool {
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    last.bytes().all(|byte| byte.is_ascii_digit())
        || hex.is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Checks the events of a subscription, and orders them.
fn check_events(mut events: Vec<String>) -> Result<Vec<String>> {
    for (at, event) in events.iter().enumerate() {
        if !EVENTS.contains(&event.as_str()) {
            return Err(Error::field(format!("/events/{at}"), format!("must be one of {}", EVENTS.join(", "))));
        }
    }
    events.sort_unstable();
    events.dedup();
    Ok(events)
}

fn of_webhook(event: &str, id: Uuid, at: Timestamp, subject: &str, text: String, facts: Facts) -> Notification {
    Notification {
        id,
        event: event.to_owned(),
        at,
        correlation_id: String::new(),
        audience: Audience::Operators,
        subject: subject.to_owned(),
        text,
        facts,
    }
}

/// What a receiver is sent to try it.
fn of_test(id: Uuid, subscription_id: Uuid, at: Timestamp) -> Notification {
    let reason = "Somebody wants to see whether it arrives.".to_owned();
    let facts = Facts::Webhook { subscription_id, delivery_id: None, reason };
    of_webhook(TEST, id, at, "A test of a webhook", "This is a test. Nothing happened.".to_owned(), facts)
}

/// What operators are told of a delivery that was given up: of several of a subscription within a minute, once.
fn of_failed(delivery: &Delivery, url: &str, reason: &str, at: Timestamp) -> Notification {
    let (subscription_id, delivery_id) = (delivery.subscription_id, delivery.id);
    let id = id_of(&["delivery failed", &subscription_id.to_string(), &(at.as_second() / 60).to_string()]);
    let event = &delivery.notification.event;
    let text = format!("{event} could not be delivered to {url}: {reason}\nSee /v1/deliveries/{delivery_id}");
    let facts = Facts::Webhook { subscription_id, delivery_id: Some(delivery_id), reason: reason.to_owned() };
    of_webhook("DeliveryFailed", id, at, "A webhook could not be delivered", text, facts)
}

/// What operators are told of a subscription that was disabled.
fn of_disabled(subscription: &Subscription, reason: &str, at: Timestamp) -> Notification {
    let Subscription { id: subscription_id, url, .. } = subscription;
    let id = id_of(&["subscription disabled", &subscription_id.to_string(), &at.to_string()]);
    let text = format!("Nothing is delivered to {url} any more: {reason}\nSee /v1/subscriptions/{subscription_id}");
    let facts = Facts::Webhook { subscription_id: *subscription_id, delivery_id: None, reason: reason.to_owned() };
    of_webhook("SubscriptionDisabled", id, at, "A webhook was disabled", text, facts)
}
