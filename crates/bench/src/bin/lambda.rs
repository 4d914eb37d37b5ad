//! What a Lambda function costs before and while it works: our `bootstrap` beside hellos of Node and Python with their AWS
//! SDKs, each under the same fake Runtime API, in the same run; and our API and a worker over an emulated DynamoDB.
//!
//! The hellos have no Lambda runtime of their own around them but a loop of twenty lines, which is in their favour. What ours
//! takes of the one of Python is held against budgets, because ratios of one run are all that a machine can tell for long.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks to its terminal")]
#![expect(clippy::float_arithmetic, reason = "figures are for people")]

use std::cell::Cell;
use std::error::Error;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use cartwright::store::Table;
use clap::Parser;
use serde_json::{Value, json};

/// Times each program is started: figures are the medians, and budgets are about the least.
const STARTS: usize = 7;
/// Invocations before those that count.
const WARM_UP: u32 = 50;
/// Invocations that count, of one start.
const INVOCATIONS: u32 = 500;
/// As many of a batch, which is ten checkouts.
const BATCHES: u32 = 100;
/// Longest wait for a program.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two looks whether a program has connected: small beside the wall times that are shown.
const LOOK_PAUSE: Duration = Duration::from_micros(100);

/// Our function that answers what the hellos answer, and the one it is held against.
const OURS: &str = "Cartwright, `GET /health`";
const REFERENCE: &str = "hello, Python";
/// What ours may take of what the reference takes, in percent; and how much more it may be before that is an error.
const BUDGETS: [Budget; 3] = [
    Budget { what: "CPU until it asks for work", of: |figures| figures.init_cpu, percent: 2.0 },
    Budget { what: "memory then", of: |figures| figures.init_memory, percent: 20.0 },
    Budget { what: "CPU of an invocation", of: |figures| figures.cpu, percent: 38.0 },
];
const TOLERANCE: f64 = 1.1;

/// Measures Lambda functions on this machine.
#[derive(Parser)]
struct Arguments {
    /// Our binary, built for release.
    #[arg(long, value_name = "FILE")]
    bootstrap: PathBuf,
    /// An emulator of DynamoDB; without it, what needs tables is left out.
    #[arg(long, value_name = "FILE")]
    dynoxide: Option<PathBuf>,
    /// The folder in which Node finds @aws-sdk/client-dynamodb; without it Node is left out.
    #[arg(long, value_name = "FOLDER")]
    node_modules: Option<PathBuf>,
    /// The Python that has boto3; without it Python is left out, and no budget is looked at.
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
type Program<'a> = Box<dyn Fn() -> Command + 'a>;

/// A function, and what it is asked.
struct Function<'a> {
    name: &'static str,
    program: Program<'a>,
    /// What it is asked once, after it has started.
    first: Option<Value>,
    /// What it is asked then.
    event: Box<dyn Fn() -> Value + 'a>,
    /// What is part of each answer that is good.
    good: &'static str,
    /// How often that counts.
    invocations: u32,
}

fn run(arguments: &Arguments) -> Outcome {
    let database = arguments.dynoxide.as_deref().map(Database::start).transpose()?;
    let functions = functions(arguments, database.as_ref());
    let mut measured: Vec<Vec<Figures>> = functions.iter().map(|_| Vec::new()).collect();
    for round in 1..=STARTS {
        eprintln!("round {round} of {STARTS}");
        for (function, figures) in functions.iter().zip(&mut measured) {
            figures.push(measure(function).map_err(|error| format!("{}: {error}", function.name))?);
        }
    }
    println!(
        "| function | start to first `next`: CPU, ms | wall, ms | memory then, MB | after all invocations, MB | CPU an invocation, µs |"
    );
    println!("|---|---|---|---|---|---|");
    for (function, figures) in functions.iter().zip(&measured) {
        let Figures { init_cpu, init_wall, init_memory, memory, cpu } = Figures::median(figures);
        println!("| {} | {init_cpu:.1} | {init_wall:.1} | {init_memory:.1} | {memory:.1} | {cpu:.0} |", function.name);
    }
    // What else the machine does only adds to what a function takes: the least is what is the function's own.
    let find = |wanted| functions.iter().position(|function| function.name == wanted);
    let least = |wanted| find(wanted).map(|at| Figures::least(&measured[at]));
    let (Some(ours), Some(reference)) = (least(OURS), least(REFERENCE)) else { return Ok(()) };
    let mut exceeded = Vec::new();
    for Budget { what, of, percent } in BUDGETS {
        let found = of(&ours) / of(&reference) * 100.0;
        println!("{what}: {found:.1} % of what {REFERENCE} takes at least; the budget is {percent:.1} %");
        if found > percent * TOLERANCE {
            exceeded.push(what);
        }
    }
    if exceeded.is_empty() {
        Ok(())
    } else {
        Err(format!("more than a tenth beyond its budget: {}", exceeded.join(", ")).into())
    }
}

