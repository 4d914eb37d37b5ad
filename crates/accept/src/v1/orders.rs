//! `/v1/orders`.

use serde_json::{Value, json};

use crate::Check;
use crate::probe::{Outcome, Probe, each, ensure, holds, list, same, text, usd};

pub(crate) const CHECKS: &[Check] = &[
    ("v1 orders: placed directly, for a customer there is", direct),
    ("v1 orders: filters by customer, status and time, in pages, newest first", filters),
    ("v1 orders: along the machine from CONFIRMED to RETURNED", along),
    ("v1 orders: a step the machine does not have is 409, one repeated changes nothing", forbidden),
    ("v1 orders: If-Match keeps a step from being taken on an old view", entity_tags),
    ("v1 orders: the timeline tells what happened, under the id of the request it came of", timeline),
    ("v1 orders: an unknown one is 404 everywhere", unknown),
];

/// An order of a customer over so many cents, as it was answered.
fn placed(probe: &Probe, customer: &str, cents: i64) -> Outcome<Value> {
    let body = json!({"customer": customer, "total": usd(cents), "itemCount": 2});
    probe.post("/v1/orders", &body)?.expect(201)
}

/// An order that is confirmed: its id.
fn confirmed(probe: &Probe) -> Outcome<String> {
    let order = probe.order(&probe.name("ann"), &probe.product(100, 10)?, 1)?;
    probe.settles(&order, "CONFIRMED")?;
    Ok(order)
}

fn direct(probe: &Probe) -> Outcome {
    let user = probe.customer("ann")?;
    let answer = probe.post("/v1/orders", &json!({"customer": user, "total": usd(550), "itemCount": 2}))?;
    let path = answer.must_have("location")?;
    let order = answer.expect(201)?;
    let id = text(&order, "id")?;
    let expected = json!({"customer": user, "status": "PLACED", "lines": [], "itemCount": 2, "total": usd(550)});
    holds("placed", &order, &expected)?;
    same("Location", &json!(path), &json!(format!("/v1/orders/{id}")))?;
    // There is no stock to wait for.
    probe.settles(&id, "CONFIRMED")?;
    let nobody = json!({"customer": probe.name("nobody"), "total": usd(550), "itemCount": 2});
    probe.post("/v1/orders", &nobody)?.problem(404, "customer_not_found")?;
    let bad = json!({"customer": user, "total": usd(550), "itemCount": 0});
    probe.post("/v1/orders", &bad)?.names(&["/itemCount"])
}

fn filters(probe: &Probe) -> Outcome {
    let user = probe.customer("ann")?;
    let mut orders = Vec::new();
    for cents in 1..=3 {
        orders.insert(0, placed(probe, &user, cents)?);
    }
    let ids = each(&orders, "id");
    for id in &ids {
        probe.settles(id.as_str().unwrap_or_default(), "CONFIRMED")?;
    }
    probe.transition(ids[2].as_str().unwrap_or_default(), "CANCELLED")?.expect(200)?;
    let middle = text(&orders[1], "createdAt")?;
    for (query, expected) in [
        (String::new(), json!(ids)),
        ("&limit=1".to_owned(), json!(ids)),
        ("&status=CONFIRMED".to_owned(), json!(ids[..2])),
        ("&status=CONFIRMED&limit=1".to_owned(), json!(ids[..2])),
        ("&status=CANCELLED".to_owned(), json!(ids[2..])),
        ("&status=RETURNED".to_owned(), json!([])),
        (format!("&from={middle}"), json!(ids[..2])),
        (format!("&to={middle}"), json!(ids[1..])),
        (format!("&from={middle}&to={middle}"), json!(ids[1..2])),
    ] {
        let found = probe.all(&format!("/v1/orders?customer={user}{query}"), "items")?;
        same(&format!("customer{query}"), &json!(each(&found, "id")), &expected)?;
    }
    let theirs = probe.all(&format!("/v1/customers/{user}/orders?limit=2"), "items")?;
    same("those of the customer", &json!(each(&theirs, "id")), &json!(ids))?;
    probe.listed("/v1/orders?limit=100", "items", |order| order["id"] == ids[0])?;
    probe.listed("/v1/orders?status=CANCELLED&limit=100", "items", |order| order["id"] == ids[2]).map(drop)
}

