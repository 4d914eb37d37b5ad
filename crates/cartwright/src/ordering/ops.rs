//! What can be done with orders: load → pure function → commit.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::store::{self, IndexEntry};
use super::{Failure, Notified, Order, Status, TimelineEntry};
use crate::app::App;
use crate::basket::{self, Contact};
use crate::customers::{self, Customer, CustomerErased};
use crate::error::{Error, Kind, Result};
use crate::events::Envelope;
use crate::notifications::Notification;
use crate::rest::{IfMatch, List, Listing};
use crate::store::{Batch, Change, Cursor, Doc, Expect, MAX_PAGE, Once, Table, list_merged, transact};
use crate::values::{Email, Money, OrderId, Quantity, Username};

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
    fn without_personal_data(mut self) -> Self {
        let order = Arc::make_mut(&mut self.order);
        (order.contact, order.card_last4) = (Contact::default(), None);
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
    batch.put(store::status_key(order.status, &order.id), Expect::Anything, &entry)?;
    announce(app, batch, order)
}

/// Adds to `batch` the event that tells of the order's present status, and its entry in the timeline.
fn announce(app: &App, batch: &mut Batch, order: &Order) -> Result<()> {
    let event = app.envelope(&order.event());
    note(batch, &order.id, &event, Some(order.status))?;
    batch.emit(event);
    Ok(())
}

/// Adds to `batch` an event's entry in the timeline of an order.
pub(super) fn note(batch: &mut Batch, order: &OrderId, event: &Envelope, status: Option<Status>) -> Result<()> {
    let entry = TimelineEntry::of(event, status);
    batch.put(store::timeline_key(order, event.id), Expect::Anything, &entry)?;
    Ok(())
}

/// One order. A checkout that was accepted a moment ago and whose order is not written yet is shown as the order it will
/// be, so that the id a buyer was given is never unknown; without contact and card, which are not kept with the checkout.
///
/// # Errors
/// `order_not_found`, also when it is there and is not for whoever asks.
pub async fn get_order(app: &App, id: &OrderId) -> Result<VersionedOrder> {
    let found = find_order(app, id).await?;
    found.filter(|found| app.principal().may_act_for(&found.order.customer)).ok_or_else(no_such_order)
}

async fn find_order(app: &App, id: &OrderId) -> Result<Option<VersionedOrder>> {
    if let Some(customer) = store::find_customer_of(&*app.store, id).await? {
        let found = store::find_order(&*app.store, &customer, id).await?;
        return Ok(found.map(|(order, version)| VersionedOrder { order, version }));
    }
    let Some(checkout) = basket::find_checkout(app, id).await? else { return Ok(None) };
    let order = Order::place(id.clone(), checkout.basket, checkout.at, app.config.currency)?;
    Ok(Some(VersionedOrder { order: Arc::new(order), version: 0 }))
}

/// Whose order it is now, if it is there: of an erased customer, their alias.
///
/// # Errors
/// Those of the store.
pub async fn find_customer_of(app: &App, id: &OrderId) -> Result<Option<Username>> {
    store::find_customer_of(&*app.store, id).await
}

/// The e-mail address that was given with an order, if one was and it is still kept. The read e-mail is allowed.
///
/// # Errors
/// Those of the store.
pub async fn find_contact_email(app: &App, id: &OrderId) -> Result<Option<Email>> {
    let Some(customer) = store::find_customer_of(&*app.store, id).await? else { return Ok(None) };
    let order = store::find_order(&*app.store, &customer, id).await?;
    Ok(order.and_then(|(order, _)| order.contact.email.clone()))
}

/// Which orders to list.
#[derive(Debug, Clone, Default)]
pub struct OrderFilter {
    /// Only those of this customer.
    pub customer: Option<Username>,
    /// Only those in this status.
    pub status: Option<Status>,
    /// Only those placed at this time or later.
    pub from: Option<Timestamp>,
    /// Only those placed at this time or earlier.
    pub to: Option<Timestamp>,
}

impl OrderFilter {
    /// All orders of a customer.
    pub fn of(customer: &Username) -> Self {
        OrderFilter { customer: Some(customer.clone()), ..OrderFilter::default() }
    }

