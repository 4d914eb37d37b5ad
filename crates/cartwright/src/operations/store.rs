//! The keys of items.
//!
//! ```text
//! ITEMS#<table>#<shard>   <id>   the item; all items of a table, by id, over the shards
//! ```

use crate::store::{Key, Partition, Range, Table, shard_of};

/// Shards of a table. Fixed for ever: keys depend on it.
const SHARDS: usize = 16;

fn partition(table: &str, shard: usize) -> Partition {
    Partition::new(Table::Operations, format!("ITEMS#{table}#{shard:02}"))
}

pub(super) fn item_key(table: &str, id: &str) -> Key {
    partition(table, shard_of(id, SHARDS)).key(id)
}

/// All items of a table, by id.
pub(super) fn items(table: &str) -> Vec<Range> {
    (0..SHARDS).map(|shard| partition(table, shard).all()).collect()
}
