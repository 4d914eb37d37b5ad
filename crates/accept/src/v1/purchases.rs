//! `/v1/purchases`.

use serde_json::{Value, json};

use crate::Check;
use crate::client::Answer;
use crate::probe::{Outcome, Probe, each, ensure, holds, list, same, text, usd};

pub(crate) const CHECKS: &[Check] = &[
    ("v1 purchases: 202 and a status URL, where it becomes stored", record),
    ("v1 purchases: replace and delete, If-Match", change),
    ("v1 purchases: a bad one is refused with every bad field", refused),
    ("v1 purchases: many at once, each on its own", batch),
    ("v1 purchases: sums by product, category and day", summary),
    ("v1 purchases: under one Idempotency-Key once", idempotency),
];

/// Waits until the last change of a purchase is stored. Where it stands.
pub(crate) fn stored(probe: &Probe, id: &str) -> Outcome<Value> {
    probe.wait(&format!("purchase {id} stored"), || {
        let found = probe.get(&format!("/v1/purchases/{id}"))?.expect(200)?;
        Ok((found["status"] == "stored").then_some(found))
    })
}

/// Waits until a purchase is deleted.
pub(crate) fn gone(probe: &Probe, id: &str) -> Outcome {
    let path = format!("/v1/purchases/{id}");
    probe.wait(&format!("purchase {id} gone"), || Ok((probe.get(&path)?.status == 404).then_some(())))?;
    probe.get(&path)?.problem(404, "purchase_not_found").map(drop)
}

/// So many pieces for 10.32 each.
fn purchase(probe: &Probe, quantity: i64) -> Value {
    json!({"productId": probe.name("!phone"), "productName": "iPhone", "category": probe.name("!Phones"), "unitPrice": usd(1_032),
        "quantity": quantity, "total": usd(1_032 * quantity), "customerId": "b20f30ta-29d3-10f3-wov0-10c39a30sgfs",
        "customerName": "Sarah Harris", "purchasedAt": "2021-02-28T10:02:12.034Z"})
}

fn sent(probe: &Probe, purchase: &Value) -> Outcome<String> {
    text(&probe.post("/v1/purchases", purchase)?.expect(202)?, "id")
}

fn record(probe: &Probe) -> Outcome {
    let answer = probe.post("/v1/purchases", &purchase(probe, 3))?;
    let url = answer.must_have("location")?;
    let answer = answer.expect(202)?;
    let id = text(&answer, "id")?;
    let expected = json!({"id": id, "version": 1, "status": "pending", "statusUrl": url});
    holds("accepted", &answer, &expected)?;
    text(&answer, "messageId")?;
    // It is known from the first moment, though it may still be on its way.
    holds("at once", &probe.get(&url)?.expect(200)?, &json!({"id": id, "purchase": purchase(probe, 3)}))?;
    let expected =
        json!({"id": id, "version": 1, "status": "stored", "action": "create", "purchase": purchase(probe, 3)});
    holds("stored", &stored(probe, &id)?, &expected)?;
    probe.listed("/v1/purchases?limit=100", "items", |purchase| purchase["id"] == id.as_str())?;
    probe.get("/v1/purchases/00000000-0000-0000-0000-000000000000")?.problem(404, "purchase_not_found").map(drop)
}

fn change(probe: &Probe) -> Outcome {
    let id = sent(probe, &purchase(probe, 3))?;
    let path = format!("/v1/purchases/{id}");
    stored(probe, &id)?;
    let etag = probe.get(&path)?.must_have("etag")?;
    let replace = |quantity: i64| probe.send("PUT", &path, &[("if-match", &etag)], &purchase(probe, quantity));
    holds("accepted", &replace(2)?.expect(202)?, &json!({"id": id, "version": 2, "statusUrl": path}))?;
    replace(1)?.problem(412, "precondition_failed")?;
    let expected = json!({"version": 2, "action": "update", "purchase": purchase(probe, 2)});
    holds("replaced", &stored(probe, &id)?, &expected)?;
    let remove = |etag: &str| probe.client.send("DELETE", &path, &[("if-match", etag)], None);
    remove(&etag)?.problem(412, "precondition_failed")?;
    let etag = probe.get(&path)?.must_have("etag")?;
    holds("accepted", &remove(&etag)?.expect(202)?, &json!({"id": id, "version": 3, "statusUrl": path}))?;
    gone(probe, &id)?;
    probe.put(&path, &purchase(probe, 1))?.problem(404, "purchase_not_found").map(drop)
}

fn refused(probe: &Probe) -> Outcome {
    let all = [
        "/productId",
        "/productName",
        "/category",
        "/unitPrice",
        "/quantity",
        "/total",
        "/customerId",
        "/customerName",
        "/purchasedAt",
    ];
    probe.post("/v1/purchases", &json!({}))?.names(&all)?;
    let mut wrong = purchase(probe, 3);
    wrong["total"] = usd(1);
    probe.post("/v1/purchases", &wrong)?.names(&["/total"])?;
    wrong["unitPrice"]["currency"] = json!("EUR");
    wrong["purchasedAt"] = json!("yesterday");
    probe.post("/v1/purchases", &wrong)?.names(&["/unitPrice", "/purchasedAt"])
}

