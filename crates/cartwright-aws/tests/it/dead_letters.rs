//! The recorder: from dead-letter queues into documents.

use cartwright::events::Queue;
use cartwright_aws::dead_letters::record;
use cartwright_aws::worker::Worker;
use serde_json::{Value, json};

use crate::fake_aws::{PREFIX, failed, message_id, sqs_event, sqs_message};
use crate::shop::Shop;

const DEAD: &str = "OrderQueue-dead";

/// What could not be recorded of these messages.
async fn recorded(shop: &Shop, messages: impl IntoIterator<Item = Value>) -> Vec<String> {
    failed(&record(&shop.app, PREFIX, sqs_event(messages)).await)
}

async fn letters(shop: &Shop) -> Vec<Value> {
    let letters = shop.get("/v1/queues/OrderQueue/dead-letters?order=oldest").await;
    letters["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn what_a_worker_gave_up_is_recorded_once_however_often_it_comes() {
    let shop = Shop::new();
    let worker = Worker::new(shop.app.clone(), Queue::OrderQueue, shop.aws.sqs());
    let event = json!({"id": "17793124-05d4-b198-2fde-7ededc63b103", "detail-type": "CheckoutBasket", "detail": {"n": 1},
        "source": "com.swn.basket.checkoutbasket", "time": "2026-01-02T03:04:06Z"});
    worker
        .process(sqs_event([sqs_message("OrderQueue", 1, event.to_string(), 2)]), std::time::Duration::from_secs(9))
        .await;
    let sent = shop.aws.sent().remove(0).1;
    for n in [7, 8] {
        let mut message = sqs_message(DEAD, n, sent["MessageBody"].as_str().unwrap(), 1);
        for (name, value) in sent["MessageAttributes"].as_object().unwrap() {
            message["messageAttributes"][name] = json!({"stringValue": value["StringValue"], "dataType": value["DataType"],
                "stringListValues": [], "binaryListValues": []});
        }
        assert_eq!(recorded(&shop, [message]).await, [""; 0]);
    }
    let [letter] = &letters(&shop).await[..] else { panic!("{:?}", letters(&shop).await) };
    assert_eq!(letter["id"], format!("1767323045123-{}", message_id(1)), "by the time and id of the message that died");
    assert!(letter["reason"].as_str().unwrap().starts_with("malformed_event: "), "{letter}");
    assert_eq!((&letter["receives"], &letter["enqueuedAt"]), (&json!(2), &json!("2026-01-02T03:04:05.123Z")));
    assert_eq!(letter["event"]["detail"], json!({"n": 1}));
    assert_eq!(shop.get("/v1/queues/OrderQueue").await["dead"], 1);
    let inbox = shop.get("/v1/inbox").await;
    let told = &inbox["items"][0];
    assert_eq!((&told["event"], &told["facts"]["queue"]), (&json!("MessageDied"), &json!("OrderQueue")));
    assert_eq!(
        (&told["facts"]["diedEvent"], &told["facts"]["code"]),
        (&json!("CheckoutBasket"), &json!("malformed_event"))
    );
}

#[tokio::test]
async fn what_sqs_put_aside_by_itself_is_recorded_without_what_cards_tell() {
    let shop = Shop::new();
    let card = json!({"detail": {"cardInfo": "5554443322221111"}}).to_string();
    let mut strange = sqs_message(DEAD, 2, "\"text\"", 1);
    strange["messageAttributes"] = json!({"MessageId": {"stringValue": "no/id"}, "Receives": {"stringValue": "many"}});
    strange["attributes"]["SentTimestamp"] = "1767323045124".into();
    assert_eq!(recorded(&shop, [sqs_message(DEAD, 1, card, 7), strange]).await, [""; 0]);
    let letters = letters(&shop).await;
    assert_eq!(letters[0]["event"], json!({"detail": {"cardLast4": "1111"}}));
    assert!(letters[0]["reason"].as_str().unwrap().starts_with("handler_lost: "), "{letters:?}");
    assert_eq!((&letters[0]["receives"], &letters[1]["receives"]), (&json!(6), &json!(6)));
    assert_eq!(
        (&letters[1]["event"], &letters[1]["id"]),
        (&json!("text"), &json!(format!("1767323045124-{}", message_id(2))))
    );
    assert_eq!(shop.get("/v1/queues/OrderQueue").await["dead"], 2);
}

#[tokio::test]
async fn what_cannot_be_recorded_stays_where_it_is() {
    let shop = Shop::new();
    let messages = [
        sqs_message("NoQueue-dead", 1, "{}", 1),
        sqs_message("OrderQueue", 2, "{}", 1),
        sqs_message(DEAD, 3, "this one fails", 1),
        sqs_message(DEAD, 4, "x".repeat(384 * 1024 + 1), 1),
        sqs_message(DEAD, 5, "x".repeat(384 * 1024), 1),
    ];
    assert_eq!(recorded(&shop, messages).await, [1, 2, 3, 4].map(message_id));
    assert_eq!(shop.get("/v1/queues/OrderQueue").await["dead"], 1);
}

#[tokio::test]
async fn letters_are_counted_rightly_among_racers() {
    let shop = Shop::new();
    let batches = (0..8).map(|n| recorded(&shop, (0..4).map(move |m| sqs_message(DEAD, n * 3 + m, "x", 1))));
    assert!(futures_util::future::join_all(batches).await.concat().is_empty());
    assert_eq!(letters(&shop).await.len(), 20, "a page of 25");
    assert_eq!(shop.get("/v1/queues/OrderQueue").await["dead"], 25);
}
