//! System 2: users and their orders.

use serde_json::{Value, json};

use crate::Check;
use crate::probe::{Outcome, Probe, ensure, same, text};

pub(crate) const CHECKS: &[Check] = &[
    ("2 POST /add_user, GET /users, POST /edit-address", user),
    ("2 same user name or e-mail address again, in another case", taken),
    ("2 POST, GET, PUT /orders", orders),
    ("2 GET /orders: ten a page, a token that works", pages),
    ("2 DELETE /users: name and address are free, orders stay without personal data", erased),
];

fn add(probe: &Probe, username: &str) -> Outcome {
    let body = json!({"email": format!("{username}@example.com"), "name": "john smith", "username": username});
    let added = probe.post("/add_user/", &body)?.expect(200)?;
    same("added", &added, &json!({"message": format!("User {username} with added successfully")}))
}

fn profile(username: &str) -> Value {
    let key = format!("CUSTOMER#{username}");
    json!({"PK": key, "SK": key, "Username": username, "Name": "john smith", "Email": format!("{username}@example.com")})
}

fn user(probe: &Probe) -> Outcome {
    let name = probe.name("john");
    probe.get(&format!("/users/{name}"))?.problem(404, "customer_not_found")?;
    add(probe, &name)?;
    let fetched = probe.get(&format!("/users/{name}"))?.expect(200)?;
    same(
        "fetched",
        &fetched,
        &json!({"message": "User fetched successfully", "success": true, "data": profile(&name)}),
    )?;
    let path = |name: &str| format!("/edit-address?username={name}&new_address=17%20Nightingale%20Lane");
    let moved = probe.client.send("POST", &path(&name), &[], Some(""))?.expect(200)?;
    let mut expected = profile(&name);
    expected["Address"] = json!("17 Nightingale Lane");
    same("moved", &moved, &json!({"message": "Address updated successfully", "success": true, "data": expected}))?;
    let ghost = probe.name("ghost");
    probe.client.send("POST", &path(&ghost), &[], Some(""))?.problem(404, "customer_not_found")?;
    probe.get(&format!("/users/{ghost}"))?.problem(404, "customer_not_found").map(drop)
}

fn taken(probe: &Probe) -> Outcome {
    let name = probe.name("taken");
    add(probe, &name)?;
    for (username, email) in [
        (name.to_uppercase(), format!("other-{name}@example.com")),
        (probe.name("other"), format!("{}@EXAMPLE.com", name.to_uppercase())),
    ] {
        let body = json!({"email": email, "name": "x", "username": username});
        let problem = probe.post("/add_user", &body)?.problem(409, "transaction_canceled")?;
        same("title", &problem["title"], &json!("Transaction Canceled"))?;
    }
    probe
        .post("/add_user", &json!({"email": "a@b.c", "name": "x", "username": "a#b"}))?
        .problem(400, "invalid_request")
        .map(drop)
}

fn orders(probe: &Probe) -> Outcome {
    let name = probe.name("orders");
    add(probe, &name)?;
    let placed = probe.post("/orders/", &json!({"amount": 5.5, "numItems": 2, "username": name}))?.expect(201)?;
    same("message", &placed["message"], &json!("Order placed successfully"))?;
    let data = &placed["data"];
    let id = text(data, "OrderId")?;
    for (member, value) in [
        ("PK", json!(format!("CUSTOMER#{name}"))),
        ("SK", json!(format!("#ORDER#{id}"))),
        ("Status", json!("PLACED")),
        ("Amount", json!(5.5)),
        ("NumberItems", json!(2)),
    ] {
        same(member, &data[member], &value)?;
    }
    let path = format!("/orders/{id}");
    let fetched = probe.get(&format!("{path}?username={name}"))?.expect(200)?;
    same("fetched", &fetched["data"]["OrderId"], &json!(id))?;
    probe.settles(&id, "CONFIRMED")?;
    let cancelled = probe.put(&path, &json!({"username": name, "status": "CANCEL"}))?.expect(200)?;
    same("cancelled", &cancelled["data"]["Status"], &json!("CANCEL"))?;
    ensure!(cancelled["data"]["UpdatedAt"].is_string(), "no UpdatedAt: {cancelled}");
    probe.put(&path, &json!({"username": name, "status": "SHIPPED"}))?.problem(409, "transition_forbidden")?;
    probe.post("/orders", &json!({"amount": 5.5, "numItems": 0, "username": name}))?.problem(400, "invalid_request")?;
    let nobody = json!({"amount": 5.5, "numItems": 1, "username": probe.name("nobody")});
    probe.post("/orders", &nobody)?.problem(404, "customer_not_found")?;
    probe
        .get(&format!("/orders/2T9lhYvBXfLmcUMmVP3eBPqHvZ8?username={name}"))?
        .problem(404, "order_not_found")
        .map(drop)
}

fn pages(probe: &Probe) -> Outcome {
    let name = probe.name("pages");
    add(probe, &name)?;
    let mut placed = Vec::new();
    for n in 1..=12 {
        let order = probe.post("/orders", &json!({"amount": n, "numItems": 1, "username": name}))?.expect(201)?;
        placed.insert(0, order["data"]["OrderId"].clone());
    }
    let first = probe.get(&format!("/orders/?username={name}"))?.expect(200)?;
    same("the profile first", &first["data"][0], &profile(&name))?;
    let token = text(&first, "nextToken")?;
    let second = probe.get(&format!("/orders/?username={name}&nextToken={token}"))?.expect(200)?;
    let ids = |page: &Value| -> Vec<Value> {
        let data = page["data"].as_array().cloned().unwrap_or_default();
        data.iter().filter_map(|item| item.get("OrderId").cloned()).collect()
    };
    ensure!([ids(&first), ids(&second)].concat() == placed, "newest first, each once: {first} {second}");
    ensure!(ids(&first).len() == 10 && second.get("nextToken").is_none(), "ten a page, two pages");
    Ok(())
}

fn erased(probe: &Probe) -> Outcome {
    let (name, product) = (probe.name("erased"), probe.product(100, 10)?);
    add(probe, &name)?;
    probe.post(&format!("/v1/baskets/{name}/items"), &json!({"productId": product, "quantity": 1}))?.expect(200)?;
    let contact = json!({"contact": {"address": "17 Nightingale Lane"}});
    let order = text(&probe.post(&format!("/v1/baskets/{name}/checkout"), &contact)?.expect(202)?, "orderId")?;
    probe.settles(&order, "CONFIRMED")?;
    probe.delete(&format!("/users/{name}"))?.expect(200)?;
    probe.get(&format!("/users/{name}"))?.problem(404, "customer_not_found")?;
    add(probe, &name)?;
    probe.wait("an order without personal data", || {
        let found = probe.get(&format!("/v1/orders/{order}"))?;
        // While it is moved, an order may be between two places for a moment.
        Ok((found.status == 200 && !found.text.contains("Nightingale") && !found.text.contains(&name)).then_some(()))
    })?;
    let theirs = probe.get(&format!("/v1/orders?customer={name}"))?.expect(200)?;
    same("the new user has no orders", &theirs["items"], &json!([]))
}
