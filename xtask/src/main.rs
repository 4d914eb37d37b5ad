//! The project's tasks: `cargo xtask ci` is the one gate, here and in CI.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a task runner talks to its terminal")]
#![expect(clippy::disallowed_methods, reason = "a task runner reads its environment")]

mod aws_test;
mod channels;
mod deploy;
mod emulator;
mod lambda;
mod live;
mod pages;
mod proof;
mod tools;

use std::env;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use lambda::Architecture;

const HELP: &str = "\
Usage: cargo xtask <TASK>

Tasks:
  ci            Everything that must pass before a change lands: fmt, clippy, build, tools, test, accept, channels, pages, doc,
                deny, aws-test
  fmt           Formatting (--fix to mend it)
  clippy        Lints, of all targets, warnings denied
  test          All tests (installs an emulator of DynamoDB into target/tools once)
  doc           The documentation builds without a warning
  deny          Licences, sources and banned crates of all dependencies (installs cargo-deny into target/tools once)
  tools         Installs the tools of all tests, once; ci does so while it builds
  accept        The acceptance suite: accept BASE_URL [OPTIONS] against a running server (accept --help tells more), accept alone
                against a new one, twice, and against one with access control; their log is then searched for what was sent of people
  simulate      Random customers, staff and faults over the simulation (simulate --help tells more)
  crashes       Kills the real binary under load, again and again (crashes --cycles 200)
  fuzz          Sends, delivers, reads and stores what no one should, in very many forms (fuzz --cases 20000)
  schemathesis  Asks a new server what its description allows, and what it does not (installs Schemathesis into target/tools once)
  mutants       Changes the rules, and the operations by them, in one place at a time, and looks whether a test notices (installs
                cargo-mutants once)
  channels      Webhooks and e-mail of a server of this build arrive at receivers that others have written (installs those into
                target/tools once)
  pages         The storefront and the desk in a browser (installs one as root where there is apt; Node and what drives the
                browser into target/tools once); --screenshots draws docs/images instead
  bench         The benchmark, in release: bench [ROWS] (--quick for a smoke test, --json FILE for the numbers; growth, hot,
                soak --minutes N, overload and peers only when they are named; peers installs those into target/peers once)
  bench-lambda  What a function costs before and while it works, beside hellos of Node (which must be there) and Python; fails when
                that is more than a tenth beyond its budgets
  lambda        Builds the functions for AWS and packs them into target/lambda (--arm64 for Graviton processors)
  aws-test      Deploys the AWS home to an emulator of AWS and proves that it works (aws-test --help tells more; installs the
                emulator and the SAM CLI into target/tools once)
  deploy        Builds and deploys to AWS: deploy --stage dev|qa|staging|prod [--guided | --watch MINUTES]; a deployment that is
                watched is taken back when an alarm rings";

