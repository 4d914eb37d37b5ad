//! The store on DynamoDB: one table for each service, strongly consistent reads, one transaction for each commit.
//!
//! A commit of one put is one conditional `PutItem`; anything more is one `TransactWriteItems` with a client token, which makes
//! its retries harmless. Events are outbox items of the same transaction; the table's stream carries them to the relay.
//!
//! A request that is throttled, that loses against another transaction, or whose answer does not come is repeated, a bounded
//! number of times with growing, jittered pauses ([`retry`]). The SDK's own retries are off: it does not know which requests
//! can be repeated blindly.

pub mod bulk;
mod commit;
mod item;
pub mod retry;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use cartwright::app::{Clock, Ids};
use cartwright::error::{Error, Result};
use cartwright::store::{Batch, CommitError, Doc, Key, MAX_GET_MANY, MAX_PAGE, Page, Range, Store, Table};

use item::Item;
use retry::{Failure, Retries};

/// How the partition key of an outbox item begins.
const OUTBOX: &str = "OUTBOX#";
/// How long an event stays in the table after the stream has carried it away: time to look into what went wrong.
const OUTBOX_KEPT: jiff::SignedDuration = jiff::SignedDuration::from_hours(7 * 24);

/// The store on DynamoDB. Cheap to share.
pub struct DynamoStore {
    client: Client,
    prefix: String,
    ids: Arc<dyn Ids>,
    clock: Arc<dyn Clock>,
}

impl DynamoStore {
    /// The store in the tables whose names begin with `prefix`. `client` should have its own retries off; see
    /// [`retry::settings`].
    pub fn new(client: Client, prefix: String, ids: Arc<dyn Ids>, clock: Arc<dyn Clock>) -> Self {
        DynamoStore { client, prefix, ids, clock }
    }

    /// The name of a table on AWS.
    pub fn table_name(&self, table: Table) -> String {
        format!("{}{}", self.prefix, table.name())
    }

    fn retries(&self) -> Retries<'_> {
        Retries::new(self.ids.as_ref())
    }

    async fn get_item(&self, key: &Key) -> Result<Option<Item>> {
        key.validate().map_err(Error::internal)?;
        let request = self.client.get_item().table_name(self.table_name(key.table)).consistent_read(true);
        let request = request.key("PK", text(&key.pk)).key("SK", text(&key.sk));
        let found = self.retries().run(|| request.clone().send()).await?;
        Ok(found.item)
    }

    /// One round of a batch read: what was found, and which keys are still to be asked for.
    async fn get_some(&self, keys: HashMap<String, KeysAndAttributes>) -> Result<(Vec<Found>, Unprocessed)> {
        let request = self.client.batch_get_item().set_request_items(Some(keys));
        let answer = self.retries().run(|| request.clone().send()).await?;
        let tables = answer.responses.unwrap_or_default().into_iter();
        let found = tables.flat_map(|(table, items)| items.into_iter().map(move |item| (table.clone(), item)));
        Ok((found.collect(), answer.unprocessed_keys.unwrap_or_default()))
    }
}

/// An item and the name of its table.
type Found = (String, Item);
type Unprocessed = HashMap<String, KeysAndAttributes>;

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

#[async_trait]
impl Store for DynamoStore {
    async fn get(&self, key: &Key) -> Result<Option<Doc>> {
        self.get_item(key).await?.map(item::document).transpose()
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Doc>>> {
        if keys.len() > MAX_GET_MANY {
            return Err(Error::internal(format!(
                "at most {MAX_GET_MANY} documents are read at once, not {}",
                keys.len()
            )));
        }
        let mut requests = Unprocessed::new();
        for key in keys {
            key.validate().map_err(Error::internal)?;
            let item = Item::from([("PK".to_owned(), text(&key.pk)), ("SK".to_owned(), text(&key.sk))]);
            let asked = requests.entry(self.table_name(key.table)).or_insert_with(|| {
                let none = KeysAndAttributes::builder().set_keys(Some(Vec::new())).consistent_read(true);
                none.build().expect("it has keys")
            });
            if !asked.keys.contains(&item) {
                asked.keys.push(item);
            }
        }
        let (mut found, mut pauses) = (HashMap::new(), self.retries());
        while !requests.is_empty() {
            let (items, unprocessed) = self.get_some(requests).await?;
            if items.is_empty() {
                pauses.pause(Failure::throttled("no item of a batch was read")).await?;
            }
            for (table, item) in items {
                found.insert((table, item::key_of(&item)?), item::document(item)?);
            }
            requests = unprocessed;
        }
        let find = |key: &Key| found.get(&(self.table_name(key.table), (key.pk.clone(), key.sk.clone()))).cloned();
        Ok(keys.iter().map(find).collect())
    }

    async fn list(&self, range: &Range, after: Option<&str>, limit: usize) -> Result<Page> {
        let (limit, prefix) = (limit.clamp(1, MAX_PAGE), range.prefix.as_str());
        range.partition.key("-").validate().map_err(Error::internal)?;
        // A start key must lie within the range; one that does not is before all of it or behind all of it.
        let after = after.filter(|after| !after.is_empty());
        let start = match after {
            Some(after) if !after.starts_with(prefix) => {
                let is_before = (after < prefix) != range.descending;
                if !is_before {
                    return Ok(Page::default());
                }
                None
            }
            after => after,
        };
        let mut start = start.map(|sk| (range.partition.pk.clone(), sk.to_owned()));
        let query = self.client.query().table_name(self.table_name(range.partition.table)).consistent_read(true);
        let query = query.scan_index_forward(!range.descending);
        let query = query.expression_attribute_values(":pk", text(&range.partition.pk));
        let query = if prefix.is_empty() {
            query.key_condition_expression("PK = :pk")
        } else {
            let query = query.expression_attribute_values(":prefix", text(prefix));
            query.key_condition_expression("PK = :pk AND begins_with(SK, :prefix)")
        };
        let mut docs: Vec<Doc> = Vec::new();
        loop {
            // One more than asked for tells whether there is more.
            let wanted = limit + 1 - docs.len();
            let mut query = query.clone().limit(i32::try_from(wanted).unwrap_or(i32::MAX));
            if let Some((pk, sk)) = &start {
                query = query.exclusive_start_key("PK", text(pk)).exclusive_start_key("SK", text(sk));
            }
            let answer = self.retries().run(|| query.clone().send()).await?;
            docs.extend(answer.items.unwrap_or_default().into_iter().map(item::document).collect::<Result<Vec<_>>>()?);
            start = answer.last_evaluated_key.as_ref().map(item::key_of).transpose()?;
            if start.is_none() || docs.len() > limit {
                break;
            }
        }
        let more = docs.len() > limit;
        docs.truncate(limit);
        let next = docs.last().filter(|_| more).map(|doc| doc.sk.to_string());
        Ok(Page { docs, next })
    }

    /// Always: each commit tells by itself whether it can be done.
    fn health(&self) -> Result<()> {
        Ok(())
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        batch.validate()?;
        match commit::single_put(&batch) {
            Some(write) => self.put_one(batch.table, write).await,
            None => self.write_all(batch).await,
        }
    }
}
