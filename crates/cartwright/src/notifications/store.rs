//! The keys of notifications, and typed reads of what is under them.
//!
//! ```text
//! INBOX#<whose>   HEAD                 how many entries there have been, and up to where they were read
//! INBOX#<whose>   ENTRY#<sequence>     an entry; sorts by its number
//! INBOX#<whose>   SEEN#<notification>  guard: the number of the entry that this notification became
//! ```

use uuid::Uuid;

use super::{Inbox, InboxEntry, InboxHead};
use crate::error::Result;
use crate::store::{Key, Partition, Store, Table};

/// The sort keys of entries begin so.
const ENTRY: &str = "ENTRY#";

fn partition(inbox: &Inbox) -> Partition {
    Partition::new(Table::Notifications, format!("INBOX#{}", inbox.key()))
}

pub(super) fn head_key(inbox: &Inbox) -> Key {
    partition(inbox).key("HEAD")
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

/// The head of an inbox and its version; that of an empty one, of version 0, where there is none yet.
pub(super) async fn get_head(store: &dyn Store, inbox: &Inbox) -> Result<(InboxHead, u64)> {
    let doc = store.get(&head_key(inbox)).await?;
    doc.map_or(Ok((InboxHead::default(), 0)), |doc| Ok((doc.parse_owned()?, doc.version)))
}

/// The entries of an inbox with a number above `after`, in the order of their numbers.
pub(super) async fn list_after(store: &dyn Store, inbox: &Inbox, after: u64, limit: usize) -> Result<Vec<InboxEntry>> {
    let range = partition(inbox).starting_with(ENTRY);
    let page = store.list(&range, Some(&entry_sk(after)), limit).await?;
    page.docs.iter().map(|doc| doc.parse_owned()).collect()
}
