//! What the queue makes of messages that come twice, late, out of order, or bad.

use cartwright::events::{Envelope, Queue, handle};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{purchase, record, sums, usd, with};
use crate::faults::Fault;
use crate::shop::TestShop;

#[tokio::test]
async fn fault_redelivery_making_a_second_purchase() {
    let shop = TestShop::new().await;
    let id = "865f8acb-079d-4ffd-8d70-97b01040c4ea";
    let detail =
        json!({"purchaseId": id, "version": 1, "action": "create", "record": purchase("p", "c", 100, 2, "2026-01-01")});
    let event = shop.event("PurchaseRequested", detail);
    for _ in 0..10 {
        shop.emit(event.clone()).await;
    }
    shop.deliver().await;
    let purchases = shop.all("/v1/purchases").await;
    assert_eq!(purchases.len(), 1, "{purchases:?}");
    assert_eq!((&purchases[0]["id"], &purchases[0]["status"]), (&json!(id), &json!("stored")));
    assert_eq!(sums(&shop, "product").await, [("p".to_owned(), 1, 2, 200)], "and it counts once");
    shop.delete(&format!("/v1/purchases/{id}")).await.expect(202);
    shop.deliver().await;
    assert_eq!(shop.all("/v1/purchases").await.len(), 0, "one that came from outside is changed like any other");
}

#[tokio::test]
async fn every_message_delivered_again_after_a_lost_answer_changes_nothing() {
    let shop = TestShop::new().await;
    record(&shop, purchase("p", "c", 100, 2, "2026-01-01")).await;
    shop.faults.next([Fault::LoseAnswer; 2]);
    shop.deliver_with_retries().await;
    record(&shop, purchase("p", "c", 100, 1, "2026-01-01")).await;
    shop.deliver_with_retries().await;
    assert_eq!(shop.all("/v1/purchases").await.len(), 2);
    for by in ["product", "category", "day"] {
        assert_eq!(sums(&shop, by).await.iter().map(|sum| (sum.1, sum.2, sum.3)).collect::<Vec<_>>(), [(2, 3, 300)]);
    }
}

#[tokio::test]
async fn fault_one_bad_message_failing_its_batch() {
    let shop = TestShop::new().await;
    let id = |n: u8| format!("865f8acb-079d-4ffd-8d70-97b01040c4e{n}");
    let message =
        |n: u8, record: Value| json!({"purchaseId": id(n), "version": 1, "action": "create", "record": record});
    let good = || purchase("p", "c", 100, 1, "2026-01-01");
    shop.emit(shop.event("PurchaseRequested", message(1, good()))).await;
    shop.emit(shop.event("PurchaseRequested", message(2, with(good(), "total", usd(99))))).await;
    shop.emit(shop.event("PurchaseRequested", message(3, json!("no record")))).await;
    shop.emit(shop.event("PurchaseRequested", json!({"purchaseId": id(4), "version": 1, "action": "update"}))).await;
    shop.emit(shop.event("PurchaseRequested", json!({"ProductId": "of the original"}))).await;
    shop.emit(shop.event("PurchaseRequested", json!({"purchaseId": id(5), "version": 0, "action": "delete"}))).await;
    shop.emit(
        shop.event(
            "PurchaseRequested",
            message(6, with(good(), "unitPrice", json!({"amount": 100, "currency": "EUR"}))),
        ),
    )
    .await;
    shop.emit(shop.event("PurchaseRequested", message(7, good()))).await;
    shop.emit(shop.event("PurchaseRequested", message(7, purchase("other", "c", 1, 1, "2026-01-01")))).await;
    let empty = json!({"purchaseId": id(1), "version": 5, "action": "update", "record": {}});
    shop.emit(shop.event("PurchaseRequested", empty)).await;
    shop.deliver().await;
    let letters = shop.dead_letters(Queue::PurchaseQueue).await;
    let reasons: Vec<&str> = letters.iter().map(|letter| letter.reason.as_str()).collect();
    let expected = [
        "/total",
        "has no record",
        "has no record",
        "malformed_event",
        "malformed_event",
        "USD",
        "purchase_version_taken",
        "/productName is required",
    ];
    assert_eq!(reasons.len(), expected.len(), "{reasons:?}");
    for (reason, expected) in reasons.iter().zip(expected) {
        assert!(reason.contains(expected), "{reason}");
    }
    let ids: Vec<Value> = shop.all("/v1/purchases").await.iter().map(|purchase| purchase["id"].clone()).collect();
    assert_eq!(ids, [json!(id(7)), json!(id(1))], "those before and behind it are recorded");
    let failed = shop.get(&format!("/v1/purchases/{}", id(2))).await.expect(200);
    assert_eq!(
        (&failed["status"], &failed["action"], failed.get("purchase")),
        (&json!("failed"), &json!("create"), None)
    );
    assert!(failed["reason"].as_str().unwrap().contains("must be the price times the quantity"), "{failed}");
    assert_eq!(shop.get(&format!("/product-purchase/{}", id(2))).await.code(), "purchase_not_found");
    assert_eq!(shop.delete(&format!("/v1/purchases/{}", id(2))).await.code(), "purchase_not_found");

    let path = format!("/v1/purchases/{}", id(1));
    let failed = shop.get(&path).await.expect(200);
    assert_eq!(
        (&failed["status"], &failed["version"], &failed["purchase"]["productId"]),
        (&json!("failed"), &json!(5), &json!("p"))
    );
    assert_eq!(shop.put(&path, good()).await.expect(202)["version"], 6);
    shop.deliver().await;
    assert_eq!(shop.get(&path).await.expect(200)["status"], "stored", "a good one mends it");
    assert_eq!(sums(&shop, "product").await, [("p".to_owned(), 2, 2, 200)]);
}

