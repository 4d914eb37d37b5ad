//! What one checkout asks of AWS, counted: requests and capacity units of DynamoDB, events, messages, invocations. And what one
//! invocation asks of the memory of its function.
//!
//! The real services over the real store on an emulated DynamoDB; this test carries the events from the outbox to their
//! consumers, one by one, so each count is the most there can be: batches only make it less. The budgets hold what
//! `docs/aws.md` says a checkout costs.
//!
//! Allocations stand for the processor's time, which no test can tell on a machine that others use too: they are the same in
//! every run, and nearly the same however the functions were compiled.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::config::{HttpClient, RuntimeComponents, SharedHttpClient};
use aws_smithy_http_client::Builder;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use axum::body::Body;
use cartwright::api;
use cartwright::app::App;
use cartwright::config::Config;
use cartwright::error::Result;
use cartwright::events::{Envelope, Queue, handle, queues_of};
use cartwright::local::LogNotifier;
use cartwright::queues::{Action, Audit, DeadLetter, DeadLetterId, DeadLetterPage, QueueAdmin, Statistics, Which};
use cartwright::store::Table;
use cartwright::system::{SystemClock, SystemIds};
use cartwright_aws::dynamodb::DynamoStore;
use cartwright_aws::gateway::Gateway;
use cartwright_aws::worker::Worker;
use http::Request;
use http_body_util::BodyExt;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::emulator::DynamoDb;
use crate::fake_aws::{FakeAws, sqs_message};
use crate::{gateway, worker};

/// Of each budget, how much a checkout may take before this test fails, in percent.
const TOLERANCE_PERCENT: u64 = 110;
/// Budgets of one checkout, with the request that fills the basket and the one that looks at the order.
const READ_UNITS: u64 = 28;
const WRITE_UNITS: u64 = 56;
const EVENTS: u64 = 5;
const MESSAGES: u64 = 6;
const REQUESTS: u64 = 31;

/// What is allocated, in number and in bytes, until a function can ask for its first invocation: the application, its routes,
/// and the clients.
const START: Memory = Memory { allocations: 2_550, bytes: 1_071_000 };
/// … for a request that reads a product.
const READ: Memory = Memory { allocations: 587, bytes: 83_600 };
/// … for a batch of ten checkouts, each of which becomes an order.
const BATCH: Memory = Memory { allocations: 15_620, bytes: 2_405_000 };
/// Invocations before those that count, and those that count.
const WARM_UP: u32 = 20;
const COUNTED: u32 = 20;
/// What an invocation may take.
const TIME: Duration = Duration::from_secs(30);

/// What was asked for.
#[derive(Debug, Default, Clone, Copy)]
struct Usage {
    requests: u64,
    units: u64,
}

type Tally = Arc<Mutex<BTreeMap<String, Usage>>>;

/// A client that lets DynamoDB tell what each request consumed, and adds it up by operation.
#[derive(Debug)]
struct Metered {
    inner: SharedHttpClient,
    tally: Tally,
}

impl HttpClient for Metered {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(MeteredConnector { inner, tally: Arc::clone(&self.tally) })
    }
}

#[derive(Debug)]
struct MeteredConnector {
    inner: SharedHttpConnector,
    tally: Tally,
}

impl HttpConnector for MeteredConnector {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default().to_owned();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let mut body: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        body["ReturnConsumedCapacity"] = "TOTAL".into();
        let body = body.to_string();
        request.headers_mut().insert("content-length", body.len().to_string());
        *request.body_mut() = SdkBody::from(body);
        let (answer, tally) = (self.inner.call(request), Arc::clone(&self.tally));
        HttpConnectorFuture::new(async move {
            let mut answer = answer.await?;
            let bytes = answer.take_body().collect().await.unwrap().to_bytes();
            let body: Value = serde_json::from_slice(&bytes).unwrap();
            let consumed = &body["ConsumedCapacity"];
            let per_table = consumed.as_array().cloned().unwrap_or_else(|| vec![consumed.clone()]);
            // Whole numbers: only reads that may be stale cost a half.
            let units = per_table.iter().filter_map(|table| table["CapacityUnits"].as_f64()).map(|units| units as u64);
            let units: u64 = units.sum();
            let mut tally = tally.lock().unwrap();
            let usage = tally.entry(operation).or_default();
            *usage = Usage { requests: usage.requests + 1, units: usage.units + units };
            drop(tally);
            *answer.body_mut() = SdkBody::from(bytes);
            Ok(answer)
        })
    }
}

