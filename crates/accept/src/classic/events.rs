//! Design 1: checkouts that others put on the bus, as `aws events put-events` does.

use serde_json::{Value, json};

use crate::Check;
use crate::probe::{Outcome, Probe, ensure, holds, list, same, usd};
use crate::v1::queues::{dead_letter, discard};

pub(crate) const CHECKS: &[Check] = &[
    ("1 event: a checkout put on the bus becomes an order", becomes_an_order),
    ("1 event: the same checkout put there twice is one order", once),
    ("1 event: another price than the catalogue's is rejected", own_price),
    ("1 event: one that cannot become an order is a dead letter with its reason", malformed),
];

/// Puts checkouts with these details on the bus.
pub(crate) fn put_events(probe: &Probe, details: &[Value]) -> Outcome {
    let entry = |detail: &Value| {
        json!({"Source": "com.swn.basket.checkoutbasket", "DetailType": "CheckoutBasket", "EventBusName": "SwnEventBus",
            "Resources": [], "Detail": detail.to_string()})
    };
    let entries: Vec<Value> = details.iter().map(entry).collect();
    let answer = probe.events.event_bridge("PutEvents", &json!({"Entries": entries}).to_string())?;
    ensure!(answer.status == 200, "PutEvents: expected 200, got {}: {}", answer.status, answer.text);
    same("failed entries", &answer.body["FailedEntryCount"], &json!(0))?;
    let ids = list(&answer.body["Entries"])?.iter().filter(|entry| entry["EventId"].is_string()).count();
    ensure!(ids == details.len(), "an id for each event: {}", answer.text);
    Ok(())
}

/// A checkout of one piece at this price.
fn checkout(user: &str, product: &str, price: i64) -> Value {
    let item = json!({"productId": product, "productName": "IPhone X", "color": "Red", "quantity": 1, "price": price});
    json!({"userName": user, "totalPrice": price, "firstName": "Mehmet", "lastName": "Ozkaya", "email": "swn@example.com",
        "address": "Istanbul", "cardInfo": "5554443322221111", "paymentMethod": 1, "items": [item]})
}

/// Waits until the one order of `user` is in this status.
fn one_order(probe: &Probe, user: &str, status: &str) -> Outcome<Value> {
    probe.wait(&format!("an order of {user} that is {status}"), || {
        let page = probe.get(&format!("/v1/orders?customer={user}"))?;
        ensure!(!page.text.contains("555444332222"), "the card's number is shown: {}", page.text);
        let page = page.expect(200)?;
        ensure!(list(&page["items"])?.len() <= 1, "more than one order: {page}");
        Ok(Some(page["items"][0].clone()).filter(|order| order["status"] == status))
    })
}

fn becomes_an_order(probe: &Probe) -> Outcome {
    let (ann, bob, product) = (probe.name("ann"), probe.name("bob"), probe.product(95_000, 10)?);
    put_events(probe, &[checkout(&ann, &product, 950), checkout(&bob, &product, 950)])?;
    for user in [ann, bob] {
        let order = one_order(probe, &user, "CONFIRMED")?;
        let contact =
            json!({"firstName": "Mehmet", "lastName": "Ozkaya", "email": "swn@example.com", "address": "Istanbul"});
        let expected = json!({"customer": user, "total": usd(95_000), "itemCount": 1, "contact": contact,
            "paymentMethod": 1, "cardLast4": "1111"});
        holds("the order", &order, &expected)?;
    }
    probe.stock_becomes(&product, 10, 2, 8)
}

fn once(probe: &Probe) -> Outcome {
    let (user, product) = (probe.name("swn"), probe.product(100, 10)?);
    // An id that an order could have: that of a real one, but for its last characters.
    let real = probe.order(&probe.name("real"), &product, 1)?;
    let id = real.get(..21).map(|start| format!("{start}accept")).ok_or_else(|| format!("not a KSUID: {real}"))?;
    let mut event = checkout(&user, &product, 1);
    event["orderId"] = json!(id);
    put_events(probe, &[event.clone(), event.clone()])?;
    same("its id", &one_order(probe, &user, "CONFIRMED")?["id"], &json!(id))?;
    // One that is put after the last repetition tells when that has been looked at: queues are about in order.
    put_events(probe, &[event])?;
    let last = probe.name("last");
    put_events(probe, &[checkout(&last, &product, 1)])?;
    one_order(probe, &last, "CONFIRMED")?;
    one_order(probe, &user, "CONFIRMED")?;
    probe.settles(&real, "CONFIRMED")?;
    probe.stock_becomes(&product, 10, 3, 7)
}

fn own_price(probe: &Probe) -> Outcome {
    let (user, product) = (probe.name("swn"), probe.product(95_000, 10)?);
    put_events(probe, &[checkout(&user, &product, 1)])?;
    let order = one_order(probe, &user, "REJECTED")?;
    let why = json!([{"productId": product, "reason": "priceChanged", "ordered": usd(100), "current": usd(95_000)}]);
    holds("why", &order["rejections"], &why)?;
    probe.stock_becomes(&product, 10, 0, 10)
}

/// As the widely copied sample has it.
fn malformed(probe: &Probe) -> Outcome {
    let basket = probe.name("phone1");
    put_events(probe, &[json!({"username": "swn", "basket": basket})])?;
    let letter = dead_letter(probe, "OrderQueue", &basket)?;
    ensure!(letter["reason"].as_str().is_some_and(|reason| reason.contains("userName")), "no reason: {letter}");
    holds("the event", &letter["event"], &json!({"detail-type": "CheckoutBasket", "detail": {"basket": basket}}))?;
    discard(probe, "OrderQueue", &letter)
}
