//! A store that misbehaves when told to.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cartwright::error::{Error, Kind, Result};
use cartwright::events::Envelope;
use cartwright::local::sqlite::SqliteStore;
use cartwright::store::{Batch, CommitError, Doc, Key, Page, Range, Store, Table};

/// What goes wrong with the next commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Goes well: the fault is in a later one.
    Pass,
    /// Fails, and nothing happened.
    Refuse,
    /// Fails, although it happened.
    LoseAnswer,
    /// Panics.
    Panic,
    /// Never returns.
    Hang,
}

/// A real store behind which faults can be put.
pub struct FaultyStore {
    inner: Arc<SqliteStore>,
    faults: Mutex<Vec<Fault>>,
    emitted: Mutex<Vec<Envelope>>,
}

impl FaultyStore {
    pub fn new(inner: Arc<SqliteStore>) -> Self {
        FaultyStore { inner, faults: Mutex::default(), emitted: Mutex::default() }
    }

    /// Every event that was to be emitted, in order.
    pub fn emitted(&self) -> Vec<Envelope> {
        self.emitted.lock().unwrap().clone()
    }

    /// The next commits go wrong in these ways, one each.
    pub fn next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap().extend(faults);
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn get(&self, key: &Key) -> Result<Option<Doc>> {
        self.inner.get(key).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Doc>>> {
        self.inner.get_many(keys).await
    }

    async fn list(&self, range: &Range, after: Option<&str>, limit: usize) -> Result<Page> {
        self.inner.list(range, after, limit).await
    }

    fn health(&self) -> Result<()> {
        self.inner.health()
    }

    fn revision(&self, table: Table) -> Option<u64> {
        self.inner.revision(table)
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        self.emitted.lock().unwrap().extend(batch.events.iter().cloned());
        let fault = {
            let mut faults = self.faults.lock().unwrap();
            if faults.is_empty() { None } else { Some(faults.remove(0)) }
        };
        let failed =
            || CommitError::Failed(Error::new(Kind::Unavailable, "storage_failed", "A fault that a test put in."));
        match fault {
            None | Some(Fault::Pass) => self.inner.commit(batch).await,
            Some(Fault::Refuse) => Err(failed()),
            Some(Fault::LoseAnswer) => self.inner.commit(batch).await.and(Err(failed())),
            Some(Fault::Panic) => panic!("a fault that a test put in"),
            Some(Fault::Hang) => std::future::pending().await,
        }
    }
}
