//! The catalogue under `/v1`: parse, call an operation, answer.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ops::{self, StockedProduct};
use super::{
    Category, Description, ImageFile, Movement, MovementId, MovementKind, NewProduct, Note, Product, ProductName,
    ProductPatch, Stock, StockCount, index,
};
use crate::app::App;
use crate::error::{Error, Result};
use crate::rest::{IfMatch, Items, Kept, List, NoContent, Params, Post, Put, Reply, Segment};
use crate::store::Table;
use crate::values::{Money, ProductId, Text};

/// A product as `/v1` shows it.
#[derive(Serialize, ToSchema)]
pub struct ProductView {
    #[serde(flatten)]
    product: Arc<Product>,
    /// Its stock; null when stock is not tracked and the product is always available.
    stock: Option<StockView>,
}

/// The stock of a product.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StockView {
    /// Pieces in the house.
    on_hand: i64,
    /// Pieces promised to orders that have not left yet.
    reserved: i64,
    /// Pieces that may still be sold.
    available: i64,
}

impl From<Stock> for StockView {
    fn from(stock: Stock) -> Self {
        StockView { on_hand: stock.on_hand, reserved: stock.reserved(), available: stock.available }
    }
}

impl From<StockedProduct> for ProductView {
    fn from(stocked: StockedProduct) -> Self {
        ProductView { product: stocked.product, stock: stocked.stock.map(StockView::from) }
    }
}

/// A new product.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateProduct {
    name: ProductName,
    #[serde(default)]
    description: Description,
    #[serde(default)]
    image_file: ImageFile,
    #[serde(default)]
    category: Category,
    price: Money,
    /// Pieces on hand. Leave it out and stock is not tracked.
    stock: Option<StockCount>,
}

/// What to change in a product; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PatchProduct {
    name: Option<ProductName>,
    description: Option<Description>,
    image_file: Option<ImageFile>,
    category: Option<Category>,
    price: Option<Money>,
}

/// Which products to list.
#[derive(Deserialize, IntoParams)]
pub struct ProductFilter {
    /// Only those of this category, spelt as it is.
    pub(super) category: Option<String>,
    /// Only those that have, for each of these words, one in their name that begins so; by the longest word, then by age. A
    /// page may be shorter than asked for, also empty, before the last.
    pub(super) search: Option<Text<1, 100>>,
}

/// A category.
#[derive(Serialize, ToSchema)]
pub struct CategoryView {
    /// Its name.
    name: Category,
}

/// A counted stock.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CountStock {
    /// Pieces that were found.
    on_hand: StockCount,
    /// A remark for the ledger.
    note: Option<Note>,
}

/// Goods that came in, or were lost.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MoveStock {
    /// `received` or `writtenOff`.
    kind: HandKind,
    /// Pieces, at least 1.
    quantity: StockCount,
    /// A remark for the ledger.
    note: Option<Note>,
}

/// What a person may book.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum HandKind {
    /// Goods came in.
    Received,
    /// Goods were lost, broken or given away.
    WrittenOff,
}

fn reply<const STATUS: u16>(stocked: StockedProduct) -> Reply<STATUS, ProductView> {
    let etag = stocked.etag();
    Reply::new(ProductView::from(stocked)).etag(etag)
}

pub(super) fn category_of(text: String) -> Result<Option<Category>> {
    let category = Category::try_from(text).map_err(|why| Error::field("?category", why))?;
    Ok(Some(category).filter(|category| !category.as_str().is_empty()))
}

pub(crate) async fn list_products(
    app: App,
    Params(filter): Params<ProductFilter>,
    list: List,
) -> Result<Kept<Items<ProductView>>> {
    let page = async {
        let category = filter.category.map(category_of).transpose()?.flatten();
        let listing = match filter.search {
            Some(text) => index::search_products(&app, text.as_str(), category.as_ref(), &list).await?,
            None => ops::list_products(&app, category.as_ref(), &list).await?,
        };
        Ok(Reply::page(&list, listing, ProductView::from))
    };
    Kept::page(&app, Table::Catalog, &list, page).await
}

