//! The classic `/product` paths: the bodies of the design they come from, the same operations behind them.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::http::{ProductFilter, category_of};
use super::ops::{self, StockedProduct};
use super::{Category, Description, ImageFile, NewProduct, ProductName, ProductPatch, StockCount};
use crate::app::App;
use crate::error::{Error, Result};
use crate::rest::{Classic, IfMatch, List, Nothing, Params, Post, Put, Reply, Segment};
use crate::values::{Decimal, Money, ProductId};

/// A product as the classic paths show it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassicProduct {
    id: ProductId,
    name: ProductName,
    description: Description,
    image_file: ImageFile,
    category: Category,
    price: Decimal,
    /// Pieces that may be sold; absent when stock is not tracked.
    #[serde(skip_serializing_if = "Option::is_none")]
    stock: Option<i64>,
}

impl From<StockedProduct> for ClassicProduct {
    fn from(stocked: StockedProduct) -> Self {
        let product = &*stocked.product;
        ClassicProduct {
            id: product.id,
            name: product.name.clone(),
            description: product.description.clone(),
            image_file: product.image_file.clone(),
            category: product.category.clone(),
            price: product.price.to_decimal(),
            stock: stocked.stock.map(|stock| stock.available),
        }
    }
}

/// A new product.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassicCreateProduct {
    name: ProductName,
    #[serde(default)]
    description: Description,
    #[serde(default)]
    image_file: ImageFile,
    #[serde(default)]
    category: Category,
    price: Decimal,
    stock: Option<StockCount>,
}

/// What to change.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassicUpdateProduct {
    name: Option<ProductName>,
    description: Option<Description>,
    image_file: Option<ImageFile>,
    category: Option<Category>,
    price: Option<Decimal>,
    stock: Option<StockCount>,
}

fn price(app: &App, price: &Decimal) -> Result<Money> {
    let money = price.to_money(app.config.currency).map_err(|why| Error::field("/price", why))?;
    if money.amount < 0 { Err(Error::field("/price", "must not be negative")) } else { Ok(money) }
}

/// `GET /product/{id}?category=`.
#[derive(Deserialize, IntoParams)]
pub struct ClassicProductParams {
    /// Answer with a list of one if the product is of this category, or of none.
    category: Option<String>,
}

/// One product, or a list of none or one when a category is named.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum OneOrList {
    /// The product.
    One(ClassicProduct),
    /// None or one.
    List(Vec<ClassicProduct>),
}

pub(crate) async fn list_products(
    app: App,
    Params(filter): Params<ProductFilter>,
    list: List,
) -> Result<Reply<200, Classic<Vec<ClassicProduct>>>> {
    let category = filter.category.map(category_of).transpose()?.flatten();
    let listing = ops::list_products(&app, category.as_ref(), &list).await?;
    Ok(Classic::page("GET", &list, listing, ClassicProduct::from))
}

pub(crate) async fn get_product(
    app: App,
    Segment(id): Segment<ProductId>,
    Params(params): Params<ClassicProductParams>,
) -> Result<Reply<200, Classic<OneOrList>>> {
    let product = ops::get_product(&app, id).await?;
    let body = match params.category {
        None => OneOrList::One(product.into()),
        Some(category) if category == product.product.category.as_str() => OneOrList::List(vec![product.into()]),
        Some(_) => OneOrList::List(Vec::new()),
    };
    Ok(Classic::reply("GET", body))
}

pub(crate) async fn create_product(
    app: App,
    post: Post<ClassicCreateProduct>,
) -> Result<Reply<200, Classic<ClassicProduct>>> {
    let price = price(&app, &post.body.price)?;
    let ClassicCreateProduct { name, description, image_file, category, stock, .. } = post.body;
    let new = NewProduct { id: None, name, description, image_file, category, price, stock };
    let created = ops::create_product(&app, &post.once, new).await?;
    Ok(Classic::reply("POST", created.into()))
}

pub(crate) async fn update_product(
    app: App,
    Segment(id): Segment<ProductId>,
    if_match: IfMatch,
    Put(body): Put<ClassicUpdateProduct>,
) -> Result<Reply<200, Classic<ClassicProduct>>> {
    let price = body.price.as_ref().map(|text| price(&app, text)).transpose()?;
    let ClassicUpdateProduct { name, description, image_file, category, stock, .. } = body;
    let patch = ProductPatch { name, description, image_file, category, price, available: stock };
    let updated = ops::update_product(&app, id, &if_match, patch).await?;
    Ok(Classic::reply("PUT", updated.into()))
}

pub(crate) async fn delete_product(
    app: App,
    Segment(id): Segment<ProductId>,
    if_match: IfMatch,
) -> Result<Reply<200, Classic<Nothing>>> {
    ops::delete_product(&app, id, &if_match).await?;
    Ok(Classic::reply("DELETE", Nothing {}))
}