fn along(probe: &Probe) -> Outcome {
    let order = confirmed(probe)?;
    for (status, next) in [
        ("PACKED", json!(["SHIPPED", "CANCELLED"])),
        ("SHIPPED", json!(["DELIVERED"])),
        ("DELIVERED", json!(["RETURNED"])),
        ("RETURNED", json!([])),
    ] {
        let moved = probe.transition(&order, status)?.expect(200)?;
        holds(status, &moved, &json!({"id": order, "status": status, "nextStatuses": next}))?;
        same("kept", &probe.get(&format!("/v1/orders/{order}"))?.expect(200)?, &moved)?;
    }
    Ok(())
}

fn forbidden(probe: &Probe) -> Outcome {
    let order = confirmed(probe)?;
    let path = format!("/v1/orders/{order}");
    let before = probe.get(&path)?.expect(200)?;
    for status in ["PLACED", "REJECTED", "SHIPPED", "DELIVERED", "RETURNED"] {
        let problem = probe.transition(&order, status)?.problem(409, "transition_forbidden")?;
        same("the steps there are", &problem["nextStatuses"], &json!(["PACKED", "CANCELLED"]))?;
    }
    same("nothing changed", &probe.get(&path)?.expect(200)?, &before)?;
    probe.transition(&order, "LOST")?.names(&["/to"])?;
    let packed = probe.transition(&order, "PACKED")?;
    let etag = packed.must_have("etag")?;
    let packed = packed.expect(200)?;
    let again = probe.transition(&order, "PACKED")?;
    same("its tag", &json!(again.must_have("etag")?), &json!(etag))?;
    same("repeated", &again.expect(200)?, &packed)?;
    probe.transition(&order, "CANCELLED")?.expect(200)?;
    probe.transition(&order, "PACKED")?.problem(409, "transition_forbidden").map(drop)
}

fn entity_tags(probe: &Probe) -> Outcome {
    let order = confirmed(probe)?;
    let etag = probe.get(&format!("/v1/orders/{order}"))?.must_have("etag")?;
    let step = |etag: &str, to: &str| {
        let path = format!("/v1/orders/{order}/transitions");
        probe.send("POST", &path, &[("if-match", etag)], &json!({"to": to}))
    };
    let next = step(&etag, "PACKED")?.must_have("etag")?;
    step(&etag, "CANCELLED")?.problem(412, "precondition_failed")?;
    same("shipped", &step(&next, "SHIPPED")?.expect(200)?["status"], &json!("SHIPPED"))
}

fn timeline(probe: &Probe) -> Outcome {
    let (user, product, request) = (probe.name("ann"), probe.product(100, 10)?, probe.name("request"));
    probe.fill(&user, &product, 1)?;
    let path = format!("/v1/baskets/{user}/checkout");
    let accepted = probe.send("POST", &path, &[("x-request-id", &request)], &json!({}))?.expect(202)?;
    let order = text(&accepted, "orderId")?;
    probe.settles(&order, "CONFIRMED")?;
    let path = format!("/v1/orders/{order}/timeline");
    let entries = probe.all(&format!("{path}?limit=2"), "items")?;
    let mut events: Vec<&str> = entries.iter().filter_map(|entry| entry["event"].as_str()).collect();
    ensure!(events.first() == Some(&"CheckoutBasket"), "oldest first: {events:?}");
    events.sort_unstable();
    events.dedup();
    ensure!(events == ["CheckoutBasket", "OrderConfirmed", "OrderPlaced", "StockReserved"], "its events: {events:?}");
    for entry in &entries {
        same("the request it came of", &entry["correlationId"], &json!(request))?;
    }
    let status =
        |event: &str| entries.iter().find(|entry| entry["event"] == event).map(|entry| entry["status"].clone());
    same("what it decided", &json!(status("OrderConfirmed")), &json!("CONFIRMED"))?;
    probe.transition(&order, "PACKED")?.expect(200)?;
    let page = probe.get(&format!("{path}?limit=100"))?.expect(200)?;
    ensure!(list(&page["items"])?.iter().any(|entry| entry["event"] == "OrderPacked"), "no OrderPacked: {page}");
    Ok(())
}

fn unknown(probe: &Probe) -> Outcome {
    for id in ["2T9lhYvBXfLmcUMmVP3eBPqHvZ8", "no-such-order"] {
        probe.get(&format!("/v1/orders/{id}"))?.problem(404, "order_not_found")?;
        probe.get(&format!("/v1/orders/{id}/timeline"))?.problem(404, "order_not_found")?;
        probe.transition(id, "CANCELLED")?.problem(404, "order_not_found")?;
    }
    let none = probe.get(&format!("/v1/orders?customer={}", probe.name("nobody")))?.expect(200)?;
    same("orders of nobody", &none["items"], &json!([]))
}
