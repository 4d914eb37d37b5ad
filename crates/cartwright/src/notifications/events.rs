//! What notifications do when an order takes a step, when a product runs out or comes back, and when a customer is erased.

use super::{of_order, of_stock, ops};
use crate::app::App;
use crate::catalog::StockLevel;
use crate::customers::CustomerErased;
use crate::error::Result;
use crate::events::Envelope;
use crate::ordering::{self, OrderFact};

/// An order took a step: put that into its customer's inbox, tell them, and note in the order's timeline that they were told.
/// What is noted there was handed over, and is not handed over again. Whose order it is, is asked anew: the customer may have
/// been erased since, and the name be another's.
///
/// # Errors
/// Those of the [`Notifier`](super::Notifier); those of the store are worth another try.
pub async fn on_order_moved(app: &App, message: &Envelope, mut order: OrderFact) -> Result<()> {
    if let Some(customer) = ordering::find_customer_of(app, &order.order_id).await? {
        order.customer = customer;
    }
    let notification = of_order(message, &order);
    ops::record(app, &notification).await?;
    if ordering::was_notified(app, &order.order_id, &notification).await? {
        return Ok(());
    }
    app.notifier.notify(&notification).await?;
    ordering::note_notification(app, &order.order_id, message, &notification).await
}

/// A product ran out or came back: tell the operators.
///
/// # Errors
/// Those of the [`Notifier`](super::Notifier) and of the store.
pub async fn on_stock_turned(app: &App, message: &Envelope, level: StockLevel) -> Result<()> {
    let notification = of_stock(message, &level);
    ops::record(app, &notification).await?;
    app.notifier.notify(&notification).await
}

/// A customer was erased: throw away what they were told.
///
/// # Errors
/// Those of the store; all of them are worth another try.
pub async fn on_customer_erased(app: &App, erased: CustomerErased) -> Result<()> {
    ops::discard_inbox(app, &erased.username, erased.at).await
}
