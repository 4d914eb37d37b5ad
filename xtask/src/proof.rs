//! Tasks that prove what the tests of the gate only sample: many seeds, many crashes, many inputs, many requests, many
//! mutants.

use std::process::Command;
use std::time::Instant;

use crate::{Outcome, cargo, new_folder, root, run, tools, with_server};

const SIMULATE: &str = "\
Usage: cargo xtask simulate [--seeds A..B | --seed N] [--home memory|dynamodb|sqlite] [--mutant NAME]

Runs the simulation with these seeds (0..10000), over the store in memory and as DynamoDB behaves unless a home is named. A seed that
breaks a promise is told with the shortest history found. With a mutant, a classic fault is put back in first; it should be
caught.";

/// Options of a task that are all of the form `--name value`.
struct Options<'a>(&'a [String]);

impl Options<'_> {
    /// The value of an option, if it is there.
    fn value(&self, name: &str) -> Option<&str> {
        let at = self.0.iter().position(|argument| argument.strip_prefix("--") == Some(name))?;
        self.0.get(at + 1).map(String::as_str)
    }

    /// Refuses what is not among `known`.
    fn check(&self, known: &[&str], usage: &str) -> Outcome {
        let is_known = |name: &String| name.strip_prefix("--").is_some_and(|name| known.contains(&name));
        let (names, values) = (self.0.iter().step_by(2), self.0.iter().skip(1).step_by(2));
        if names.clone().all(is_known) && names.count() == values.count() { Ok(()) } else { Err(usage.to_owned()) }
    }
}

/// The integration tests; what comes after `--` says which.
const TESTS: [&str; 7] = ["test", "--quiet", "--locked", "--package", "cartwright", "--test", "it"];

/// One test that is a command, with its options in the environment.
fn test(name: &str) -> Command {
    let mut command = cargo();
    command.args(TESTS).args(["--", name, "--ignored", "--exact", "--nocapture"]);
    command
}

/// Runs seeds of the simulation.
pub(crate) fn simulate(arguments: &[String]) -> Outcome {
    let options = Options(arguments);
    options.check(&["seeds", "seed", "home", "mutant"], SIMULATE)?;
    let one = options.value("seed").map(|seed| seed.parse::<u64>().map_err(|_| SIMULATE.to_owned())).transpose()?;
    let seeds = one.map(|seed| format!("{seed}..{}", seed + 1));
    let mut command = test("simulation::the_seeds_that_were_asked_for");
    command.env("CARTWRIGHT_SIMULATE_SEEDS", seeds.as_deref().or(options.value("seeds")).unwrap_or("0..10000"));
    for name in ["home", "mutant"] {
        if let Some(value) = options.value(name) {
            command.env(format!("CARTWRIGHT_SIMULATE_{}", name.to_uppercase()), value);
        }
    }
    run(&mut command)
}

const CRASHES: &str = "\
Usage: cargo xtask crashes [--cycles N]

Kills the real binary under load, so many times (200), and starts it again each time. Fails when something that was acknowledged is not
there afterwards, or something is there twice. Tells how long the starts took.";

/// Crash cycles of the real binary.
pub(crate) fn crashes(arguments: &[String]) -> Outcome {
    let options = Options(arguments);
    options.check(&["cycles"], CRASHES)?;
    let cycles = options.value("cycles").unwrap_or("200");
    run(test("process::torture::the_cycles_that_were_asked_for").env("CARTWRIGHT_CRASH_CYCLES", cycles))
}

const FUZZ: &str = "\
Usage: cargo xtask fuzz [--cases N]

Tries every property of tests/it/fuzz.rs with the inputs that are kept in tests/fuzz-corpus, and with so many others (20000): requests,
events, exports, files of purchases; an eighth as many damaged shops. What fails is made as small as it can be, told, and written to
tests/it/fuzz-regressions.txt. Tells how long it took.";

