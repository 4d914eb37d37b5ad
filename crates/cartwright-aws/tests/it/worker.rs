//! The worker: each message of a batch on its own.

use std::time::{Duration, Instant};

use cartwright::events::Queue;
use cartwright_aws::worker::Worker;
use http::Method;
use serde_json::{Value, json};

use crate::fake_aws::{failed, message_id, sqs_event, sqs_message};
use crate::shop::Shop;

const TIME: Duration = Duration::from_secs(30);
const QUEUE: &str = "OrderQueue";

fn worker(shop: &Shop) -> Worker {
    Worker::new(shop.app.clone(), Queue::OrderQueue, shop.aws.sqs())
}

/// An event as EventBridge sends it to a queue.
fn event(detail_type: &str, detail: &Value) -> String {
    json!({"version": "0", "id": "17793124-05d4-b198-2fde-7ededc63b103", "detail-type": detail_type,
        "source": "com.swn.basket.checkoutbasket", "account": "123456789012", "time": "2026-01-02T03:04:06Z",
        "region": "eu-central-1", "resources": [], "detail": detail})
    .to_string()
}

/// A checkout of `user`, from our own basket service.
pub fn checkout(n: u32, user: &str) -> String {
    let metadata = json!({"id": format!("01942a9c-7038-7652-946f-{n:012}"), "correlationId": "request-1",
        "time": "2026-01-02T03:04:05.678901Z"});
    event("CheckoutBasket", &json!({"metadata": metadata, "userName": user, "items": [line()]}))
}

fn line() -> Value {
    json!({"productId": "01942a9c-7038-7652-946f-424cdab22133", "productName": "Kettle", "quantity": 2, "price": 12.5})
}

