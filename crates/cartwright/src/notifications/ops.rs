//! What can be done with notifications: put into an inbox, read from there.

use jiff::{SignedDuration, Timestamp};

use super::store::{self, Numbered};
use super::webhooks::ops::DELIVERY_KEPT;
use super::webhooks::{self, Delivery, Listeners};
use super::{EmailDue, Facts, Inbox, InboxEntry, InboxHead, InboxItem, Notification, Numbers, email};
use crate::app::App;
use crate::error::{Error, Kind, Result};
use crate::events::Event;
use crate::feed::News;
use crate::rest::{List, Listing};
use crate::store::{Batch, Change, Cursor, Doc, Expect, MAX_PAGE, Once, Table, transact};
use crate::values::Username;
use crate::{customers, ordering};

/// How long an entry of an inbox is kept.
const ENTRY_KEPT: SignedDuration = SignedDuration::from_hours(24 * 90);
/// How long the inbox of an erased customer stays closed to what is still to come: longer than any event may wait.
const CLOSED_KEPT: SignedDuration = SignedDuration::from_hours(24 * 30);

/// Puts a notification into the inbox it is for, once, however often it is put there; what goes out through the other
/// channels is in the same commit. Then tells whoever listens. Returns the entry it is.
///
/// # Errors
/// `customer_erased` while what happened to a customer who was erased since is still told under their name: worth another
/// try, when their orders have another. Those of the store.
pub(super) async fn record(app: &App, notification: &Notification) -> Result<InboxEntry> {
    let entry = transact(app, &Once::unkeyed(), Table::Notifications, || async {
        let mut batch = Batch::new(Table::Notifications);
        let result = enter(app, &mut batch, notification).await?;
        Ok(Change { batch, result })
    })
    .await?;
    tell(app, &entry).await?;
    Ok(entry)
}

/// Tells whoever listens of an entry that is in its inbox.
///
/// # Errors
/// Those of [`Live`](crate::feed::Live).
pub(super) async fn tell(app: &App, entry: &InboxEntry) -> Result<()> {
    app.live().tell(app, News::Entry(&Inbox::of(&entry.notification), entry)).await
}

/// Adds to `batch` what makes a notification an entry of its inbox and sends it out through the other channels; nothing if
/// that was done before.
///
/// # Errors
/// As [`record`].
pub(super) async fn enter(app: &App, batch: &mut Batch, notification: &Notification) -> Result<InboxEntry> {
    let inbox = Inbox::of(notification);
    let keys = [store::seen_key(&inbox, notification.id), store::head_key(&inbox), webhooks::store::listeners_key()];
    let docs = app.store.get_many(&keys).await?;
    let [seen_key, head_key, _] = keys;
    if let Some(seen) = &docs[0] {
        let Numbered { sequence, .. } = seen.parse_owned()?;
        return Ok(InboxEntry { sequence, notification: notification.clone() });
    }
    let (head, version) = store::head_of(docs[1].as_ref())?;
    if head.is_closed_to(notification.at) {
        return Err(erased());
    }
    let head = InboxHead { last: head.last + 1, ..head };
    let entry = InboxEntry { sequence: head.last, notification: notification.clone() };
    let expires_at = app.clock.now() + ENTRY_KEPT;
    batch.put(head_key, Expect::as_read(version), &head)?;
    batch.put_until(store::entry_key(&inbox, head.last), Expect::Absent, &entry, expires_at)?;
    let seen = Numbered { sequence: head.last, at: notification.at };
    batch.put_until(seen_key, Expect::Absent, &seen, expires_at)?;
    if email::is_wanted(&app.config.email, notification) {
        batch.emit(app.envelope(&Event::EmailDue(EmailDue { notification: notification.clone() })));
    }
    let listeners = docs[2].as_ref().map(|doc| doc.parse::<Listeners>()).transpose()?.unwrap_or_default();
    for listener in listeners.of(notification) {
        let delivery = Delivery::new(app.new_uuid(), listener.id, notification.clone(), app.clock.now());
        let key = webhooks::store::delivery_key(listener.id, delivery.id);
        batch.put_until(key, Expect::Absent, &delivery, delivery.created_at + DELIVERY_KEPT)?;
        batch.emit(app.envelope(&Event::DeliveryDue(delivery.due())));
    }
    Ok(entry)
}

/// A notification about whoever the customer it names is by now: the name may be an erased customer's.
///
/// # Errors
/// Those of the store.
pub(super) async fn as_named_now(app: &App, notification: &Notification) -> Result<Notification> {
    let mut now = notification.clone();
    if let Facts::Order { order_id, .. } = &now.facts
        && let Some(customer) = ordering::find_customer_of(app, order_id).await?
    {
        now.facts = now.facts.renamed(customer);
    }
    if let Some(name) = now.facts.user_name()
        && let Some((erased, _)) = customers::find_tombstone(app, name).await?
        && now.at <= erased.at
    {
        now.facts = now.facts.renamed(erased.alias.clone());
    }
    Ok(now)
}

/// A page of an inbox.
pub(super) struct InboxPage {
    /// Its entries, newest first.
    pub(super) listing: Listing<InboxItem>,
    /// How many entries of the whole inbox are not read.
    pub(super) unread: u64,
}

fn erased() -> Error {
    Error::new(Kind::Conflict, "customer_erased", "The customer was erased; their orders get another name.")
}

