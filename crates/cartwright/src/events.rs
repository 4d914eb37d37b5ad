//! Every event, who consumes it, and the one entry point for a message of a queue.
//!
//! [`RULES`] is the event bus: which event goes to which queues. A queue has one consumer, [`handle`] names it. Events
//! are delivered at least once and in any order; every consumer ends in the same state whatever the order.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa::openapi::schema::Schema;
use utoipa::openapi::{Ref, RefOr};
use uuid::Uuid;

use crate::access::{self, ActionTaken};
use crate::app::App;
use crate::attempt::RetryPolicy;
use crate::basket::{self, CheckoutBasket};
use crate::catalog::{self, ProductRemoved, StockLevel, StockMoved, StockRejected, StockReserved};
use crate::customers::CustomerErased;
use crate::error::{Error, Kind, Result};
use crate::notifications::{self, DeliveryDue, EmailDue, WatchersDue};
use crate::ordering::{self, OrderFact};
use crate::purchases::{self, PurchaseRequested, PurchaseStored};
use crate::queues::DeadLettersTaken;
use crate::trace;
use crate::values::OrderId;

/// The name of the event bus.
pub const BUS: &str = "SwnEventBus";

/// An event as it travels: the envelope of EventBridge, with the ids that tie it to what caused it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// The event's own id.
    pub id: Uuid,
    /// Who emitted it.
    pub source: String,
    /// What happened.
    #[serde(rename = "detail-type")]
    pub detail_type: String,
    /// When.
    pub time: Timestamp,
    /// The id of the request all this came of.
    #[serde(default)]
    pub correlation_id: String,
    /// The id of the event this one came of, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<Uuid>,
    /// The place in a trace that it came of, if any.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "trace::read_or_none")]
    pub traceparent: Option<trace::Context>,
    /// The facts, as JSON.
    pub detail: Box<RawValue>,
}

