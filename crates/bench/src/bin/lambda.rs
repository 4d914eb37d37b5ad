//! What a Lambda function costs before and while it works: our `bootstrap` beside hellos of Node and Python with their AWS
//! SDKs, each under the same fake Runtime API, in the same run.
//!
//! The hellos have no Lambda runtime of their own around them but a loop of twenty lines, which is in their favour.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks to its terminal")]
#![expect(clippy::float_arithmetic, reason = "figures are for people")]

use std::error::Error;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::json;

/// Times each program is started: figures are the medians.
const STARTS: usize = 7;
/// Invocations before those that count.
const WARM_UP: u32 = 50;
/// Invocations that count, of one start.
const INVOCATIONS: u32 = 500;
/// Longest wait for a program.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two looks whether a program has connected: small beside the wall times that are shown.
const LOOK_PAUSE: Duration = Duration::from_micros(100);

/// Measures Lambda functions on this machine.
#[derive(Parser)]
struct Arguments {
    /// Our binary, built for release.
    #[arg(long, value_name = "FILE")]
    bootstrap: PathBuf,
    /// The folder in which Node finds @aws-sdk/client-dynamodb; without it Node is left out.
    #[arg(long, value_name = "FOLDER")]
    node_modules: Option<PathBuf>,
    /// The Python that has boto3; without it Python is left out.
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lambda: {error}");
            ExitCode::FAILURE
        }
    }
}

type Outcome<T = ()> = Result<T, Box<dyn Error>>;
/// Makes the command that starts a function.
type Program = Box<dyn Fn() -> Command>;

fn run(arguments: &Arguments) -> Outcome {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("lambda");
    let mut programs: Vec<(&str, Program)> = Vec::new();
    let bootstrap = arguments.bootstrap.clone();
    programs.push(("Cartwright (Rust)", Box::new(move || Command::new(&bootstrap))));
    if let Some(folder) = arguments.node_modules.clone() {
        let script = scripts.join("hello.cjs");
        let hello = move || {
            let mut node = Command::new("node");
            node.arg(&script).env("NODE_PATH", &folder);
            node
        };
        programs.push(("hello, Node", Box::new(hello)));
    }
    if let Some(python) = arguments.python.clone() {
        let script = scripts.join("hello.py");
        let hello = move || {
            let mut command = Command::new(&python);
            command.arg(&script);
            command
        };
        programs.push(("hello, Python", Box::new(hello)));
    }
    let mut figures: Vec<Vec<Figures>> = programs.iter().map(|_| Vec::new()).collect();
    for round in 1..=STARTS {
        eprintln!("round {round} of {STARTS}");
        for ((_, program), figures) in programs.iter().zip(&mut figures) {
            figures.push(measure(program())?);
        }
    }
    println!(
        "| function | start to first `next`: CPU, ms | wall, ms | memory then, MB | after {INVOCATIONS} invocations, MB | CPU an invocation, µs |"
    );
    println!("|---|---|---|---|---|---|");
    for ((name, _), figures) in programs.iter().zip(&figures) {
        let median = |value: fn(&Figures) -> f64| {
            let mut values: Vec<f64> = figures.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        println!(
            "| {name} | {:.1} | {:.1} | {:.1} | {:.1} | {:.0} |",
            median(|figures| figures.init_cpu.as_secs_f64() * 1e3),
            median(|figures| figures.init_wall.as_secs_f64() * 1e3),
            median(|figures| figures.init_memory_kb as f64 / 1024.0),
            median(|figures| figures.memory_kb as f64 / 1024.0),
            median(|figures| figures.cpu.as_secs_f64() * 1e6 / f64::from(INVOCATIONS)),
        );
    }
    Ok(())
}

/// One start of one program.
struct Figures {
    init_cpu: Duration,
    init_wall: Duration,
    init_memory_kb: u64,
    memory_kb: u64,
    cpu: Duration,
}

/// A process that does not outlive its measurement.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn measure(mut program: Command) -> Outcome<Figures> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let started = Instant::now();
    let environment = [
        ("AWS_LAMBDA_FUNCTION_NAME", "measured"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "none"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "none"),
        ("AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH", "true"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_DEFAULT_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "none"),
        ("AWS_SECRET_ACCESS_KEY", "none"),
        ("CARTWRIGHT_LOG", "warn"),
        ("PREFIX", "measured-"),
        ("ROLE", "api"),
        ("SERVICE", "site"),
    ];
    let program = program.env("AWS_LAMBDA_RUNTIME_API", listener.local_addr()?.to_string()).envs(environment);
    listener.set_nonblocking(true)?;
    let process = Running(program.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?);
    let pid = process.0.id();
    let mut runtime = RuntimeApi { listener, process, connection: None };
    runtime.wait_for_next()?;
    let (init_wall, init_cpu, init_memory_kb) = (started.elapsed(), cpu_time(pid)?, memory_kb(pid)?);
    for _ in 0..WARM_UP {
        runtime.invoke()?;
    }
    let before = cpu_time(pid)?;
    for _ in 0..INVOCATIONS {
        runtime.invoke()?;
    }
    Ok(Figures { init_cpu, init_wall, init_memory_kb, memory_kb: memory_kb(pid)?, cpu: cpu_time(pid)? - before })
}