/// A page of an inbox, newest first.
///
/// # Errors
/// `invalid_request` for a cursor of another list.
pub(super) async fn list_inbox(app: &App, inbox: &Inbox, list: &List) -> Result<InboxPage> {
    let scope = format!("inbox of {}", inbox.key());
    let after = list.after(&scope)?;
    let (head, _) = store::get_head(&*app.store, inbox).await?;
    let page = store::list_newest(&*app.store, inbox, after.as_deref(), list.limit()).await?;
    let item = |doc: &Doc| Ok(InboxItem::of(doc.parse_owned()?, head.read_up_to));
    let items = page.docs.iter().map(item).collect::<Result<_>>()?;
    let listing = Listing { items, next: page.next.map(|sk| Cursor::new(&scope, &sk)) };
    // What was never read may have expired: where the whole inbox is in sight, it is counted there.
    let is_whole = after.is_none() && listing.next.is_none();
    let in_sight = listing.items.iter().filter(|item| !item.read).count() as u64;
    Ok(InboxPage { unread: if is_whole { in_sight } else { head.unread() }, listing })
}

/// Up to `most` of the newest entries of a customer's inbox, newest first. The read the export of a customer is allowed.
///
/// # Errors
/// Those of the store.
pub async fn newest_of(app: &App, customer: &Username, most: usize) -> Result<Vec<InboxItem>> {
    let inbox = Inbox::Customer(customer.clone());
    let (head, _) = store::get_head(&*app.store, &inbox).await?;
    let (mut items, mut after) = (Vec::new(), None);
    loop {
        let limit = (most - items.len()).min(MAX_PAGE);
        let page = store::list_newest(&*app.store, &inbox, after.as_deref(), limit).await?;
        for doc in &page.docs {
            items.push(InboxItem::of(doc.parse_owned()?, head.read_up_to));
        }
        after = page.next;
        if after.is_none() || items.len() >= most {
            return Ok(items);
        }
    }
}

/// Notes that an inbox was read up to the entry with that number. What was read stays so.
///
/// # Errors
/// `invalid_request` for a number that no entry has had yet.
pub(super) async fn mark_read(app: &App, inbox: &Inbox, up_to: u64) -> Result<()> {
    transact(app, &Once::unkeyed(), Table::Notifications, || async {
        let (head, version) = store::get_head(&*app.store, inbox).await?;
        let mut batch = Batch::new(Table::Notifications);
        if up_to > head.last {
            return Err(Error::field(
                "/upTo",
                format!("must be at most {}, the number of the newest entry", head.last),
            ));
        }
        if up_to > head.read_up_to {
            let head = InboxHead { read_up_to: up_to, ..head };
            batch.put(store::head_key(inbox), Expect::as_read(version), &head)?;
        }
        Ok(Change { batch, result: () })
    })
    .await
}

/// Throws away what is in the inbox of a customer who was erased, and closes it to what is still to come of theirs. What
/// the next of that name is told stays.
///
/// # Errors
/// Those of the store; what was thrown away until then is gone.
pub(super) async fn discard_inbox(app: &App, customer: &Username, at: Timestamp) -> Result<()> {
    let inbox = Inbox::Customer(customer.clone());
    transact(app, &Once::unkeyed(), Table::Notifications, || async {
        let (head, version) = store::get_head(&*app.store, &inbox).await?;
        let mut batch = Batch::new(Table::Notifications);
        if !head.is_closed_to(at) {
            let head = InboxHead { erased_at: Some(at), ..head };
            batch.put_until(store::head_key(&inbox), Expect::as_read(version), &head, at + CLOSED_KEPT)?;
        }
        Ok(Change { batch, result: () })
    })
    .await?;
    // Nothing older is added any more, so what is listed from here on is all there is.
    let (mut after, mut gone_up_to) = (None, 0);
    loop {
        let page = store::list_everything(&*app.store, &inbox, after.as_deref()).await?;
        let mut batch = Batch::new(Table::Notifications);
        for doc in &page.docs {
            let numbered: Numbered = doc.parse_owned()?;
            if numbered.at <= at {
                batch.delete(store::key_of(&inbox, doc), Expect::Anything);
                gone_up_to = gone_up_to.max(numbered.sequence);
            }
        }
        if !batch.is_empty() {
            app.store.commit(batch).await?;
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    // What is gone needs no reading; where nothing has come since, the head goes too when its time is over.
    transact(app, &Once::unkeyed(), Table::Notifications, || async {
        let (head, version) = store::get_head(&*app.store, &inbox).await?;
        let mut batch = Batch::new(Table::Notifications);
        if gone_up_to > head.read_up_to {
            let (is_closed, read) = (head.last <= gone_up_to, InboxHead { read_up_to: gone_up_to, ..head });
            let (key, expect) = (store::head_key(&inbox), Expect::as_read(version));
            if is_closed {
                batch.put_until(key, expect, &read, at + CLOSED_KEPT)?;
            } else {
                batch.put(key, expect, &read)?;
            }
        }
        Ok(Change { batch, result: () })
    })
    .await
}

/// Up to `limit` (1 to 100) entries of an inbox with a number above `after`, in the order of their numbers.
///
/// # Errors
/// Those of the store.
pub async fn list_entries_after(app: &App, inbox: &Inbox, after: u64, limit: usize) -> Result<Vec<InboxEntry>> {
    store::list_after(&*app.store, inbox, after, limit).await
}

/// What is known of an inbox without reading its entries.
///
/// # Errors
/// Those of the store.
pub async fn numbers_of(app: &App, inbox: &Inbox) -> Result<Numbers> {
    let (head, _) = store::get_head(&*app.store, inbox).await?;
    Ok(Numbers { last: head.last, read_up_to: head.read_up_to })
}