fn functions<'a>(arguments: &'a Arguments, database: Option<&'a Database>) -> Vec<Function<'a>> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("lambda");
    let ours = |environment: Vec<(&'static str, String)>| -> Program<'a> {
        Box::new(move || {
            let mut command = Command::new(&arguments.bootstrap);
            command.envs(environment.iter().map(|(name, value)| (*name, value)));
            command
        })
    };
    let healthy = |name, program: Program<'a>, good| {
        let event = Box::new(|| request("GET", "/health", ""));
        Function { name, program, first: None, event, good, invocations: INVOCATIONS }
    };
    let api = |service: &str| {
        vec![("ROLE", "api".to_owned()), ("SERVICE", service.to_owned()), ("ACCESS", "open".to_owned())]
    };
    let mut functions = vec![healthy(OURS, ours(api("site")), "\"statusCode\":200")];
    if let Some(database) = database {
        let url = || ("AWS_ENDPOINT_URL", format!("http://{}", database.address));
        let product =
            json!({"name": "Kettle", "price": {"amount": 4_999, "currency": "USD"}, "stock": 100}).to_string();
        functions.push(Function {
            name: "Cartwright, a page with a product",
            program: ours([api("catalog"), vec![url()]].concat()),
            first: Some(request("POST", "/v1/products", &product)),
            event: Box::new(|| request("GET", "/v1/products?limit=1", "")),
            good: "\"statusCode\":20",
            invocations: INVOCATIONS,
        });
        let worker = vec![("ROLE", "worker".to_owned()), ("QUEUE", "OrderQueue".to_owned()), url()];
        let count = Cell::new(0);
        functions.push(Function {
            name: "Cartwright, a batch of ten checkouts",
            program: ours(worker),
            first: None,
            event: Box::new(move || {
                count.set(count.get() + 1);
                batch(count.get())
            }),
            good: "\"batchItemFailures\":[]",
            invocations: BATCHES,
        });
    }
    if let Some(folder) = &arguments.node_modules {
        let script = scripts.join("hello.cjs");
        let program = move || {
            let mut node = Command::new("node");
            node.arg(&script).env("NODE_PATH", folder);
            node
        };
        functions.push(healthy("hello, Node", Box::new(program), "200"));
    }
    if let Some(python) = &arguments.python {
        let script = scripts.join("hello.py");
        let program = move || {
            let mut command = Command::new(python);
            command.arg(&script);
            command
        };
        functions.push(healthy(REFERENCE, Box::new(program), "200"));
    }
    functions
}

/// A request as API Gateway hands it over.
fn request(method: &str, url: &str, body: &str) -> Value {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let query = query.split_once('=').map(|(name, value)| json!({name: [value]}));
    json!({
        "resource": "/{proxy+}", "path": path, "httpMethod": method,
        "headers": {"Host": "example.org"},
        "multiValueHeaders": {"Host": ["example.org"], "content-type": ["application/json"]},
        "queryStringParameters": null, "multiValueQueryStringParameters": query,
        "pathParameters": {"proxy": path}, "stageVariables": null,
        "requestContext": {"resourceId": "r", "resourcePath": "/{proxy+}", "httpMethod": method, "path": format!("/dev{path}"),
            "accountId": "000000000000", "protocol": "HTTP/1.1", "stage": "dev", "requestId": "r", "apiId": "a",
            "identity": {"sourceIp": "127.0.0.1"}},
        "body": body, "isBase64Encoded": false,
    })
}

/// The `n`th batch of ten checkouts, as SQS hands it over.
fn batch(n: u32) -> Value {
    let message = |at: u32| {
        let id = n * 10 + at;
        let event = json!({"version": "0", "id": format!("01942a9c-7038-7652-946f-{id:012}"), "detail-type": "CheckoutBasket",
            "source": "com.swn.basket.checkoutbasket", "account": "000000000000", "time": "2026-01-02T03:04:06Z",
            "region": "eu-central-1", "resources": [], "detail": {"userName": format!("user-{id}"), "items": [
                {"productId": "01942a9c-7038-7652-946f-424cdab22133", "productName": "Kettle", "quantity": 1, "price": 49.99}]}});
        json!({"messageId": format!("00000000-0000-4000-8000-{id:012}"), "receiptHandle": "none", "body": event.to_string(),
            "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1767323045123", "SenderId": "bench",
                "ApproximateFirstReceiveTimestamp": "1767323045123"},
            "messageAttributes": {}, "md5OfBody": "", "eventSource": "aws:sqs", "awsRegion": "eu-central-1",
            "eventSourceARN": "arn:aws:sqs:eu-central-1:000000000000:measured-OrderQueue"})
    };
    json!({"Records": (0..10).map(message).collect::<Vec<_>>()})
}

/// What the function may take of what the reference takes.
struct Budget {
    what: &'static str,
    of: fn(&Figures) -> f64,
    percent: f64,
}

/// One start of one program, or the medians or the least of several: milliseconds, megabytes, and microseconds an invocation.
struct Figures {
    init_cpu: f64,
    init_wall: f64,
    init_memory: f64,
    memory: f64,
    cpu: f64,
}

