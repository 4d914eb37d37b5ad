//! Delivery: failed, panicking and hanging handlers, back-off, dead letters, restarts.

use std::sync::Arc;
use std::time::Duration;

use cartwright::events::Queue;
use cartwright::local::delivery::Settings;
use cartwright::local::sqlite::SqliteStore;
use serde_json::json;

use crate::faults::Fault;
use crate::shop::TestShop;

async fn shop_with_a_waiting_checkout(settings: Settings) -> (TestShop, String) {
    let shop = TestShop::with_settings(settings).await;
    let phone = shop.product("phone", 100, 5).await;
    shop.fill("ann", &phone, 1).await;
    let order = shop.checkout("ann").await;
    (shop, order)
}

#[tokio::test]
async fn a_handler_that_fails_panics_or_hangs_is_tried_again() {
    let settings = Settings { visibility_timeout: Duration::from_millis(50), ..Settings::default() };
    let (shop, order) = shop_with_a_waiting_checkout(settings).await;
    shop.faults.next([Fault::Refuse, Fault::Panic, Fault::Hang]);
    shop.deliver_with_retries().await;
    assert_eq!(shop.status(&order).await, "CONFIRMED");
}

#[tokio::test]
async fn a_message_is_dead_after_the_maximum_receives_with_the_reason_and_the_whole_message() {
    let settings = Settings { max_receives: Some(3), ..Settings::default() };
    let (shop, order) = shop_with_a_waiting_checkout(settings).await;
    shop.faults.next([Fault::Refuse, Fault::Refuse, Fault::Panic]);
    shop.deliver_with_retries().await;
    let letters = shop.dead_letters(Queue::OrderQueue).await;
    assert_eq!((letters.len(), letters[0].receives), (1, 3));
    assert!(letters[0].reason.contains("panicked: a fault that a test put in"), "{}", letters[0].reason);
    assert!(letters[0].body.contains(&order));
    assert_eq!(shop.status(&order).await, "PLACED", "its buyer still sees it");
}

#[tokio::test]
async fn pauses_grow_and_are_not_all_alike() {
    let (shop, _) = shop_with_a_waiting_checkout(Settings::default()).await;
    shop.faults.next([Fault::Refuse; 5]);
    let mut pauses = Vec::new();
    for _ in 0..5 {
        shop.deliver().await;
        let due = shop.store.next_due_ms(Queue::OrderQueue).unwrap();
        pauses.push(due - shop.app.clock.now().as_millisecond());
        shop.deliver().await;
        assert_eq!(shop.store.next_due_ms(Queue::OrderQueue), Some(due), "not before its time");
        shop.clock.advance(Duration::from_millis(pauses.last().copied().unwrap() as u64 + 2));
    }
    for (pause, ceiling) in pauses.iter().zip([500, 2_000, 8_000, 32_000, 60_000]) {
        assert!((ceiling / 2 - 2..=ceiling).contains(pause), "{pauses:?}");
    }
    assert!(
        pauses
            .iter()
            .zip([500, 2_000, 8_000, 32_000, 60_000])
            .any(|(pause, ceiling)| *pause != ceiling && *pause != ceiling / 2)
    );
    shop.deliver_with_retries().await;
}

#[tokio::test]
async fn a_message_that_waits_to_be_tried_again_survives_a_restart() {
    let (shop, order) = shop_with_a_waiting_checkout(Settings::default()).await;
    shop.faults.next([Fault::Refuse, Fault::Refuse]);
    shop.deliver().await;
    let due = shop.store.next_due_ms(Queue::OrderQueue).unwrap();
    shop.store.close().await;
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(shop.folder.join("cartwright.db"), copy.path().join("cartwright.db")).unwrap();
    let reopened = SqliteStore::open(copy.path(), shop.clock.clone()).unwrap();
    assert_eq!(reopened.next_due_ms(Queue::OrderQueue), Some(due));
    assert!(reopened.receive(Queue::OrderQueue, due - 1).await.unwrap().is_none(), "not before its time");
    let received = reopened.receive(Queue::OrderQueue, due).await.unwrap().unwrap();
    assert_eq!(received.receives, 1, "and it is known how often it failed");
    assert!(received.envelope.unwrap().detail.get().contains(&order));
    assert!(reopened.receive(Queue::OrderQueue, due).await.unwrap().is_none(), "in one pair of hands");
    // This shop's own file still holds the message; let its Drop see an empty queue.
    rusqlite::Connection::open(shop.folder.join("cartwright.db")).unwrap().execute("DELETE FROM messages", []).unwrap();
}

#[tokio::test]
async fn a_poisoned_message_does_not_hold_up_those_behind_it() {
    let shop = Arc::new(TestShop::new().await);
    let phone = shop.product("phone", 100, 50).await;
    shop.emit(shop.event("CheckoutBasket", json!("not even an object"))).await;
    let mut orders = Vec::new();
    for n in 0..5 {
        let user = format!("u{n}");
        shop.fill(&user, &phone, 1).await;
        orders.push(shop.checkout(&user).await);
    }
    let running = shop.delivery.clone().start();
    for order in &orders {
        while shop.status(order).await != "CONFIRMED" {
            tokio::task::yield_now().await;
        }
    }
    running.stop(Duration::from_secs(10)).await;
    shop.deliver_with_retries().await;
    assert_eq!(shop.dead_letters(Queue::OrderQueue).await.len(), 1);
}

#[tokio::test]
async fn an_event_for_the_wrong_queue_or_of_no_known_kind_is_dead_at_once() {
    let shop = TestShop::new().await;
    let mut unknown = shop.event("CheckoutBasket", json!({}));
    shop.emit(unknown.clone()).await;
    unknown.detail_type = "NobodyKnowsThis".into();
    shop.emit(unknown.clone()).await;
    assert_eq!(shop.store.depth(Queue::OrderQueue).await.unwrap(), 1, "an event that no rule matches goes nowhere");
    let error = cartwright::events::handle(&shop.app, Queue::OrderQueue, &unknown).await.unwrap_err();
    assert_eq!(error.code(), "unknown_event");
    let misled = shop.event("StockMoved", json!({"kind": "counted", "changes": []}));
    let error = cartwright::events::handle(&shop.app, Queue::OrderQueue, &misled).await.unwrap_err();
    assert_eq!(error.code(), "unexpected_event");
    shop.deliver().await;
    assert_eq!(shop.dead_letters(Queue::OrderQueue).await.len(), 1);
}
