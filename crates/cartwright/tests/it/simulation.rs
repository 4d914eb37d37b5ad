//! Deterministic simulation: random customers, staff and stock against the real services, over a store, a delivery and a
//! clock that do what a seed says.
//!
//! Whoever is at work waits at every read, every commit and every answer until the simulation lets one of them go on; so the
//! seed decides the order of everything, and every fault. One seed is one run, whenever and wherever it is run. What is
//! checked is in [`oracle`]; `docs/proof.md` says what it covers and how to replay a run.

mod delivery;
pub mod model;
mod mutants;
mod oracle;
mod plan;
mod ports;
mod shoppers;
mod shrink;
mod sqlite;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cartwright::store::conformance;

use model::Model;
use mutants::Mutant;
use plan::Plan;
use world::{Figures, Home, Simulator};

/// Runs the seeds one after the other. What they covered; or the first seed that broke a promise, and how.
fn run(home: Home, mutant: Option<Mutant>, seeds: std::ops::Range<u64>) -> Result<Figures, (u64, String)> {
    let (simulator, mut figures) = (Simulator::new(), Figures::default());
    for seed in seeds {
        let outcome = simulator.run(&Plan::of_seed(seed), home, mutant, false);
        if let Some(broken) = outcome.broken {
            return Err((seed, broken));
        }
        figures.add(outcome.figures);
    }
    Ok(figures)
}

/// The failure of a seed in words: what is broken, and the shortest history that breaks it.
fn explain(home: Home, mutant: Option<Mutant>, seed: u64) -> String {
    let simulator = Simulator::new();
    let plan = Plan::of_seed(seed);
    let shortest = shrink::shrink(&simulator, &plan, home, mutant);
    let outcome = simulator.run(&shortest, home, mutant, true);
    let broken = outcome.broken.unwrap_or_default();
    let (before, after) = (plan.words.len(), shortest.words.len());
    let history = outcome.history.join("\n");
    format!(
        "seed {seed} ({home:?}): {broken}\nThe shortest history found ({after} of {before} steps):\n{history}\n=> {broken}"
    )
}

/// Seeds of each home that are part of the gate.
const SEEDS: u64 = 250;
const SEEDS_OVER_THE_FILE: u64 = 24;
/// Most seeds that it may take to catch a classic fault.
const SEEDS_TO_CATCH: u64 = 150;

