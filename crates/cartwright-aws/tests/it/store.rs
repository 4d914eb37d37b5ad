//! The contract of the store port, on DynamoDB.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_http_client::Builder;
use cartwright::app::Clock;
use cartwright::events::{Envelope, Queue};
use cartwright::store::{Batch, CommitError, Expect, Key, Store, Table, conformance};
use cartwright::system::SystemClock;
use serde_json::json;
use serde_json::value::to_raw_value;
use uuid::Uuid;

use crate::emulator::DynamoDb;
use crate::faults::faulty_client;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_the_contract_of_the_port() {
    let database = DynamoDb::start().await;
    let store = Arc::new(database.store());
    conformance::run(store.clone(), "first").await;
    conformance::run(store, "second").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_the_contract_while_requests_are_throttled_lost_and_refused() {
    let database = DynamoDb::start().await;
    for seed in 1..=2 {
        let (http, tally) = faulty_client(seed);
        conformance::run(Arc::new(database.store_over(http)), &format!("faults {seed}")).await;
        let (requests, faults) = (tally.requests.load(Ordering::Relaxed), tally.faults.load(Ordering::Relaxed));
        assert!(faults > requests / 5, "{faults} faults in {requests} requests");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_and_messages_lie_in_the_outbox_of_their_commit_until_their_time_is_over() {
    let database = DynamoDb::start().await;
    let (store, client) = (database.store(), database.client(Builder::new().build_http()));
    let event = Envelope {
        id: Uuid::from_u128(7),
        source: "cartwright.catalog".to_owned(),
        detail_type: "StockDepleted".to_owned(),
        time: SystemClock.now(),
        correlation_id: "request".to_owned(),
        causation_id: None,
        traceparent: None,
        detail: to_raw_value(&json!({"available": 0})).unwrap(),
    };
    let mut batch = Batch::new(Table::Catalog);
    batch.put(Key::new(Table::Catalog, "A", "B"), Expect::Absent, &json!({"n": 1})).unwrap();
    batch.emit(event.clone()).send(Queue::StockQueue, "any text");
    store.commit(batch.clone()).await.unwrap();

    let outbox = async || {
        let items = client.scan().table_name("test-catalog").send().await.unwrap().items.unwrap();
        let is_outbox = |item: &HashMap<String, AttributeValue>| item["PK"].as_s().unwrap().starts_with("OUTBOX#");
        let (mut events, messages): (Vec<_>, Vec<_>) =
            items.into_iter().filter(is_outbox).partition(|item| !item.contains_key("q"));
        assert_eq!((events.len(), messages.len()), (1, 1));
        (events.remove(0), messages.into_iter().next().unwrap())
    };
    let (sent, message) = outbox().await;
    assert_eq!(sent["PK"].as_s().unwrap(), &format!("OUTBOX#{}", event.id));
    assert_eq!(sent["e"].as_s().unwrap(), &serde_json::to_string(&event).unwrap());
    assert_eq!(
        (message["q"].as_s().unwrap().as_str(), message["e"].as_s().unwrap().as_str()),
        ("StockQueue", "any text")
    );
    let kept_s = sent["ttl"].as_n().unwrap().parse::<i64>().unwrap() - SystemClock.now().as_second();
    assert!((6 * 24 * 3600..=7 * 24 * 3600).contains(&kept_s), "{kept_s}");

    // The same again finds the document: nothing of it happens, and nothing more is sent.
    assert!(matches!(store.commit(batch).await, Err(CommitError::Conflict(at)) if at == [0]));
    outbox().await;
}