/// Nobody asks about queues here.
struct NoQueues;

#[async_trait]
impl QueueAdmin for NoQueues {
    async fn statistics(&self, _: Queue, _: Timestamp) -> Result<Statistics> {
        unreachable!("no operator is at work")
    }

    async fn list_dead_letters(&self, _: Queue, _: bool, _: Option<&DeadLetterId>, _: usize) -> Result<DeadLetterPage> {
        unreachable!("no operator is at work")
    }

    async fn find_dead_letter(&self, _: Queue, _: &DeadLetterId) -> Result<Option<DeadLetter>> {
        unreachable!("no operator is at work")
    }

    async fn take(&self, _: Queue, _: Action, _: Which, _: Audit) -> Result<Vec<DeadLetterId>> {
        unreachable!("no operator is at work")
    }
}

fn app_over(store: DynamoStore) -> App {
    App::new(
        Arc::new(store),
        Arc::new(NoQueues),
        Arc::new(LogNotifier),
        Arc::new(SystemClock),
        Arc::new(SystemIds),
        Config::default(),
    )
}

struct Shop {
    database: DynamoDb,
    app: App,
    tally: Tally,
    carried: HashSet<String>,
    events: u64,
    messages: u64,
}

impl Shop {
    async fn new() -> Shop {
        let (database, tally) = (DynamoDb::start().await, Tally::default());
        let http = Metered { inner: Builder::new().build_http(), tally: Arc::clone(&tally) };
        let app = app_over(database.store_over(SharedHttpClient::new(http)));
        Shop { database, app, tally, carried: HashSet::new(), events: 0, messages: 0 }
    }

    async fn request(&self, method: &str, path: &str, body: Value) -> Value {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let answer = api::door(&self.app).answer(request.body(body).unwrap()).await;
        assert!(answer.status().is_success(), "{method} {path}: {}", answer.status());
        serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap_or_default()
    }

    /// Carries what is in the outboxes to its consumers, until nothing comes of it any more.
    async fn carry(&mut self) {
        let (client, store) = (self.database.client(Builder::new().build_http()), self.database.store());
        loop {
            let mut found = Vec::new();
            for table in Table::ALL {
                let scan = client.scan().table_name(store.table_name(table)).send().await.unwrap();
                let events = scan.items.unwrap_or_default().into_iter().filter_map(|mut item| item.remove("e"));
                found.extend(events.map(|event| event.as_s().unwrap().clone()));
            }
            found.retain(|event| self.carried.insert(event.clone()));
            if found.is_empty() {
                return;
            }
            for event in found {
                self.events += 1;
                let event: Envelope = serde_json::from_str(&event).unwrap();
                for queue in queues_of(&event.source, &event.detail_type) {
                    self.messages += 1;
                    handle(&self.app.for_message(&event), *queue, &event).await.unwrap();
                }
            }
        }
    }
}

#[expect(clippy::print_stdout, reason = "the figures, with --nocapture")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkout_stays_within_its_budget() {
    let mut shop = Shop::new().await;
    let product = json!({"name": "Kettle", "price": {"amount": 4_999, "currency": "USD"}, "stock": 100});
    let product = shop.request("POST", "/v1/products", product).await["id"].as_str().unwrap().to_owned();
    shop.carry().await;
    shop.tally.lock().unwrap().clear();
    (shop.events, shop.messages) = (0, 0);

    shop.request("POST", "/v1/baskets/ann/items", json!({"productId": product, "quantity": 2})).await;
    let order = shop.request("POST", "/v1/baskets/ann/checkout", json!({})).await;
    shop.carry().await;
    let path = format!("/v1/orders/{}", order["orderId"].as_str().or(order["id"].as_str()).unwrap());
    assert_eq!(shop.request("GET", &path, Value::Null).await["status"], "CONFIRMED");

    let tally = shop.tally.lock().unwrap().clone();
    let is_read =
        |operation: &str| operation.starts_with("Get") || operation.starts_with("Batch") || operation == "Query";
    let sum = |reads: bool| tally.iter().filter(|(name, _)| is_read(name) == reads).map(|(_, usage)| usage.units).sum();
    let (read_units, write_units): (u64, u64) = (sum(true), sum(false));
    let requests = tally.values().map(|usage| usage.requests).sum();
    println!(
        "{tally:?}\nrequests {requests}, read units {read_units}, write units {write_units}, events {}, messages {}",
        shop.events, shop.messages
    );
    for (what, used, budget) in [
        ("requests", requests, REQUESTS),
        ("read units", read_units, READ_UNITS),
        ("write units", write_units, WRITE_UNITS),
        ("events", shop.events, EVENTS),
        ("messages", shop.messages, MESSAGES),
    ] {
        assert!(is_within(used, budget), "a checkout takes {used} {what}, more than {budget}");
    }
}

