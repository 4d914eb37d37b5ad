//! Inboxes.

use serde_json::json;

use crate::Check;
use crate::probe::{Outcome, Probe, ensure, holds, list, same};

pub(crate) const CHECKS: &[Check] = &[
    ("v1 notifications: a customer reads in their inbox what became of their order", inbox),
    ("v1 notifications: operators have an inbox", operators_inbox),
];

fn inbox(probe: &Probe) -> Outcome {
    let user = probe.customer("inbox")?;
    let order = probe.order(&user, &probe.product(1_000, 5)?, 1)?;
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
    probe.listed("/v1/inbox?limit=100", "items", |entry| {
        entry["event"] == "StockDepleted" && entry["facts"]["productId"] == product.as_str()
    })?;
    Ok(())
}
