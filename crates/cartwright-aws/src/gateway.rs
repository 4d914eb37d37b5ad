//! API Gateway's REST requests to the door of the API, and its answers back.
//!
//! Whatever a client sends gets an answer from the door: a path, a header or a host name that is strange to a parser must not
//! become a failure of the function. Bodies are handed over as text where they are text, so that API Gateway needs no list
//! of binary types to show the documentation; it compresses answers itself.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use cartwright::error::{Error, Kind};
use cartwright::rest::{Door, is_request_id};
use cartwright::trace::{Context, TRACEPARENT};
use flate2::read::GzDecoder;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG,
    HeaderName, HeaderValue, LINK,
};
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use tracing::Span;

/// Longest a request may take: API Gateway cuts it off at 29 s, and then nobody learns why.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(28);
/// Time kept for handing the answer over, before the function itself is cut off.
const TIME_TO_ANSWER: Duration = Duration::from_millis(500);
/// Largest body of an answer: in the form it is handed over in, Lambda's 6 MB hold this much of any.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// What pages may read of an answer besides its body.
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static("ETag, Link, Location, Retry-After, X-Request-Id");
/// The name of the header with a request's id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request as API Gateway hands it over.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRequest {
    http_method: String,
    path: String,
    headers: Option<BTreeMap<String, String>>,
    multi_value_headers: Option<BTreeMap<String, Vec<String>>>,
    query_string_parameters: Option<BTreeMap<String, String>>,
    multi_value_query_string_parameters: Option<BTreeMap<String, Vec<String>>>,
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
    #[serde(default)]
    request_context: RequestContext,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    request_id: Option<String>,
}

/// An answer as API Gateway takes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayResponse {
    status_code: u16,
    multi_value_headers: BTreeMap<String, Vec<String>>,
    body: String,
    is_base64_encoded: bool,
}

/// The door, as API Gateway comes to it.
pub struct Gateway {
    door: Door,
    cors_origin: Option<HeaderValue>,
}

impl Gateway {
    /// `door`, open to pages of this origin, if any. What a browser asks beforehand, API Gateway answers itself.
    pub fn new(door: Door, cors_origin: Option<HeaderValue>) -> Self {
        Gateway { door, cors_origin }
    }

    /// Answers a request, within the time the function has left, as a step of this trace if there is one.
    ///
    /// # Errors
    /// In words, when this is no request that API Gateway hands over.
    pub async fn answer(
        &self,
        request: GatewayRequest,
        time_left: Duration,
        trace: Option<Context>,
    ) -> Result<GatewayResponse, String> {
        let time_limit = REQUEST_TIMEOUT.min(time_left.saturating_sub(TIME_TO_ANSWER));
        let mut request = request.into_http()?;
        if let Some(place) = trace.and_then(|place| HeaderValue::try_from(place.to_string()).ok()) {
            request.headers_mut().insert(TRACEPARENT, place);
        }
        if let Some(id) = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()) {
            Span::current().record("correlationId", id);
        }
        let mut response = self.door.clone().timeout(time_limit).answer(request).await;
        if let Some(origin) = &self.cors_origin {
            response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            response.headers_mut().insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
        }
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| format!("an answer did not come in whole: {error}"))?;
        Ok(hand_over(Response::from_parts(parts, body.to_bytes())))
    }
}

impl GatewayRequest {
    fn into_http(self) -> Result<Request<Body>, String> {
        let GatewayRequest { body, is_base64_encoded, .. } = &self;
        let body = match body {
            Some(text) if *is_base64_encoded => {
                BASE64_STANDARD.decode(text).map_err(|error| format!("a body is not base64: {error}"))?
            }
            Some(text) => text.clone().into_bytes(),
            None => Vec::new(),
        };
        let mut request = Request::new(Body::from(body));
        *request.method_mut() =
            Method::from_bytes(self.http_method.as_bytes()).map_err(|_| "the method is none".to_owned())?;
        *request.uri_mut() = self.path_and_query().parse().map_err(|error| format!("the path is none: {error}"))?;
        *request.headers_mut() = self.header_map();
        Ok(request)
    }

    /// Path and query in the form of a URI. API Gateway has decoded the query; of the path it may have left some encoded.
    fn path_and_query(&self) -> String {
        let path = encode_path(&self.path);
        let many = self.multi_value_query_string_parameters.iter().flatten();
        let mut query: Vec<(&str, &str)> =
            many.flat_map(|(name, values)| values.iter().map(move |value| (name.as_str(), value.as_str()))).collect();
        if query.is_empty() {
            let single = self.query_string_parameters.iter().flatten();
            query.extend(single.map(|(name, value)| (name.as_str(), value.as_str())));
        }
        match serde_urlencoded::to_string(&query) {
            Ok(query) if !query.is_empty() => format!("{path}?{query}"),
            _ => path,
        }
    }

