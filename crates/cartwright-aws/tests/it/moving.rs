//! A shop moves from one machine to DynamoDB and back, and is the same.

use std::io::Cursor;
use std::sync::Arc;

use cartwright::app::Clock;
use cartwright::events::Queue;
use cartwright::store::{Batch, Expect, Key, Store, Table};
use cartwright::system::{SystemClock, SystemIds};
use cartwright::transfer::{DeadLetter, Document, Header, Message, Reader, Record, Totals, Writer};
use cartwright_aws::dynamodb::DynamoStore;
use cartwright_aws::moving::{MoveError, export, import};
use cartwright_aws::queues::AwsQueues;
use iso_currency::Currency;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::emulator::DynamoDb;
use crate::fake_aws::FakeAws;

/// More than a chunk has, so that an import can be cut off between two.
const DOCUMENTS: u64 = 2_500;

/// A shop with documents in every table, of every form, and what else the caller wants.
fn file(more: &[Record]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &Header::new(Currency::from_code("USD"))).unwrap();
    for at in 0..DOCUMENTS {
        let table = Table::ALL[at as usize % Table::ALL.len()];
        let body = match at % 3 {
            0 => format!(r#"{{"available":{at},"name":"żółw {at}","price":{at}.50}}"#),
            1 => r#"{"nested":{"n":1},"text":"a\nb"}"#.to_owned(),
            _ => "{}".to_owned(),
        };
        let expires_at = (at % 50 == 7).then(|| Timestamp::from_second(4_000_000_000).unwrap());
        let key = Key::new(table, format!("P#{}", at % 40), format!("{at:05}"));
        writer.write(&Record::Document(Document { key, version: at % 9 + 1, expires_at, body })).unwrap();
    }
    more.iter().for_each(|record| writer.write(record).unwrap());
    writer.finish().unwrap().0
}

fn dead_letter(at: i64) -> Record {
    Record::DeadLetter(DeadLetter {
        queue: Queue::StockQueue,
        reason: "a test".to_owned(),
        receives: 3,
        enqueued_at: Timestamp::from_millisecond(at).unwrap(),
        died_at: Timestamp::from_millisecond(at + 5).unwrap(),
        body: format!("letter {at}"),
    })
}

fn totals(file: &[u8]) -> Totals {
    let mut reader = Reader::new(file).unwrap();
    while reader.next_chunk().unwrap().is_some() {}
    reader.totals().clone()
}

/// What SQS answers about a queue in which so many messages wait, and as many are being worked on.
fn waiting(count: u32) -> Value {
    let count = count.to_string();
    json!({"Attributes": {
        "ApproximateNumberOfMessages": count, "ApproximateNumberOfMessagesNotVisible": count,
        "ApproximateNumberOfMessagesDelayed": "0"}})
}

async fn exported(store: &Arc<DynamoStore>) -> Result<Vec<u8>, MoveError> {
    let aws = FakeAws::default();
    for _ in 0..2 * Queue::ALL.len() {
        aws.answer_next("GetQueueAttributes", 200, waiting(0));
    }
    let queues = AwsQueues::new(store.clone(), Arc::new(SystemIds), aws.queues());
    export(store, &queues, SystemClock.now(), Vec::new(), |_| {}).await.map(|(file, _)| file)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_that_moved_there_and_back_is_the_same() {
    let database = DynamoDb::start().await;
    let store = Arc::new(database.store());
    let file = file(&[dead_letter(1_000), dead_letter(2_000)]);
    let imported = import(&store, Cursor::new(&file), |_| {}).await.unwrap();
    assert_eq!(imported, totals(&file));
    let doc = store.get(&Key::new(Table::Catalog, "P#0", "00000")).await.unwrap().unwrap();
    assert_eq!((doc.version, doc.body.text()), (1, r#"{"available":0,"name":"żółw 0","price":0.50}"#));
    assert_eq!(totals(&exported(&store).await.unwrap()), totals(&file), "counts and digest, whatever the order");

    let again = import(&store, Cursor::new(&file), |_| {}).await;
    assert!(matches!(again, Err(MoveError::NotEmpty(_))), "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_was_cut_off_goes_on_and_no_other_file_does() {
    let database = DynamoDb::start().await;
    let store = Arc::new(database.store());
    let whole = file(&[dead_letter(1_000)]);
    let cut = import(&store, Cursor::new(&whole[..whole.len() * 2 / 3]), |_| {}).await;
    assert!(matches!(cut, Err(MoveError::Transfer(_))), "{cut:?}");
    assert!(store.get(&Key::new(Table::Catalog, "P#0", "00000")).await.unwrap().is_some(), "a part is in");

    let mut other = Writer::new(Vec::new(), &Header::new(None)).unwrap();
    other.write(&dead_letter(9)).unwrap();
    let refused = import(&store, Cursor::new(other.finish().unwrap().0), |_| {}).await;
    assert!(matches!(refused, Err(MoveError::AnotherFile(1_000))), "{refused:?}");

    import(&store, Cursor::new(&whole), |_| {}).await.unwrap();
    assert_eq!(totals(&exported(&store).await.unwrap()), totals(&whole));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_is_read_back_before_messages_are_sent() {
    let database = DynamoDb::start().await;
    let store = Arc::new(database.store());
    let message = Message {
        queue: Queue::StockQueue,
        receives: 1,
        enqueued_at: Timestamp::UNIX_EPOCH,
        due_at: None,
        body: "any text".to_owned(),
    };
    let whole = file(&[Record::Message(message)]);
    let cut = import(&store, Cursor::new(&whole[..whole.len() / 2]), |_| {}).await;
    assert!(matches!(cut, Err(MoveError::Transfer(_))), "{cut:?}");
    let mut batch = Batch::new(Table::Catalog);
    batch.put(Key::new(Table::Catalog, "P#0", "00000"), Expect::Anything, &json!({"someone": "else"})).unwrap();
    store.commit(batch).await.unwrap();
    let outcome = import(&store, Cursor::new(&whole), |_| {}).await;
    assert!(matches!(outcome, Err(MoveError::Different { .. })), "{outcome:?}");
    let client = database.client(aws_smithy_http_client::Builder::new().build_http());
    let items = client.scan().table_name("test-operations").send().await.unwrap().items.unwrap();
    assert!(items.iter().all(|item| !item.contains_key("q")), "nothing was sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_whose_messages_wait_is_not_exported() {
    let database = DynamoDb::start().await;
    let (store, aws) = (Arc::new(database.store()), FakeAws::default());
    aws.answer_next("GetQueueAttributes", 200, waiting(2));
    let queues = AwsQueues::new(store.clone(), Arc::new(SystemIds), aws.queues());
    let outcome = export(&store, &queues, SystemClock.now(), Vec::new(), |_| {}).await;
    assert!(matches!(outcome, Err(MoveError::Waiting(4, _))), "{:?}", outcome.map(|(_, totals)| totals));
}
