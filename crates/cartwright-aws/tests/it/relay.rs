//! The relay: from outboxes to the bus, and into single queues.

use std::time::Duration;

use cartwright::system::SystemIds;
use cartwright_aws::relay::Relay;
use serde_json::{Value, json};

use crate::fake_aws::{FakeAws, PREFIX, failed};

const TIME: Duration = Duration::from_secs(60);

fn relay(aws: &FakeAws) -> Relay {
    let events = aws_sdk_eventbridge::Client::new(&aws.config());
    Relay::new(format!("{PREFIX}bus"), events, aws.queues(), Box::new(SystemIds))
}

fn envelope(n: usize, detail: &str) -> String {
    format!(
        r#"{{"id":"{}","source":"cartwright.catalog","detail-type":"StockReserved","time":"2026-01-02T03:04:05.678901Z",
            "correlationId":"request-1","detail":{detail}}}"#,
        id(n)
    )
}

fn id(n: usize) -> String {
    format!("01942a9c-7038-7652-946f-{n:012}")
}

fn record(n: usize, image: Value) -> Value {
    let mut image = image;
    image["PK"] = json!({"S": format!("OUTBOX#{}", id(n))});
    image["SK"] = json!({"S": "EVENT"});
    image["ttl"] = json!({"N": "1767409445"});
    json!({"eventID": n.to_string(), "eventName": "INSERT", "eventVersion": "1.1", "eventSource": "aws:dynamodb",
        "awsRegion": "eu-central-1", "eventSourceARN": "arn:aws:dynamodb:eu-central-1:1:table/shop-catalog/stream/x",
        "dynamodb": {"ApproximateCreationDateTime": 1767323045.0, "Keys": {"PK": image["PK"], "SK": image["SK"]},
            "NewImage": image, "SequenceNumber": sequence(n), "SizeBytes": 26, "StreamViewType": "NEW_IMAGE"}})
}

fn sequence(n: usize) -> String {
    format!("4421584500000000017450439{n:03}")
}

