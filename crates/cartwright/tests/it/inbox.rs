//! Inboxes: what customers and operators were told, in order, read and unread, and gone with an erased customer.

use cartwright::events::{Queue, handle};
use cartwright::notifications::newest_of;
use cartwright::store::{Store, Table};
use serde_json::{Value, json};

use crate::shop::TestShop;

const ANN: &str = "/v1/customers/ann/inbox";

fn numbers(items: &[Value]) -> Vec<u64> {
    items.iter().map(|item| item["sequence"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_customer_reads_what_they_were_told_newest_first_page_by_page() {
    let shop = TestShop::new().await;
    assert_eq!(shop.get(ANN).await.expect(200), json!({"items": [], "unread": 0}));
    let phone = shop.product("phone", 100, 5).await;
    let order = shop.order("ann", &phone, 1).await;
    shop.order("bob", &phone, 1).await;
    for to in ["PACKED", "SHIPPED", "DELIVERED", "RETURNED"] {
        shop.transition(&order, to).await.expect(200);
        shop.deliver().await;
    }
    let items = shop.all(&format!("{ANN}?limit=4")).await;
    assert_eq!(numbers(&items), [6, 5, 4, 3, 2, 1]);
    let events: Vec<&str> = items.iter().rev().map(|item| item["event"].as_str().unwrap()).collect();
    let steps = ["OrderPlaced", "OrderConfirmed", "OrderPacked", "OrderShipped", "OrderDelivered", "OrderReturned"];
    assert_eq!(events, steps);
    let told = &shop.notifier.sent()[1];
    let total = json!({"amount": 100, "currency": "USD"});
    assert_eq!(
        items[4],
        json!({
            "id": told.id, "sequence": 2, "event": "OrderConfirmed", "at": told.at, "read": false,
            "subject": format!("Order {order} is confirmed"), "text": told.text,
            "facts": {"about": "order", "orderId": order, "userName": "ann", "status": "CONFIRMED", "total": total},
        })
    );
    shop.get(&format!("{ANN}?cursor=x")).await.expect(400);
}

#[tokio::test]
async fn what_was_read_stays_read_and_only_what_is_there_can_be() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    shop.order("ann", &phone, 1).await;
    shop.order("ann", &phone, 1).await;
    let read = format!("{ANN}/read");
    for (up_to, unread) in [(3, 1), (2, 1), (4, 0)] {
        shop.put(&read, json!({"upTo": up_to})).await.expect(204);
        let page = shop.get("/v1/customers/ANN/inbox").await.expect(200);
        assert_eq!(page["unread"], unread, "after reading up to {up_to}");
        let marks = page["items"].as_array().unwrap().iter().filter(|item| item["read"] == true).count();
        assert_eq!(marks as u64, 4 - unread);
    }
    let revision = shop.store.revision(Table::Notifications);
    for up_to in [4, 1] {
        shop.put(&read, json!({"upTo": up_to})).await.expect(204);
    }
    assert_eq!(shop.store.revision(Table::Notifications), revision, "what was read already costs no write");
    let beyond = shop.put(&read, json!({"upTo": 5})).await;
    assert_eq!((beyond.status.as_u16(), beyond.pointers()), (400, vec!["/upTo"]));
    assert_eq!(shop.put(&read, json!({"upTo": -1})).await.pointers(), ["/upTo"]);
    shop.order("ann", &phone, 1).await;
    assert_eq!(shop.get(ANN).await.expect(200)["unread"], 2);
}

#[tokio::test]
async fn operators_have_an_inbox_of_their_own() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 1).await;
    let order = shop.order("ann", &phone, 1).await;
    shop.transition(&order, "CANCELLED").await.expect(200);
    shop.deliver().await;
    let inbox = shop.get("/v1/inbox").await.expect(200);
    let told: Vec<&str> =
        inbox["items"].as_array().unwrap().iter().map(|item| item["event"].as_str().unwrap()).collect();
    assert_eq!((told, &inbox["unread"]), (vec!["StockReplenished", "StockDepleted"], &json!(2)));
    shop.put("/v1/inbox/read", json!({"upTo": 1})).await.expect(204);
    let inbox = shop.get("/v1/inbox").await.expect(200);
    assert_eq!((&inbox["items"][0]["read"], &inbox["items"][1]["read"]), (&json!(false), &json!(true)));
}

