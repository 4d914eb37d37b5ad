//! What can be done with the catalogue: load → pure function → commit.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::store::{self, Alert, Found};
use super::{
    Availability, Category, Movement, MovementId, MovementKind, NewProduct, Note, Product, ProductPatch,
    ProductRemoved, Stock, StockChange, StockCount, StockMoved, index,
};
use crate::app::App;
use crate::error::{Error, Kind, Result};
use crate::events::Event;
use crate::rest::{IfMatch, List, Listing};
use crate::store::{Adjustment, Batch, Change, Cursor, Doc, Expect, Key, Once, Store, Table, transact};
use crate::values::ProductId;

/// A product with its stock and the versions of both.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StockedProduct {
    /// The product.
    pub product: Arc<Product>,
    /// How often it was written.
    pub product_version: u64,
    /// Its stock, when tracked.
    pub stock: Option<Stock>,
    /// How often that was written; 0 when not tracked.
    pub stock_version: u64,
}

impl StockedProduct {
    /// The entity tag: `"product.stock"`, changes with either.
    pub fn etag(&self) -> String {
        format!("\"{}.{}\"", self.product_version, self.stock_version)
    }

    /// Whoever changes the product need only have seen its newest version: stock moves with every order, and must not
    /// get in the way of mending a description.
    fn check_product(&self, if_match: &IfMatch) -> Result<()> {
        let version = self.product_version.to_string();
        if_match.check_by(|tag| tag.split('.').next() == Some(&version), &self.etag())
    }

    /// Whoever counts the stock must have seen its newest version.
    fn check_stock(&self, if_match: &IfMatch) -> Result<()> {
        let version = self.stock_version.to_string();
        if_match.check_by(|tag| tag.split('.').nth(1) == Some(&version), &self.etag())
    }
}

impl From<Found> for StockedProduct {
    fn from(found: Found) -> Self {
        let (stock, stock_version) = found.stock.map_or((None, 0), |(stock, version)| (Some(stock), version));
        StockedProduct { product: found.product, product_version: found.product_version, stock, stock_version }
    }
}

fn no_such_product() -> Error {
    Error::not_found("product_not_found", "such product")
}

/// One product.
///
/// # Errors
/// `product_not_found`.
pub async fn get_product(app: &App, id: ProductId) -> Result<StockedProduct> {
    let found = store::find_product(&*app.store, id).await?;
    found.map(StockedProduct::from).ok_or_else(no_such_product)
}

/// A page of products by age, oldest first; of one category, or of all.
///
/// # Errors
/// `invalid_request` for a cursor of another list.
pub async fn list_products(app: &App, category: Option<&Category>, list: &List) -> Result<Listing<StockedProduct>> {
    let scope = category.map_or_else(|| "products".to_owned(), |category| format!("products of {}", category.as_str()));
    let after = list.after(&scope)?;
    let (ids, next) = store::list_ids(&*app.store, category, after.as_deref(), list.limit()).await?;
    let mut items = Vec::with_capacity(ids.len());
    for ids in ids.chunks(store::MAX_PRODUCTS_AT_ONCE) {
        items.extend(store::find_products(&*app.store, ids).await?.into_iter().flatten().map(StockedProduct::from));
    }
    Ok(Listing { items, next: next.map(|sk| Cursor::new(&scope, &sk)) })
}

/// The products under `ids` as the catalogue offers them now, in their order; `None` for an id it does not know. The
/// read the basket is allowed: names and prices come from here, never from a client.
///
/// # Errors
/// Those of the store.
pub async fn quote(app: &App, ids: &[ProductId]) -> Result<Vec<Option<Arc<Product>>>> {
    let keys: Vec<_> = ids.iter().map(|&id| store::product_key(id)).collect();
    let docs = app.store.get_many(&keys).await?;
    docs.iter().map(|doc| doc.as_ref().map(|doc| doc.parse()).transpose()).collect()
}

