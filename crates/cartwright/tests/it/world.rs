//! Receivers of webhooks and e-mail that remember, and fail when told to.

use std::sync::Mutex;

use async_trait::async_trait;
use cartwright::error::{Error, Kind, Result};
use cartwright::notifications::email::{Mailer, OutgoingMail};
use cartwright::notifications::webhooks::{WebhookRequest, WebhookSender};

/// How a receiver answers.
type Answer = Result<u16, String>;

/// Receives webhooks and e-mail.
#[derive(Default)]
pub struct TestWorld {
    called: Mutex<Vec<WebhookRequest>>,
    answer: Mutex<Option<Answer>>,
    mailed: Mutex<Vec<OutgoingMail>>,
    refusal: Mutex<Option<Error>>,
}

impl TestWorld {
    /// From now on, webhooks are answered so.
    pub fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = Some(answer);
    }

    /// What webhooks were called with, in order, and forgets it.
    pub fn take_calls(&self) -> Vec<WebhookRequest> {
        std::mem::take(&mut *self.called.lock().unwrap())
    }

    /// From now on, the mail server answers so; nothing is wrong with `None`.
    pub fn refuses_mail(&self, why: Option<(Kind, &'static str)>) {
        *self.refusal.lock().unwrap() = why.map(|(kind, code)| Error::new(kind, code, "The mail server said so."));
    }

    /// What was mailed, in order, and forgets it.
    pub fn take_mails(&self) -> Vec<OutgoingMail> {
        std::mem::take(&mut *self.mailed.lock().unwrap())
    }
}

#[async_trait]
impl WebhookSender for TestWorld {
    async fn send(&self, request: WebhookRequest) -> Answer {
        self.called.lock().unwrap().push(request);
        self.answer.lock().unwrap().clone().unwrap_or(Ok(204))
    }
}

#[async_trait]
impl Mailer for TestWorld {
    async fn send(&self, mail: &OutgoingMail) -> Result<()> {
        if let Some(error) = self.refusal.lock().unwrap().clone() {
            return Err(error);
        }
        self.mailed.lock().unwrap().push(mail.clone());
        Ok(())
    }
}
