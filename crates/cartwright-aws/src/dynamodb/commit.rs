//! A batch as requests to DynamoDB.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Delete, Put, TransactWriteItem, Update};
use cartwright::error::{Error, Kind, Result};
use cartwright::events::Queue;
use cartwright::store::{Adjustment, Batch, CommitError, Expect, Key, Table, Write};

use super::item::{self, Item};
use super::retry::Failure;
use super::{DynamoStore, OUTBOX, OUTBOX_KEPT, number, text};

/// The only write of a batch, when that is a put and nothing else happens: one request of half the price.
pub(super) fn single_put(batch: &Batch) -> Option<&Write> {
    match batch.writes.as_slice() {
        [write @ Write::Put { .. }] if batch.events.is_empty() && batch.messages.is_empty() => Some(write),
        _ => None,
    }
}

/// A condition, and the values it names.
#[derive(Default)]
struct Condition {
    expression: Option<&'static str>,
    values: HashMap<String, AttributeValue>,
}

impl From<Expect> for Condition {
    fn from(expect: Expect) -> Condition {
        let expression = match expect {
            Expect::Anything => None,
            Expect::Absent => Some("attribute_not_exists(PK)"),
            Expect::Exists => Some("attribute_exists(PK)"),
            Expect::Version(_) => Some("v = :expected"),
        };
        let values = match expect {
            Expect::Version(version) => HashMap::from([(":expected".to_owned(), number(version))]),
            _ => HashMap::new(),
        };
        Condition { expression, values }
    }
}

impl Condition {
    fn expression(&self) -> Option<String> {
        self.expression.map(str::to_owned)
    }

    fn values(&self) -> Option<HashMap<String, AttributeValue>> {
        Some(self.values.clone()).filter(|values| !values.is_empty())
    }
}

/// The version a put leaves.
fn next_version(expect: Expect) -> u64 {
    match expect {
        Expect::Version(version) => version + 1,
        Expect::Anything | Expect::Absent | Expect::Exists => 1,
    }
}

fn key(key: &Key) -> Option<Item> {
    Some(Item::from([("PK".to_owned(), text(&key.pk)), ("SK".to_owned(), text(&key.sk))]))
}

impl From<Failure> for CommitError {
    fn from(failure: Failure) -> CommitError {
        match failure {
            Failure::Condition(places) => CommitError::Conflict(places),
            Failure::Refused(why) => CommitError::Refused(why),
            failure => CommitError::Failed(failure.into()),
        }
    }
}

impl DynamoStore {
    /// A new id for a write, and a client token: 32 hexadecimal digits.
    fn write_id(&self) -> String {
        format!("{:016x}{:016x}", self.ids.random(), self.ids.random())
    }

    pub(super) async fn put_one(&self, table: Table, write: &Write) -> Result<(), CommitError> {
        let Write::Put { key, expect, body, expires_at } = write else {
            return Err(CommitError::Refused("not a put".to_owned()));
        };
        let write_id = self.write_id();
        let item =
            item::item(key, next_version(*expect), &write_id, body, *expires_at).map_err(CommitError::Refused)?;
        let condition = Condition::from(*expect);
        let put = self.client.put_item().table_name(self.table_name(table)).set_item(Some(item));
        let put = put.set_condition_expression(condition.expression());
        let put = put.set_expression_attribute_values(condition.values());
        let mut retries = self.retries();
        let outcome = retries.run(|| put.clone().send()).await;
        match outcome {
            // An attempt before this one may be what changed the item.
            Err(Failure::Condition(_)) if retries.in_doubt() => self.settle(key, &write_id).await,
            outcome => Ok(outcome.map(drop)?),
        }
    }

    /// Whether a put in doubt was carried out: its id is in the item. If another's is there, that may have come after it.
    async fn settle(&self, key: &Key, write_id: &str) -> Result<(), CommitError> {
        let found = self.get_item(key).await?;
        let id = found.as_ref().and_then(|item| item.get("w")).and_then(|id| id.as_s().ok());
        if id.is_some_and(|id| id == write_id) {
            return Ok(());
        }
        let message =
            "Nobody knows whether this was carried out: someone else has changed the same since. Look, and try again.";
        Err(CommitError::Failed(Error::new(Kind::Unavailable, "outcome_unknown", message)))
    }

    pub(super) async fn write_all(&self, batch: Batch) -> Result<(), CommitError> {
        let token = self.write_id();
        let mut items = Vec::with_capacity(batch.writes.len() + batch.events.len() + batch.messages.len());
        for write in &batch.writes {
            items.push(self.write(write, &token).map_err(CommitError::Refused)?);
        }
        for event in &batch.events {
            let envelope = serde_json::to_string(event).map_err(Error::internal)?;
            items.push(self.outbox(batch.table, &event.id.to_string(), envelope, None)?);
        }
        for (queue, message) in batch.messages {
            items.push(self.outbox(batch.table, &self.write_id(), message, Some(queue))?);
        }
        let places = batch.writes.len();
        let request = self.client.transact_write_items().client_request_token(&token).set_transact_items(Some(items));
        self.retries().run_reading(|| request.clone().send(), |error| cancelled(error, places)).await?;
        Ok(())
    }

