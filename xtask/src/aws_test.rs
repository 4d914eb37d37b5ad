//! The AWS home, deployed: the template and the real functions on an emulator of AWS, asked what any server is asked, and what
//! only AWS can get wrong. Broken templates must be found out, or the proof would be none.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::emulator::{Emulator, end_with_the_task, fresh_folder, was_interrupted};
use crate::lambda::Architecture;
use crate::{Outcome, lambda, live, program, root, run, server, tools};

const STACK: &str = "shop";
/// Longest wait of the acceptance suite for what happens behind a queue, in seconds: the emulator is slow.
const PATIENCE: &str = "120";
/// Longest wait where nothing may happen, in seconds: far longer than it takes where all is well.
const SHORT_PATIENCE: &str = "10";
/// The check that a broken template must fail: it needs the API, two workers, the relay and the rules.
const CHECKOUT: &str = "POST /basket/checkout";
/// Longest time until a message that fails each time is dead: the pauses between its six receives come to one to two minutes.
const DEATH_PATIENCE: Duration = Duration::from_secs(240);
/// Lines of a function's log that are shown when something fails, and characters of each.
const SHOWN_LINES: usize = 5;
const SHOWN_CHARACTERS: usize = 400;

const USAGE: &str = "Usage: cargo xtask aws-test [--zip FILE | --release] [--keep]

  --zip FILE  Deploy this package of functions instead of building one
  --release   Build as for AWS; without it, as for tests, which is quicker
  --keep      Leave everything running after the test, until Ctrl-C";

/// A way to break the template: its name, what to replace, by what, and whether IAM must then refuse a function something.
type Break = (&'static str, &'static str, &'static str, bool);

const BREAKS: [Break; 4] = [
    ("a worker without the policy of its table", "      - StockOnCatalog\n", "", true),
    ("a relay that may not put events", "Action: events:PutEvents", "Action: events:DescribeEventBus", true),
    (
        "a rule for another event",
        "Event: OrderPlaced, Queue: StockQueue",
        "Event: OrderPlacedTwice, Queue: StockQueue",
        false,
    ),
    (
        "an API function with the role of another",
        "          Role: !GetAtt [!Sub '${Function}Role', Arn]\n",
        "          Role: !GetAtt PurchasesApiRole.Arn\n",
        true,
    ),
];

pub(crate) fn aws_test(arguments: &[String]) -> Outcome {
    let (mut zip, mut release, mut keep) = (None, false, false);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--zip" => zip = Some(PathBuf::from(arguments.next().ok_or(USAGE)?)),
            "--release" => release = true,
            "--keep" => keep = true,
            "--help" => {
                println!("{USAGE}");
                return Ok(());
            }
            unknown => return Err(format!("{unknown:?} is no option of aws-test\n{USAGE}")),
        }
    }
    end_with_the_task()?;
    let programs = tools::python_tools()?;
    let folder = fresh_folder(root().join("target/aws-test"))?;
    step("lint the template", || lint(&programs))?;
    let zip = match zip {
        Some(zip) => zip.canonicalize().map_err(|error| format!("cannot find {}: {error}", zip.display()))?,
        None => step("build the functions", || build(release, &folder))?,
    };
    let mut emulator = step("start the emulator", || Emulator::start(&programs, &folder))?;
    let home = Home {
        emulator: &emulator,
        programs,
        folder: folder.clone(),
        zip,
        deployments: Cell::new(0),
        key: RefCell::default(),
    };
    let outcome = home.prove();
    let logs = home.save_logs();
    if outcome.is_err() {
        show(&logs);
    }
    if keep && !was_interrupted() {
        println!("the shop is at {}; Ctrl-C ends it", emulator.api_url(STACK, "dev").unwrap_or_default());
        emulator.wait();
    }
    drop(emulator);
    let _ = fs::remove_dir_all(folder.join("scratch"));
    if was_interrupted() && !keep {
        return Err("interrupted".to_owned());
    }
    outcome.map_err(|why| format!("{why}\nlogs are in {}", folder.display()))
}

/// Does one step, and says how long it took.
fn step<T>(name: &str, work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    println!("── aws-test: {name}");
    let started = Instant::now();
    let done = work().map_err(|why| format!("{name}: {why}"))?;
    println!("── aws-test: {name}: done in {:.1} s", started.elapsed().as_secs_f32());
    Ok(done)
}

