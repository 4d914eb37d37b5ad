//! The project's tasks: `cargo xtask ci` is the one gate, here and in CI.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a task runner talks to its terminal")]
#![expect(clippy::disallowed_methods, reason = "a task runner reads its environment")]

use std::env;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

const HELP: &str = "\
Usage: cargo xtask <TASK>

Tasks:
  ci      Everything that must pass before a change lands: fmt, clippy, test, accept, doc, deny
  fmt     Formatting (--fix to mend it)
  clippy  Lints, of all targets, warnings denied
  test    All tests
  doc     The documentation builds without a warning
  deny    Licences, sources and banned crates of all dependencies (installs cargo-deny into target/tools once)
  accept  The acceptance suite: accept BASE_URL [OPTIONS] against a running server (accept --help tells more), accept alone
          against a new one, twice
  bench   The benchmark, in release (--quick for a smoke test, --json FILE for the numbers)";

/// The release of cargo-deny that is installed. Without its default features: they only serve to look at git repositories.
const CARGO_DENY: &str = "0.20.2";

type Outcome = Result<(), String>;
type Step = (&'static str, fn() -> Outcome);

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let task = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let outcome = match task.as_str() {
        "ci" => ci(),
        "fmt" => fmt(rest.iter().any(|argument| argument == "--fix")),
        "clippy" => clippy(),
        "test" => test(),
        "doc" => doc(),
        "deny" => deny(),
        "accept" if rest.is_empty() => accept_new(),
        "accept" => accept(&rest),
        "bench" => bench(&rest),
        "" | "help" | "--help" | "-h" => {
            println!("{HELP}");
            Ok(())
        }
        unknown => Err(format!("there is no task called {unknown:?}\n\n{HELP}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

fn ci() -> Outcome {
    let steps: [Step; 6] = [
        ("fmt", || fmt(false)),
        ("clippy", clippy),
        ("test", test),
        ("accept", accept_new),
        ("doc", doc),
        ("deny", deny),
    ];
    for (name, step) in steps {
        println!("── {name}");
        let started = Instant::now();
        step().map_err(|why| format!("{name}: {why}"))?;
        println!("── {name}: done in {} s", started.elapsed().as_secs());
    }
    println!("── all is well");
    Ok(())
}

fn fmt(fix: bool) -> Outcome {
    run(cargo().args(["fmt", "--all"]).args(if fix { &[][..] } else { &["--check"] }))
}

fn clippy() -> Outcome {
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
}

fn test() -> Outcome {
    run(cargo().args(["test", "--workspace", "--locked"]))
}

fn doc() -> Outcome {
    run(cargo().args(["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-D warnings"))
}

fn deny() -> Outcome {
    let tools = root().join("target/tools");
    let installed = Command::new(tools.join("bin/cargo-deny")).arg("--version").output();
    let is_current = installed.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim().ends_with(CARGO_DENY));
    if !is_current {
        println!("installing cargo-deny {CARGO_DENY} (once, a few minutes)");
        let install = ["install", "cargo-deny", "--locked", "--no-default-features", "--version", CARGO_DENY, "--root"];
        run(cargo().args(install).arg(&tools).arg("--target-dir").arg(tools.join("build")))?;
    }
    run(Command::new(tools.join("bin/cargo-deny"))
        .current_dir(root())
        .args(["--locked", "check", "bans", "licenses", "sources"]))
}

/// Starts a server of this build on a free port, with an empty folder, and asks it everything twice: the second time it
/// holds data already.
fn accept_new() -> Outcome {
    run(cargo().args(["build", "--quiet", "--locked", "--package", "cartwright"]))?;
    let folder = root().join("target/accept-data");
    let _ = std::fs::remove_dir_all(&folder);
    let mut server = Command::new(root().join("target/debug/cartwright"))
        .args(["serve", "--listen", "127.0.0.1:0", "--log", "error", "--data"])
        .arg(&folder)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start the server: {error}"))?;
    let lines = BufReader::new(server.stdout.take().ok_or("the server has no output")?).lines();
    let url = lines
        .map_while(Result::ok)
        .find_map(|line| line.split_once("listening on").map(|(_, url)| url.trim().to_owned()));
    let outcome = match url {
        Some(url) => accept(std::slice::from_ref(&url)).and_then(|()| accept(&[url])),
        None => Err("the server did not say where it listens".to_owned()),
    };
    let stopped = server.kill().and_then(|()| server.wait());
    outcome.and(stopped.map(drop).map_err(|error| format!("cannot stop the server: {error}")))
}

fn accept(arguments: &[String]) -> Outcome {
    run(cargo().args(["run", "--quiet", "--locked", "--package", "cartwright-accept", "--"]).args(arguments))
}

fn bench(arguments: &[String]) -> Outcome {
    run(cargo().args(["run", "--release", "--locked", "--package", "cartwright-bench", "--"]).args(arguments))
}

fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map(Path::to_owned).unwrap_or_default()
}

fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(root());
    command
}

fn run(command: &mut Command) -> Outcome {
    let status = command.status().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed: {status}")) }
}