macro_rules! events {
    ($($(#[doc = $doc:literal])* $name:ident($detail:ty) from $source:literal => [$($queue:ident),*];)*) => {
        /// Something that happened.
        #[derive(Debug, Clone)]
        pub enum Event { $($(#[doc = $doc])* $name($detail),)* }

        /// The rules of the bus: source and detail type of every event, and the queues it goes to.
        pub const RULES: &[Rule] = &[$(Rule { source: $source, detail_type: stringify!($name), queues: &[$(Queue::$queue),*] },)*];

        /// What each event tells, in the order of [`RULES`]: in words, and as the schema of its detail, which is added to
        /// `schemas` with those it refers to.
        pub fn descriptions(schemas: &mut Vec<(String, RefOr<Schema>)>) -> Vec<(&'static str, RefOr<Schema>)> {
            vec![$((concat!($($doc),*).trim(), reference::<$detail>(schemas)),)*]
        }

        impl Event {
            /// The event's name, EventBridge's detail type.
            pub fn detail_type(&self) -> &'static str {
                match self { $(Event::$name(_) => stringify!($name),)* }
            }

            /// Who emits it.
            pub fn source(&self) -> &'static str {
                match self { $(Event::$name(_) => $source,)* }
            }

            /// The facts, as JSON.
            pub fn detail(&self) -> Box<RawValue> {
                let json = match self { $(Event::$name(detail) => serde_json::value::to_raw_value(detail),)* };
                json.expect("every event has a JSON form: its fields are strings, numbers and lists of them")
            }

            /// The event in `envelope`.
            ///
            /// # Errors
            /// `unknown_event` for a name that is not in [`RULES`], `malformed_event` when the detail is not what the name
            /// promises, with the place and the reason. Neither can be mended by trying again.
            pub fn parse(envelope: &Envelope) -> Result<Event> {
                match envelope.detail_type.as_str() {
                    $(stringify!($name) => parse_detail(envelope).map(Event::$name),)*
                    unknown => {
                        let message = format!("There is no event called {unknown:?}.");
                        Err(Error::new(Kind::Unprocessable, "unknown_event", message))
                    }
                }
            }
        }
    };
}

events! {
    /// A basket was checked out and closed.
    CheckoutBasket(CheckoutBasket) from "com.swn.basket.checkoutbasket" => [OrderQueue];
    /// An order exists; its stock is not yet reserved.
    OrderPlaced(OrderFact) from "cartwright.ordering" => [StockQueue, NotificationQueue];
    /// Its stock is reserved.
    OrderConfirmed(OrderFact) from "cartwright.ordering" => [NotificationQueue];
    /// It cannot be fulfilled.
    OrderRejected(OrderFact) from "cartwright.ordering" => [NotificationQueue];
    /// It is packed.
    OrderPacked(OrderFact) from "cartwright.ordering" => [NotificationQueue];
    /// It left the house.
    OrderShipped(OrderFact) from "cartwright.ordering" => [StockQueue, NotificationQueue];
    /// It arrived.
    OrderDelivered(OrderFact) from "cartwright.ordering" => [NotificationQueue];
    /// It was called off; what was reserved for it goes back.
    OrderCancelled(OrderFact) from "cartwright.ordering" => [StockQueue, NotificationQueue];
    /// It came back.
    OrderReturned(OrderFact) from "cartwright.ordering" => [NotificationQueue];
    /// Every line of an order is reserved.
    StockReserved(StockReserved) from "cartwright.catalog" => [OrderStatusQueue];
    /// Not every line can be reserved; nothing is.
    StockRejected(StockRejected) from "cartwright.catalog" => [OrderStatusQueue];
    /// A customer was erased; their data is to go wherever it is kept.
    CustomerErased(CustomerErased) from "cartwright.customers" => [OrderErasureQueue, BasketErasureQueue, NotificationQueue, AuditQueue];
    /// Stock of one or more products was reserved, released, shipped, received or counted.
    StockMoved(StockMoved) from "cartwright.catalog" => [StockLedgerQueue];
    /// Nothing of a product is available any more.
    StockDepleted(StockLevel) from "cartwright.catalog" => [NotificationQueue];
    /// Something of a depleted product is available again.
    StockReplenished(StockLevel) from "cartwright.catalog" => [NotificationQueue];
    /// A purchase made elsewhere, a change of one or its removal was accepted.
    PurchaseRequested(PurchaseRequested) from "cartwright.purchases" => [PurchaseQueue];
    /// It was applied.
    PurchaseStored(PurchaseStored) from "cartwright.purchases" => [PurchaseSummaryQueue, NotificationQueue];
    /// A product left the catalogue.
    ProductRemoved(ProductRemoved) from "cartwright.catalog" => [NotificationQueue];
    /// Those who watch a product that is back in stock are to be told.
    WatchersDue(WatchersDue) from "cartwright.notifications" => [NotificationQueue];
    /// A notification is to be mailed.
    EmailDue(EmailDue) from "cartwright.notifications" => [EmailQueue];
    /// A notification is to be delivered to a webhook.
    DeliveryDue(DeliveryDue) from "cartwright.notifications" => [WebhookQueue];
    /// An operator put dead letters back into their queue.
    DeadLettersRedriven(DeadLettersTaken) from "cartwright.operations" => [AuditQueue];
    /// An operator removed dead letters for good.
    DeadLettersDiscarded(DeadLettersTaken) from "cartwright.operations" => [AuditQueue];
    /// Staff or an admin changed something.
    ActionTaken(ActionTaken) from "cartwright.access" => [AuditQueue];
}

/// Adds the schema of `T` to `schemas`, with those it refers to, and refers to it.
fn reference<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) -> RefOr<Schema> {
    let name = T::name().into_owned();
    schemas.push((name.clone(), T::schema()));
    T::schemas(schemas);
    Ref::from_schema_name(name).into()
}

/// One rule of the bus.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// The emitter it matches.
    pub source: &'static str,
    /// The event it matches.
    pub detail_type: &'static str,
    /// Where matching events go.
    pub queues: &'static [Queue],
}

impl Rule {
    /// The service that emits the event.
    pub fn service(&self) -> &'static str {
        match self.source {
            "com.swn.basket.checkoutbasket" => "basket",
            own => own.strip_prefix("cartwright.").unwrap_or(own),
        }
    }
}

/// A durable queue with one consumer and a dead-letter queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Queue {
    /// Ordering: checkouts become orders.
    OrderQueue,
    /// Catalogue: orders reserve, release and ship stock.
    StockQueue,
    /// Ordering: what the catalogue said decides an order.
    OrderStatusQueue,
    /// Catalogue: movements are booked, and products that ran out or came back are announced.
    StockLedgerQueue,
    /// Ordering: orders of erased customers lose their personal data.
    OrderErasureQueue,
    /// Baskets: those of erased customers are thrown away.
    BasketErasureQueue,
    /// Purchases: what was accepted is written.
    PurchaseQueue,
    /// Purchases: what was written is summed up.
    PurchaseSummaryQueue,
    /// Notifications: customers and operators are told what happened.
    NotificationQueue,
    /// Notifications: e-mails are handed to their server.
    EmailQueue,
    /// Notifications: webhooks are called.
    WebhookQueue,
    /// Access: what staff and admins did is written down.
    AuditQueue,
}

