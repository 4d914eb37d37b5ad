//! A whole shop in this process, over a real store, with the clock, the ids and the delivery in the test's hands.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::body::Body;
use cartwright::access::ops::{NewKey, create_key};
use cartwright::access::{Access, Role};
use cartwright::api;
use cartwright::app::{App, Clock, Ids, Ports};
use cartwright::config::Config;
use cartwright::events::{Envelope, Queue};
use cartwright::feed::{Hub, HubLimits};
use cartwright::local::delivery::{Delivery, Settings};
use cartwright::local::sqlite::{FILE_NAME, SqliteStore};
use cartwright::notifications::Channels;
use cartwright::notifications::email::{Mail, Templates};
use cartwright::queues::{DeadLetter, DeadLetterId, QueueAdmin};
use cartwright::rest::Door;
use cartwright::store::{Batch, Store, Table};
use cartwright::telemetry::Telemetry;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::faults::FaultyStore;
use crate::notifier::TestNotifier;
use crate::world::TestWorld;

/// How often the credentials of those who listen are looked at.
const CHECK_PERIOD: Duration = Duration::from_millis(20);

/// A shop. Dropping it fails the test when events are left undelivered, or dead letters that were not expected.
pub struct TestShop {
    pub app: App,
    pub store: Arc<SqliteStore>,
    pub clock: Arc<TestClock>,
    pub delivery: Delivery,
    pub folder: PathBuf,
    pub faults: Arc<FaultyStore>,
    pub notifier: Arc<TestNotifier>,
    pub hub: Hub,
    /// What would be called and mailed, if there were receivers.
    pub world: Arc<TestWorld>,
    door: Door,
    /// Sent with each request that says nothing else of who makes it.
    credential: Mutex<Option<String>>,
    expected_dead: Mutex<BTreeSet<DeadLetterId>>,
    _temp: tempfile::TempDir,
}

/// A clock that stands at the start of 2026 and moves on by a microsecond each time it is read.
pub struct TestClock(Mutex<Timestamp>);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let mut now = self.0.lock().unwrap();
        *now += SignedDuration::from_micros(1);
        *now
    }
}

impl TestClock {
    pub fn new() -> Self {
        TestClock(Mutex::new("2026-01-02T03:04:05Z".parse().unwrap()))
    }

    pub fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += SignedDuration::try_from(by).unwrap();
    }

    pub fn put_back(&self, by: Duration) {
        *self.0.lock().unwrap() -= SignedDuration::try_from(by).unwrap();
    }
}

/// Randomness that is the same every time.
#[derive(Default)]
pub struct TestIds(AtomicU64);

impl Ids for TestIds {
    fn fill(&self, bytes: &mut [u8]) {
        let count = self.0.fetch_add(1, Ordering::Relaxed);
        blake3::Hasher::new().update(&count.to_le_bytes()).finalize_xof().fill(bytes);
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no header {name} in {self:?}")).to_str().unwrap()
    }

    /// The code of a problem, which must be one in form too.
    pub fn code(&self) -> &str {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(self.body["status"], self.status.as_u16(), "{self:?}");
        assert_eq!(self.body["requestId"], self.header("x-request-id"), "{self:?}");
        assert!(self.body["title"].is_string() && self.body["detail"].is_string(), "{self:?}");
        self.body["code"].as_str().unwrap()
    }

    /// The pointers of a problem's bad fields.
    pub fn pointers(&self) -> Vec<&str> {
        self.body["errors"].as_array().into_iter().flatten().map(|error| error["pointer"].as_str().unwrap()).collect()
    }

    /// The body of an answer that must have this status.
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        self.body
    }
}

impl TestShop {
    pub async fn new() -> Self {
        Self::with_settings(Settings::default()).await
    }

    /// A shop with access control on. Its own requests are those of an admin; see [`TestShop::send_as`] for others'.
    pub async fn protected() -> Self {
        let shop = Self::with_access(Settings::default(), Access::required()).await;
        let admin = shop.key(Role::Admin, None).await;
        *shop.credential.lock().unwrap() = Some(admin);
        shop
    }

    pub async fn with_settings(settings: Settings) -> Self {
        Self::with(settings, Config::default(), Access::open()).await
    }

    pub async fn with_config(config: Config) -> Self {
        Self::with(Settings::default(), config, Access::open()).await
    }

    pub async fn with_access(settings: Settings, access: Access) -> Self {
        Self::with(settings, Config::default(), access).await
    }

    async fn with(settings: Settings, config: Config, access: Access) -> Self {
        Self::build(tempfile::tempdir().unwrap(), settings, config, access).await
    }

    /// A shop over the folder `data` in this one, which may have a shop already.
    pub async fn over(temp: tempfile::TempDir) -> Self {
        Self::build(temp, Settings::default(), Config::default(), Access::open()).await
    }

