//! E-mail: what is mailed to whom, once.
//!
//! A notification that is to be mailed is a message of `EmailQueue`. The address is looked up when it is sent, and is kept
//! nowhere on the way: not in the message, not in a dead letter. That a mail was handed over is noted after it was; when the
//! process ends in between, it is handed over again, with the same `Message-ID`.

mod templates;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Audience, Facts, Notification, ops, store};
use crate::app::App;
use crate::config::EmailConfig;
use crate::error::{Error, Kind, Result};
use crate::store::{Batch, Expect, Table};
use crate::values::{Email, Username};
use crate::{customers, ordering};

pub use templates::{Rendered, TemplateError, Templates};

/// How long it is known that a notification was mailed: longer than its message is received.
const MAILED_KEPT: SignedDuration = SignedDuration::from_hours(24 * 30);

/// Event: a notification is to be mailed.
#[derive(Debug, Clone, Serialize, Deserialize)]
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

/// What became of a mail.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Mailed {
    at: Timestamp,
    /// False when there was nobody to send it to.
    sent: bool,
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

/// Whoever is to read a mail.
struct Reader {
    to: Email,
    name: Option<String>,
}

/// A notification is to be mailed: find out where to, send it, and note that. To somebody of whom no address is known, or who
/// was erased since, nothing is sent.
///
/// # Errors
/// Those of the [`Mailer`]; `email_not_configured` while there is none; those of the store.
pub async fn on_email_due(app: &App, due: EmailDue) -> Result<()> {
    let notification = ops::as_named_now(app, &due.notification).await?;
    let key = store::mail_key(notification.id);
    if app.store.get(&key).await?.is_some() {
        return Ok(());
    }
    let reader = match notification.audience {
        Audience::Operators => app.config.email.operators.clone().map(|to| Reader { to, name: None }),
        Audience::Customers => find_reader(app, &notification.facts).await?,
    };
    let sent = reader.is_some();
    match reader {
        Some(reader) => send(app, &notification, reader).await?,
        None => tracing::info!(id = %notification.id, event = notification.event, "nobody to mail a notification to"),
    }
    let at = app.clock.now();
    let mut batch = Batch::new(Table::Notifications);
    batch.put_until(key, Expect::Anything, &Mailed { at, sent }, at + MAILED_KEPT)?;
    Ok(app.store.commit(batch).await?)
}

async fn send(app: &App, notification: &Notification, reader: Reader) -> Result<()> {
    let unconfigured = || Error::new(Kind::Unavailable, "email_not_configured", "No server of e-mail is configured.");
    let mail = app.channels.mail.as_ref().ok_or_else(unconfigured)?;
    let content = mail.templates.render(notification, reader.name.as_deref())?;
    mail.mailer.send(&OutgoingMail { id: notification.id.to_string(), to: reader.to, content }).await
}

/// Where a customer can be reached now: by the address of their profile, or by that of the order of a guest.
async fn find_reader(app: &App, facts: &Facts) -> Result<Option<Reader>> {
    if let Some(username) = facts.user_name()
        && let Some(reader) = find_customer(app, username).await?
    {
        return Ok(Some(reader));
    }
    let Facts::Order { order_id, .. } = facts else { return Ok(None) };
    let contact = ordering::find_contact_email(app, order_id).await?;
    Ok(contact.map(|to| Reader { to, name: None }))
}

async fn find_customer(app: &App, username: &Username) -> Result<Option<Reader>> {
    match customers::get_customer(app, username).await {
        Ok(found) => {
            let (to, name) = (found.customer.email.clone(), found.customer.name.as_str().to_owned());
            Ok(Some(Reader { to, name: Some(name) }))
        }
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