impl Figures {
    /// Of each figure the one that `pick` takes of those that were measured, the least of which comes first.
    fn of(all: &[Figures], pick: fn(&[f64]) -> f64) -> Figures {
        let picked = |value: fn(&Figures) -> f64| {
            let mut values: Vec<f64> = all.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            pick(&values)
        };
        Figures {
            init_cpu: picked(|figures| figures.init_cpu),
            init_wall: picked(|figures| figures.init_wall),
            init_memory: picked(|figures| figures.init_memory),
            memory: picked(|figures| figures.memory),
            cpu: picked(|figures| figures.cpu),
        }
    }

    fn median(all: &[Figures]) -> Figures {
        Figures::of(all, |values| values[values.len() / 2])
    }

    fn least(all: &[Figures]) -> Figures {
        Figures::of(all, |values| values[0])
    }
}

/// An emulated DynamoDB with the tables of the shop.
struct Database {
    address: SocketAddr,
    _process: Running,
}

impl Database {
    fn start(program: &Path) -> Outcome<Database> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut command = Command::new(program);
        command.args(["serve", "--log", "quiet", "--port", &address.port().to_string()]).stdout(Stdio::null());
        let database = Database { address, _process: Running(command.spawn()?) };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            if Instant::now() > deadline {
                return Err("the emulator of DynamoDB does not answer".into());
            }
            std::thread::sleep(LOOK_PAUSE);
        }
        Table::ALL.into_iter().try_for_each(|table| database.create_table(table.name()))?;
        Ok(database)
    }

    fn create_table(&self, name: &str) -> Outcome {
        let attribute = |name: &str| json!({"AttributeName": name, "AttributeType": "S"});
        let key = |name: &str, kind: &str| json!({"AttributeName": name, "KeyType": kind});
        let body = json!({"TableName": format!("measured-{name}"), "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [attribute("PK"), attribute("SK")],
            "KeySchema": [key("PK", "HASH"), key("SK", "RANGE")]})
        .to_string();
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "POST / HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/x-amz-json-1.0\r\n\
             x-amz-target: DynamoDB_20120810.CreateTable\r\nauthorization: AWS4-HMAC-SHA256 Credential=none/20260101/eu-central-1/dynamodb/aws4_request, SignedHeaders=host, Signature=none\r\n\
             x-amz-date: 20260101T000000Z\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        if answer.contains(" 200 ") { Ok(()) } else { Err(format!("the table {name} was not made: {answer}").into()) }
    }
}

/// A process that does not outlive its measurement.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn measure(function: &Function) -> Outcome<Figures> {
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
    ];
    let mut program = (function.program)();
    program.env("AWS_LAMBDA_RUNTIME_API", listener.local_addr()?.to_string()).envs(environment);
    listener.set_nonblocking(true)?;
    let process = Running(program.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?);
    let pid = process.0.id();
    let mut runtime = RuntimeApi { listener, process, connection: None };
    runtime.wait_for_next()?;
    let (init_wall, init_cpu, init_memory) = (started.elapsed(), cpu_time(pid)?, memory_mb(pid)?);
    for event in function.first.iter().cloned().chain((0..WARM_UP).map(|_| (function.event)())) {
        runtime.invoke(&event, function.good)?;
    }
    let events: Vec<Value> = (0..function.invocations).map(|_| (function.event)()).collect();
    let before = cpu_time(pid)?;
    for event in &events {
        runtime.invoke(event, function.good)?;
    }
    let cpu = cpu_time(pid)? - before;
    Ok(Figures {
        init_cpu: init_cpu.as_secs_f64() * 1e3,
        init_wall: init_wall.as_secs_f64() * 1e3,
        init_memory,
        memory: memory_mb(pid)?,
        cpu: cpu.as_secs_f64() * 1e6 / f64::from(function.invocations),
    })
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
        let (line, _) = self.request()?;
        if line.starts_with("GET /2018-06-01/runtime/invocation/next ") { Ok(()) } else { Err(line.into()) }
    }

    /// Gives the waiting function an event, takes its answer, of which `good` must be a part, and waits until it asks for the next.
    fn invoke(&mut self, event: &Value, good: &str) -> Outcome {
        let event = event.to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nlambda-runtime-aws-request-id: r\r\n\
             lambda-runtime-deadline-ms: 4102444800000\r\nlambda-runtime-invoked-function-arn: arn:aws:lambda:eu-central-1:000000000000:function:measured\r\n\
             lambda-runtime-trace-id: Root=1-00000000-000000000000000000000000\r\ncontent-length: {}\r\n\r\n",
            event.len()
        );
        self.answer(&(head + &event))?;
        let (line, answer) = self.request()?;
        if !line.starts_with("POST /2018-06-01/runtime/invocation/r/response ") || !answer.contains(good) {
            return Err(format!("{} {answer}", line.trim()).into());
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

    /// The first line of the next request, and its body. A function may use one connection or many.
    fn request(&mut self) -> Outcome<(String, String)> {
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
            let mut body = Vec::new();
            connection.take(length).read_to_end(&mut body)?;
            return Ok((first, String::from_utf8_lossy(&body).into_owned()));
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

/// Resident memory of a process, in megabytes of 2²⁰ bytes.
fn memory_mb(pid: u32) -> Outcome<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("the system does not tell the memory")?;
    let kb: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kb / 1024.0)
}
