//! Notifications: who is told what, once; and what happens when they cannot be told.

use std::time::Duration;

use cartwright::events::{Queue, handle};
use cartwright::notifications::{Audience, Facts};
use serde_json::{Value, json};

use crate::faults::Fault;
use crate::notifier::is_about;
use crate::shop::TestShop;

const DEAD: &str = "/v1/queues/NotificationQueue/dead-letters";

async fn timeline(shop: &TestShop, order: &str) -> Vec<Value> {
    shop.all(&format!("/v1/orders/{order}/timeline")).await
}

/// The notifications in the timeline of an order, by the names of their events.
async fn noted(shop: &TestShop, order: &str) -> Vec<String> {
    let notified = |entry: &Value| entry.get("notification").map(|_| entry["event"].as_str().unwrap().to_owned());
    timeline(shop, order).await.iter().filter_map(notified).collect()
}

#[tokio::test]
async fn a_customer_is_told_of_each_step_once_and_the_timeline_shows_it() {
    let shop = TestShop::new().await;
    let phone = shop.product("Phöne", 100, 5).await;
    shop.fill("ann", &phone, 2).await;
    let headers = [("content-type", "application/json"), ("x-request-id", "req-7")];
    let contact =
        json!({"contact": {"firstName": "Annabel", "email": "a@example.com", "address": "17 Nightingale Lane"}});
    let path = "/v1/baskets/ann/checkout";
    let order = shop.send(http::Method::POST, path, &headers, contact.to_string()).await.expect(202);
    let order = order["orderId"].as_str().unwrap();
    shop.deliver().await;
    for to in ["PACKED", "SHIPPED", "DELIVERED", "RETURNED"] {
        shop.transition(order, to).await.expect(200);
        shop.transition(order, to).await.expect(200);
        shop.deliver().await;
    }
    let steps = ["OrderPlaced", "OrderConfirmed", "OrderPacked", "OrderShipped", "OrderDelivered", "OrderReturned"];
    assert_eq!(shop.notifier.told_of(order), steps);
    assert_eq!(noted(&shop, order).await, steps);

    let confirmed = &shop.notifier.sent()[1];
    assert_eq!(
        serde_json::to_value(confirmed).unwrap(),
        json!({
            "id": confirmed.id, "event": "OrderConfirmed", "at": confirmed.at, "correlationId": "req-7", "audience": "customers",
            "subject": format!("Order {order} is confirmed"),
            "text": format!("Everything in it is reserved for you.\nOrder {order}, 2.00 USD\n2 x Phöne"),
            "facts": {"about": "order", "orderId": order, "userName": "ann", "status": "CONFIRMED", "total": {"amount": 200, "currency": "USD"}},
        })
    );
    for notification in shop.notifier.sent() {
        let json = serde_json::to_string(&notification).unwrap();
        assert!(!["Annabel", "example.com", "Nightingale"].iter().any(|secret| json.contains(secret)), "{json}");
    }
    let timeline = timeline(&shop, order).await;
    let at = timeline.iter().position(|entry| entry.get("notification").is_some()).unwrap();
    let (event, entry) = (&timeline[at - 1], &timeline[at]);
    assert_eq!(
        (&event["event"], &event["eventId"]),
        (&entry["event"], &entry["eventId"]),
        "it stands beside its event"
    );
    assert_eq!(entry["correlationId"], "req-7");
    assert_eq!(
        entry["notification"],
        json!({"audience": "customers", "subject": format!("Order {order} was received")})
    );
    assert!(event["at"].as_str().unwrap() < entry["at"].as_str().unwrap());
}

#[tokio::test]
async fn a_customer_is_told_of_what_cannot_be_had_and_of_what_was_called_off() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    let rejected = shop.order("ann", &phone, 6).await;
    assert_eq!(shop.notifier.told_of(&rejected), ["OrderPlaced", "OrderRejected"]);
    let cancelled = shop.order("ann", &phone, 1).await;
    shop.transition(&cancelled, "CANCELLED").await.expect(200);
    shop.deliver().await;
    assert_eq!(shop.notifier.told_of(&cancelled), ["OrderPlaced", "OrderConfirmed", "OrderCancelled"]);
    assert!(shop.notifier.sent().iter().all(|notification| notification.audience == Audience::Customers));
}

#[tokio::test]
async fn operators_are_told_when_a_product_runs_out_and_when_it_comes_back() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 2).await;
    let order = shop.order("ann", &phone, 2).await;
    shop.transition(&order, "CANCELLED").await.expect(200);
    shop.deliver().await;
    let told: Vec<_> = shop.notifier.sent().into_iter().filter(|told| told.audience == Audience::Operators).collect();
    let subjects: Vec<&str> = told.iter().map(|notification| notification.subject.as_str()).collect();
    assert_eq!(subjects, [format!("Product {phone} is sold out"), format!("Product {phone} is available again")]);
    assert_eq!(told[0].text, format!("phone is sold out.\nProduct {phone}, 0 available"));
    assert_eq!(
        serde_json::to_value(&told[1].facts).unwrap(),
        json!({"about": "product", "productId": phone, "productName": "phone", "available": 2})
    );
}

