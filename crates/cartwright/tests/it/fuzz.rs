//! Anything may come: requests of every route with what no one should send, events that are none, files that were never
//! exports or lists of purchases, rows that someone wrote into the file. Nothing that is sent is answered with a 5xx, nothing
//! that is damaged is read as something else, and nothing panics.
//!
//! What is in `tests/fuzz-corpus` is tried first. What fails is written to `fuzz-regressions.txt`, and tried first from then on.
//! `cargo xtask fuzz` tries many more cases than the gate.

mod import;
mod rows;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use cartwright::app::App;
use cartwright::attempt::attempt;
use cartwright::config::Config;
use cartwright::events::{Envelope, Queue, RULES};
use cartwright::rest::Door;
use cartwright::transfer::Reader;
use cartwright::{api, app};
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::BodyExt;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{FileFailurePersistence, TestRunner};
use serde_json::{Value, json};

use crate::notifier::TestNotifier;
use crate::shop::{TestClock, TestIds};
use crate::simulation::model::Model;

/// Cases of each property in the gate. A few seconds.
const CASES: u32 = 192;
/// Ids that are in every URL now and then, so that some requests find something.
const KNOWN: [&str; 6] =
    ["ann", "019b7ca9-8c88-700c-9bdc-db645c3202a2", "OrderQueue", "37gS6QGciPWSw7QRd8pfnwZtcES", "1", "p1"];
/// Bodies that some route takes.
const BODIES: [&str; 14] = [
    r#"{"name":"Kettle","category":"Kitchen","price":{"amount":1250,"currency":"USD"},"stock":5}"#,
    r#"{"name":"Kettle","price":12.5,"category":"Kitchen"}"#,
    r#"{"productId":"019b7ca9-8c88-700c-9bdc-db645c3202a2","quantity":1,"color":"Blue"}"#,
    r#"{"items":[{"productId":"019b7ca9-8c88-700c-9bdc-db645c3202a2","quantity":2}]}"#,
    r#"{"contact":{"firstName":"Ann","email":"ann@example.com"},"payment":{"method":1,"cardNumber":"5554443322221111"}}"#,
    r#"{"to":"CANCELLED"}"#,
    r#"{"username":"ann","email":"ann@example.com","name":"Ann"}"#,
    r#"{"label":"home","address":"1 Example Street"}"#,
    r#"{"kind":"received","quantity":5,"note":"x"}"#,
    r#"{"customer":"ann","total":{"amount":5,"currency":"USD"},"itemCount":1}"#,
    r#"{"userName":"ann","items":[{"productId":"1","quantity":1,"price":1.5}],"totalPrice":1.5}"#,
    r#"{"operation":"create","tableName":"lambda-apigateway","payload":{"Item":{"id":"1","number":5}}}"#,
    r#"{"Entries":[{"Source":"com.swn.basket.checkoutbasket","DetailType":"CheckoutBasket","Detail":"{}"}]}"#,
    r#"{"userId":"u","products":[{"productId":"p","name":"Pan","category":"c","quantity":2,"price":12.5}]}"#,
];
const PARAMETERS: [&str; 12] =
    ["limit", "cursor", "category", "customer", "status", "from", "to", "order", "color", "after", "by", "topic"];
const VALUES: [&str; 16] = [
    "",
    "0",
    "1",
    "-1",
    "101",
    "99999999999999999999",
    "1e3",
    "PLACED",
    "2026-01-02T03:04:05Z",
    "9999-12-31T23:59:60Z",
    "%00",
    "%f0%9f%90%a2",
    "null",
    "AAAAAAAA",
    "oldest",
    "%",
];
const HEADERS: [&str; 8] = [
    "idempotency-key",
    "if-match",
    "if-none-match",
    "content-type",
    "x-request-id",
    "x-amz-target",
    "authorization",
    "last-event-id",
];

/// The application over the store in memory, with nothing in its way.
struct FuzzShop {
    app: App,
    door: Door,
    model: Arc<Model>,
}

impl FuzzShop {
    fn new() -> FuzzShop {
        let model = Arc::new(Model::default());
        let (clock, ids): (Arc<TestClock>, Arc<TestIds>) = (Arc::new(TestClock::new()), Arc::default());
        let notifier = Arc::new(TestNotifier::default());
        let app = App::new(model.clone(), model.clone(), notifier, clock, ids as Arc<dyn app::Ids>, Config::default());
        FuzzShop { door: api::door(&app), app, model }
    }

