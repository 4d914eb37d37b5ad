//! What browsers are told, and kept from: pages of other origins, frames, guesses about content, copies in caches.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, CACHE_CONTROL,
    CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderValue, ORIGIN, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{Method, Request, StatusCode, Uri};

use crate::error::{Error, Kind, Result};

/// What pages of other origins may send.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
const HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, X-Request-Id",
);
/// What they may read besides the body.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("ETag, Link, Location, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id");
/// How long a browser remembers what it may, in seconds.
const MAX_AGE_S: HeaderValue = HeaderValue::from_static("600");

/// The origins whose pages may call the API: none, unless they are named. Credentials that a browser would send by itself are never
/// asked for.
#[derive(Debug, Clone, Default)]
pub struct Cors(Arc<[HeaderValue]>);

impl Cors {
    /// These origins.
    pub fn new(origins: impl IntoIterator<Item = HeaderValue>) -> Self {
        Cors(origins.into_iter().collect())
    }

    /// The origin of the page that sends a request, if it may.
    pub(super) fn allows(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        headers.get(ORIGIN).filter(|origin| self.0.contains(origin)).cloned()
    }

    /// The answer to what a browser asks before it lets a page send a request.
    pub(super) fn preflight(&self, request: &Request<Body>) -> Option<Response> {
        if request.method() != Method::OPTIONS || !request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        self.allows(request.headers())?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE_S);
        Some(response)
    }
}

/// Lets the page at `origin` read an answer.
pub(super) fn share(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.append(VARY, HeaderValue::from_static("Origin"));
}

/// Tells browsers to take an answer for what it says it is, to show it in no frame, and to tell nobody where they have been. An answer to
/// somebody who is known is for nobody else, and is kept nowhere. What a handler has set stays.
pub(super) fn harden(headers: &mut HeaderMap, is_of_somebody: bool) {
    let mut set = |name, value| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(X_FRAME_OPTIONS, "DENY");
    set(CONTENT_SECURITY_POLICY, "frame-ancestors 'none'");
    set(REFERRER_POLICY, "no-referrer");
    if is_of_somebody {
        set(CACHE_CONTROL, "private, no-store");
    }
}

/// Refuses what a page from elsewhere makes a browser on this machine send to an open shop: under a name that was made to lead here, or
/// to change something, which needs no answer that the page could read.
///
/// # Errors
/// `foreign_host`, `foreign_origin` (403).
pub(super) fn must_be_local(request: &Request<Body>, cors: &Cors) -> Result<()> {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    if host.is_some_and(|host| !is_local(host)) {
        let message =
            "This shop is open to its own machine only, and so answers under its own names only, such as localhost.";
        return Err(Error::new(Kind::Forbidden, "foreign_host", message));
    }
    let origin = request.headers().get(ORIGIN).filter(|_| !request.method().is_safe());
    let is_own = |origin: &HeaderValue| {
        let of_page = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        of_page.is_some_and(|(_, host)| is_local(host))
    };
    if origin.is_some_and(|origin| !is_own(origin)) && cors.allows(request.headers()).is_none() {
        let message = "A page from elsewhere may change nothing here; --cors-origin names those that may.";
        return Err(Error::new(Kind::Forbidden, "foreign_origin", message));
    }
    Ok(())
}

/// Whether a host, with or without its port, is a name that nobody out there gives out: an address of this machine, localhost, or a name
/// of one word, which no public directory has.
fn is_local(authority: &str) -> bool {
    let Ok(uri) = authority.parse::<Uri>() else { return false };
    let Some(host) = uri.host() else { return false };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => !bare.contains('.') || bare.to_ascii_lowercase().ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_others_give_out_are_not_local() {
        for local in
            ["localhost", "LOCALHOST:8080", "shop.localhost:1", "127.0.0.1:80", "127.9.9.9", "[::1]:8080", "shop"]
        {
            assert!(is_local(local), "{local}");
        }
        for foreign in
            ["evil.example", "localhost.evil.example:80", "127.0.0.1.evil.example", "10.0.0.1", "[::2]", "", "a b"]
        {
            assert!(!is_local(foreign), "{foreign}");
        }
    }
}
