//! What a process tells those who run it, beside its log.

use std::sync::{Arc, OnceLock};

use crate::metrics::{Host, Registry};

/// The instruments of a process.
#[derive(Default)]
pub struct Telemetry {
    /// What is measured.
    pub metrics: Arc<Registry>,
    /// What runs the store, if it tells of itself.
    pub host: OnceLock<Arc<dyn Host>>,
}
