//! Design 3: purchases through a queue.

use serde_json::{Value, json};

use super::{are_pages, is_uuid};
use crate::Check;
use crate::client::Answer;
use crate::probe::{Outcome, Probe, ensure, holds, same, text};
use crate::v1::purchases::{gone, stored};

pub(crate) const CHECKS: &[Check] = &[
    ("3 POST /product-purchase", record),
    ("3 POST /product-purchase: times as tills write them, numbers as numbers or as strings", forms),
    ("3 POST /product-purchase: bad bodies are refused with every bad field", refused),
    ("3 GET /product-purchase: a bare array, the next page in a Link", listed),
    ("3 GET /product-purchase/{id}: every value a string", item),
    ("3 PUT /product-purchase/{id}", replace),
    ("3 DELETE /product-purchase/{id}", remove),
    ("3 changes of one purchase are applied in their order", in_order),
];

const UNKNOWN: &str = "/product-purchase/00000000-0000-0000-0000-000000000000";

fn purchase(probe: &Probe) -> Value {
    json!({"ProductId": "c96b49bb-1378-4ca4-9f1a-e2a0b1d8c3f7", "ProductName": "iPhone", "Category": probe.name("Phones"),
        "PricePerUnit": "1032", "Quantity": "3", "TotalPrice": "3096", "CustomerId": "b20f30ta-29d3-10f3-wov0-10c39a30sgfs",
        "CustomerName": "Sarah Harris", "TimeOfPurchase": "2021-02-28T10:02:12.034Z"})
}

/// What every accepted change is answered with.
fn sent(answer: Answer) -> Outcome<Value> {
    let body = answer.expect(200)?;
    same("message", &body["message"], &json!("Message sent successfully"))?;
    ensure!(is_uuid(&text(&body, "messageId")?), "not a UUID: {body}");
    Ok(body)
}

/// A purchase that is stored: its id.
fn recorded(probe: &Probe, body: &Value) -> Outcome<String> {
    let id = text(&sent(probe.post("/product-purchase/", body)?)?, "ProductPurchaseId")?;
    stored(probe, &id)?;
    Ok(id)
}

fn record(probe: &Probe) -> Outcome {
    let first = sent(probe.post("/product-purchase/", &purchase(probe))?)?;
    let second = sent(probe.post("/product-purchase/", &purchase(probe))?)?;
    ensure!(first["messageId"] != second["messageId"], "two messages have one id: {first} {second}");
    for answer in [first, second] {
        let id = text(&answer, "ProductPurchaseId")?;
        ensure!(is_uuid(&id), "not a UUID: {id}");
        stored(probe, &id)?;
    }
    Ok(())
}

fn forms(probe: &Probe) -> Outcome {
    let mut body = purchase(probe);
    for (name, value) in [
        ("PricePerUnit", json!(10.32)),
        ("Quantity", json!(3)),
        ("TotalPrice", json!("30.96")),
        ("TimeOfPurchase", json!("2021-02-22T8:01:21.389Z")),
    ] {
        body[name] = value;
    }
    let id = recorded(probe, &body)?;
    let expected = json!({"PricePerUnit": "10.32", "Quantity": "3", "TotalPrice": "30.96",
        "TimeOfPurchase": "2021-02-22T08:01:21.389Z"});
    holds("normalised", &probe.get(&format!("/product-purchase/{id}"))?.expect(200)?, &expected)
}

fn refused(probe: &Probe) -> Outcome {
    let all = [
        "/ProductId",
        "/ProductName",
        "/Category",
        "/PricePerUnit",
        "/Quantity",
        "/TotalPrice",
        "/CustomerId",
        "/CustomerName",
        "/TimeOfPurchase",
    ];
    probe.post("/product-purchase", &json!({}))?.names(&all)?;
    let bad = json!({"ProductId": "", "ProductName": "", "Category": 7, "PricePerUnit": "x", "Quantity": 0,
        "TotalPrice": -1, "CustomerId": null, "CustomerName": [], "TimeOfPurchase": "yesterday"});
    probe.post("/product-purchase", &bad)?.names(&all)?;
    let mut wrong_total = purchase(probe);
    wrong_total["TotalPrice"] = json!(3095);
    probe.post("/product-purchase", &wrong_total)?.names(&["/TotalPrice"])?;
    let id = recorded(probe, &purchase(probe))?;
    probe.put(&format!("/product-purchase/{id}"), &wrong_total)?.names(&["/TotalPrice"])
}

