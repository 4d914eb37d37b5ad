//! The acceptance suite: does a server do what Cartwright promises? Asked over HTTP and nothing else, so that one suite
//! serves every home the application has. Each check has data of its own, named by the run, and needs no other: it can run
//! alone, beside the others, and again against a server that already holds data.
//!
//! `cargo xtask accept http://127.0.0.1:8080`. The numbers of the checks are those of `docs/classic-paths.md`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks to its terminal")]
#![expect(clippy::disallowed_methods, reason = "the time names the run, and keys come from the environment")]

mod access;
mod classic;
mod client;
mod everywhere;
mod probe;
mod races;
mod v1;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use client::Client;
use probe::{Outcome, Probe};

/// A check: the row it is about, and what it does.
pub(crate) type Check = (&'static str, fn(&Probe) -> Outcome);

/// Checks that run at the same time: most of them wait for queues.
const WORKERS: usize = 8;

/// Asks a server everything that Cartwright promises, and tells where it does otherwise.
#[derive(Parser)]
#[command(
    bin_name = "cargo xtask accept",
    after_help = "\
Checks are named after what they are about: everywhere, access, 1 to 5 (the classic paths, as docs/classic-paths.md numbers them), v1,
race. FILTER picks those whose name contains it: cargo xtask accept http://127.0.0.1:8080 /product

A deployment on AWS, and patience for its queues:
  cargo xtask accept https://HOST/STAGE --events https://events.eu-central-1.amazonaws.com --patience 60

Environment:
  CARTWRIGHT_KEY       The API key of an admin; without it the server must be open
  CARTWRIGHT_API_KEY   Sent as x-api-key with every request, for deployments whose API Gateway wants one
  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION
                       Sign what is sent to --events; made-up ones do unless that is AWS itself
  SSL_CERT_FILE        Certificates to trust instead of those of the system"
)]
struct Options {
    /// Where the server is, with the prefix of its paths if they have one.
    #[arg(value_parser = client::base_url)]
    base_url: String,
    /// Only the checks whose name contains this.
    #[arg(default_value = "", hide_default_value = true)]
    filter: String,
    /// Where events are put, for deployments whose event bus is EventBridge; without it, at the server itself.
    #[arg(long, value_name = "URL", value_parser = client::base_url)]
    events: Option<String>,
    /// The API key of an admin, for servers with access control.
    #[arg(long, env = "CARTWRIGHT_KEY", hide_env_values = true, value_name = "KEY")]
    key: Option<String>,
    /// Longest wait for what happens behind a queue.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    patience: u64,
}

/// What became of a check.
struct Verdict {
    outcome: Outcome,
    took: Duration,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let everything =
        [&[everywhere::CHECKS, access::CHECKS], classic::CHECKS, v1::CHECKS, &[races::CHECKS]].concat().concat();
    let checks: Vec<Check> = everything.into_iter().filter(|(name, _)| name.contains(&options.filter)).collect();
    if checks.is_empty() {
        eprintln!("accept: no check has {:?} in its name; leave it out to run all", options.filter);
        return ExitCode::FAILURE;
    }
    let key = std::env::var("CARTWRIGHT_API_KEY").ok().filter(|key| !key.is_empty());
    let credential = options.key.clone().filter(|key| !key.is_empty());
    let client = Arc::new(Client::new(&options.base_url, key, credential));
    if let Err(why) = client.send("GET", "/health", &[], None) {
        eprintln!("accept: no answer from {}: {why}; start the server, or give its URL", options.base_url);
        return ExitCode::FAILURE;
    }
    let started = Instant::now();
    let failed = run(&checks, &options, &client);
    println!("{}: {:.1} s", options.base_url, started.elapsed().as_secs_f32());
    println!("{} passed, {failed} failed", checks.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the checks, a few at a time, and reports them in their order. How many failed.
fn run(checks: &[Check], options: &Options, client: &Arc<Client>) -> usize {
    // The key is the server's, and no business of an event bus elsewhere.
    let events =
        options.events.as_ref().map_or_else(|| Arc::clone(client), |url| Arc::new(Client::new(url, None, None)));
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let probe = |at: usize| Probe {
        client: Arc::clone(client),
        events: Arc::clone(&events),
        run: format!("{millis:x}-{at}"),
        patience: Duration::from_secs(options.patience),
    };
    let next = AtomicUsize::new(0);
    let (done, verdicts) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            let (done, next, probe) = (done.clone(), &next, &probe);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some((_, check)) = checks.get(at) else { break };
                    let begun = Instant::now();
                    let outcome = check(&probe(at));
                    let _ = done.send((at, Verdict { outcome, took: begun.elapsed() }));
                }
            });
        }
        drop(done);
        report(checks, verdicts)
    })
}

/// Prints each verdict as soon as those before it are there. How many failed.
fn report(checks: &[Check], verdicts: mpsc::Receiver<(usize, Verdict)>) -> usize {
    let bar = ProgressBar::new(checks.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} checks, {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    let (mut early, mut printed, mut failed) = (BTreeMap::new(), 0, 0);
    for (at, verdict) in verdicts {
        bar.inc(1);
        early.insert(at, verdict);
        while let Some(Verdict { outcome, took }) = early.remove(&printed) {
            let (name, took) = (checks[printed].0, took.as_millis());
            bar.suspend(|| match &outcome {
                Ok(()) => println!("ok    {took:>5} ms  {name}"),
                Err(why) => println!("FAIL  {took:>5} ms  {name}\n      {why}"),
            });
            failed += usize::from(outcome.is_err());
            printed += 1;
        }
    }
    bar.finish_and_clear();
    failed
}
