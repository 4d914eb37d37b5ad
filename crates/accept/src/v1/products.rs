//! `/v1/products`.

use serde_json::{Value, json};

use crate::Check;
use crate::probe::{Outcome, Probe, each, ensure, holds, list, same, text, usd};

pub(crate) const CHECKS: &[Check] = &[
    ("v1 products: create, read, change, delete", life),
    ("v1 products: pages with Link and nextCursor, by category", pages),
    ("v1 products: If-Match keeps a change from being lost, If-None-Match saves an answer", entity_tags),
    ("v1 Idempotency-Key: done once, answered the same, refused for another request", idempotency),
];

const UNKNOWN: &str = "/v1/products/00000000-0000-0000-0000-000000000000";

fn life(probe: &Probe) -> Outcome {
    let new = json!({"name": "Lamp", "description": "It shines", "imageFile": "lamp.png", "category": probe.name("Light"),
        "price": usd(7_889), "stock": 5});
    let created = probe.post("/v1/products", &new)?;
    let path = created.must_have("location")?;
    let created = created.expect(201)?;
    same("Location", &json!(path), &json!(format!("/v1/products/{}", text(&created, "id")?)))?;
    let mut product = new.clone();
    product["stock"] = json!({"onHand": 5, "reserved": 0, "available": 5});
    holds("created", &created, &product)?;
    same("read", &probe.get(&path)?.expect(200)?, &created)?;
    product["name"] = json!("Lantern");
    product["price"] = usd(8_000);
    let patched = probe.patch(&path, &json!({"name": "Lantern", "price": usd(8_000)}))?.expect(200)?;
    holds("changed", &patched, &product)?;
    same("read again", &probe.get(&path)?.expect(200)?, &patched)?;
    probe.patch(&path, &json!({}))?.names(&[""])?;
    probe.patch(&path, &json!({"price": {"amount": -1, "currency": "USD"}}))?.problem(400, "invalid_request")?;
    probe.patch(&path, &json!({"price": {"amount": 1, "currency": "EUR"}}))?.problem(400, "invalid_request")?;
    let deleted = probe.delete(&path)?;
    ensure!(deleted.status == 204 && deleted.text.is_empty(), "deleted: {} {}", deleted.status, deleted.text);
    probe.get(&path)?.problem(404, "product_not_found")?;
    probe.delete(&path)?.problem(404, "product_not_found")?;
    probe.patch(UNKNOWN, &json!({"name": "x"}))?.problem(404, "product_not_found").map(drop)
}

fn pages(probe: &Probe) -> Outcome {
    let category = probe.name("Paged");
    let mut expected = Vec::new();
    for n in 0..5 {
        let product = json!({"name": format!("p{n}"), "category": category, "price": usd(n)});
        expected.push(probe.post("/v1/products", &product)?.expect(201)?["id"].clone());
    }
    let path = format!("/v1/products?category={category}&limit=2");
    same("oldest first", &json!(each(&probe.all(&path, "items")?, "id")), &json!(expected))?;
    let first = probe.get(&path)?.expect(200)?;
    ensure!(list(&first["items"])?.len() == 2, "a page of two: {first}");
    // The cursor of one list is none of another.
    let cursor = text(&first, "nextCursor")?;
    probe.get(&format!("/v1/products?cursor={cursor}"))?.names(&["?cursor"])?;
    let whole = probe.get(&format!("/v1/products?category={category}"))?;
    ensure!(whole.next_page()?.is_none(), "a Link at the end: {:?}", whole.headers);
    ensure!(whole.expect(200)?.get("nextCursor").is_none(), "a cursor at the end");
    probe
        .patch(&format!("/v1/products/{}", expected[0].as_str().unwrap_or_default()), &json!({"category": "Other"}))?
        .expect(200)?;
    same("moved to another", &json!(each(&probe.all(&path, "items")?, "id")), &json!(expected[1..]))
}

fn entity_tags(probe: &Probe) -> Outcome {
    let path = format!("/v1/products/{}", probe.product(100, 5)?);
    let seen = probe.get(&path)?;
    let etag = seen.must_have("etag")?;
    let seen = seen.expect(200)?;
    let with = |name: &str, etag: &str, method: &str| {
        let body = (method == "PATCH").then(|| json!({"name": probe.name(method)}).to_string());
        probe.client.send(method, &path, &[(name, etag)], body.as_deref())
    };
    let unchanged = with("if-none-match", &etag, "GET")?;
    ensure!(unchanged.status == 304 && unchanged.text.is_empty(), "304 without a body: {unchanged:?}");
    let changed = with("if-match", &etag, "PATCH")?;
    let next = changed.must_have("etag")?;
    let changed = changed.expect(200)?;
    ensure!(next != etag && changed["name"] != seen["name"], "changed, with another tag: {etag} {next} {changed}");
    for method in ["PATCH", "DELETE"] {
        with("if-match", &etag, method)?.problem(412, "precondition_failed")?;
    }
    same("the first change stays", &probe.get(&path)?.expect(200)?, &changed)?;
    with("if-none-match", &etag, "GET")?.expect(200)?;
    same("its tag", &json!(probe.get(&path)?.must_have("etag")?), &json!(next))?;
    let deleted = with("if-match", &next, "DELETE")?;
    ensure!(deleted.status == 204, "deleted with its tag: {} {}", deleted.status, deleted.text);
    Ok(())
}

fn idempotency(probe: &Probe) -> Outcome {
    let (key, category) = (probe.name("key"), probe.name("once"));
    let body = |price: i64| json!({"name": "once", "category": category, "price": usd(price)});
    let send = |path: &str, body: &Value| probe.send("POST", path, &[("idempotency-key", &key)], body);
    let first = send("/v1/products", &body(100))?;
    let (location, etag) = (first.must_have("location")?, first.must_have("etag")?);
    let first = first.expect(201)?;
    for _ in 0..2 {
        let again = send("/v1/products", &body(100))?;
        same("Location", &json!(again.must_have("location")?), &json!(location))?;
        same("ETag", &json!(again.must_have("etag")?), &json!(etag))?;
        same("the answer", &again.expect(201)?, &first)?;
    }
    send("/v1/products", &body(200))?.problem(422, "idempotency_key_reused")?;
    send("/product", &json!({"name": "once", "price": 1}))?.problem(422, "idempotency_key_reused")?;
    let listed = probe.all(&format!("/v1/products?category={category}"), "items")?;
    same("one product", &json!(each(&listed, "id")), &json!([first["id"]]))?;
    let long = "x".repeat(256);
    for bad in ["", "a b", &long] {
        let answer = probe.send("POST", "/v1/products", &[("idempotency-key", bad)], &body(100))?;
        answer.problem(400, "invalid_idempotency_key")?;
    }
    Ok(())
}