    /// Sends a request. What must not happen fails the case.
    async fn send(&self, request: &Asked) -> Result<(), TestCaseError> {
        let mut built = Request::builder().method(request.method.clone()).uri(&request.target);
        for (name, value) in &request.headers {
            built = built.header(HeaderName::from_static(name), value.clone());
        }
        // What is no request at all, no server gets to see.
        let Ok(built) = built.body(Body::from(request.body.clone())) else { return Ok(()) };
        let response = self.door.answer(built).await;
        let (parts, body) = response.into_parts();
        prop_assert!(!parts.status.is_server_error(), "{} for {request:?}", parts.status);
        if parts.headers.get("content-type").is_some_and(|of_type| of_type == "text/event-stream") {
            return Ok(());
        }
        let bytes = body.collect().await.unwrap().to_bytes();
        if parts.status.is_client_error() && request.method != Method::HEAD && !request.is_to_the_bus() {
            let problem: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            prop_assert!(problem["code"].is_string(), "{} {problem} for {request:?}", parts.status);
        }
        Ok(())
    }

    /// Has all messages attempted once. None of them may be beyond its consumer.
    async fn deliver(&self) -> Result<(), TestCaseError> {
        for _ in 0..200 {
            let Some(message) = self.model.state().messages.pop() else { break };
            self.attempt(message.queue, &message.text).await?;
        }
        Ok(())
    }

    async fn attempt(&self, queue: Queue, text: &str) -> Result<(), TestCaseError> {
        let message = serde_json::from_str::<Envelope>(text).map(Arc::new).map_err(|error| error.to_string());
        let outcome = attempt(&self.app, queue, message, Duration::from_secs(30)).await;
        let defect = outcome.err().filter(|error| error.kind() == cartwright::error::Kind::Internal);
        prop_assert!(defect.is_none(), "{defect:?} for {text}");
        Ok(())
    }
}

/// A request someone sends.
#[derive(Debug, Clone)]
struct Asked {
    method: Method,
    target: String,
    headers: Vec<(&'static str, HeaderValue)>,
    body: Vec<u8>,
}

impl Asked {
    fn is_to_the_bus(&self) -> bool {
        self.target.split('?').next() == Some("/")
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        select(vec![
            json!(0),
            json!(-1),
            json!(10_000),
            json!(1e300),
            json!(0.001),
            json!(""),
            json!("\u{0}"),
            json!("a".repeat(600))
        ]),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec(("[a-zA-Z]{1,9}", inner), 0..4).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A body that some route takes, with something else in one place of it.
fn nearly_right() -> impl Strategy<Value = Value> {
    (select(BODIES.to_vec()), any::<Index>(), any_json(), 0..4_u8).prop_map(|(body, at, other, how)| {
        let mut body: Value = serde_json::from_str(body).unwrap();
        if how > 0 {
            put_somewhere(&mut body, &at, other);
        }
        body
    })
}

fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, member)| places(member, &format!("{at}/{name}"), all))
        }
        Value::Array(items) => items.iter().enumerate().for_each(|(n, item)| places(item, &format!("{at}/{n}"), all)),
        _ => {}
    }
}

fn put_somewhere(value: &mut Value, at: &Index, other: Value) {
    let mut all = Vec::new();
    places(value, "", &mut all);
    *value.pointer_mut(&all[at.index(all.len())]).unwrap() = other;
}

fn any_body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => nearly_right().prop_map(|body| body.to_string().into_bytes()),
        2 => any_json().prop_map(|body| body.to_string().into_bytes()),
        1 => vec(any::<u8>(), 0..60),
        1 => (1..200_usize).prop_map(|depth| "[".repeat(depth * 10).into_bytes()),
    ]
}

fn any_segment() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => select(KNOWN.to_vec()).prop_map(str::to_owned),
        1 => select(VALUES.to_vec()).prop_map(str::to_owned),
        1 => "[!-~&&[^/?#]]{1,20}",
    ]
}

fn any_request() -> impl Strategy<Value = Asked> {
    let mut routes = api::table();
    routes.push((Method::POST, "/"));
    let query = vec(
        (
            select(PARAMETERS.to_vec()),
            prop_oneof![select(VALUES.to_vec()).prop_map(str::to_owned), "[!-~&&[^#]]{0,12}"],
        ),
        0..3,
    );
    let text = prop_oneof![
        select(vec!["k1", "\"1.1\"", "*", "application/json", "text/plain", "AWSEvents.PutEvents", "Bearer x", ""])
            .prop_map(str::to_owned),
        "[ -~]{0,40}",
    ];
    let headers = vec((select(HEADERS.to_vec()), text), 0..3);
    (any::<Index>(), vec(any_segment(), 3), query, headers, any_body(), any::<bool>()).prop_map(
        move |(route, segments, query, headers, body, is_json)| {
            let (method, path) = routes[route.index(routes.len())].clone();
            let mut segments = segments.into_iter();
            let filled = path
                .split('/')
                .map(|part| if part.starts_with('{') { segments.next().unwrap_or_default() } else { part.to_owned() });
            let path = filled.collect::<Vec<_>>().join("/");
            let query: Vec<String> = query.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
            let target = if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) };
            let mut headers: Vec<_> = headers
                .into_iter()
                .filter_map(|(name, text)| Some((name, HeaderValue::from_str(&text).ok()?)))
                .collect();
            if is_json {
                headers.push(("content-type", HeaderValue::from_static("application/json")));
            }
            Asked { method, target, headers, body }
        },
    )
}

