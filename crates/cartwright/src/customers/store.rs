//! The keys of customers, and typed reads of what is under them.
//!
//! ```text
//! CUSTOMER#<user name>   CUSTOMER#<user name>   the profile; sorts after the customer's orders, so first when read backward
//! EMAIL#<address>        EMAIL                  guard: whose address it is
//! CUSTOMERS#<shard>      <user name>            index: all customers, by user name, over the shards
//! ERASED#<user name>     ERASED                 the last customer of this name that was erased
//! ```

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Customer, email_key};
use crate::error::Result;
use crate::store::{Doc, Key, Range, Sharded, Store, Table};
use crate::values::{Email, Username};

/// The key of a profile. Orders that must belong to a customer check it.
pub fn profile_key(username: &Username) -> Key {
    let key = format!("CUSTOMER#{}", username.key());
    Key::new(Table::Ordering, key.clone(), key)
}

/// Whether a document of a customer's partition is the profile.
pub fn is_profile(doc: &Doc) -> bool {
    doc.sk.starts_with("CUSTOMER#")
}

pub(super) fn email_guard_key(email: &Email) -> Key {
    Key::new(Table::Ordering, format!("EMAIL#{}", email_key(email)), "EMAIL")
}

pub(super) fn index_key(username: &Username) -> Key {
    all_customers().key(username.key())
}

fn all_customers() -> Sharded {
    Sharded::new(Table::Ordering, "CUSTOMERS")
}

pub(super) fn index() -> Vec<Range> {
    all_customers().all()
}

/// The key of what stays of an erased customer.
pub fn tombstone_key(username: &Username) -> Key {
    Key::new(Table::Ordering, format!("ERASED#{}", username.key()), "ERASED")
}

/// A guard, or an entry of the index: whose it is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Owner {
    pub(super) username: Username,
}

pub(super) async fn find_customer(store: &dyn Store, username: &Username) -> Result<Option<(Arc<Customer>, u64)>> {
    let doc = store.get(&profile_key(username)).await?;
    doc.map(|doc| Ok((doc.parse()?, doc.version))).transpose()
}