pub(crate) async fn list_categories(app: App, list: List) -> Result<Kept<Items<CategoryView>>> {
    let page = async {
        let listing = index::list_categories(&app, &list).await?;
        Ok(Reply::page(&list, listing, |name| CategoryView { name }))
    };
    Kept::page(&app, Table::Catalog, &list, page).await
}

pub(crate) async fn create_product(app: App, post: Post<CreateProduct>) -> Result<Reply<201, ProductView>> {
    let CreateProduct { name, description, image_file, category, price, stock } = post.body;
    let new = NewProduct { id: None, name, description, image_file, category, price, stock };
    let created = ops::create_product(&app, &post.once, new).await?;
    let location = format!("/v1/products/{}", created.product.id);
    Ok(reply(created).location(location))
}

pub(crate) async fn get_product(app: App, Segment(id): Segment<ProductId>) -> Result<Reply<200, ProductView>> {
    ops::get_product(&app, id).await.map(reply)
}

pub(crate) async fn patch_product(
    app: App,
    Segment(id): Segment<ProductId>,
    if_match: IfMatch,
    Put(patch): Put<PatchProduct>,
) -> Result<Reply<200, ProductView>> {
    let PatchProduct { name, description, image_file, category, price } = patch;
    let patch = ProductPatch { name, description, image_file, category, price, available: None };
    ops::update_product(&app, id, &if_match, patch).await.map(reply)
}

pub(crate) async fn delete_product(app: App, Segment(id): Segment<ProductId>, if_match: IfMatch) -> Result<NoContent> {
    ops::delete_product(&app, id, &if_match).await?;
    Ok(NoContent)
}

pub(crate) async fn get_stock(app: App, Segment(id): Segment<ProductId>) -> Result<Reply<200, StockView>> {
    ops::get_product(&app, id).await.and_then(stock_reply)
}

pub(crate) async fn count_stock(
    app: App,
    Segment(id): Segment<ProductId>,
    if_match: IfMatch,
    Put(body): Put<CountStock>,
) -> Result<Reply<200, StockView>> {
    ops::count_stock(&app, id, &if_match, body.on_hand, body.note).await.and_then(stock_reply)
}

fn stock_reply(stocked: StockedProduct) -> Result<Reply<200, StockView>> {
    let stock = stocked
        .stock
        .ok_or_else(|| Error::not_found("stock_not_tracked", "stock: it is not tracked for this product"))?;
    Ok(Reply::new(StockView::from(stock)).etag(stocked.etag()))
}

pub(crate) async fn list_movements(
    app: App,
    Segment(id): Segment<ProductId>,
    list: List,
) -> Result<Reply<200, Items<Movement>>> {
    let listing = ops::list_movements(&app, id, &list).await?;
    Ok(Reply::page(&list, listing, Arc::unwrap_or_clone))
}

pub(crate) async fn get_movement(
    app: App,
    Segment((id, movement)): Segment<(ProductId, MovementId)>,
) -> Result<Reply<200, Movement>> {
    Ok(Reply::new(Arc::unwrap_or_clone(ops::get_movement(&app, id, movement).await?)))
}

pub(crate) async fn move_stock(
    app: App,
    Segment(id): Segment<ProductId>,
    post: Post<MoveStock>,
) -> Result<Reply<201, Movement>> {
    let MoveStock { kind, quantity, note } = post.body;
    let quantity = quantity.get();
    if quantity == 0 {
        return Err(Error::field("/quantity", "must be at least 1"));
    }
    let (kind, by) = match kind {
        HandKind::Received => (MovementKind::Received, quantity),
        HandKind::WrittenOff => (MovementKind::WrittenOff, -quantity),
    };
    let movement = ops::move_stock(&app, &post.once, id, kind, by, note).await?;
    let location = format!("/v1/products/{id}/stock/movements/{}", movement.id);
    Ok(Reply::new(movement).location(location))
}
