//! Notifications: customers are told how their orders go and that what they wait for is back, operators which products run out
//! and come back, and what does not work.
//!
//! An event becomes a [`Notification`] here, in a pure function. It is recorded in an inbox, once, and in the same commit goes
//! out through the channels that are configured: an event for the e-mail, one for each webhook that asked for it. Whoever
//! implements [`Notifier`] carries it to people too. Each channel has a message of its own, which stays in its queue until it
//! is done: one that fails is tried again by itself. What was told about an order is in the order's timeline.

mod channels;
pub mod email;
mod events;
pub mod http;
mod notifier;
mod ops;
mod store;
pub mod watchers;
pub mod webhooks;

use std::fmt::Write;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::catalog::{Availability, ProductName, StockLevel};
use crate::events::{Envelope, Queue};
use crate::ordering::{OrderFact, Status};
use crate::values::{Money, OrderId, ProductId, Username};

pub use channels::Channels;
pub use email::{EmailDue, on_email_due};
pub use events::{
    on_customer_erased, on_message_died, on_order_moved, on_product_removed, on_purchase_stored, on_stock_turned,
    on_watchers_due,
};
pub use notifier::Notifier;
pub use ops::{list_entries_after, newest_of, numbers_of};
pub use watchers::ops::watches_of;
pub use watchers::{Watch, WatchersDue};
pub use webhooks::{DeliveryDue, on_delivery_due};

/// Who is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Audience {
    /// The customer the facts name, and whoever listens for customers.
    Customers,
    /// Those who run the shop.
    Operators,
}

/// Something that happened, in words, for people. Of a customer it says the user name and nothing else: where they can be
/// reached is for a channel to look up, when it sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// The id of the event. A notification may be handed over more than once; by this a receiver drops repeats.
    pub id: Uuid,
    /// The event's name.
    pub event: String,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The id of the request all this came of.
    pub correlation_id: String,
    /// Who is to be told.
    pub audience: Audience,
    /// One line of at most 100 printable ASCII characters, which begins with a letter: what an e-mail from SNS may have for
    /// its subject.
    pub subject: String,
    /// The whole text: a sentence and, of an order, its lines.
    pub text: String,
    /// What the text says, for programs.
    pub facts: Facts,
}

/// What a notification is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "about", rename_all = "camelCase")]
pub enum Facts {
    /// An order that took a step.
    #[serde(rename_all = "camelCase")]
    Order {
        /// Which.
        order_id: OrderId,
        /// Whose it is: of an erased customer, the alias.
        user_name: Username,
        /// Where it stood then.
        status: Status,
        /// What it comes to.
        total: Money,
    },
    /// A product that ran out or came back.
    #[serde(rename_all = "camelCase")]
    Product {
        /// Which.
        product_id: ProductId,
        /// Its name then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        product_name: Option<ProductName>,
        /// Pieces that could be sold then.
        available: i64,
        /// Who waited for it, if it is they who are told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user_name: Option<Username>,
    },
    /// A queue in which a message died.
    #[serde(rename_all = "camelCase")]
    Queue {
        /// Its name.
        queue: String,
        /// The event of the message, if it was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        died_event: Option<String>,
        /// The code of the error it died of.
        code: String,
    },
    /// A webhook to which something could not be delivered.
    #[serde(rename_all = "camelCase")]
    Webhook {
        /// The subscription.
        subscription_id: Uuid,
        /// The delivery, if it is one that failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        delivery_id: Option<Uuid>,
        /// Why, in a sentence.
        reason: String,
    },
}

impl Facts {
    /// The customer they name, if any.
    pub fn user_name(&self) -> Option<&Username> {
        match self {
            Facts::Order { user_name, .. } => Some(user_name),
            Facts::Product { user_name, .. } => user_name.as_ref(),
            Facts::Queue { .. } | Facts::Webhook { .. } => None,
        }
    }

    /// The same facts about somebody of another name, if they name anybody.
    fn renamed(mut self, name: Username) -> Facts {
        match &mut self {
            Facts::Order { user_name, .. } | Facts::Product { user_name: Some(user_name), .. } => *user_name = name,
            Facts::Product { .. } | Facts::Queue { .. } | Facts::Webhook { .. } => {}
        }
        self
    }
}

/// Whose notifications lie together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Inbox {
    /// Those of a customer.
    Customer(Username),
    /// Those of the people who run the shop.
    Operators,
}

impl Inbox {
    /// The inbox that a notification goes to.
    pub fn of(notification: &Notification) -> Inbox {
        match (notification.facts.user_name(), notification.audience) {
            (Some(user_name), Audience::Customers) => Inbox::Customer(user_name.clone()),
            (None, _) | (_, Audience::Operators) => Inbox::Operators,
        }
    }

    /// Its name in keys. No user name is like that of the operators: it has no space.
    fn key(&self) -> String {
        match self {
            Inbox::Customer(username) => format!("CUSTOMER {}", username.key()),
            Inbox::Operators => "OPERATORS".to_owned(),
        }
    }
}

