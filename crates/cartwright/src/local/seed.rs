//! The demo shop: a catalogue of two hundred products.

use serde::Deserialize;

use crate::app::App;
use crate::catalog::{NewProduct, ops};
use crate::error::{Error, Kind, Result};
use crate::store::Once;
use crate::values::{Money, ProductId};

const DEMO: &str = include_str!("../catalog/demo.json");

/// Products of the demo shop.
pub const DEMO_PRODUCTS: usize = 200;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DemoProduct {
    slug: String,
    name: String,
    category: String,
    price: i64,
    stock: Option<i64>,
    image_file: String,
    description: String,
}

/// Puts the demo products into the catalogue, those that are not there. Calls `progress` after each. Returns how many
/// were added. A product's id is made of its name in the demo list, so that seeding again adds nothing.
///
/// # Errors
/// Those of the store.
pub async fn seed(app: &App, mut progress: impl FnMut(usize)) -> Result<usize> {
    let products: Vec<DemoProduct> = serde_json::from_str(DEMO).map_err(Error::internal)?;
    let mut added = 0;
    for (at, product) in products.into_iter().enumerate() {
        let id = demo_id(&product.slug);
        match ops::get_product(app, id).await {
            Ok(_) => {}
            Err(error) if error.kind() == Kind::NotFound => {
                ops::create_product(app, &Once::unkeyed(), new_product(app, id, product)?).await?;
                added += 1;
            }
            Err(error) => return Err(error),
        }
        progress(at + 1);
    }
    Ok(added)
}

fn demo_id(slug: &str) -> ProductId {
    let hash = blake3::hash(format!("cartwright demo {slug}").as_bytes());
    // As if it had been created at some time in the year before the first of 2026: the list of all products, by age, shows
    // the categories mixed, and products that are added later come after.
    let within_year_s =
        u64::from(u32::from_le_bytes(std::array::from_fn(|at| hash.as_bytes()[at]))) % (365 * 24 * 3600);
    let millis = (1_735_689_600 + within_year_s) * 1000;
    let random = std::array::from_fn(|at| hash.as_bytes()[at + 4]);
    ProductId(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
}

fn new_product(app: &App, id: ProductId, product: DemoProduct) -> Result<NewProduct> {
    Ok(NewProduct {
        id: Some(id),
        name: product.name.try_into().map_err(Error::internal)?,
        description: product.description.try_into().map_err(Error::internal)?,
        image_file: product.image_file.try_into().map_err(Error::internal)?,
        category: product.category.try_into().map_err(Error::internal)?,
        price: Money { amount: product.price, currency: app.config.currency },
        stock: product.stock.map(|count| count.try_into().map_err(Error::internal)).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_catalogue_has_two_hundred_products_in_eight_categories() {
        let products: Vec<DemoProduct> = serde_json::from_str(DEMO).unwrap();
        let categories: std::collections::BTreeSet<_> = products.iter().map(|product| &product.category).collect();
        let ids: std::collections::BTreeSet<_> = products.iter().map(|product| demo_id(&product.slug)).collect();
        assert_eq!((products.len(), categories.len(), ids.len()), (DEMO_PRODUCTS, 8, DEMO_PRODUCTS));
    }
}
