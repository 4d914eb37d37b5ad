//! The one-binary runtime: the store on SQLite, the delivery of its queues, the HTTP server, the machine's clock.

pub mod client;
pub mod dead_letters;
pub mod delivery;
mod seed;
pub mod server;
pub mod sqlite;
mod unread;

use jiff::Timestamp;

use crate::app::{Clock, Ids};

pub use seed::{DEMO_PRODUCTS, seed};

/// The machine's clock, to the microsecond: more digits only make answers longer.
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the Clock port")]
    fn now(&self) -> Timestamp {
        let micros = Timestamp::now().as_microsecond();
        Timestamp::from_microsecond(micros).expect("a time that exists stays one without its nanoseconds")
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
