//! The keys of items.
//!
//! ```text
//! ITEMS#<table>#<shard>   <id>   the item; all items of a table, by id, over the shards
//! ```

use crate::store::{Key, Range, Sharded, Table};

fn table_of(name: &str) -> Sharded {
    Sharded::new(Table::Operations, format!("ITEMS#{name}"))
}

pub(super) fn item_key(table: &str, id: &str) -> Key {
    table_of(table).key(id)
}

/// All items of a table, by id.
pub(super) fn items(table: &str) -> Vec<Range> {
    table_of(table).all()
}
