//! What operators see of the queues on AWS, and what they do about dead letters.

use cartwright::events::Queue;
use cartwright::local::sqlite::Received;
use cartwright_aws::dead_letters::record;
use http::Method;
use serde_json::{Value, json};

use crate::fake_aws::{PREFIX, failed, message_id, sqs_event, sqs_message};
use crate::shop::Shop;

const DEAD: &str = "/v1/queues/OrderQueue/dead-letters";

/// A shop with so many dead letters, numbered in their order.
async fn shop_with(count: u32, body: impl Fn(u32) -> String) -> Shop {
    let shop = Shop::new();
    for n in 0..count {
        let mut message = sqs_message("OrderQueue-dead", n, body(n), 1);
        message["attributes"]["SentTimestamp"] = (1_767_323_045_000_u64 + u64::from(n)).to_string().into();
        let answer = record(&shop.app, PREFIX, sqs_event([message])).await;
        assert_eq!(failed(&answer), [""; 0]);
    }
    shop
}

fn event(n: u32) -> String {
    json!({"id": message_id(n), "source": "com.swn.basket.checkoutbasket", "detail-type": "CheckoutBasket",
        "time": "2026-01-02T03:04:05Z", "correlationId": "test", "detail": {"n": n}})
    .to_string()
}

fn id(n: u32) -> String {
    format!("{}-{}", 1_767_323_045_000_u64 + u64::from(n), message_id(n))
}

/// What came out of the outbox for a queue.
async fn received(shop: &Shop, queue: Queue) -> Vec<Received> {
    let mut all = Vec::new();
    while let Some(received) = shop.sqlite.receive(queue, 0).await.unwrap() {
        all.push(received);
    }
    all
}

async fn take(shop: &Shop, action: &str, mut body: Value) -> (u16, Value) {
    if action == "discard" {
        body["reason"] = "a test".into();
    }
    shop.ask(Method::POST, &format!("{DEAD}/{action}"), &body.to_string()).await
}

#[tokio::test]
async fn a_queue_tells_what_sqs_tells_and_no_more() {
    let shop = shop_with(2, event).await;
    let queue = shop.get("/v1/queues/OrderQueue").await;
    let figures =
        json!({"name": "OrderQueue", "waiting": 3, "inFlight": 2, "delayed": 1, "dead": 2, "oldestAgeMs": null});
    assert_eq!(queue, figures);
    let all = shop.get("/v1/queues").await;
    assert_eq!(all["items"].as_array().unwrap().len(), Queue::ALL.len());
    let asked = shop.aws.calls("GetQueueUrl");
    assert_eq!((asked.len(), &asked[0]["QueueName"]), (Queue::ALL.len(), &json!("shop-OrderQueue")));
    shop.aws.answer_next("GetQueueAttributes", 500, json!({"__type": "InternalFailure"}));
    let (status, problem) = shop.ask(Method::GET, "/v1/queues/OrderQueue", "").await;
    assert_eq!((status, &problem["code"]), (503, &json!("queues_unavailable")));
}