    fn write(&self, write: &Write, write_id: &str) -> Result<TransactWriteItem, String> {
        let table = self.table_name(write.key().table);
        let item = TransactWriteItem::builder();
        let incomplete = |error: aws_sdk_dynamodb::error::BuildError| error.to_string();
        Ok(match write {
            Write::Put { key, expect, body, expires_at } => {
                let condition = Condition::from(*expect);
                let content = item::item(key, next_version(*expect), write_id, body, *expires_at)?;
                let put = Put::builder().table_name(table).set_item(Some(content));
                let put = put.set_condition_expression(condition.expression());
                item.put(put.set_expression_attribute_values(condition.values()).build().map_err(incomplete)?)
            }
            Write::Delete { key: at, expect } => {
                let condition = Condition::from(*expect);
                let delete = Delete::builder().table_name(table).set_key(key(at));
                let delete = delete.set_condition_expression(condition.expression());
                item.delete(delete.set_expression_attribute_values(condition.values()).build().map_err(incomplete)?)
            }
            Write::Check { key: at, expect: Expect::Anything } => {
                // A check that cannot fail, but an item must have a condition.
                let check = ConditionCheck::builder().table_name(table).set_key(key(at));
                let check = check.condition_expression("attribute_exists(PK) OR attribute_not_exists(PK)");
                item.condition_check(check.build().map_err(incomplete)?)
            }
            Write::Check { key: at, expect } => {
                let condition = Condition::from(*expect);
                let check = ConditionCheck::builder().table_name(table).set_key(key(at));
                let check = check.set_condition_expression(condition.expression());
                item.condition_check(
                    check.set_expression_attribute_values(condition.values()).build().map_err(incomplete)?,
                )
            }
            Write::Adjust { key: at, fields } => {
                let update = Update::builder().table_name(table).set_key(key(at));
                item.update(adjust(update, fields, write_id).build().map_err(incomplete)?)
            }
        }
        .build())
    }

    /// An outbox item, which the table's stream carries to the relay: an event for the bus, or a message for one queue.
    fn outbox(&self, table: Table, id: &str, content: String, queue: Option<Queue>) -> Result<TransactWriteItem> {
        let mut item = Item::from([
            ("PK".to_owned(), text(&format!("{OUTBOX}{id}"))),
            ("SK".to_owned(), text("EVENT")),
            ("e".to_owned(), AttributeValue::S(content)),
            ("ttl".to_owned(), number((self.clock.now() + OUTBOX_KEPT).as_second())),
        ]);
        if let Some(queue) = queue {
            item.insert("q".to_owned(), text(queue.name()));
        }
        let put = Put::builder().table_name(self.table_name(table)).set_item(Some(item)).build();
        Ok(TransactWriteItem::builder().put(put.map_err(Error::internal)?).build())
    }
}

/// Adds to the fields, if each is a number that ends within its bounds: those of the port, and of 64 bits.
fn adjust(
    update: aws_sdk_dynamodb::types::builders::UpdateBuilder,
    fields: &[Adjustment],
    write_id: &str,
) -> aws_sdk_dynamodb::types::builders::UpdateBuilder {
    let mut update =
        update.expression_attribute_values(":one", number(1)).expression_attribute_values(":w", text(write_id));
    let (mut changes, mut conditions) = ("SET v = v + :one, w = :w".to_owned(), "attribute_exists(PK)".to_owned());
    for (at, Adjustment { field, by, at_least }) in fields.iter().enumerate() {
        let by_wide = i128::from(*by);
        let least = i128::from(at_least.unwrap_or(i64::MIN)) - by_wide;
        let most = i128::from(i64::MAX) - by_wide;
        changes += &format!(", n.#f{at} = n.#f{at} + :by{at}");
        conditions += &format!(" AND n.#f{at} BETWEEN :least{at} AND :most{at}");
        update = update
            .expression_attribute_names(format!("#f{at}"), *field)
            .expression_attribute_values(format!(":by{at}"), number(by))
            .expression_attribute_values(format!(":least{at}"), number(least))
            .expression_attribute_values(format!(":most{at}"), number(most));
    }
    update.update_expression(changes).condition_expression(conditions)
}

/// Why a transaction was cancelled: the conditions that failed, or else whatever else stopped it.
fn cancelled<R>(error: &SdkError<TransactWriteItemsError, R>, places: usize) -> Option<Failure> {
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = error.as_service_error()? else {
        return None;
    };
    let reasons = cancelled.cancellation_reasons();
    let failed = |(at, reason): (usize, &aws_sdk_dynamodb::types::CancellationReason)| {
        (reason.code() == Some("ConditionalCheckFailed") && at < places).then_some(at)
    };
    let failed: Vec<usize> = reasons.iter().enumerate().filter_map(failed).collect();
    if !failed.is_empty() {
        return Some(Failure::Condition(failed));
    }
    let other = reasons.iter().find(|reason| reason.code().is_some_and(|code| code != "None"));
    Some(match other {
        Some(reason) => Failure::of_code(reason.code().unwrap_or_default(), reason.message().unwrap_or_default()),
        None => Failure::Broken("a transaction was cancelled without a reason".to_owned()),
    })
}