impl Queue {
    /// Every queue.
    pub const ALL: [Queue; 12] = [
        Queue::OrderQueue,
        Queue::StockQueue,
        Queue::OrderStatusQueue,
        Queue::StockLedgerQueue,
        Queue::OrderErasureQueue,
        Queue::BasketErasureQueue,
        Queue::PurchaseQueue,
        Queue::PurchaseSummaryQueue,
        Queue::NotificationQueue,
        Queue::EmailQueue,
        Queue::WebhookQueue,
        Queue::AuditQueue,
    ];

    /// The queue's name.
    pub fn name(self) -> &'static str {
        match self {
            Queue::OrderQueue => "OrderQueue",
            Queue::StockQueue => "StockQueue",
            Queue::OrderStatusQueue => "OrderStatusQueue",
            Queue::StockLedgerQueue => "StockLedgerQueue",
            Queue::OrderErasureQueue => "OrderErasureQueue",
            Queue::BasketErasureQueue => "BasketErasureQueue",
            Queue::PurchaseQueue => "PurchaseQueue",
            Queue::PurchaseSummaryQueue => "PurchaseSummaryQueue",
            Queue::NotificationQueue => "NotificationQueue",
            Queue::EmailQueue => "EmailQueue",
            Queue::WebhookQueue => "WebhookQueue",
            Queue::AuditQueue => "AuditQueue",
        }
    }

    /// How often its messages are received, and how long they wait in between: the same wherever they are delivered.
    pub const fn retries(self) -> RetryPolicy {
        match self {
            Queue::EmailQueue => RetryPolicy::MAIL,
            Queue::WebhookQueue => RetryPolicy::WEBHOOKS,
            Queue::OrderQueue
            | Queue::StockQueue
            | Queue::OrderStatusQueue
            | Queue::StockLedgerQueue
            | Queue::OrderErasureQueue
            | Queue::BasketErasureQueue
            | Queue::PurchaseQueue
            | Queue::PurchaseSummaryQueue
            | Queue::NotificationQueue
            | Queue::AuditQueue => RetryPolicy::INSIDE,
        }
    }

    /// The service that consumes it: where [`handle`] takes its messages.
    pub fn consumer(self) -> &'static str {
        match self {
            Queue::StockQueue | Queue::StockLedgerQueue => "catalog",
            Queue::OrderQueue | Queue::OrderStatusQueue | Queue::OrderErasureQueue => "ordering",
            Queue::BasketErasureQueue => "basket",
            Queue::PurchaseQueue | Queue::PurchaseSummaryQueue => "purchases",
            Queue::AuditQueue => "access",
            Queue::NotificationQueue | Queue::EmailQueue | Queue::WebhookQueue => "notifications",
        }
    }

    /// The queue called so, if there is one.
    pub fn named(name: &str) -> Option<Queue> {
        Queue::ALL.into_iter().find(|queue| queue.name() == name)
    }
}

/// The queues an event goes to.
pub fn queues_of(source: &str, detail_type: &str) -> &'static [Queue] {
    let rule = RULES.iter().find(|rule| rule.detail_type == detail_type && rule.source == source);
    rule.map_or(&[], |rule| rule.queues)
}

/// Processes one message of `queue`. Called at least once a message, possibly many times and in any order. A failure is
/// also noted in the timeline of the order the message is about, unless it is the store that cannot take notes. A message
/// that failed and carries data of a customer who was erased goes back without them, and counts as processed: whatever
/// becomes of it, no dead letter has them.
///
/// # Errors
/// Whatever the consumer returns; [`Kind::fate`] of it decides whether the message is received again.
pub async fn handle(app: &App, queue: Queue, message: &Envelope) -> Result<()> {
    let app = app.for_message(message);
    let Err(error) = consume(&app, queue, message).await else { return Ok(()) };
    // What is unavailable to notifications is the notifier, as a rule.
    if (error.kind() != Kind::Unavailable || queue == Queue::NotificationQueue)
        && let Ok(AboutOrder { order_id: Some(order) }) = serde_json::from_str(message.detail.get())
    {
        ordering::record_failure(&app, &order, queue.name(), message, &error).await;
    }
    if queue == Queue::OrderQueue && ordering::put_back_anonymous(&app, message).await? {
        return Ok(());
    }
    Err(error)
}

