//! Those who wait for a product: told once when it is back, however often and in what order that is said.

use cartwright::events::{Queue, handle};
use serde_json::{Value, json};

use crate::shop::TestShop;

/// A product of which nothing is left, and the order that has it all.
async fn sold_out(shop: &TestShop) -> (String, String) {
    let phone = shop.product("Phöne", 100, 1).await;
    let order = shop.order("buyer", &phone, 1).await;
    (phone, order)
}

async fn watch(shop: &TestShop, product: &str, user: &str, status: u16) -> Value {
    let path = format!("/v1/products/{product}/watchers/{user}");
    shop.send(http::Method::PUT, &path, &[], "").await.expect(status)
}

async fn count(shop: &TestShop, product: &str, count: i64) {
    shop.put(&format!("/v1/products/{product}/stock"), json!({"onHand": count})).await.expect(200);
}

/// What a customer was told of a product they waited for.
async fn told(shop: &TestShop, user: &str) -> Vec<Value> {
    let mut items = shop.all(&format!("/v1/customers/{user}/inbox")).await;
    items.retain(|item| item["event"] == "ProductBackInStock");
    items
}

async fn waiting(shop: &TestShop, product: &str) -> Vec<String> {
    let watchers = shop.all(&format!("/v1/products/{product}/watchers?limit=100")).await;
    watchers.iter().map(|watcher| watcher["username"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_watcher_is_told_once_for_each_time_they_ask() {
    let shop = TestShop::new().await;
    let (phone, order) = sold_out(&shop).await;
    let path = format!("/v1/products/{phone}/watchers/ann");
    assert_eq!(shop.get(&path).await.code(), "watch_not_found");
    let made = shop.send(http::Method::PUT, &path, &[], "").await;
    assert_eq!((made.status.as_u16(), made.header("location")), (201, path.as_str()));
    assert_eq!((&made.body["productId"], &made.body["available"]), (&json!(phone), &json!(0)));
    assert_eq!(watch(&shop, &phone, "ANN", 200).await["since"], made.body["since"], "asking twice is asking once");
    assert_eq!(shop.get(&path).await.expect(200), made.body);
    assert_eq!(waiting(&shop, &phone).await, ["ann"]);

    shop.transition(&order, "CANCELLED").await.expect(200);
    shop.deliver().await;
    let first = told(&shop, "ann").await;
    assert_eq!(first.len(), 1);
    assert_eq!(first[0]["text"], format!("Phöne is back in stock.\nProduct {phone}"));
    let facts =
        json!({"about": "product", "productId": phone, "productName": "Phöne", "available": 1, "userName": "ann"});
    assert_eq!(first[0]["facts"], facts);
    assert_eq!(waiting(&shop, &phone).await, Vec::<String>::new());
    assert_eq!(shop.get(&path).await.code(), "watch_not_found");

    let order = shop.order("buyer", &phone, 1).await;
    shop.transition(&order, "CANCELLED").await.expect(200);
    shop.deliver().await;
    assert_eq!(told(&shop, "ann").await.len(), 1, "they asked once");
    assert_eq!(watch(&shop, &phone, "ann", 201).await["available"], 1, "who asks too late sees that it is there");
    let order = shop.order("buyer", &phone, 1).await;
    assert_eq!(told(&shop, "ann").await.len(), 1);
    shop.transition(&order, "CANCELLED").await.expect(200);
    shop.deliver().await;
    let twice = told(&shop, "ann").await;
    assert!(twice.len() == 2 && twice[0]["id"] != twice[1]["id"], "{twice:?}");
}

#[tokio::test]
async fn hundreds_of_watchers_are_told_once_each_in_pages_however_often_it_is_said() {
    const WATCHERS: usize = 230;
    let shop = TestShop::new().await;
    let (phone, _) = sold_out(&shop).await;
    for n in 0..WATCHERS {
        watch(&shop, &phone, &format!("user{n}"), 201).await;
    }
    count(&shop, &phone, 5).await;
    // The catalogue announces it; then that, and what comes of it, is delivered twice.
    let moved = shop.store.receive(Queue::StockLedgerQueue, 0).await.unwrap().unwrap();
    handle(&shop.app, Queue::StockLedgerQueue, moved.envelope.as_ref().unwrap()).await.unwrap();
    shop.store.delete_message(&moved).await.unwrap();
    let mut pages = 0;
    while let Some(received) = shop.store.receive(Queue::NotificationQueue, shop.now_ms()).await.unwrap() {
        let event = received.envelope.as_ref().unwrap();
        pages += usize::from(event.detail_type == "WatchersDue");
        for _ in 0..2 {
            handle(&shop.app, Queue::NotificationQueue, event).await.unwrap();
        }
        shop.store.delete_message(&received).await.unwrap();
    }
    assert!(pages > WATCHERS / 50, "in pages: {pages}");
    for n in 0..WATCHERS {
        assert_eq!(told(&shop, &format!("user{n}")).await.len(), 1, "user{n}");
    }
    assert_eq!(waiting(&shop, &phone).await, Vec::<String>::new());
    shop.deliver().await;
}

#[tokio::test]
async fn one_who_cannot_be_told_holds_up_nobody() {
    const WATCHERS: usize = 60;
    let shop = TestShop::new().await;
    let (phone, order) = sold_out(&shop).await;
    for n in 0..WATCHERS {
        watch(&shop, &phone, &format!("user{n:02}"), 201).await;
    }
    shop.notifier.refuse(|told| serde_json::to_string(&told.facts).unwrap().contains("user03"));
    shop.transition(&order, "CANCELLED").await.expect(200);
    shop.deliver().await;
    assert_eq!(waiting(&shop, &phone).await, ["user03"]);
    shop.notifier.mend();
    shop.deliver_with_retries().await;
    assert_eq!(waiting(&shop, &phone).await, Vec::<String>::new());
    for n in 0..WATCHERS {
        assert_eq!(told(&shop, &format!("user{n:02}")).await.len(), 1, "user{n:02}");
    }
}

#[tokio::test]
async fn a_replenishment_that_comes_after_the_product_ran_out_again_tells_nobody_yet() {
    let shop = TestShop::new().await;
    let (phone, _) = sold_out(&shop).await;
    watch(&shop, &phone, "ann", 201).await;
    count(&shop, &phone, 2).await;
    let moved = shop.store.receive(Queue::StockLedgerQueue, 0).await.unwrap().unwrap();
    handle(&shop.app, Queue::StockLedgerQueue, moved.envelope.as_ref().unwrap()).await.unwrap();
    shop.store.delete_message(&moved).await.unwrap();
    let replenished = shop.store.receive(Queue::NotificationQueue, 0).await.unwrap().unwrap();
    handle(&shop.app, Queue::NotificationQueue, replenished.envelope.as_ref().unwrap()).await.unwrap();
    let due = shop.store.receive(Queue::NotificationQueue, 0).await.unwrap().unwrap();
    let due_event = due.envelope.as_ref().unwrap();
    assert_eq!(due_event.detail_type, "WatchersDue");
    count(&shop, &phone, 1).await;
    let unsettled = handle(&shop.app, Queue::NotificationQueue, due_event).await.unwrap_err();
    assert_eq!(unsettled.code(), "stock_unsettled", "whether it ran out is still on its way");
    shop.deliver().await;
    handle(&shop.app, Queue::NotificationQueue, due_event).await.unwrap();
    assert_eq!((told(&shop, "ann").await.len(), waiting(&shop, &phone).await), (0, vec!["ann".to_owned()]));
    shop.store.delete_message(&due).await.unwrap();
    shop.store.delete_message(&replenished).await.unwrap();

    count(&shop, &phone, 3).await;
    shop.deliver().await;
    assert_eq!(told(&shop, "ann").await.len(), 1, "it came back once more");
}

#[tokio::test]
async fn nobody_waits_for_what_is_gone_or_never_was() {
    let shop = TestShop::new().await;
    let unknown = "/v1/products/019b7c00-0000-7000-8000-000000000000/watchers";
    for answer in [
        shop.send(http::Method::PUT, &format!("{unknown}/ann"), &[], "").await,
        shop.get(&format!("{unknown}/ann")).await,
        shop.get(unknown).await,
    ] {
        assert_eq!((answer.status.as_u16(), answer.code()), (404, "product_not_found"));
    }
    shop.delete(&format!("{unknown}/ann")).await.expect(204);
    let (phone, _) = sold_out(&shop).await;
    for n in 0..60 {
        watch(&shop, &phone, &format!("user{n}"), 201).await;
    }
    shop.delete(&format!("/v1/products/{phone}/watchers/user7")).await.expect(204);
    assert_eq!(waiting(&shop, &phone).await.len(), 59);
    shop.delete(&format!("/v1/products/{phone}")).await.expect(204);
    shop.deliver().await;
    let again = json!({"id": phone, "name": "Phone", "price": {"amount": 1, "currency": "USD"}, "stock": 1});
    let again = shop.post("/v1/products", again).await;
    if again.status == 201 {
        assert_eq!(waiting(&shop, &phone).await, Vec::<String>::new(), "its watchers went with it");
        shop.deliver().await;
    }
    let file = rusqlite::Connection::open(shop.folder.join("cartwright.db")).unwrap();
    let sql = "SELECT count(*) FROM notifications WHERE pk LIKE 'WATCH%'";
    assert_eq!(file.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}

#[tokio::test]
async fn a_customer_watches_a_hundred_products_and_an_erased_one_none() {
    let shop = TestShop::new().await;
    shop.post("/v1/customers", json!({"username": "ann", "email": "a@example.com", "name": "Ann"})).await.expect(201);
    let mut products = Vec::new();
    for _ in 0..101 {
        products.push(shop.product("phone", 100, 0).await);
    }
    for product in &products[..100] {
        watch(&shop, product, "ann", 201).await;
    }
    watch(&shop, &products[0], "ann", 200).await;
    let path = format!("/v1/products/{}/watchers/ann", products[100]);
    let refused = shop.send(http::Method::PUT, &path, &[], "").await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "too_many_watches"));
    let export = shop.get("/v1/customers/ann/export").await.expect(200);
    let exported: Vec<_> = export["watches"].as_array().unwrap().iter().map(|watch| &watch["productId"]).collect();
    assert_eq!(exported, products[..100].iter().collect::<Vec<_>>(), "by age, as product ids are");
    shop.delete("/v1/customers/ann").await.expect(204);
    let erasure = shop.store.receive(Queue::NotificationQueue, 0).await.unwrap().unwrap();
    watch(&shop, &products[100], "ann", 409).await;
    handle(&shop.app, Queue::NotificationQueue, erasure.envelope.as_ref().unwrap()).await.unwrap();
    watch(&shop, &products[100], "ann", 201).await;
    handle(&shop.app, Queue::NotificationQueue, erasure.envelope.as_ref().unwrap()).await.unwrap();
    shop.store.delete_message(&erasure).await.unwrap();
    for product in &products[..100] {
        assert_eq!(waiting(&shop, product).await, Vec::<String>::new());
    }
    assert_eq!(waiting(&shop, &products[100]).await, ["ann"], "the next of that name");
    shop.deliver().await;
}