/// The Runtime API of Lambda, for one function that asks it one thing after the other.
struct RuntimeApi {
    listener: TcpListener,
    process: Running,
    connection: Option<BufReader<TcpStream>>,
}

impl RuntimeApi {
    /// Waits until the function asks for an invocation; it waits until [`RuntimeApi::invoke`].
    fn wait_for_next(&mut self) -> Outcome {
        let line = self.request()?;
        if line.starts_with("GET /2018-06-01/runtime/invocation/next ") { Ok(()) } else { Err(line.into()) }
    }

    /// Gives the waiting function a request of API Gateway, takes its answer, and waits until it asks for the next.
    fn invoke(&mut self) -> Outcome {
        let event = json!({
            "resource": "/{proxy+}", "path": "/health", "httpMethod": "GET",
            "headers": {"Host": "example.org"}, "multiValueHeaders": {"Host": ["example.org"]},
            "queryStringParameters": null, "multiValueQueryStringParameters": null,
            "pathParameters": {"proxy": "health"}, "stageVariables": null,
            "requestContext": {"resourceId": "r", "resourcePath": "/{proxy+}", "httpMethod": "GET", "path": "/dev/health",
                "accountId": "000000000000", "protocol": "HTTP/1.1", "stage": "dev", "requestId": "r", "apiId": "a",
                "identity": {"sourceIp": "127.0.0.1"}},
            "body": null, "isBase64Encoded": false,
        })
        .to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nlambda-runtime-aws-request-id: r\r\n\
             lambda-runtime-deadline-ms: 4102444800000\r\nlambda-runtime-invoked-function-arn: arn:aws:lambda:eu-central-1:000000000000:function:measured\r\n\
             lambda-runtime-trace-id: Root=1-00000000-000000000000000000000000\r\ncontent-length: {}\r\n\r\n",
            event.len()
        );
        self.answer(&(head + &event))?;
        let line = self.request()?;
        if !line.starts_with("POST /2018-06-01/runtime/invocation/r/response ") {
            return Err(line.into());
        }
        self.answer("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")?;
        self.wait_for_next()
    }

    fn answer(&mut self, answer: &str) -> Outcome {
        let connection = self.connection.as_mut().ok_or("nobody waits for an answer")?;
        connection.get_mut().write_all(answer.as_bytes())?;
        Ok(())
    }

    fn accept(&mut self) -> Outcome<TcpStream> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.listener.accept() {
                Ok((connection, _)) => {
                    connection.set_nonblocking(false)?;
                    connection.set_read_timeout(Some(PATIENCE))?;
                    connection.set_nodelay(true)?;
                    return Ok(connection);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            if let Some(status) = self.process.0.try_wait()? {
                return Err(format!("the function ended before it asked for work: {status}").into());
            }
            if Instant::now() > deadline {
                return Err("the function does not ask for work".into());
            }
            std::thread::sleep(LOOK_PAUSE);
        }
    }

    /// The first line of the next request, whose body is read and forgotten. A function may use one connection or many.
    fn request(&mut self) -> Outcome<String> {
        loop {
            if self.connection.is_none() {
                self.connection = Some(BufReader::new(self.accept()?));
            }
            let Some(connection) = &mut self.connection else { continue };
            let mut first = String::new();
            if connection.read_line(&mut first)? == 0 {
                self.connection = None;
                continue;
            }
            let mut length = 0;
            loop {
                let mut line = String::new();
                connection.read_line(&mut line)?;
                let Some((name, value)) = line.split_once(':') else { break };
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.trim().parse()?;
                }
            }
            connection.take(length).read_to_end(&mut Vec::new())?;
            return Ok(first);
        }
    }
}

/// CPU time of all threads of a process, to the nanosecond.
fn cpu_time(pid: u32) -> Outcome<Duration> {
    let mut sum = Duration::ZERO;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let schedstat = std::fs::read_to_string(task?.path().join("schedstat"))?;
        sum += Duration::from_nanos(schedstat.split(' ').next().unwrap_or_default().parse()?);
    }
    Ok(sum)
}

/// Resident memory of a process.
fn memory_kb(pid: u32) -> Outcome<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("the system does not tell the memory")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