#[tokio::test]
async fn a_message_delivered_ten_times_is_one_notification_and_one_entry() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    let order = shop.order("ann", &phone, 1).await;
    shop.transition(&order, "CANCELLED").await.expect(200);
    let received = shop.store.receive(Queue::NotificationQueue, 0).await.unwrap().unwrap();
    for _ in 0..10 {
        handle(&shop.app, Queue::NotificationQueue, received.envelope.as_ref().unwrap()).await.unwrap();
    }
    shop.store.delete_message(&received).await.unwrap();
    shop.deliver().await;
    let steps = ["OrderPlaced", "OrderConfirmed", "OrderCancelled"];
    assert_eq!(shop.notifier.told_of(&order), steps);
    assert_eq!(noted(&shop, &order).await, steps);
}

#[tokio::test]
async fn a_notification_that_could_not_be_noted_comes_again_under_the_same_id() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    let order = shop.order("ann", &phone, 1).await;
    shop.transition(&order, "CANCELLED").await.expect(200);
    let received = shop.store.receive(Queue::NotificationQueue, 0).await.unwrap().unwrap();
    // The entry of the inbox is committed, that of the timeline is not.
    shop.faults.next([Fault::Pass, Fault::Refuse]);
    let message = received.envelope.as_ref().unwrap();
    handle(&shop.app, Queue::NotificationQueue, message).await.unwrap_err();
    shop.store.retry_message(&received, shop.now_ms()).await.unwrap();
    shop.deliver_with_retries().await;
    assert_eq!(shop.notifier.told_of(&order)[2..], ["OrderCancelled", "OrderCancelled"]);
    let sent = shop.notifier.sent();
    assert_eq!(sent[2].id, sent[3].id, "by which a receiver drops the second");
    assert_eq!(noted(&shop, &order).await, ["OrderPlaced", "OrderConfirmed", "OrderCancelled"]);
}

#[tokio::test]
async fn the_next_customer_of_an_erased_name_is_not_told_of_the_orders_before() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    let ann = |email: &str| json!({"username": "ann", "email": email, "name": "Ann"});
    shop.post("/v1/customers", ann("old@example.com")).await.expect(201);
    let order = shop.order("ann", &phone, 1).await;
    shop.transition(&order, "CANCELLED").await.expect(200);
    let received = shop.store.receive(Queue::NotificationQueue, 0).await.unwrap().unwrap();
    shop.delete("/v1/customers/ann").await.expect(204);
    shop.post("/v1/customers", ann("new@example.com")).await.expect(201);
    shop.deliver().await;
    shop.store.retry_message(&received, shop.now_ms()).await.unwrap();
    shop.deliver_with_retries().await;
    let last = shop.notifier.sent().pop().unwrap();
    let Facts::Order { user_name, .. } = &last.facts else { panic!("{last:?}") };
    assert!(last.event == "OrderCancelled" && user_name.as_str().starts_with("erased-"), "{last:?}");
}

#[tokio::test]
async fn fault_batch_notification_of_only_the_first_record() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, None).await;
    let mut orders = Vec::new();
    for n in 0..20 {
        let user = format!("user{n}");
        shop.fill(&user, &phone, 1).await;
        orders.push(shop.checkout(&user).await);
    }
    let unlucky = orders[7].clone();
    let is_theirs = unlucky.clone();
    shop.notifier.refuse(move |notification| is_about(notification, &is_theirs) && notification.event == "OrderPlaced");
    let mut pauses = Vec::new();
    loop {
        shop.deliver().await;
        for order in orders.iter().filter(|order| **order != unlucky) {
            assert_eq!(shop.notifier.told_of(order), ["OrderPlaced", "OrderConfirmed"], "once, and not held up");
        }
        assert_eq!(shop.notifier.told_of(&unlucky), ["OrderConfirmed"]);
        let Some(due_ms) = shop.store.next_due_ms(Queue::NotificationQueue) else { break };
        pauses.push(due_ms - shop.now_ms());
        shop.clock.advance(Duration::from_millis(u64::try_from(due_ms - shop.now_ms()).unwrap_or(0) + 1));
    }
    let tries = Queue::NotificationQueue.retries().max_receives() as usize;
    let refused = shop.notifier.refused();
    assert!(
        refused.len() == tries && refused.iter().all(|one| one == &refused[0]),
        "it is tried again, alone: {refused:?}"
    );
    assert!(pauses.len() == tries - 1 && pauses.is_sorted(), "with growing pauses: {pauses:?}");

    let letters = shop.dead_letters(Queue::NotificationQueue).await;
    assert_eq!(letters.len(), 1);
    assert!(letters[0].reason.starts_with("topic_unavailable: The topic takes nothing now."), "{}", letters[0].reason);
    assert!(letters[0].body.contains(&unlucky));
    let failures: Vec<Value> = timeline(&shop, &unlucky)
        .await
        .into_iter()
        .filter_map(|mut entry| entry.get_mut("failure").map(Value::take))
        .collect();
    let failure =
        json!({"queue": "NotificationQueue", "code": "topic_unavailable", "message": "The topic takes nothing now."});
    assert_eq!(failures, vec![failure; tries], "and the timeline has each attempt");
    assert_eq!(noted(&shop, &unlucky).await, ["OrderConfirmed"]);

    shop.notifier.mend();
    shop.post(&format!("{DEAD}/redrive"), json!({"all": true})).await.expect(200);
    shop.deliver().await;
    assert_eq!(shop.notifier.told_of(&unlucky), ["OrderConfirmed", "OrderPlaced"]);
    assert_eq!(noted(&shop, &unlucky).await, ["OrderPlaced", "OrderConfirmed"]);
    assert_eq!(shop.notifier.sent().len(), 2 * orders.len());
}
