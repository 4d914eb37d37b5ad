//! A stream of Server-Sent Events: what a topic tells, from where the reader has come to, for as long as it reads.
//!
//! The stream is asked for the next piece when the last one was taken, so a slow reader costs one piece.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use http::HeaderName;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use super::ops::{self, Following, Next};
use super::{Bell, Hub, Place, Told};
use crate::app::App;
use crate::error::Result;
use crate::rest::{Describe, Operation};

/// How often something is sent to a reader for whom there is nothing: proxies cut silent connections off after a minute.
const KEEP_ALIVE_PERIOD: Duration = Duration::from_secs(15);
/// How soon a reader comes again whose stream was cut off.
const RETRY_MS: u64 = 1_000;
/// How soon it comes again where a stream ends after what is there.
const POLL_MS: u64 = 3_000;
/// When a server ends, its readers come again within this time more, not all at once.
const SPREAD_MS: u64 = 4_000;

/// An answer that is a stream of events.
pub struct EventStream(Body);

impl IntoResponse for EventStream {
    fn into_response(self) -> Response {
        let mut response = Response::new(self.0);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // What nginx goes by: a proxy that collects answers would keep what is to be told at once.
        headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
        response
    }
}

impl Describe for EventStream {
    fn describe(operation: &mut Operation) {
        operation.event_stream();
    }
}

/// One that reads a stream.
pub(super) struct Reader {
    app: App,
    /// What proved who they are.
    bearer: Option<String>,
    check_at: Option<Instant>,
    /// The topic, as it was asked for.
    topic: String,
    following: Following,
    bell: Bell,
}

impl Reader {
    pub(super) fn new(app: App, bearer: Option<String>, topic: String, following: Following, bell: Bell) -> Self {
        Reader { app, bearer, check_at: None, topic, following, bell }
    }

    /// A stream that goes on until the reader goes away or the server ends.
    pub(super) fn endless(self, hub: Hub, place: Place) -> EventStream {
        let begun = (self, hub, place, State::Begun);
        let pieces = unfold(begun, async |(mut reader, hub, place, state)| {
            let (piece, state) = match state {
                State::Begun => (reader.prelude(RETRY_MS), State::Reading),
                State::Reading => reader.piece(&hub).await?,
                State::Ended => return None,
            };
            Some((Ok::<_, Infallible>(piece), (reader, hub, place, state)))
        });
        EventStream(Body::from_stream(pieces))
    }

    /// All that there is now, at most a page of it; the reader comes again for the rest.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn whole(mut self) -> Result<EventStream> {
        let next = self.following.next(&self.app).await?;
        Ok(EventStream(Body::from(self.prelude(POLL_MS) + &self.write(&next))))
    }

    /// When to come again, and the number after which to go on then.
    fn prelude(&self, retry_ms: u64) -> String {
        let id = self.following.position().map(|position| format!("id: {position}\n")).unwrap_or_default();
        format!("retry: {retry_ms}\n{id}\n")
    }

    /// The next piece, as soon as there is one; none when nothing more can be told.
    async fn piece(&mut self, hub: &Hub) -> Option<(String, State)> {
        let keep_alive_at = Instant::now() + KEEP_ALIVE_PERIOD;
        loop {
            let check_at = *self.check_at.get_or_insert_with(|| Instant::now() + hub.check_period());
            if Instant::now() >= check_at {
                ops::check_again(&self.app, self.bearer.as_deref()).await.ok()?;
                self.check_at = None;
            }
            match self.following.next(&self.app).await {
                Ok(next) if next.told.is_empty() && next.reached.is_none() => {}
                Ok(next) => return Some((self.write(&next), State::Reading)),
                Err(error) => {
                    tracing::debug!(topic = self.topic, %error, "a stream ends early");
                    return None;
                }
            }
            if self.following.is_behind() {
                continue;
            }
            tokio::select! {
                biased;
                () = hub.closed() => return Some((self.farewell(), State::Ended)),
                () = self.bell.rung() => {}
                () = sleep_until(check_at) => {}
                () = sleep_until(keep_alive_at) => return Some((":\n\n".to_owned(), State::Reading)),
            }
        }
    }

    fn farewell(&self) -> String {
        format!("retry: {}\n\n", RETRY_MS + self.app.ids.random() % SPREAD_MS)
    }

    fn write(&self, next: &Next) -> String {
        let mut text: String = next.told.iter().map(|told| self.event(told)).collect();
        let last_told = next.told.last().and_then(Told::sequence);
        // Of what is not for this topic a reader learns the number, so that it is not looked at again.
        if let Some(reached) = next.reached.filter(|reached| Some(*reached) != last_told) {
            text += &format!("id: {reached}\n\n");
        }
        text
    }

    fn event(&self, told: &Told) -> String {
        #[derive(Serialize)]
        struct Data<'a> {
            topic: &'a str,
            #[serde(flatten)]
            told: &'a Told,
        }
        let data = serde_json::to_string(&Data { topic: &self.topic, told });
        let data = data.expect("what is told has a JSON form: it is made of strings, numbers and lists of them");
        let id = told.sequence().map(|sequence| format!("id: {sequence}\n")).unwrap_or_default();
        format!("event: {}\n{id}data: {data}\n\n", told.event())
    }
}

/// How far a stream has come.
enum State {
    Begun,
    Reading,
    Ended,
}