/// What is known of an inbox without its entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Numbers {
    /// The number of the newest entry; 0 while there has been none.
    pub last: u64,
    /// The number of the newest entry that was read.
    pub read_up_to: u64,
}

/// How many entries an inbox has had, and up to where they were read.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct InboxHead {
    last: u64,
    #[serde(default)]
    read_up_to: u64,
    /// When the last customer of this name was erased: nothing that happened until then is put in any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    erased_at: Option<Timestamp>,
}

impl InboxHead {
    /// Whether what happened `at` that time is not for whoever has the name now.
    fn is_closed_to(&self, at: Timestamp) -> bool {
        self.erased_at.is_some_and(|erased_at| at <= erased_at)
    }

    /// How many entries are not read.
    fn unread(&self) -> u64 {
        self.last.saturating_sub(self.read_up_to)
    }
}

/// A notification in an inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InboxEntry {
    /// Its number in its inbox: 1, 2, 3, without gaps.
    pub sequence: u64,
    /// What it says.
    #[serde(flatten)]
    pub notification: Notification,
}

/// An entry of an inbox, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InboxItem {
    /// The id of the notification: the same in every channel.
    pub id: Uuid,
    /// Its number in this inbox.
    pub sequence: u64,
    /// The event it tells of.
    pub event: String,
    /// When that happened.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// In a line.
    pub subject: String,
    /// In whole.
    pub text: String,
    /// What the text says, for programs.
    pub facts: Facts,
    /// Whether it was marked as read.
    pub read: bool,
}

impl InboxItem {
    /// The entry, in an inbox that was read up to that number.
    pub fn of(entry: InboxEntry, read_up_to: u64) -> InboxItem {
        let InboxEntry { sequence, notification } = entry;
        let Notification { id, event, at, subject, text, facts, .. } = notification;
        InboxItem { id, sequence, event, at, subject, text, facts, read: sequence <= read_up_to }
    }
}

/// What the customer is told of a step of their order. It goes by the status that the event tells, which may not be the
/// present one when the event comes late.
pub fn of_order(event: &Envelope, order: &OrderFact) -> Notification {
    let (what, sentence) = match order.status {
        Status::Placed => ("was received", "We have your order and are reserving what is in it."),
        Status::Confirmed => ("is confirmed", "Everything in it is reserved for you."),
        Status::Rejected => (
            "cannot be fulfilled",
            "Not everything in it can be had as ordered, so nothing was reserved. The order says what is missing.",
        ),
        Status::Packed => ("is packed", "It is packed and waits to be collected."),
        Status::Shipped => ("is on its way", "It has left our house."),
        Status::Delivered => ("was delivered", "It has arrived."),
        Status::Cancelled => ("was cancelled", "It was called off; nothing will be sent."),
        Status::Returned => ("came back", "It has come back to us."),
    };
    let mut text = format!("{sentence}\nOrder {}, {}", order.order_id, order.total);
    for line in &order.lines {
        let _ = write!(text, "\n{} x {}", line.quantity.get(), line.name.as_str());
        if !line.color.as_str().is_empty() {
            let _ = write!(text, " ({})", line.color.as_str());
        }
    }
    let facts = Facts::Order {
        order_id: order.order_id.clone(),
        user_name: order.customer.clone(),
        status: order.status,
        total: order.total,
    };
    notification(event, Audience::Customers, format!("Order {} {what}", order.order_id), text, facts)
}

/// What operators are told of a product that ran out or came back.
pub fn of_stock(event: &Envelope, level: &StockLevel) -> Notification {
    let what = if level.available > 0 { "is available again" } else { "is sold out" };
    let name = level.product_name.as_ref().map_or("A product", ProductName::as_str);
    let text = format!("{name} {what}.\nProduct {}, {} available", level.product_id, level.available.max(0));
    let facts = Facts::Product {
        product_id: level.product_id,
        product_name: level.product_name.clone(),
        available: level.available,
        user_name: None,
    };
    notification(event, Audience::Operators, format!("Product {} {what}", level.product_id), text, facts)
}

/// What a customer is told of a product they waited for. Told again of the same wait, it is the same notification.
pub fn of_back_in_stock(watch: &watchers::Watch, now: &Availability, at: Timestamp) -> Notification {
    let watchers::Watch { product_id, username, since } = watch;
    let key = format!("{product_id} {} {since}", username.key());
    Notification {
        id: id_of(&["back in stock", &key]),
        event: "ProductBackInStock".to_owned(),
        at,
        correlation_id: String::new(),
        audience: Audience::Customers,
        subject: format!("Product {product_id} is back in stock"),
        text: format!("{} is back in stock.\nProduct {product_id}", now.name.as_str()),
        facts: Facts::Product {
            product_id: *product_id,
            product_name: Some(now.name.clone()),
            available: now.available.unwrap_or(1),
            user_name: Some(username.clone()),
        },
    }
}

