//! What ordering does when a basket is checked out, when the catalogue has decided about its stock, and when a customer is
//! erased.

use super::{Order, Status, ops, store};
use crate::app::App;
use crate::basket::{self, CheckoutBasket};
use crate::catalog::{Rejection, StockRejected, StockReserved};
use crate::customers::{self, CustomerErased};
use crate::error::{Error, Kind, Result};
use crate::events::{Envelope, Queue};
use crate::queues;
use crate::store::{Batch, Change, Expect, Once, Table, transact};
use crate::values::{OrderId, Username};

/// A basket was checked out: create its order, once. The id comes with the checkout; a checkout that came from outside
/// without one gets an id made of its event, so that the same event is the same order. The order of a customer who was
/// erased meanwhile is created without their data.
///
/// # Errors
/// `malformed_event` when no order can come of it; `order_id_taken` when the id it brings is another order's; those of the
/// store are worth another try.
pub async fn on_checkout_basket(app: &App, message: &Envelope, mut checkout: CheckoutBasket) -> Result<()> {
    let at = message.time;
    let id = checkout.order_id.take().unwrap_or_else(|| order_id_of(message));
    let order = Order::place(id, checkout, at, app.config.currency)?;
    transact(app, &Once::unkeyed(), Table::Ordering, || async {
        let mut batch = Batch::new(Table::Ordering);
        let tombstone = customers::find_tombstone(app, &order.customer).await?;
        let anonymous = tombstone.as_ref().filter(|(erased, _)| order.created_at <= erased.at);
        let order = anonymous.map_or_else(|| order.clone(), |(erased, _)| order.anonymous(&erased.alias));
        if is_there(app, &order, tombstone.as_ref().map(|(erased, _)| &erased.alias)).await? {
            return Ok(Change { batch, result: () });
        }
        if anonymous.is_none() {
            let expect = tombstone.map_or(Expect::Absent, |(_, version)| Expect::Version(version));
            batch.check(customers::tombstone_key(&order.customer), expect);
        }
        ops::note(&mut batch, &order.id, message, None)?;
        ops::place(app, &mut batch, &order)?;
        Ok(Change { batch, result: () })
    })
    .await
}

/// Whether the order is there already, perhaps under the `alias` of an erased customer of that name: whoever announces a
/// checkout once more after the erasure means that order.
///
/// # Errors
/// `order_id_taken` when it is another order that has its id.
async fn is_there(app: &App, order: &Order, alias: Option<&Username>) -> Result<bool> {
    let Some(customer) = store::find_customer_of(&*app.store, &order.id).await? else { return Ok(false) };
    let there = store::find_order(&*app.store, &customer, &order.id).await?;
    let is_theirs = [Some(&order.customer), alias].into_iter().flatten().any(|name| name.key() == customer.key());
    if is_theirs && there.is_none_or(|(there, _)| there.lines == order.lines) {
        return Ok(true);
    }
    let message = format!("Another order has the id {}.", order.id);
    Err(Error::new(Kind::Unprocessable, "order_id_taken", message))
}

fn order_id_of(message: &Envelope) -> OrderId {
    let hash = blake3::hash(message.id.as_bytes());
    OrderId::new(message.time, std::array::from_fn(|at| hash.as_bytes()[at]))
}

/// Its stock is reserved: confirm the order.
///
/// # Errors
/// `order_not_found` while the order is not there yet: worth another try, as are those of the store.
pub async fn on_stock_reserved(app: &App, message: &Envelope, stock: StockReserved) -> Result<()> {
    settle(app, message, &stock.order_id, Status::Confirmed, Vec::new()).await
}

/// Its stock cannot be reserved: reject the order, and say why.
///
/// # Errors
/// As [`on_stock_reserved`].
pub async fn on_stock_rejected(app: &App, message: &Envelope, stock: StockRejected) -> Result<()> {
    settle(app, message, &stock.order_id, Status::Rejected, stock.rejections).await
}

/// Moves an order that still waits for its stock to `to`. An order that was called off or has been decided stays as it
/// is: its own event takes or took care of the stock.
async fn settle(app: &App, message: &Envelope, id: &OrderId, to: Status, rejections: Vec<Rejection>) -> Result<()> {
    let not_yet = || Error::new(Kind::NotFound, "order_not_found", "The order is not there yet.");
    transact(app, &Once::unkeyed(), Table::Ordering, || async {
        let customer = store::find_customer_of(&*app.store, id).await?.ok_or_else(not_yet)?;
        let (order, version) = store::find_order(&*app.store, &customer, id).await?.ok_or_else(not_yet)?;
        let mut batch = Batch::new(Table::Ordering);
        if order.status == Status::Placed
            && let Some(mut settled) = order.advance(to, app.clock.now())?
        {
            settled.rejections = rejections.clone();
            ops::note(&mut batch, id, message, None)?;
            ops::write(app, &mut batch, &settled, order.status, version)?;
        }
        Ok(Change { batch, result: () })
    })
    .await
}

/// A customer was erased: their orders stay, under another name and without their data, and their checkouts that died are
/// received again as if they had been placed under that name.
///
/// # Errors
/// Those of the store; all of them are worth another try.
pub async fn on_customer_erased(app: &App, erased: CustomerErased) -> Result<()> {
    ops::anonymise_orders(app, &erased).await?;
    queues::replace_dead_letters(app, Queue::OrderQueue, |message| anonymous(app, message, &erased)).await
}

/// Puts the message of a checkout back into its queue without personal data, if its customer was erased since; says
/// whether it did. For a message that failed, so that none dies with the data of someone who is not there any more.
///
/// # Errors
/// Those of the store.
pub async fn put_back_anonymous(app: &App, message: &Envelope) -> Result<bool> {
    let Some(username) = basket::buyer_of(&message.detail) else { return Ok(false) };
    let Some((tombstone, _)) = customers::find_tombstone(app, &username).await? else { return Ok(false) };
    let erased = CustomerErased { username, alias: tombstone.alias.clone(), at: tombstone.at };
    let Some(instead) = anonymous(app, message, &erased) else { return Ok(false) };
    let mut batch = Batch::new(Table::Ordering);
    batch.emit(instead);
    app.store.commit(batch).await?;
    Ok(true)
}

/// What takes the place of the message of a checkout, if it is one of this customer's from before they were erased: a new
/// message that comes of it, for the same order, so that whichever of the two is delivered, and how often, there is one.
fn anonymous(app: &App, message: &Envelope, erased: &CustomerErased) -> Option<Envelope> {
    let theirs = basket::buyer_of(&message.detail)?.key() == erased.username.key() && message.time <= erased.at;
    theirs.then(|| Envelope {
        id: app.new_uuid(),
        causation_id: Some(message.id),
        detail: basket::anonymous_detail(&message.detail, &erased.alias, order_id_of(message)),
        ..message.clone()
    })
}
