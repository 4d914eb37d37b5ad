//! Design 1: `/product`.

use serde_json::{Value, json};

use super::{are_pages, is_uuid, shop, shop_page};
use crate::Check;
use crate::probe::{Outcome, Probe, ensure, holds, list, same, text};

pub(crate) const CHECKS: &[Check] = &[
    ("1 POST /product", create),
    ("1 GET /product in pages", pages),
    ("1 GET /product?category=", of_category),
    ("1 GET /product/{id}", by_id),
    ("1 GET /product/{id}?category=", by_id_and_category),
    ("1 PUT /product/{id} changes only the fields sent", update),
    ("1 DELETE /product/{id}", remove),
];

fn phone(probe: &Probe) -> Value {
    json!({"name": "IPhone X", "description": "A phone", "imageFile": "product-1.png", "category": probe.name("Phone"),
        "price": 950.4, "stock": 7})
}

/// A product, as it was answered, and its id.
fn made(probe: &Probe, product: &Value) -> Outcome<(Value, String)> {
    let created = shop(probe.post("/product", product)?, "POST")?;
    let id = text(&created, "id")?;
    Ok((created, id))
}

fn create(probe: &Probe) -> Outcome {
    let (created, id) = made(probe, &phone(probe))?;
    holds("created", &created, &phone(probe))?;
    ensure!(is_uuid(&id), "not a UUID: {id}");
    ensure!(created["price"].is_number(), "the price is a number: {created}");
    let (_, other) = made(probe, &phone(probe))?;
    ensure!(id != other, "two products have the id {id}");
    // Stock is optional, and so is everything a list could be without.
    let (plain, _) = made(probe, &json!({"name": "plain", "price": 78.89}))?;
    holds(
        "plain",
        &plain,
        &json!({"name": "plain", "price": 78.89, "description": "", "imageFile": "", "category": ""}),
    )?;
    probe.post("/product", &json!({"name": "x", "price": -1}))?.names(&["/price"])?;
    probe.post("/product", &json!({"name": "x", "price": 0.001}))?.names(&["/price"])?;
    probe.post("/product", &json!({"name": "x", "price": 1, "stock": -1}))?.names(&["/stock"])
}

fn pages(probe: &Probe) -> Outcome {
    for _ in 0..3 {
        made(probe, &phone(probe))?;
    }
    let path = "/product?limit=2";
    let (first, next) = shop_page(probe.get(path)?, path)?;
    let next = next.ok_or_else(|| format!("no nextCursor beside two of three products or more: {first}"))?;
    let (second, _) = shop_page(probe.get(&next)?, path)?;
    are_pages(&first, &second, 2, "id")?;
    let (unlimited, _) = shop_page(probe.get("/product")?, "/product")?;
    ensure!((1..=100).contains(&list(&unlimited)?.len()), "a page of {}", list(&unlimited)?.len());
    Ok(())
}

fn of_category(probe: &Probe) -> Outcome {
    let mut expected = Vec::new();
    for _ in 0..5 {
        expected.push(made(probe, &phone(probe))?.0);
    }
    let path = format!("/product?category={}&limit=2", probe.name("Phone"));
    let (mut found, mut next) = (Vec::new(), Some(path.clone()));
    while let Some(page) = next.take() {
        let (products, more) = shop_page(probe.get(&page)?, &path)?;
        ensure!(list(&products)?.len() <= 2, "a page of more than two: {products}");
        found.extend_from_slice(list(&products)?);
        ensure!(found.len() <= expected.len(), "more than there are: {found:?}");
        next = more;
    }
    same("all of them, oldest first", &json!(found), &json!(expected))?;
    let (none, _) = shop_page(probe.get(&format!("/product?category={}", probe.name("None")))?, &path)?;
    same("of a category that nothing is of", &none, &json!([]))
}

fn by_id(probe: &Probe) -> Outcome {
    let (created, id) = made(probe, &phone(probe))?;
    same("by id", &shop(probe.get(&format!("/product/{id}"))?, "GET")?, &created)?;
    for unknown in ["00000000-0000-0000-0000-000000000000", "1"] {
        probe.get(&format!("/product/{unknown}"))?.problem(404, "product_not_found")?;
    }
    Ok(())
}

fn by_id_and_category(probe: &Probe) -> Outcome {
    let (created, id) = made(probe, &phone(probe))?;
    let its = shop(probe.get(&format!("/product/{id}?category={}", probe.name("Phone")))?, "GET")?;
    same("of its category", &its, &json!([created]))?;
    same("of another", &shop(probe.get(&format!("/product/{id}?category=Laptop"))?, "GET")?, &json!([]))?;
    let unknown = "/product/00000000-0000-0000-0000-000000000000?category=Phone";
    probe.get(unknown)?.problem(404, "product_not_found").map(drop)
}

fn update(probe: &Probe) -> Outcome {
    let (mut product, id) = made(probe, &phone(probe))?;
    let path = format!("/product/{id}");
    for (name, value) in [("price", json!(78.89)), ("name", json!("IPhone XI")), ("stock", json!(3))] {
        product[name] = value.clone();
        same(name, &shop(probe.put(&path, &json!({name: value}))?, "PUT")?, &product)?;
    }
    probe.put(&path, &json!({}))?.names(&[""])?;
    probe.put(&path, &json!({"price": -1}))?.names(&["/price"])?;
    same("after all", &shop(probe.get(&path)?, "GET")?, &product)?;
    let unknown = "/product/00000000-0000-0000-0000-000000000000";
    probe.put(unknown, &json!({"price": 1}))?.problem(404, "product_not_found").map(drop)
}

fn remove(probe: &Probe) -> Outcome {
    let (_, id) = made(probe, &phone(probe))?;
    let path = format!("/product/{id}");
    same("deleted", &shop(probe.delete(&path)?, "DELETE")?, &json!({}))?;
    probe.get(&path)?.problem(404, "product_not_found")?;
    probe.delete(&path)?.problem(404, "product_not_found")?;
    let category = probe.name("Phone");
    same("listed", &shop(probe.get(&format!("/product?category={category}"))?, "GET")?, &json!([]))
}
