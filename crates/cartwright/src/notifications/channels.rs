//! What carries notifications over the internet, as far as it is there.

use std::sync::Arc;

use super::email::Mail;
use super::webhooks::{HttpWebhooks, WebhookSender};

/// The ways out.
#[derive(Clone)]
pub struct Channels {
    /// E-mail: its server and what it looks like. None where no server is known.
    pub mail: Option<Arc<Mail>>,
    /// Webhooks.
    pub webhooks: Arc<dyn WebhookSender>,
}

impl Default for Channels {
    /// No e-mail, and webhooks over HTTPS to the public internet.
    fn default() -> Self {
        Channels { mail: None, webhooks: Arc::new(HttpWebhooks::default()) }
    }
}
