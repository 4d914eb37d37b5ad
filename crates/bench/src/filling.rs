//! Large shops, made quickly: one thing of each kind is put into a small shop through its API, and what that wrote is
//! written again and again under other ids. So the documents are those of this build, whatever it writes.

use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use cartwright::api;
use cartwright::app::App;
use cartwright::config::Config;
use cartwright::local::LogNotifier;
use cartwright::local::sqlite::{Building, Snapshot, SqliteStore};
use cartwright::rest::Door;
use cartwright::store::Sharded;
use cartwright::system::{SystemClock, SystemIds};
use cartwright::transfer::Record;
use cartwright::values::OrderId;
use http::Request;
use http::header::CONTENT_TYPE;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::Result;
use crate::storage::scatter;
use crate::work::{product, purchase};

/// What a shop has. Its products are four documents each.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Filling {
    pub(crate) products: usize,
    /// Orders of [`CUSTOMER`].
    pub(crate) orders: usize,
    /// Purchases that wait in their queue.
    pub(crate) purchases: usize,
}

/// The customer who has all the orders.
pub(crate) const CUSTOMER: &str = "carol";
/// The largest answer that is read of the small shop.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Makes a shop in `folder`. Returns the ids of its products, the oldest first.
///
/// # Errors
/// When the shop cannot be made.
pub(crate) async fn fill(folder: &Path, filling: Filling) -> Result<Vec<String>> {
    let small = tempfile::tempdir_in(folder.parent().unwrap_or(folder))?;
    let marks = Marks::make(small.path()).await?;
    let snapshot = Snapshot::open(small.path())?;
    let currency = snapshot.currency()?;
    let (mut kinds, mut once) = (Kinds::default(), Vec::new());
    snapshot.export(|record| {
        kinds.sort(&marks, record, &mut once);
        Ok(())
    })?;
    drop(snapshot);
    let mut building = Building::begin(folder, currency)?;
    once.iter().try_for_each(|record| building.add(record))?;
    let ids: Vec<String> = (0..filling.products).map(product_id).collect();
    for id in &ids {
        let ids = [(&*marks.product, &**id)];
        kinds.products.iter().try_for_each(|record| building.add(&again(record, &ids)))?;
    }
    for number in 0..filling.orders {
        let id = order_id(number);
        let ids = [(&*marks.order, &*id)];
        kinds.orders.iter().try_for_each(|record| building.add(&again(record, &ids)))?;
    }
    for number in 0..filling.purchases as u64 {
        let [id, message] = [0, 1].map(|which| uuid(number, scatter(2 * number + which)).to_string());
        let ids = [(&*marks.purchase, &*id), (&*marks.message, &*message)];
        kinds.purchases.iter().try_for_each(|record| building.add(&again(record, &ids)))?;
    }
    building.finish(currency)?;
    Ok(ids)
}

/// Ids by which it is found again what belongs to one thing.
struct Marks {
    product: String,
    order: String,
    purchase: String,
    message: String,
}

impl Marks {
    /// Puts one of each kind into a new shop.
    async fn make(folder: &Path) -> Result<Self> {
        let clock = Arc::new(SystemClock);
        let store = SqliteStore::open(folder, clock.clone())?;
        let ids = Arc::new(SystemIds);
        let app = App::new(store.clone(), store.clone(), Arc::new(LogNotifier), clock, ids, Config::default());
        cartwright::catalog::ops::pin_currency(&app).await?;
        let door = api::door(&app);
        let customer = json!({ "username": CUSTOMER, "email": "carol@example.com", "name": "Carol Example" });
        post(&door, "/v1/customers", &customer).await?;
        let order = json!({ "customer": CUSTOMER, "total": { "amount": 25_998, "currency": "USD" }, "itemCount": 2 });
        let order = post(&door, "/v1/orders", &order).await?;
        let product = post(&door, "/v1/products", &product(0)).await?;
        let purchase = post(&door, "/v1/purchases", &purchase(0)).await?;
        let text = |value: &Value, field: &str| {
            value[field].as_str().map(str::to_owned).ok_or_else(|| format!("an answer has no {field}"))
        };
        let marks = Marks {
            product: text(&product, "id")?,
            order: text(&order, "id")?,
            purchase: text(&purchase, "id")?,
            message: text(&purchase, "messageId")?,
        };
        store.close().await;
        Ok(marks)
    }
}

