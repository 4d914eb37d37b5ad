//! System 3: purchases through a queue.

use serde_json::{Value, json};

use crate::Check;
use crate::probe::{Outcome, Probe, ensure, same, text};

pub(crate) const CHECKS: &[Check] = &[
    ("3 POST, GET, PUT, DELETE /product-purchase", purchase),
    ("3 bad bodies are refused at the door with every bad field", refused),
    ("3 GET /product-purchase is a bare array with a Link", listed),
];

fn body(probe: &Probe) -> Value {
    json!({"ProductId": "c96b49bb-1378-4ca4-9f1a-e2a0b1d8c3f7", "ProductName": "iPhone", "Category": probe.name("Phones"), "PricePerUnit": "1032",
        "Quantity": 3, "TotalPrice": 3096, "CustomerId": "b20f30ta-29d3-10f3-wov0-10c39a30sgfs", "CustomerName": "Sarah Harris",
        "TimeOfPurchase": "2021-02-22T8:01:21.389Z"})
}

fn sent(probe: &Probe, body: &Value) -> Outcome<String> {
    let answer = probe.post("/product-purchase/", body)?.expect(200)?;
    same("message", &answer["message"], &json!("Message sent successfully"))?;
    text(&answer, "messageId")?;
    text(&answer, "ProductPurchaseId")
}

fn stored(probe: &Probe, id: &str) -> Outcome {
    probe.wait(&format!("purchase {id} stored"), || {
        let found = probe.get(&format!("/v1/purchases/{id}"))?.expect(200)?;
        Ok((found["status"] == "stored").then_some(()))
    })
}

fn purchase(probe: &Probe) -> Outcome {
    let id = sent(probe, &body(probe))?;
    stored(probe, &id)?;
    let path = format!("/product-purchase/{id}");
    let item = probe.get(&path)?.expect(200)?;
    for (name, value) in [
        ("ProductPurchaseId", id.as_str()),
        ("PricePerUnit", "1032"),
        ("Quantity", "3"),
        ("TotalPrice", "3096"),
        ("TimeOfPurchase", "2021-02-22T08:01:21.389Z"),
        ("action", "create"),
    ] {
        same(name, &item[name], &json!(value))?;
    }
    let mut changed = body(probe);
    changed["Quantity"] = json!("2");
    changed["TotalPrice"] = json!("2064");
    same("put", &probe.put(&path, &changed)?.expect(200)?["message"], &json!("Message sent successfully"))?;
    stored(probe, &id)?;
    same("replaced", &probe.get(&path)?.expect(200)?["TotalPrice"], &json!("2064"))?;
    same("deleted", &probe.delete(&path)?.expect(200)?["message"], &json!("Message sent successfully"))?;
    probe.wait("the purchase gone", || Ok((probe.get(&path)?.status == 404).then_some(())))?;
    let again = probe.put(&path, &changed)?;
    ensure!(again.status == 404, "a late update after the delete: {}", again.status);
    Ok(())
}

fn refused(probe: &Probe) -> Outcome {
    let bad =
        json!({"ProductName": "", "PricePerUnit": "x", "Quantity": 0, "TotalPrice": 1, "TimeOfPurchase": "yesterday"});
    let answer = probe.post("/product-purchase", &bad)?;
    ensure!(answer.status == 400, "expected 400, got {}: {}", answer.status, answer.text);
    for pointer in ["/ProductName", "/PricePerUnit", "/Quantity", "/TimeOfPurchase", "/CustomerId", "/ProductId"] {
        ensure!(answer.text.contains(pointer), "{pointer} is not named: {}", answer.text);
    }
    let mut wrong_total = body(probe);
    wrong_total["TotalPrice"] = json!(3000);
    let answer = probe.post("/product-purchase", &wrong_total)?;
    ensure!(answer.status == 400 && answer.text.contains("/TotalPrice"), "a wrong total: {}", answer.text);
    probe.get("/product-purchase/00000000-0000-0000-0000-000000000000")?.expect(404).map(drop)
}

fn listed(probe: &Probe) -> Outcome {
    for _ in 0..2 {
        let id = sent(probe, &body(probe))?;
        stored(probe, &id)?;
    }
    let page = probe.get("/product-purchase?limit=1")?;
    ensure!(page.header("link").is_some_and(|link| link.contains("rel=\"next\"")), "no Link: {:?}", page.headers);
    ensure!(page.expect(200)?.as_array().is_some_and(|items| items.len() == 1), "a bare array of one");
    Ok(())
}