/// Whether a product can be had now, if it is there. The read notifications are allowed.
///
/// # Errors
/// Those of the store.
pub async fn find_availability(app: &App, id: ProductId) -> Result<Option<Availability>> {
    let docs = app.store.get_many(&[store::product_key(id), store::stock_key(id), store::alert_key(id)]).await?;
    let Some(product) = &docs[0] else { return Ok(None) };
    let stock = docs[1].as_ref().map(|doc| doc.parse::<Stock>()).transpose()?;
    let alert = docs[2].as_ref().map(|doc| doc.parse::<Alert>()).transpose()?;
    Ok(Some(Availability {
        name: product.parse::<Product>()?.name.clone(),
        available: stock.map(|stock| stock.available),
        is_depleted: alert.is_some_and(|alert| alert.depleted),
    }))
}

/// Creates a product, with its first stock when that is tracked.
///
/// # Errors
/// `invalid_request` for a price in another currency or below 0.
pub async fn create_product(app: &App, once: &Once, new: NewProduct) -> Result<StockedProduct> {
    new.price.as_price(app.config.currency, "/price")?;
    transact(app, once, Table::Catalog, || async {
        let now = app.clock.now();
        let new = new.clone();
        let product = Product {
            id: new.id.unwrap_or_else(|| app.new_product_id()),
            name: new.name,
            description: new.description,
            image_file: new.image_file,
            category: new.category,
            price: new.price,
            created_at: now,
            updated_at: now,
        };
        let mut batch = Batch::new(Table::Catalog);
        batch.put(store::product_key(product.id), Expect::Absent, &product)?;
        index::enter(app, &mut batch, None, &product).await?;
        let stock = match new.stock {
            Some(count) => Some(start_stock(app, &mut batch, product.id, count)?),
            None => None,
        };
        let stock_version = u64::from(stock.is_some());
        let result = StockedProduct { product: Arc::new(product), product_version: 1, stock, stock_version };
        Ok(Change { batch, result })
    })
    .await
}

/// Changes the fields named in `patch`, and the stock if it is among them.
///
/// # Errors
/// `product_not_found`, `precondition_failed`, `stock_reserved`, `stock_too_large`, `invalid_request` for an empty patch or a bad price.
pub async fn update_product(
    app: &App,
    id: ProductId,
    if_match: &IfMatch,
    patch: ProductPatch,
) -> Result<StockedProduct> {
    if !patch.touches_product() && patch.available.is_none() {
        return Err(Error::field("", "must name at least one field to change"));
    }
    patch.price.map(|price| price.as_price(app.config.currency, "/price")).transpose()?;
    transact(app, &Once::unkeyed(), Table::Catalog, || async {
        let found = store::find_product(&*app.store, id).await?.ok_or_else(no_such_product)?;
        let mut after = StockedProduct::from(found);
        after.check_product(if_match)?;
        let mut batch = Batch::new(Table::Catalog);
        if let Some(count) = patch.available {
            let on_hand = count.get() + after.stock.map_or(0, Stock::reserved);
            set_stock(app, &mut batch, id, &mut after, on_hand, None)?;
        }
        if patch.touches_product() {
            let changed = patch.apply(&after.product, app.clock.now());
            batch.put(store::product_key(id), Expect::Version(after.product_version), &changed)?;
            index::enter(app, &mut batch, Some(&after.product), &changed).await?;
            after.product_version += 1;
            after.product = Arc::new(changed);
        }
        Ok(Change { batch, result: after })
    })
    .await
}

