//! `/v1/products/{id}/stock` and its ledger.

use serde_json::{Value, json};

use crate::Check;
use crate::probe::{Outcome, Probe, ensure, holds, same, text, usd};

pub(crate) const CHECKS: &[Check] = &[
    ("v1 stock: counting puts it right and starts tracking", count),
    ("v1 stock: goods come in and are written off", movements),
    ("v1 stock: an order takes it, shipping takes it out, cancelling gives it back once", orders),
    ("v1 stock: the ledger adds up, in pages, line by line", ledger),
    ("v1 stock: what is sold out is rejected until goods come in", depleted),
];

fn stock_of(product: &str) -> String {
    format!("/v1/products/{product}/stock")
}

fn moved(probe: &Probe, product: &str, kind: &str, quantity: i64) -> Outcome<crate::client::Answer> {
    let body = json!({"kind": kind, "quantity": quantity, "note": "noted by a check"});
    probe.post(&format!("{}/movements", stock_of(product)), &body)
}

fn count(probe: &Probe) -> Outcome {
    let untracked = json!({"name": probe.name("untracked"), "price": usd(100)});
    let product = text(&probe.post("/v1/products", &untracked)?.expect(201)?, "id")?;
    let path = stock_of(&product);
    probe.get(&path)?.problem(404, "stock_not_tracked")?;
    same("untracked", &probe.get(&format!("/v1/products/{product}"))?.expect(200)?["stock"], &Value::Null)?;
    let counted = probe.put(&path, &json!({"onHand": 7, "note": "first count"}))?;
    let etag = counted.must_have("etag")?;
    holds("counted", &counted.expect(200)?, &json!({"onHand": 7, "reserved": 0, "available": 7}))?;
    let count = |etag: &str, on_hand: i64| probe.send("PUT", &path, &[("if-match", etag)], &json!({"onHand": on_hand}));
    count(&etag, 5)?.expect(200)?;
    count(&etag, 9)?.problem(412, "precondition_failed")?;
    probe.stock_becomes(&product, 5, 0, 5)?;
    probe.put(&path, &json!({"onHand": -1}))?.names(&["/onHand"])?;
    // Orders hold what they hold: what is counted cannot be less.
    probe.settles(&probe.order(&probe.name("buyer"), &product, 2)?, "CONFIRMED")?;
    let refused = probe.put(&path, &json!({"onHand": 1}))?.problem(409, "stock_reserved")?;
    same("how many", &refused["reserved"], &json!(2))?;
    probe.stock_becomes(&product, 5, 2, 3)?;
    let unknown = stock_of("00000000-0000-0000-0000-000000000000");
    probe.get(&unknown)?.problem(404, "product_not_found")?;
    probe.put(&unknown, &json!({"onHand": 1}))?.problem(404, "product_not_found").map(drop)
}

fn movements(probe: &Probe) -> Outcome {
    let product = probe.product(100, 5)?;
    for (kind, quantity, on_hand) in [("received", 10, 15), ("writtenOff", 3, 12)] {
        let answer = moved(probe, &product, kind, quantity)?;
        let line = answer.must_have("location")?;
        let by = if kind == "received" { quantity } else { -quantity };
        let answer = answer.expect(201)?;
        holds(kind, &answer, &json!({"kind": kind, "onHand": by, "available": by, "note": "noted by a check"}))?;
        same("the line of the ledger", &probe.get(&line)?.expect(200)?, &answer)?;
        probe.stock_becomes(&product, on_hand, 0, on_hand)?;
    }
    moved(probe, &product, "writtenOff", 13)?.problem(409, "stock_insufficient")?;
    probe.settles(&probe.order(&probe.name("buyer"), &product, 2)?, "CONFIRMED")?;
    moved(probe, &product, "writtenOff", 11)?.problem(409, "stock_reserved")?;
    moved(probe, &product, "received", 0)?.names(&["/quantity"])?;
    moved(probe, &product, "stolen", 1)?.names(&["/kind"])?;
    probe.stock_becomes(&product, 12, 2, 10)?;
    moved(probe, "00000000-0000-0000-0000-000000000000", "received", 1)?.problem(404, "product_not_found")?;
    let untracked = json!({"name": probe.name("untracked"), "price": usd(100)});
    let untracked = text(&probe.post("/v1/products", &untracked)?.expect(201)?, "id")?;
    moved(probe, &untracked, "received", 1)?.problem(409, "stock_not_tracked").map(drop)
}

fn orders(probe: &Probe) -> Outcome {
    let (user, product) = (probe.name("stock"), probe.product(100, 10)?);
    let (shipped, cancelled) = (probe.order(&user, &product, 3)?, probe.order(&user, &product, 2)?);
    probe.settles(&shipped, "CONFIRMED")?;
    probe.settles(&cancelled, "CONFIRMED")?;
    probe.stock_becomes(&product, 10, 5, 5)?;
    probe.transition(&shipped, "PACKED")?.expect(200)?;
    probe.transition(&shipped, "SHIPPED")?.expect(200)?;
    for _ in 0..2 {
        probe.transition(&cancelled, "CANCELLED")?.expect(200)?;
    }
    probe.stock_becomes(&product, 7, 0, 7)?;
    probe.ledger_becomes(&product, &["received", "reserved", "reserved", "shipped", "released"], 7, 7)
}

fn ledger(probe: &Probe) -> Outcome {
    let product = probe.product(100, 5)?;
    for quantity in 1..=3 {
        moved(probe, &product, "received", quantity)?.expect(201)?;
    }
    moved(probe, &product, "writtenOff", 4)?.expect(201)?;
    let order = probe.order(&probe.name("buyer"), &product, 2)?;
    probe.ledger_becomes(
        &product,
        &["received", "received", "received", "received", "writtenOff", "reserved"],
        7,
        5,
    )?;
    probe.stock_becomes(&product, 7, 2, 5)?;
    let path = format!("{}/movements", stock_of(&product));
    let lines = probe.all(&format!("{path}?limit=2"), "items")?;
    ensure!(lines.len() == 6, "six lines in pages of two, not {}", lines.len());
    let reserved = lines.iter().find(|line| line["kind"] == "reserved").ok_or("no line of the order")?;
    holds("of which order", reserved, &json!({"orderId": order, "onHand": 0, "available": -2}))?;
    same("newest first", &lines[5]["onHand"], &json!(5))?;
    for line in &lines {
        holds("line by line", &probe.get(&format!("{path}/{}", text(line, "id")?))?.expect(200)?, line)?;
    }
    probe.get(&format!("{path}/00000000-0000-0000-0000-000000000000"))?.problem(404, "movement_not_found").map(drop)
}

fn depleted(probe: &Probe) -> Outcome {
    let (user, product) = (probe.name("depleted"), probe.product(100, 2)?);
    probe.settles(&probe.order(&user, &product, 2)?, "CONFIRMED")?;
    probe.stock_becomes(&product, 2, 2, 0)?;
    probe.settles(&probe.order(&user, &product, 1)?, "REJECTED")?;
    moved(probe, &product, "received", 1)?.expect(201)?;
    probe.settles(&probe.order(&user, &product, 1)?, "CONFIRMED")?;
    probe.settles(&probe.order(&user, &product, 1)?, "REJECTED")?;
    probe.stock_becomes(&product, 3, 3, 0)?;
    probe.ledger_becomes(&product, &["received", "reserved", "received", "reserved"], 3, 0)
}
