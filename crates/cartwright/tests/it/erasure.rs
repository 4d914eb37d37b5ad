//! Erasing a customer reaches everything that is kept of them, wherever it is on its way.

use std::time::Duration;

use cartwright::events::{Envelope, Queue};
use cartwright::local::delivery::Settings;
use cartwright::local::sqlite::FILE_NAME;
use cartwright::queues::DeadLetter;
use http::Method;
use rusqlite::types::ValueRef;
use serde_json::{Value, json};

use crate::faults::Fault;
use crate::shop::{Answer, TestShop};

/// All that is told of Ann but her user name.
const SECRETS: [&str; 6] = ["Annabel", "Quillfeather", "quill.example", "Nightingale Lane", "Hidden Mews", "\"9876\""];

/// Where in the tables of the file one of `secrets` stands.
fn places(shop: &TestShop, secrets: &[&str]) -> Vec<String> {
    let file = rusqlite::Connection::open(shop.folder.join(FILE_NAME)).unwrap();
    let mut tables = file.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").unwrap();
    let tables: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert!(
        ["ordering", "basket", "messages", "dead_letters"].iter().all(|name| tables.iter().any(|table| table == name))
    );
    let mut places = Vec::new();
    for table in tables {
        let mut statement = file.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                let (ValueRef::Text(bytes) | ValueRef::Blob(bytes)) = row.get_ref(column).unwrap() else { continue };
                let text = String::from_utf8_lossy(bytes);
                if secrets.iter().any(|secret| text.contains(secret)) {
                    places.push(format!("{table}: {text}"));
                }
            }
        }
    }
    places
}

fn contact() -> Value {
    json!({"firstName": "Annabel", "lastName": "Quillfeather", "email": "annabel@quill.example", "address": "17 Nightingale Lane"})
}

async fn keyed(shop: &TestShop, key: &str, path: &str, body: Value) -> Answer {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    shop.send(Method::POST, path, &headers, body.to_string()).await
}

fn new_customer() -> Value {
    json!({"username": "ann", "email": "annabel@quill.example", "name": "Annabel Quillfeather"})
}

/// Fills Ann's basket and checks it out, by a card.
async fn check_out(shop: &TestShop, product: &str) -> String {
    shop.fill("ann", product, 1).await;
    let mut request = contact();
    request["userName"] = "ann".into();
    request["cardInfo"] = "5554 4433 2222 9876".into();
    let accepted = shop.post("/basket/checkout", request).await.expect(200);
    accepted["body"]["orderId"].as_str().unwrap().to_owned()
}

/// A checkout from elsewhere that can never be an order, because `order` is another.
fn taken(shop: &TestShop, user: &str, product: &str, order: &str) -> Envelope {
    let mut detail = contact();
    detail["userName"] = user.into();
    detail["orderId"] = order.into();
    detail["cardLast4"] = "9876".into();
    detail["items"] =
        json!([{"productId": product, "productName": "phone", "quantity": 3, "price": 7, "for": "Annabel"}]);
    shop.event("CheckoutBasket", detail)
}

/// A checkout from elsewhere that is none, and says all sorts of things.
fn malformed(shop: &TestShop, user: &str) -> Envelope {
    shop.event("CheckoutBasket", json!({"userName": user, "send to": "Annabel, 17 Nightingale Lane", "items": "all"}))
}

fn detail(letter: &DeadLetter) -> Value {
    serde_json::from_str::<Value>(&letter.body).unwrap()["detail"].clone()
}

