//! The keys of baskets, and typed reads of what is under them.
//!
//! ```text
//! BASKETS#<shard>    <user name>   the basket; all baskets, by user name, over the shards
//! CHECKOUT#<order>   CHECKOUT      a checkout that was accepted, for a day
//! ```

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Basket, CheckoutBasket};
use crate::error::Result;
use crate::store::{Key, Partition, Range, Store, Table, shard_of};
use crate::values::{OrderId, Username};

/// Shards of the baskets, so that writing them is spread while they can still be listed. Fixed for ever: keys depend on it.
const SHARDS: usize = 16;

fn partition(shard: usize) -> Partition {
    Partition::new(Table::Basket, format!("BASKETS#{shard:02}"))
}

pub(super) fn basket_key(user: &Username) -> Key {
    let key = user.key();
    partition(shard_of(&key, SHARDS)).key(key)
}

/// All baskets, by user name.
pub(super) fn baskets() -> Vec<Range> {
    (0..SHARDS).map(|shard| partition(shard).all()).collect()
}

pub(super) fn checkout_key(order: &OrderId) -> Key {
    Key::new(Table::Basket, format!("CHECKOUT#{order}"), "CHECKOUT")
}

/// A checkout that was accepted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Checkout {
    /// When.
    pub at: Timestamp,
    /// What was said in its event.
    pub basket: CheckoutBasket,
}

pub(super) async fn find_basket(store: &dyn Store, user: &Username) -> Result<Option<(Arc<Basket>, u64)>> {
    let doc = store.get(&basket_key(user)).await?;
    doc.map(|doc| Ok((doc.parse()?, doc.version))).transpose()
}

pub(super) async fn find_checkout(store: &dyn Store, order: &OrderId) -> Result<Option<Checkout>> {
    store.get(&checkout_key(order)).await?.map(|doc| doc.parse_owned()).transpose()
}
