//! Notifications, published to topics.

use std::collections::BTreeMap;
use std::time::Duration;

use cartwright::events::Queue;
use cartwright_aws::worker::Worker;
use serde_json::{Value, json};

use crate::fake_aws::{failed, message_id, sqs_event, sqs_message};
use crate::shop::Shop;

/// What a worker of the notifications makes of an event about a product: whether it failed.
async fn notify(shop: &Shop, name: &str) -> bool {
    let detail = json!({"productId": "01942a9c-7038-7652-946f-424cdab22133", "productName": name, "available": 0});
    let event = json!({"id": message_id(1), "source": "cartwright.catalog", "detail-type": "StockDepleted",
        "time": "2026-01-02T03:04:05Z", "detail": detail});
    let worker = Worker::new(shop.app.clone(), Queue::NotificationQueue, shop.aws.sqs());
    let batch = sqs_event([sqs_message("NotificationQueue", 1, event.to_string(), 1)]);
    !failed(&worker.process(batch, Duration::from_secs(20)).await).is_empty()
}

#[tokio::test]
async fn people_get_the_text_and_programs_the_whole_notification() {
    let shop = Shop::new();
    assert!(!notify(&shop, "Kettle \u{ffff}").await);
    let [call] = &shop.aws.calls("Publish")[..] else { panic!("{:?}", shop.aws.calls("Publish")) };
    assert_eq!((&call["TopicArn"], &call["MessageStructure"]), (&json!("arn:operators"), &json!("json")));
    assert!(call["Subject"].as_str().unwrap().ends_with("is sold out"), "{call}");
    let message = call["Message"].as_str().unwrap();
    assert!(!message.contains('\u{ffff}'), "SNS does not take it");
    let message: BTreeMap<String, String> = serde_json::from_str(message).unwrap();
    assert!(message["default"].starts_with("Kettle \u{ffff} is sold out."), "{message:?}");
    let program: Value = serde_json::from_str(&message["sqs"]).unwrap();
    assert_eq!((&program["event"], &program["id"]), (&json!("StockDepleted"), &json!(message_id(1))));
    let attributes: Vec<_> = (1..=2)
        .map(|n| {
            (
                &call[format!("MessageAttributes.entry.{n}.Name")],
                &call[format!("MessageAttributes.entry.{n}.Value.StringValue")],
            )
        })
        .collect();
    assert!(attributes.contains(&(&json!("event"), &json!("StockDepleted"))), "{call}");
    assert!(attributes.contains(&(&json!("productId"), &json!("01942a9c-7038-7652-946f-424cdab22133"))), "{call}");
}

#[tokio::test]
async fn what_the_topic_cannot_take_now_is_tried_again_and_what_it_never_takes_is_dead() {
    let shop = Shop::new();
    shop.aws.answer_next("Publish", 400, json!({"__type": "Throttled"}));
    assert!(notify(&shop, "Kettle").await);
    shop.aws.answer_next("Publish", 403, json!({"__type": "AuthorizationError"}));
    assert!(notify(&shop, "Kettle").await);
    assert_eq!(shop.aws.sent().len(), 0);
    shop.aws.answer_next("Publish", 400, json!({"__type": "InvalidParameter"}));
    assert!(!notify(&shop, "Kettle").await);
    let reason = &shop.aws.sent()[0].1["MessageAttributes"]["Reason"]["StringValue"];
    assert!(reason.as_str().unwrap().starts_with("notification_refused: "), "{reason}");
}