#[tokio::test]
async fn nothing_but_the_user_name_is_left_of_an_erased_customer() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 50).await;
    let added = keyed(&shop, "k-add", "/v1/customers", new_customer()).await;
    assert_eq!(added.status, 201);
    let home = json!({"label": "home", "address": "3 Hidden Mews"});
    keyed(&shop, "k-home", "/v1/customers/ann/addresses", home.clone()).await.expect(201);
    let old = check_out(&shop, &phone).await;
    shop.deliver().await;
    let path = format!("/v1/orders/{old}/transitions");
    let packed = keyed(&shop, "k-pack", &path, json!({"to": "PACKED"})).await.expect(200);
    assert_eq!((&packed["contact"]["lastName"], &packed["cardLast4"]), (&json!("Quillfeather"), &json!("9876")));
    // Dead already; one that waits for its next try; and those that nobody has looked at yet.
    shop.emit(taken(&shop, "Ann", &phone, &old)).await;
    shop.emit(malformed(&shop, "ann")).await;
    shop.deliver().await;
    assert_eq!(shop.dead_letters(Queue::OrderQueue).await.len(), 2);
    let waits = check_out(&shop, &phone).await;
    shop.faults.next([Fault::Refuse]);
    shop.deliver().await;
    let new = check_out(&shop, &phone).await;
    shop.emit(taken(&shop, "ann", &phone, &old)).await;
    shop.emit(malformed(&shop, "ANN")).await;
    let kept = places(&shop, &SECRETS);
    assert!(
        ["ordering: ", "messages: ", "dead_letters: "]
            .iter()
            .all(|table| kept.iter().any(|place| place.starts_with(table)))
    );
    assert!(!kept.iter().any(|place| place.starts_with("basket: ")), "no checkout is kept with the data: {kept:?}");

    shop.delete("/v1/customers/ann").await.expect(204);
    shop.deliver_with_retries().await;
    assert_eq!(places(&shop, &SECRETS), Vec::<String>::new());
    for order in [&old, &waits, &new] {
        let order = shop.get(&format!("/v1/orders/{order}")).await.expect(200);
        assert!(
            order["customer"].as_str().unwrap().starts_with("erased-") && order["total"]["amount"] == 100,
            "{order}"
        );
    }
    let letters = shop.dead_letters(Queue::OrderQueue).await;
    let users: Vec<Value> = letters.iter().map(|letter| detail(letter)["userName"].clone()).collect();
    assert!(users.len() == 4 && users.iter().all(|user| user == &users[0]), "none is lost: {users:?}");
    assert!(users[0].as_str().unwrap().starts_with("erased-"));
    let reasons: Vec<&str> = letters.iter().map(|letter| letter.reason.split(':').next().unwrap()).collect();
    assert_eq!(
        reasons.iter().filter(|reason| **reason == "order_id_taken").count(),
        2,
        "for the same reasons: {reasons:?}"
    );

    let again = keyed(&shop, "k-add", "/v1/customers", new_customer()).await;
    assert_eq!((again.status, &again.body, again.header("etag")), (added.status, &added.body, added.header("etag")));
    keyed(&shop, "k-home", "/v1/customers/ann/addresses", home).await.expect(201);
    assert_eq!(shop.get("/v1/customers/ann").await.status, 404, "the first answer, and nobody is added again");
    let packed = keyed(&shop, "k-pack", &path, json!({"to": "PACKED"})).await.expect(200);
    assert!(packed["contact"]["lastName"] == "" && packed.get("cardLast4").is_none(), "{packed}");
    assert_eq!(places(&shop, &SECRETS), Vec::<String>::new());
}

#[tokio::test]
async fn what_others_said_and_what_the_next_of_that_name_says_is_left_alone() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 50).await;
    keyed(&shop, "k-add", "/v1/customers", new_customer()).await.expect(201);
    shop.emit(malformed(&shop, "bob")).await;
    shop.emit(malformed(&shop, "ann")).await;
    shop.emit(shop.event("CheckoutBasket", json!({"username": "ann", "basket": "phone1"}))).await;
    shop.deliver().await;
    shop.delete("/v1/customers/ann").await.expect(204);
    let erasure = shop.store.receive(Queue::OrderErasureQueue, 0).await.unwrap().unwrap();
    shop.emit(malformed(&shop, "ann")).await;
    shop.deliver().await;
    for _ in 0..2 {
        let message = erasure.envelope.as_ref().unwrap();
        cartwright::events::handle(&shop.app, Queue::OrderErasureQueue, message).await.unwrap();
        shop.deliver().await;
        let letters = shop.dead_letters(Queue::OrderQueue).await;
        let told: Vec<(Value, bool)> = letters
            .iter()
            .map(|letter| (detail(letter)["userName"].clone(), letter.body.contains("Nightingale Lane")))
            .collect();
        assert_eq!(told.len(), 4);
        assert!(told.contains(&(json!("bob"), true)) && told.contains(&(json!("ann"), true)), "{told:?}");
        assert!(told.contains(&(Value::Null, false)), "whose it is is not said: {told:?}");
        assert!(
            told.iter().any(|(user, secret)| user.as_str().is_some_and(|user| user.starts_with("erased-")) && !secret)
        );
    }
    shop.store.delete_message(&erasure).await.unwrap();
    assert_eq!(shop.order("bob", &phone, 1).await.len(), 27);
}

#[tokio::test]
async fn dead_letters_of_an_erased_customer_are_found_behind_a_page_of_others() {
    let shop = TestShop::new().await;
    keyed(&shop, "k-add", "/v1/customers", new_customer()).await.expect(201);
    // Together they are more than a page of dead letters has.
    for _ in 0..6 {
        let detail = json!({"userName": "bob", "items": "all", "padding": "x".repeat(240_000)});
        shop.emit(shop.event("CheckoutBasket", detail)).await;
    }
    shop.emit(malformed(&shop, "ann")).await;
    shop.deliver().await;
    assert_eq!(shop.dead_letters(Queue::OrderQueue).await.len(), 7);
    shop.delete("/v1/customers/ann").await.expect(204);
    shop.deliver_with_retries().await;
    assert_eq!(shop.dead_letters(Queue::OrderQueue).await.len(), 7, "none is lost");
    assert_eq!(places(&shop, &SECRETS), Vec::<String>::new());
}

