//! The one-binary runtime: the store on SQLite, the delivery of its queues, the HTTP server, webhooks and e-mail.

mod access;
pub mod attack;
pub mod backup;
pub mod client;
pub mod dead_letters;
pub mod delivery;
pub mod export;
pub mod files;
pub mod import;
pub mod keys;
mod notifier;
pub mod otlp;
mod restore;
mod seed;
pub mod server;
mod shop;
pub mod smtp;
pub mod sqlite;
pub mod telemetry;
mod unread;

pub use access::AccessOptions;
pub use notifier::LogNotifier;
pub use seed::{DEMO_PRODUCTS, seed};