    /// The list's name, to which its cursors are bound.
    fn scope(&self) -> String {
        let customer = self.customer.as_ref().map(Username::key);
        format!("orders {customer:?} {:?} {:?} {:?}", self.status, self.from, self.to)
    }

    fn accepts(&self, order: &Order) -> bool {
        self.status.is_none_or(|status| order.status == status)
            && self.from.is_none_or(|from| order.created_at >= from)
            && self.to.is_none_or(|to| order.created_at <= to)
    }

    /// Whether neither this order nor any older one can be in the list.
    fn ends_before(&self, order: &Order) -> bool {
        self.from.is_some_and(|from| order.created_at < from)
    }
}

/// Most pages that are looked through to fill one with orders that pass a filter.
const MAX_PAGES_FILTERED: usize = 5;

/// A page of orders, newest first. Of all, of a customer, or in a status, it goes along an index; where filters are
/// combined, it may have fewer than the limit, or none, and still not be the last.
///
/// # Errors
/// `invalid_request` for a cursor of another list.
pub async fn list_orders(app: &App, filter: &OrderFilter, list: &List) -> Result<Listing<VersionedOrder>> {
    let scope = filter.scope();
    let mut after = list.after(&scope)?.or_else(|| {
        let newest = OrderId::last_of_second(filter.to?);
        Some(if filter.customer.is_some() { store::order_sk(&newest) } else { newest.to_string() })
    });
    let mut items = Vec::new();
    for _ in 0..MAX_PAGES_FILTERED {
        let (docs, next) = order_docs(app, filter, after.as_deref(), list.limit() - items.len()).await?;
        after = next;
        for doc in docs.into_iter().flatten() {
            let order: Arc<Order> = doc.parse()?;
            if filter.ends_before(&order) {
                after = None;
            } else if filter.accepts(&order) {
                items.push(VersionedOrder { order, version: doc.version });
            }
        }
        if after.is_none() || items.len() == list.limit() {
            break;
        }
    }
    Ok(Listing { items, next: after.map(|sk| Cursor::new(&scope, &sk)) })
}

/// A page of the orders that the filter's best index leads to, and where it goes on.
async fn order_docs(
    app: &App,
    filter: &OrderFilter,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<Option<Doc>>, Option<String>)> {
    let index = match (&filter.customer, filter.status) {
        (Some(customer), _) => {
            let page = app.store.list(&store::orders_of(customer), after, limit).await?;
            return Ok((page.docs.into_iter().map(Some).collect(), page.next));
        }
        (None, Some(status)) => store::status_index(status),
        (None, None) => store::index(),
    };
    let page = list_merged(&*app.store, &index, after, limit).await?;
    let keys = page.docs.iter().map(|doc| {
        let customer = &doc.parse::<IndexEntry>()?.customer;
        Ok(store::order_key(customer, &OrderId::try_from(doc.sk.to_string()).map_err(Error::internal)?))
    });
    Ok((app.store.get_many(&keys.collect::<Result<Vec<_>>>()?).await?, page.next))
}

/// Most orders that are answered at once to a caller who asked for all of a customer's.
pub const MAX_ALL_ORDERS: usize = 500;

/// All orders of a customer, newest first, up to [`MAX_ALL_ORDERS`]; the cursor goes on when there are more.
///
/// # Errors
/// As [`list_orders`].
pub async fn all_orders_of(app: &App, customer: &Username, list: &List) -> Result<Listing<VersionedOrder>> {
    let mut all = list_orders(app, &OrderFilter::of(customer), &list.of_size(MAX_PAGE)).await?;
    while let Some(next) = all.next.take_if(|_| all.items.len() < MAX_ALL_ORDERS) {
        let page = list_orders(app, &OrderFilter::of(customer), &list.of_size(MAX_PAGE).from(next)).await?;
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
/// `order_not_found`, `forbidden` for a step that is not for a customer to take, `transition_forbidden`, `precondition_failed`, `order_not_ready` while its checkout is on its way.
pub async fn transition(
    app: &App,
    once: &Once,
    id: &OrderId,
    if_match: &IfMatch,
    to: Status,
) -> Result<VersionedOrder> {
    let before = get_order(app, id).await?;
    if !app.principal().is_staff() && to != before.order.status && !to.is_for_customers() {
        let message = format!("An order becomes {} on the shop's word, not on its customer's.", to.name());
        return Err(Error::new(Kind::Forbidden, "forbidden", message));
    }
    if before.version == 0 {
        let message = "The checkout of this order is still being processed; try again in a moment.";
        return Err(Error::new(Kind::Unavailable, "order_not_ready", message));
    }
    let customer = before.order.customer.clone();
    // The answer that is kept for an Idempotency-Key is without contact and card: personal data lies with the order only.
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
            return Ok(Change { batch, result: before.without_personal_data() });
        };
        write(app, &mut batch, &after, before.order.status, version)?;
        let after = VersionedOrder { order: Arc::new(after), version: version + 1 };
        Ok(Change { batch, result: after.without_personal_data() })
    })
    .await?;
    let order = Arc::make_mut(&mut moved.order);
    (order.contact, order.card_last4) = (before.order.contact.clone(), before.order.card_last4.clone());
    Ok(moved)
}