    /// The headers, but for those that HTTP does not know, and for the one that makes a request one to put events on the bus:
    /// the bus is EventBridge itself here. The request's id is that of API Gateway, unless the client gave it one.
    fn header_map(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut add = |name: &str, value: &str| {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value.as_bytes())) {
                headers.append(name, value);
            }
        };
        match &self.multi_value_headers {
            Some(many) => many.iter().for_each(|(name, values)| values.iter().for_each(|value| add(name, value))),
            None => self.headers.iter().flatten().for_each(|(name, value)| add(name, value)),
        }
        headers.remove("x-amz-target");
        let theirs = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
        if !theirs.is_some_and(is_request_id) {
            let ours = self.request_context.request_id.as_deref().and_then(|id| HeaderValue::from_str(id).ok());
            headers.remove(REQUEST_ID);
            headers.extend(ours.map(|id| (REQUEST_ID, id)));
        }
        headers
    }
}

/// A path with everything percent-encoded that may not stand in one. What is encoded already stays so.
fn encode_path(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len() + 1);
    if !path.starts_with('/') {
        encoded.push('/');
    }
    for (at, byte) in path.bytes().enumerate() {
        let is_encoded =
            || path.as_bytes().get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte) || (byte == b'%' && is_encoded()) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// An answer in the form in which API Gateway takes it.
fn hand_over(mut response: Response<Bytes>) -> GatewayResponse {
    if response.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip") {
        let mut unpacked = Vec::new();
        let limit = MAX_ANSWER_BYTES as u64 + 1;
        if GzDecoder::new(response.body().as_ref()).take(limit).read_to_end(&mut unpacked).is_ok() {
            *response.body_mut() = unpacked.into();
            response.headers_mut().remove(CONTENT_ENCODING);
            response.headers_mut().remove(CONTENT_LENGTH);
        }
    }
    if response.body().len() > MAX_ANSWER_BYTES {
        response = too_large(&response);
    }
    let mut multi_value_headers = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in response.headers() {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        multi_value_headers.entry(name.as_str().to_owned()).or_default().push(value);
    }
    let text = std::str::from_utf8(response.body()).ok().filter(|_| is_text(response.headers()));
    let body = text.map_or_else(|| BASE64_STANDARD.encode(response.body()), str::to_owned);
    let is_base64_encoded = text.is_none();
    GatewayResponse { status_code: response.status().as_u16(), multi_value_headers, body, is_base64_encoded }
}

/// Whether a body is text by its headers.
fn is_text(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()) else { return true };
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let is_text =
        kind.starts_with("text/") || kind.ends_with("json") || kind.ends_with("xml") || kind.ends_with("javascript");
    is_text && !headers.contains_key(CONTENT_ENCODING)
}

/// Instead of an answer that Lambda would not hand over.
fn too_large(response: &Response<Bytes>) -> Response<Bytes> {
    let message = format!("The answer has more than {MAX_ANSWER_BYTES} bytes; ask for fewer things at a time.");
    let error = Error::new(Kind::Unprocessable, "answer_too_large", message);
    let id = response.headers().get(REQUEST_ID).cloned().unwrap_or(HeaderValue::from_static(""));
    let problem = error.problem(id.to_str().unwrap_or_default()).to_string();
    let mut problem = Response::new(Bytes::from(problem));
    *problem.status_mut() = error.kind().status();
    *problem.headers_mut() = response.headers().clone();
    for of_the_answer in [CONTENT_LENGTH, CONTENT_ENCODING, ETAG, LINK] {
        problem.headers_mut().remove(of_the_answer);
    }
    problem.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    problem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_encoded_where_they_have_to_be() {
        for (path, encoded) in [
            ("/v1/products/1", "/v1/products/1"),
            ("/v1/baskets/a b@x", "/v1/baskets/a%20b@x"),
            ("/v1/baskets/a%20b", "/v1/baskets/a%20b"),
            ("/100%", "/100%25"),
            ("/%zz%4", "/%25zz%254"),
            ("/é?#\"<>\\^`{|}", "/%C3%A9%3F%23%22%3C%3E%5C%5E%60%7B%7C%7D"),
            ("x", "/x"),
            ("", "/"),
        ] {
            assert_eq!(encode_path(path), encoded);
        }
    }
}