#[tokio::test]
async fn a_dead_letter_that_is_redriven_while_its_customer_is_erased_ends_without_their_data() {
    let shop = TestShop::new().await;
    keyed(&shop, "k-add", "/v1/customers", new_customer()).await.expect(201);
    shop.emit(malformed(&shop, "ann")).await;
    shop.deliver().await;
    shop.dead_letters(Queue::OrderQueue).await;
    shop.delete("/v1/customers/ann").await.expect(204);
    shop.post("/v1/queues/OrderQueue/dead-letters/redrive", json!({"all": true})).await.expect(200);
    let redriven = shop.store.receive(Queue::OrderQueue, 0).await.unwrap().unwrap();
    shop.deliver().await;
    shop.store.retry_message(&redriven, shop.now_ms()).await.unwrap();
    shop.deliver_with_retries().await;
    assert_eq!(shop.dead_letters(Queue::OrderQueue).await.len(), 1);
    assert_eq!(places(&shop, &SECRETS), Vec::<String>::new());
}

#[tokio::test]
async fn a_dead_checkout_of_an_erased_customer_becomes_its_one_order_under_the_alias() {
    let shop = TestShop::with_settings(Settings { max_receives: Some(1), ..Settings::default() }).await;
    let phone = shop.product("phone", 100, 50).await;
    keyed(&shop, "k-add", "/v1/customers", new_customer()).await.expect(201);
    let mut detail = contact();
    detail["userName"] = "ann".into();
    detail["items"] = json!([{"productId": phone, "productName": "phone", "quantity": 2, "price": 1}]);
    let checkout = shop.event("CheckoutBasket", detail);
    shop.emit(checkout.clone()).await;
    shop.faults.next([Fault::Refuse]);
    shop.deliver().await;
    assert_eq!(shop.dead_letters(Queue::OrderQueue).await.len(), 1);
    shop.delete("/v1/customers/ann").await.expect(204);
    shop.deliver().await;
    for _ in 0..2 {
        let orders = shop.all("/v1/orders").await;
        assert!(orders.len() == 1 && orders[0]["customer"].as_str().unwrap().starts_with("erased-"), "{orders:?}");
        assert_eq!((&orders[0]["status"], &orders[0]["total"]["amount"]), (&json!("CONFIRMED"), &json!(200)));
        let first =
            shop.all(&format!("/v1/orders/{}/timeline", orders[0]["id"].as_str().unwrap())).await.swap_remove(0);
        assert_eq!((&first["event"], &first["causationId"]), (&json!("CheckoutBasket"), &json!(checkout.id)));
        shop.emit(checkout.clone()).await;
        shop.deliver().await;
    }
    assert_eq!(shop.stock(&phone).await, (50, 2, 48));
    assert_eq!(places(&shop, &SECRETS), Vec::<String>::new());
}

#[tokio::test]
async fn a_checkout_announced_again_after_its_customer_was_erased_is_the_order_that_is_there() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 50).await;
    shop.post("/v1/customers", new_customer()).await.expect(201);
    let id = "37gS6Q8WYuCsvGnB62MpFhYePLE";
    shop.emit(taken(&shop, "ann", &phone, id)).await;
    shop.deliver().await;
    shop.delete("/v1/customers/ann").await.expect(204);
    shop.deliver_with_retries().await;
    // The sender did not hear that it had arrived, and puts it again, as an event of its own.
    shop.emit(taken(&shop, "Ann", &phone, id)).await;
    shop.deliver_with_retries().await;
    assert_eq!(shop.dead_letters(Queue::OrderQueue).await.len(), 0);
    let order = shop.get(&format!("/v1/orders/{id}")).await.expect(200);
    assert!(order["customer"].as_str().unwrap().starts_with("erased-"), "{order}");
    assert_eq!(places(&shop, &SECRETS[..2]), Vec::<String>::new(), "it brings no data back");
}

#[tokio::test]
async fn an_erasure_by_a_clock_that_was_put_back_brings_nobody_back_who_was_erased_before() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 50).await;
    shop.post("/v1/customers", new_customer()).await.expect(201);
    let id = "37gS6Q8WYuCsvGnB62MpFhYePLE";
    let late = taken(&shop, "ann", &phone, id);
    shop.delete("/v1/customers/ann").await.expect(204);
    shop.deliver_with_retries().await;
    shop.clock.put_back(Duration::from_mins(10));
    shop.post("/v1/customers", json!({"username": "ann", "email": "other@example.org", "name": "Another"}))
        .await
        .expect(201);
    shop.delete("/v1/customers/ann").await.expect(204);
    shop.deliver_with_retries().await;
    shop.emit(late).await;
    shop.deliver_with_retries().await;
    let order = shop.get(&format!("/v1/orders/{id}")).await.expect(200);
    assert!(order["customer"].as_str().unwrap().starts_with("erased-"), "{order}");
    assert_eq!(places(&shop, &SECRETS[..2]), Vec::<String>::new());
}