    async fn build(temp: tempfile::TempDir, settings: Settings, config: Config, access: Access) -> Self {
        let folder = temp.path().join("data");
        let clock = Arc::new(TestClock::new());
        let store = SqliteStore::open(&folder, clock.clone()).unwrap();
        let faults = Arc::new(FaultyStore::new(store.clone()));
        let notifier = Arc::new(TestNotifier::default());
        let ids = Arc::new(TestIds::default());
        let world = Arc::new(TestWorld::default());
        let mail = Mail { mailer: world.clone(), templates: Templates::default() };
        let app = App::over(Ports {
            store: faults.clone(),
            queues: store.clone(),
            notifier: notifier.clone(),
            channels: Channels { mail: Some(Arc::new(mail)), webhooks: world.clone() },
            clock: clock.clone(),
            ids,
            config,
            access,
            live: OnceLock::new(),
            in_flight: Arc::default(),
            telemetry: Telemetry::default(),
        });
        app.hosted_by(store.clone());
        let hub = Hub::new(HubLimits { check_period: CHECK_PERIOD, ..HubLimits::default() });
        app.tell_by(Arc::new(hub.clone()));
        let delivery = Delivery::new(app.clone(), store.clone(), settings);
        let door = api::door(&app);
        let expected_dead = Mutex::default();
        let credential = Mutex::default();
        TestShop {
            app,
            store,
            clock,
            delivery,
            folder,
            faults,
            notifier,
            hub,
            world,
            door,
            credential,
            expected_dead,
            _temp: temp,
        }
    }

    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !headers.iter().any(|(name, _)| *name == "authorization")
            && let Some(key) = &*self.credential.lock().unwrap()
        {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let response = self.door.answer(request.body(body.into()).unwrap()).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("not JSON: {bytes:?}"))
        };
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// The door of the shop, for requests that are not about JSON.
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// The head of the answer to a request of whoever has this credential, and its body as it comes.
    pub async fn open_as(&self, credential: &str, path: &str) -> (StatusCode, Body) {
        let request = Request::builder().uri(path).header("authorization", format!("Bearer {credential}"));
        let response = self.door.answer(request.body(Body::empty()).unwrap()).await;
        (response.status(), response.into_body())
    }

    /// An API key of this role, and of this customer.
    pub async fn key(&self, role: Role, username: Option<&str>) -> String {
        let username = username.map(|name| name.try_into().unwrap());
        let new = NewKey { name: role.name().try_into().unwrap(), role, username, expires_at: None };
        create_key(&self.app, new).await.unwrap().1
    }

    /// The answer to a request of whoever has this credential, or of somebody who has none. What is not JSON is left out.
    pub async fn send_as(&self, credential: Option<&str>, method: &str, path: &str, body: &Value) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        if let Some(credential) = credential {
            request = request.header("authorization", format!("Bearer {credential}"));
        }
        let response = self.door.answer(request.body(Body::from(body.to_string())).unwrap()).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// The bytes under `path`, which must be there.
    pub async fn raw(&self, path: &str) -> Vec<u8> {
        self.answer(Method::GET, path, "").await
    }

    /// The bytes that answer a request, which must succeed.
    pub async fn answer(&self, method: Method, path: &str, body: &str) -> Vec<u8> {
        let request = Request::builder().method(method).uri(path).body(Body::from(body.to_owned())).unwrap();
        let response = self.door.answer(request).await;
        assert_eq!(response.status(), 200, "{path}");
        response.into_body().collect().await.unwrap().to_bytes().to_vec()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], "").await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, &[("content-type", "application/json")], body.to_string()).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, &[("content-type", "application/json")], body.to_string()).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, &[("content-type", "application/json")], body.to_string()).await
    }

    /// A product at this price in cents, with stock or (`None`) untracked. Its id.
    pub async fn product(&self, name: &str, price: i64, stock: impl Into<Option<i64>>) -> String {
        let body = json!({"name": name, "category": "Phone", "price": {"amount": price, "currency": "USD"}, "stock": stock.into()});
        let created = self.post("/v1/products", body).await.expect(201);
        self.deliver().await;
        created["id"].as_str().unwrap().to_owned()
    }

    /// Makes a customer of this user name.
    pub async fn customer(&self, name: &str) {
        let email = format!("{name}@example.com");
        self.post("/v1/customers", json!({"username": name, "email": email, "name": name})).await.expect(201);
    }

    /// Puts so many of a product into the basket of `user`.
    pub async fn fill(&self, user: &str, product: &str, quantity: u32) {
        let body = json!({"productId": product, "quantity": quantity});
        self.post(&format!("/v1/baskets/{user}/items"), body).await.expect(200);
    }

    /// Checks the basket of `user` out. The order's id.
    pub async fn checkout(&self, user: &str) -> String {
        let accepted = self.post(&format!("/v1/baskets/{user}/checkout"), json!({})).await.expect(202);
        accepted["orderId"].as_str().unwrap().to_owned()
    }

    /// A confirmed order of so many of a product.
    pub async fn order(&self, user: &str, product: &str, quantity: u32) -> String {
        self.fill(user, product, quantity).await;
        let order = self.checkout(user).await;
        self.deliver().await;
        order
    }

    pub async fn status(&self, order: &str) -> String {
        self.get(&format!("/v1/orders/{order}")).await.expect(200)["status"].as_str().unwrap().to_owned()
    }

    pub async fn transition(&self, order: &str, to: &str) -> Answer {
        self.post(&format!("/v1/orders/{order}/transitions"), json!({"to": to})).await
    }

    /// On hand, reserved, available.
    pub async fn stock(&self, product: &str) -> (i64, i64, i64) {
        let stock = self.get(&format!("/v1/products/{product}/stock")).await.expect(200);
        let field = |name: &str| stock[name].as_i64().unwrap();
        (field("onHand"), field("reserved"), field("available"))
    }

    /// The ledger of a product, newest first, and what it adds up to: on hand, available.
    pub async fn ledger(&self, product: &str) -> (Vec<Value>, (i64, i64)) {
        let items = self.all(&format!("/v1/products/{product}/stock/movements?limit=7")).await;
        let sum = |name: &str| items.iter().map(|item| item[name].as_i64().unwrap()).sum();
        let sums = (sum("onHand"), sum("available"));
        (items, sums)
    }

    /// Every item of a `/v1` list, page by page along its `Link` headers.
    pub async fn all(&self, path: &str) -> Vec<Value> {
        let (mut items, mut next) = (Vec::new(), Some(path.to_owned()));
        while let Some(path) = next {
            let answer = self.get(&path).await;
            next = answer.headers.get("link").map(|link| {
                let link = link.to_str().unwrap();
                link.strip_prefix('<').and_then(|rest| rest.strip_suffix(">; rel=\"next\"")).unwrap().to_owned()
            });
            let body = answer.expect(200);
            assert_eq!(body.get("nextCursor").is_some(), next.is_some());
            items.extend(body["items"].as_array().unwrap().iter().cloned());
        }
        items
    }

    pub fn now_ms(&self) -> i64 {
        self.app.clock.now().as_millisecond()
    }

    /// Delivers everything that is due, one message at a time.
    pub async fn deliver(&self) -> usize {
        self.delivery.deliver_all_due().await.unwrap()
    }

    /// Delivers everything, moving the clock on to whatever waits to be received again.
    pub async fn deliver_with_retries(&self) {
        loop {
            self.deliver().await;
            let now_ms = self.app.clock.now().as_millisecond();
            let Some(due) = Queue::ALL.into_iter().filter_map(|queue| self.store.next_due_ms(queue)).min() else {
                return;
            };
            self.clock.advance(Duration::from_millis(u64::try_from(due - now_ms).unwrap_or(0) + 1));
        }
    }

    /// Puts an event on the bus, as if a service had committed it.
    pub async fn emit(&self, event: Envelope) {
        let mut batch = Batch::new(Table::Ordering);
        batch.emit(event);
        self.store.commit(batch).await.unwrap();
    }

    /// An event of this name with this detail, from where such events come.
    pub fn event(&self, detail_type: &str, detail: Value) -> Envelope {
        let rule = cartwright::events::RULES.iter().find(|rule| rule.detail_type == detail_type).unwrap();
        Envelope {
            id: self.app.new_uuid(),
            source: rule.source.to_owned(),
            detail_type: detail_type.to_owned(),
            time: self.app.clock.now(),
            correlation_id: "test".into(),
            causation_id: None,
            traceparent: None,
            detail: serde_json::value::to_raw_value(&detail).unwrap(),
        }
    }

    /// The dead letters of a queue, oldest first, which the test now knows of.
    pub async fn dead_letters(&self, queue: Queue) -> Vec<DeadLetter> {
        let mut letters: Vec<DeadLetter> = Vec::new();
        loop {
            let after = letters.last().map(|letter| &letter.id);
            let page = self.store.list_dead_letters(queue, true, after, 100).await.unwrap();
            letters.extend(page.letters);
            if !page.more {
                break;
            }
        }
        self.expected_dead.lock().unwrap().extend(letters.iter().map(|letter| letter.id.clone()));
        letters
    }
}

impl Drop for TestShop {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let file = rusqlite::Connection::open(self.folder.join(FILE_NAME)).unwrap();
        let count = |table: &str| {
            file.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, usize>(0)).unwrap()
        };
        // What the shop's own admin did, to set the scene, is told too.
        let undelivered = count("(SELECT 1 FROM messages WHERE queue <> 'AuditQueue')");
        assert_eq!(undelivered, 0, "events were left undelivered");
        let mut dead = file.prepare("SELECT seq FROM dead_letters").unwrap();
        let dead = dead.query_map([], |row| row.get::<_, i64>(0)).unwrap();
        let dead = dead.map(|place| place.unwrap().to_string().parse().unwrap());
        let mut unexpected = dead.collect::<BTreeSet<DeadLetterId>>();
        unexpected.retain(|id| !self.expected_dead.get_mut().unwrap().contains(id));
        assert!(unexpected.is_empty(), "messages died that the test did not expect: {unexpected:?}");
    }
}
