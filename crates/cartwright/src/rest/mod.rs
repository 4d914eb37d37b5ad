//! The door: what happens to every request, whatever runs behind it.
//!
//! [`Door::answer`] is the same in the binary, in a test and in a Lambda function: it names the request, trims the path, finds
//! out who makes it, refuses what is beyond the host's limits, bounds the time, turns a panic and every error into an RFC 9457
//! problem, and logs what went wrong on our side.

mod browsers;
mod describe;
mod extract;
mod kept;
mod limits;
mod put_events;
mod reply;
mod watch;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body as HttpBody;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::header::{
    ALLOW, AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{Request, StatusCode, Uri};
use tokio::time::timeout;
use tower::Service;

use crate::access::{self, Principal};
use crate::app::App;
use crate::error::{Error, Kind, Result};
use limits::{Admission, keep_slot};
use watch::Watch;

pub use browsers::Cors;
pub use describe::{Describe, Documented, Operation, Routes};
pub(crate) use extract::IDEMPOTENCY_KEY;
pub use extract::{Bare, IfMatch, KeyId, List, Listing, Params, PathValue, Post, Put, Segment, decode, time_in_query};
pub use kept::{Kept, KeptAnswers};
pub use limits::{Caller, LimitSettings, Limits, Rate, Slot, network, slot_of};
pub(crate) use limits::{CallerKey, Refusals, SMALL_BODY_BYTES, Share, Shares};
pub use put_events::put_events;
pub use reply::{Classic, Items, NoContent, Nothing, Reply, Upserted};

/// Longest a request may take, body and answer included. A client that waits longer has given up.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest request body. A full basket is under 10 KB; a document of 400 KB would be refused by the store.
pub const MAX_BODY_BYTES: usize = 256 * 1024;
/// Longest request id taken over from a caller.
const MAX_REQUEST_ID_BYTES: usize = 128;
/// What a caller is told to wait before trying again after a 503, or a 429 that does not know it better, in seconds.
const RETRY_AFTER_S: &str = "1";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request, in its extensions.
#[derive(Debug, Clone)]
pub struct RequestId(pub Arc<str>);

/// In the extensions of a request that comes from a page of an origin to which the API is open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OfAllowedOrigin;

/// A router behind the door.
#[derive(Clone)]
pub struct Door {
    router: Router,
    app: App,
    ids: Arc<RequestIds>,
    timeout: Duration,
    limits: Option<Arc<Limits>>,
    cors: Cors,
    is_local_only: bool,
    watch: Arc<Watch>,
}

/// Names requests: a random prefix for the process and a count.
struct RequestIds {
    prefix: u32,
    count: AtomicU64,
}

impl Door {
    /// `router`, behind the door.
    pub fn new(router: Router, app: &App) -> Self {
        let prefix = (app.ids.random() >> 32) as u32;
        let ids = Arc::new(RequestIds { prefix, count: AtomicU64::new(0) });
        let watch = Arc::new(Watch::new(app, []));
        Door {
            router,
            app: app.clone(),
            ids,
            timeout: REQUEST_TIMEOUT,
            limits: None,
            cors: Cors::default(),
            is_local_only: false,
            watch,
        }
    }

    /// With these patterns of its routes, by which the metrics and the log of requests go.
    pub fn watching(self, app: &App, patterns: impl IntoIterator<Item = &'static str>) -> Self {
        Door { watch: Arc::new(Watch::new(app, patterns)), ..self }
    }

    /// With another time limit than [`REQUEST_TIMEOUT`].
    pub fn timeout(self, timeout: Duration) -> Self {
        Door { timeout, ..self }
    }

    /// Open to pages of these origins.
    pub fn shared_with(self, cors: Cors) -> Self {
        Door { cors, ..self }
    }

    /// For this machine alone: what pages from elsewhere make its browsers send is refused.
    pub fn local_only(self) -> Self {
        Door { is_local_only: true, ..self }
    }

    /// With limits to what it takes on.
    pub fn limited(self, limits: Limits) -> Self {
        Door { limits: Some(Arc::new(limits)), ..self }
    }

