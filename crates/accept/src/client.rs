//! HTTP as any caller speaks it: `http://` and `https://`, connections kept alive, every status an answer.

use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use serde_json::Value;
use ureq::http::{HeaderMap, Request, Uri};
use ureq::tls::{RootCerts, TlsConfig};

use crate::sent::Sent;

/// Longest wait for an answer: a server gives a request up after 30 s.
const TIMEOUT: Duration = Duration::from_secs(35);
/// Longest life of an idle connection: servers close theirs after ten seconds or more.
const MAX_IDLE: Duration = Duration::from_secs(5);
/// Idle connections that are kept: about as many as checks and racers use at once.
const MAX_IDLE_CONNECTIONS: usize = 24;
/// Largest answer. A page is far below.
const MAX_ANSWER_BYTES: u64 = 16 * 1024 * 1024;

/// Where requests go.
pub(crate) struct Client {
    agent: ureq::Agent,
    base: String,
    api_key: Option<String>,
    credential: Option<String>,
    /// What was sent of people, by whomever.
    pub(crate) sent: Arc<Sent>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Method and path it answers.
    pub(crate) request: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// The JSON, or `Null` when there is none.
    pub(crate) body: Value,
    /// The body as it came.
    pub(crate) text: String,
}

/// An event of a stream.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    /// Empty for a piece that only tells an id.
    pub(crate) name: String,
    pub(crate) data: Value,
}

/// `text` as a base URL, without the slash at its end.
///
/// # Errors
/// A sentence that says what would be one.
pub(crate) fn base_url(text: &str) -> Result<String, String> {
    let is_base =
        |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() && uri.query().is_none();
    match text.parse::<Uri>().ok().filter(is_base) {
        Some(_) => Ok(text.trim_end_matches('/').to_owned()),
        None => Err("give a URL such as http://127.0.0.1:8080 or https://HOST/PREFIX".to_owned()),
    }
}