/// Adds to `batch` the next version of an order that was in the status `before`, its place in the index by status, and the
/// event that tells of it.
pub(super) fn write(app: &App, batch: &mut Batch, order: &Order, before: Status, version: u64) -> Result<()> {
    batch.put(store::order_key(&order.customer, &order.id), Expect::Version(version), order)?;
    batch.delete(store::status_key(before, &order.id), Expect::Anything);
    let entry = IndexEntry { customer: order.customer.clone() };
    batch.put(store::status_key(order.status, &order.id), Expect::Anything, &entry)?;
    announce(app, batch, order)
}

/// A page of what happened to an order, oldest first.
///
/// # Errors
/// `order_not_found`, `invalid_request` for a cursor of another list.
pub async fn list_timeline(app: &App, id: &OrderId, list: &List) -> Result<Listing<Arc<TimelineEntry>>> {
    let scope = format!("timeline of {id}");
    let after = list.after(&scope)?;
    get_order(app, id).await?;
    let page = app.store.list(&store::timeline(id), after.as_deref(), list.limit()).await?;
    let items = page.docs.iter().map(|doc| doc.parse()).collect::<Result<_>>()?;
    Ok(Listing { items, next: page.next.map(|sk| Cursor::new(&scope, &sk)) })
}

/// Notes in the timeline of an order that a consumer failed to process one of its events. Best effort: what became of the
/// message itself is the delivery's to note.
pub async fn record_failure(app: &App, id: &OrderId, queue: &str, event: &Envelope, error: &Error) {
    let failure =
        Failure { queue: queue.to_owned(), code: error.code().to_owned(), message: error.message().to_owned() };
    let entry = TimelineEntry { at: app.clock.now(), failure: Some(failure), ..TimelineEntry::of(event, None) };
    let mut batch = Batch::new(Table::Ordering);
    let key = store::attempt_key(id, event.id, app.new_uuid());
    let noted = match batch.put(key, Expect::Absent, &entry) {
        Ok(_) => app.store.commit(batch).await.map_err(Error::from),
        Err(error) => Err(error),
    };
    if let Err(error) = noted {
        tracing::warn!(order = id.as_str(), %error, "a failed attempt could not be noted in the order's timeline");
    }
}

/// Whether the timeline of an order says that this notification was sent.
///
/// # Errors
/// Those of the store.
pub async fn was_notified(app: &App, id: &OrderId, notification: &Notification) -> Result<bool> {
    let key = store::notification_key(id, notification.id, notification.audience);
    Ok(app.store.get(&key).await?.is_some())
}

/// Notes in the timeline of an order that a notification was sent because of `event`, once, however often it is noted.
///
/// # Errors
/// Those of the store.
pub async fn note_notification(app: &App, id: &OrderId, event: &Envelope, sent: &Notification) -> Result<()> {
    let notified = Notified { audience: sent.audience, subject: sent.subject.clone() };
    let entry = TimelineEntry { at: app.clock.now(), notification: Some(notified), ..TimelineEntry::of(event, None) };
    transact(app, &Once::unkeyed(), Table::Ordering, || async {
        let mut batch = Batch::new(Table::Ordering);
        if !was_notified(app, id, sent).await? {
            let key = store::notification_key(id, sent.id, sent.audience);
            batch.put(key, Expect::Absent, &entry)?;
        }
        Ok(Change { batch, result: () })
    })
    .await
}

