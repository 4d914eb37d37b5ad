//! The client of the command line: asks a running server, over HTTP or HTTPS.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Uri};

use crate::outbound::{Call, Outbound, Reach};
use crate::rest::IDEMPOTENCY_KEY;

/// Longest wait for an answer: a little more than the server takes before it gives a request up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);
/// Largest answer. A page of dead letters is a little more than 1 MB, unless a single one is larger.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Where requests go.
pub struct Client {
    base: String,
    credential: Option<HeaderValue>,
    outbound: Outbound,
}

impl Client {
    /// A client of the server at `url`, such as `http://127.0.0.1:8080`, with the credential it asks for, if any. A path in it stands
    /// before those of all requests. Over HTTPS the server's certificate must be good by the public root certificates.
    ///
    /// # Errors
    /// Why that is no address it can talk to, or no credential, as half a sentence.
    pub fn new(url: &str, credential: Option<String>) -> Result<Self, String> {
        let bearer = |text: String| {
            let is_key = text.bytes().all(|byte| byte.is_ascii_graphic());
            HeaderValue::try_from(format!("Bearer {text}")).ok().filter(|_| is_key)
        };
        let credential = match credential {
            Some(text) => Some(bearer(text).ok_or("the key has characters that no key has")?),
            None => None,
        };
        let example = "write it like http://127.0.0.1:8080 or https://shop.example";
        let uri: Uri = url.parse().map_err(|_| format!("{url:?} is not a URL; {example}"))?;
        match (uri.scheme_str(), uri.authority()) {
            (Some(scheme @ ("http" | "https")), Some(authority)) if !authority.host().is_empty() => {
                let base = format!("{scheme}://{authority}{}", uri.path().trim_end_matches('/'));
                Ok(Client { base, credential, outbound: Outbound::default() })
            }
            _ => Err(format!("{url:?} is not an http:// or https:// URL; {example}")),
        }
    }

    /// Sends one request with this JSON (or nothing) as its body, to be carried out once under `key` when it has one.
    /// Returns the status and the body of the answer.
    ///
    /// # Errors
    /// Why there is no answer, as half a sentence. Whether the request was carried out is not known then.
    pub async fn send(
        &self,
        method: &Method,
        path: &str,
        key: Option<&str>,
        json: &str,
    ) -> Result<(u16, Bytes), String> {
        const JSON: HeaderValue = HeaderValue::from_static("application/json");
        let mut headers = HeaderMap::from_iter([(ACCEPT, JSON), (CONTENT_TYPE, JSON)]);
        // Also of a body that is empty: a POST without is refused by some proxies.
        headers.insert(CONTENT_LENGTH, HeaderValue::from(json.len()));
        headers.extend(self.credential.clone().map(|credential| (AUTHORIZATION, credential)));
        if let Some(key) = key {
            headers.insert(IDEMPOTENCY_KEY, HeaderValue::try_from(key).map_err(|error| error.to_string())?);
        }
        let call = Call {
            method: method.clone(),
            url: &format!("{}{path}", self.base),
            headers,
            body: Bytes::from(json.to_owned()),
            timeout: ANSWER_TIMEOUT,
            max_answer_bytes: MAX_ANSWER_BYTES,
            reach: Reach::Anywhere,
        };
        let answer = self.outbound.send(call).await.map_err(|failure| failure.to_string())?;
        if answer.is_whole {
            Ok((answer.status.as_u16(), answer.body))
        } else {
            Err("the answer is too long".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_of_servers_are_taken_and_only_keys_that_can_be_sent() {
        for url in ["127.0.0.1:8080", "ftp://x", "http://", "https:///x", ""] {
            let refused = Client::new(url, None).err().unwrap();
            assert!(refused.contains("http://127.0.0.1:8080"), "{url:?}: {refused}");
        }
        for (url, base) in [
            ("http://[::1]:81/shop/", "http://[::1]:81/shop"),
            ("https://shop.example", "https://shop.example"),
            ("HTTP://127.0.0.1:8080/?x=y", "http://127.0.0.1:8080"),
        ] {
            assert_eq!(Client::new(url, None).ok().unwrap().base, base);
        }
        for key in ["cw_1\r\nhost: x", "cw 1", "cw_é"] {
            assert!(Client::new("http://127.0.0.1", Some(key.to_owned())).is_err(), "{key:?}");
        }
    }
}
