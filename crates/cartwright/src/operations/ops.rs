//! What can be done with items: load → pure function → commit.

use std::collections::BTreeMap;

use super::{AttributeUpdate, Item, store};
use crate::app::App;
use crate::error::{Error, Kind, Result};
use crate::store::{Batch, Change, Expect, Once, Table, list_merged, transact};

fn no_such_item() -> Error {
    Error::not_found("item_not_found", "item with this id")
}

/// Adds an item.
///
/// # Errors
/// `item_exists` (409), `invalid_request` for a bad id.
pub async fn create(app: &App, once: &Once, table: &str, item: &Item) -> Result<Item> {
    let key = store::item_key(table, &item.id("/payload/Item")?);
    transact(app, once, Table::Operations, || async {
        if app.store.get(&key).await?.is_some() {
            return Err(Error::new(Kind::Conflict, "item_exists", "There is an item with this id already."));
        }
        let mut batch = Batch::new(Table::Operations);
        batch.put(key.clone(), Expect::Absent, item)?;
        Ok(Change { batch, result: item.clone() })
    })
    .await
}

/// One item.
///
/// # Errors
/// `item_not_found`, `invalid_request` for a bad key.
pub async fn read(app: &App, table: &str, key: &Item) -> Result<Item> {
    let doc = app.store.get(&store::item_key(table, &key.id("/payload/Key")?)).await?;
    doc.ok_or_else(no_such_item)?.parse_owned()
}

/// Changes members of an item.
///
/// # Errors
/// `item_not_found`, `invalid_request` for a bad key or update.
pub async fn update(
    app: &App,
    once: &Once,
    table: &str,
    key: &Item,
    updates: &BTreeMap<String, AttributeUpdate>,
) -> Result<Item> {
    let key = store::item_key(table, &key.id("/payload/Key")?);
    transact(app, once, Table::Operations, || async {
        let doc = app.store.get(&key).await?.ok_or_else(no_such_item)?;
        let updated = doc.parse_owned::<Item>()?.updated(updates)?;
        let mut batch = Batch::new(Table::Operations);
        batch.put(key.clone(), Expect::Version(doc.version), &updated)?;
        Ok(Change { batch, result: updated })
    })
    .await
}

/// Removes an item.
///
/// # Errors
/// `item_not_found`, `invalid_request` for a bad key.
pub async fn delete(app: &App, once: &Once, table: &str, key: &Item) -> Result<()> {
    let key = store::item_key(table, &key.id("/payload/Key")?);
    transact(app, once, Table::Operations, || async {
        let doc = app.store.get(&key).await?.ok_or_else(no_such_item)?;
        let mut batch = Batch::new(Table::Operations);
        batch.delete(key.clone(), Expect::Version(doc.version));
        Ok(Change { batch, result: () })
    })
    .await
}

/// A page of the items of a table, by id, after the one with the id `after`; and the id to go on after.
///
/// # Errors
/// Those of the store.
pub async fn list(app: &App, table: &str, after: Option<&str>, limit: usize) -> Result<(Vec<Item>, Option<String>)> {
    let page = list_merged(&*app.store, &store::items(table), after, limit).await?;
    let items = page.docs.iter().map(|doc| doc.parse_owned()).collect::<Result<_>>()?;
    Ok((items, page.next))
}
