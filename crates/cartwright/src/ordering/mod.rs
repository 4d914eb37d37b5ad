//! Orders: what was bought, and where it stands.
//!
//! An order is born `PLACED` from a checkout, and moves along [`TRANSITIONS`] and nowhere else. That one table drives the
//! API, the consumers and what a page may offer. Repeating a transition changes nothing; an event that comes late finds
//! an order it may not move, and leaves it alone.

pub mod classic;
mod events;
pub mod http;
pub mod ops;
mod store;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::basket::{self, CheckoutBasket, Contact, Line};
use crate::catalog::Rejection;
use crate::error::{Error, Kind, Result};
use crate::events::{Envelope, Event};
use crate::notifications::Audience;
use crate::values::{CardLast4, Money, OrderId, Quantity, Username};

pub use events::{on_checkout_basket, on_customer_erased, on_stock_rejected, on_stock_reserved, put_back_anonymous};
pub use ops::{all_orders_of, find_contact_email, find_customer_of, note_notification, record_failure, was_notified};

/// One entry of an order's timeline: an event, a notification that was sent because of one, or an attempt to process one
/// that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelineEntry {
    /// The event's id.
    #[schema(value_type = String, format = Uuid)]
    pub event_id: uuid::Uuid,
    /// The event's name.
    pub event: String,
    /// Who emitted it.
    pub source: String,
    /// When it happened, when the notification was sent, or when the attempt failed.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The id of the request all this came of.
    pub correlation_id: String,
    /// The event it came of, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid)]
    pub causation_id: Option<uuid::Uuid>,
    /// The order's status after it, when it decided one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// The queue whose consumer failed, and why, when this is a failed attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Who was told what, when this is a notification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notification: Option<Notified>,
}

/// What was told of an event, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Notified {
    /// To whom.
    pub audience: Audience,
    /// What, in a line.
    pub subject: String,
}

/// Why an attempt to process an event failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// The queue.
    pub queue: String,
    /// The code of the error.
    pub code: String,
    /// What it says.
    pub message: String,
}

impl TimelineEntry {
    /// The entry of an event.
    pub fn of(event: &Envelope, status: Option<Status>) -> TimelineEntry {
        TimelineEntry {
            event_id: event.id,
            event: event.detail_type.clone(),
            source: event.source.clone(),
            at: event.time,
            correlation_id: event.correlation_id.clone(),
            causation_id: event.causation_id,
            status,
            failure: None,
            notification: None,
        }
    }
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Accepted; its stock is not yet reserved.
    Placed,
    /// Its stock is reserved.
    Confirmed,
    /// It cannot be fulfilled. Final.
    Rejected,
    /// It is packed.
    Packed,
    /// It left the house.
    Shipped,
    /// It arrived.
    Delivered,
    /// It was called off. Final.
    Cancelled,
    /// It came back. Final.
    Returned,
}

/// Who may make a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// The catalogue, by what it could reserve.
    Stock,
    /// Staff.
    Staff,
    /// Staff, or the customer whose order it is.
    StaffOrCustomer,
}

/// One step an order may take.
#[derive(Debug, Clone, Copy)]
pub struct Transition {
    /// From here.
    pub from: Status,
    /// To there.
    pub to: Status,
    /// On whose word.
    pub by: Actor,
}

const fn step(from: Status, to: Status, by: Actor) -> Transition {
    Transition { from, to, by }
}

/// The life of an order: every step there is. Returned goods do not go back into stock by themselves: they are looked at
/// first, and received by hand.
pub const TRANSITIONS: &[Transition] = &[
    step(Status::Placed, Status::Confirmed, Actor::Stock),
    step(Status::Placed, Status::Rejected, Actor::Stock),
    step(Status::Placed, Status::Cancelled, Actor::StaffOrCustomer),
    step(Status::Confirmed, Status::Packed, Actor::Staff),
    step(Status::Confirmed, Status::Cancelled, Actor::StaffOrCustomer),
    step(Status::Packed, Status::Shipped, Actor::Staff),
    step(Status::Packed, Status::Cancelled, Actor::StaffOrCustomer),
    step(Status::Shipped, Status::Delivered, Actor::Staff),
    step(Status::Delivered, Status::Returned, Actor::Staff),
];

