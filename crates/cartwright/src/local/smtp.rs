//! E-mail over SMTP.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clap::Args;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::PoolConfig;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use crate::config::EmailConfig;
use crate::error::{Error, Kind, Result};
use crate::notifications::email::{Mail, Mailer, OutgoingMail, Templates};
use crate::values::Email;

/// Longest wait for each answer of the server.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Connections to the server at the same time.
const MAX_CONNECTIONS: u32 = 4;

/// How e-mail is sent.
#[derive(Args, Clone, Default)]
pub struct MailOptions {
    /// Server that e-mail is handed to: smtps://USER:PASSWORD@HOST:465, or smtp://HOST:587?tls=required for STARTTLS. Without
    /// it nobody is mailed. Set it by the environment: a command line is for all to see.
    #[arg(long, env = "CARTWRIGHT_SMTP_URL", value_name = "URL", hide_env_values = true, requires = "email_from")]
    smtp_url: Option<String>,
    /// Sender of e-mail: orders@shop.example, or "The Shop <orders@shop.example>".
    #[arg(long, env = "CARTWRIGHT_EMAIL_FROM", value_name = "ADDRESS")]
    email_from: Option<String>,
    /// Folder with templates that take the place of those built in.
    #[arg(long, env = "CARTWRIGHT_EMAIL_TEMPLATES", value_name = "FOLDER", requires = "smtp_url")]
    email_templates: Option<PathBuf>,
    /// Where those who run the shop are mailed what they are told.
    #[arg(long, env = "CARTWRIGHT_OPERATOR_EMAIL", value_name = "ADDRESS", requires = "smtp_url")]
    operator_email: Option<String>,
}

impl MailOptions {
    /// What is sent with, and who is mailed. None and nobody without a server.
    ///
    /// # Errors
    /// An option that cannot be, in a sentence that names it.
    pub fn load(&self) -> Result<(Option<Arc<Mail>>, EmailConfig), String> {
        let Some(url) = &self.smtp_url else { return Ok((None, EmailConfig::default())) };
        let from = self.email_from.as_deref().ok_or("--smtp-url needs --email-from, the sender")?;
        let mailer = SmtpMailer::new(url, from)?;
        let templates = match &self.email_templates {
            None => Templates::default(),
            Some(folder) => Templates::load(folder).map_err(|why| format!("--email-templates: {why}"))?,
        };
        let operators = self.operator_email.clone().map(Email::try_from).transpose();
        let operators = operators.map_err(|why| format!("--operator-email {why}"))?;
        Ok((Some(Arc::new(Mail { mailer: Arc::new(mailer), templates })), EmailConfig { customers: true, operators }))
    }
}

/// Hands e-mails to a server over SMTP.
pub struct SmtpMailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl SmtpMailer {
    /// A mailer to the server at `url`, in the name of `from`. Nothing is sent yet.
    ///
    /// # Errors
    /// A URL or a sender that cannot be. The URL is not shown: it may hold a password.
    ///
    /// # Panics
    /// Outside a runtime of Tokio.
    pub fn new(url: &str, from: &str) -> Result<SmtpMailer, String> {
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url);
        let builder =
            builder.map_err(|_| "--smtp-url must be like smtps://USER:PASSWORD@HOST:465 or smtp://HOST:25")?;
        let pool = PoolConfig::new().max_size(MAX_CONNECTIONS);
        let transport = builder.timeout(Some(TIMEOUT)).pool_config(pool).build();
        let from = from.parse().map_err(|error| format!("--email-from must be an e-mail address: {error}"))?;
        Ok(SmtpMailer { transport, from })
    }

    fn compose(&self, mail: &OutgoingMail) -> Result<Message> {
        let refused = |why: &dyn std::fmt::Display| {
            // What it is about may be an address.
            let why = without(&why.to_string(), &mail.to);
            Error::new(Kind::Unprocessable, "mail_refused", "The mail cannot be sent.").because(why)
        };
        let to = mail.to.as_str().parse().map_err(|error: lettre::address::AddressError| refused(&error))?;
        let domain = self.from.email.domain();
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .message_id(Some(format!("<{}@{domain}>", mail.id)))
            .subject(mail.content.subject.clone())
            .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".into()))
            .multipart(MultiPart::alternative_plain_html(mail.content.text.clone(), mail.content.html.clone()));
        message.map_err(|error| refused(&error))
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, mail: &OutgoingMail) -> Result<()> {
        let message = self.compose(mail)?;
        self.transport.send(message).await.map(drop).map_err(|error| {
            let (kind, code, message) = if error.is_permanent() {
                (Kind::Unprocessable, "mail_refused", "The mail server does not take the mail.")
            } else {
                (Kind::Unavailable, "mail_unavailable", "The mail server cannot take the mail now.")
            };
            Error::new(kind, code, message).because(without(&error.to_string(), &mail.to))
        })
    }
}

/// What a server said, without the address that it may have repeated: errors outlive erased customers.
fn without(text: &str, address: &Email) -> String {
    let (lower, address) = (text.to_ascii_lowercase(), address.as_str().to_ascii_lowercase());
    let mut kept = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(found) = lower[at..].find(&address) {
        kept.push_str(&text[at..at + found]);
        kept.push_str("(the receiver)");
        at += found + address.len();
    }
    kept.push_str(&text[at..]);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_said_is_kept_without_the_address() {
        let address = Email::try_from("ann@example.com".to_owned()).unwrap();
        let said = "550 <Ann@Example.com> unknown; ann@example.com?";
        assert_eq!(without(said, &address), "550 <(the receiver)> unknown; (the receiver)?");
        assert_eq!(without("554 no", &address), "554 no");
    }

    #[tokio::test]
    async fn options_that_cannot_be_are_refused_and_no_password_is_shown() {
        let wrong = |url: &str, from: &str| SmtpMailer::new(url, from).err().unwrap();
        assert!(!wrong("http://ann:hunter2@x", "a@b.example").contains("hunter2"));
        assert!(wrong("smtp://localhost", "nobody").contains("--email-from"));
        assert!(SmtpMailer::new("smtps://ann:hunter2@mail.example:465", "The Shop <a@b.example>").is_ok());
    }
}