fn listed(probe: &Probe) -> Outcome {
    let (first, second) = (recorded(probe, &purchase(probe))?, recorded(probe, &purchase(probe))?);
    let page = probe.get("/product-purchase?limit=1")?;
    let next = page.next_page()?.ok_or("no Link after one of two")?;
    let (page, next) = (page.expect(200)?, probe.get(&next)?.expect(200)?);
    are_pages(&page, &next, 1, "ProductPurchaseId")?;
    for id in [first, second] {
        probe.listed("/product-purchase?limit=100", "", |item| item["ProductPurchaseId"] == id.as_str())?;
    }
    Ok(())
}

fn item(probe: &Probe) -> Outcome {
    let id = recorded(probe, &purchase(probe))?;
    let item = probe.get(&format!("/product-purchase/{id}"))?.expect(200)?;
    let mut expected = purchase(probe);
    expected["ProductPurchaseId"] = json!(id);
    expected["action"] = json!("create");
    holds("the item", &item, &expected)?;
    ensure!(item.get("ProductDescription").is_none(), "a description nobody gave: {item}");
    let mut described = purchase(probe);
    described["ProductDescription"] = json!("A phone");
    let id = recorded(probe, &described)?;
    holds("with a description", &probe.get(&format!("/product-purchase/{id}"))?.expect(200)?, &described)?;
    probe.get(UNKNOWN)?.problem(404, "purchase_not_found").map(drop)
}

fn replace(probe: &Probe) -> Outcome {
    let id = recorded(probe, &purchase(probe))?;
    let path = format!("/product-purchase/{id}");
    let mut changed = purchase(probe);
    changed["Quantity"] = json!("2");
    changed["TotalPrice"] = json!("2064");
    sent(probe.put(&path, &changed)?)?;
    stored(probe, &id)?;
    changed["action"] = json!("update");
    holds("replaced", &probe.get(&path)?.expect(200)?, &changed)?;
    probe.put(UNKNOWN, &changed)?.problem(404, "purchase_not_found").map(drop)
}

fn remove(probe: &Probe) -> Outcome {
    let id = recorded(probe, &purchase(probe))?;
    let path = format!("/product-purchase/{id}");
    sent(probe.delete(&path)?)?;
    gone(probe, &id)?;
    probe.get(&path)?.problem(404, "purchase_not_found")?;
    probe.put(&path, &purchase(probe))?.problem(404, "purchase_not_found")?;
    probe.delete(&path)?.problem(404, "purchase_not_found").map(drop)
}

/// Sent without waiting for one another.
fn in_order(probe: &Probe) -> Outcome {
    let send = || text(&sent(probe.post("/product-purchase", &purchase(probe))?)?, "ProductPurchaseId");
    let (kept, removed) = (send()?, send()?);
    for pieces in 1..=5 {
        let mut changed = purchase(probe);
        changed["Quantity"] = json!(pieces);
        changed["TotalPrice"] = json!(1032 * pieces);
        for id in [&kept, &removed] {
            sent(probe.put(&format!("/product-purchase/{id}"), &changed)?)?;
        }
    }
    sent(probe.delete(&format!("/product-purchase/{removed}"))?)?;
    gone(probe, &removed)?;
    stored(probe, &kept)?;
    let last = probe.get(&format!("/product-purchase/{kept}"))?.expect(200)?;
    same("the last one stays", &last["Quantity"], &json!("5"))?;
    probe.get(&format!("/product-purchase/{removed}"))?.problem(404, "purchase_not_found").map(drop)
}
