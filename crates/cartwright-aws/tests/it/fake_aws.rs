//! SQS, EventBridge and SNS, as far as they are asked anything: every call is kept, and answered as they would unless the test
//! has put another answer in.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::RetryConfig;
use aws_types::SdkConfig;
use cartwright_aws::clients::sdk_config;
use cartwright_aws::settings::Aws;
use cartwright_aws::sqs::Queues;
use serde_json::{Value, json};

pub const PREFIX: &str = "shop-";

/// A fake; clones are the same one.
#[derive(Clone, Default)]
pub struct FakeAws(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    calls: Vec<(String, Value)>,
    answers: BTreeMap<String, VecDeque<(u16, Value)>>,
}

impl FakeAws {
    /// The next call of this operation that has no other answer yet is answered so.
    pub fn answer_next(&self, operation: &str, status: u16, answer: Value) {
        self.0.lock().unwrap().answers.entry(operation.to_owned()).or_default().push_back((status, answer));
    }

    /// What this operation was called with, in order.
    pub fn calls(&self, operation: &str) -> Vec<Value> {
        let state = self.0.lock().unwrap();
        state.calls.iter().filter(|(other, _)| other == operation).map(|(_, body)| body.clone()).collect()
    }

    /// The names of the queues that something was sent to, and what.
    pub fn sent(&self) -> Vec<(String, Value)> {
        let name = |call: &Value| call["QueueUrl"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        self.calls("SendMessage").into_iter().map(|call| (name(&call), call)).collect()
    }

    /// Answers a call: status and body.
    pub fn answer(&self, target: &str, body: &[u8]) -> (u16, String) {
        let operation = if target.contains(' ') { target } else { target.rsplit('.').next().unwrap() }.to_owned();
        let body: Value = serde_json::from_slice(body).unwrap();
        let mut state = self.0.lock().unwrap();
        state.calls.push((operation.clone(), body.clone()));
        let prepared = state.answers.get_mut(&operation).and_then(VecDeque::pop_front);
        let (status, answer) = prepared.unwrap_or_else(|| match operation.as_str() {
            "GetQueueUrl" => {
                (200, json!({"QueueUrl": format!("https://sqs.test/1/{}", body["QueueName"].as_str().unwrap())}))
            }
            "GetQueueAttributes" => {
                let figures = json!({"ApproximateNumberOfMessages": "3", "ApproximateNumberOfMessagesNotVisible": "2",
                    "ApproximateNumberOfMessagesDelayed": "1"});
                (200, json!({"Attributes": figures}))
            }
            "SendMessage" => (200, json!({"MessageId": "6e2a1c1a-6b7e-4b57-9c5d-2f3d3b2b7a11"})),
            "Publish" | "ChangeMessageVisibility" => (200, json!({})),
            "PutEvents" => {
                let entries = body["Entries"].as_array().unwrap().iter().map(|_| json!({"EventId": "e"}));
                (200, json!({"FailedEntryCount": 0, "Entries": entries.collect::<Vec<_>>()}))
            }
            socket if socket.contains("@connections") => (200, Value::Null),
            unknown => (400, json!({"__type": "UnknownOperationException", "message": unknown})),
        });
        (status, answer.to_string())
    }

    /// Answers a call in SNS's protocol: a form comes, XML goes.
    fn answer_form(&self, body: &[u8]) -> (u16, String) {
        let form: BTreeMap<String, String> = serde_urlencoded::from_bytes(body).unwrap();
        let operation = form["Action"].clone();
        let (status, answer) = self.answer(&operation, json!(form).to_string().as_bytes());
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let xml = match answer["__type"].as_str() {
            Some(code) => format!("<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>"),
            None => format!("<{operation}Response><{operation}Result/></{operation}Response>"),
        };
        (status, xml)
    }

    /// What SDK clients are made with to call this fake. Nothing is repeated by the SDK itself.
    pub fn config(&self) -> SdkConfig {
        let aws = Aws {
            region: "eu-central-1".into(),
            endpoint_url: None,
            access_key_id: "AKID".into(),
            secret_access_key: "secret".into(),
            session_token: None,
        };
        let config = sdk_config(&aws, SharedHttpClient::new(self.clone()));
        config.into_builder().retry_config(RetryConfig::disabled()).build()
    }

    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.config())
    }

    pub fn queues(&self) -> Queues {
        Queues::new(self.sqs(), PREFIX.to_owned())
    }
}

impl fmt::Debug for FakeAws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeAws")
    }
}

impl HttpConnector for FakeAws {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = request.body().bytes().unwrap();
        let (status, answer) = match request.headers().get("x-amz-target") {
            Some(target) => self.answer(target, body),
            None if request.uri().contains("@connections") => {
                let path = request
                    .uri()
                    .split_once("://")
                    .and_then(|(_, rest)| rest.find('/').map(|at| rest[at..].to_owned()));
                let path = path.unwrap().replace("%40", "@").replace("%3D", "=");
                self.answer(&format!("{} {path}", request.method()), if body.is_empty() { b"null" } else { body })
            }
            None => self.answer_form(body),
        };
        let response = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(answer));
        HttpConnectorFuture::ready(Ok(response))
    }
}

impl HttpClient for FakeAws {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// A message of a queue, as SQS hands it to a function. Its id is this UUID with `n` at the end.
pub fn sqs_message(queue: &str, n: u32, body: impl Into<String>, receives: u32) -> Value {
    json!({
        "messageId": message_id(n), "receiptHandle": format!("handle-{n}"), "body": body.into(),
        "attributes": {"ApproximateReceiveCount": receives.to_string(), "SentTimestamp": "1767323045123",
            "SenderId": "x", "ApproximateFirstReceiveTimestamp": "1767323045124"},
        "messageAttributes": {}, "md5OfBody": "x", "eventSource": "aws:sqs",
        "eventSourceARN": format!("arn:aws:sqs:eu-central-1:123456789012:{PREFIX}{queue}"), "awsRegion": "eu-central-1"
    })
}

pub fn message_id(n: u32) -> String {
    format!("059f36b4-87a3-44ab-83d2-{n:012}")
}

/// A batch of messages.
pub fn sqs_event(messages: impl IntoIterator<Item = Value>) -> cartwright_aws::sqs::SqsEvent {
    serde_json::from_value(json!({"Records": messages.into_iter().collect::<Vec<_>>()})).unwrap()
}

/// What an answer names as failed.
pub fn failed(answer: &cartwright_aws::sqs::BatchAnswer) -> Vec<String> {
    let answer = serde_json::to_value(answer).unwrap();
    let failures = answer["batchItemFailures"].as_array().unwrap().iter();
    failures.map(|failure| failure["itemIdentifier"].as_str().unwrap().to_owned()).collect()
}
