//! `PutEvents`: events from outside, in the protocol of EventBridge's clients.

use cartwright::events::Queue;
use cartwright::local::sqlite::FILE_NAME;
use http::Method;
use serde_json::{Value, json};

use crate::faults::Fault;
use crate::shop::{Answer, TestShop};

const TARGET: (&str, &str) = ("x-amz-target", "AWSEvents.PutEvents");

/// Sends entries as the AWS CLI does.
async fn put(shop: &TestShop, entries: Value) -> Answer {
    let headers = [TARGET, ("content-type", "application/x-amz-json-1.1")];
    let answer = shop.send(Method::POST, "/", &headers, json!({"Entries": entries}).to_string()).await;
    assert_eq!(answer.header("content-type"), "application/x-amz-json-1.1");
    assert_eq!(answer.header("x-amzn-requestid"), answer.header("x-request-id"));
    answer
}

fn entry(detail: &Value) -> Value {
    json!({"Source": "com.swn.basket.checkoutbasket", "DetailType": "CheckoutBasket", "EventBusName": "SwnEventBus",
        "Resources": [], "Detail": detail.to_string()})
}

/// A checkout of one piece that costs a dollar.
fn checkout(user: &str, product: &str) -> Value {
    json!({"userName": user, "totalPrice": 1, "cardInfo": "5554 4433 2222 1111", "paymentMethod": 1,
        "items": [{"productId": product, "productName": "phone", "quantity": 1, "price": 1}]})
}

fn refusal(answer: &Answer) -> (u16, &str) {
    assert!(answer.body["message"].is_string(), "{answer:?}");
    (answer.status.as_u16(), answer.body["__type"].as_str().unwrap())
}

#[tokio::test]
async fn a_checkout_put_on_the_bus_becomes_an_order() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    let mut timed = entry(&checkout("bob", &phone));
    timed["Time"] = json!(1767323045.5);
    timed["EventBusName"] = "arn:aws:events:eu-west-1:123456789012:event-bus/SwnEventBus".into();
    let answer = put(&shop, json!([entry(&checkout("ann", &phone)), timed])).await.expect(200);
    assert_eq!(answer["FailedEntryCount"], 0);
    let ids: Vec<&str> = answer["Entries"].as_array().unwrap().iter().map(|e| e["EventId"].as_str().unwrap()).collect();
    assert!(ids.len() == 2 && ids[0] != ids[1], "{ids:?}");
    shop.deliver().await;
    let order = &shop.get("/order/ann").await.expect(200)["body"][0];
    assert_eq!((&order["status"], &order["cardLast4"]), (&json!("CONFIRMED"), &json!("1111")));
    let order = &shop.get("/order/bob").await.expect(200)["body"][0];
    assert_eq!(order["orderDate"], "2026-01-02T03:04:05.5Z", "the time it says, not the time it came");
    assert_eq!(shop.stock(&phone).await, (5, 2, 3));
}

