//! The one-binary runtime: the store on SQLite, the delivery of its queues, the HTTP server, and a log in place of the
//! channels that reach people.

pub mod backup;
pub mod client;
pub mod dead_letters;
pub mod delivery;
pub mod export;
mod files;
mod notifier;
pub mod restore;
mod seed;
pub mod server;
pub mod sqlite;

pub use notifier::LogNotifier;
pub use seed::{DEMO_PRODUCTS, seed};