/// Removes a product from the catalogue, with its stock. Orders that hold it keep their lines; its ledger stays, and is
/// closed by a line that takes it to nothing.
///
/// # Errors
/// `product_not_found`, `precondition_failed`.
pub async fn delete_product(app: &App, id: ProductId, if_match: &IfMatch) -> Result<()> {
    transact(app, &Once::unkeyed(), Table::Catalog, || async {
        let found = store::find_product(&*app.store, id).await?.ok_or_else(no_such_product)?;
        let before = StockedProduct::from(found);
        before.check_product(if_match)?;
        let mut batch = Batch::new(Table::Catalog);
        batch.delete(store::product_key(id), Expect::Version(before.product_version));
        index::leave(&mut batch, &before.product);
        batch.delete(store::alert_key(id), Expect::Anything);
        batch.emit(app.envelope(&Event::ProductRemoved(ProductRemoved { product_id: id, at: app.clock.now() })));
        if let Some(stock) = before.stock {
            batch.delete(store::stock_key(id), Expect::Version(before.stock_version));
            let change = StockChange { product_id: id, on_hand: -stock.on_hand, available: -stock.available };
            book(app, &mut batch, MovementKind::Removed, change, None)?;
        }
        Ok(Change { batch, result: () })
    })
    .await
}

/// Puts the books right after counting: `count` pieces are on hand. Starts tracking if stock was not tracked.
///
/// # Errors
/// `product_not_found`, `precondition_failed`, `stock_reserved` when orders hold more than were counted, `stock_too_large`.
pub async fn count_stock(
    app: &App,
    id: ProductId,
    if_match: &IfMatch,
    count: StockCount,
    note: Option<Note>,
) -> Result<StockedProduct> {
    transact(app, &Once::unkeyed(), Table::Catalog, || async {
        let found = store::find_product(&*app.store, id).await?.ok_or_else(no_such_product)?;
        let mut after = StockedProduct::from(found);
        after.check_stock(if_match)?;
        let mut batch = Batch::new(Table::Catalog);
        set_stock(app, &mut batch, id, &mut after, count.get(), note.clone())?;
        Ok(Change { batch, result: after })
    })
    .await
}

/// Books goods that came in (positive) or were written off (negative).
///
/// # Errors
/// `product_not_found`, `stock_not_tracked`, `stock_insufficient`, `stock_reserved`, `stock_too_large`.
pub async fn move_stock(
    app: &App,
    once: &Once,
    id: ProductId,
    kind: MovementKind,
    by: i64,
    note: Option<Note>,
) -> Result<Movement> {
    transact(app, once, Table::Catalog, || async {
        let found = store::find_product(&*app.store, id).await?.ok_or_else(no_such_product)?;
        let Some((stock, _)) = found.stock else {
            let message = "The stock of this product is not tracked; count it first (PUT its stock).";
            return Err(Error::new(Kind::Conflict, "stock_not_tracked", message));
        };
        stock.change(by)?;
        let mut batch = Batch::new(Table::Catalog);
        let fields = vec![
            Adjustment { field: "onHand", by, at_least: Some(0) },
            Adjustment { field: "available", by, at_least: Some(0) },
        ];
        batch.adjust(store::stock_key(id), fields);
        let change = StockChange { product_id: id, on_hand: by, available: by };
        let movement = book(app, &mut batch, kind, change, note.clone())?;
        Ok(Change { batch, result: movement })
    })
    .await
}

/// One line of a product's ledger.
///
/// # Errors
/// `movement_not_found`.
pub async fn get_movement(app: &App, id: ProductId, movement: MovementId) -> Result<Arc<Movement>> {
    let doc = app.store.get(&store::movement_key(id, movement.0)).await?;
    doc.ok_or_else(|| Error::not_found("movement_not_found", "such line in the ledger"))?.parse()
}

/// A page of a product's ledger, newest first.
///
/// # Errors
/// `product_not_found`, `invalid_request` for a cursor of another list.
pub async fn list_movements(app: &App, id: ProductId, list: &List) -> Result<Listing<Arc<Movement>>> {
    let scope = format!("movements of {id}");
    let after = list.after(&scope)?;
    get_product(app, id).await?;
    let page = app.store.list(&store::movements(id), after.as_deref(), list.limit()).await?;
    let items = page.docs.iter().map(|doc| doc.parse()).collect::<Result<_>>()?;
    Ok(Listing { items, next: page.next.map(|sk| Cursor::new(&scope, &sk)) })
}