#[tokio::test]
async fn the_examples_are_what_they_say() {
    let shop = TestShop::new().await;
    let entries = |name: &str| -> Value {
        let path = format!("{}/../../examples/{name}.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    cartwright::local::seed(&shop.app, |_| {}).await.unwrap();
    let put_both = put(&shop, entries("checkoutbasketevents")).await.expect(200);
    assert_eq!(put_both["FailedEntryCount"], 0);
    shop.deliver().await;
    for user in ["swn", "john"] {
        assert_eq!(shop.get(&format!("/order/{user}")).await.expect(200)["body"][0]["status"], "CONFIRMED", "{user}");
    }
    assert_eq!(put(&shop, entries("malformed-events")).await.expect(200)["FailedEntryCount"], 0);
    shop.deliver().await;
    let dead = shop.dead_letters(Queue::OrderQueue).await;
    assert!(dead[0].reason.contains("userName") && dead[0].body.contains("phone1"), "{dead:?}");
}

#[tokio::test]
async fn no_card_number_is_stored_even_of_a_malformed_event() {
    let shop = TestShop::new().await;
    let sent = json!({"userName": 7, "cardInfo": "5554443322221111", "nested": [{"CardNumber": 5554443322221111_u64}]});
    assert_eq!(put(&shop, json!([entry(&sent)])).await.expect(200)["FailedEntryCount"], 0);
    let file = rusqlite::Connection::open(shop.folder.join(FILE_NAME)).unwrap();
    let body: String = file.query_row("SELECT body FROM messages", [], |row| row.get(0)).unwrap();
    assert!(!body.contains("555444") && body.contains(r#""cardLast4":"1111""#), "{body}");
    shop.deliver().await;
    let dead = shop.dead_letters(Queue::OrderQueue).await;
    assert!(!format!("{dead:?}").contains("555444"), "{dead:?}");
}

#[tokio::test]
async fn each_bad_entry_is_told_and_the_others_are_accepted() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    let with = |name: &str, value: Value| {
        let mut entry = entry(&json!({}));
        entry[name] = value;
        entry
    };
    let entries = json!([
        entry(&checkout("ann", &phone)),
        with("Source", json!(null)),
        with("DetailType", json!("")),
        with("Detail", json!(null)),
        with("Detail", json!("{")),
        with("Detail", json!("[1]")),
        with("Detail", json!("[".repeat(5_000))),
        with("EventBusName", json!(null)),
        with("EventBusName", json!("OtherBus")),
    ]);
    let answer = put(&shop, entries).await.expect(200);
    assert_eq!(answer["FailedEntryCount"], 8);
    let entries = answer["Entries"].as_array().unwrap();
    assert!(entries[0]["EventId"].is_string() && entries[0].get("ErrorCode").is_none());
    let codes: Vec<&str> = entries[1..].iter().map(|entry| entry["ErrorCode"].as_str().unwrap()).collect();
    let (missing, malformed, bus) = ("InvalidArgument", "MalformedDetail", "ResourceNotFoundException");
    assert_eq!(codes, [missing, missing, missing, malformed, malformed, malformed, bus, bus]);
    let message = |at: usize| entries[at]["ErrorMessage"].as_str().unwrap();
    assert_eq!(message(1), "Parameter Source is not valid. Reason: Source is a required argument.");
    assert_eq!(message(4), "Detail is malformed.");
    assert!(message(7).starts_with("Event bus default does not exist.") && message(7).contains("SwnEventBus"));
    shop.deliver().await;
    assert_eq!(shop.all("/v1/orders").await.len(), 1);
}

#[tokio::test]
async fn an_event_that_no_rule_matches_is_accepted_and_goes_nowhere() {
    let shop = TestShop::new().await;
    let entries = json!([{"Source": "x", "DetailType": "Unheard", "Detail": "{}", "EventBusName": "SwnEventBus"}]);
    let answer = put(&shop, entries).await.expect(200);
    assert!(answer["FailedEntryCount"] == 0 && answer["Entries"][0]["EventId"].is_string(), "{answer}");
    assert_eq!(shop.deliver().await, 0);
}

#[tokio::test]
async fn a_request_beyond_the_limits_is_refused_in_whole() {
    let shop = TestShop::new().await;
    let tiny = entry(&json!({}));
    for entries in [json!([]), json!(vec![tiny.clone(); 11]), json!(null)] {
        assert_eq!(refusal(&put(&shop, entries).await), (400, "ValidationException"));
    }
    let padded = |bytes: usize| entry(&json!({"padding": "x".repeat(bytes)}));
    for entries in [json!([padded(250 * 1024)]), json!([padded(131_072), padded(131_072)]), json!([padded(2_000_000)])]
    {
        let answer = put(&shop, entries).await;
        assert_eq!(refusal(&answer), (400, "ValidationException"));
        assert_eq!(answer.body["message"], "Total size of the entries in the request is over the limit.");
    }
    for time in [json!("yesterday"), json!(true), json!(1e30)] {
        let mut entry = tiny.clone();
        entry["Time"] = time;
        assert_eq!(refusal(&put(&shop, json!([tiny, entry])).await), (400, "SerializationException"));
    }
    assert_eq!(refusal(&put(&shop, json!("none")).await), (400, "SerializationException"));
    assert_eq!(shop.store.depth(Queue::OrderQueue).await.unwrap(), 0, "nothing of it happened");

    assert_eq!(put(&shop, json!(vec![tiny; 10])).await.expect(200)["FailedEntryCount"], 0);
    assert_eq!(put(&shop, json!([padded(249 * 1024)])).await.expect(200)["FailedEntryCount"], 0);
    shop.deliver().await;
    assert_eq!(shop.dead_letters(Queue::OrderQueue).await.len(), 11);
}

#[tokio::test]
async fn what_the_disk_refuses_is_no_success() {
    let shop = TestShop::new().await;
    shop.faults.next([Fault::Refuse]);
    let answer = put(&shop, json!([entry(&json!({}))])).await;
    assert_eq!(refusal(&answer), (503, "InternalException"));
    assert_eq!(shop.deliver().await, 0);
}

#[tokio::test]
async fn other_operations_are_unknown_and_without_one_nothing_is_posted_here() {
    let shop = TestShop::new().await;
    let headers = [("x-amz-target", "AWSEvents.ListRules"), ("content-type", "application/x-amz-json-1.1")];
    let answer = shop.send(Method::POST, "/", &headers, "{}").await;
    assert_eq!(refusal(&answer), (400, "UnknownOperationException"));
    let answer = shop.send(Method::POST, "/", &[], "{}").await;
    assert_eq!(
        (answer.status.as_u16(), answer.code(), answer.header("allow")),
        (405, "method_not_allowed", "GET,HEAD")
    );
}

#[tokio::test]
async fn what_the_shop_says_of_itself_nobody_else_can_say() {
    let shop = TestShop::new().await;
    let detail = json!({"username": "ann", "alias": "x", "at": "9000-01-01T00:00:00Z"}).to_string();
    let forged = |source: &str, event: &str| json!({"Source": source, "DetailType": event, "EventBusName": "SwnEventBus", "Detail": detail});
    let entries = json!([
        forged("cartwright.customers", "CustomerErased"),
        forged("cartwright.access", "ActionTaken"),
        forged("other", "X")
    ]);
    let answer = put(&shop, entries).await.expect(200);
    assert_eq!(answer["FailedEntryCount"], 2);
    for at in 0..2 {
        assert_eq!(answer["Entries"][at]["ErrorCode"], "NotAuthorizedForSourceException", "{answer}");
    }
    assert_eq!(shop.deliver().await, 0);
}
