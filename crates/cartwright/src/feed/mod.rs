//! The live feed: what happens, told to whoever listens, as it happens.
//!
//! A [`Topic`] is what one listens to: an order, a customer, the operators' inbox, a queue, purchases made elsewhere. What a
//! topic of orders or people tells are the numbered entries of an inbox, read from the store, so that a listener who was away
//! goes on where it stopped, without gap or repeat; whoever is told by [`Live`] that there is something new only learns that
//! it is time to read. Figures of queues and purchases are told to those who listen at that moment.
//!
//! Two ways lead to it: a stream of Server-Sent Events (`http`), and a WebSocket, whose [`protocol`] is the same in every home.

mod asyncapi;
pub mod http;
mod hub;
mod live;
pub mod ops;
pub mod protocol;
mod socket;
mod stream;

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::{Error, Kind, Result};
use crate::events::Queue;
use crate::notifications::{Facts, Inbox, InboxEntry, InboxItem};
use crate::values::{OrderId, Username};

pub use asyncapi::asyncapi;
pub use hub::{Bell, Hub, HubLimits, Listening, Place};
pub use live::{Live, News};
pub use socket::{Handshake, Opened, Upgradable, accept};

/// Longest text of a topic: the longest user name, and what stands before it.
pub const MAX_TOPIC_BYTES: usize = 80;

/// What one can listen to.
#[derive(Debug, Clone)]
pub enum Topic {
    /// `order:<id>`: the steps of an order.
    Order(OrderId),
    /// `customer:<username>`: the inbox of a customer.
    Customer(Username),
    /// `operators`: the inbox of the people who run the shop.
    Operators,
    /// `queue:<name>`: the figures of a queue.
    Queue(Queue),
    /// `purchases`: purchases made elsewhere, as they are stored.
    Purchases,
}

impl Topic {
    /// The topic's one name, in which a user name is written as it is compared.
    pub fn key(&self) -> String {
        match self {
            Topic::Customer(username) => format!("customer:{}", username.key()),
            other => other.to_string(),
        }
    }
}

impl PartialEq for Topic {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Topic {}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Topic::Order(id) => write!(f, "order:{id}"),
            Topic::Customer(username) => write!(f, "customer:{username}"),
            Topic::Operators => f.write_str("operators"),
            Topic::Queue(queue) => write!(f, "queue:{}", queue.name()),
            Topic::Purchases => f.write_str("purchases"),
        }
    }
}

impl FromStr for Topic {
    type Err = Error;

    /// # Errors
    /// `invalid_topic` for what is no topic, `queue_not_found` for a queue there is not.
    fn from_str(text: &str) -> Result<Self> {
        let (kind, name) = text.split_once(':').map_or((text, None), |(kind, name)| (kind, Some(name)));
        let topic = match (kind, name) {
            ("order", Some(id)) => id.parse().ok().map(Topic::Order),
            ("customer", Some(username)) => Username::try_from(username).ok().map(Topic::Customer),
            ("queue", Some(queue)) => {
                let missing = || Error::not_found("queue_not_found", "such queue; GET /v1/queues lists them");
                Some(Topic::Queue(Queue::named(queue).ok_or_else(missing)?))
            }
            ("operators", None) => Some(Topic::Operators),
            ("purchases", None) => Some(Topic::Purchases),
            _ => None,
        };
        topic.ok_or_else(|| {
            let message = "A topic is order:<id>, customer:<username>, operators, queue:<name> or purchases.";
            Error::new(Kind::Invalid, "invalid_topic", message)
        })
    }
}

/// What feeds a topic, as far as one may listen to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The entries of an inbox: all of them, or those about an order.
    Entries {
        /// Whose.
        inbox: Inbox,
        /// The order, if it is about one.
        order: Option<OrderId>,
    },
    /// The figures of a queue.
    Queue(Queue),
    /// Purchases made elsewhere.
    Purchases,
}

impl Source {
    /// Whether an entry of its inbox belongs to it.
    pub fn has(&self, entry: &InboxEntry) -> bool {
        match (self, &entry.notification.facts) {
            (Source::Entries { order: None, .. }, _) => true,
            (Source::Entries { order: Some(wanted), .. }, Facts::Order { order_id, .. }) => wanted == order_id,
            _ => false,
        }
    }
}