/// The properties of the fuzz tests, over many cases.
pub(crate) fn fuzz(arguments: &[String]) -> Outcome {
    let options = Options(arguments);
    options.check(&["cases"], FUZZ)?;
    let cases: u32 = options.value("cases").unwrap_or("20000").parse().map_err(|_| FUZZ.to_owned())?;
    run(cargo().args(TESTS).arg("--no-run"))?;
    let started = Instant::now();
    run(cargo().args(TESTS).args(["--", "fuzz::"]).env("CARTWRIGHT_FUZZ_CASES", cases.to_string()))?;
    println!("fuzz: {cases} cases of each property in {} s", started.elapsed().as_secs());
    Ok(())
}

const MUTANTS: &str = "\
Usage: cargo xtask mutants [--file GLOB] [--minutes N]

Changes the rules in one place at a time, and looks whether a test notices: the models (mod.rs of the services, and values.rs), and the
operations on them (every ops.rs of a service). All of them take half a day: they come in random order, and it stops after so many
minutes (60), so that what was looked at is a sample. Installs cargo-mutants into target/tools once.";

/// The files in which mutants are made: the rules, which are pure, and what is done by them.
const RULES: [&str; 13] = [
    "crates/cartwright/src/catalog/mod.rs",
    "crates/cartwright/src/basket/mod.rs",
    "crates/cartwright/src/ordering/mod.rs",
    "crates/cartwright/src/customers/mod.rs",
    "crates/cartwright/src/purchases/mod.rs",
    "crates/cartwright/src/notifications/mod.rs",
    "crates/cartwright/src/operations/mod.rs",
    "crates/cartwright/src/access/mod.rs",
    "crates/cartwright/src/feed/mod.rs",
    "crates/cartwright/src/queues/mod.rs",
    "crates/cartwright/src/values.rs",
    "crates/cartwright/src/*/ops.rs",
    "crates/cartwright/src/*/*/ops.rs",
];

/// Mutation of the rules.
pub(crate) fn mutants(arguments: &[String]) -> Outcome {
    let options = Options(arguments);
    options.check(&["file", "minutes"], MUTANTS)?;
    let minutes: u64 = options.value("minutes").unwrap_or("60").parse().map_err(|_| MUTANTS.to_owned())?;
    let program = tools::cargo_mutants()?;
    let mut command = Command::new("timeout");
    command.current_dir(root()).args(["--signal", "INT", &format!("{minutes}m")]).arg(program);
    command.args([
        "mutants",
        "--package",
        "cartwright",
        "--in-place",
        "--shuffle",
        "--output",
        "target",
        "--timeout",
        "120",
        "--colors",
        "never",
    ]);
    let one = options.value("file");
    for file in one.as_ref().map_or(&RULES[..], std::slice::from_ref) {
        command.args(["--file", *file]);
    }
    // Without the tests of the process and of the file: they are slow, and the rules have nearer ones.
    run(command.args([
        "--",
        "--lib",
        "--test",
        "it",
        "--",
        "--skip",
        "process::",
        "--skip",
        "store_sqlite::",
        "--skip",
        "simulation::",
        "--skip",
        "fuzz::",
    ]))
}

/// Checks of Schemathesis that go by the description. That of authentication has nothing to find where there is none.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

/// Has Schemathesis ask a server of this build everything its description allows, and much that it does not. By one worker: two fail at
/// a defect of Python 3.11 now and then.
pub(crate) fn schemathesis(arguments: &[String]) -> Outcome {
    let program = tools::schemathesis()?.join("schemathesis");
    let (folder, log) = new_folder("schemathesis")?;
    with_server(&folder, &log, |url| {
        let mut command = Command::new(program);
        command.current_dir(root()).args(["run", &format!("{url}/openapi.json"), "--checks", CHECKS]);
        run(command.args(["--max-examples", "10", "--seed", "1", "--workers", "1", "--no-color"]).args(arguments))
    })
}
