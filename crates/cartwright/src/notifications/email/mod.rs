//! E-mail: what is mailed to whom, once.
//!
//! A notification that is to be mailed is a message of `EmailQueue`. The address is looked up when it is sent, and is kept
//! nowhere on the way: not in the message, not in a dead letter. That a mail was handed over is noted after it was; when the
//! process ends in between, it is handed over again, with the same `Message-ID`.

mod events;
mod templates;

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Audience, Facts, Notification};
use crate::config::EmailConfig;
use crate::error::Result;
use crate::values::Email;

pub use events::on_email_due;
pub use templates::{Rendered, TemplateError, Templates};

/// Event: a notification is to be mailed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmailDue {
    /// Which. Of the receiver it says the user name and nothing else.
    pub notification: Notification,
}

/// An e-mail, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingMail {
    /// The left side of the `Message-ID`: by it a mail that was handed over twice is known to be one.
    pub id: String,
    /// To whom.
    pub to: Email,
    /// What it looks like.
    pub content: Rendered,
}

/// Hands e-mails to a server. Object-safe: held as `Arc<dyn Mailer>`.
#[async_trait]
pub trait Mailer: Send + Sync + 'static {
    /// Hands a mail over. When this returns `Ok`, delivering it further is the server's job.
    ///
    /// # Errors
    /// `mail_refused` when the server will never take it; `mail_unavailable`, worth another try. Neither names the receiver.
    async fn send(&self, mail: &OutgoingMail) -> Result<()>;
}

/// The server of e-mail, and what mails look like.
pub struct Mail {
    /// The server.
    pub mailer: Arc<dyn Mailer>,
    /// What they look like.
    pub templates: Templates,
}

/// Whether a notification is to be mailed. That mails cannot be sent is not told by mail.
pub(super) fn is_wanted(config: &EmailConfig, notification: &Notification) -> bool {
    let is_of_mail = matches!(&notification.facts, Facts::Queue { queue, .. } if queue == "EmailQueue");
    let has_reader = match notification.audience {
        Audience::Customers => config.customers,
        Audience::Operators => config.operators.is_some(),
    };
    has_reader && !is_of_mail
}