fn batch(probe: &Probe) -> Outcome {
    let mut bad = purchase(probe, 1);
    bad["quantity"] = json!(0);
    bad["customerName"] = json!("");
    let lines = json!({"purchases": [purchase(probe, 1), bad, purchase(probe, 2)]});
    let answer = probe.post("/v1/purchases/batch", &lines)?.expect(207)?;
    holds("counts", &answer, &json!({"accepted": 2, "refused": 1}))?;
    let lines = list(&answer["purchases"])?;
    ensure!(lines.len() == 3, "an answer for each: {answer}");
    let problem = &lines[1]["problem"];
    holds("the bad one", problem, &json!({"status": 400, "code": "invalid_request"}))?;
    let mut pointers: Vec<&str> = list(&problem["errors"])?.iter().filter_map(|bad| bad["pointer"].as_str()).collect();
    pointers.sort_unstable();
    ensure!(pointers == ["/customerName", "/quantity"], "its bad fields: {problem}");
    for (at, quantity) in [(0, 1), (2, 2)] {
        let id = text(&lines[at]["accepted"], "id")?;
        holds("a good one", &stored(probe, &id)?["purchase"], &purchase(probe, quantity))?;
    }
    probe.post("/v1/purchases/batch", &json!({"purchases": []}))?.names(&["/purchases"])?;
    let many = json!({"purchases": vec![json!({}); 101]});
    probe.post("/v1/purchases/batch", &many)?.names(&["/purchases"])
}

/// The last day that can be told, so that it is the first in the list and nobody else's.
const DAY: &str = "9998-12-31";

fn summary(probe: &Probe) -> Outcome {
    let on_day = |quantity: i64| {
        let mut purchase = purchase(probe, quantity);
        purchase["purchasedAt"] = json!(format!("{DAY}T01:02:03.004Z"));
        purchase
    };
    let sum = |by: &str, key: &str| -> Outcome<Value> {
        let path = format!("/v1/purchases/summary?by={by}&limit=100");
        let (found, _) = probe.find(&path, "items", |sum| sum["key"] == key)?;
        Ok(found.unwrap_or_else(|| json!({"key": key, "count": 0, "quantity": 0, "total": usd(0)})))
    };
    let becomes = |by: &str, key: &str, count: i64, quantity: i64| {
        let expected = json!({"key": key, "count": count, "quantity": quantity, "total": usd(1_032 * quantity)});
        probe.wait(&format!("the sum by {by}: {expected}"), || Ok((sum(by, key)? == expected).then_some(())))
    };
    let (product, category) = (probe.name("!phone"), probe.name("!Phones"));
    // What an earlier run may have left on this day is none of ours.
    let left = sum("day", DAY)?;
    let number = |name: &str| left[name].as_i64().ok_or_else(|| format!("no number {name}: {left}"));
    let (count, quantity) = (number("count")?, number("quantity")?);
    let (first, second) = (sent(probe, &on_day(3))?, sent(probe, &on_day(1))?);
    becomes("product", &product, 2, 4)?;
    becomes("category", &category, 2, 4)?;
    becomes("day", DAY, count + 2, quantity + 4)?;
    probe.put(&format!("/v1/purchases/{first}"), &on_day(5))?.expect(202)?;
    becomes("product", &product, 2, 6)?;
    for id in [first, second] {
        probe.delete(&format!("/v1/purchases/{id}"))?.expect(202)?;
    }
    becomes("product", &product, 0, 0)?;
    becomes("category", &category, 0, 0)?;
    becomes("day", DAY, count, quantity)?;
    probe.get("/v1/purchases/summary?by=moon")?.names(&["?by"])?;
    probe.get("/v1/purchases/summary")?.names(&["?by"])
}

fn idempotency(probe: &Probe) -> Outcome {
    let key = probe.name("key");
    let send =
        |path: &str, body: &Value| -> Outcome<Answer> { probe.send("POST", path, &[("idempotency-key", &key)], body) };
    let first = send("/v1/purchases", &purchase(probe, 3))?.expect(202)?;
    same("replayed", &send("/v1/purchases", &purchase(probe, 3))?.expect(202)?, &first)?;
    send("/v1/purchases", &purchase(probe, 2))?.problem(422, "idempotency_key_reused")?;
    stored(probe, &text(&first, "id")?)?;
    let (many, key) = (json!({"purchases": [purchase(probe, 1), purchase(probe, 2)]}), probe.name("many"));
    let send = || probe.send("POST", "/v1/purchases/batch", &[("idempotency-key", &key)], &many)?.expect(207);
    let (first, again) = (send()?, send()?);
    let ids = |answer: &Value| Ok::<_, String>(each(&each(list(&answer["purchases"])?, "accepted"), "id"));
    same("replayed", &json!(ids(&again)?), &json!(ids(&first)?))
}