/// What all details of events about an order have in common.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AboutOrder {
    order_id: Option<OrderId>,
}

async fn consume(app: &App, queue: Queue, message: &Envelope) -> Result<()> {
    match (queue, Event::parse(message)?) {
        (Queue::OrderQueue, Event::CheckoutBasket(checkout)) => {
            ordering::on_checkout_basket(app, message, checkout).await
        }
        (Queue::StockQueue, Event::OrderPlaced(order)) => catalog::on_order_placed(app, message, order).await,
        (Queue::StockQueue, Event::OrderCancelled(order)) => catalog::on_order_cancelled(app, message, order).await,
        (Queue::StockQueue, Event::OrderShipped(order)) => catalog::on_order_shipped(app, message, order).await,
        (Queue::OrderStatusQueue, Event::StockReserved(stock)) => {
            ordering::on_stock_reserved(app, message, stock).await
        }
        (Queue::OrderStatusQueue, Event::StockRejected(stock)) => {
            ordering::on_stock_rejected(app, message, stock).await
        }
        (Queue::OrderErasureQueue, Event::CustomerErased(erased)) => ordering::on_customer_erased(app, erased).await,
        (Queue::BasketErasureQueue, Event::CustomerErased(erased)) => basket::on_customer_erased(app, erased).await,
        (Queue::NotificationQueue, Event::CustomerErased(erased)) => {
            notifications::on_customer_erased(app, erased).await
        }
        (Queue::StockLedgerQueue, Event::StockMoved(moved)) => catalog::on_stock_moved(app, message, moved).await,
        (Queue::PurchaseQueue, Event::PurchaseRequested(request)) => {
            purchases::on_purchase_requested(app, request).await
        }
        (Queue::PurchaseSummaryQueue, Event::PurchaseStored(stored)) => {
            purchases::on_purchase_stored(app, stored).await
        }
        (
            Queue::NotificationQueue,
            Event::OrderPlaced(order)
            | Event::OrderConfirmed(order)
            | Event::OrderRejected(order)
            | Event::OrderPacked(order)
            | Event::OrderShipped(order)
            | Event::OrderDelivered(order)
            | Event::OrderCancelled(order)
            | Event::OrderReturned(order),
        ) => notifications::on_order_moved(app, message, order).await,
        (Queue::NotificationQueue, Event::StockDepleted(level) | Event::StockReplenished(level)) => {
            notifications::on_stock_turned(app, message, level).await
        }
        (Queue::NotificationQueue, Event::PurchaseStored(stored)) => {
            notifications::on_purchase_stored(app, message, stored).await
        }
        (Queue::NotificationQueue, Event::WatchersDue(due)) => notifications::on_watchers_due(app, message, due).await,
        (Queue::NotificationQueue, Event::ProductRemoved(removed)) => {
            notifications::on_product_removed(app, removed).await
        }
        (Queue::EmailQueue, Event::EmailDue(due)) => notifications::on_email_due(app, due).await,
        (Queue::WebhookQueue, Event::DeliveryDue(due)) => notifications::on_delivery_due(app, due).await,
        (Queue::AuditQueue, Event::CustomerErased(erased)) => access::on_customer_erased(app, erased).await,
        (Queue::AuditQueue, Event::ActionTaken(action)) => access::on_action_taken(app, message, action).await,
        (Queue::AuditQueue, Event::DeadLettersRedriven(taken) | Event::DeadLettersDiscarded(taken)) => {
            access::on_dead_letters_taken(app, message, taken).await
        }
        (queue, event) => {
            let message = format!("{} has no consumer for {}.", queue.name(), event.detail_type());
            Err(Error::new(Kind::Unprocessable, "unexpected_event", message))
        }
    }
}

fn parse_detail<T: serde::de::DeserializeOwned>(envelope: &Envelope) -> Result<T> {
    let mut json = serde_json::Deserializer::from_str(envelope.detail.get());
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let message = format!(
            "The detail of {} is not what it promises: at {}: {}",
            envelope.detail_type,
            error.path(),
            error.inner()
        );
        Error::new(Kind::Unprocessable, "malformed_event", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_queue_has_a_rule_that_feeds_it_and_every_event_one_rule() {
        for queue in Queue::ALL {
            assert!(RULES.iter().any(|rule| rule.queues.contains(&queue)), "{} is fed by nothing", queue.name());
            assert_eq!(Queue::named(queue.name()), Some(queue));
        }
        let mut names: Vec<_> = RULES.iter().map(|rule| rule.detail_type).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), RULES.len());
    }
}