/// The topics that an entry of `inbox` belongs to.
pub fn topics_of(inbox: &Inbox, entry: &InboxEntry) -> Vec<Topic> {
    match (inbox, &entry.notification.facts) {
        (Inbox::Operators, _) => vec![Topic::Operators],
        (Inbox::Customer(username), Facts::Order { order_id, .. }) => {
            vec![Topic::Customer(username.clone()), Topic::Order(order_id.clone())]
        }
        (Inbox::Customer(username), _) => vec![Topic::Customer(username.clone())],
    }
}

/// Something that is told to the listeners of a topic.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Told {
    /// An entry of an inbox.
    Entry(Box<InboxItem>),
    /// The figures of a queue, or a purchase; with a member `event`, its name.
    Fact(std::sync::Arc<Map<String, Value>>),
}

impl Told {
    /// The name of what happened.
    pub fn event(&self) -> &str {
        match self {
            Told::Entry(item) => &item.event,
            Told::Fact(fact) => fact.get("event").and_then(Value::as_str).unwrap_or_default(),
        }
    }

    /// Its number, by which a listener can go on after it.
    pub fn sequence(&self) -> Option<u64> {
        match self {
            Told::Entry(item) => Some(item.sequence),
            Told::Fact(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::notifications::{Audience, Notification};
    use crate::ordering::Status;
    use crate::values::{Money, ProductId};

    fn ann() -> Username {
        "ann".try_into().unwrap()
    }

    fn id_of(byte: u8) -> OrderId {
        OrderId::new(jiff::Timestamp::UNIX_EPOCH, [byte; 12])
    }

    fn entry(facts: Facts) -> InboxEntry {
        InboxEntry {
            sequence: 1,
            notification: Notification {
                id: Uuid::nil(),
                event: "OrderConfirmed".to_owned(),
                at: jiff::Timestamp::UNIX_EPOCH,
                correlation_id: String::new(),
                audience: Audience::Customers,
                subject: String::new(),
                text: String::new(),
                facts,
            },
        }
    }

    fn of_order(byte: u8) -> InboxEntry {
        let total = Money::zero(iso_currency::Currency::EUR);
        entry(Facts::Order { order_id: id_of(byte), user_name: ann(), status: Status::Confirmed, total })
    }

    fn of_product() -> InboxEntry {
        let product_id = ProductId(Uuid::nil());
        entry(Facts::Product { product_id, product_name: None, available: 1, user_name: None })
    }

    #[test]
    fn a_topic_is_what_its_text_says() {
        let order = format!("order:{}", OrderId::new(jiff::Timestamp::UNIX_EPOCH, [7; 12]));
        for text in [order.as_str(), "customer:Ann", "operators", "queue:StockQueue", "purchases"] {
            assert_eq!(text.parse::<Topic>().unwrap().to_string(), text);
        }
        let code = |text: &str| text.parse::<Topic>().unwrap_err().code();
        for text in
            ["", "order", "order:", "order:7", "customer:", "customer:a b", "operators:", "purchases:x", "Operators"]
        {
            assert_eq!(code(text), "invalid_topic", "{text:?}");
        }
        assert_eq!(code("queue:NoQueue"), "queue_not_found");
    }

    #[test]
    fn a_customer_is_one_topic_in_upper_and_lower_case() {
        let topic = |text: &str| text.parse::<Topic>().unwrap();
        assert_eq!(topic("customer:Ann"), topic("customer:aNN"));
        assert_ne!(topic("customer:ann"), topic("customer:bob"));
        assert_ne!(topic("customer:operators"), topic("operators"));
    }

    #[test]
    fn an_inbox_feeds_a_topic_with_all_its_entries_or_with_those_about_an_order() {
        let fed_by = |order| Source::Entries { inbox: Inbox::Customer(ann()), order };
        let (all, one) = (fed_by(None), fed_by(Some(id_of(7))));
        assert!(all.has(&of_order(7)) && all.has(&of_product()));
        assert!(one.has(&of_order(7)));
        assert!(!one.has(&of_order(8)) && !one.has(&of_product()));
        assert!(!Source::Purchases.has(&of_order(7)));
    }

    #[test]
    fn an_entry_belongs_to_its_inbox_and_that_of_a_customer_to_its_order_too() {
        let (customer, inbox) = (Topic::Customer(ann()), Inbox::Customer(ann()));
        assert_eq!(topics_of(&inbox, &of_order(7)), [customer.clone(), Topic::Order(id_of(7))]);
        assert_eq!(topics_of(&inbox, &of_product()), [customer]);
        for entry in [of_order(7), of_product()] {
            assert_eq!(topics_of(&Inbox::Operators, &entry), [Topic::Operators]);
        }
    }
}