async fn customers(shop: &Shop) -> Vec<String> {
    let orders = shop.get("/v1/orders?limit=100").await;
    let mut names: Vec<_> = orders["items"].as_array().unwrap().iter().map(|order| order["customer"].clone()).collect();
    names.sort_by_key(Value::to_string);
    names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn each_message_of_a_batch_has_its_own_fate() {
    let shop = Shop::new();
    let bodies = [
        checkout(1, "ann"),
        checkout(2, "panics"),
        event("CheckoutBasket", &json!({"username": "swn", "basket": "phone1"})),
        checkout(4, "hangs"),
        checkout(5, "bob"),
        checkout(6, "fails"),
        "{torn".to_owned(),
        event("NobodyKnowsThis", &json!({})),
        checkout(9, "cy"),
    ];
    let messages = bodies.into_iter().zip(1..).map(|(body, n)| sqs_message(QUEUE, n, body, 1));
    let started = Instant::now();
    let answer = worker(&shop).process(sqs_event(messages), Duration::from_secs(4)).await;
    assert!(started.elapsed() < Duration::from_secs(4), "the one that hangs is given up in time");
    assert_eq!(failed(&answer), [2, 4, 6].map(message_id));
    assert_eq!(customers(&shop).await, ["ann", "bob", "cy"]);

    let sent = shop.aws.sent();
    assert!(sent.iter().all(|(queue, _)| queue == "shop-OrderQueue-dead"), "{sent:?}");
    let reason = |call: &Value| call["MessageAttributes"]["Reason"]["StringValue"].as_str().unwrap().to_owned();
    let mut reasons: Vec<_> = sent.iter().map(|(_, call)| reason(call)).collect();
    reasons.sort();
    assert_eq!(reasons.len(), 3);
    for (reason, code) in reasons.iter().zip(["malformed_event: ", "unknown_event: ", "unreadable_message: "]) {
        assert!(reason.starts_with(code), "{reason}");
    }
    let mut hidden = shop.aws.calls("ChangeMessageVisibility");
    hidden.sort_by_key(|call| call["ReceiptHandle"].to_string());
    assert_eq!(
        hidden.iter().map(|call| &call["ReceiptHandle"]).collect::<Vec<_>>(),
        ["handle-2", "handle-4", "handle-6"]
    );
    assert_eq!(
        (&hidden[0]["VisibilityTimeout"], &hidden[0]["QueueUrl"]),
        (&json!(1), &json!("https://sqs.eu-central-1.amazonaws.com/123456789012/shop-OrderQueue"))
    );
}

#[tokio::test]
async fn a_message_that_fails_for_the_last_time_is_sent_on_with_what_is_known_of_it() {
    let shop = Shop::new();
    let last =
        sqs_event([sqs_message(QUEUE, 1, checkout(1, "fails"), 6), sqs_message(QUEUE, 2, checkout(2, "fails"), 5)]);
    assert_eq!(failed(&worker(&shop).process(last, TIME).await), [message_id(2)]);
    let [(_, call)] = &shop.aws.sent()[..] else { panic!("{:?}", shop.aws.sent()) };
    let attribute = |name: &str| call["MessageAttributes"][name]["StringValue"].as_str().unwrap().to_owned();
    assert!(attribute("Reason").starts_with("storage_failed: "));
    assert_eq!((attribute("Receives"), attribute("MessageId")), ("6".into(), message_id(1)));
    assert_eq!(attribute("SentTimestamp"), "1767323045123");
    let kept: Value = serde_json::from_str(call["MessageBody"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&kept["id"], &kept["correlationId"]),
        (&json!("01942a9c-7038-7652-946f-000000000001"), &json!("request-1"))
    );
    assert_eq!((&kept["detail"]["userName"], &kept["detail"]["metadata"]), (&json!("fails"), &Value::Null));
    let pause = shop.aws.calls("ChangeMessageVisibility")[0]["VisibilityTimeout"].as_i64().unwrap();
    assert!((30..=60).contains(&pause), "pauses grow: {pause}");
}

#[tokio::test]
async fn a_dead_message_that_cannot_be_sent_on_stays_in_its_queue() {
    let shop = Shop::new();
    shop.aws.answer_next("SendMessage", 500, json!({"__type": "InternalFailure"}));
    let poison = || sqs_event([sqs_message(QUEUE, 1, "{torn", 1)]);
    assert_eq!(failed(&worker(&shop).process(poison(), TIME).await), [message_id(1)]);
    assert_eq!(failed(&worker(&shop).process(poison(), TIME).await), [""; 0]);
    assert_eq!(shop.aws.sent().len(), 2);
}

#[tokio::test]
async fn a_pause_that_cannot_be_set_changes_nothing_else() {
    let shop = Shop::new();
    shop.aws.answer_next("ChangeMessageVisibility", 400, json!({"__type": "ReceiptHandleIsInvalid"}));
    let failing = sqs_event([sqs_message(QUEUE, 1, checkout(1, "fails"), 1)]);
    assert_eq!(failed(&worker(&shop).process(failing, TIME).await), [message_id(1)]);
}

#[tokio::test]
async fn a_message_that_comes_again_makes_one_order() {
    let shop = Shop::new();
    for _ in 0..3 {
        let batch =
            sqs_event([sqs_message(QUEUE, 1, checkout(1, "ann"), 1), sqs_message(QUEUE, 2, checkout(1, "ann"), 2)]);
        assert_eq!(failed(&worker(&shop).process(batch, TIME).await), [""; 0]);
    }
    assert_eq!(customers(&shop).await, ["ann"]);
}

#[tokio::test]
async fn no_card_number_of_an_event_from_outside_is_kept() {
    let shop = Shop::new();
    const CARD: &str = "5554443322221111";
    let order = json!({"userName": "ann", "items": [line()], "cardInfo": CARD});
    let poison = json!({"userName": "ann", "items": {"cardInfo": CARD}});
    let torn = format!("{{\"cardInfo\": \"{CARD}\"");
    let batch = sqs_event([
        sqs_message(QUEUE, 1, event("CheckoutBasket", &order), 1),
        sqs_message(QUEUE, 2, event("CheckoutBasket", &poison), 1),
        sqs_message(QUEUE, 3, torn, 1),
    ]);
    assert_eq!(failed(&worker(&shop).process(batch, TIME).await), [""; 0]);
    let orders = shop.get("/order/ann").await;
    assert_eq!(orders["body"][0]["cardLast4"], "1111", "{orders}");
    let sent = shop.aws.sent();
    assert_eq!(sent.len(), 2);
    assert!(!format!("{orders}{sent:?}").contains(CARD), "{sent:?}");
}

#[tokio::test]
async fn a_webhook_that_fails_is_hidden_for_as_long_as_its_queue_says() {
    let shop = Shop::new();
    let (_, made) = shop.ask(Method::POST, "/v1/subscriptions", r#"{"url": "https://nowhere.invalid/"}"#).await;
    let path = format!("/v1/subscriptions/{}/test", made["id"].as_str().unwrap());
    let (_, test) = shop.ask(Method::POST, &path, "").await;
    let detail = json!({"deliveryId": test["id"], "subscriptionId": made["id"], "round": 0});
    let worker = Worker::new(shop.app.clone(), Queue::WebhookQueue, shop.aws.sqs());
    for (receives, seconds) in [(1, 3..=5), (5, 900..=1_800), (10, 19_800..=39_600)] {
        let message = sqs_message("WebhookQueue", 1, event("DeliveryDue", &detail), receives);
        assert_eq!(failed(&worker.process(sqs_event([message]), TIME).await), [message_id(1)]);
        let hidden = shop.aws.calls("ChangeMessageVisibility").pop().unwrap();
        assert!(seconds.contains(&hidden["VisibilityTimeout"].as_i64().unwrap()), "after {receives}: {hidden}");
    }
    let message = sqs_message("WebhookQueue", 1, event("DeliveryDue", &detail), 11);
    assert!(failed(&worker.process(sqs_event([message]), TIME).await).is_empty());
    assert_eq!(shop.aws.sent()[0].0, "shop-WebhookQueue-dead");
}