/// Without what the machine's owner has set up for AWS, so that nothing can go there.
fn without_aws(command: &mut Command) -> &mut Command {
    for name in ["AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN"] {
        command.env_remove(name);
    }
    command
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("SAM_CLI_TELEMETRY", "0")
        .env("SAM_CLI_POLL_DELAY", "1")
        .env("__SAM_CLI_APP_DIR", root().join("target/aws-test/scratch/sam"))
}

fn lint(programs: &Path) -> Outcome {
    let template = root().join("deploy/template.yaml");
    run(Command::new(programs.join("cfn-lint")).arg(&template))?;
    run(without_aws(&mut Command::new(programs.join("sam"))).args(["validate", "--lint", "--template"]).arg(&template))
}

fn build(release: bool, folder: &Path) -> Outcome<PathBuf> {
    if release {
        lambda::lambda(Architecture::X86)?;
        return Ok(lambda::package());
    }
    let bootstrap = program("cartwright-aws", "bootstrap")?;
    let zip = folder.join("cartwright.zip");
    lambda::pack(&bootstrap, &zip, 1)?;
    Ok(zip)
}

/// What is asked of the home.
struct Home<'a> {
    emulator: &'a Emulator,
    programs: PathBuf,
    folder: PathBuf,
    zip: PathBuf,
    deployments: Cell<u32>,
    /// Of an admin of the stack.
    key: RefCell<String>,
}