/// Adds to `batch` what makes `on_hand` pieces the stock of a product, and makes `after` show it.
fn set_stock(
    app: &App,
    batch: &mut Batch,
    id: ProductId,
    after: &mut StockedProduct,
    on_hand: i64,
    note: Option<Note>,
) -> Result<()> {
    let (before, expect) = match after.stock {
        Some(stock) => (stock, Expect::Version(after.stock_version)),
        None => (Stock { on_hand: 0, available: 0 }, Expect::Absent),
    };
    let by = on_hand - before.on_hand;
    if by == 0 && after.stock.is_some() {
        return Ok(());
    }
    let changed = before.change(by)?;
    batch.put(store::stock_key(id), expect, &changed)?;
    book(app, batch, MovementKind::Counted, StockChange { product_id: id, on_hand: by, available: by }, note)?;
    after.stock = Some(changed);
    after.stock_version += 1;
    Ok(())
}

fn start_stock(app: &App, batch: &mut Batch, id: ProductId, count: StockCount) -> Result<Stock> {
    let stock = Stock { on_hand: count.get(), available: count.get() };
    batch.put(store::stock_key(id), Expect::Absent, &stock)?;
    let change = StockChange { product_id: id, on_hand: count.get(), available: count.get() };
    book(app, batch, MovementKind::Received, change, None)?;
    Ok(stock)
}

/// Adds to `batch` the ledger line of a change made by hand and its event. They share one id, so that the event's
/// consumer, which books the lines of orders, finds this one booked.
fn book(app: &App, batch: &mut Batch, kind: MovementKind, change: StockChange, note: Option<Note>) -> Result<Movement> {
    let moved = StockMoved { kind, order_id: None, note: note.clone(), changes: vec![change] };
    let envelope = app.envelope(&Event::StockMoved(moved));
    let StockChange { product_id, on_hand, available } = change;
    let movement = Movement { id: envelope.id, kind, on_hand, available, order_id: None, note, at: envelope.time };
    batch.put(store::movement_key(product_id, envelope.id), Expect::Absent, &movement)?;
    batch.emit(envelope);
    Ok(movement)
}

/// Makes sure that the shop's currency is the one its prices were entered in; the first start decides.
///
/// # Errors
/// `currency_fixed` when the file belongs to a shop of another currency.
pub async fn pin_currency(app: &App) -> Result<()> {
    let key = store::settings_key();
    let wanted = Settings { currency: app.config.currency };
    transact(app, &Once::unkeyed(), Table::Catalog, || async {
        let mut batch = Batch::new(Table::Catalog);
        match find_currency(&*app.store).await? {
            None => {
                batch.put(key.clone(), Expect::Absent, &wanted)?;
            }
            Some(pinned) => {
                if pinned != wanted.currency {
                    let message = format!(
                        "This shop's prices are in {0}, not {1}: start it with --currency {0}, or choose another folder.",
                        pinned.code(),
                        wanted.currency.code()
                    );
                    return Err(Error::new(Kind::Conflict, "currency_fixed", message));
                }
            }
        }
        Ok(Change { batch, result: () })
    })
    .await
}

/// Where it is kept what is fixed once the shop has prices: its currency.
pub fn settings_key() -> Key {
    store::settings_key()
}

/// The currency in the document under [`settings_key`].
///
/// # Errors
/// `internal` when it is unreadable.
pub fn currency_of(settings: &Doc) -> Result<iso_currency::Currency> {
    Ok(settings.parse::<Settings>()?.currency)
}

/// The currency of the shop in `store`, once it was started.
///
/// # Errors
/// Those of the store.
pub async fn find_currency(store: &dyn Store) -> Result<Option<iso_currency::Currency>> {
    store.get(&settings_key()).await?.map(|settings| currency_of(&settings)).transpose()
}

/// What is fixed once the shop has prices.
#[derive(Serialize, Deserialize)]
struct Settings {
    currency: iso_currency::Currency,
}
