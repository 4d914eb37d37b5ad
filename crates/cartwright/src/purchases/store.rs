//! The keys of purchases, and typed reads of what is under them.
//!
//! ```text
//! PURCHASE#<id>         HEAD                what the door accepted last
//!                       RECORD              what the queue made of it; stays when it is deleted
//!                       SUMMED#<version>    this version is in the sums
//! PURCHASES#<shard>     <id>                index: stored purchases, by age, over the shards
//! SUMS#<by>#<shard>     <product|category|day>   the sums, over the shards
//! ```

use std::sync::Arc;

use serde::Serialize;

use super::{By, PurchaseId, Revision, Standing, Stored, Version};
use crate::error::Result;
use crate::store::{Doc, Key, Partition, Range, Sharded, Store, Table};

fn partition(id: PurchaseId) -> Partition {
    Partition::new(Table::Purchases, format!("PURCHASE#{id}"))
}

pub(super) fn head_key(id: PurchaseId) -> Key {
    partition(id).key("HEAD")
}

pub(super) fn record_key(id: PurchaseId) -> Key {
    partition(id).key("RECORD")
}

pub(super) fn summed_key(id: PurchaseId, version: Version) -> Key {
    partition(id).key(format!("SUMMED#{version:010}"))
}

fn stored_purchases() -> Sharded {
    Sharded::new(Table::Purchases, "PURCHASES")
}

pub(super) fn index_key(id: PurchaseId) -> Key {
    stored_purchases().key(id.to_string())
}

/// The index of stored purchases, newest first.
pub(super) fn index() -> Vec<Range> {
    stored_purchases().all_descending()
}

fn all_sums(by: By) -> Sharded {
    Sharded::new(Table::Purchases, format!("SUMS#{}", by.name()))
}

pub(super) fn sum_key(by: By, key: &str) -> Key {
    all_sums(by).key(key)
}

/// All sums of one kind: by key, days from the newest.
pub(super) fn sums(by: By) -> Vec<Range> {
    match by {
        By::Product | By::Category => all_sums(by).all(),
        By::Day => all_sums(by).all_descending(),
    }
}

/// A document whose key says it all.
#[derive(Serialize)]
pub(super) struct Mark {}

/// A purchase as the door and the queue know it, with the version of the head's document.
pub(super) struct Found {
    pub(super) standing: Option<Standing>,
    pub(super) head_version: Option<u64>,
}

/// The purchases under `ids`, in their order. At most fifty, so that both documents of each are one read.
pub(super) async fn find_purchases(store: &dyn Store, ids: &[PurchaseId]) -> Result<Vec<Found>> {
    let keys: Vec<Key> = ids.iter().flat_map(|&id| [head_key(id), record_key(id)]).collect();
    let docs = store.get_many(&keys).await?;
    let found = |pair: &[Option<Doc>]| {
        let head: Option<Arc<Revision>> = pair[0].as_ref().map(|doc| doc.parse()).transpose()?;
        let stored: Option<Arc<Stored>> = pair[1].as_ref().map(|doc| doc.parse()).transpose()?;
        let standing = Standing::of(head.as_deref(), stored.as_deref());
        Ok(Found { standing, head_version: pair[0].as_ref().map(|doc| doc.version) })
    };
    docs.chunks(2).map(found).collect()
}

pub(super) async fn find_purchase(store: &dyn Store, id: PurchaseId) -> Result<Found> {
    let mut found = find_purchases(store, &[id]).await?;
    Ok(found.pop().expect("one answer for one id"))
}

/// What the queue made of a purchase, and the version of the document; nothing and none before the first message.
pub(super) async fn find_stored(store: &dyn Store, id: PurchaseId) -> Result<(Arc<Stored>, Option<u64>)> {
    match store.get(&record_key(id)).await? {
        Some(doc) => Ok((doc.parse()?, Some(doc.version))),
        None => Ok((Arc::default(), None)),
    }
}
