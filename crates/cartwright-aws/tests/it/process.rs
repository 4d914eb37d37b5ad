//! The real binary, against a fake of Lambda's runtime API.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::process::Stdio;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

use crate::fake_aws::{FakeAws, PREFIX};

const PATIENCE: Duration = Duration::from_secs(20);
/// Memory of its own that a function may have, in KB: after its start, and after so many invocations. A tenth more is an error.
const START_KB: u64 = 3_300;
const WORKING_KB: u64 = 3_350;
const INVOCATIONS: usize = 300;

/// Lambda, as far as one function sees it, and the services the function calls, on one port.
struct Lambda {
    address: String,
    aws: FakeAws,
    events: mpsc::UnboundedSender<Value>,
    /// What the function says: the path it posts to and the body; `next` each time it asks for an invocation.
    said: mpsc::UnboundedReceiver<(String, Value)>,
}

impl Lambda {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (events, waiting) = mpsc::unbounded_channel();
        let (say, said) = mpsc::unbounded_channel();
        let (aws, waiting) = (FakeAws::default(), Arc::new(Mutex::new(waiting)));
        let fake = aws.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (fake, waiting, say) = (fake.clone(), Arc::clone(&waiting), say.clone());
                let service =
                    service_fn(move |request| answer(request, fake.clone(), Arc::clone(&waiting), say.clone()));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Lambda { address, aws, events, said }
    }

    /// Starts the function.
    fn run(&self, environment: &[(&str, &str)]) -> Child {
        let url = format!("http://{}", self.address);
        let mut variables = BTreeMap::from([
            ("AWS_LAMBDA_RUNTIME_API", self.address.as_str()),
            ("AWS_LAMBDA_FUNCTION_NAME", "test"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "AKID"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_ENDPOINT_URL", &url),
            ("PREFIX", PREFIX),
        ]);
        variables.extend(environment.iter().copied());
        let mut command = Command::new(env!("CARGO_BIN_EXE_bootstrap"));
        command.env_clear().envs(variables).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
        command.spawn().unwrap()
    }

    /// What the function says next.
    async fn said(&mut self) -> (String, Value) {
        timeout(PATIENCE, self.said.recv()).await.expect("the function says something in time").unwrap()
    }

    /// Hands the function an event, once it asks for one, and returns what it makes of it.
    async fn invoke(&mut self, event: Value) -> (String, Value) {
        assert_eq!(self.said().await.0, "next");
        self.events.send(event).unwrap();
        self.said().await
    }
}

async fn answer(
    request: Request<Incoming>,
    aws: FakeAws,
    waiting: Arc<Mutex<mpsc::UnboundedReceiver<Value>>>,
    say: mpsc::UnboundedSender<(String, Value)>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    if let Some(target) = parts.headers.get("x-amz-target") {
        let (status, answer) = aws.answer(target.to_str().unwrap(), &body);
        return Ok(Response::builder().status(status).body(answer.into()).unwrap());
    }
    let Some(path) = parts.uri.path().strip_prefix("/2018-06-01/runtime/invocation/") else {
        return Ok(Response::builder().status(404).body(Full::default()).unwrap());
    };
    if path != "next" {
        say.send((path.to_owned(), serde_json::from_slice(&body).unwrap())).unwrap();
        return Ok(Response::builder().status(202).body(Full::default()).unwrap());
    }
    say.send((path.to_owned(), Value::Null)).unwrap();
    let event = waiting.lock().await.recv().await.unwrap();
    let response = Response::builder()
        .header("lambda-runtime-aws-request-id", "invocation-1")
        .header("lambda-runtime-deadline-ms", "99999999999999")
        .header("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-central-1:1:function:test")
        .header("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=1");
    Ok(response.body(event.to_string().into()).unwrap())
}

