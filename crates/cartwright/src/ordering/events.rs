//! What ordering does when a basket is checked out, and when the catalogue has decided about its stock.

use super::{Order, Status, ops, store};
use crate::app::App;
use crate::basket::CheckoutBasket;
use crate::catalog::{Rejection, StockRejected, StockReserved};
use crate::error::{Error, Kind, Result};
use crate::events::Envelope;
use crate::store::{Batch, Change, Once, Table, transact};
use crate::values::{OrderId, Username};

/// A basket was checked out: create its order, once. The id comes with the checkout; a checkout that came from outside
/// without one gets an id made of its event, so that the same event is the same order.
///
/// # Errors
/// `malformed_event` when no order can come of it; `order_id_taken` when the id it brings is another order's; those of the store are worth another try.
pub async fn on_checkout_basket(app: &App, message: &Envelope, mut checkout: CheckoutBasket) -> Result<()> {
    let at = message.time;
    let id = checkout.order_id.take().unwrap_or_else(|| order_id_of(message));
    let order = Order::place(id, checkout, at, app.config.currency)?;
    let taken = || {
        let message = format!("Another order has the id {}.", order.id);
        Error::new(Kind::Unprocessable, "order_id_taken", message)
    };
    transact(app, &Once::unkeyed(), Table::Ordering, || async {
        let mut batch = Batch::new(Table::Ordering);
        match store::find_customer_of(&*app.store, &order.id).await? {
            None => ops::place(app, &mut batch, &order)?,
            Some(customer) if customer.key() != order.customer.key() => return Err(taken()),
            Some(customer) => {
                let there = store::find_order(&*app.store, &customer, &order.id).await?;
                if there.is_some_and(|(there, _)| there.lines != order.lines) {
                    return Err(taken());
                }
            }
        }
        Ok(Change { batch, result: () })
    })
    .await
}

fn order_id_of(message: &Envelope) -> OrderId {
    let hash = blake3::hash(message.id.as_bytes());
    OrderId::new(message.time, std::array::from_fn(|at| hash.as_bytes()[at]))
}

/// Its stock is reserved: confirm the order.
///
/// # Errors
/// `order_not_found` while the order is not there yet: worth another try, as are those of the store.
pub async fn on_stock_reserved(app: &App, stock: StockReserved) -> Result<()> {
    settle(app, &stock.customer, &stock.order_id, Status::Confirmed, Vec::new()).await
}

/// Its stock cannot be reserved: reject the order, and say why.
///
/// # Errors
/// As [`on_stock_reserved`].
pub async fn on_stock_rejected(app: &App, stock: StockRejected) -> Result<()> {
    settle(app, &stock.customer, &stock.order_id, Status::Rejected, stock.rejections).await
}

/// Moves an order that still waits for its stock to `to`. An order that was called off or has been decided stays as it
/// is: its own event takes or took care of the stock.
async fn settle(app: &App, customer: &Username, id: &OrderId, to: Status, rejections: Vec<Rejection>) -> Result<()> {
    transact(app, &Once::unkeyed(), Table::Ordering, || async {
        let Some((order, version)) = store::find_order(&*app.store, customer, id).await? else {
            return Err(Error::new(Kind::NotFound, "order_not_found", "The order is not there yet."));
        };
        let mut batch = Batch::new(Table::Ordering);
        if order.status == Status::Placed
            && let Some(mut settled) = order.advance(to, app.clock.now())?
        {
            settled.rejections = rejections.clone();
            ops::write(app, &mut batch, &settled, version)?;
        }
        Ok(Change { batch, result: () })
    })
    .await
}
