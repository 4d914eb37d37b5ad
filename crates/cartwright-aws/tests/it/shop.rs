//! A shop over a real store, whose commits go wrong when they are about certain users.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use axum::body::Body;
use cartwright::access::Access;
use cartwright::api;
use cartwright::app::{App, Ports};
use cartwright::config::Config;
use cartwright::error::{Error, Kind, Result};
use cartwright::local::sqlite::SqliteStore;
use cartwright::notifications::Channels;
use cartwright::rest::Door;
use cartwright::store::{Batch, CommitError, Doc, Key, Page, Range, Store};
use cartwright::system::{SystemClock, SystemIds};
use cartwright::telemetry::Telemetry;
use cartwright_aws::queues::AwsQueues;
use cartwright_aws::settings::Topics;
use cartwright_aws::sns::SnsNotifier;
use http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::Value;

use crate::fake_aws::FakeAws;

pub struct Shop {
    pub app: App,
    pub aws: FakeAws,
    pub sqlite: Arc<SqliteStore>,
    pub door: Door,
    _folder: tempfile::TempDir,
}

impl Shop {
    /// Open to whoever reaches it.
    pub fn new() -> Self {
        Shop::with(Access::open())
    }

    pub fn with(access: Access) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sqlite = SqliteStore::open(folder.path(), Arc::new(SystemClock)).unwrap();
        let (aws, store): (_, Arc<dyn Store>) = (FakeAws::default(), Arc::new(FaultyStore(sqlite.clone())));
        let queues = AwsQueues::new(store.clone(), Arc::new(SystemIds), aws.queues());
        let topics = Topics { customers: "arn:customers".into(), operators: "arn:operators".into() };
        let notifier = SnsNotifier::new(aws_sdk_sns::Client::new(&aws.config()), topics);
        let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
        let app = App::over(Ports {
            store,
            queues: Arc::new(queues),
            notifier: Arc::new(notifier),
            channels: Channels::default(),
            live: OnceLock::new(),
            clock,
            ids,
            config: Config::default(),
            access,
            in_flight: Arc::default(),
            telemetry: Telemetry::default(),
        });
        let door = api::door(&app);
        Shop { app, aws, sqlite, door, _folder: folder }
    }

    /// Status and body of the answer to a request.
    pub async fn ask(&self, method: Method, path: &str, body: &str) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let response = self.door.answer(request.body(Body::from(body.to_owned())).unwrap()).await;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(Method::GET, path, "").await;
        assert_eq!(status, 200, "{body}");
        body
    }
}

/// Commits that mention the user `panics`, `hangs` or `fails` do that.
struct FaultyStore(Arc<SqliteStore>);

#[async_trait]
impl Store for FaultyStore {
    async fn get(&self, key: &Key) -> Result<Option<Doc>> {
        self.0.get(key).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Doc>>> {
        self.0.get_many(keys).await
    }

    async fn list(&self, range: &Range, after: Option<&str>, limit: usize) -> Result<Page> {
        self.0.list(range, after, limit).await
    }

    fn health(&self) -> Result<()> {
        self.0.health()
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        let text = format!("{batch:?}");
        if text.contains("panics") {
            panic!("a fault that a test put in");
        }
        if text.contains("hangs") {
            std::future::pending::<()>().await;
        }
        if text.contains("fails") {
            return Err(Error::new(Kind::Unavailable, "storage_failed", "A fault that a test put in.").into());
        }
        self.0.commit(batch).await
    }
}