fn is_within(used: u64, budget: u64) -> bool {
    used * 100 <= budget * TOLERANCE_PERCENT
}

/// What was allocated, whatever of it was freed again.
#[derive(Debug, Clone, Copy)]
struct Memory {
    allocations: u64,
    bytes: u64,
}

impl Memory {
    /// What `work` allocates on this thread.
    fn of(work: impl FnOnce()) -> Memory {
        let info = allocation_counter::measure(work);
        Memory { allocations: info.count_total, bytes: info.bytes_total }
    }

    /// What each of so many took.
    fn each(self, of: u32) -> Memory {
        Memory { allocations: self.allocations / u64::from(of), bytes: self.bytes / u64::from(of) }
    }
}

#[expect(clippy::print_stdout, reason = "the figures, with --nocapture")]
#[test]
fn an_invocation_stays_within_its_budget() {
    // One thread does all, as in a function; and it is this one that is counted.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let database = runtime.block_on(DynamoDb::start());
    let mut started = None;
    let start = Memory::of(|| {
        let app = app_over(database.store());
        started = Some((app.clone(), Gateway::new(api::door(&app), None)));
    });
    let (app, api) = started.unwrap();
    let call = |event: &str| {
        let request = serde_json::from_str(event).unwrap();
        let answer = runtime.block_on(api.answer(request, TIME, None)).unwrap();
        serde_json::to_value(&answer).unwrap()
    };
    let product = json!({"name": "Kettle", "price": {"amount": 4_999, "currency": "USD"}, "stock": 100}).to_string();
    let created = call(&gateway::request("POST", "/v1/products", json!({"body": product})).to_string());
    let path = created["multiValueHeaders"]["location"][0].as_str().unwrap();
    let get = gateway::request("GET", path, json!({})).to_string();
    let read = || assert_eq!(call(&get)["statusCode"], 200);
    (0..WARM_UP).for_each(|_| read());
    let read = Memory::of(|| (0..COUNTED).for_each(|_| read())).each(COUNTED);

    let consumer = Worker::new(app, Queue::OrderQueue, FakeAws::default().sqs());
    let batches: Vec<String> = (0..WARM_UP + COUNTED).map(batch).collect();
    let process = |batch: &String| {
        let answer = runtime.block_on(consumer.process(serde_json::from_str(batch).unwrap(), TIME));
        assert_eq!(serde_json::to_value(&answer).unwrap(), json!({"batchItemFailures": []}));
    };
    let (warm_up, counted) = batches.split_at(WARM_UP as usize);
    warm_up.iter().for_each(process);
    let batch = Memory::of(|| counted.iter().for_each(process)).each(COUNTED);

    println!("start {start:?}, read {read:?}, batch {batch:?}");
    for (what, used, budget) in [("a start", start, START), ("a read", read, READ), ("a batch of ten", batch, BATCH)] {
        let fits = is_within(used.allocations, budget.allocations) && is_within(used.bytes, budget.bytes);
        assert!(fits, "{what} takes {used:?}, more than {budget:?}");
    }
}

/// The `n`th batch of ten checkouts, as SQS hands it over.
fn batch(n: u32) -> String {
    let ids = n * 10..(n + 1) * 10;
    let message = |id| sqs_message(Queue::OrderQueue.name(), id, worker::checkout(id, &format!("user-{id}")), 1);
    json!({"Records": ids.map(message).collect::<Vec<_>>()}).to_string()
}
