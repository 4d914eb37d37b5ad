//! The one-binary runtime: the store on SQLite, the delivery of its queues, the HTTP server.

pub mod client;
pub mod dead_letters;
pub mod delivery;
mod seed;
pub mod server;
pub mod sqlite;

pub use seed::{DEMO_PRODUCTS, seed};