fn must_hold(home: Home, seeds: std::ops::Range<u64>) {
    if let Err((seed, _)) = run(home, None, seeds) {
        panic!("{}", explain(home, None, seed));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_in_memory_keeps_the_contract_of_the_port() {
    conformance::run(Arc::new(Model::default()), "model").await;
}

#[test]
fn no_seed_breaks_a_promise_in_memory() {
    must_hold(Home::Memory, 0..SEEDS);
}

#[test]
fn no_seed_breaks_a_promise_as_dynamodb_behaves() {
    must_hold(Home::Dynamo, 0..SEEDS);
}

#[test]
fn no_seed_breaks_a_promise_over_the_real_file() {
    must_hold(Home::Sqlite, 0..SEEDS_OVER_THE_FILE);
}

/// Seeds that broke a promise once: operators could not be told of a message that died, and nobody went on; a checkout was
/// announced again after its customer was erased, and died; an erasure by a clock that was put back undid the one before; a
/// second erasure of a name was not noticed by who had read of the first.
#[test]
fn no_seed_breaks_a_promise_again_that_once_did() {
    for seed in [312, 1013, 3838, 4979] {
        must_hold(Home::Memory, seed..seed + 1);
        must_hold(Home::Dynamo, seed..seed + 1);
    }
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    for (home, seeds) in [(Home::Memory, 0..15), (Home::Dynamo, 0..15), (Home::Sqlite, 0..3)] {
        let (first, second) = (Simulator::new(), Simulator::new());
        for seed in seeds.rev() {
            let plan = Plan::of_seed(seed);
            let history = first.run(&plan, home, None, true).history;
            assert!(history.len() > 100, "seed {seed} of {home:?} is a run of some length");
            assert_eq!(second.run(&plan, home, None, true).history, history, "seed {seed} of {home:?}");
        }
    }
}

/// How many seeds it took to catch a mutant, in the home where it shows, and what was said of it.
fn caught(mutant: Mutant) -> Option<(Home, u64, String)> {
    [Home::Memory, Home::Dynamo].into_iter().find_map(|home| {
        let (seed, broken) = run(home, Some(mutant), 0..SEEDS_TO_CATCH).err()?;
        Some((home, seed + 1, broken))
    })
}

#[test]
#[expect(clippy::print_stdout, reason = "the table that docs/proof.md shows")]
fn every_classic_fault_is_caught() {
    for mutant in Mutant::ALL {
        let (home, seeds, broken) = caught(mutant).unwrap_or_else(|| panic!("{mutant:?} is not caught"));
        println!("{mutant:?}: caught by seed {} of {home:?}, the {seeds}th: {broken}", seeds - 1);
    }
}

#[test]
fn a_failure_is_told_as_the_shortest_history_found() {
    let (_, seeds, _) = caught(Mutant::PublishThenDelete).unwrap();
    let told = explain(Home::Memory, Some(Mutant::PublishThenDelete), seeds - 1);
    assert!(told.starts_with(&format!("seed {} (Memory): ", seeds - 1)), "{told}");
    let steps = told.split("history found (").nth(1).unwrap().split(' ').next().unwrap();
    assert!(steps.parse::<usize>().unwrap() < 40, "{told}");
}

/// What `cargo xtask simulate` runs: the seeds that the environment names, with a progress bar.
#[test]
#[ignore = "cargo xtask simulate runs it"]
#[expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a command that talks to its terminal")]
fn the_seeds_that_were_asked_for() {
    let asked = |name: &str| std::env::var(format!("CARTWRIGHT_SIMULATE_{name}")).ok();
    let (from, to) =
        asked("SEEDS").unwrap().split_once("..").map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap())).unwrap();
    let mutant =
        asked("MUTANT").map(|name| Mutant::named(&name).unwrap_or_else(|| panic!("no mutant is called {name}")));
    let homes = match asked("HOME").as_deref() {
        None => vec![Home::Memory, Home::Dynamo],
        Some("memory") => vec![Home::Memory],
        Some("dynamodb") => vec![Home::Dynamo],
        Some("sqlite") => vec![Home::Sqlite],
        Some(other) => panic!("no home is called {other}: memory, dynamodb or sqlite"),
    };
    for home in homes {
        let started = std::time::Instant::now();
        let bar = indicatif::ProgressBar::new(to - from);
        let outcome = run_in_parallel(home, mutant, from..to, &bar);
        bar.finish_and_clear();
        match outcome {
            Ok(figures) => println!("{} seeds of {home:?} in {:?}: {figures:?}", to - from, started.elapsed()),
            Err(seed) => panic!("{}", explain(home, mutant, seed)),
        }
    }
}

/// Runs the seeds with all cores. What they covered, or the lowest of those seeds that were found to break a promise.
fn run_in_parallel(
    home: Home,
    mutant: Option<Mutant>,
    seeds: std::ops::Range<u64>,
    bar: &indicatif::ProgressBar,
) -> Result<Figures, u64> {
    let (next, broken) = (AtomicU64::new(seeds.start), AtomicU64::new(u64::MAX));
    let work = || {
        let (simulator, mut figures) = (Simulator::new(), Figures::default());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end.min(broken.load(Ordering::Relaxed)) {
                return figures;
            }
            let outcome = simulator.run(&Plan::of_seed(seed), home, mutant, false);
            if outcome.broken.is_some() {
                broken.fetch_min(seed, Ordering::Relaxed);
            }
            figures.add(outcome.figures);
            bar.inc(1);
        }
    };
    let mut all = Figures::default();
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().for_each(|worker| all.add(worker.join().unwrap()));
    });
    match broken.into_inner() {
        u64::MAX => Ok(all),
        seed => Err(seed),
    }
}