#[tokio::test]
async fn fault_late_update_after_delete() {
    let shop = TestShop::new().await;
    let id = record(&shop, purchase("p", "c", 100, 1, "2026-01-01")).await;
    let path = format!("/v1/purchases/{id}");
    shop.deliver().await;
    shop.put(&path, purchase("late", "c", 100, 1, "2026-01-01")).await.expect(202);
    shop.delete(&path).await.expect(202);
    let update = shop.store.receive(Queue::PurchaseQueue, 0).await.unwrap().unwrap();
    let delete = shop.store.receive(Queue::PurchaseQueue, 0).await.unwrap().unwrap();
    for received in [&delete, &update] {
        handle(&shop.app, Queue::PurchaseQueue, received.envelope.as_ref().unwrap()).await.unwrap();
        shop.store.delete_message(received).await.unwrap();
    }
    shop.deliver().await;
    assert_eq!(shop.get(&path).await.code(), "purchase_not_found", "it stays deleted");
    assert_eq!(shop.all("/v1/purchases").await.len(), 0);
    assert_eq!(sums(&shop, "product").await, [], "and counts no more");
}

#[tokio::test]
async fn sums_that_many_purchases_begin_at_the_same_moment_lose_none() {
    let shop = TestShop::new().await;
    let lines: Vec<Value> = (0..40).map(|_| purchase("p", "c", 100, 2, "2026-01-01")).collect();
    shop.post("/v1/purchases/batch", json!({"purchases": lines})).await.expect(207);
    let running = shop.delivery.clone().start();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while sums(&shop, "day").await.first().is_none_or(|sum| sum.1 < 40) {
        assert!(tokio::time::Instant::now() < deadline, "the sums do not settle");
        tokio::task::yield_now().await;
    }
    running.stop(std::time::Duration::from_secs(10)).await;
    shop.deliver_with_retries().await;
    for by in ["product", "category", "day"] {
        assert_eq!(
            sums(&shop, by).await.iter().map(|sum| (sum.1, sum.2, sum.3)).collect::<Vec<_>>(),
            [(40, 80, 8_000)]
        );
    }
}

/// What is sent of three purchases: each created, changed, and some deleted; with the products they count for in the end.
fn stories(shop: &TestShop) -> Vec<Envelope> {
    let message = |n: u32, version: u32, action: &str, record: Option<Value>| {
        let id = uuid::Uuid::from_u128(u128::from(n));
        shop.event(
            "PurchaseRequested",
            json!({"purchaseId": id, "version": version, "action": action, "record": record}),
        )
    };
    let record = |product: &str, quantity: i64, day: &str| Some(purchase(product, "c", 100, quantity, day));
    vec![
        message(1, 1, "create", record("a", 1, "2026-01-01")),
        message(1, 2, "update", record("b", 2, "2026-01-01")),
        message(1, 3, "update", record("b", 3, "2026-01-02")),
        message(2, 1, "create", record("a", 4, "2026-01-01")),
        message(2, 2, "update", record("a", 5, "2026-01-03")),
        message(2, 3, "delete", None),
        message(3, 1, "create", record("a", 6, "2026-01-01")),
    ]
}

/// Every message ten times, in an order that `seed` decides.
fn ten_times(messages: &[Envelope], seed: u64) -> Vec<Envelope> {
    let mut all: Vec<(blake3::Hash, &Envelope)> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        for n in 0..10_u64 {
            let place = [seed.to_le_bytes(), (at as u64).to_le_bytes(), n.to_le_bytes()].concat();
            all.push((blake3::hash(&place), message));
        }
    }
    all.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
    all.into_iter().map(|(_, message)| message.clone()).collect()
}

async fn deliver_in_any_order(seed: u64) {
    let shop = TestShop::new().await;
    for message in ten_times(&stories(&shop), seed) {
        handle(&shop.app, Queue::PurchaseQueue, &message).await.unwrap();
    }
    let mut stored = Vec::new();
    while let Some(received) = shop.store.receive(Queue::PurchaseSummaryQueue, 0).await.unwrap() {
        stored.push(Envelope::clone(received.envelope.as_ref().unwrap()));
        shop.store.delete_message(&received).await.unwrap();
    }
    // Whoever listens is told too, and nobody does.
    shop.deliver().await;
    for message in ten_times(&stored, seed) {
        handle(&shop.app, Queue::PurchaseSummaryQueue, &message).await.unwrap();
    }
    let purchases = shop.all("/v1/purchases").await;
    let end =
        |purchase: &Value| (purchase["version"].as_u64().unwrap(), purchase["purchase"]["quantity"].as_u64().unwrap());
    assert_eq!(purchases.iter().map(end).collect::<Vec<_>>(), [(1, 6), (3, 3)]);
    let sum = |key: &str, quantity: i64| (key.to_owned(), 1, quantity, quantity * 100);
    assert_eq!(sums(&shop, "product").await, [sum("a", 6), sum("b", 3)]);
    assert_eq!(sums(&shop, "category").await, [("c".to_owned(), 2, 9, 900)]);
    assert_eq!(sums(&shop, "day").await, [sum("2026-01-02", 3), sum("2026-01-01", 6)], "days from the newest");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn messages_delivered_ten_times_in_any_order_end_in_one_right_state(seed: u64) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(deliver_in_any_order(seed));
    }
}
