//! The acceptance suite: does a server do what Cartwright promises? Asked over plain HTTP, each check with data of its own, so
//! that it can be run again against a server that already holds data.
//!
//! `cargo xtask accept http://127.0.0.1:8080`. The numbers of the checks are those of
//! `docs/classic-paths.md`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks to its terminal")]
#![expect(clippy::disallowed_methods, reason = "the time names the run, and nothing else")]

mod client;
mod operations;
mod probe;
mod purchases;
mod shop;
mod users;

use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use client::Client;
use probe::{Outcome, Probe};

/// A check: the row it is about, and what it does.
pub(crate) type Check = (&'static str, fn(&Probe) -> Outcome);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), filter) = (arguments.next(), arguments.next().unwrap_or_default()) else {
        eprintln!("Usage: cargo xtask accept BASE_URL [PART OF A CHECK'S NAME]");
        return ExitCode::FAILURE;
    };
    let client = match Client::new(&url) {
        Ok(client) => client,
        Err(why) => {
            eprintln!("accept: {url}: {why}");
            return ExitCode::FAILURE;
        }
    };
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let probe = Probe { client, run: format!("{millis:x}") };
    let (mut passed, mut failed) = (0, 0);
    let started = Instant::now();
    for (name, check) in [shop::CHECKS, users::CHECKS, purchases::CHECKS, operations::CHECKS].concat() {
        if !name.contains(&filter) {
            continue;
        }
        let begun = Instant::now();
        match check(&probe) {
            Ok(()) => {
                passed += 1;
                println!("ok    {:>5} ms  {name}", begun.elapsed().as_millis());
            }
            Err(why) => {
                failed += 1;
                println!("FAIL  {:>5} ms  {name}\n      {why}", begun.elapsed().as_millis());
            }
        }
    }
    println!("{url}: {} s", started.elapsed().as_secs());
    println!("{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