fn event(n: usize) -> Value {
    record(n, json!({"e": {"S": envelope(n, &format!(r#"{{"n":{n},"price":1.50}}"#))}}))
}

async fn send(aws: &FakeAws, records: Vec<Value>) -> Vec<String> {
    let batch = serde_json::from_value(json!({"Records": records})).unwrap();
    failed(&relay(aws).send(batch, TIME).await)
}

/// The numbers of the events in each call, and in one of them the whole.
fn put(aws: &FakeAws) -> Vec<Vec<u64>> {
    let number = |entry: &Value| {
        let detail: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
        detail["n"].as_u64().unwrap()
    };
    let calls = aws.calls("PutEvents").into_iter();
    calls.map(|call| call["Entries"].as_array().unwrap().iter().map(number).collect()).collect()
}

#[tokio::test]
async fn events_go_to_the_bus_whichever_way_they_come() {
    for mapping in [true, false] {
        let aws = FakeAws::default();
        let mut removed = event(2);
        removed["eventName"] = "REMOVE".into();
        let mut document = event(3);
        document["dynamodb"]["NewImage"]["PK"] = json!({"S": "PRODUCT#1"});
        let records = json!([event(1), removed, document, event(4)]);
        let batch = if mapping { json!({"Records": records}) } else { records };
        let answer = relay(&aws).send(serde_json::from_value(batch).unwrap(), TIME).await;
        assert_eq!(serde_json::to_value(&answer).unwrap(), json!({"batchItemFailures": []}));
        assert_eq!(put(&aws), [[1, 4]]);
        let entry = &aws.calls("PutEvents")[0]["Entries"][0];
        assert_eq!(
            (&entry["EventBusName"], &entry["Source"], &entry["DetailType"], &entry["Time"]),
            (&json!("shop-bus"), &json!("cartwright.catalog"), &json!("StockReserved"), &json!(1767323045))
        );
        let metadata = format!(
            r#"{{"metadata":{{"id":"{}","correlationId":"request-1","time":"2026-01-02T03:04:05.678901Z"}},"n":1,"price":1.50}}"#,
            id(1)
        );
        assert_eq!(entry["Detail"], metadata);
    }
}

#[tokio::test]
async fn calls_are_as_large_as_the_bus_takes() {
    let aws = FakeAws::default();
    assert_eq!(send(&aws, (1..=25).map(event).collect()).await, [""; 0]);
    assert_eq!(put(&aws).iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5]);
    let aws = FakeAws::default();
    let padding = "x".repeat(100_000);
    let large =
        |n: usize| record(n, json!({"e": {"S": envelope(n, &format!(r#"{{"n":{n},"padding":"{padding}"}}"#))}}));
    assert_eq!(send(&aws, (1..=5).map(large).collect()).await, [""; 0]);
    assert_eq!(put(&aws), [vec![1, 2], vec![3, 4], vec![5]]);
}

#[tokio::test]
async fn entries_that_failed_are_sent_again_and_named_when_they_keep_failing() {
    let aws = FakeAws::default();
    let throttled = json!({"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"});
    let good = json!({"EventId": "e"});
    aws.answer_next("PutEvents", 200, json!({"FailedEntryCount": 2, "Entries": [good, throttled, good, throttled]}));
    aws.answer_next("PutEvents", 500, json!({"__type": "InternalException"}));
    aws.answer_next("PutEvents", 200, json!({"FailedEntryCount": 1, "Entries": [good, throttled]}));
    assert_eq!(send(&aws, (1..=4).map(event).collect()).await, [""; 0]);
    assert_eq!(put(&aws), [vec![1, 2, 3, 4], vec![2, 4], vec![2, 4], vec![4]]);

    let aws = FakeAws::default();
    aws.answer_next("PutEvents", 200, json!({"FailedEntryCount": 2, "Entries": [good, throttled, throttled]}));
    for _ in 0..9 {
        aws.answer_next("PutEvents", 200, json!({"FailedEntryCount": 2, "Entries": [throttled, throttled]}));
    }
    let batch = serde_json::from_value(json!({"Records": [event(1), event(2), event(3)]})).unwrap();
    let answer = relay(&aws).send(batch, Duration::from_secs(1)).await;
    assert_eq!(failed(&answer), [sequence(2), sequence(3)], "the lowest comes first");
    assert!(put(&aws).len() > 1, "it is tried again as long as there is time");
    assert_eq!(aws.sent(), [], "and no dead letter comes of that");
}

#[tokio::test]
async fn an_event_that_the_bus_will_never_take_is_a_dead_letter_of_its_queues_and_holds_up_nothing() {
    let aws = FakeAws::default();
    let never = json!({"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."});
    aws.answer_next("PutEvents", 200, json!({"FailedEntryCount": 1, "Entries": [never, {"EventId": "e"}]}));
    let huge = envelope(3, &format!(r#"{{"n":3,"padding":"{}"}}"#, "x".repeat(262_100)));
    let list = envelope(4, "[1]");
    let records = vec![event(1), event(2), record(3, json!({"e": {"S": huge}})), record(4, json!({"e": {"S": list}}))];
    assert_eq!(send(&aws, records).await, [""; 0]);
    assert_eq!(put(&aws), [[1, 2]]);
    let sent = aws.sent();
    assert!(
        sent.iter().all(|(queue, _)| queue == "shop-OrderStatusQueue-dead"),
        "the queue of StockReserved: {sent:?}"
    );
    let attribute =
        |at: usize, name: &str| sent[at].1["MessageAttributes"][name]["StringValue"].as_str().unwrap().to_owned();
    let mut ids: Vec<_> = (0..3).map(|at| attribute(at, "MessageId")).collect();
    ids.sort();
    assert_eq!(ids, [id(1), id(3), id(4)]);
    assert!((0..3).all(|at| attribute(at, "Reason").starts_with("undeliverable: ")));

    let aws = FakeAws::default();
    aws.answer_next("SendMessage", 500, json!({"__type": "InternalFailure"}));
    assert_eq!(send(&aws, vec![record(4, json!({"e": {"S": envelope(4, "[1]")}}))]).await, [sequence(4)]);
}

#[tokio::test]
async fn a_call_that_is_refused_as_a_whole_is_taken_apart_to_find_the_one_to_blame() {
    let aws = FakeAws::default();
    let invalid = || json!({"__type": "ValidationException", "message": "entries.2.member.source is too long"});
    aws.answer_next("PutEvents", 400, invalid());
    aws.answer_next("PutEvents", 200, json!({"FailedEntryCount": 0, "Entries": [{"EventId": "e"}]}));
    aws.answer_next("PutEvents", 400, invalid());
    assert_eq!(send(&aws, (1..=3).map(event).collect()).await, [""; 0]);
    assert_eq!(put(&aws), [vec![1, 2, 3], vec![1], vec![2], vec![3]]);
    assert_eq!(aws.sent().len(), 1);
}

#[tokio::test]
async fn a_message_for_one_queue_goes_there_past_the_bus() {
    let aws = FakeAws::default();
    aws.answer_next("SendMessage", 500, json!({"__type": "InternalFailure"}));
    let message = |n: usize, queue: &str, text: &str| record(n, json!({"q": {"S": queue}, "e": {"S": text}}));
    let records = vec![
        message(1, "OrderQueue", "{torn"),
        message(2, "OrderQueue", "{torn"),
        message(3, "NoQueue", "x"),
        record(4, json!({})),
        record(5, json!({"e": {"S": "{torn"}})),
        event(6),
    ];
    assert_eq!(send(&aws, records).await, [sequence(1)], "what no release can send is logged, and holds up nothing");
    let sent = aws.sent();
    assert_eq!((sent.len(), sent[1].0.as_str(), &sent[1].1["MessageBody"]), (2, "shop-OrderQueue", &json!("{torn")));
    assert_eq!(aws.calls("GetQueueUrl").len(), 1, "the place of a queue is asked for once");
    assert_eq!(put(&aws), [[6]]);
}
