//! From a commit on DynamoDB through its outbox to the bus and into a queue.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_http_client::Builder;
use cartwright::app::{App, Clock};
use cartwright::config::Config;
use cartwright::events::Queue;
use cartwright::local::LogNotifier;
use cartwright::queues::QueueAdmin;
use cartwright::queues::ops::{self, Selection};
use cartwright::store::{Once, Table};
use cartwright::system::{SystemClock, SystemIds};
use cartwright_aws::dead_letters::record;
use cartwright_aws::queues::AwsQueues;
use cartwright_aws::relay::Relay;
use serde_json::{Map, Value, json};

use crate::emulator::DynamoDb;
use crate::fake_aws::{FakeAws, PREFIX, failed, sqs_event, sqs_message};

/// The items of a table, as its stream brings them when they are new.
async fn stream(database: &DynamoDb, table: Table) -> Value {
    let client = database.client(Builder::new().build_http());
    let items = client.scan().table_name(database.store().table_name(table)).send().await.unwrap().items.unwrap();
    let value = |value: &AttributeValue| match value {
        AttributeValue::S(text) => json!({"S": text}),
        AttributeValue::N(number) => json!({"N": number}),
        _ => json!({"M": {}}),
    };
    let record = |(at, item): (usize, &HashMap<String, AttributeValue>)| {
        let image: Map<_, _> = item.iter().map(|(name, of)| (name.clone(), value(of))).collect();
        json!({"eventName": "INSERT", "dynamodb": {"SequenceNumber": at.to_string(), "NewImage": image}})
    };
    items.iter().enumerate().map(record).collect()
}

#[tokio::test]
async fn a_dead_letter_on_dynamodb_goes_back_into_its_queue_and_the_bus_hears_of_it() {
    let (database, aws) = (DynamoDb::start().await, FakeAws::default());
    let store = Arc::new(database.store());
    let texts = ["{torn".to_owned(), r#"{"z":1.50,"a":[1, 2],"n":1}"#.to_owned()];
    let letters = texts.iter().zip(1..).map(|(text, n)| sqs_message("OrderQueue-dead", n, text, 1));
    let letters: Vec<_> = letters.collect();
    let queues = Arc::new(AwsQueues::new(store.clone(), Arc::new(SystemIds), aws.queues()));
    let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
    let app = App::new(store, queues.clone(), Arc::new(LogNotifier), clock, ids, Config::default());
    for _ in 0..2 {
        let answer = record(&app, PREFIX, sqs_event(letters.clone())).await;
        assert_eq!(failed(&answer), [""; 0]);
    }
    let statistics = queues.statistics(Queue::OrderQueue, SystemClock.now()).await.unwrap();
    assert_eq!((statistics.dead, statistics.waiting), (2, 3));
    let taken = ops::redrive(&app, &Once::unkeyed(), Queue::OrderQueue, Selection::All).await.unwrap();
    assert_eq!(taken.count, 2);
    assert_eq!(queues.statistics(Queue::OrderQueue, SystemClock.now()).await.unwrap().dead, 0);

    let events = aws_sdk_eventbridge::Client::new(&aws.config());
    let relay = Relay::new("bus".to_owned(), events, aws.queues(), Box::new(SystemIds));
    let batch = serde_json::from_value(stream(&database, Table::Operations).await).unwrap();
    assert_eq!(failed(&relay.send(batch, Duration::from_secs(30)).await), [""; 0]);
    let sent: Vec<_> = aws.sent().into_iter().map(|(queue, call)| (queue, call["MessageBody"].clone())).collect();
    assert_eq!(sent.len(), 2);
    for text in texts {
        assert!(sent.contains(&("shop-OrderQueue".to_owned(), Value::from(text))), "to the letter: {sent:?}");
    }
    let [call] = &aws.calls("PutEvents")[..] else { panic!("one call") };
    let entries = call["Entries"].as_array().unwrap();
    assert_eq!((entries.len(), &entries[0]["DetailType"]), (1, &json!("DeadLettersRedriven")));
}
