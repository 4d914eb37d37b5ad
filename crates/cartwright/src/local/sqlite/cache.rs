//! Documents in memory: what readers found and what the writer committed, never older than what was acknowledged.

use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::{DefaultLifecycle, GuardResult};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use rusqlite::Connection;

use super::read_document;
use crate::store::{Doc, Key, Table};

/// Memory for cached documents, keys and parsed forms included, roughly.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// Documents the cache is laid out for.
const CACHE_DOCUMENTS: usize = 16 * 1024;
/// Parts of the cache at most, whatever the machine.
const MAX_CACHE_SHARDS: usize = 64;
/// Largest document that is cached: a few large ones must not drive out many small ones.
const MAX_CACHED_BYTES: usize = 16 * 1024;

/// What is known of documents: what they are, or that there is none under the key. And how often each table, and the
/// file, was changed since the store was opened.
pub(super) struct Cache {
    documents: quick_cache::sync::Cache<Key, Option<Doc>, CacheWeight>,
    revisions: [AtomicU64; Table::ALL.len()],
    changes: AtomicU64,
}

#[derive(Clone)]
struct CacheWeight;

impl Weighter<Key, Option<Doc>> for CacheWeight {
    /// The text, about as much again for its parsed form, the keys, and the maps' own overhead.
    fn weight(&self, key: &Key, doc: &Option<Doc>) -> u64 {
        let text = doc.as_ref().map_or(0, |doc| doc.body.text().len());
        (text * 2 + key.pk.len() + key.sk.len() * 2 + 200) as u64
    }
}

impl Cache {
    /// An empty cache, in so few parts that each has room for several of the largest documents: one without would let a reader
    /// install what it read before the writer changed it.
    pub(super) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let options = OptionsBuilder::new()
            .estimated_items_capacity(CACHE_DOCUMENTS)
            .weight_capacity(CACHE_BYTES)
            .shards((cores * 4).min(MAX_CACHE_SHARDS))
            .build()
            .expect("both capacities are given");
        let (hash, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
        let documents = quick_cache::sync::Cache::with_options(options, CacheWeight, hash, lifecycle);
        Cache { documents, revisions: Default::default(), changes: AtomicU64::new(0) }
    }

    /// What is known of the document under `key`.
    pub(super) fn get(&self, key: &Key) -> Option<Option<Doc>> {
        self.documents.get(key)
    }

    /// Takes over what a group that wrote has made of documents; what is `None` was deleted. To be called once it is durable, before
    /// anybody is told.
    pub(super) fn update(&self, changed: impl IntoIterator<Item = (Key, Option<Doc>)>) {
        self.changes.fetch_add(1, Ordering::Relaxed);
        let mut tables = [false; Table::ALL.len()];
        for (key, doc) in changed {
            tables[key.table as usize] = true;
            match doc {
                Some(doc) if is_cacheable(&doc) => self.documents.insert(key, Some(doc)),
                _ => drop(self.documents.remove(&key)),
            }
        }
        // Last: who reads after asking for the new revision must not find what was there before.
        for (revision, _) in self.revisions.iter().zip(tables).filter(|(_, is_changed)| *is_changed) {
            revision.fetch_add(1, Ordering::Release);
        }
    }

    pub(super) fn revision(&self, table: Table) -> u64 {
        self.revisions[table as usize].load(Ordering::Acquire)
    }

    /// How often the file was changed so far, be it only in its queues.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    pub(super) fn hits(&self) -> u64 {
        self.documents.hits()
    }

    pub(super) fn misses(&self) -> u64 {
        self.documents.misses()
    }
}

/// Reads a document past the cache, and puts what was found there, also that there is none, unless the writer has changed it
/// meanwhile: the placeholder that is taken before reading is gone when the writer has touched the key.
pub(super) fn read_through(connection: &Connection, cache: &Cache, key: &Key) -> rusqlite::Result<Option<Doc>> {
    let found = match cache.documents.get_value_or_guard(key, None) {
        GuardResult::Value(known) => known,
        GuardResult::Guard(guard) => {
            let found = read_document(connection, key)?;
            if found.as_ref().is_none_or(is_cacheable) {
                let _ = guard.insert(found.clone());
            }
            found
        }
        GuardResult::Timeout => read_document(connection, key)?,
    };
    // What was read may be newer than the cache, by a group that is committed and not yet acknowledged. Then the next
    // reader would find an older document than this one: better to see what that one will.
    Ok(cache.get(key).unwrap_or(found))
}

fn is_cacheable(doc: &Doc) -> bool {
    doc.body.text().len() <= MAX_CACHED_BYTES
}