/// What a task ends with; the error says in words what is wrong.
type Outcome<T = ()> = Result<T, String>;
type Step = (&'static str, fn() -> Outcome);

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let task = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let outcome = match task.as_str() {
        "ci" | "clippy" | "test" | "doc" | "deny" | "tools" | "bench-lambda" | "channels" if !rest.is_empty() => {
            Err(format!("{task} takes no arguments\n\n{HELP}"))
        }
        "ci" => ci(),
        "fmt" => fmt(rest.iter().any(|argument| argument == "--fix")),
        "clippy" => clippy(),
        "test" => test(),
        "doc" => doc(),
        "deny" => deny(),
        "tools" => install_tools(),
        "accept" if rest.is_empty() => accept_new(),
        "accept" => accept(&rest),
        "pages" => pages::pages(&rest),
        "bench" => bench(&rest),
        "lambda" if rest.is_empty() => lambda::lambda(Architecture::X86),
        "lambda" if rest == ["--arm64"] => lambda::lambda(Architecture::Arm),
        "lambda" => Err("Usage: cargo xtask lambda [--arm64]".to_owned()),
        "bench-lambda" => bench_lambda(),
        "simulate" => proof::simulate(&rest),
        "crashes" => proof::crashes(&rest),
        "fuzz" => proof::fuzz(&rest),
        "mutants" => proof::mutants(&rest),
        "schemathesis" => proof::schemathesis(&rest),
        "aws-test" => aws_test::aws_test(&rest),
        "channels" => channels::channels(),
        "deploy" => deploy::deploy(&rest),
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
    let steps: &[Step] = &[
        ("fmt", || fmt(false)),
        ("clippy", clippy),
        ("build", build),
        ("tools", install_tools),
        ("test", test),
        ("accept", accept_new),
        ("channels", channels::channels),
        ("pages", || pages::pages(&[])),
        ("doc", doc),
        ("deny", deny),
        ("aws-test", || aws_test::aws_test(&[])),
    ];
    IS_GATE.store(true, Ordering::Relaxed);
    start_installing()?;
    for (name, step) in steps {
        println!("── {name}");
        let started = Instant::now();
        step().map_err(|why| format!("{name}: {why}"))?;
        println!("── {name}: done in {} s", started.elapsed().as_secs());
    }
    println!("── all is well");
    Ok(())
}

/// Installs every tool that the gate needs: what is compiled, and beside it what is only loaded.
fn install_tools() -> Outcome {
    let lock = tools::lock()?;
    let loaded = std::thread::spawn(|| {
        tools::receivers()?;
        pages::install()?;
        tools::python_tools().map(drop)
    });
    let compiled = tools::dynoxide().and_then(|_| tools::cargo_deny()).map(drop);
    let loaded = loaded.join().map_err(|_| "the thread that installs tools has panicked".to_owned())?;
    drop(lock);
    compiled.and(loaded)
}

/// Begins to install the tools with what the builds leave of the processors. The step that needs them waits for that, and
/// tells what went wrong.
fn start_installing() -> Outcome {
    let told = |error: std::io::Error| format!("cannot install tools beside the builds: {error}");
    let log = std::fs::create_dir_all(root().join("target"))
        .and_then(|()| std::fs::File::create(root().join("target/tools.log")))
        .map_err(told)?;
    let mut tools = Command::new("nice");
    tools.args(["-n", "19"]).arg(env::current_exe().map_err(told)?).arg("tools").stdin(Stdio::null());
    tools.stdout(log.try_clone().map_err(told)?).stderr(log).spawn().map(drop).map_err(told)
}

/// What the gate builds at once: all programs and all tests.
const ALL: [&str; 4] = ["--workspace", "--lib", "--bins", "--tests"];
/// Whether this is the gate.
static IS_GATE: AtomicBool = AtomicBool::new(false);

fn build() -> Outcome {
    run(cargo().args(["build", "--locked"]).args(ALL))
}

/// Builds a program for development, and tells where it is. Alone it is built with fewer features of the libraries than together
/// with all others; the gate has them all already, and builds nothing twice.
fn program(package: &str, name: &str) -> Outcome<PathBuf> {
    let alone = ["--package", package, "--bin", name];
    let what = if IS_GATE.load(Ordering::Relaxed) { ALL } else { alone };
    run(cargo().args(["build", "--quiet", "--locked"]).args(what))?;
    Ok(root().join("target/debug").join(name))
}

/// The server of this build.
fn server() -> Outcome<PathBuf> {
    program("cartwright", "cartwright")
}

fn fmt(fix: bool) -> Outcome {
    run(cargo().args(["fmt", "--all"]).args(if fix { &[][..] } else { &["--check"] }))
}

fn clippy() -> Outcome {
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
}

fn test() -> Outcome {
    tools::dynoxide()?;
    run(cargo().args(["test", "--workspace", "--locked"]))
}

fn doc() -> Outcome {
    run(cargo().args(["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-D warnings"))
}

fn deny() -> Outcome {
    run(Command::new(tools::cargo_deny()?)
        .current_dir(root())
        .args(["--locked", "check", "bans", "licenses", "sources"]))
}

/// Starts a server of this build on a free port, with an empty folder, and asks it everything twice: the second time it
/// holds data already. Then it gets an API key, and everything is asked again by an admin. It logs all it can, and what was sent
/// of people must not be in its log.
fn accept_new() -> Outcome {
    let (folder, log) = new_folder("accept")?;
    let sent = [0, 1, 2].map(|time| root().join(format!("target/accept-sent-{time}.txt")));
    with_server(&folder, &log, |url| {
        accept_and_note(&url, &sent[0], &[]).and_then(|()| accept_and_note(&url, &sent[1], &[]))
    })?;
    let mut keys = Command::new(server()?);
    keys.args(["keys", "create", "--name", "acceptance", "--role", "admin", "--data"]).arg(&folder);
    let made = keys.output().map_err(|error| format!("cannot make a key: {error}"))?;
    let said = String::from_utf8_lossy(&made.stdout).into_owned();
    let key =
        said.lines().next().filter(|line| line.starts_with("cw_")).ok_or_else(|| format!("no key was made: {said}"))?;
    with_server(&folder, &log, |url| accept_and_note(&url, &sent[2], &["--key", key]))?;
    sent.iter().try_for_each(|sent| nothing_is_in_the_log(&log, sent))
}

/// Makes room in `target` for its data and its log: a folder and a file that are not there.
fn new_folder(name: &str) -> Result<(PathBuf, PathBuf), String> {
    let target = root().join("target");
    let (folder, log) = (target.join(format!("{name}-data")), target.join(format!("{name}.log")));
    let _ = std::fs::remove_dir_all(&folder);
    let _ = std::fs::remove_file(&log);
    Ok((folder, log))
}

/// Does something with the URL of a server over `folder`, which is stopped afterwards. What it logs is added to `log`.
fn with_server(folder: &Path, log: &Path, work: impl FnOnce(String) -> Outcome) -> Outcome {
    let stderr = std::fs::File::options().create(true).append(true).open(log);
    let stderr = stderr.map_err(|error| format!("cannot write {}: {error}", log.display()))?;
    let mut server = Command::new(server()?)
        .args(["serve", "--listen", "127.0.0.1:0", "--log", "cartwright=trace", "--log-format", "json", "--data"])
        .arg(folder)
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .map_err(|error| format!("cannot start the server: {error}"))?;
    let lines = BufReader::new(server.stdout.take().ok_or("the server has no output")?).lines();
    let url = lines
        .map_while(Result::ok)
        .find_map(|line| line.split_once("listening on").map(|(_, url)| url.trim().to_owned()));
    let outcome = match url {
        Some(url) => work(url),
        None => Err("the server did not say where it listens".to_owned()),
    };
    let stopped = server.kill().and_then(|()| server.wait());
    outcome.and(stopped.map(drop).map_err(|error| format!("cannot stop the server: {error}")))
}

fn accept_and_note(url: &str, sent: &Path, more: &[&str]) -> Outcome {
    let sent = sent.display().to_string();
    let arguments: Vec<String> =
        [url, "--sent", &sent].iter().chain(more).map(|argument| (*argument).to_owned()).collect();
    accept(&arguments)
}

/// Looks for everything that `sent` lists in the log, which must have lines enough that it could be there.
fn nothing_is_in_the_log(log: &Path, sent: &Path) -> Outcome {
    let read =
        |file: &Path| std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()));
    let (text, sent) = (read(log)?, read(sent)?);
    let (lines, values) = (text.lines().count(), sent.lines().count());
    if lines < 500 || values < 100 {
        return Err(format!("{lines} lines of log and {values} texts that were sent: too few to tell anything"));
    }
    for value in sent.lines() {
        if let Some(line) = text.lines().find(|line| line.contains(value)) {
            return Err(format!("the log tells {value:?}, which was sent of a person: {line}"));
        }
    }
    println!("{lines} lines of log tell none of {values} texts that were sent of people");
    Ok(())
}

fn accept(arguments: &[String]) -> Outcome {
    run(Command::new(program("cartwright-accept", "cartwright-accept")?).current_dir(root()).args(arguments))
}

fn bench(arguments: &[String]) -> Outcome {
    if arguments.iter().any(|argument| argument == "peers") {
        tools::peers()?;
    }
    run(cargo().args(["run", "--release", "--locked", "--package", "cartwright-bench", "--"]).args(arguments))
}

fn bench_lambda() -> Outcome {
    lambda::lambda(Architecture::X86)?;
    let (node, python, dynoxide) = (tools::node_sdk()?, tools::python_tools()?.join("python"), tools::dynoxide()?);
    let what = ["run", "--quiet", "--locked", "--package", "cartwright-bench", "--bin", "lambda", "--", "--bootstrap"];
    let mut measure = cargo();
    measure.args(what).arg(lambda::binary()).arg("--dynoxide").arg(dynoxide);
    run(measure.arg("--node-modules").arg(node).arg("--python").arg(python))
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