#[tokio::test]
async fn letters_are_listed_either_way_page_by_page() {
    let shop = shop_with(5, event).await;
    let ids = |page: &Value| {
        let items = page["items"].as_array().unwrap().iter();
        items.map(|letter| letter["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let newest = shop.get(&format!("{DEAD}?limit=2")).await;
    assert_eq!(ids(&newest), [4, 3].map(id));
    let next = shop.get(&format!("{DEAD}?limit=9&cursor={}", newest["nextCursor"].as_str().unwrap())).await;
    assert_eq!(ids(&next), [2, 1, 0].map(id));
    assert_eq!(ids(&shop.get(&format!("{DEAD}?order=oldest")).await), [0, 1, 2, 3, 4].map(id));
    assert_eq!(shop.get(&format!("{DEAD}/{}", id(3))).await["event"]["detail"], json!({"n": 3}));
    let (status, problem) = shop.ask(Method::GET, &format!("{DEAD}/{}", id(9)), "").await;
    assert_eq!((status, &problem["code"]), (404, &json!("dead_letter_not_found")));
}

#[tokio::test]
async fn a_redriven_letter_is_a_message_for_its_queue_alone_and_tells_of_it() {
    let shop = shop_with(3, |n| if n == 1 { "{torn".to_owned() } else { event(n) }).await;
    let (status, taken) = take(&shop, "redrive", json!({"ids": [id(2), id(1)]})).await;
    assert_eq!((status, taken), (200, json!({"count": 2})));
    let messages = received(&shop, Queue::OrderQueue).await;
    assert_eq!(messages.len(), 2);
    assert!(messages[0].envelope.is_err(), "oldest first, and unreadable as it was");
    assert_eq!(messages[1].envelope.as_ref().unwrap().detail.get(), r#"{"n":2}"#);
    assert_eq!(shop.get("/v1/queues/OrderQueue").await["dead"], 1);
    let left = shop.get(DEAD).await;
    assert_eq!((left["items"].as_array().unwrap().len(), &left["items"][0]["id"]), (1, &json!(id(0))));
}

#[tokio::test]
async fn nothing_changes_when_one_is_unknown() {
    let shop = shop_with(2, event).await;
    for action in ["redrive", "discard"] {
        let (status, problem) = take(&shop, action, json!({"ids": [id(0), id(8), "x"]})).await;
        assert_eq!(
            (status, &problem["code"], &problem["ids"]),
            (404, &json!("dead_letter_not_found"), &json!([id(8), "x"]))
        );
    }
    assert_eq!(shop.get("/v1/queues/OrderQueue").await["dead"], 2);
    assert!(received(&shop, Queue::OrderQueue).await.is_empty());
    assert_eq!(take(&shop, "discard", json!({"ids": [id(0)]})).await, (200, json!({"count": 1})));
    assert!(received(&shop, Queue::OrderQueue).await.is_empty());
}

#[tokio::test]
async fn all_go_in_as_many_parts_as_it_takes() {
    let shop = shop_with(85, event).await;
    assert_eq!(take(&shop, "redrive", json!({"all": true})).await, (200, json!({"count": 85})));
    let numbers: Vec<_> = received(&shop, Queue::OrderQueue).await;
    assert!(
        numbers
            .iter()
            .zip(0..)
            .all(|(message, n)| message.envelope.as_ref().unwrap().detail.get() == format!("{{\"n\":{n}}}"))
    );
    assert_eq!((numbers.len(), &shop.get("/v1/queues/OrderQueue").await["dead"]), (85, &json!(0)));
    assert_eq!(take(&shop, "discard", json!({"all": true})).await, (200, json!({"count": 0})));
}

#[tokio::test]
async fn large_letters_make_short_pages_and_small_transactions() {
    let large = |n: u32| event(n).replace("\"n\":", &format!("\"padding\":\"{}\",\"n\":", "x".repeat(250_000)));
    let shop = shop_with(12, large).await;
    let page = shop.get(DEAD).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 4);
    assert!(page["nextCursor"].is_string());
    let (status, problem) = take(&shop, "redrive", json!({"ids": (0..12).map(id).collect::<Vec<_>>()})).await;
    assert_eq!((status, &problem["code"]), (413, &json!("dead_letters_too_large")));
    assert!(problem["detail"].as_str().unwrap().contains("at most 8"), "{problem}");
    assert_eq!(take(&shop, "redrive", json!({"all": true})).await, (200, json!({"count": 12})));
    assert_eq!(received(&shop, Queue::OrderQueue).await.len(), 12);
}

#[tokio::test]
async fn of_two_operators_one_has_a_letter() {
    let shop = shop_with(30, event).await;
    let all = || take(&shop, "redrive", json!({"all": true}));
    let (one, other) = tokio::join!(all(), all());
    let count = |taken: &(u16, Value)| taken.1["count"].as_u64().unwrap();
    assert_eq!((one.0, other.0, count(&one) + count(&other)), (200, 200, 30), "{one:?} {other:?}");
    assert_eq!(received(&shop, Queue::OrderQueue).await.len(), 30);
    assert_eq!(shop.get("/v1/queues/OrderQueue").await["dead"], 0);
}
