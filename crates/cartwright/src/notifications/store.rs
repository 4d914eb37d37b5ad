//! The keys of notifications, and typed reads of what is under them.
//!
//! ```text
//! INBOX#<whose>   HEAD                 how many entries there have been, and up to where they were read
//! INBOX#<whose>   ENTRY#<sequence>     an entry; sorts by its number
//! INBOX#<whose>   SEEN#<notification>  guard: the number of the entry that this notification became
//! MAIL#<notification>   MAIL           guard: its e-mail is done with
//! ```

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Inbox, InboxEntry, InboxHead};
use crate::error::Result;
use crate::store::{Doc, Key, MAX_PAGE, Page, Partition, Store, Table};

/// The sort key of the head.
const HEAD: &str = "HEAD";
/// The sort keys of entries begin so.
const ENTRY: &str = "ENTRY#";

/// A guard, which is also a part of the entry: the number of the entry that a notification became, and when what it tells of
/// happened.
#[derive(Serialize, Deserialize)]
pub(super) struct Numbered {
    pub(super) sequence: u64,
    pub(super) at: Timestamp,
}

fn partition(inbox: &Inbox) -> Partition {
    Partition::new(Table::Notifications, format!("INBOX#{}", inbox.key()))
}

pub(super) fn head_key(inbox: &Inbox) -> Key {
    partition(inbox).key(HEAD)
}

pub(super) fn entry_key(inbox: &Inbox, sequence: u64) -> Key {
    partition(inbox).key(entry_sk(sequence))
}

/// Padded, so that entries sort by their number.
pub(super) fn entry_sk(sequence: u64) -> String {
    format!("{ENTRY}{sequence:020}")
}

pub(super) fn seen_key(inbox: &Inbox, notification: Uuid) -> Key {
    partition(inbox).key(format!("SEEN#{notification}"))
}

pub(super) fn mail_key(notification: Uuid) -> Key {
    Key::new(Table::Notifications, format!("MAIL#{notification}"), "MAIL")
}

/// The head of an inbox and its version; that of an empty one, of version 0, where there is none yet.
pub(super) async fn get_head(store: &dyn Store, inbox: &Inbox) -> Result<(InboxHead, u64)> {
    head_of(store.get(&head_key(inbox)).await?.as_ref())
}

/// As [`get_head`], of a document that was read.
pub(super) fn head_of(doc: Option<&Doc>) -> Result<(InboxHead, u64)> {
    doc.map_or(Ok((InboxHead::default(), 0)), |doc| Ok((doc.parse_owned()?, doc.version)))
}

/// A page of the entries of an inbox, newest first.
pub(super) async fn list_newest(store: &dyn Store, inbox: &Inbox, after: Option<&str>, limit: usize) -> Result<Page> {
    store.list(&partition(inbox).starting_with(ENTRY).descending(), after, limit).await
}

/// A page of everything of an inbox but its head.
pub(super) async fn list_everything(store: &dyn Store, inbox: &Inbox, after: Option<&str>) -> Result<Page> {
    let mut page = store.list(&partition(inbox).all(), after, MAX_PAGE).await?;
    page.docs.retain(|doc| &*doc.sk != HEAD);
    Ok(page)
}

/// The key of a document that was listed.
pub(super) fn key_of(inbox: &Inbox, doc: &Doc) -> Key {
    partition(inbox).key(&*doc.sk)
}

/// The entries of an inbox with a number above `after`, in the order of their numbers.
pub(super) async fn list_after(store: &dyn Store, inbox: &Inbox, after: u64, limit: usize) -> Result<Vec<InboxEntry>> {
    let range = partition(inbox).starting_with(ENTRY);
    let page = store.list(&range, Some(&entry_sk(after)), limit).await?;
    page.docs.iter().map(|doc| doc.parse_owned()).collect()
}
