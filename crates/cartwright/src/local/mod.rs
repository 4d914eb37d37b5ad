//! The one-binary runtime: the store on SQLite, the delivery of its queues, the HTTP server, the machine's clock.

pub mod delivery;
mod seed;
pub mod server;
pub mod sqlite;

use jiff::Timestamp;

use crate::app::{Clock, Ids};

pub use seed::{DEMO_PRODUCTS, seed};

/// The machine's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the Clock port")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// The machine's randomness.
pub struct SystemIds;

impl Ids for SystemIds {
    #[expect(clippy::disallowed_methods, reason = "this is the Ids port")]
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system has randomness once it is up");
    }
}