impl Status {
    /// The name as the API spells it.
    pub fn name(self) -> &'static str {
        match self {
            Status::Placed => "PLACED",
            Status::Confirmed => "CONFIRMED",
            Status::Rejected => "REJECTED",
            Status::Packed => "PACKED",
            Status::Shipped => "SHIPPED",
            Status::Delivered => "DELIVERED",
            Status::Cancelled => "CANCELLED",
            Status::Returned => "RETURNED",
        }
    }

    /// The steps a person may take from here.
    pub fn next_by_hand(self) -> Vec<Status> {
        let by_hand = |step: &&Transition| step.from == self && step.by != Actor::Stock;
        TRANSITIONS.iter().filter(by_hand).map(|step| step.to).collect()
    }

    /// Whether there is a step to it that a customer may ask for.
    pub fn is_for_customers(self) -> bool {
        TRANSITIONS.iter().any(|step| step.to == self && step.by == Actor::StaffOrCustomer)
    }

    fn allows(self, to: Status) -> Option<Actor> {
        TRANSITIONS.iter().find(|step| step.from == self && step.to == to).map(|step| step.by)
    }
}

/// An order as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// Its id.
    pub id: OrderId,
    /// Whose it is.
    pub customer: Username,
    /// Where it stands.
    pub status: Status,
    /// What was bought, at the prices of the catalogue at checkout. Empty when the order was placed directly.
    pub lines: Vec<Line>,
    /// Pieces: of all lines, or as many as a direct order said.
    pub item_count: u32,
    /// The sum of price × quantity over the lines.
    pub total: Money,
    /// Whom to send it to. Empty while its checkout is still on its way.
    pub contact: Contact,
    /// The way of payment the buyer chose; its meaning is the shop's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_method: Option<i64>,
    /// The last four digits of the card. The rest of its number is kept nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card_last4: Option<CardLast4>,
    /// Why it was rejected, product by product.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejections: Vec<Rejection>,
    /// When it was placed.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When its status last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// Event: something happened to an order. Carries what its consumers need, and nobody's personal data but the user name.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderFact {
    /// The order.
    pub order_id: OrderId,
    /// Whose it is.
    pub customer: Username,
    /// Where it stands now.
    pub status: Status,
    /// What was bought.
    pub lines: Vec<Line>,
    /// For how much.
    pub total: Money,
}

impl Order {
    /// The order that comes of a checkout. Its id and time are those of the checkout, so that the same checkout makes the
    /// same order however often it is delivered.
    ///
    /// # Errors
    /// `malformed_event` when the checkout has no lines or more than a basket may have; `amount_too_large`.
    pub fn place(
        id: OrderId,
        checkout: CheckoutBasket,
        at: Timestamp,
        currency: iso_currency::Currency,
    ) -> Result<Order> {
        if checkout.items.is_empty() || checkout.items.len() > basket::MAX_LINES {
            let message = format!("A checkout has 1 to {} items, not {}.", basket::MAX_LINES, checkout.items.len());
            return Err(Error::new(Kind::Unprocessable, "malformed_event", message));
        }
        let lines = checkout.items.iter().map(|item| item.line(currency)).collect::<Result<Vec<_>>>()?;
        Ok(Order {
            id,
            customer: checkout.user_name,
            status: Status::Placed,
            total: basket::total_of(&lines, currency)?,
            item_count: lines.iter().map(|line| line.quantity.get()).sum(),
            lines,
            contact: checkout.contact,
            payment_method: checkout.payment_method,
            card_last4: checkout.card_last4,
            rejections: Vec::new(),
            created_at: at,
            updated_at: at,
        })
    }

