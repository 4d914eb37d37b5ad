//! Who may do what. What takes access control is asked only of servers that have it: with a key of an admin.

use serde_json::json;

use crate::Check;
use crate::probe::{Outcome, Probe, ensure, holds, list, text};

pub(crate) const CHECKS: &[Check] = &[
    ("access: everybody can ask who they are", who_asks),
    ("access: whoever is nobody sees the catalogue and nothing else", nobody),
    ("access: a credential that is no good is 401, and says what would be", no_good),
    ("access: a customer's key reaches what is theirs, until it is revoked", customer),
    ("access: staff do the daily work, and make no keys", staff),
    ("access: what staff did is in the audit trail", audit),
    ("access: browsers are told what they may do with an answer", browsers),
];

fn who_asks(probe: &Probe) -> Outcome {
    let expected = json!({"accessControl": probe.client.has_credential(), "role": "admin"});
    holds("/v1/me", &probe.get("/v1/me")?.expect(200)?, &expected)
}

fn nobody(probe: &Probe) -> Outcome {
    if !probe.client.has_credential() {
        return Ok(());
    }
    let nobody = probe.client.of(None);
    for path in ["/health", "/docs", "/openapi.json", "/v1/me", "/v1/products", "/product"] {
        let answer = nobody.send("GET", path, &[], None)?;
        ensure!(answer.status == 200, "{}: {} {}", answer.request, answer.status, answer.text);
    }
    for (method, path) in [
        ("GET", "/v1/orders"),
        ("GET", "/v1/customers/ann"),
        ("GET", "/v1/baskets/ann"),
        ("GET", "/basket"),
        ("GET", "/order/ann"),
        ("GET", "/users/ann"),
        ("GET", "/orders?username=ann"),
        ("GET", "/v1/queues"),
        ("GET", "/v1/api-keys"),
        ("GET", "/v1/audit"),
        ("DELETE", "/v1/customers/ann"),
    ] {
        let answer = nobody.send(method, path, &[], None)?;
        let challenge = answer.must_have("www-authenticate")?;
        answer.problem(401, "unauthenticated")?;
        ensure!(challenge.starts_with("Bearer"), "{method} {path}: WWW-Authenticate: {challenge}");
    }
    for (path, body) in [("/v1/products", json!({})), ("/product", json!({})), ("/DynamoDBManager", json!({}))] {
        nobody.send("POST", path, &[], Some(&body.to_string()))?.problem(401, "unauthenticated")?;
    }
    Ok(())
}

fn no_good(probe: &Probe) -> Outcome {
    if !probe.client.has_credential() {
        return Ok(());
    }
    let forged = format!("cw_{}_{}", "0".repeat(32), "0".repeat(64));
    for credential in [forged.as_str(), "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.", "nonsense"] {
        probe.client.of(Some(credential)).send("GET", "/v1/products", &[], None)?.problem(401, "unauthenticated")?;
    }
    let basic = [("authorization", "Basic YWRtaW46YWRtaW4=")];
    probe.client.send("GET", "/v1/queues", &basic, None)?.problem(401, "unauthenticated").map(drop)
}