#[tokio::test]
async fn the_export_of_a_customer_has_what_they_were_told() {
    let shop = TestShop::new().await;
    shop.customer("ann").await;
    let phone = shop.product("phone", 100, 200).await;
    for _ in 0..60 {
        shop.order("ann", &phone, 1).await;
    }
    let export = shop.get("/v1/customers/ann/export").await.expect(200);
    let inbox = export["inbox"].as_array().unwrap();
    assert_eq!(numbers(inbox), (1..=120).rev().collect::<Vec<u64>>());
    let newest = newest_of(&shop.app, &"ann".try_into().unwrap(), 110).await.unwrap();
    let newest: Vec<u64> = newest.iter().map(|item| item.sequence).collect();
    assert_eq!(newest, (11..=120).rev().collect::<Vec<u64>>(), "and no more than are asked for");
    let page = shop.get("/v1/customers/ann/inbox?limit=10").await.expect(200);
    assert_eq!(page["unread"], 120, "a page tells of all that is unread");
}

#[tokio::test]
async fn erasing_a_customer_empties_their_inbox_and_what_comes_late_stays_out_of_it() {
    let shop = TestShop::new().await;
    shop.customer("ann").await;
    let phone = shop.product("phone", 100, 500).await;
    for _ in 0..60 {
        shop.order("ann", &phone, 1).await;
    }
    let order = shop.order("ann", &phone, 1).await;
    shop.transition(&order, "CANCELLED").await.expect(200);
    let late = shop.store.receive(Queue::NotificationQueue, 0).await.unwrap().unwrap();
    shop.delete("/v1/customers/ann").await.expect(204);
    let renaming = shop.store.receive(Queue::OrderErasureQueue, 0).await.unwrap().unwrap();
    let erasure = shop.store.receive(Queue::NotificationQueue, 0).await.unwrap().unwrap();
    shop.customer("ann").await;
    shop.deliver().await;
    shop.order("ann", &phone, 1).await;
    let erasure_event = erasure.envelope.as_ref().unwrap();
    for _ in 0..2 {
        handle(&shop.app, Queue::NotificationQueue, erasure_event).await.unwrap();
        let inbox = shop.get(ANN).await.expect(200);
        assert_eq!(numbers(inbox["items"].as_array().unwrap()), [124, 123], "what the next Ann was told is left");
        assert_eq!(inbox["unread"], 2);
    }
    // Their order has its old name yet.
    let late_event = late.envelope.as_ref().unwrap();
    let refused = handle(&shop.app, Queue::NotificationQueue, late_event).await.unwrap_err();
    assert_eq!(refused.code(), "customer_erased");
    shop.store.delete_message(&erasure).await.unwrap();
    shop.store.retry_message(&renaming, shop.now_ms()).await.unwrap();
    shop.store.retry_message(&late, shop.now_ms()).await.unwrap();
    shop.deliver_with_retries().await;
    assert_eq!(numbers(&shop.all(ANN).await), [124, 123]);
    let last = shop.notifier.sent().pop().unwrap();
    assert_eq!(last.event, "OrderCancelled", "operators' channels are told all the same");
}

#[tokio::test]
async fn the_inbox_of_an_erased_customer_has_nothing_unread_and_goes_unless_the_next_of_that_name_uses_it() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 10).await;
    for name in ["ann", "bob"] {
        shop.customer(name).await;
        shop.order(name, &phone, 1).await;
        shop.delete(&format!("/v1/customers/{name}")).await.expect(204);
        let erasure = shop.store.receive(Queue::NotificationQueue, 0).await.unwrap().unwrap();
        shop.customer(name).await;
        if name == "bob" {
            shop.order(name, &phone, 1).await;
        }
        handle(&shop.app, Queue::NotificationQueue, erasure.envelope.as_ref().unwrap()).await.unwrap();
        shop.store.delete_message(&erasure).await.unwrap();
        shop.deliver().await;
    }
    let file = rusqlite::Connection::open(shop.folder.join(cartwright::local::sqlite::FILE_NAME)).unwrap();
    for (name, unread, goes) in [("ann", 0, true), ("bob", 2, false)] {
        assert_eq!(shop.get(&format!("/v1/customers/{name}/inbox")).await.expect(200)["unread"], unread, "{name}");
        let sql = "SELECT expires_at_ms IS NOT NULL FROM notifications WHERE sk = 'HEAD' AND pk LIKE '%' || ?1";
        assert_eq!(file.query_row(sql, [name], |row| row.get::<_, bool>(0)), Ok(goes), "{name}");
    }
}
