//! What can be done with notifications: put into an inbox, read from there.

use jiff::SignedDuration;

use super::{Inbox, InboxEntry, InboxHead, Notification, store};
use crate::app::App;
use crate::error::Result;
use crate::store::{Batch, Change, Expect, Once, Table, transact};

/// How long an entry of an inbox is kept.
const ENTRY_KEPT: SignedDuration = SignedDuration::from_hours(24 * 90);

/// Puts a notification into the inbox it is for, once, however often it is put there; what goes out through the other
/// channels is in the same commit. Returns the entry it is.
///
/// # Errors
/// Those of the store.
pub(super) async fn record(app: &App, notification: &Notification) -> Result<InboxEntry> {
    let inbox = Inbox::of(notification);
    transact(app, &Once::unkeyed(), Table::Notifications, || async {
        let mut batch = Batch::new(Table::Notifications);
        let seen_key = store::seen_key(&inbox, notification.id);
        if let Some(seen) = app.store.get(&seen_key).await? {
            let sequence = seen.parse_owned::<InboxHead>()?.last;
            return Ok(Change { batch, result: InboxEntry { sequence, notification: notification.clone() } });
        }
        let (head, version) = store::get_head(&*app.store, &inbox).await?;
        let expect = if version == 0 { Expect::Absent } else { Expect::Version(version) };
        let head = InboxHead { last: head.last + 1, ..head };
        let entry = InboxEntry { sequence: head.last, notification: notification.clone() };
        let expires_at = app.clock.now() + ENTRY_KEPT;
        batch.put(store::head_key(&inbox), expect, &head)?;
        batch.put_until(store::entry_key(&inbox, head.last), Expect::Absent, &entry, expires_at)?;
        batch.put_until(seen_key, Expect::Absent, &head, expires_at)?;
        Ok(Change { batch, result: entry })
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

/// The number of the newest entry of an inbox; 0 while there has been none.
///
/// # Errors
/// Those of the store.
pub async fn last_entry(app: &App, inbox: &Inbox) -> Result<u64> {
    store::get_head(&*app.store, inbox).await.map(|(head, _)| head.last)
}