fn customer(probe: &Probe) -> Outcome {
    if !probe.client.has_credential() {
        return Ok(());
    }
    let (user, other) = (probe.customer("mine")?, probe.customer("others")?);
    let product = probe.product(500, 5)?;
    probe.fill(&other, &product, 1)?;
    let accepted = probe.post(&format!("/v1/baskets/{other}/checkout"), &json!({}))?.expect(202)?;
    let order = text(&accepted, "orderId")?;
    probe.settles(&order, "CONFIRMED")?;
    let key = json!({"name": probe.name("key"), "role": "customer", "username": user});
    let key = probe.post("/v1/api-keys", &key)?.expect(201)?;
    let (id, mine) = (text(&key, "id")?, probe.client.of(Some(&text(&key, "key")?)));
    holds(
        "/v1/me",
        &mine.send("GET", "/v1/me", &[], None)?.expect(200)?,
        &json!({"role": "customer", "username": user}),
    )?;
    mine.send("GET", &format!("/v1/customers/{user}"), &[], None)?.expect(200)?;
    for path in [
        format!("/v1/customers/{other}"),
        format!("/v1/baskets/{other}"),
        format!("/users/{other}"),
        format!("/order/{other}"),
        format!("/orders?username={other}"),
        "/v1/orders".to_owned(),
        "/v1/queues".to_owned(),
    ] {
        mine.send("GET", &path, &[], None)?.problem(403, "forbidden")?;
    }
    mine.send("GET", &format!("/v1/orders/{order}"), &[], None)?.problem(404, "order_not_found")?;
    let line = json!({"productId": product, "quantity": 1}).to_string();
    mine.send("POST", &format!("/v1/baskets/{other}/items"), &[], Some(&line))?.problem(403, "forbidden")?;
    mine.send("POST", &format!("/v1/baskets/{user}/items"), &[], Some(&line))?.expect(200)?;
    let accepted =
        mine.send("POST", "/basket/checkout", &[], Some(&json!({"userName": user}).to_string()))?.expect(200)?;
    let own = text(&accepted["body"], "orderId")?;
    probe.settles(&own, "CONFIRMED")?;
    let steps = format!("/v1/orders/{own}/transitions");
    mine.send("POST", &steps, &[], Some(r#"{"to":"PACKED"}"#))?.problem(403, "forbidden")?;
    mine.send("POST", &steps, &[], Some(r#"{"to":"CANCELLED"}"#))?.expect(200)?;
    probe.client.send("DELETE", &format!("/v1/api-keys/{id}"), &[], None)?.expect(204)?;
    mine.send("GET", &format!("/v1/customers/{user}"), &[], None)?.problem(401, "unauthenticated").map(drop)
}

fn staff(probe: &Probe) -> Outcome {
    if !probe.client.has_credential() {
        return Ok(());
    }
    let key = probe.post("/v1/api-keys", &json!({"name": probe.name("key"), "role": "staff"}))?.expect(201)?;
    let staff = probe.client.of(Some(&text(&key, "key")?));
    staff.send("GET", "/v1/orders?limit=1", &[], None)?.expect(200)?;
    for (method, path) in [("GET", "/v1/api-keys"), ("POST", "/v1/api-keys"), ("GET", "/v1/audit")] {
        let body = (method == "POST").then_some(r#"{"name":"more","role":"admin"}"#);
        staff.send(method, path, &[], body)?.problem(403, "forbidden")?;
    }
    probe.client.send("DELETE", &format!("/v1/api-keys/{}", text(&key, "id")?), &[], None)?.expect(204).map(drop)
}

fn audit(probe: &Probe) -> Outcome {
    if !probe.client.has_credential() {
        return Ok(());
    }
    let product = probe.product(500, 5)?;
    let path = format!("/v1/products/{product}");
    let key = probe.post("/v1/api-keys", &json!({"name": probe.name("key"), "role": "staff"}))?.expect(201)?;
    let (id, staff) = (text(&key, "id")?, probe.client.of(Some(&text(&key, "key")?)));
    let body = json!({"name": probe.name("renamed")}).to_string();
    staff.send("PATCH", &path, &[], Some(&body))?.expect(200)?;
    probe.wait("the change is in the audit trail", || {
        let trail = probe.get(&format!("/v1/audit?limit=100&actor=key:{id}"))?.expect(200)?;
        let expected = json!({"role": "staff", "action": "PATCH /v1/products/{id}", "target": path});
        list(&trail["items"])?.first().map(|entry| holds("the entry", entry, &expected)).transpose()
    })
}

fn browsers(probe: &Probe) -> Outcome {
    let answer = probe.get("/v1/products?limit=1")?;
    for (name, expected) in
        [("x-content-type-options", "nosniff"), ("x-frame-options", "DENY"), ("referrer-policy", "no-referrer")]
    {
        let value = answer.must_have(name)?;
        ensure!(value == expected, "{name}: {value}");
    }
    ensure!(answer.header("server").is_none(), "Server: {:?}", answer.header("server"));
    Ok(())
}