    /// An order that was agreed elsewhere: an amount and a number of pieces, no lines. There is no stock to reserve for it.
    pub fn place_directly(id: OrderId, customer: Username, total: Money, item_count: Quantity, at: Timestamp) -> Order {
        Order {
            id,
            customer,
            status: Status::Placed,
            lines: Vec::new(),
            item_count: item_count.get(),
            total,
            contact: Contact::default(),
            payment_method: None,
            card_last4: None,
            rejections: Vec::new(),
            created_at: at,
            updated_at: at,
        }
    }

    /// The order without its customer's data, under the name `alias`.
    pub fn anonymous(&self, alias: &Username) -> Order {
        Order { customer: alias.clone(), contact: Contact::default(), card_last4: None, ..self.clone() }
    }

    /// The order after the step to `to`; `None` when it is there already.
    ///
    /// # Errors
    /// `transition_forbidden` with the steps that are possible, when [`TRANSITIONS`] has no such step.
    pub fn advance(&self, to: Status, now: Timestamp) -> Result<Option<Order>> {
        if self.status == to {
            return Ok(None);
        }
        if self.status.allows(to).is_none() {
            let message = format!("An order that is {} cannot become {}.", self.status.name(), to.name());
            let error = Error::new(Kind::Conflict, "transition_forbidden", message);
            return Err(error.with("status", self.status).with("nextStatuses", self.status.next_by_hand()));
        }
        Ok(Some(Order { status: to, updated_at: now, ..self.clone() }))
    }

    /// The event that tells of the order's present status.
    pub fn event(&self) -> Event {
        let fact = OrderFact {
            order_id: self.id.clone(),
            customer: self.customer.clone(),
            status: self.status,
            lines: self.lines.clone(),
            total: self.total,
        };
        match self.status {
            Status::Placed => Event::OrderPlaced(fact),
            Status::Confirmed => Event::OrderConfirmed(fact),
            Status::Rejected => Event::OrderRejected(fact),
            Status::Packed => Event::OrderPacked(fact),
            Status::Shipped => Event::OrderShipped(fact),
            Status::Delivered => Event::OrderDelivered(fact),
            Status::Cancelled => Event::OrderCancelled(fact),
            Status::Returned => Event::OrderReturned(fact),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Status; 8] = [
        Status::Placed,
        Status::Confirmed,
        Status::Rejected,
        Status::Packed,
        Status::Shipped,
        Status::Delivered,
        Status::Cancelled,
        Status::Returned,
    ];

    fn order(status: Status) -> Order {
        let currency = iso_currency::Currency::USD;
        Order {
            id: OrderId::new(Timestamp::UNIX_EPOCH, [0; 12]),
            customer: "ann".try_into().unwrap(),
            status,
            lines: Vec::new(),
            item_count: 1,
            total: Money::zero(currency),
            contact: Contact::default(),
            payment_method: None,
            card_last4: None,
            rejections: Vec::new(),
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn an_order_moves_along_the_table_and_nowhere_else() {
        for from in ALL {
            for to in ALL {
                let allowed = TRANSITIONS.iter().any(|step| step.from == from && step.to == to);
                match order(from).advance(to, Timestamp::UNIX_EPOCH) {
                    Ok(None) => assert_eq!(from, to),
                    Ok(Some(after)) => assert!(allowed && after.status == to, "{from:?} → {to:?}"),
                    Err(error) => assert!(!allowed && error.code() == "transition_forbidden", "{from:?} → {to:?}"),
                }
            }
        }
    }

    #[test]
    fn no_order_ever_comes_back_to_a_status_it_left() {
        fn reachable(from: Status, seen: &mut Vec<Status>) {
            for step in TRANSITIONS.iter().filter(|step| step.from == from) {
                seen.push(step.to);
                reachable(step.to, seen);
            }
        }
        for status in ALL {
            let mut seen = Vec::new();
            reachable(status, &mut seen);
            assert!(!seen.contains(&status), "{status:?}");
        }
    }
}
