//! The port through which listeners learn that there is something new.

use async_trait::async_trait;

use super::Hub;
use crate::app::App;
use crate::error::Result;
use crate::events::Envelope;
use crate::notifications::{Inbox, InboxEntry};
use crate::purchases::PurchaseStored;

/// Something that listeners are to learn.
#[derive(Debug, Clone, Copy)]
pub enum News<'a> {
    /// An inbox has this entry; it is in the store.
    Entry(&'a Inbox, &'a InboxEntry),
    /// A purchase was stored, changed or removed.
    Purchase(&'a Envelope, &'a PurchaseStored),
}

/// Tells listeners. Object-safe: held as `Arc<dyn Live>`.
#[async_trait]
pub trait Live: Send + Sync + 'static {
    /// Tells whoever listens. May be told the same again: what tells it is delivered at least once.
    ///
    /// # Errors
    /// Those of finding out who listens; they are worth another try. That a listener cannot be reached is no error.
    async fn tell(&self, app: &App, news: News<'_>) -> Result<()>;

    /// Where those who are connected to this process wait for what comes; none where nobody can, and an answer ends after
    /// what is there.
    fn hub(&self) -> Option<&Hub>;
}
