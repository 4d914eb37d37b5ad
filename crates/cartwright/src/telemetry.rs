//! What a process tells those who run it, beside its log.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;

use crate::error::{Error, Result};
use crate::metrics::{Host, Registry};
use crate::notifications::{Notification, Notifier};
use crate::trace::{self, Role, Tracer};

/// The instruments of a process.
#[derive(Default)]
pub struct Telemetry {
    /// What is measured.
    pub metrics: Arc<Registry>,
    /// What runs the store, if it tells of itself.
    pub host: OnceLock<Arc<dyn Host>>,
    /// Who records spans, if anyone does.
    pub tracer: OnceLock<Tracer>,
}

/// A notifier each of whose notifications is a step of a trace.
pub struct Traced(Arc<dyn Notifier>);

impl Traced {
    /// Traces `notifier`.
    pub fn new(notifier: Arc<dyn Notifier>) -> Self {
        Traced(notifier)
    }
}

#[async_trait]
impl Notifier for Traced {
    async fn notify(&self, notification: &Notification) -> Result<()> {
        let span = trace::span(Role::Client, || format!("notify {}", notification.event));
        let result = self.0.notify(notification).await;
        if let Some(span) = span {
            span.done(result.as_ref().err().map(Error::code));
        }
        result
    }
}
