//! What notifications do when an order takes a step, a product runs out, comes back or goes, a customer is erased, and when a
//! message dies.

use super::{WatchersDue, of_dead_letter, of_order, of_stock, ops, watchers, webhooks};
use crate::app::App;
use crate::catalog::{ProductRemoved, StockLevel};
use crate::customers::CustomerErased;
use crate::error::{Kind, Result};
use crate::events::{Envelope, Event, Queue};
use crate::feed::News;
use crate::ordering::{self, OrderFact};
use crate::purchases::PurchaseStored;

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
    app.notifier.notify(&notification).await?;
    if level.available > 0 { watchers::ops::announce(app, level.product_id).await } else { Ok(()) }
}

/// Those who watch a product that came back are to be told: tell some, and ask for the next.
///
/// # Errors
/// `stock_unsettled` while it is not known whether it ran out again; those of the [`Notifier`](super::Notifier) and of the
/// store. All are worth another try.
pub async fn on_watchers_due(app: &App, message: &Envelope, due: WatchersDue) -> Result<()> {
    watchers::ops::tell_some(app, message, &due).await
}

/// A product left the catalogue: nobody waits for it any more.
///
/// # Errors
/// Those of the store; all of them are worth another try.
pub async fn on_product_removed(app: &App, removed: ProductRemoved) -> Result<()> {
    watchers::ops::remove_all(app, removed.product_id).await
}

/// A purchase was stored: tell whoever listens. It is in no inbox.
///
/// # Errors
/// Those of [`Live`](crate::feed::Live).
pub async fn on_purchase_stored(app: &App, message: &Envelope, stored: PurchaseStored) -> Result<()> {
    app.live().tell(app, News::Purchase(message, &stored)).await
}

/// A message is about to be a dead letter of `queue`, because of an error with this code: tell the operators, and note it in
/// the delivery that it was to try, if it was one. Whoever delivers messages calls this, as often as it takes; it is no message
/// itself, so that one that dies in the queue of notifications is told of too.
///
/// # Errors
/// Those of the store that are worth another try. Others are in the log: that a message is dead must not depend on them.
pub async fn on_message_died(app: &App, queue: Queue, message: Option<&Envelope>, code: &str) -> Result<()> {
    let app = message.map_or_else(|| app.clone(), |message| app.for_message(message));
    let told = match message.map(Event::parse) {
        Some(Ok(Event::DeliveryDue(due))) => webhooks::ops::give_up(&app, &due).await,
        _ => {
            let event = message.map(|message| message.detail_type.as_str());
            let notification = of_dead_letter(queue, event, code, app.clock.now());
            ops::record(&app, &notification).await.map(drop)
        }
    };
    match told {
        Err(error) if error.kind() != Kind::Unavailable => {
            tracing::error!(queue = queue.name(), %error, "operators could not be told of a message that died");
            Ok(())
        }
        told => told,
    }
}

/// A customer was erased: throw away what they were told and what they wait for.
///
/// # Errors
/// Those of the store; all of them are worth another try.
pub async fn on_customer_erased(app: &App, erased: CustomerErased) -> Result<()> {
    ops::discard_inbox(app, &erased.username, erased.at).await?;
    watchers::ops::discard_watches(app, &erased.username, erased.at).await
}
