//! The port through which notifications leave the application.

use async_trait::async_trait;

use super::Notification;
use crate::error::Result;

/// Carries notifications to people: a topic of SNS, or a log where no channel is configured. Object-safe: held as
/// `Arc<dyn Notifier>`.
#[async_trait]
pub trait Notifier: Send + Sync + 'static {
    /// Hands a notification over. When this returns `Ok`, delivering it further is the receiver's job. The same one (the
    /// same [`id`](Notification::id)) may come again: after a crash, or when its message is delivered twice.
    ///
    /// # Errors
    /// Whatever stands in its way. [`Kind::fate`](crate::error::Kind::fate) of the error decides: it is handed over again
    /// later, alone and with growing pauses, until it is a dead letter with this error as its reason; or it is one at once,
    /// when trying again cannot help.
    async fn notify(&self, notification: &Notification) -> Result<()>;
}