async fn post(door: &Door, path: &str, body: &Value) -> Result<Value> {
    let request = Request::post(path).header(CONTENT_TYPE, "application/json").body(Body::from(body.to_string()))?;
    let response = door.answer(request).await;
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), MAX_ANSWER_BYTES).await?;
    if !status.is_success() {
        return Err(format!("POST {path} answered {status}: {}", String::from_utf8_lossy(&body)).into());
    }
    Ok(serde_json::from_slice(&body)?)
}

/// What belongs to one thing of each kind.
#[derive(Default)]
struct Kinds {
    products: Vec<Record>,
    orders: Vec<Record>,
    purchases: Vec<Record>,
}

impl Kinds {
    /// Puts a record where it belongs: to what its key names, or to what is there once. Messages but the purchase are left
    /// out: they have been processed.
    fn sort(&mut self, marks: &Marks, record: &Record, once: &mut Vec<Record>) {
        let kind = match record {
            Record::Document(document) => {
                let names = |mark: &String| document.key.pk.contains(mark) || document.key.sk.contains(mark);
                if names(&marks.product) {
                    &mut self.products
                } else if names(&marks.order) {
                    &mut self.orders
                } else {
                    once
                }
            }
            Record::Message(message) if message.body.contains(&marks.message) => &mut self.purchases,
            Record::Message(_) | Record::DeadLetter(_) => return,
        };
        kind.push(record.clone());
    }
}

/// The same under other ids.
fn again(record: &Record, ids: &[(&str, &str)]) -> Record {
    let with_ids = |text: &str| ids.iter().fold(text.to_owned(), |text, (mark, id)| text.replace(mark, id));
    match record {
        Record::Document(document) => {
            let mut document = document.clone();
            let (key, body) = (&mut document.key, &mut document.body);
            (key.pk, key.sk, *body) = (with_ids(&key.pk), with_ids(&key.sk), with_ids(body));
            // The sort key decides the shard.
            if let Some((name, shard)) = key.pk.rsplit_once('#')
                && shard.len() == 2
                && shard.bytes().all(|byte| byte.is_ascii_digit())
            {
                *key = Sharded::new(key.table, name).key(key.sk.clone());
            }
            Record::Document(document)
        }
        Record::Message(message) => {
            let mut message = message.clone();
            message.body = with_ids(&message.body);
            Record::Message(message)
        }
        Record::DeadLetter(letter) => Record::DeadLetter(letter.clone()),
    }
}

/// When the first of a kind was made: the first of January 2025.
const FIRST_MS: u64 = 1_735_689_600_000;

/// An id that sorts by `number`.
fn uuid(number: u64, random: u64) -> Uuid {
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&random.to_be_bytes());
    uuid::Builder::from_unix_timestamp_millis(FIRST_MS + number, &bytes).into_uuid()
}

fn product_id(number: usize) -> String {
    uuid(number as u64, scatter(number as u64)).to_string()
}

fn order_id(number: usize) -> String {
    let at = Timestamp::UNIX_EPOCH + SignedDuration::from_millis((FIRST_MS + 1000 * number as u64) as i64);
    let mut random = [0; 12];
    random[..8].copy_from_slice(&scatter(number as u64).to_be_bytes());
    OrderId::new(at, random).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_filled_shop_has_what_was_asked_for_and_shows_it() {
        let folder = tempfile::tempdir().unwrap();
        let shop = folder.path().join("shop");
        let ids = fill(&shop, Filling { products: 30, orders: 7, purchases: 5 }).await.unwrap();
        let (mut documents, mut messages) = (0, 0);
        let count = |record: &Record| {
            documents += usize::from(matches!(record, Record::Document(_)));
            messages += usize::from(matches!(record, Record::Message(_)));
            Ok(())
        };
        Snapshot::open(&shop).unwrap().export(count).unwrap();
        assert_eq!(messages, 5);
        assert!(documents > 4 * 30 + 3 * 7, "{documents}");
        let clock = Arc::new(SystemClock);
        let store = SqliteStore::open(&shop, clock.clone()).unwrap();
        let ids_of_requests = Arc::new(SystemIds);
        let app = App::new(store.clone(), store, Arc::new(LogNotifier), clock, ids_of_requests, Config::default());
        for path in [format!("/v1/products/{}", ids[29]), format!("/v1/orders/{}", order_id(6))] {
            let request = Request::get(&path).body(Body::empty()).unwrap();
            assert_eq!(api::door(&app).answer(request).await.status(), 200, "{path}");
        }
    }
}
