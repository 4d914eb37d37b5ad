//! The lists products are found through besides their ids: all, by category, by the words of their names.
//!
//! An entry is written and removed in the commit that writes the product, so that no list lies for longer than a read takes.

use futures_util::future::try_join_all;

use super::ops::StockedProduct;
use super::store::{self, IndexEntry};
use super::words::{MIN_WORD_CHARS, Search, indexed_words};
use super::{Category, Product};
use crate::app::App;
use crate::error::{Error, Result};
use crate::rest::{List, Listing};
use crate::store::{Batch, Change, Cursor, Expect, Once, Table, transact};
use crate::values::ProductId;

/// Most times one request goes on along an index whose entries do not match.
const MAX_READS: usize = 5;
/// Products that are entered at the same time when a shop gets its index.
const PRODUCTS_AT_ONCE: usize = 50;

/// Adds to `batch` the entries of a product that had those of `before`, if it was there before.
///
/// # Errors
/// Those of reading.
pub(super) async fn enter(app: &App, batch: &mut Batch, before: Option<&Product>, after: &Product) -> Result<()> {
    let words = indexed_words(after.name.as_str());
    let known = before.map(|before| indexed_words(before.name.as_str())).unwrap_or_default();
    if let Some(before) = before {
        if before.category != after.category {
            leave_category(batch, before);
        }
        for word in known.difference(&words) {
            batch.delete(store::word_key(word, after.id), Expect::Anything);
        }
    } else {
        batch.put(store::index_key(None, after.id), Expect::Anything, &IndexEntry {})?;
    }
    if before.is_none_or(|before| before.category != after.category) {
        enter_category(app, batch, after).await?;
    }
    for word in words.difference(&known) {
        batch.put(store::word_key(word, after.id), Expect::Anything, &IndexEntry {})?;
    }
    Ok(())
}

/// Adds to `batch` that the entries of a product go.
pub(super) fn leave(batch: &mut Batch, product: &Product) {
    batch.delete(store::index_key(None, product.id), Expect::Anything);
    leave_category(batch, product);
    for word in indexed_words(product.name.as_str()) {
        batch.delete(store::word_key(&word, product.id), Expect::Anything);
    }
}

/// The name of a category stays in the list of names; it is left out there while no product has it. So no two products of
/// a category get in each other's way.
async fn enter_category(app: &App, batch: &mut Batch, product: &Product) -> Result<()> {
    if product.category.as_str().is_empty() {
        return Ok(());
    }
    batch.put(store::index_key(Some(&product.category), product.id), Expect::Anything, &IndexEntry {})?;
    let name = store::category_key(&product.category);
    if app.store.get(&name).await?.is_none() {
        batch.put(name, Expect::Anything, &IndexEntry {})?;
    }
    Ok(())
}

fn leave_category(batch: &mut Batch, product: &Product) {
    if !product.category.as_str().is_empty() {
        batch.delete(store::index_key(Some(&product.category), product.id), Expect::Anything);
    }
}

/// A page of the categories that have products, by name. May be shorter than asked for, also empty, before the last.
///
/// # Errors
/// `invalid_request` for a cursor of another list.
pub async fn list_categories(app: &App, list: &List) -> Result<Listing<Category>> {
    const SCOPE: &str = "categories";
    let after = list.after(SCOPE)?;
    let page = app.store.list(&store::categories(), after.as_deref(), list.limit()).await?;
    let names = page.docs.iter().filter_map(|doc| Category::try_from(doc.sk.to_string()).ok());
    let looked = try_join_all(names.map(|name| async move {
        let products = app.store.list(&store::index(Some(&name)).all(), None, 1).await?;
        Ok::<_, Error>((!products.docs.is_empty()).then_some(name))
    }));
    let items = looked.await?.into_iter().flatten().collect();
    Ok(Listing { items, next: page.next.map(|sk| Cursor::new(SCOPE, &sk)) })
}

/// A page of the products with words that begin as those of `text` do, each of them; of one category, or of all. May be
/// shorter than asked for, also empty, before the last.
///
/// # Errors
/// `invalid_request` when no word is long enough, or for a cursor of another list.
pub async fn search_products(
    app: &App,
    text: &str,
    category: Option<&Category>,
    list: &List,
) -> Result<Listing<StockedProduct>> {
    let too_short =
        || Error::field("?search", format!("must have a word of at least {MIN_WORD_CHARS} letters or digits"));
    let search = Search::of(text).ok_or_else(too_short)?;
    let scope = format!("products with {}", search.lead);
    let (mut after, mut items) = (list.after(&scope)?, Vec::new());
    for _ in 0..MAX_READS {
        let page = app.store.list(&store::words(&search.lead), after.as_deref(), list.limit() - items.len()).await?;
        let listed: Vec<(&str, ProductId)> = page.docs.iter().filter_map(|doc| store::word_of(&doc.sk)).collect();
        for listed in listed.chunks(store::MAX_PRODUCTS_AT_ONCE) {
            let ids: Vec<ProductId> = listed.iter().map(|(_, id)| *id).collect();
            let found = store::find_products(&*app.store, &ids).await?;
            let matching = listed.iter().zip(found).filter_map(|((word, _), found)| {
                let product = found?;
                let is_of_it = category.is_none_or(|category| *category == product.product.category);
                (is_of_it && search.finds(product.product.name.as_str(), word)).then(|| product.into())
            });
            items.extend(matching);
        }
        after = page.next;
        if after.is_none() || items.len() >= list.limit() {
            break;
        }
    }
    Ok(Listing { items, next: after.map(|sk| Cursor::new(&scope, &sk)) })
}

/// Enters the products of a shop that was made before there were lists of categories and words. The oldest is entered last,
/// so that it tells whether this was done, and whether it has to go on where it was interrupted; entering a product again
/// changes nothing.
///
/// # Errors
/// Those of the store.
pub async fn ensure_indexed(app: &App) -> Result<()> {
    let (oldest, _) = store::list_ids(&*app.store, None, None, 1).await?;
    let Some(&oldest) = oldest.first() else { return Ok(()) };
    if is_entered(app, oldest).await? {
        return Ok(());
    }
    let (all, mut after) = (store::index(None).all().descending(), None);
    loop {
        let page = app.store.list(&all, after.as_deref(), PRODUCTS_AT_ONCE).await?;
        let ids = page.docs.iter().filter_map(|doc| doc.sk.parse().ok()).filter(|&id| id != oldest);
        try_join_all(ids.map(|id| enter_again(app, id))).await?;
        after = page.next;
        if after.is_none() {
            return enter_again(app, oldest).await;
        }
    }
}

/// Whether a product is listed under a word of its name; true when that has none.
async fn is_entered(app: &App, id: ProductId) -> Result<bool> {
    let Some(found) = store::find_product(&*app.store, id).await? else { return Ok(true) };
    match indexed_words(found.product.name.as_str()).first() {
        Some(word) => Ok(app.store.get(&store::word_key(word, id)).await?.is_some()),
        None => Ok(true),
    }
}

async fn enter_again(app: &App, id: ProductId) -> Result<()> {
    transact(app, &Once::unkeyed(), Table::Catalog, || async {
        let mut batch = Batch::new(Table::Catalog);
        if let Some(found) = store::find_product(&*app.store, id).await? {
            enter(app, &mut batch, None, &found.product).await?;
        }
        Ok(Change { batch, result: () })
    })
    .await
}
