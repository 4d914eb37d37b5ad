//! What can be done with watches: load → pure function → commit.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::super::{of_back_in_stock, ops};
use super::store;
use super::{MAX_WATCHES, Watch, WatchersDue};
use crate::app::App;
use crate::catalog::{self, Availability};
use crate::error::{Error, Kind, Result};
use crate::events::{Envelope, Event};
use crate::rest::{List, Listing};
use crate::store::{Batch, Change, Cursor, Expect, Once, Table, transact};
use crate::values::{ProductId, Username};

/// Watchers that one message tells; then it asks for the next. A commit each takes them well below a handler's time.
const WATCHERS_AT_ONCE: usize = 50;
/// How long a watch is kept: who waits longer has forgotten.
const WATCH_KEPT: SignedDuration = SignedDuration::from_hours(24 * 365);

fn no_such_product() -> Error {
    Error::not_found("product_not_found", "such product")
}

/// Whether a product can be had now.
///
/// # Errors
/// `product_not_found`.
async fn availability(app: &App, product: ProductId) -> Result<Availability> {
    catalog::find_availability(app, product).await?.ok_or_else(no_such_product)
}

/// Has a customer told once when a product is back in stock. Also answers how much of it can be had now, read after the watch
/// was stored: when that is nothing, whatever makes it more finds the watch. The last part says whether it is new.
///
/// # Errors
/// `product_not_found`; `too_many_watches` (409) beyond [`MAX_WATCHES`].
pub async fn watch(app: &App, product: ProductId, username: &Username) -> Result<(Watch, Option<i64>, bool)> {
    availability(app, product).await?;
    let (watch, is_new) = transact(app, &Once::unkeyed(), Table::Notifications, || async {
        let mut batch = Batch::new(Table::Notifications);
        if let Some((watch, _)) = store::find_watch(&*app.store, product, username).await? {
            return Ok(Change { batch, result: (Watch::clone(&watch), false) });
        }
        if store::list_watches(&*app.store, username, None, MAX_WATCHES).await?.0.len() >= MAX_WATCHES {
            let message = format!("A customer watches at most {MAX_WATCHES} products.");
            return Err(Error::new(Kind::Conflict, "too_many_watches", message));
        }
        let watch = Watch { product_id: product, username: username.clone(), since: app.clock.now() };
        let expires_at = watch.since + WATCH_KEPT;
        batch.put_until(store::watch_key(product, username), Expect::Absent, &watch, expires_at)?;
        batch.put_until(store::index_key(product, username), Expect::Anything, &watch, expires_at)?;
        Ok(Change { batch, result: (watch, true) })
    })
    .await?;
    match availability(app, product).await {
        Ok(now) => Ok((watch, now.available, is_new)),
        Err(gone) => {
            // It left the catalogue meanwhile, and its watchers may have been sent away before this one came.
            unwatch(app, product, username).await?;
            Err(gone)
        }
    }
}

/// The watch of a customer, and how much of the product can be had now.
///
/// # Errors
/// `product_not_found`, `watch_not_found`.
pub async fn get_watch(app: &App, product: ProductId, username: &Username) -> Result<(Arc<Watch>, Option<i64>)> {
    let now = availability(app, product).await?;
    let missing = || Error::not_found("watch_not_found", "such watch: the customer does not wait for this product");
    let (watch, _) = store::find_watch(&*app.store, product, username).await?.ok_or_else(missing)?;
    Ok((watch, now.available))
}

/// All watches of a customer, by product: up to [`MAX_WATCHES`].
///
/// # Errors
/// Those of the store.
pub async fn watches_of(app: &App, username: &Username) -> Result<Vec<Watch>> {
    let (products, _) = store::list_watches(&*app.store, username, None, MAX_WATCHES).await?;
    let keys: Vec<_> = products.iter().map(|&product| store::watch_key(product, username)).collect();
    // One that was taken away meanwhile is none.
    app.store.get_many(&keys).await?.iter().flatten().map(|doc| doc.parse_owned()).collect()
}

/// Takes a watch away, if it is there.
///
/// # Errors
/// Those of the store.
pub async fn unwatch(app: &App, product: ProductId, username: &Username) -> Result<()> {
    transact(app, &Once::unkeyed(), Table::Notifications, || async {
        let mut batch = Batch::new(Table::Notifications);
        if let Some((_, version)) = store::find_watch(&*app.store, product, username).await? {
            remove(&mut batch, product, username, Expect::Version(version));
        }
        Ok(Change { batch, result: () })
    })
    .await
}

/// A page of those who watch a product, by user name.
///
/// # Errors
/// `product_not_found`, `invalid_request` for a cursor of another list.
pub async fn list_watchers(app: &App, product: ProductId, list: &List) -> Result<Listing<Watch>> {
    let scope = format!("watchers of {product}");
    let after = list.after(&scope)?;
    availability(app, product).await?;
    let (items, next) = store::list_watchers(&*app.store, product, after.as_deref(), list.limit()).await?;
    Ok(Listing { items, next: next.map(|sk| Cursor::new(&scope, &sk)) })
}