/// What operators are told of a message that died: of several that die in a queue within a minute, once.
pub fn of_dead_letter(queue: Queue, died_event: Option<&str>, code: &str, at: Timestamp) -> Notification {
    let name = queue.name();
    let what = died_event.map_or_else(|| "A message".to_owned(), |event| format!("A message, {event},"));
    Notification {
        id: id_of(&["message died", name, &(at.as_second() / 60).to_string()]),
        event: "MessageDied".to_owned(),
        at,
        correlation_id: String::new(),
        audience: Audience::Operators,
        subject: format!("A message died in {name}"),
        text: format!("{what} could not be processed: {code}.\nSee /v1/queues/{name}/dead-letters"),
        facts: Facts::Queue {
            queue: name.to_owned(),
            died_event: died_event.map(str::to_owned),
            code: code.to_owned(),
        },
    }
}

/// An id that is made of what a notification is about, for one that no event of its own brings.
fn id_of(parts: &[&str]) -> Uuid {
    let hash = blake3::hash(parts.join("\n").as_bytes());
    uuid::Builder::from_custom_bytes(std::array::from_fn(|at| hash.as_bytes()[at])).into_uuid()
}

fn notification(event: &Envelope, audience: Audience, subject: String, text: String, facts: Facts) -> Notification {
    Notification {
        id: event.id,
        event: event.detail_type.clone(),
        at: event.time,
        correlation_id: event.correlation_id.clone(),
        audience,
        subject,
        text,
        facts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Event;

    fn envelope(event: &Event) -> Envelope {
        Envelope {
            id: Uuid::nil(),
            source: event.source().to_owned(),
            detail_type: event.detail_type().to_owned(),
            time: Timestamp::UNIX_EPOCH,
            correlation_id: "req-1".into(),
            causation_id: None,
            traceparent: None,
            detail: event.detail(),
        }
    }

    fn order(status: Status) -> OrderFact {
        let line = serde_json::json!({"productId": Uuid::nil(), "name": "Töpfe", "color": "Blue", "quantity": 2,
            "unitPrice": {"amount": 150, "currency": "USD"}});
        OrderFact {
            order_id: OrderId::new(Timestamp::UNIX_EPOCH, [255; 12]),
            customer: "ann".try_into().unwrap(),
            status,
            lines: vec![serde_json::from_value(line).unwrap()],
            total: Money { amount: 300, currency: iso_currency::Currency::USD },
        }
    }

    #[test]
    fn every_step_has_words_of_its_own_and_a_subject_that_sns_takes() {
        let statuses = [
            Status::Placed,
            Status::Confirmed,
            Status::Rejected,
            Status::Packed,
            Status::Shipped,
            Status::Delivered,
            Status::Cancelled,
            Status::Returned,
        ];
        let mut told: Vec<Notification> = statuses
            .map(|status| of_order(&envelope(&Event::OrderPlaced(order(status))), &order(status)))
            .into_iter()
            .collect();
        for available in [-1, 0, 1] {
            let level = StockLevel { product_id: ProductId(Uuid::max()), product_name: None, available };
            told.push(of_stock(&envelope(&Event::StockDepleted(level.clone())), &level));
        }
        for Notification { subject, .. } in &told {
            assert!(subject.len() <= 100 && subject.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{subject}");
        }
        let mut subjects: Vec<&str> = told.iter().map(|notification| notification.subject.as_str()).collect();
        subjects.sort_unstable();
        subjects.dedup();
        assert_eq!(subjects.len(), statuses.len() + 2, "{subjects:?}");
    }

    #[test]
    fn a_notification_says_what_and_how_much_and_no_more_of_the_customer_than_the_name() {
        let event = envelope(&Event::OrderShipped(order(Status::Shipped)));
        let notification = of_order(&event, &order(Status::Shipped));
        let id = order(Status::Shipped).order_id;
        assert_eq!(notification.subject, format!("Order {id} is on its way"));
        assert_eq!(notification.text, format!("It has left our house.\nOrder {id}, 3.00 USD\n2 x Töpfe (Blue)"));
        let total = serde_json::json!({"amount": 300, "currency": "USD"});
        let facts = serde_json::json!({"about": "order", "orderId": id, "userName": "ann", "status": "SHIPPED", "total": total});
        assert_eq!(serde_json::to_value(&notification.facts).unwrap(), facts);
        assert_eq!((notification.event.as_str(), notification.correlation_id.as_str()), ("OrderShipped", "req-1"));
    }

    #[test]
    fn of_messages_that_die_in_a_queue_operators_are_told_once_a_minute() {
        let id = |queue, second| {
            let at = Timestamp::from_second(second).unwrap();
            of_dead_letter(queue, Some("OrderPlaced"), "malformed_event", at).id
        };
        let first = id(Queue::OrderQueue, 120);
        assert_eq!(first, id(Queue::OrderQueue, 179), "in the same minute");
        for (queue, second) in [(Queue::OrderQueue, 119), (Queue::OrderQueue, 180), (Queue::StockQueue, 120)] {
            assert_ne!(first, id(queue, second), "{} at {second}", queue.name());
        }
    }
}
