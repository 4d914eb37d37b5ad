//! The feed over HTTP: parse, begin, answer.

use axum::extract::FromRequestParts;
use http::HeaderName;
use http::header::AUTHORIZATION;
use http::request::Parts;
use serde::Deserialize;
use utoipa::IntoParams;

use super::ops::{self, Following};
use super::stream::{EventStream, Reader};
use super::{Bell, MAX_TOPIC_BYTES, Topic};
use crate::app::App;
use crate::error::{Error, Result};
use crate::rest::{Caller, Describe, Operation, Params, bearer};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What to listen to, and from where on.
#[derive(Deserialize, IntoParams)]
pub struct FeedParams {
    /// `order:<id>`, `customer:<username>`, `operators`, `queue:<name>` or `purchases`.
    #[param(required = true)]
    topic: Option<String>,
    /// Begin after the entry with this number; 0 is all there is. Without it, and without `Last-Event-ID`: from now on.
    after: Option<u64>,
}

/// Who listens, and what they have seen already.
pub struct Listener {
    caller: Caller,
    last_event_id: Option<u64>,
    bearer: Option<String>,
}

impl FromRequestParts<App> for Listener {
    type Rejection = Error;
    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self> {
        let caller = parts.extensions.get::<Caller>().cloned().unwrap_or_default();
        let id = parts.headers.get(LAST_EVENT_ID).filter(|id| !id.is_empty());
        let id = id.map(|id| id.to_str().ok().and_then(|id| id.trim().parse().ok()).ok_or_else(not_an_id));
        // The door has found it good.
        let bearer = parts.headers.get(AUTHORIZATION).and_then(|value| bearer(value).ok()).map(str::to_owned);
        Ok(Listener { caller, last_event_id: id.transpose()?, bearer })
    }
}

fn not_an_id() -> Error {
    Error::field("?after", "Last-Event-ID must be the id of an event of this topic, a whole number")
}

impl Describe for Listener {
    fn describe(operation: &mut Operation) {
        operation.header("Last-Event-ID", "The id of the last event you have seen; goes before `after`.");
    }
}

pub(crate) async fn follow(app: App, Params(params): Params<FeedParams>, listener: Listener) -> Result<EventStream> {
    let text = params.topic.ok_or_else(|| Error::field("?topic", "is missing"))?;
    if text.len() > MAX_TOPIC_BYTES {
        return Err(Error::field("?topic", format!("must be at most {MAX_TOPIC_BYTES} characters")));
    }
    let source = ops::source_of(&app, &text.parse::<Topic>()?).await?;
    let hub = app.live().hub().cloned();
    let place = hub.map(|hub| hub.place(&listener.caller).map(|place| (hub, place))).transpose()?;
    let bell = Bell::default();
    let after = listener.last_event_id.or(params.after);
    let following = Following::begin(&app, source, after, &bell).await?;
    let reader = Reader::new(app, listener.bearer, text, following, bell);
    match place {
        Some((hub, place)) => Ok(reader.endless(hub, place)),
        None => reader.whole().await,
    }
}
