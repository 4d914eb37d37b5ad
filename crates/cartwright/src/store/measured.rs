//! A store whose commits are counted, and with them what happened in the shop.
//!
//! An event is counted when the commit that emits it is durable, in whichever home: what the figures tell of orders is what
//! the shop itself says, not what was asked of it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use serde::Deserialize;

use super::{Batch, CommitError, Doc, Key, Page, Range, Store, Table};
use crate::error::{Error, Result};
use crate::events::Envelope;
use crate::metrics::{COMMIT_DURATION, COMMITS, EVENTS, ORDER_VALUE, ORDERS, Registry};
use crate::trace::{self, Role};
use crate::values::Money;

/// Another store, and the metrics of what is committed to it.
pub struct Measured {
    store: Arc<dyn Store>,
    registry: Arc<Registry>,
}

/// What is read of an order's event.
#[derive(Deserialize)]
struct Placed {
    total: Money,
}

/// What of a batch's events is counted once they are durable.
struct Facts(Vec<(String, Option<Money>)>);

impl Measured {
    /// Measures `store`.
    pub fn new(store: Arc<dyn Store>, registry: Arc<Registry>) -> Self {
        Measured { store, registry }
    }
}

impl Facts {
    fn of(events: &[Envelope]) -> Self {
        let fact = |event: &Envelope| {
            let is_placed = event.detail_type == "OrderPlaced";
            let placed = is_placed.then(|| serde_json::from_str(event.detail.get()).ok()).flatten();
            (event.detail_type.clone(), placed.map(|Placed { total }| total))
        };
        Facts(events.iter().map(fact).collect())
    }

    fn count(&self, registry: &Registry) {
        for (event, total) in &self.0 {
            registry.counter(EVENTS, &[event]).increment();
            if let Some(step) = event.strip_prefix("Order") {
                registry.counter(ORDERS, &[&step.to_ascii_lowercase()]).increment();
            }
            if let Some(total) = total {
                let value = u64::try_from(total.amount).unwrap_or(0);
                registry.counter(ORDER_VALUE, &[total.currency.code()]).add(value);
            }
        }
    }
}

/// Reads are handed on as they are, without a step in between, unless their trace is recorded: they are the hot path.
type Read<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// A read, as a step of its trace if that is recorded.
fn traced<'a, T: 'a>(what: &'static str, table: Option<Table>, read: Read<'a, T>) -> Read<'a, T> {
    if !trace::is_recorded() {
        return read;
    }
    Box::pin(async move {
        let span = trace::span(Role::Client, || format!("{what} {}", table.map_or("nothing", Table::name)));
        let result = read.await;
        if let Some(span) = span {
            span.done(result.as_ref().err().map(Error::code));
        }
        result
    })
}

#[async_trait]
impl Store for Measured {
    fn get<'a, 'k, 'f>(&'a self, key: &'k Key) -> Read<'f, Option<Doc>>
    where
        'a: 'f,
        'k: 'f,
    {
        traced("get", Some(key.table), self.store.get(key))
    }

    fn get_many<'a, 'k, 'f>(&'a self, keys: &'k [Key]) -> Read<'f, Vec<Option<Doc>>>
    where
        'a: 'f,
        'k: 'f,
    {
        traced("get", keys.first().map(|key| key.table), self.store.get_many(keys))
    }

    fn list<'a, 'r, 'k, 'f>(&'a self, range: &'r Range, after: Option<&'k str>, limit: usize) -> Read<'f, Page>
    where
        'a: 'f,
        'r: 'f,
        'k: 'f,
    {
        traced("list", Some(range.partition.table), self.store.list(range, after, limit))
    }

    fn health(&self) -> Result<()> {
        self.store.health()
    }

    fn revision(&self, table: Table) -> Option<u64> {
        self.store.revision(table)
    }

    async fn commit(&self, mut batch: Batch) -> Result<(), CommitError> {
        let span = trace::span(Role::Producer, || format!("commit {}", batch.table.name()));
        if let Some(span) = &span {
            // What comes of an event comes of the commit that emitted it.
            batch.events.iter_mut().for_each(|event| event.traceparent = Some(span.context()));
        }
        let (table, facts, began) = (batch.table.name(), Facts::of(&batch.events), Instant::now());
        let result = self.store.commit(batch).await;
        self.registry.histogram(COMMIT_DURATION, &[table]).time(began.elapsed());
        let outcome = match &result {
            Ok(()) => "committed",
            Err(CommitError::Conflict(_)) => "conflict",
            Err(CommitError::Refused(_)) => "refused",
            Err(CommitError::Failed(_)) => "failed",
        };
        if let Some(mut span) = span {
            let names: Vec<&str> = facts.0.iter().map(|(event, _)| event.as_str()).collect();
            span.set("cartwright.events", names.join(" ").as_str());
            span.done(result.is_err().then_some(outcome));
        }
        self.registry.counter(COMMITS, &[table, outcome]).increment();
        if result.is_ok() {
            facts.count(&self.registry);
        }
        result
    }
}
