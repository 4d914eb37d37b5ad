//! Inboxes, who waits for a product, and webhooks.

use serde_json::json;

use crate::Check;
use crate::probe::{Outcome, Probe, ensure, holds, list, same, text};

pub(crate) const CHECKS: &[Check] = &[
    ("v1 notifications: a customer reads in their inbox what became of their order", inbox),
    ("v1 notifications: operators have an inbox", operators_inbox),
    ("v1 notifications: who waits for a product is told once when it is back", watchers),
    ("v1 notifications: webhooks are added, changed and removed, and their secrets shown once", subscriptions),
    ("v1 notifications: webhooks may not lead inside", private_urls),
];

fn inbox(probe: &Probe) -> Outcome {
    let user = probe.customer("inbox")?;
    let order = probe.order(&user, &probe.product(1_000, 5)?, 1)?;
    probe.settles(&order, "CONFIRMED")?;
    probe.transition(&order, "CANCELLED")?.expect(200)?;
    let path = format!("/v1/customers/{user}/inbox");
    let told = probe.wait("the customer is told of three steps", || {
        let page = probe.get(&path)?.expect(200)?;
        Ok((list(&page["items"])?.len() >= 3).then_some(page))
    })?;
    same("unread", &told["unread"], &json!(3))?;
    let entry = told["items"].as_array().into_iter().flatten().find(|entry| entry["event"] == "OrderCancelled");
    let entry = entry.ok_or_else(|| format!("nothing tells that it was cancelled: {told}"))?;
    holds(
        "the entry",
        entry,
        &json!({"read": false, "facts": {"about": "order", "orderId": order, "userName": user}}),
    )?;
    let newest = &told["items"][0]["sequence"];
    same("the newest", newest, &json!(3))?;
    let page = probe.get(&format!("{path}?limit=2"))?;
    let next = page.next_page()?.ok_or("three entries are two pages")?;
    ensure!(list(&probe.get(&next)?.expect(200)?["items"])?.len() == 1, "the second page of three has one entry");
    probe.put(&format!("{path}/read"), &json!({"upTo": 4}))?.names(&["/upTo"])?;
    probe.put(&format!("{path}/read"), &json!({"upTo": 3}))?.expect(204)?;
    let read = probe.get(&path)?.expect(200)?;
    same("unread after reading", &read["unread"], &json!(0))?;
    same("read", &read["items"][0]["read"], &json!(true))?;
    probe.delete(&format!("/v1/customers/{user}"))?.expect(204)?;
    probe.wait("the inbox of an erased customer is empty", || {
        let page = probe.get(&path)?.expect(200)?;
        Ok(list(&page["items"])?.is_empty().then_some(()))
    })
}

fn operators_inbox(probe: &Probe) -> Outcome {
    let product = probe.product(1_000, 1)?;
    probe.order(&probe.name("last"), &product, 1)?;
    depleted(probe, &product)
}

/// Waits until operators are told that nothing of a product is left.
fn depleted(probe: &Probe, product: &str) -> Outcome {
    probe.wait("operators are told that a product is sold out", || {
        let (found, _) = probe.find("/v1/inbox?limit=100", "items", |entry| {
            entry["event"] == "StockDepleted" && entry["facts"]["productId"] == product
        })?;
        Ok(found.map(drop))
    })
}

