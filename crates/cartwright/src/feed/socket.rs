//! The handshake of a WebSocket (RFC 6455, section 4), as far as HTTP goes: the answer that opens it. Whoever has the
//! connection takes over from there.

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::Response;
use http::header::{
    AUTHORIZATION, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::request::Parts;
use http::{Method, StatusCode};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::app::App;
use crate::error::{Error, Kind, Result};
use crate::rest::{OfAllowedOrigin, bearer};

/// In the extensions of a request whose connection can become a WebSocket; the host puts it there.
#[derive(Debug, Clone, Copy)]
pub struct Upgradable;

/// In the extensions of an answer that opens a WebSocket.
#[derive(Clone)]
pub struct Opened {
    /// The application, as whoever opens it sees it.
    pub app: App,
    /// What proved who that is, if the request said so.
    pub bearer: Option<String>,
}

/// What a request to open a WebSocket must have, checked.
pub struct Handshake {
    accept: HeaderValue,
    bearer: Option<String>,
}

impl FromRequestParts<App> for Handshake {
    type Rejection = Error;
    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self> {
        let headers = &parts.headers;
        let is_websocket = parts.method == Method::GET
            && has_token(headers, &CONNECTION, "upgrade")
            && has_token(headers, &UPGRADE, "websocket")
            && headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
        let key = headers.get(SEC_WEBSOCKET_KEY).filter(|_| is_websocket);
        let (Some(key), Some(Upgradable)) = (key, parts.extensions.get()) else { return Err(not_a_websocket()) };
        if parts.extensions.get::<OfAllowedOrigin>().is_none() && !is_same_origin(headers) {
            let message = "A page of another origin may not open a WebSocket here.";
            return Err(Error::new(Kind::Forbidden, "foreign_origin", message));
        }
        let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).map_err(Error::internal)?;
        let bearer = headers.get(AUTHORIZATION).and_then(|value| bearer(value).ok()).map(str::to_owned);
        Ok(Handshake { accept, bearer })
    }
}

fn not_a_websocket() -> Error {
    let message = "This path speaks WebSocket (RFC 6455) over HTTP/1.1, and nothing else; GET /v1/feed is the same as a \
                   stream of events.";
    Error::new(Kind::Invalid, "websocket_expected", message)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|found| found.trim().eq_ignore_ascii_case(token))
}

/// Whether a request comes from a page of this server, or from no page: browsers let any page open a WebSocket to anywhere, and
/// say which it was. Programs send no `Origin`.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_ascii_lowercase);
    let (Some(origin), Some(host)) = (text(origin), headers.get(HOST).and_then(text)) else { return false };
    // What encrypts may stand before us, so the scheme is not compared.
    match origin.split_once("://") {
        Some(("https", ours)) => without_port(ours, ":443") == without_port(&host, ":443"),
        Some(("http", ours)) => without_port(ours, ":80") == without_port(&host, ":80"),
        _ => false,
    }
}

fn without_port<'a>(authority: &'a str, port: &str) -> &'a str {
    authority.strip_suffix(port).unwrap_or(authority)
}

/// Opens a WebSocket.
pub async fn accept(app: App, handshake: Handshake) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, handshake.accept);
    response.extensions_mut().insert(Opened { app, bearer: handshake.bearer });
    response
}
