//! Notifications on AWS: messages to two topics of SNS, one for customers, one for operators.
//!
//! Who reads e-mail gets the text under its subject; programs (queues, functions, HTTP endpoints) get the whole notification
//! as JSON. Attributes let a subscription ask for some only: by `event`, and by `userName` or `productId`.

use async_trait::async_trait;
use aws_sdk_sns::Client;
use aws_sdk_sns::error::{DisplayErrorContext, ProvideErrorMetadata};
use aws_sdk_sns::types::MessageAttributeValue;
use cartwright::error::{Error, Kind, Result};
use cartwright::notifications::{Audience, Facts, Notification, Notifier};
use serde_json::json;

use crate::message::sendable;
use crate::settings::Topics;

/// What SNS says of a message that it will never take.
const NEVER: [&str; 3] = ["InvalidParameter", "InvalidParameterValue", "ParameterValueInvalid"];

/// Publishes notifications to the topic of their audience.
pub struct SnsNotifier {
    client: Client,
    topics: Topics,
}

impl SnsNotifier {
    /// A notifier to these topics.
    pub fn new(client: Client, topics: Topics) -> Self {
        SnsNotifier { client, topics }
    }
}

#[async_trait]
impl Notifier for SnsNotifier {
    /// # Errors
    /// `notification_refused` when SNS will never take it; `topic_unavailable`, worth another try.
    async fn notify(&self, notification: &Notification) -> Result<()> {
        let topic = match notification.audience {
            Audience::Customers => &self.topics.customers,
            Audience::Operators => &self.topics.operators,
        };
        let (about, id) = match &notification.facts {
            Facts::Order { user_name, .. } | Facts::Product { user_name: Some(user_name), .. } => {
                ("userName", user_name.as_str().to_owned())
            }
            Facts::Product { product_id, .. } => ("productId", product_id.to_string()),
            Facts::Queue { queue, .. } => ("queue", queue.clone()),
            Facts::Webhook { subscription_id, .. } => ("subscriptionId", subscription_id.to_string()),
        };
        let program = serde_json::to_string(notification).map_err(Error::internal)?;
        let by_protocol = json!({"default": notification.text, "sqs": program, "lambda": program, "http": program,
            "https": program, "firehose": program});
        let published = self
            .client
            .publish()
            .topic_arn(topic)
            .subject(&notification.subject)
            .message_structure("json")
            .message(sendable(&by_protocol.to_string()))
            .message_attributes("event", attribute(&notification.event))
            .message_attributes(about, attribute(&id))
            .send()
            .await;
        published.map(drop).map_err(|error| {
            let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
            let (kind, code, message) = if NEVER.contains(&code) {
                (Kind::Unprocessable, "notification_refused", "The topic does not take the notification.")
            } else {
                (Kind::Unavailable, "topic_unavailable", "The topic cannot be reached now.")
            };
            Error::new(kind, code, message).because(DisplayErrorContext(&error))
        })
    }
}

fn attribute(value: &str) -> MessageAttributeValue {
    let attribute = MessageAttributeValue::builder().data_type("String").string_value(value);
    attribute.build().expect("it has a type")
}
