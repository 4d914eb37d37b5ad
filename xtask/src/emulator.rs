//! AWS on this machine: MiniStack on a free port, and what is asked of it past the API.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::Outcome;

/// Longest wait until it answers.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Longest wait until it has ended its functions and itself.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The process to end when the task is interrupted; 0 for none.
static RUNNING: AtomicU32 = AtomicU32::new(0);
/// Whether the task was interrupted.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// A running emulator. Dropping it ends it, its functions, and all it held.
pub(crate) struct Emulator {
    process: Child,
    pub(crate) url: String,
    http: ureq::Agent,
}

impl Emulator {
    /// Starts one that enforces the policies of roles and listens on this machine only. What it says goes into `folder`.
    pub(crate) fn start(programs: &Path, folder: &Path) -> Outcome<Emulator> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let port = port.map_err(|error| format!("there is no free port: {error}"))?.port();
        let file =
            |name: &str| fs::File::create(folder.join(name)).map_err(|error| format!("cannot write {name}: {error}"));
        let scratch = folder.join("scratch");
        fs::create_dir_all(&scratch).map_err(|error| format!("cannot make {}: {error}", scratch.display()))?;
        let process = Command::new(programs.join("ministack"))
            .env("GATEWAY_PORT", port.to_string())
            .env("BIND_HOST", "127.0.0.1")
            .env("MINISTACK_HOST", "127.0.0.1")
            .env("AUTH", "true")
            .env("IOT_MTLS_ENABLED", "0")
            .env("STATE_DIR", scratch.join("state"))
            .env("TMPDIR", &scratch)
            .stdin(Stdio::null())
            .stdout(file("ministack.log")?)
            .stderr(file("ministack.err")?)
            .spawn()
            .map_err(|error| format!("cannot start the emulator: {error}"))?;
        RUNNING.store(process.id(), Ordering::SeqCst);
        let http = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(TIMEOUT)).build();
        let mut emulator = Emulator { process, url: format!("http://127.0.0.1:{port}"), http: http.into() };
        let deadline = Instant::now() + START_PATIENCE;
        while emulator.http.get(format!("{}/_ministack/health", emulator.url)).call().is_err() {
            let ended = emulator.process.try_wait().is_ok_and(|status| status.is_some());
            if ended || Instant::now() > deadline {
                return Err(format!("the emulator did not start; {} says why", folder.join("ministack.err").display()));
            }
            sleep(PAUSE);
        }
        Ok(emulator)
    }

    /// Where a REST API of this name is served.
    pub(crate) fn api_url(&self, name: &str, stage: &str) -> Outcome<String> {
        let found = self.send("GET", "apigateway", "/restapis", &[], "")?;
        let apis = found["item"].as_array().or_else(|| found["items"].as_array());
        let api = apis.into_iter().flatten().find(|api| api["name"] == name);
        let id =
            api.and_then(|api| api["id"].as_str()).ok_or_else(|| format!("there is no API called {name}: {found}"))?;
        Ok(format!("{}/restapis/{id}/{stage}/_user_request_", self.url))
    }

    /// Where a WebSocket API of this name is served.
    pub(crate) fn socket_url(&self, name: &str, stage: &str) -> Outcome<String> {
        let found = self.send("GET", "apigateway", "/v2/apis", &[], "")?;
        let api = found["items"].as_array().into_iter().flatten().find(|api| api["name"] == name);
        let id =
            api.and_then(|api| api["apiId"].as_str()).ok_or_else(|| format!("no API is called {name}: {found}"))?;
        Ok(format!("{}/_aws/execute-api/{id}/{stage}", self.url.replacen("http", "ws", 1)))
    }

    /// Calls an operation of a service that takes forms.
    pub(crate) fn form(&self, service: &str, form: &str) -> Outcome<String> {
        self.text("POST", service, "/", &[("content-type", "application/x-www-form-urlencoded")], form)
    }

    /// Calls an operation of a service that speaks JSON, such as `AmazonSQS.SendMessage`.
    pub(crate) fn call(&self, service: &str, operation: &str, body: &Value) -> Outcome<Value> {
        let version = if matches!(service, "events" | "logs") { "1.1" } else { "1.0" };
        let kind = format!("application/x-amz-json-{version}");
        let headers = [("content-type", kind.as_str()), ("x-amz-target", operation)];
        self.send("POST", service, "/", &headers, &body.to_string())
    }

    /// Runs a function and returns what it answers.
    pub(crate) fn invoke(&self, function: &str, event: &Value) -> Outcome<Value> {
        self.send("POST", "lambda", &format!("/2015-03-31/functions/{function}/invocations"), &[], &event.to_string())
    }

    /// Makes a zone of Route 53 for a domain. Its id.
    pub(crate) fn create_hosted_zone(&self, domain: &str) -> Outcome<String> {
        let request = format!(
            "<CreateHostedZoneRequest xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><Name>{domain}</Name>\
             <CallerReference>{domain}</CallerReference></CreateHostedZoneRequest>"
        );
        let answer = self.text("POST", "route53", "/2013-04-01/hostedzone", &[], &request)?;
        let id = answer.split_once("<Id>/hostedzone/").and_then(|(_, rest)| rest.split('<').next());
        id.map(str::to_owned).ok_or_else(|| format!("no zone was made: {answer}"))
    }

    fn send(&self, method: &str, service: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Outcome<Value> {
        self.text(method, service, path, headers, body).map(|text| serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    fn text(&self, method: &str, service: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Outcome<String> {
        let failed = |why: &dyn std::fmt::Display| format!("{service} {path}: {why}");
        // The account's own requests are not checked for their signature, but must say for which service they are.
        let credential = format!("AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request");
        let mut request = http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        request = request.header("authorization", format!("{credential}, SignedHeaders=host, Signature=0"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.to_owned()).map_err(|error| failed(&error))?;
        let mut answer = self.http.run(request).map_err(|error| failed(&error))?;
        let text = answer.body_mut().read_to_string().map_err(|error| failed(&error))?;
        if !answer.status().is_success() {
            return Err(failed(&format!("{}: {text}", answer.status())));
        }
        Ok(text)
    }

    /// The names of functions and what each has logged, line by line.
    pub(crate) fn logs(&self, stack: &str) -> Outcome<Vec<(String, Vec<String>)>> {
        let prefix = format!("/aws/lambda/{stack}-");
        let groups = self.call("logs", "Logs_20140328.DescribeLogGroups", &json!({"logGroupNamePrefix": prefix}))?;
        let mut logs = Vec::new();
        for group in groups["logGroups"].as_array().into_iter().flatten() {
            let name = group["logGroupName"].as_str().unwrap_or_default();
            let (mut lines, mut token) = (Vec::new(), Value::Null);
            loop {
                let mut request = json!({"logGroupName": name, "limit": 10_000});
                if token.is_string() {
                    request["nextToken"] = token;
                }
                let page = self.call("logs", "Logs_20140328.FilterLogEvents", &request)?;
                let events = page["events"].as_array().into_iter().flatten();
                lines.extend(
                    events.filter_map(|event| event["message"].as_str().map(|line| line.trim_end().to_owned())),
                );
                token = page["nextToken"].clone();
                if !token.is_string() {
                    break;
                }
            }
            logs.push((name.trim_start_matches("/aws/lambda/").to_owned(), lines));
        }
        Ok(logs)
    }

    /// Waits until the emulator ends, because someone presses Ctrl-C.
    pub(crate) fn wait(&mut self) {
        let _ = self.process.wait();
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        RUNNING.store(0, Ordering::SeqCst);
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let deadline = Instant::now() + STOP_PATIENCE;
        while self.process.try_wait().is_ok_and(|status| status.is_none()) {
            if Instant::now() > deadline {
                let _ = self.process.kill();
            }
            sleep(PAUSE);
        }
    }
}

/// Ends the emulator when the task is told to end. What the task is doing then fails, and it cleans up as after any failure.
pub(crate) fn end_with_the_task() -> Outcome {
    ctrlc::set_handler(|| {
        INTERRUPTED.store(true, Ordering::SeqCst);
        let running = RUNNING.load(Ordering::SeqCst);
        if let Some(pid) = i32::try_from(running).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
    })
    .map_err(|error| format!("cannot watch for Ctrl-C: {error}"))
}

/// Whether the task was told to end.
pub(crate) fn was_interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// A new, empty folder for what a run leaves behind.
pub(crate) fn fresh_folder(folder: PathBuf) -> Outcome<PathBuf> {
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    Ok(folder)
}
