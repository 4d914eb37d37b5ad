//! Answers that are kept as they were sent, until something changes in the table they were made of.
//!
//! Only for what is the same for everybody and is asked for again and again: the first pages of a shop. Whether an answer is
//! still good is asked of the [revision](crate::store::Store::revision) of its table, so an answer is never older than what
//! was acknowledged before the request came; a store that has no revisions has every answer made anew.

use std::marker::PhantomData;
use std::sync::OnceLock;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderMap;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde::Serialize;

use super::extract::List;
use super::reply::Reply;
use crate::app::App;
use crate::error::Result;
use crate::store::Table;

/// Memory for kept answers, roughly.
const KEPT_BYTES: u64 = 4 * 1024 * 1024;
/// Answers the cache is laid out for.
const KEPT_ANSWERS: usize = 512;
/// Largest answer that is kept, with its URL: far more than a page of a hundred products usually has.
const MAX_KEPT_BYTES: usize = 256 * 1024;
/// What an answer takes besides its body and its URL: the headers, and the map's own overhead.
const OVERHEAD_BYTES: usize = 700;

/// A successful answer.
#[derive(Clone)]
struct Answer {
    headers: HeaderMap,
    body: Bytes,
}

/// What is kept of one process, once there is something: most functions on AWS never keep anything. An answer is good while the
/// revision it was made at is that of its table.
#[derive(Default)]
pub struct KeptAnswers(OnceLock<Cache<String, (u64, Answer), Weight>>);

#[derive(Clone)]
struct Weight;

impl Weighter<String, (u64, Answer)> for Weight {
    fn weight(&self, url: &String, (_, answer): &(u64, Answer)) -> u64 {
        (url.len() + answer.body.len() + OVERHEAD_BYTES) as u64
    }
}

impl KeptAnswers {
    fn find(&self, url: &str, revision: u64) -> Option<Answer> {
        let (made_at, answer) = self.0.get()?.get(url)?;
        (made_at == revision).then_some(answer)
    }

    fn keep(&self, url: &str, revision: u64, answer: &Answer) {
        if url.len() + answer.body.len() <= MAX_KEPT_BYTES {
            let answers = self.0.get_or_init(|| Cache::with_weighter(KEPT_ANSWERS, KEPT_BYTES, Weight));
            answers.insert(url.to_owned(), (revision, answer.clone()));
        }
    }
}

/// The answer to a `GET` of a list that is the same for everybody, made now or kept.
pub struct Kept<T> {
    answer: Answer,
    body: PhantomData<fn() -> T>,
}

impl<T: Serialize> Kept<T> {
    /// The page `list` of what is in `table` and nowhere else: as it was kept, or else as `make` makes it.
    ///
    /// # Errors
    /// Those of `make`, which are not kept.
    pub async fn page(
        app: &App,
        table: Table,
        list: &List,
        make: impl Future<Output = Result<Reply<200, T>>>,
    ) -> Result<Self> {
        let kept = |answer| Kept { answer, body: PhantomData };
        // Asked before anything is read: what is changed meanwhile makes the answer an old one.
        let Some(revision) = app.store.revision(table) else { return Answer::of(make.await?).map(kept) };
        if let Some(answer) = app.kept().find(list.url(), revision) {
            return Ok(kept(answer));
        }
        let answer = Answer::of(make.await?)?;
        app.kept().keep(list.url(), revision, &answer);
        Ok(kept(answer))
    }
}

impl Answer {
    fn of<T: Serialize>(reply: Reply<200, T>) -> Result<Answer> {
        let (headers, json) = reply.into_parts()?;
        Ok(Answer { headers, body: Bytes::from(json) })
    }
}

impl<T> IntoResponse for Kept<T> {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.answer.body));
        *response.headers_mut() = self.answer.headers;
        response
    }
}
