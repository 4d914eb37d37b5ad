//! The catalogue's keys, and typed reads of what is under them.
//!
//! ```text
//! PRODUCT#<id>          PRODUCT             the product
//!                       STOCK               its stock, when tracked
//!                       ALERT               whether it was announced as depleted
//!                       MOVEMENT#<id>       its ledger, by time
//! PRODUCTS              <id>                index: all products, by age
//! CATEGORY#<category>   <id>                index: products of a category, by age
//! CATEGORIES            <category>          index: the categories that have or had products
//! WORDS#<two letters>   <word>#<id>         index: products by the words of their names
//! RESERVATION#<order>   RESERVATION         what an order holds
//! SHOP                  SETTINGS            what is fixed once there are prices
//! ```

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::words::MIN_WORD_CHARS;
use super::{Category, Product, Reservation, Stock};
use crate::error::Result;
use crate::store::{Doc, Key, Page, Partition, Range, Store, Table};
use crate::values::{OrderId, ProductId};

const MOVEMENT: &str = "MOVEMENT#";
/// Most products that are read with their stock in one go: half of what one read of many keys may name.
pub(super) const MAX_PRODUCTS_AT_ONCE: usize = crate::store::MAX_GET_MANY / 2;

fn partition(id: ProductId) -> Partition {
    Partition::new(Table::Catalog, format!("PRODUCT#{id}"))
}

pub(super) fn product_key(id: ProductId) -> Key {
    partition(id).key("PRODUCT")
}

pub(super) fn stock_key(id: ProductId) -> Key {
    partition(id).key("STOCK")
}

pub(super) fn alert_key(id: ProductId) -> Key {
    partition(id).key("ALERT")
}

pub(super) fn movement_key(id: ProductId, movement: uuid::Uuid) -> Key {
    partition(id).key(format!("{MOVEMENT}{movement}"))
}

/// A product's movements, newest first.
pub(super) fn movements(id: ProductId) -> Range {
    partition(id).starting_with(MOVEMENT).descending()
}

/// The index a list of products goes through: of one category, or all.
pub(super) fn index(category: Option<&Category>) -> Partition {
    match category {
        Some(category) => Partition::new(Table::Catalog, format!("CATEGORY#{}", category.as_str())),
        None => Partition::new(Table::Catalog, "PRODUCTS"),
    }
}

pub(super) fn index_key(category: Option<&Category>, id: ProductId) -> Key {
    index(category).key(id.to_string())
}

/// The categories that have or had products.
pub(super) fn categories() -> Range {
    Partition::new(Table::Catalog, "CATEGORIES").all()
}

pub(super) fn category_key(category: &Category) -> Key {
    Partition::new(Table::Catalog, "CATEGORIES").key(category.as_str())
}

fn word_partition(word: &str) -> Partition {
    let letters: String = word.chars().take(MIN_WORD_CHARS).collect();
    Partition::new(Table::Catalog, format!("WORDS#{letters}"))
}

pub(super) fn word_key(word: &str, id: ProductId) -> Key {
    word_partition(word).key(format!("{word}#{id}"))
}

/// The entries of words that begin so, by word and age. `beginning` has at least [`MIN_WORD_CHARS`] characters.
pub(super) fn words(beginning: &str) -> Range {
    word_partition(beginning).starting_with(beginning)
}

/// The word and the product of an entry.
pub(super) fn word_of(sk: &str) -> Option<(&str, ProductId)> {
    let (word, id) = sk.rsplit_once('#')?;
    Some((word, id.parse().ok()?))
}

pub(super) fn reservation_key(order: &OrderId) -> Key {
    Key::new(Table::Catalog, format!("RESERVATION#{order}"), "RESERVATION")
}

pub(super) fn settings_key() -> Key {
    Key::new(Table::Catalog, "SHOP", "SETTINGS")
}

/// An index entry: its key says it all.
#[derive(Serialize)]
pub(super) struct IndexEntry {}

/// Whether a product was last announced as depleted.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Alert {
    pub(super) depleted: bool,
}

/// A product and its stock as read together, with the versions of both documents.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) product: Arc<Product>,
    pub(super) product_version: u64,
    pub(super) stock: Option<(Stock, u64)>,
}

impl Found {
    fn of(product: Option<&Doc>, stock: Option<&Doc>) -> Result<Option<Found>> {
        let Some(product) = product else { return Ok(None) };
        let stock = stock.map(|doc| doc.parse::<Stock>().map(|stock| (*stock, doc.version))).transpose()?;
        Ok(Some(Found { product: product.parse()?, product_version: product.version, stock }))
    }
}

pub(super) async fn find_product(store: &dyn Store, id: ProductId) -> Result<Option<Found>> {
    let docs = store.get_many(&[product_key(id), stock_key(id)]).await?;
    Found::of(docs[0].as_ref(), docs[1].as_ref())
}

/// The products under `ids`, in their order. At most fifty, so that their documents and their stocks are one read.
pub(super) async fn find_products(store: &dyn Store, ids: &[ProductId]) -> Result<Vec<Option<Found>>> {
    let keys: Vec<Key> = ids.iter().flat_map(|&id| [product_key(id), stock_key(id)]).collect();
    let docs = store.get_many(&keys).await?;
    docs.chunks(2).map(|pair| Found::of(pair[0].as_ref(), pair[1].as_ref())).collect()
}

pub(super) async fn find_reservation(store: &dyn Store, order: &OrderId) -> Result<Option<(Arc<Reservation>, u64)>> {
    let doc = store.get(&reservation_key(order)).await?;
    doc.map(|doc| Ok((doc.parse()?, doc.version))).transpose()
}

pub(super) async fn list_ids(
    store: &dyn Store,
    category: Option<&Category>,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<ProductId>, Option<String>)> {
    let Page { docs, next } = store.list(&index(category).all(), after, limit).await?;
    let ids = docs.iter().filter_map(|doc| doc.sk.parse().ok()).collect();
    Ok((ids, next))
}