/// The lines that a function logged, once it has ended with this status.
async fn log_of(mut function: Child, is_expected: impl Fn(std::process::ExitStatus) -> bool) -> Vec<Value> {
    let mut text = String::new();
    let mut stdout = function.stdout.take().unwrap();
    let read = tokio::io::AsyncReadExt::read_to_string(&mut stdout, &mut text);
    timeout(PATIENCE, read).await.expect("the function ends in time").unwrap();
    let status = function.wait().await.unwrap();
    assert!(is_expected(status), "{status}: {text}");
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn terminate(function: &Child) {
    let pid = function.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").arg(pid).status().unwrap().success());
}

#[tokio::test]
async fn the_api_answers_requests_until_it_is_told_to_stop() {
    let mut lambda = Lambda::start().await;
    let function = lambda.run(&[("ROLE", "api"), ("SERVICE", "site")]);
    let request = |path: &str| {
        json!({"httpMethod": "GET", "path": path, "multiValueHeaders": {"Host": ["x y"]},
        "requestContext": {"requestId": "gateway-1", "stage": "Prod"}})
    };
    let (path, answer) = lambda.invoke(request("/health")).await;
    assert_eq!(path, "invocation-1/response");
    assert_eq!((&answer["statusCode"], &answer["body"]), (&json!(200), &json!(r#"{"status":"ok"}"#)));
    assert_eq!(answer["multiValueHeaders"]["x-request-id"], json!(["gateway-1"]));
    let (path, error) = lambda.invoke(json!({"not": "a request"})).await;
    assert_eq!(path, "invocation-1/error", "{error}");
    let (_, answer) = lambda.invoke(request("/nowhere")).await;
    assert_eq!(answer["statusCode"], 404, "it goes on");
    assert_eq!(lambda.said().await.0, "next");
    terminate(&function);
    let log = log_of(function, |status| std::os::unix::process::ExitStatusExt::signal(&status) == Some(15)).await;
    let measured: Vec<&Value> = log.iter().filter(|line| line.get("_aws").is_some()).collect();
    let [first, second] = &measured[..] else { panic!("{log:?}") };
    for (name, value) in
        [("service", "site"), ("requestId", "invocation-1"), ("route", "/health"), ("method", "GET"), ("status", "200")]
    {
        assert_eq!(first[name], value, "{first}");
    }
    assert_eq!((&first["cartwright_http_requests_total"], &second["status"]), (&json!(1), &json!("404")));
    assert!(first["cartwright_http_request_duration_seconds"].as_f64().unwrap() < 60.0, "{first}");
    let kept = first["_aws"]["CloudWatchMetrics"].as_array().unwrap();
    let names: Vec<_> = kept.iter().map(|directive| directive["Metrics"][0]["Name"].as_str().unwrap()).collect();
    assert_eq!(names, ["cartwright_http_requests_total", "cartwright_http_request_duration_seconds"]);
}

/// Memory of a process that is not a part of its program: that would depend on how it was compiled.
#[cfg(target_os = "linux")]
fn own_memory_kb(function: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", function.id().unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[cfg(target_os = "linux")]
#[expect(clippy::print_stdout, reason = "the figures, with --nocapture")]
#[tokio::test]
async fn a_function_stays_within_its_memory() {
    let mut lambda = Lambda::start().await;
    let function = lambda.run(&[("ROLE", "api"), ("SERVICE", "site"), ("METRICS", "off"), ("CARTWRIGHT_LOG", "warn")]);
    let request = json!({"httpMethod": "GET", "path": "/health", "multiValueHeaders": {"Host": ["shop.example"]},
        "requestContext": {"requestId": "gateway-1", "stage": "Prod"}});
    assert_eq!(lambda.said().await.0, "next");
    let started = own_memory_kb(&function);
    lambda.events.send(request.clone()).unwrap();
    assert_eq!(lambda.said().await.1["statusCode"], 200);
    for _ in 0..INVOCATIONS {
        assert_eq!(lambda.invoke(request.clone()).await.1["statusCode"], 200);
    }
    let working = own_memory_kb(&function);
    println!("{started} KB after the start, {working} KB after {INVOCATIONS} invocations");
    for (when, used, budget) in [("after the start", started, START_KB), ("at work", working, WORKING_KB)] {
        assert!(used * 10 <= budget * 11, "{used} KB {when}, more than {budget}");
    }
}

#[tokio::test]
async fn the_relay_calls_the_bus_and_says_in_json_what_went_wrong() {
    let mut lambda = Lambda::start().await;
    let function = lambda.run(&[("ROLE", "relay"), ("EVENT_BUS", "bus")]);
    let event = r#"{"id":"01942a9c-7038-7652-946f-424cdab22133","source":"s","detail-type":"T","time":"2026-01-02T03:04:05Z","detail":{"n":1}}"#;
    let image = json!({"PK": {"S": "OUTBOX#1"}, "e": {"S": event}});
    let throttled =
        json!({"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException", "ErrorMessage": "no"}]});
    lambda.aws.answer_next("PutEvents", 200, throttled);
    let record = json!({"eventName": "INSERT", "dynamodb": {"SequenceNumber": "111", "NewImage": image}});
    let (path, answer) = lambda.invoke(json!([record])).await;
    assert_eq!((path.as_str(), &answer), ("invocation-1/response", &json!({"batchItemFailures": []})));
    assert_eq!(lambda.aws.calls("PutEvents").len(), 2);
    terminate(&function);
    let log = log_of(function, |status| !status.success()).await;
    let line = log.iter().find(|line| line["message"] == "an event was not put on the bus").unwrap();
    for (name, value) in [
        ("level", "WARN"),
        ("role", "relay"),
        ("requestId", "invocation-1"),
        ("detail_type", "T"),
        ("xrayTraceId", "1-5bef4de7-ad49b0e87f6ef6c87fc2e700"),
        ("traceId", "5bef4de7ad49b0e87f6ef6c87fc2e700"),
    ] {
        assert_eq!(line[name], value, "{line}");
    }
    assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
}

#[tokio::test]
async fn a_worker_says_to_which_request_a_failure_belongs() {
    let mut lambda = Lambda::start().await;
    let function = lambda.run(&[("ROLE", "worker"), ("QUEUE", "OrderQueue")]);
    let event = json!({"id": "01942a9c-7038-7652-946f-424cdab22133", "source": "s", "detail-type": "T", "detail": {"card": "5554443322221111"},
        "time": "2026-01-02T03:04:05Z", "correlationId": "request-1"});
    let message = crate::fake_aws::sqs_message("OrderQueue", 1, event.to_string(), 1);
    let (_, answer) = lambda.invoke(json!({"Records": [message]})).await;
    assert_eq!(answer, json!({"batchItemFailures": []}));
    assert_eq!(lambda.aws.sent()[0].0, "shop-OrderQueue-dead");
    terminate(&function);
    let log = log_of(function, |status| !status.success()).await;
    let line = log.iter().find(|line| line["message"] == "a message is dead").unwrap();
    for (name, value) in
        [("level", "ERROR"), ("service", "OrderQueue"), ("correlationId", "request-1"), ("requestId", "invocation-1")]
    {
        assert_eq!(line[name], value, "{line}");
    }
    assert!(!format!("{log:?}").contains("555444"), "{log:?}");
}

#[tokio::test]
async fn a_bad_environment_is_said_in_one_line() {
    let lambda = Lambda::start().await;
    for (environment, why) in [
        (&[("ROLE", "api"), ("SERVICE", "kitchen")][..], "SERVICE is \"kitchen\""),
        (&[("ROLE", "api"), ("SERVICE", "site"), ("AWS_LAMBDA_RUNTIME_API", "")], "AWS_LAMBDA_RUNTIME_API is missing"),
    ] {
        let log = log_of(lambda.run(environment), |status| status.code() == Some(1)).await;
        let [line] = &log[..] else { panic!("{log:?}") };
        assert!(line["level"] == "ERROR" && line["message"].as_str().unwrap().contains(why), "{line}");
    }
}
