//! The keys of baskets, and typed reads of what is under them.
//!
//! ```text
//! BASKETS#<shard>    <user name>   the basket; all baskets, by user name, over the shards
//! CHECKOUT#<order>   CHECKOUT      a checkout that was accepted, for a day; without personal data
//! ```

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Basket, CheckoutBasket};
use crate::error::Result;
use crate::store::{Key, Range, Sharded, Store, Table};
use crate::values::{OrderId, Username};

fn all_baskets() -> Sharded {
    Sharded::new(Table::Basket, "BASKETS")
}

pub(super) fn basket_key(user: &Username) -> Key {
    all_baskets().key(user.key())
}

/// All baskets, by user name.
pub(super) fn baskets() -> Vec<Range> {
    all_baskets().all()
}

pub(super) fn checkout_key(order: &OrderId) -> Key {
    Key::new(Table::Basket, format!("CHECKOUT#{order}"), "CHECKOUT")
}

/// A checkout that was accepted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Checkout {
    /// When.
    pub at: Timestamp,
    /// What was said in its event, but for contact and card.
    pub basket: CheckoutBasket,
}

pub(super) async fn find_basket(store: &dyn Store, user: &Username) -> Result<Option<(Arc<Basket>, u64)>> {
    let doc = store.get(&basket_key(user)).await?;
    doc.map(|doc| Ok((doc.parse()?, doc.version))).transpose()
}

pub(super) async fn find_checkout(store: &dyn Store, order: &OrderId) -> Result<Option<Checkout>> {
    store.get(&checkout_key(order)).await?.map(|doc| doc.parse_owned()).transpose()
}
