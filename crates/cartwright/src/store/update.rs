//! Load → decide → commit, again when someone else was first, and once per `Idempotency-Key`.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Batch, CommitError, Expect, Key, Table};
use crate::access;
use crate::app::App;
use crate::error::{Error, Kind, Result};

/// How often an operation decides again after losing a race. Twenty racers of one document all get through.
const MAX_ATTEMPTS: u32 = 25;
/// Longest pause between two attempts.
const MAX_PAUSE_MS: u64 = 50;
/// How long the answer to an `Idempotency-Key` is kept.
pub const ANSWER_KEPT: SignedDuration = SignedDuration::from_hours(24);

/// What an operation decided: the batch to commit, and its result if that succeeds.
pub struct Change<T> {
    /// What to commit. Empty when the operation was a no-op; then only the answer to an `Idempotency-Key` is.
    pub batch: Batch,
    /// What the operation answers.
    pub result: T,
}

/// Runs `decide` and commits what it decided; runs it again, from its reads, when a write did not find what it
/// expected. With a key in `once`, the result is stored in the same commit, and every later call with the same key
/// returns that first result without deciding anything. What staff and admins change is told in the same commit
/// ([`ActionTaken`](crate::access::ActionTaken)).
///
/// # Errors
/// Those of `decide`; `contention` (503) after losing 25 races in a row; `idempotency_key_reused` (422); an internal one when a
/// customer's request got here and nobody asked whether what it changes is theirs.
pub async fn transact<T, F, Decision>(app: &App, once: &Once, table: Table, decide: F) -> Result<T>
where
    T: Serialize + DeserializeOwned,
    F: Fn() -> Decision,
    Decision: Future<Output = Result<Change<T>>>,
{
    for attempt in 1.. {
        let expect = match once.find(app, table).await? {
            Prior::Answer(answer) => return Ok(answer),
            Prior::Nothing(expect) => expect,
        };
        let Change { mut batch, result } = decide().await?;
        if batch.is_empty() && once.0.is_none() {
            return Ok(result);
        }
        app.principal().must_be_settled()?;
        access::note_action(app, &mut batch).await?;
        once.record(app, &mut batch, expect, &result)?;
        match app.store.commit(batch).await {
            Ok(()) => return Ok(result),
            Err(error @ CommitError::Conflict(_)) if attempt == MAX_ATTEMPTS => return Err(error.into()),
            Err(CommitError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let ceiling_ms = MAX_PAUSE_MS.min(1 << attempt.min(10));
        tokio::time::sleep(Duration::from_millis(app.ids.random() % ceiling_ms)).await;
    }
    unreachable!("the loop ends by returning")
}

/// A request's claim to be carried out once: its `Idempotency-Key` and a fingerprint of what it asks, or nothing when
/// the caller sent no key.
#[derive(Debug, Clone, Default)]
pub struct Once(Option<Arc<Claim>>);

#[derive(Debug)]
struct Claim {
    key: String,
    fingerprint: String,
    running: Arc<InFlight>,
    /// The claim this is a part of, held as long as its parts.
    whole: Option<Arc<Claim>>,
}

/// The keys of the requests that are being carried out in this process.
#[derive(Debug, Default)]
pub struct InFlight(Mutex<HashSet<String>>);

#[derive(Serialize, Deserialize)]
struct Answer<T> {
    fingerprint: String,
    expires_at: Timestamp,
    answer: T,
}

/// What is stored under a claim's key: the answer of an earlier request, or nothing that counts and what a write of the
/// answer must then expect to find (an expired answer may lie there until the store removes it).
enum Prior<T> {
    Answer(T),
    Nothing(Expect),
}

impl Once {
    /// No key: carried out as often as it is asked.
    pub const fn unkeyed() -> Self {
        Once(None)
    }

    /// Claims `key` for a request with this `fingerprint`, until the last clone of the claim is dropped. The stored answer
    /// lies in the table of the operation: a key sent with operations of two services is two keys.
    ///
    /// # Errors
    /// `idempotency_key_in_use` (409) while another request with the key is running in this process. Between processes
    /// the commit itself decides: the later one finds the first one's answer.
    pub fn claim(running: &Arc<InFlight>, key: String, fingerprint: String) -> Result<Self> {
        let mut keys = running.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !keys.insert(key.clone()) {
            let message = "A request with this Idempotency-Key is being carried out; its answer will be replayed when it is done.";
            return Err(Error::new(Kind::Conflict, "idempotency_key_in_use", message));
        }
        drop(keys);
        Ok(Once(Some(Arc::new(Claim { key, fingerprint, running: Arc::clone(running), whole: None }))))
    }

    /// The claim for one of several commits a request needs, each of which is done once and has an answer of its own. No
    /// key of a caller is like that of a part: theirs have no spaces.
    pub fn part(&self, at: usize) -> Self {
        let part = |whole: &Arc<Claim>| Claim {
            key: format!("{} {at}", whole.key),
            fingerprint: whole.fingerprint.clone(),
            running: Arc::clone(&whole.running),
            whole: Some(Arc::clone(whole)),
        };
        Once(self.0.as_ref().map(|whole| Arc::new(part(whole))))
    }

    /// What an earlier request with this key left.
    async fn find<T: DeserializeOwned>(&self, app: &App, table: Table) -> Result<Prior<T>> {
        let absent = Ok(Prior::Nothing(Expect::Absent));
        let Some(claim) = &self.0 else { return absent };
        let Some(doc) = app.store.get(&claim.document(table)).await? else { return absent };
        let stored: Answer<Box<RawValue>> = doc.parse_owned()?;
        if stored.expires_at <= app.clock.now() {
            return Ok(Prior::Nothing(Expect::Version(doc.version)));
        }
        if stored.fingerprint != claim.fingerprint {
            let message = "This Idempotency-Key was used for another request; use a new key for a new request.";
            return Err(Error::new(Kind::Unprocessable, "idempotency_key_reused", message));
        }
        Ok(Prior::Answer(serde_json::from_str(stored.answer.get()).map_err(Error::internal)?))
    }

    /// Adds the answer to the batch, so that both happen or neither.
    fn record<T: Serialize>(&self, app: &App, batch: &mut Batch, expect: Expect, answer: &T) -> Result<()> {
        let Some(claim) = &self.0 else { return Ok(()) };
        let expires_at = app.clock.now() + ANSWER_KEPT;
        let stored = Answer { fingerprint: claim.fingerprint.clone(), expires_at, answer };
        batch.put_until(claim.document(batch.table), expect, &stored, expires_at)?;
        Ok(())
    }
}

impl Claim {
    fn document(&self, table: Table) -> Key {
        Key::new(table, format!("IDEMPOTENCY#{}", self.key), "ANSWER")
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.whole.is_some() {
            return;
        }
        self.running.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_refused_while_its_request_runs_and_free_after() {
        let running = Arc::new(InFlight::default());
        let first = Once::claim(&running, "k".into(), "f".into()).unwrap();
        let refused = Once::claim(&running, "k".into(), "f".into()).unwrap_err();
        assert_eq!(refused.code(), "idempotency_key_in_use");
        drop(first);
        assert!(Once::claim(&running, "k".into(), "f".into()).is_ok());
    }
}