impl Client {
    /// A client of the server at `base`. Certificates are checked against those the operating system trusts.
    pub(crate) fn new(base: &str, api_key: Option<String>, credential: Option<String>) -> Self {
        // The second client finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(TIMEOUT))
            .max_idle_age(MAX_IDLE)
            .max_idle_connections(MAX_IDLE_CONNECTIONS)
            .max_idle_connections_per_host(MAX_IDLE_CONNECTIONS)
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build());
        let sent = Arc::<Sent>::default();
        sent.note_secret(credential.as_deref());
        Client { agent: config.build().new_agent(), base: base.to_owned(), api_key, credential, sent }
    }

    /// The same client in the hands of whoever has this credential, or of somebody who has none.
    pub(crate) fn of(&self, credential: Option<&str>) -> Client {
        let Client { agent, base, api_key, sent, .. } = self;
        sent.note_secret(credential);
        let credential = credential.map(str::to_owned);
        let (agent, base, api_key, sent) = (agent.clone(), base.clone(), api_key.clone(), Arc::clone(sent));
        Client { agent, base, api_key, credential, sent }
    }

    /// Whether it has a credential.
    pub(crate) fn has_credential(&self) -> bool {
        self.credential.is_some()
    }

    /// Sends one request. `path` is an absolute path without the prefix of the base URL, as the server itself writes them.
    ///
    /// # Errors
    /// Only when there is no answer.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Result<Answer, String> {
        self.sent.note(path, headers, body);
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers.iter().copied().chain(self.api_key.as_deref().map(|key| ("x-api-key", key))) {
            request = request.header(name, value);
        }
        if let Some(credential) =
            self.credential.as_ref().filter(|_| !headers.iter().any(|(name, _)| *name == "authorization"))
        {
            request = request.header("authorization", format!("Bearer {credential}"));
        }
        if body.is_some() && !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        let failed = |why: &dyn std::fmt::Display| format!("{method} {path}: {why}");
        let response = match body {
            Some(body) => self.agent.run(request.body(body).map_err(|error| failed(&error))?),
            None => self.agent.run(request.body(()).map_err(|error| failed(&error))?),
        };
        let mut response = response.map_err(|error| failed(&error))?;
        let text = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec();
        let text = String::from_utf8_lossy(&text.map_err(|error| failed(&error))?).into_owned();
        Ok(Answer {
            request: format!("{method} {path}"),
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
        })
    }

    /// Reads a stream of events until it has told `count`, it ends, or `patience` does. Pieces that only tell an id are among
    /// what is returned, but are not counted.
    ///
    /// # Errors
    /// When the answer is no such stream.
    pub(crate) fn events(
        &self,
        path: &str,
        last_id: Option<&str>,
        count: usize,
        patience: Duration,
    ) -> Result<Vec<Event>, String> {
        let failed = |why: &dyn std::fmt::Display| format!("GET {path}: {why}");
        let mut request = self.agent.get(format!("{}{path}", self.base));
        let bearer = self.credential.as_ref().map(|credential| format!("Bearer {credential}"));
        let headers =
            [("x-api-key", self.api_key.as_deref()), ("authorization", bearer.as_deref()), ("last-event-id", last_id)];
        for (name, value) in headers {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let request = request.config().timeout_global(Some(patience)).build();
        let response = request.call().map_err(|error| failed(&error))?;
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
        if response.status() != 200 || !kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
            return Err(failed(&format!("no stream of events: {} {kind:?}", response.status())));
        }
        let (mut events, mut told, begun_at) = (Vec::new(), 0, Instant::now());
        let mut event = Event { id: None, name: String::new(), data: Value::Null };
        for line in BufReader::new(response.into_body().into_reader()).lines() {
            // A stream that goes on is left when its time is up.
            let Ok(line) = line else { break };
            match line.split_once(':').map(|(name, value)| (name, value.trim())) {
                Some(("id", id)) => event.id = Some(id.to_owned()),
                Some(("event", name)) => event.name = name.to_owned(),
                Some(("data", data)) => event.data = serde_json::from_str(data).map_err(|error| failed(&error))?,
                Some(_) => {}
                None => {
                    told += usize::from(!event.name.is_empty());
                    events.push(std::mem::replace(
                        &mut event,
                        Event { id: None, name: String::new(), data: Value::Null },
                    ));
                    if told >= count || begun_at.elapsed() > patience {
                        break;
                    }
                }
            }
        }
        Ok(events)
    }

    /// Calls an operation of EventBridge. Signed as AWS wants it, with the credentials and the region of the environment; with
    /// made-up ones where there are none, because a local server looks at neither; with the credential instead, if there is one.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub(crate) fn event_bridge(&self, operation: &str, body: &str) -> Result<Answer, String> {
        let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let or_test = |name: &str| environment(name).unwrap_or_else(|| "test".to_owned());
        let region = environment("AWS_REGION").or_else(|| environment("AWS_DEFAULT_REGION"));
        let region = region.unwrap_or_else(|| "us-east-1".to_owned());
        let (id, secret) = (or_test("AWS_ACCESS_KEY_ID"), or_test("AWS_SECRET_ACCESS_KEY"));
        let identity = Credentials::new(id, secret, environment("AWS_SESSION_TOKEN"), None, "environment").into();
        let target = format!("AWSEvents.{operation}");
        let headers = [("x-amz-target", target.as_str()), ("content-type", "application/x-amz-json-1.1")];
        if self.credential.is_some() {
            return self.send("POST", "/", &headers, Some(body));
        }
        let signed = (|| {
            let params = v4::SigningParams::builder().identity(&identity).region(&region).name("events");
            let params = params.time(SystemTime::now()).settings(SigningSettings::default()).build()?.into();
            let url = format!("{}/", self.base);
            let request = SignableRequest::new("POST", url, headers.into_iter(), SignableBody::Bytes(body.as_bytes()))?;
            sign(request, &params).map_err(Box::<dyn std::error::Error>::from)
        })();
        let (signature, _) = signed.map_err(|error| format!("{operation}: cannot be signed: {error}"))?.into_parts();
        let headers: Vec<_> = headers.into_iter().chain(signature.headers()).collect();
        self.send("POST", "/", &headers, Some(body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_may_have_a_prefix_but_no_query() {
        assert_eq!(base_url("http://127.0.0.1:8080/").unwrap(), "http://127.0.0.1:8080");
        let prefixed = "https://h:4566/restapis/x/dev/_user_request_";
        assert_eq!(base_url(prefixed).unwrap(), prefixed);
        for bad in ["127.0.0.1:8080", "ftp://h", "http://h/?a=b", "/v1", "", "http://"] {
            assert!(base_url(bad).is_err(), "{bad}");
        }
    }
}
