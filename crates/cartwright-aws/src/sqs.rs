//! What SQS hands to a function, what it is answered, and where queues are.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::MessageAttributeValue;
use cartwright::error::{Error, Kind, Result};
use serde::{Deserialize, Serialize};

use crate::letters::NewLetter;
use crate::message::sendable;

/// Name of the queue in which the letters of another wait to be recorded: its name with this behind it.
pub const DEAD_SUFFIX: &str = "-dead";
/// Longest reason sent along with a dead message.
const MAX_REASON_CHARS: usize = 2_000;

/// Some messages of a queue.
#[derive(Debug, Deserialize)]
pub struct SqsEvent {
    /// The messages.
    #[serde(rename = "Records")]
    pub records: Vec<SqsMessage>,
}

/// A message of a queue.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SqsMessage {
    /// Its id.
    pub message_id: String,
    /// What this receive of it is called.
    pub receipt_handle: String,
    /// Its text.
    pub body: String,
    /// What SQS says about it.
    pub attributes: SqsAttributes,
    /// What its sender says about it.
    #[serde(default)]
    pub message_attributes: BTreeMap<String, SqsAttribute>,
    /// The queue.
    #[serde(rename = "eventSourceARN")]
    pub queue_arn: String,
}

/// What SQS says about a message.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SqsAttributes {
    /// How often it was received, this time included.
    pub approximate_receive_count: String,
    /// When it was sent, in milliseconds since 1970.
    pub sent_timestamp: String,
}

/// What a sender says about a message.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SqsAttribute {
    /// The text of a text or a number.
    pub string_value: Option<String>,
}

impl SqsMessage {
    /// How often it was received, this time included.
    pub fn receives(&self) -> u32 {
        self.attributes.approximate_receive_count.parse().unwrap_or(1)
    }

    /// What its sender says under this name.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.message_attributes.get(name)?.string_value.as_deref()
    }

    /// The name of its queue.
    pub fn queue_name(&self) -> &str {
        self.queue_arn.rsplit(':').next().unwrap_or_default()
    }

    /// The URL of the queue beside its own whose name has `suffix` behind it; of its own without one.
    pub fn queue_url(&self, suffix: &str) -> Option<String> {
        let [_, partition, _, region, account, name]: [&str; 6] =
            self.queue_arn.split(':').collect::<Vec<_>>().try_into().ok()?;
        let domain = if partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
        Some(format!("https://sqs.{region}.{domain}/{account}/{name}{suffix}"))
    }
}

/// The answer to a batch: what of it is to be handed out again.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchAnswer {
    /// What failed.
    pub batch_item_failures: Vec<ItemFailure>,
}

/// A message or record that failed.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemFailure {
    /// The id of the message, or the sequence number of the record.
    pub item_identifier: String,
}

impl FromIterator<String> for BatchAnswer {
    fn from_iter<I: IntoIterator<Item = String>>(failed: I) -> Self {
        let failures = failed.into_iter().map(|item_identifier| ItemFailure { item_identifier });
        BatchAnswer { batch_item_failures: failures.collect() }
    }
}

/// What SQS says when it does not do what it is asked.
pub fn sqs_error<E, R>(error: aws_sdk_sqs::error::SdkError<E, R>) -> Error
where
    aws_sdk_sqs::error::SdkError<E, R>: std::error::Error,
{
    let message = "The queues cannot be reached now.";
    Error::new(Kind::Unavailable, "queues_unavailable", message).because(DisplayErrorContext(&error))
}

/// The queues of this shop: how to send to them by name.
pub struct Queues {
    client: aws_sdk_sqs::Client,
    prefix: String,
    urls: Mutex<HashMap<String, String>>,
}

impl Queues {
    /// The queues whose names begin with `prefix`.
    pub fn new(client: aws_sdk_sqs::Client, prefix: String) -> Self {
        Queues { client, prefix, urls: Mutex::default() }
    }

    /// SQS itself.
    pub fn client(&self) -> &aws_sdk_sqs::Client {
        &self.client
    }

    /// The URL of the queue called so, without the prefix. Asked for once.
    ///
    /// # Errors
    /// `queues_unavailable`.
    pub async fn url(&self, name: &str) -> Result<String> {
        let known = self.urls.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if let Some(url) = known {
            return Ok(url);
        }
        let asked = self.client.get_queue_url().queue_name(format!("{}{name}", self.prefix)).send().await;
        let url = asked.map_err(sqs_error)?.queue_url.unwrap_or_default();
        self.urls.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), url.clone());
        Ok(url)
    }
}

/// Sends a dead message to where it waits to be recorded, with what is to be recorded beside its text.
///
/// # Errors
/// `queues_unavailable`.
pub async fn bury(client: &aws_sdk_sqs::Client, dead_queue_url: &str, letter: NewLetter) -> Result<()> {
    let attribute = |kind: &str, value: String| {
        MessageAttributeValue::builder().data_type(kind).string_value(value).build().expect("it has a type")
    };
    let NewLetter { message_id, sent_at_ms, reason, receives, text } = letter;
    let request = client
        .send_message()
        .queue_url(dead_queue_url)
        .message_body(sendable(&text))
        .message_attributes("Reason", attribute("String", attribute_text(&reason)))
        .message_attributes("Receives", attribute("Number", receives.to_string()))
        .message_attributes("MessageId", attribute("String", message_id))
        .message_attributes("SentTimestamp", attribute("Number", sent_at_ms.to_string()));
    request.send().await.map(drop).map_err(sqs_error)
}

/// A reason in characters that an attribute may have, and not too many.
fn attribute_text(reason: &str) -> String {
    let is_sendable = |c: char| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}');
    let kept = reason.chars().take(MAX_REASON_CHARS).map(|c| if is_sendable(c) { c } else { ' ' });
    let kept: String = kept.collect();
    if kept.is_empty() { "unknown".to_owned() } else { kept }
}
