//! What can be done with orders: load → pure function → commit.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::store::{self, IndexEntry};
use super::{Order, Status};
use crate::app::App;
use crate::basket::{self, Contact};
use crate::error::{Error, Kind, Result};
use crate::rest::{IfMatch, List, Listing};
use crate::store::{Batch, Change, Cursor, Expect, MAX_PAGE, Once, Table, list_merged, transact};
use crate::values::{OrderId, Username};

/// An order and how often it was written; 0 while its checkout is still on its way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VersionedOrder {
    /// The order.
    pub order: Arc<Order>,
    /// Its version.
    pub version: u64,
}

impl VersionedOrder {
    /// The entity tag.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.version)
    }
}

impl VersionedOrder {
    fn without_contact(mut self) -> Self {
        Arc::make_mut(&mut self.order).contact = Contact::default();
        self
    }
}

fn no_such_order() -> Error {
    Error::not_found("order_not_found", "such order")
}

/// Adds an order and its index entry to `batch`.
pub(super) fn place(app: &App, batch: &mut Batch, order: &Order) -> Result<()> {
    batch.put(store::order_key(&order.customer, &order.id), Expect::Absent, order)?;
    let entry = IndexEntry { customer: order.customer.clone() };
    batch.put(store::index_key(&order.id), Expect::Absent, &entry)?;
    batch.emit(app.envelope(&order.event()));
    Ok(())
}

/// One order. A checkout that was accepted a moment ago and whose order is not written yet is shown as the order it will
/// be, so that the id a buyer was given is never unknown.
///
/// # Errors
/// `order_not_found`.
pub async fn get_order(app: &App, id: &OrderId) -> Result<VersionedOrder> {
    if let Some(customer) = store::find_customer_of(&*app.store, id).await? {
        let found = store::find_order(&*app.store, &customer, id).await?;
        return found.map(|(order, version)| VersionedOrder { order, version }).ok_or_else(no_such_order);
    }
    let Some(checkout) = basket::find_checkout(app, id).await? else { return Err(no_such_order()) };
    let order = Order::place(id.clone(), checkout.basket, checkout.at, app.config.currency)?;
    Ok(VersionedOrder { order: Arc::new(order), version: 0 })
}

/// A page of orders, newest first: of one customer, or of all.
///
/// # Errors
/// `invalid_request` for a cursor of another list.
pub async fn list_orders(app: &App, customer: Option<&Username>, list: &List) -> Result<Listing<VersionedOrder>> {
    let scope = customer.map_or_else(|| "orders".to_owned(), |customer| format!("orders of {}", customer.key()));
    let after = list.after(&scope)?;
    let (docs, next) = match customer {
        Some(customer) => {
            let page = app.store.list(&store::orders_of(customer), after.as_deref(), list.limit()).await?;
            (page.docs.into_iter().map(Some).collect(), page.next)
        }
        None => {
            let page = list_merged(&*app.store, &store::index(), after.as_deref(), list.limit()).await?;
            let keys = page.docs.iter().map(|doc| {
                let customer = &doc.parse::<IndexEntry>()?.customer;
                Ok(store::order_key(customer, &OrderId::try_from(doc.sk.to_string()).map_err(Error::internal)?))
            });
            (app.store.get_many(&keys.collect::<Result<Vec<_>>>()?).await?, page.next)
        }
    };
    let versioned = |doc: crate::store::Doc| Ok(VersionedOrder { order: doc.parse()?, version: doc.version });
    let items = docs.into_iter().flatten().map(versioned).collect::<Result<_>>()?;
    Ok(Listing { items, next: next.map(|sk| Cursor::new(&scope, &sk)) })
}

/// Most orders that are answered at once to a caller who asked for all of a customer's.
pub const MAX_ALL_ORDERS: usize = 500;

/// All orders of a customer, newest first, up to [`MAX_ALL_ORDERS`]; the cursor goes on when there are more.
///
/// # Errors
/// As [`list_orders`].
pub async fn all_orders_of(app: &App, customer: &Username, list: &List) -> Result<Listing<VersionedOrder>> {
    let mut all = list_orders(app, Some(customer), &list.of_size(MAX_PAGE)).await?;
    while let Some(next) = all.next.take_if(|_| all.items.len() < MAX_ALL_ORDERS) {
        let page = list_orders(app, Some(customer), &list.of_size(MAX_PAGE).from(next)).await?;
        all.items.extend(page.items);
        all.next = page.next;
    }
    Ok(all)
}

/// The orders a customer placed at exactly this moment. At most one page, and in practice none or one.
///
/// # Errors
/// Those of the store.
pub async fn orders_placed_at(app: &App, customer: &Username, at: Timestamp) -> Result<Vec<Arc<Order>>> {
    let after = store::order_sk(&OrderId::last_of_second(at));
    let page = app.store.list(&store::orders_of(customer), Some(&after), MAX_PAGE).await?;
    let orders = page.docs.iter().map(|doc| doc.parse::<Order>()).collect::<Result<Vec<_>>>()?;
    Ok(orders.into_iter().filter(|order| order.created_at == at).collect())
}

/// Moves an order along [`super::TRANSITIONS`] on a person's word. Asking for the status it has changes nothing.
///
/// # Errors
/// `order_not_found`, `transition_forbidden`, `precondition_failed`, `order_not_ready` while its checkout is on its way.
pub async fn transition(
    app: &App,
    once: &Once,
    id: &OrderId,
    if_match: &IfMatch,
    to: Status,
) -> Result<VersionedOrder> {
    let before = get_order(app, id).await?;
    if before.version == 0 {
        let message = "The checkout of this order is still being processed; try again in a moment.";
        return Err(Error::new(Kind::Unavailable, "order_not_ready", message));
    }
    let (customer, contact) = (before.order.customer.clone(), before.order.contact.clone());
    // The answer that is kept for an Idempotency-Key is without the address: personal data lies with the order only.
    let mut moved = transact(app, once, Table::Ordering, || async {
        let (order, version) = store::find_order(&*app.store, &customer, id).await?.ok_or_else(no_such_order)?;
        let before = VersionedOrder { order, version };
        if_match.check(&before.etag())?;
        let by_hand = before.order.status.next_by_hand();
        if before.order.status != to && !by_hand.contains(&to) && before.order.status.allows(to).is_some() {
            let message = format!("An order becomes {} when its stock is decided, not by hand.", to.name());
            return Err(Error::new(Kind::Conflict, "transition_forbidden", message).with("nextStatuses", by_hand));
        }
        let mut batch = Batch::new(Table::Ordering);
        let Some(after) = before.order.advance(to, app.clock.now())? else {
            return Ok(Change { batch, result: before.without_contact() });
        };
        write(app, &mut batch, &after, version)?;
        let after = VersionedOrder { order: Arc::new(after), version: version + 1 };
        Ok(Change { batch, result: after.without_contact() })
    })
    .await?;
    Arc::make_mut(&mut moved.order).contact = contact;
    Ok(moved)
}

/// Adds to `batch` the next version of an order and the event that tells of it.
pub(super) fn write(app: &App, batch: &mut Batch, order: &Order, version: u64) -> Result<()> {
    batch.put(store::order_key(&order.customer, &order.id), Expect::Version(version), order)?;
    batch.emit(app.envelope(&order.event()));
    Ok(())
}
