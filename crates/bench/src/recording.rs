//! What the services write: the commits of a shop that is asked for the same thing again and again, kept, so that they can
//! be made again without the services.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use axum::body::Body;
use cartwright::api;
use cartwright::app::App;
use cartwright::config::Config;
use cartwright::local::LogNotifier;
use cartwright::local::sqlite::SqliteStore;
use cartwright::rest::Door;
use cartwright::store::{Batch, CommitError, Doc, Key, Page, Range, Store, Write};
use cartwright::system::{SystemClock, SystemIds};
use http::Request;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::Result;
use crate::filling::CUSTOMER;
use crate::storage::scatter;
use crate::work::purchase;

/// Requests at the same time while recording.
const CONCURRENT: usize = 64;

/// What is asked for. No two of a kind touch the same document, so that their order does not matter.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Kind {
    /// A line in the basket of a user who had none.
    BasketLine,
    /// Goods that came in, of another product each time.
    StockMovement,
    /// An order that was agreed elsewhere.
    DirectOrder,
    /// A purchase that was made elsewhere.
    Purchase,
}

impl Kind {
    /// Each of them.
    pub(crate) const ALL: [Kind; 4] = [Kind::BasketLine, Kind::StockMovement, Kind::DirectOrder, Kind::Purchase];

    /// In words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::BasketLine => "a basket line",
            Kind::StockMovement => "a stock movement",
            Kind::DirectOrder => "a direct order",
            Kind::Purchase => "a purchase",
        }
    }

    fn request(self, number: usize, products: &[String]) -> Result<Request<Body>> {
        let product = &products[number % products.len()];
        let (path, body): (String, Value) = match self {
            Kind::BasketLine => {
                let path = format!("/v1/baskets/dan-{:016x}/items", scatter(number as u64));
                (path, json!({ "productId": product, "quantity": 2, "color": "blue" }))
            }
            Kind::StockMovement => {
                (format!("/v1/products/{product}/stock/movements"), json!({ "kind": "received", "quantity": 3 }))
            }
            Kind::DirectOrder => {
                let total = json!({ "amount": 25_998, "currency": "USD" });
                ("/v1/orders".to_owned(), json!({ "customer": CUSTOMER, "total": total, "itemCount": 2 }))
            }
            Kind::Purchase => ("/v1/purchases".to_owned(), purchase(number)),
        };
        Ok(Request::post(path).header(CONTENT_TYPE, "application/json").body(Body::from(body.to_string()))?)
    }
}

/// Commits in the order in which they were made, and what the documents were after those that only adjust them.
pub(crate) struct Recording {
    pub(crate) batches: Vec<Batch>,
    pub(crate) adjusted: Vec<(Key, String)>,
}

/// Asks a shop over the data in `folder` for so many of a kind, and keeps what it commits.
///
/// # Errors
/// When the shop refuses one.
pub(crate) async fn record(folder: &Path, kind: Kind, products: &[String], count: usize) -> Result<Recording> {
    let clock = Arc::new(SystemClock);
    let store = SqliteStore::open(folder, clock.clone())?;
    let recorder = Arc::new(Recorder { store: Arc::clone(&store), batches: Mutex::default() });
    let app =
        App::new(recorder.clone(), store.clone(), Arc::new(LogNotifier), clock, Arc::new(SystemIds), Config::default());
    let door = api::door(&app);
    let mut tasks = JoinSet::new();
    for first in 0..CONCURRENT {
        let requests: Vec<_> =
            (first..count).step_by(CONCURRENT).map(|number| kind.request(number, products)).collect::<Result<_>>()?;
        tasks.spawn(ask(door.clone(), requests));
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    let batches = std::mem::take(&mut *recorder.batches.lock().unwrap_or_else(PoisonError::into_inner));
    if batches.len() != count {
        return Err(format!("{count} times {} were {} commits", kind.name(), batches.len()).into());
    }
    let mut adjusted = Vec::new();
    for write in batches.iter().flat_map(|batch| &batch.writes) {
        if let Write::Adjust { key, .. } = write {
            let doc = store.get(key).await?.ok_or("an adjusted document is gone")?;
            adjusted.push((key.clone(), doc.body.text().to_owned()));
        }
    }
    store.close().await;
    Ok(Recording { batches, adjusted })
}

async fn ask(door: Door, requests: Vec<Request<Body>>) -> Result<()> {
    for request in requests {
        let path = request.uri().path().to_owned();
        let status = door.answer(request).await.status();
        if !status.is_success() {
            return Err(format!("POST {path} answered {status}").into());
        }
    }
    Ok(())
}

/// A store that keeps what is committed to it.
struct Recorder {
    store: Arc<SqliteStore>,
    batches: Mutex<Vec<Batch>>,
}

#[async_trait]
impl Store for Recorder {
    async fn get(&self, key: &Key) -> cartwright::error::Result<Option<Doc>> {
        self.store.get(key).await
    }

    async fn get_many(&self, keys: &[Key]) -> cartwright::error::Result<Vec<Option<Doc>>> {
        self.store.get_many(keys).await
    }

    async fn list(&self, range: &Range, after: Option<&str>, limit: usize) -> cartwright::error::Result<Page> {
        self.store.list(range, after, limit).await
    }

    fn health(&self) -> cartwright::error::Result<()> {
        self.store.health()
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        self.store.commit(batch.clone()).await?;
        self.batches.lock().unwrap_or_else(PoisonError::into_inner).push(batch);
        Ok(())
    }
}
