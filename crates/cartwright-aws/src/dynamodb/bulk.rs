//! Whole tables: for moving a shop, and for nothing else. No request of a shop scans.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use cartwright::error::{Error, Result};
use cartwright::store::{Key, Table};
use cartwright::transfer::Document;
use futures_util::future::try_join_all;
use jiff::Timestamp;

use super::item::{self, Item};
use super::retry::Failure;
use super::{DynamoStore, OUTBOX};

/// Most items of one batch: DynamoDB's limit.
const MAX_BATCH: usize = 25;
/// Largest batch in bytes, well below DynamoDB's 16 MB.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// The id of writes that an import has made.
const IMPORTED: &str = "imported";

/// Some documents of a table.
#[derive(Debug)]
pub struct Scanned {
    /// The documents. Events that lie in the table are none.
    pub documents: Vec<Document>,
    /// Where to go on, when there may be more.
    pub next: Option<HashMap<String, AttributeValue>>,
}

impl DynamoStore {
    /// The documents of a table in no particular order, from `start` on. Each as it is when it is read, and all together no
    /// snapshot: what is written meanwhile may be in or not.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn scan(&self, table: Table, start: Option<HashMap<String, AttributeValue>>) -> Result<Scanned> {
        let request = self.client.scan().table_name(self.table_name(table)).consistent_read(true);
        let request = request.set_exclusive_start_key(start);
        let answer = self.retries().run(|| request.clone().send()).await?;
        let mut documents = Vec::new();
        for item in answer.items.unwrap_or_default() {
            let (pk, sk) = item::key_of(&item)?;
            if pk.starts_with(OUTBOX) {
                continue;
            }
            let expires_at = item.get("ttl").and_then(|ttl| ttl.as_n().ok()).map(|ttl| seconds(ttl)).transpose()?;
            let doc = item::document(item)?;
            let body = doc.body.text().to_owned();
            documents.push(Document { key: Key::new(table, pk, sk), version: doc.version, expires_at, body });
        }
        Ok(Scanned { documents, next: answer.last_evaluated_key })
    }

    /// Puts documents with their versions in place of whatever is there. They become durable one by one: what an error
    /// leaves undone is put by putting the same again.
    ///
    /// # Errors
    /// Those of writing; `internal_error` for a document that is no JSON object.
    pub async fn put_all<'a>(&self, documents: impl IntoIterator<Item = &'a Document>) -> Result<()> {
        let (mut batches, mut batch, mut bytes) = (Vec::new(), Vec::new(), 0);
        for Document { key, version, expires_at, body } in documents {
            let item = item::item(key, *version, IMPORTED, body, *expires_at).map_err(Error::internal)?;
            if batch.len() == MAX_BATCH || bytes + body.len() > MAX_BATCH_BYTES {
                batches.push(std::mem::take(&mut batch));
                bytes = 0;
            }
            bytes += body.len();
            batch.push((key.table, item));
        }
        batches.push(batch);
        try_join_all(batches.into_iter().filter(|batch| !batch.is_empty()).map(|batch| self.put_batch(batch))).await?;
        Ok(())
    }

    async fn put_batch(&self, items: Vec<(Table, Item)>) -> Result<()> {
        let mut requests: HashMap<String, Vec<WriteRequest>> = HashMap::new();
        for (table, item) in items {
            let put = PutRequest::builder().set_item(Some(item)).build().map_err(Error::internal)?;
            requests.entry(self.table_name(table)).or_default().push(WriteRequest::builder().put_request(put).build());
        }
        let mut pauses = self.retries();
        loop {
            let request = self.client.batch_write_item().set_request_items(Some(requests));
            let answer = self.retries().run(|| request.clone().send()).await?;
            requests = answer.unprocessed_items.unwrap_or_default();
            if requests.is_empty() {
                return Ok(());
            }
            pauses.pause(Failure::throttled("not every item of a batch was written")).await?;
        }
    }
}

fn seconds(ttl: &str) -> Result<Timestamp> {
    ttl.parse()
        .ok()
        .and_then(|at| Timestamp::from_second(at).ok())
        .ok_or_else(|| Error::internal("a ttl that is no time"))
}
