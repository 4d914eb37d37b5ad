//! Where access keeps what: the documents of API keys, and when they were used.

use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use crate::error::Result;
use crate::store::{Key, Range, Sharded, Store, Table};

use super::ApiKey;

fn all_keys() -> Sharded {
    Sharded::new(Table::Access, "KEYS")
}

/// The document of a key.
pub(super) fn key_key(id: &str) -> Key {
    all_keys().key(id)
}

/// The documents of all keys; their ids sort by time.
pub(super) fn keys() -> Vec<Range> {
    all_keys().all()
}

/// When a key was last used: apart from the key, so that whoever may note it cannot make keys.
pub(super) fn use_key(id: &str) -> Key {
    Key::new(Table::Access, format!("USE#{id}"), "USE")
}

fn all_entries() -> Sharded {
    Sharded::new(Table::Access, "AUDIT")
}

/// The key of an entry of the audit trail. The ids of events sort by time.
pub(super) fn audit_key(event: Uuid) -> Key {
    all_entries().key(event.to_string())
}

/// The audit trail, newest first.
pub(super) fn audit() -> Vec<Range> {
    all_entries().all_descending()
}

/// A sort key of the audit trail that is after all entries of this time.
pub(super) fn last_of_milli(at: Timestamp) -> String {
    let millis = u64::try_from(at.as_millisecond()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis + 1, &[0; 10]).into_uuid().to_string()
}

/// A key with its version.
pub(super) async fn find_key(store: &dyn Store, id: &str) -> Result<Option<(Arc<ApiKey>, u64)>> {
    let Some(doc) = store.get(&key_key(id)).await? else { return Ok(None) };
    Ok(Some((doc.parse()?, doc.version)))
}
