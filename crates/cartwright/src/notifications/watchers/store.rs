//! The keys of watches, and typed reads of what is under them.
//!
//! ```text
//! WATCHERS#<product>    <user name>   the watch
//! WATCHES#<user name>   <product>     index: what a customer watches
//! ```

use std::sync::Arc;

use super::Watch;
use crate::error::Result;
use crate::store::{Key, Page, Partition, Store, Table};
use crate::values::{ProductId, Username};

/// Those who watch a product, by user name.
pub(super) fn watchers(product: ProductId) -> Partition {
    Partition::new(Table::Notifications, format!("WATCHERS#{product}"))
}

/// What a customer watches.
pub(super) fn watches(username: &Username) -> Partition {
    Partition::new(Table::Notifications, format!("WATCHES#{}", username.key()))
}

pub(super) fn watch_key(product: ProductId, username: &Username) -> Key {
    watchers(product).key(username.key())
}

pub(super) fn index_key(product: ProductId, username: &Username) -> Key {
    watches(username).key(product.to_string())
}

pub(super) async fn find_watch(
    store: &dyn Store,
    product: ProductId,
    username: &Username,
) -> Result<Option<(Arc<Watch>, u64)>> {
    let doc = store.get(&watch_key(product, username)).await?;
    doc.map(|doc| Ok((doc.parse()?, doc.version))).transpose()
}

/// A page of those who watch a product, by user name.
pub(super) async fn list_watchers(
    store: &dyn Store,
    product: ProductId,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<Watch>, Option<String>)> {
    let Page { docs, next } = store.list(&watchers(product).all(), after, limit).await?;
    Ok((docs.iter().map(|doc| doc.parse_owned()).collect::<Result<_>>()?, next))
}

/// A page of the products that a customer watches.
pub(super) async fn list_watches(
    store: &dyn Store,
    username: &Username,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<ProductId>, Option<String>)> {
    let Page { docs, next } = store.list(&watches(username).all(), after, limit).await?;
    Ok((docs.iter().filter_map(|doc| doc.sk.parse().ok()).collect(), next))
}