/// Cases of each property: as many as the environment says.
#[expect(clippy::disallowed_methods, reason = "the task that tries many says so in the environment")]
fn cases() -> u32 {
    std::env::var("CARTWRIGHT_FUZZ_CASES").map_or(CASES, |cases| cases.parse().unwrap())
}

/// Inputs that are kept because they are nasty, with their names.
fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz-corpus");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let texts = files.filter(|path| path.extension().is_some_and(|extension| extension == "txt"));
    let mut inputs: Vec<_> = texts.map(|path| (path.display().to_string(), std::fs::read(&path).unwrap())).collect();
    assert!(inputs.len() > 20, "the corpus is there");
    inputs.sort();
    inputs
}

/// A request to every route, with this body.
fn to_every_route(body: &[u8]) -> impl Iterator<Item = Asked> {
    let json = ("content-type", HeaderValue::from_static("application/json"));
    api::table().into_iter().map(move |(method, path)| {
        let part = |part: &str| if part.starts_with('{') { "ann" } else { part }.to_owned();
        let target = path.split('/').map(part).collect::<Vec<_>>().join("/");
        Asked { method, target, headers: vec![json.clone()], body: body.to_vec() }
    })
}

/// Checks a property over many cases, those first that once failed.
fn check<S: Strategy>(cases: u32, strategy: &S, property: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/fuzz-regressions.txt");
    let persistence = Some(Box::new(FileFailurePersistence::Direct(kept)) as _);
    let config = ProptestConfig { cases, failure_persistence: persistence, ..ProptestConfig::default() };
    TestRunner::new(config).run(strategy, property).unwrap_or_else(|failure| panic!("{failure}"));
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(future)
}

#[test]
fn no_request_is_beyond_the_shop() {
    for (name, body) in corpus() {
        let tried = block_on(async {
            let shop = FuzzShop::new();
            for request in to_every_route(&body) {
                shop.send(&request).await?;
            }
            shop.deliver().await
        });
        tried.unwrap_or_else(|why| panic!("{name}: {why}"));
    }
    check(cases(), &vec(any_request(), 1..12), |requests| {
        block_on(async {
            let shop = FuzzShop::new();
            for request in &requests {
                shop.send(request).await?;
            }
            shop.deliver().await
        })
    });
}

#[test]
fn no_event_is_beyond_its_consumer() {
    for (name, text) in corpus() {
        let text = String::from_utf8_lossy(&text);
        for queue in Queue::ALL {
            let tried = block_on(async { FuzzShop::new().attempt(queue, &text).await });
            tried.unwrap_or_else(|why| panic!("{name} in {}: {why}", queue.name()));
        }
    }
    let rules: Vec<_> = RULES.iter().filter(|rule| !rule.queues.is_empty()).collect();
    let details = prop_oneof![nearly_right(), any_json()];
    check(
        cases(),
        &(any::<Index>(), any::<Index>(), details, any_json(), any::<Index>(), 0..5_u8),
        |(rule, queue, detail, other, at, how)| {
            let rule = rules[rule.index(rules.len())];
            let mut event = json!({"id": "019b7ca9-8c88-700c-9bdc-db645c3202a2", "source": rule.source, "detail-type": rule.detail_type,
            "time": "2026-01-02T03:04:05Z", "detail": detail});
            if how == 0 {
                put_somewhere(&mut event, &at, other);
            }
            let queue = rule.queues[queue.index(rule.queues.len())];
            block_on(async {
                let shop = FuzzShop::new();
                shop.attempt(queue, &event.to_string()).await?;
                shop.deliver().await
            })
        },
    );
}

#[test]
fn no_file_is_beyond_the_import() {
    let golden = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/shop.1.ndjson")).unwrap();
    // What is left whole of a file may be an export; reading it must only come to an end, without a panic.
    let read = |bytes: &[u8]| -> Result<(), cartwright::transfer::TransferError> {
        let mut reader = Reader::new(bytes)?;
        while reader.next_chunk()?.is_some() {}
        Ok(())
    };
    for (name, bytes) in corpus() {
        assert!(read(&bytes).is_err(), "{name} is no export");
        assert!(read(&[&golden[..], &bytes].concat()).is_err() || bytes.is_empty(), "{name} follows the end");
    }
    let cut = (any::<Index>(), any::<Index>(), vec(any::<u8>(), 0..8), any::<bool>());
    check(cases(), &vec(cut, 1..4), |cuts| {
        let mut bytes = golden.clone();
        for (from, length, instead, is_short) in cuts {
            let from = from.index(bytes.len());
            let most = if is_short { 8 } else { bytes.len() - from };
            let to = from + length.index(most + 1).min(bytes.len() - from);
            drop(bytes.splice(from..to, instead));
            if bytes.is_empty() {
                break;
            }
        }
        let _ = read(&bytes);
        Ok(())
    });
}