fn watchers(probe: &Probe) -> Outcome {
    let (user, product) = (probe.name("waits"), probe.product(1_000, 1)?);
    let order = probe.order(&probe.name("buyer"), &product, 1)?;
    // Until its stock is decided the last piece is there.
    probe.settles(&order, "CONFIRMED")?;
    let path = format!("/v1/products/{product}/watchers/{user}");
    probe.get(&path)?.problem(404, "watch_not_found")?;
    let watch = probe.put(&path, &json!({}))?;
    same("Location", &json!(watch.must_have("location")?), &json!(path))?;
    holds("the watch", &watch.expect(201)?, &json!({"productId": product, "username": user, "available": 0}))?;
    probe.put(&path, &json!({}))?.expect(200)?;
    probe.listed(&format!("/v1/products/{product}/watchers?limit=100"), "items", |watcher| {
        watcher["username"] == user.as_str()
    })?;
    // It came back only when it was known to be gone.
    depleted(probe, &product)?;
    probe.put(&format!("/v1/products/{product}/stock"), &json!({"onHand": 5}))?.expect(200)?;
    let told = probe.wait("the watcher is told", || {
        let page = probe.get(&format!("/v1/customers/{user}/inbox"))?.expect(200)?;
        Ok((!list(&page["items"])?.is_empty()).then_some(page))
    })?;
    same("what they are told", &told["items"][0]["event"], &json!("ProductBackInStock"))?;
    same("of what", &told["items"][0]["facts"]["productId"], &json!(product))?;
    probe.get(&path)?.problem(404, "watch_not_found")?;
    probe.put(&path, &json!({}))?.expect(201)?;
    probe.delete(&path)?.expect(204)?;
    probe.put("/v1/products/0/watchers/ann", &json!({}))?.problem(404, "product_not_found").map(drop)
}

fn subscriptions(probe: &Probe) -> Outcome {
    // Nothing answers there, and nothing is ever sent: no event of that kind comes of it.
    let url = format!("https://{}.example/hook", probe.name("hook").to_lowercase());
    let body = json!({"url": url, "events": ["SubscriptionDisabled"]});
    probe.post("/v1/subscriptions", &body)?.names(&["/events/0"])?;
    let body = json!({"url": url, "events": ["MessageDied"], "description": "a test"});
    let made = probe.post("/v1/subscriptions", &body)?;
    let (path, etag) = (made.must_have("location")?, made.must_have("etag")?);
    let made = made.expect(201)?;
    holds("the webhook", &made, &json!({"url": url, "events": ["MessageDied"], "status": "active"}))?;
    let secret = text(&made, "secret")?;
    ensure!(secret.starts_with("whsec_"), "a secret of Standard Webhooks begins with whsec_");
    let read = probe.get(&path)?.expect(200)?;
    ensure!(read.get("secret").is_none() && read["id"] == made["id"], "read: {read}");
    probe.listed("/v1/subscriptions?limit=100", "items", |other| other["id"] == made["id"])?;
    let off = probe.send("PATCH", &path, &[("if-match", &etag)], &json!({"status": "disabled"}))?.expect(200)?;
    ensure!(off["status"] == "disabled" && off["disabledReason"].is_string(), "disabled: {off}");
    probe.send("PATCH", &path, &[("if-match", &etag)], &json!({"events": []}))?.problem(412, "precondition_failed")?;
    probe.post(&format!("{path}/test"), &json!({}))?.problem(409, "subscription_disabled")?;
    let rotated = probe.post(&format!("{path}/secret"), &json!({}))?.expect(200)?;
    ensure!(text(&rotated, "secret")? != secret, "the new secret is the old one");
    let id = text(&made, "id")?;
    let deliveries = probe.get(&format!("/v1/deliveries?subscription={id}"))?.expect(200)?;
    same("its deliveries", &deliveries["items"], &json!([]))?;
    probe.get("/v1/deliveries/0")?.problem(404, "delivery_not_found")?;
    probe.delete(&path)?.expect(204)?;
    probe.get(&path)?.problem(404, "subscription_not_found").map(drop)
}

fn private_urls(probe: &Probe) -> Outcome {
    for url in [
        "https://127.0.0.1/",
        "https://169.254.169.254/",
        "https://[::1]/",
        "https://2130706433/",
        "ftp://a.example/",
        "x",
    ] {
        probe.post("/v1/subscriptions", &json!({"url": url}))?.names(&["/url"])?;
    }
    Ok(())
}
