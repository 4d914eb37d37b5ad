//! The keys of orders, and typed reads of what is under them.
//!
//! ```text
//! CUSTOMER#<user name>  #ORDER#<order>      the order, with the others of its customer, by time
//! ORDERS#<shard>        <order>             index: whose order it is; all orders, by time, over the shards
//! STATUS#<name>#<shard> <order>             index: orders in a status, by time, over the shards
//! TIMELINE#<order>      <event>             what happened to the order, by time
//!                       <event>#<audience>  who was told of it, beside it
//!                       <attempt>#<event>   an attempt to process it that failed
//! ```

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Order, Status};
use crate::error::Result;
use crate::notifications::Audience;
use crate::store::{Key, Partition, Range, Sharded, Store, Table};
use crate::values::{OrderId, Username};

const ORDER: &str = "#ORDER#";

pub(super) fn order_key(customer: &Username, id: &OrderId) -> Key {
    customer_partition(customer).key(format!("{ORDER}{id}"))
}

pub(super) fn timeline_key(order: &OrderId, event: uuid::Uuid) -> Key {
    timeline(order).partition.key(event.to_string())
}

pub(super) fn notification_key(order: &OrderId, event: uuid::Uuid, audience: Audience) -> Key {
    let audience = match audience {
        Audience::Customers => "CUSTOMERS",
        Audience::Operators => "OPERATORS",
    };
    timeline(order).partition.key(format!("{event}#{audience}"))
}

pub(super) fn attempt_key(order: &OrderId, event: uuid::Uuid, attempt: uuid::Uuid) -> Key {
    timeline(order).partition.key(format!("{attempt}#{event}"))
}

/// What happened to an order, oldest first.
pub(super) fn timeline(order: &OrderId) -> Range {
    Partition::new(Table::Ordering, format!("TIMELINE#{order}")).all()
}

/// The customer's profile and orders, the profile first, then the orders, newest first.
pub(super) fn profile_and_orders(customer: &Username) -> Range {
    customer_partition(customer).all().descending()
}

fn customer_partition(customer: &Username) -> Partition {
    Partition::new(Table::Ordering, format!("CUSTOMER#{}", customer.key()))
}

/// A customer's orders, newest first.
pub(super) fn orders_of(customer: &Username) -> Range {
    customer_partition(customer).starting_with(ORDER).descending()
}

/// The sort key after which, newest first, the orders of this id's second begin.
pub(super) fn order_sk(id: &OrderId) -> String {
    format!("{ORDER}{id}")
}

pub(super) fn index_key(id: &OrderId) -> Key {
    all_orders().key(id.as_str())
}

fn all_orders() -> Sharded {
    Sharded::new(Table::Ordering, "ORDERS")
}

/// The index of all orders, newest first.
pub(super) fn index() -> Vec<Range> {
    all_orders().all_descending()
}

pub(super) fn status_key(status: Status, id: &OrderId) -> Key {
    orders_in(status).key(id.as_str())
}

fn orders_in(status: Status) -> Sharded {
    Sharded::new(Table::Ordering, format!("STATUS#{}", status.name()))
}

/// The index of the orders in a status, newest first.
pub(super) fn status_index(status: Status) -> Vec<Range> {
    orders_in(status).all_descending()
}

/// An entry of the index of all orders.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct IndexEntry {
    pub(super) customer: Username,
}

pub(super) async fn find_order(
    store: &dyn Store,
    customer: &Username,
    id: &OrderId,
) -> Result<Option<(Arc<Order>, u64)>> {
    let doc = store.get(&order_key(customer, id)).await?;
    doc.map(|doc| Ok((doc.parse()?, doc.version))).transpose()
}

pub(super) async fn find_customer_of(store: &dyn Store, id: &OrderId) -> Result<Option<Username>> {
    let doc = store.get(&index_key(id)).await?;
    doc.map(|doc| Ok(doc.parse::<IndexEntry>()?.customer.clone())).transpose()
}