/// Places an order that was agreed elsewhere, for a customer there is.
///
/// # Errors
/// `customer_not_found`; `invalid_request` for an amount that is negative or not in the shop's currency.
pub async fn place_directly(
    app: &App,
    once: &Once,
    customer: &Username,
    total: Money,
    item_count: Quantity,
) -> Result<VersionedOrder> {
    transact(app, once, Table::Ordering, || async {
        let found = customers::get_customer(app, customer).await?;
        let at = app.clock.now();
        let username = found.customer.username.clone();
        let order = Order::place_directly(app.new_order_id(at), username, total, item_count, at);
        let mut batch = Batch::new(Table::Ordering);
        batch.check(customers::profile_key(customer), Expect::Exists);
        place(app, &mut batch, &order)?;
        Ok(Change { batch, result: VersionedOrder { order: Arc::new(order), version: 1 } })
    })
    .await
}

/// A customer's profile, when it is on the page, and a page of their orders, newest first: one read.
pub struct ProfileAndOrders {
    /// The profile; only on the first page, and only of a customer who has one.
    pub profile: Option<Arc<Customer>>,
    /// The orders.
    pub orders: Listing<Arc<Order>>,
}

/// The profile of a customer and a page of at most `limit` of their orders, newest first.
///
/// # Errors
/// `customer_not_found` when there is neither profile nor order; `invalid_request` for a cursor of another list.
pub async fn profile_and_orders(
    app: &App,
    customer: &Username,
    cursor: Option<&str>,
    limit: usize,
) -> Result<ProfileAndOrders> {
    let scope = format!("profile and orders of {}", customer.key());
    let after = cursor.map(|text| Cursor::read(&scope, text)).transpose()?;
    let with_profile = limit + usize::from(after.is_none());
    let page = app.store.list(&store::profile_and_orders(customer), after.as_deref(), with_profile).await?;
    if page.docs.is_empty() && after.is_none() {
        return Err(Error::not_found("customer_not_found", "such customer"));
    }
    let (profiles, orders): (Vec<_>, Vec<_>) = page.docs.iter().partition(|doc| customers::is_profile(doc));
    let profile = profiles.first().map(|doc| doc.parse()).transpose()?;
    let items = orders.iter().map(|doc| doc.parse()).collect::<Result<_>>()?;
    Ok(ProfileAndOrders { profile, orders: Listing { items, next: page.next.map(|sk| Cursor::new(&scope, &sk)) } })
}

/// Moves the orders an erased customer placed before they were erased to their alias, without personal data.
///
/// # Errors
/// Those of the store.
pub(super) async fn anonymise_orders(app: &App, erased: &CustomerErased) -> Result<()> {
    // Orders of the next customer of this name are newer, and stay.
    let mut after = Some(store::order_sk(&OrderId::last_of_second(erased.at)));
    while let Some(from) = after {
        let page = app.store.list(&store::orders_of(&erased.username), Some(&from), MAX_PAGE).await?;
        for doc in &page.docs {
            let order: Arc<Order> = doc.parse()?;
            if order.created_at <= erased.at {
                anonymise_order(app, &order.customer, &order.id, &erased.alias).await?;
            }
        }
        after = page.next;
    }
    Ok(())
}

async fn anonymise_order(app: &App, customer: &Username, id: &OrderId, alias: &Username) -> Result<()> {
    transact(app, &Once::unkeyed(), Table::Ordering, || async {
        let mut batch = Batch::new(Table::Ordering);
        if let Some((order, version)) = store::find_order(&*app.store, customer, id).await? {
            let anonymous = order.anonymous(alias);
            batch.delete(store::order_key(customer, id), Expect::Version(version));
            batch.put(store::order_key(alias, id), Expect::Absent, &anonymous)?;
            let entry = IndexEntry { customer: alias.clone() };
            batch.put(store::index_key(id), Expect::Anything, &entry)?;
            batch.put(store::status_key(anonymous.status, id), Expect::Anything, &entry)?;
        }
        Ok(Change { batch, result: () })
    })
    .await
}
