//! `/v1/baskets`.

use serde_json::{Value, json};

use crate::Check;
use crate::probe::{Outcome, Probe, each, ensure, holds, list, same, usd};

pub(crate) const CHECKS: &[Check] = &[
    ("v1 baskets: replace, read, list, delete", life),
    ("v1 baskets: add, set and remove lines", lines),
    ("v1 baskets: names and prices come from the catalogue", catalogue),
    ("v1 baskets: at most fifty lines", full),
    ("v1 baskets: If-Match keeps a change from being lost", entity_tags),
];

fn path(user: &str) -> String {
    format!("/v1/baskets/{user}")
}

fn life(probe: &Probe) -> Outcome {
    let (user, product) = (probe.name("ann"), probe.product(1_250, 10)?);
    let path = path(&user);
    probe.get(&path)?.problem(404, "basket_not_found")?;
    let items = |quantity: i64| json!({"items": [{"productId": product, "quantity": quantity, "color": "Red"}]});
    let created = probe.put(&path, &items(2))?;
    same("Location", &json!(created.must_have("location")?), &json!(path))?;
    let line = |quantity: i64| json!({"productId": product, "name": probe.name("product"), "color": "Red", "quantity": quantity, "unitPrice": usd(1_250)});
    let expected = |quantity: i64| json!({"userName": user, "items": [line(quantity)], "total": usd(1_250 * quantity)});
    holds("created", &created.expect(201)?, &expected(2))?;
    holds("replaced", &probe.put(&path, &items(3))?.expect(200)?, &expected(3))?;
    holds("read", &probe.get(&path)?.expect(200)?, &expected(3))?;
    probe.listed("/v1/baskets?limit=100", "items", |basket| basket["userName"] == user.as_str())?;
    let deleted = probe.delete(&path)?;
    ensure!(deleted.status == 204, "deleted: {} {}", deleted.status, deleted.text);
    probe.get(&path)?.problem(404, "basket_not_found")?;
    probe.delete(&path)?.problem(404, "basket_not_found").map(drop)
}

/// Colour and quantity of each line.
fn shown(basket: &Value) -> Outcome<Value> {
    let items = list(&basket["items"])?;
    Ok(json!([each(items, "color"), each(items, "quantity")]))
}

fn lines(probe: &Probe) -> Outcome {
    let (user, product) = (probe.name("ann"), probe.product(100, 10)?);
    let path = path(&user);
    let add = |quantity: i64, color: &str| {
        let line = json!({"productId": product, "quantity": quantity, "color": color});
        probe.post(&format!("{path}/items"), &line)?.expect(200)
    };
    let line = format!("{path}/items/{product}");
    probe.delete(&line)?.problem(404, "basket_not_found")?;
    add(2, "Red")?;
    same("added up", &shown(&add(3, "Red")?)?, &json!([["Red"], [5]]))?;
    same("another colour", &shown(&add(1, "Blue")?)?, &json!([["Red", "Blue"], [5, 1]]))?;
    let set = probe.put(&line, &json!({"quantity": 4, "color": "Red"}))?.expect(200)?;
    same("set", &shown(&set)?, &json!([["Red", "Blue"], [4, 1]]))?;
    same("total", &set["total"], &usd(500))?;
    let one = probe.delete(&format!("{line}?color=Red"))?.expect(200)?;
    same("removed", &shown(&one)?, &json!([["Blue"], [1]]))?;
    probe.delete(&format!("{line}?color=Red"))?.problem(404, "line_not_found")?;
    add(1, "Green")?;
    same("in every colour", &shown(&probe.delete(&line)?.expect(200)?)?, &json!([[], []]))?;
    probe.delete(&line)?.problem(404, "line_not_found")?;
    for quantity in [json!(0), json!(10_000), json!(1.5), json!("x")] {
        let bad = json!({"productId": product, "quantity": quantity});
        probe.post(&format!("{path}/items"), &bad)?.names(&["/quantity"])?;
    }
    Ok(())
}

fn catalogue(probe: &Probe) -> Outcome {
    let (user, product) = (probe.name("ann"), probe.product(1_250, 10)?);
    let path = path(&user);
    let cheap = json!({"items": [{"productId": product, "quantity": 1, "unitPrice": usd(1), "name": "cheap"}]});
    probe.put(&path, &cheap)?.names(&["/items/0/name", "/items/0/unitPrice"])?;
    let unknown = json!({"productId": "00000000-0000-0000-0000-000000000000", "quantity": 1});
    let known = json!({"productId": product, "quantity": 1});
    let problem = probe.put(&path, &json!({"items": [known, unknown]}))?.problem(422, "product_unknown")?;
    same("which", &problem["errors"][0]["pointer"], &json!("/items/1/productId"))?;
    let problem = probe.post(&format!("{path}/items"), &unknown)?.problem(422, "product_unknown")?;
    same("which", &problem["errors"][0]["pointer"], &json!("/productId"))?;
    probe.get(&path)?.problem(404, "basket_not_found")?;
    same("the price", &probe.fill(&user, &product, 2)?["total"], &usd(2_500))
}

fn full(probe: &Probe) -> Outcome {
    let (user, product) = (probe.name("ann"), probe.product(100, 10)?);
    let path = path(&user);
    let lines = |count: usize| -> Value {
        (0..count).map(|n| json!({"productId": product, "quantity": 1, "color": format!("{n}")})).collect()
    };
    probe.put(&path, &json!({"items": lines(51)}))?.names(&["/items"])?;
    let basket = probe.put(&path, &json!({"items": lines(50)}))?.expect(201)?;
    ensure!(list(&basket["items"])?.len() == 50, "fifty lines: {basket}");
    let more = json!({"productId": product, "quantity": 1, "color": "more"});
    probe.post(&format!("{path}/items"), &more)?.problem(409, "basket_full")?;
    let order = probe.checkout(&user)?;
    // Fifty lines of one product, of which there are ten.
    let rejected = probe.settles(&order, "REJECTED")?;
    holds("why", &rejected["rejections"], &json!([{"productId": product, "asked": 50, "available": 10}]))
}

fn entity_tags(probe: &Probe) -> Outcome {
    let (user, product) = (probe.name("ann"), probe.product(100, 10)?);
    let path = path(&user);
    let line = |quantity: i64| json!({"productId": product, "quantity": quantity});
    let put = |etag: &str, quantity: i64| {
        probe.send("PUT", &path, &[("if-match", etag)], &json!({"items": [line(quantity)]}))
    };
    put("\"1\"", 1)?.problem(412, "precondition_failed")?;
    let etag = probe.put(&path, &json!({"items": [line(1)]}))?.must_have("etag")?;
    let next = put(&etag, 2)?.must_have("etag")?;
    put(&etag, 3)?.problem(412, "precondition_failed")?;
    same("the first change stays", &probe.get(&path)?.expect(200)?["items"][0]["quantity"], &json!(2))?;
    probe.checkout(&user)?;
    // The next basket is another one, though its versions begin anew.
    let again = probe.put(&path, &json!({"items": [line(1)]}))?.must_have("etag")?;
    ensure!(again != etag && again != next, "two baskets have the tag {again}");
    put(&etag, 3)?.problem(412, "precondition_failed").map(drop)
}
