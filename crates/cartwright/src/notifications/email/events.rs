//! What e-mail does when a notification is to be mailed.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::super::{Audience, Facts, Notification, ops, store};
use super::{EmailDue, OutgoingMail};
use crate::app::App;
use crate::error::{Error, Kind, Result};
use crate::store::{Batch, Expect, Table};
use crate::values::{Email, Username};
use crate::{customers, ordering};

/// How long it is known that a notification was mailed: longer than its message is received.
const MAILED_KEPT: SignedDuration = SignedDuration::from_hours(24 * 30);

/// What became of a mail.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Mailed {
    at: Timestamp,
    /// False when there was nobody to send it to.
    sent: bool,
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
/// Those of the [`Mailer`](super::Mailer); `email_not_configured` while there is none; those of the store.
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