    /// Answers one request with a problem, whatever it asks.
    pub fn refuse<B>(&self, request: &Request<B>, error: &Error) -> Response {
        let (id, id_header) = self.request_id(request);
        let mut visit = self.watch.begin(request);
        let mut response = self.problem_response(error, &id, None);
        response.headers_mut().insert(REQUEST_ID, id_header);
        visit.answered(response.status());
        response
    }

    /// Answers one request. Never fails and never panics: what goes wrong inside is an answer too.
    pub async fn answer(&self, mut request: Request<HttpBody>) -> Response {
        let (id, id_header) = self.request_id(&request);
        request.extensions_mut().insert(RequestId(Arc::clone(&id)));
        trim_slash(request.uri_mut());
        let mut visit = self.watch.begin(&request);
        let scope = visit.scope(&id);
        let work = async {
            let response = self.carry_out(request, &id, id_header).await;
            visit.answered(response.status());
            response
        };
        let response = scope.run(work).await;
        if let Some(limits) = &self.limits
            && matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
        {
            limits.delay_refusal().await;
        }
        response
    }

    async fn carry_out(&self, mut request: Request<HttpBody>, id: &str, id_header: HeaderValue) -> Response {
        let seen = request.headers_mut().remove(IF_NONE_MATCH).filter(|_| request.method().is_safe());
        let origin = self.cors.allows(request.headers());
        let place = self.limits.as_ref().map(|limits| limits.enter()).transpose();
        let known = match self.is_local_only.then(|| browsers::must_be_local(&request, &self.cors)) {
            Some(Err(foreign)) => Err(foreign),
            _ if place.is_err() => Ok(false),
            _ => timeout(self.timeout, self.authenticate(&mut request)).await.unwrap_or_else(|_| Err(timed_out())),
        };
        let is_of_somebody = known.as_ref().is_ok_and(|is_known| *is_known);
        if origin.is_some() {
            request.extensions_mut().insert(OfAllowedOrigin);
        }
        let Admission { outcome, standing } = match (place, &self.limits) {
            (Err(overloaded), _) => Admission::refused(overloaded),
            (Ok(Some(place)), Some(limits)) => limits.admit(&request, place),
            (Ok(_), _) => Admission::free(),
        };
        let (slot, mut response) = match (outcome, known) {
            (Ok(slot), Ok(_)) => match self.cors.preflight(&request) {
                Some(response) => (slot, response),
                None => (slot, self.route(request).await),
            },
            (Err(refused), _) | (Ok(_), Err(refused)) => (None, refused.into_response()),
        };
        let error = match response.extensions_mut().remove::<Error>() {
            None if response.status().is_success() => None,
            None => unrouted(&response),
            error => error,
        };
        if seen.is_some_and(|seen| response.status() == StatusCode::OK && is_same(&seen, response.headers().get(ETAG)))
        {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.body_mut() = HttpBody::empty();
        }
        if let Some(error) = error {
            response = self.problem_response(&error, id, response.headers().get(ALLOW));
        }
        response.headers_mut().insert(REQUEST_ID, id_header);
        browsers::harden(response.headers_mut(), is_of_somebody);
        if let Some(origin) = origin {
            browsers::share(response.headers_mut(), origin);
        }
        if let Some(standing) = standing {
            standing.write(response.headers_mut());
        }
        if let Some(slot) = slot {
            keep_slot(slot, &mut response);
        }
        response
    }

    /// Finds out who makes a request, and tells all that comes after: the limits by whom to count it, the guards whom to let
    /// pass. A credential that is no good counts against the address it came from. Whether it is somebody in particular.
    async fn authenticate(&self, request: &mut Request<HttpBody>) -> Result<bool> {
        let principal = match request.headers().get(AUTHORIZATION) {
            Some(value) if self.app.access.is_required() => access::authenticate(&self.app, bearer(value)?).await?,
            _ => self.app.access.nobody(),
        };
        if let Principal::Known(known) = &principal {
            let credential = Some(Arc::clone(&known.id));
            request.extensions_mut().get_or_insert_default::<Caller>().credential = credential;
        }
        let is_known = matches!(principal, Principal::Known(_));
        request.extensions_mut().insert(Arc::new(principal));
        Ok(is_known)
    }