/// A product came back: if anyone watches it, see to it that they are told.
///
/// # Errors
/// Those of the store.
pub(in super::super) async fn announce(app: &App, product: ProductId) -> Result<()> {
    let (watchers, _) = store::list_watchers(&*app.store, product, None, 1).await?;
    if watchers.is_empty() {
        return Ok(());
    }
    let mut batch = Batch::new(Table::Notifications);
    batch.emit(app.envelope(&Event::WatchersDue(WatchersDue::all(product))));
    Ok(app.store.commit(batch).await?)
}

/// Tells some of those who watch a product that it is back, if it still is, and asks for the next. Whoever cannot be told is
/// asked for alone, so that nobody waits for them. When it is sold out again, they wait on: they are told when it comes back
/// once more.
///
/// # Errors
/// `stock_unsettled` while it is not known yet whether it ran out again: worth another try. Those of the store; for one who is
/// asked for alone, those of the [`Notifier`](super::super::Notifier) too.
pub(in super::super) async fn tell_some(app: &App, message: &Envelope, due: &WatchersDue) -> Result<()> {
    let product = due.product_id;
    let Some(now) = catalog::find_availability(app, product).await? else { return remove_all(app, product).await };
    if !now.can_be_had() {
        if now.is_depleted {
            return Ok(());
        }
        let message = "Whether the product ran out again is not known yet.";
        return Err(Error::new(Kind::Conflict, "stock_unsettled", message));
    }
    if let Some(username) = &due.only {
        let watch = store::find_watch(&*app.store, product, username).await?;
        return if let Some((watch, _)) = watch { tell(app, message, &watch, &now).await } else { Ok(()) };
    }
    let (watchers, next) = store::list_watchers(&*app.store, product, due.after.as_deref(), WATCHERS_AT_ONCE).await?;
    let mut batch = Batch::new(Table::Notifications);
    for watch in &watchers {
        if let Err(error) = tell(app, message, watch, &now).await {
            tracing::warn!(product = %product, %error, "one who watches a product could not be told with the others");
            let alone = WatchersDue { only: Some(watch.username.clone()), ..WatchersDue::all(product) };
            batch.emit(app.envelope(&Event::WatchersDue(alone)));
        }
    }
    if next.is_some() {
        batch.emit(app.envelope(&Event::WatchersDue(WatchersDue { after: next, ..WatchersDue::all(product) })));
    }
    if batch.is_empty() { Ok(()) } else { Ok(app.store.commit(batch).await?) }
}

/// Tells one of them. The channel outside comes first: what is told there twice has the same id, and what is not told is not
/// forgotten.
async fn tell(app: &App, message: &Envelope, watch: &Watch, now: &Availability) -> Result<()> {
    // An event that is older than the watch must not count as older than its customer.
    let mut notification = of_back_in_stock(watch, now, message.time.max(watch.since));
    notification.correlation_id.clone_from(&message.correlation_id);
    app.notifier.notify(&notification).await?;
    let entry = transact(app, &Once::unkeyed(), Table::Notifications, || async {
        let (mut batch, mut entry) = (Batch::new(Table::Notifications), None);
        if let Some((there, version)) = store::find_watch(&*app.store, watch.product_id, &watch.username).await?
            && *there == *watch
        {
            remove(&mut batch, watch.product_id, &watch.username, Expect::Version(version));
            entry = Some(ops::enter(app, &mut batch, &notification).await?);
        }
        Ok(Change { batch, result: entry })
    })
    .await?;
    match entry {
        Some(entry) => ops::tell(app, &entry).await,
        None => Ok(()),
    }
}

fn remove(batch: &mut Batch, product: ProductId, username: &Username, expect: Expect) {
    batch.delete(store::watch_key(product, username), expect);
    batch.delete(store::index_key(product, username), Expect::Anything);
}

/// Sends everyone away who watches a product.
///
/// # Errors
/// Those of the store.
pub(in super::super) async fn remove_all(app: &App, product: ProductId) -> Result<()> {
    loop {
        let (watchers, next) = store::list_watchers(&*app.store, product, None, WATCHERS_AT_ONCE).await?;
        let mut batch = Batch::new(Table::Notifications);
        for watch in &watchers {
            remove(&mut batch, product, &watch.username, Expect::Anything);
        }
        if !batch.is_empty() {
            app.store.commit(batch).await?;
        }
        if next.is_none() {
            return Ok(());
        }
    }
}

/// Removes what a customer who was erased had watched until then.
///
/// # Errors
/// Those of the store.
pub(in super::super) async fn discard_watches(app: &App, username: &Username, at: Timestamp) -> Result<()> {
    let mut after = None;
    loop {
        let (products, next) = store::list_watches(&*app.store, username, after.as_deref(), MAX_WATCHES).await?;
        for product in products {
            transact(app, &Once::unkeyed(), Table::Notifications, || async {
                let mut batch = Batch::new(Table::Notifications);
                if let Some((watch, version)) = store::find_watch(&*app.store, product, username).await?
                    && watch.since <= at
                {
                    remove(&mut batch, product, username, Expect::Version(version));
                }
                Ok(Change { batch, result: () })
            })
            .await?;
        }
        after = next;
        if after.is_none() {
            return Ok(());
        }
    }
}
