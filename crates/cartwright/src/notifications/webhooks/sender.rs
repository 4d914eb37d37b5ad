//! The port through which webhooks are called, and what does it over HTTPS.

use std::sync::OnceLock;
use std::time::Duration;

use ::http::Method;
use ::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use async_trait::async_trait;

use crate::outbound::{Call, Outbound, Reach};

/// Longest wait for a receiver, the lookup of its name included.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The same for one that did not take what came last: it must not keep others waiting for long.
const TIMEOUT_WHILE_FAILING: Duration = Duration::from_secs(3);

/// A request to a receiver.
#[derive(Debug, Clone)]
pub struct WebhookRequest {
    /// Where to.
    pub url: String,
    /// `webhook-id`: the same in every attempt.
    pub id: String,
    /// `webhook-timestamp`, in seconds since 1970.
    pub timestamp_s: i64,
    /// `webhook-signature`.
    pub signature: String,
    /// The JSON body.
    pub body: String,
    /// Whether it may go to addresses that are not of the public internet.
    pub allow_private: bool,
    /// Whether the receiver did not take what came last.
    pub is_failing: bool,
}

/// Calls webhooks. Object-safe: held as `Arc<dyn WebhookSender>`.
#[async_trait]
pub trait WebhookSender: Send + Sync + 'static {
    /// Sends a request. The status of the answer, whatever it is; redirects are not followed.
    ///
    /// # Errors
    /// Why there is no answer, in words for whoever runs the shop.
    async fn send(&self, request: WebhookRequest) -> Result<u16, String>;
}

/// Calls webhooks over HTTPS. What it needs is made when it is first used: most functions never do.
#[derive(Default)]
pub struct HttpWebhooks(OnceLock<Outbound>);

#[async_trait]
impl WebhookSender for HttpWebhooks {
    async fn send(&self, request: WebhookRequest) -> Result<u16, String> {
        let WebhookRequest { url, id, timestamp_s, signature, body, allow_private, is_failing } = request;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in
            [("webhook-id", id), ("webhook-timestamp", timestamp_s.to_string()), ("webhook-signature", signature)]
        {
            let value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
            headers.insert(HeaderName::from_static(name), value);
        }
        let call = Call {
            method: Method::POST,
            url: &url,
            headers,
            body: body.into(),
            timeout: if is_failing { TIMEOUT_WHILE_FAILING } else { TIMEOUT },
            max_answer_bytes: 0,
            reach: if allow_private { Reach::Anywhere } else { Reach::Public },
        };
        let answer = self.0.get_or_init(Outbound::default).send(call).await;
        answer.map(|answer| answer.status.as_u16()).map_err(|failure| failure.to_string())
    }
}