impl Home<'_> {
    fn prove(&self) -> Outcome {
        let template = root().join("deploy/template.yaml");
        let template = fs::read_to_string(&template).map_err(|error| format!("cannot read the template: {error}"))?;
        let plain = ["StreamDelivery=Mapping", "ApiKeyRequired=false"];
        step("deploy", || self.deploy(STACK, &template, &plain))?;
        step("nobody gets in without a key", || self.is_closed())?;
        step("make an API key", || self.make_key())?;
        step("a WebSocket and a subscribed queue hear of an order's whole life", || {
            live::prove(self.emulator, STACK, &self.key.borrow())
        })?;
        // It takes its time to die, so it begins early.
        let dying = self.put_what_fails_each_time()?;
        step("the acceptance suite", || self.accept("", PATIENCE, None))?;
        step("races break nothing", || self.attack())?;
        step("a batch: only what failed is handed out again", || self.batch())?;
        step("a message that fails each time is a dead letter after six receives", || self.is_dead(&dying))?;
        step("nothing is lost on the way, nothing is refused", || self.is_clean())?;
        for (at, (name, found, instead, is_refused)) in BREAKS.iter().enumerate() {
            let broken = template.replacen(found, instead, 1);
            if broken == template {
                return Err(format!("{name}: the template has no {found:?} to replace"));
            }
            step(&format!("broken: {name}"), || {
                let before = self.refusals()?;
                self.deploy(STACK, &broken, &plain)?;
                match self.accept(CHECKOUT, SHORT_PATIENCE, Some(&format!("broken-{}.log", at + 1))) {
                    Ok(()) => Err("the template is broken, and nobody noticed".to_owned()),
                    Err(_) if was_interrupted() => Err("interrupted".to_owned()),
                    Err(_) => Ok(()),
                }?;
                match self.refusals()?.iter().find(|refusal| !before.contains(refusal)) {
                    Some((function, line)) => println!("   {function}: {}", start_of(line)),
                    None if *is_refused => return Err("it fails, but no function says that it was refused".to_owned()),
                    None => {}
                }
                Ok(())
            })?;
        }
        step("mended, it works again", || {
            self.deploy(STACK, &template, &plain)?;
            self.accept(CHECKOUT, PATIENCE, None)
        })?;
        step("deploy with everything that can be switched on", || self.deploy_everything(&template))
    }

    /// Deploys a template as a stack with these parameters, as anyone would: with the SAM CLI.
    fn deploy(&self, stack: &str, template: &str, parameters: &[&str]) -> Outcome {
        let (path, log) = (self.folder.join("template.yaml"), self.folder.join(format!("deploy-{stack}.log")));
        let failed = |error: std::io::Error| format!("cannot write into {}: {error}", self.folder.display());
        let zip = self.zip.display().to_string();
        // MiniStack takes a template for unchanged in which nothing but references changed; so a text changes too.
        let deployment = self.deployments.replace(self.deployments.get() + 1);
        let template = template.replace("../target/lambda/cartwright.zip", &zip);
        let template =
            template.replace("Description: Cartwright\n", &format!("Description: Deployment {deployment}\n"));
        fs::write(&path, template).map_err(failed)?;
        let said = fs::File::create(&log).map_err(failed)?;
        let status = without_aws(&mut Command::new(self.programs.join("sam")))
            .current_dir(&self.folder)
            .env("AWS_ENDPOINT_URL", &self.emulator.url)
            .args(["deploy", "--language-extensions", "--stack-name", stack, "--template-file"])
            .arg(&path)
            .args(["--resolve-s3", "--no-confirm-changeset", "--no-fail-on-empty-changeset", "--no-progressbar"])
            .args(["--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND", "--parameter-overrides"])
            .arg(format!("EndpointUrl={}", self.emulator.url))
            .args(parameters)
            .stdin(Stdio::null())
            .stderr(said.try_clone().map_err(failed)?)
            .stdout(said)
            .status()
            .map_err(|error| format!("cannot run sam: {error}"))?;
        if status.success() {
            return Ok(());
        }
        let said = fs::read_to_string(&log).unwrap_or_default();
        let why: Vec<&str> = said.lines().filter(|line| line.contains("FAILED") || line.starts_with("Error")).collect();
        Err(format!("{status}: {} ({} says more)", why.join("\n"), log.display()))
    }

    /// Makes an API key of an admin, as whoever has deployed a stack does.
    fn make_key(&self) -> Outcome {
        let mut command = Command::new(program("cartwright-aws", "cartwright-aws")?);
        command.args(["keys", "create", "--stack", STACK, "--name", "acceptance", "--role", "admin"]);
        let made = without_aws(&mut command).env("AWS_ENDPOINT_URL", &self.emulator.url).output();
        let made = made.map_err(|error| format!("cannot run cartwright-aws: {error}"))?;
        let said = String::from_utf8_lossy(&made.stdout);
        let key = said.lines().next().filter(|line| line.starts_with("cw_"));
        let key = key.ok_or_else(|| format!("no key was made: {}", String::from_utf8_lossy(&made.stderr)))?;
        self.key.replace(key.to_owned());
        Ok(())
    }

    /// Whoever shows no key, or one that is none, is refused by each function, but for what is open to anyone.
    fn is_closed(&self) -> Outcome {
        let url = self.emulator.api_url(STACK, "dev")?;
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let status = |path: &str, key: Option<&str>| -> Outcome<u16> {
            let mut request = agent.get(format!("{url}{path}"));
            if let Some(key) = key {
                request = request.header("authorization", format!("Bearer {key}"));
            }
            let answer = request.call().map_err(|error| format!("{path}: {error}"))?;
            Ok(answer.status().as_u16())
        };
        let forged = format!("cw_{}_{}", "0".repeat(32), "0".repeat(64));
        let closed =
            ["/v1/baskets", "/v1/orders", "/v1/customers", "/v1/purchases", "/v1/queues", "/v1/api-keys", "/v1/inbox"];
        for (path, key, expected) in closed
            .into_iter()
            .flat_map(|path| [(path, None, 401), (path, Some(forged.as_str()), 401)])
            .chain([("/v1/products", None, 200), ("/health", None, 200), ("/v1/products", Some(forged.as_str()), 401)])
        {
            let found = status(path, key)?;
            if found != expected {
                return Err(format!("{path} with the key {key:?} should be {expected}, and is {found}"));
            }
        }
        Ok(())
    }

    /// Sends requests at the same moment, and looks whether everything still adds up.
    fn attack(&self) -> Outcome {
        let mut command = Command::new(server()?);
        command.args(["attack", &self.emulator.api_url(STACK, "dev")?, "--rounds", "1", "--patience", PATIENCE]);
        run(without_aws(&mut command).env("CARTWRIGHT_KEY", &*self.key.borrow()))
            .map_err(|_| "a race was lost".to_owned())
    }

    /// Runs the checks of the acceptance suite whose names contain `filter`; what they say goes into `log`, if there is one.
    fn accept(&self, filter: &str, patience: &str, log: Option<&str>) -> Outcome {
        let url = self.emulator.api_url(STACK, "dev")?;
        let mut command = Command::new(program("cartwright-accept", "cartwright-accept")?);
        command.arg(&url);
        command.args((!filter.is_empty()).then_some(filter));
        command
            .args(["--patience", patience, "--events", &self.emulator.url])
            .env("CARTWRIGHT_KEY", &*self.key.borrow());
        if let Some(log) = log {
            let path = self.folder.join(log);
            let failed = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
            let file = fs::File::create(&path).map_err(failed)?;
            command.stderr(file.try_clone().map_err(failed)?).stdout(file);
        }
        run(without_aws(&mut command)).map_err(|_| "some of what was promised does not hold".to_owned())
    }

    /// Puts an event on the bus whose order will never be there: its consumer waits for it, in vain. The order's id.
    fn put_what_fails_each_time(&self) -> Outcome<String> {
        let order = "0ujtsYcgvSTl8PAuAdqWYSMnLOv".to_owned();
        let detail = json!({"orderId": order, "customer": "nobody"}).to_string();
        let entry = json!({"EventBusName": "SwnEventBus", "Source": "cartwright.catalog", "DetailType": "StockReserved", "Detail": detail});
        let put = self.emulator.call("events", "AWSEvents.PutEvents", &json!({"Entries": [entry]}))?;
        if put["FailedEntryCount"] == 0 { Ok(order) } else { Err(format!("the bus refused an event: {put}")) }
    }

    fn is_dead(&self, order: &str) -> Outcome {
        let url = format!("{}/v1/queues/OrderStatusQueue/dead-letters", self.emulator.api_url(STACK, "dev")?);
        let deadline = Instant::now() + DEATH_PATIENCE;
        loop {
            let credential = format!("Bearer {}", self.key.borrow());
            let answer = ureq::get(&url).header("authorization", credential).call();
            let mut answer = answer.map_err(|error| format!("{url}: {error}"))?;
            let text = answer.body_mut().read_to_string().map_err(|error| format!("{url}: {error}"))?;
            let page: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
            let letters = page["items"].as_array().into_iter().flatten();
            if let Some(letter) = letters.into_iter().find(|letter| letter["event"]["detail"]["orderId"] == order) {
                let receives = &letter["receives"];
                return if *receives == 6 {
                    Ok(())
                } else {
                    Err(format!("it died after {receives} receives: {letter}"))
                };
            }
            if Instant::now() > deadline || was_interrupted() {
                return Err(format!("it is not among the dead letters: {text}"));
            }
            sleep(Duration::from_secs(1));
        }
    }

    /// Hands a worker one message that it can process and one that fails, as SQS would.
    fn batch(&self) -> Outcome {
        let record = |id: &str, order: &str, kind: &str, status: &str| {
            let total = json!({"amount": 0, "currency": "USD"});
            let detail = json!({"orderId": order, "customer": "nobody", "status": status, "lines": [], "total": total});
            let event = json!({"version": "0", "id": "7bf73129-1428-4cd3-a780-95db273d1602", "detail-type": kind,
                "source": "cartwright.ordering", "account": "000000000000", "time": "2026-01-01T00:00:00Z",
                "region": "us-east-1", "resources": [], "detail": detail});
            json!({"messageId": id, "receiptHandle": "none", "body": event.to_string(), "md5OfBody": "", "messageAttributes": {},
                "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1767225600000",
                    "SenderId": "test", "ApproximateFirstReceiveTimestamp": "1767225600000"},
                "eventSource": "aws:sqs", "awsRegion": "us-east-1",
                "eventSourceARN": format!("arn:aws:sqs:us-east-1:000000000000:{STACK}-StockQueue")})
        };
        let records = [
            record("good", "0ujtsYcgvSTl8PAuAdqWYSMnLOw", "OrderCancelled", "CANCELLED"),
            record("bad", "0ujtsYcgvSTl8PAuAdqWYSMnLOx", "OrderShipped", "SHIPPED"),
        ];
        let answer = self.emulator.invoke(&format!("{STACK}-StockQueueWorker"), &json!({"Records": records}))?;
        let expected = json!({"batchItemFailures": [{"itemIdentifier": "bad"}]});
        if answer == expected { Ok(()) } else { Err(format!("expected {expected}, got {answer}")) }
    }

    /// No event is where lost events go, no dead letter is unrecorded, and no function was refused what it asked for.
    fn is_clean(&self) -> Outcome {
        let queues =
            self.emulator.call("sqs", "AmazonSQS.ListQueues", &json!({"QueueNamePrefix": format!("{STACK}-")}))?;
        for url in queues["QueueUrls"].as_array().into_iter().flatten() {
            let name = url.as_str().and_then(|url| url.rsplit('/').next()).unwrap_or_default();
            if !name.ends_with("-dead") && name.ends_with("Queue") {
                continue;
            }
            let request = json!({"QueueUrl": url, "AttributeNames": ["ApproximateNumberOfMessages"]});
            let found = self.emulator.call("sqs", "AmazonSQS.GetQueueAttributes", &request)?;
            if found["Attributes"]["ApproximateNumberOfMessages"] != "0" {
                return Err(format!("{name} is not empty: {found}"));
            }
        }
        match self.refusals()?.first() {
            Some((function, line)) => Err(format!("{function} was refused something it needs: {line}")),
            None => Ok(()),
        }
    }

    /// The lines in which functions say that they were not allowed something: the function, and the line.
    fn refusals(&self) -> Outcome<Vec<(String, String)>> {
        let is_refusal = |line: &String| line.contains("AccessDenied") || line.contains("not authorized");
        let logs = self.emulator.logs(STACK)?.into_iter();
        let refusals = logs.flat_map(|(function, lines)| {
            lines.into_iter().filter(is_refusal).map(move |line| (function.clone(), line)).collect::<Vec<_>>()
        });
        Ok(refusals.collect())
    }

    /// A production stack with keys, pipes, a domain, a user pool, and an operator: deployed, though not all of it can be
    /// used here.
    fn deploy_everything(&self, template: &str) -> Outcome {
        let zone = self.emulator.create_hosted_zone("example.com")?;
        let zone = format!("HostedZoneId={zone}");
        let parameters = [
            "StageName=prod",
            "EventBusName=full",
            "StreamDelivery=Pipe",
            "ApiKeyRequired=true",
            "UserPool=true",
            "DomainName=api.example.com",
            &zone,
            "OperatorEmail=operators@example.com",
            "NoOrdersMinutes=30",
        ];
        self.deploy("full", template, &parameters)?;
        let url = self.emulator.api_url("full", "prod")?;
        let status = |path: &str| -> Outcome<u16> {
            let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
            let answer = agent.get(format!("{url}{path}")).call().map_err(|error| format!("{path}: {error}"))?;
            Ok(answer.status().as_u16())
        };
        match (status("/health")?, status("/v1/products")?) {
            (200, 401 | 403) => Ok(()),
            other => Err(format!("without a key /health and /v1/products should be 200 and 403, and are {other:?}")),
        }
    }

    /// Writes the log of each function into the folder of this run.
    fn save_logs(&self) -> BTreeMap<String, Vec<String>> {
        let logs: BTreeMap<_, _> = self.emulator.logs(STACK).unwrap_or_default().into_iter().collect();
        for (function, lines) in &logs {
            let _ = fs::write(self.folder.join(format!("{function}.log")), lines.join("\n"));
        }
        logs
    }
}

/// Shows the last errors of each function, and what it said that is no log line: the words of a crash.
fn show(logs: &BTreeMap<String, Vec<String>>) {
    const OF_LAMBDA: [&str; 4] = ["START ", "END ", "REPORT ", "INIT_START "];
    for (function, lines) in logs {
        let is_failure = |line: &&String| {
            let of_lambda = line.is_empty() || OF_LAMBDA.iter().any(|start| line.starts_with(start));
            if line.starts_with('{') { line.contains("\"level\":\"ERROR\"") } else { !of_lambda }
        };
        let failures: Vec<_> = lines.iter().filter(is_failure).collect();
        if !failures.is_empty() {
            println!("── {function}:");
        }
        for line in failures.iter().skip(failures.len().saturating_sub(SHOWN_LINES)) {
            println!("   {}", start_of(line));
        }
    }
}

fn start_of(line: &str) -> String {
    line.chars().take(SHOWN_CHARACTERS).collect()
}
