//! Design 2: orders of a user.

use serde_json::{Value, json};

use super::users::{add, profile};
use crate::Check;
use crate::probe::{Outcome, Probe, ensure, holds, list, same, text};

pub(crate) const CHECKS: &[Check] = &[
    ("2 GET /orders?username=: profile and orders, ten a page, and a nextToken that works", pages),
    ("2 POST /orders", place),
    ("2 GET /orders/{order_id}?username=", fetch),
    ("2 PUT /orders/{order_id}", update),
];

/// An order over 5.50 for two pieces, as it was answered.
fn placed(probe: &Probe, user: &str) -> Outcome<Value> {
    let placed = probe.post("/orders/", &json!({"amount": 5.5, "numItems": 2, "username": user}))?.expect(201)?;
    holds("placed", &placed, &json!({"message": "Order placed successfully", "success": true}))?;
    Ok(placed["data"].clone())
}

/// Whether this is a time as `2023-08-22T02:07:33.696174`: no zone, six decimals.
fn is_time(value: &Value) -> bool {
    let form: String =
        value.as_str().unwrap_or_default().chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    form == "0000-00-00T00:00:00.000000"
}

fn pages(probe: &Probe) -> Outcome {
    let name = probe.name("john");
    probe.get(&format!("/orders/?username={name}"))?.problem(404, "customer_not_found")?;
    add(probe, &name)?;
    let path = format!("/orders/?username={name}");
    let none = probe.get(&path)?.expect(200)?;
    holds("no orders yet", &none, &json!({"message": "orders fetched successfully", "data": [profile(&name)]}))?;
    let mut orders = Vec::new();
    for amount in 1..=12 {
        let order = probe.post("/orders", &json!({"amount": amount, "numItems": 1, "username": name}))?.expect(201)?;
        orders.insert(0, order["data"]["OrderId"].clone());
    }
    let first = probe.get(&path)?.expect(200)?;
    holds("the profile first", &first["data"][0], &profile(&name))?;
    let second = probe.get(&format!("{path}&nextToken={}", text(&first, "nextToken")?))?.expect(200)?;
    let ids = |page: &Value| -> Outcome<Vec<Value>> {
        Ok(list(&page["data"])?.iter().filter_map(|item| item.get("OrderId").cloned()).collect())
    };
    same("ten, newest first", &json!(ids(&first)?), &json!(orders[..10]))?;
    same("the others", &json!(ids(&second)?), &json!(orders[10..]))?;
    ensure!(second.get("nextToken").is_none(), "a token at the end: {second}");
    Ok(())
}

fn place(probe: &Probe) -> Outcome {
    let name = probe.name("john");
    add(probe, &name)?;
    let order = placed(probe, &name)?;
    let id = text(&order, "OrderId")?;
    let expected = json!({"PK": format!("CUSTOMER#{name}"), "SK": format!("#ORDER#{id}"), "OrderId": id,
        "Status": "PLACED", "Amount": 5.5, "NumberItems": 2});
    holds("the order", &order, &expected)?;
    ensure!(id.len() == 27 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "not a KSUID: {id}");
    ensure!(is_time(&order["CreatedAt"]), "not a time as it was: {order}");
    let bad = json!({"amount": -1, "numItems": 1, "username": name});
    probe.post("/orders", &bad)?.names(&["/amount"])?;
    for items in [json!(0), json!(-1), json!(1.5)] {
        let bad = json!({"amount": 5.5, "numItems": items, "username": name});
        probe.post("/orders", &bad)?.names(&["/numItems"])?;
    }
    let nobody = json!({"amount": 5.5, "numItems": 1, "username": probe.name("nobody")});
    probe.post("/orders", &nobody)?.problem(404, "customer_not_found").map(drop)
}

fn fetch(probe: &Probe) -> Outcome {
    let (name, other) = (probe.name("john"), probe.name("jane"));
    add(probe, &name)?;
    add(probe, &other)?;
    let order = placed(probe, &name)?;
    let path = format!("/orders/{}", text(&order, "OrderId")?);
    let fetched = probe.get(&format!("{path}?username={name}"))?.expect(200)?;
    let expected = json!({"PK": order["PK"], "SK": order["SK"], "OrderId": order["OrderId"],
        "CreatedAt": order["CreatedAt"], "Status": "PLACED", "Amount": 5.5, "NumberItems": 2});
    holds("fetched", &fetched, &json!({"message": "Order fetched successfully", "success": true, "data": expected}))?;
    probe.get(&format!("{path}?username={other}"))?.problem(404, "order_not_found")?;
    probe
        .get(&format!("/orders/2T9lhYvBXfLmcUMmVP3eBPqHvZ8?username={name}"))?
        .problem(404, "order_not_found")
        .map(drop)
}

fn update(probe: &Probe) -> Outcome {
    let name = probe.name("john");
    add(probe, &name)?;
    let order = placed(probe, &name)?;
    let id = text(&order, "OrderId")?;
    let path = format!("/orders/{id}");
    probe.settles(&id, "CONFIRMED")?;
    let put = |status: &str| probe.put(&path, &json!({"username": name, "status": status}));
    put("LOST")?.names(&["/status"])?;
    put("DELIVERED")?.problem(409, "transition_forbidden")?;
    let cancelled = put("CANCEL")?.expect(200)?;
    let data = json!({"PK": order["PK"], "SK": order["SK"], "OrderId": id, "CreatedAt": order["CreatedAt"],
        "Status": "CANCEL", "Amount": 5.5, "NumberItems": 2});
    holds("cancelled", &cancelled, &json!({"message": "Order updated successfully", "success": true, "data": data}))?;
    ensure!(is_time(&cancelled["data"]["UpdatedAt"]), "not a time: {cancelled}");
    same("again, nothing changes", &put("CANCEL")?.expect(200)?["data"], &cancelled["data"])?;
    put("SHIPPED")?.problem(409, "transition_forbidden")?;
    let unknown = json!({"username": name, "status": "CANCEL"});
    probe.put("/orders/2T9lhYvBXfLmcUMmVP3eBPqHvZ8", &unknown)?.problem(404, "order_not_found").map(drop)
}