    /// Calls the router, with a limit to its time and an end to its panics.
    async fn route(&self, request: Request<HttpBody>) -> Response {
        let mut router = self.router.clone();
        let answer = AssertUnwindSafe(async move { router.call(request).await }).catch_unwind();
        match timeout(self.timeout, answer).await {
            Ok(Ok(Ok(response))) => response,
            Ok(Ok(Err(never))) => match never {},
            Ok(Err(panic)) => Error::internal(format!("a handler panicked: {}", panic_text(&*panic))).into_response(),
            Err(_) => timed_out().into_response(),
        }
    }

    fn problem_response(&self, error: &Error, request_id: &str, allow: Option<&HeaderValue>) -> Response {
        if error.kind() == Kind::Internal {
            tracing::error!(%error, "a request failed on our side");
        } else if error.kind() == Kind::Unavailable {
            tracing::warn!(%error, "a request could not be served now");
        }
        let mut response = Response::new(HttpBody::from(error.problem(request_id).to_string()));
        *response.status_mut() = error.kind().status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(allow) = allow {
            headers.insert(ALLOW, allow.clone());
        }
        if error.kind() == Kind::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(error.kind(), Kind::TooManyRequests | Kind::Overloaded | Kind::Unavailable) {
            self.watch.refused(error.code());
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
        }
        response
    }

    fn request_id<B>(&self, request: &Request<B>) -> (Arc<str>, HeaderValue) {
        let theirs = request.headers().get(REQUEST_ID).and_then(|value| Some((value.to_str().ok()?, value)));
        if let Some((text, value)) = theirs
            && is_request_id(text)
        {
            return (Arc::from(text), value.clone());
        }
        let text = format!("{:08x}-{:x}", self.ids.prefix, self.ids.count.fetch_add(1, Ordering::Relaxed));
        let header = HeaderValue::from_str(&text).expect("hexadecimal digits and a dash are a header value");
        (Arc::from(text), header)
    }
}

fn timed_out() -> Error {
    Error::new(Kind::Unavailable, "timeout", "The request took too long and was given up.")
}

/// What follows `Bearer` in an `Authorization`.
pub(crate) fn bearer(value: &HeaderValue) -> Result<&str> {
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(token.trim());
    }
    Err(access::unauthenticated("Authorization must be Bearer, a space, and an API key or a token."))
}

/// Whether the id that a caller gave a request is taken over: up to 128 visible ASCII characters.
pub fn is_request_id(text: &str) -> bool {
    (1..=MAX_REQUEST_ID_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether one of the entity tags of an `If-None-Match` is `etag`.
fn is_same(seen: &HeaderValue, etag: Option<&HeaderValue>) -> bool {
    let (Ok(seen), Some(Ok(etag))) = (seen.to_str(), etag.map(HeaderValue::to_str)) else { return false };
    seen.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag || tag.trim() == "*")
}

/// The text a panic was raised with.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

/// Makes `/product/` and `/product` one path.
fn trim_slash(uri: &mut Uri) {
    let path = uri.path();
    if path.len() < 2 || !path.ends_with('/') {
        return;
    }
    let trimmed = match path.trim_end_matches('/') {
        "" => "/",
        path => path,
    };
    let path_and_query = uri.query().map_or_else(|| trimmed.to_owned(), |query| format!("{trimmed}?{query}"));
    if let Ok(trimmed) = path_and_query.parse() {
        *uri = trimmed;
    }
}

/// What the router itself answers when no handler ran.
fn unrouted(response: &Response) -> Option<Error> {
    match response.status() {
        StatusCode::NOT_FOUND => Some(Error::not_found("route_not_found", "such path; /openapi.json lists them all")),
        StatusCode::METHOD_NOT_ALLOWED => {
            let message = "The path does not take this method; the Allow header names those it takes.";
            Some(Error::new(Kind::MethodNotAllowed, "method_not_allowed", message))
        }
        _ => None,
    }
}

/// A handler's error leaves it in the response's extensions; the door, which knows the request's id, writes the problem.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = Response::new(HttpBody::empty());
        *response.status_mut() = self.kind().status();
        response.extensions_mut().insert(self);
        response
    }
}
