//! A collector of traces: takes OTLP over HTTP in its JSON form, and keeps the spans.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// A span, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) trace_id: String,
    pub(super) id: String,
    pub(super) parent: Option<String>,
    pub(super) name: String,
    pub(super) kind: u64,
    pub(super) began: u64,
    pub(super) ended: u64,
    attributes: Vec<(String, String)>,
}

impl Span {
    /// A text or number that it tells.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Default)]
struct Kept {
    spans: Vec<Span>,
    headers: Vec<(String, String)>,
    refusals: usize,
}

/// A collector on a port of its own, as long as the test runs.
pub(super) struct Collector {
    address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
}

impl Collector {
    pub(super) fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, kept) = (listener.local_addr().unwrap(), Arc::<Mutex<Kept>>::default());
        let keep = Arc::clone(&kept);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                take(stream, &keep);
            }
        });
        Collector { address, kept }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next batches are refused for now; they must come again.
    pub(super) fn refuse_first(&self, batches: usize) {
        self.kept.lock().unwrap().refusals = batches;
    }

    pub(super) fn spans(&self) -> Vec<Span> {
        self.kept.lock().unwrap().spans.clone()
    }

    /// A header of the last request.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let kept = self.kept.lock().unwrap();
        kept.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
    }
}

/// Takes one request; the exporter sends one on each connection.
fn take(stream: TcpStream, kept: &Mutex<Kept>) {
    let mut stream = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).unwrap_or(0) == 0 || line.trim_end().is_empty() {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let headers: Vec<(String, String)> = lines
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length =
        headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    if lines.is_empty() || stream.read_exact(&mut body).is_err() {
        return;
    }
    let mut kept = kept.lock().unwrap();
    let status = if kept.refusals > 0 {
        kept.refusals -= 1;
        "503 Service Unavailable"
    } else if !lines[0].starts_with("POST /v1/traces ") {
        "404 Not Found"
    } else {
        kept.spans.extend(spans(&serde_json::from_slice(&body).unwrap()));
        kept.headers = headers;
        "200 OK"
    };
    let _ = write!(
        stream.get_mut(),
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
    );
}

fn spans(request: &Value) -> Vec<Span> {
    let resource = &request["resourceSpans"][0];
    let service = &resource["resource"]["attributes"][0];
    assert_eq!((&service["key"], &service["value"]["stringValue"]), (&"service.name".into(), &"cartwright".into()));
    let spans = resource["scopeSpans"][0]["spans"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let number = |value: &Value| value.as_str().unwrap().parse().unwrap();
    let attribute = |attribute: &Value| {
        let value = attribute["value"].as_object().unwrap().values().next().unwrap();
        (text(&attribute["key"]), text(value))
    };
    let span = |span: &Value| Span {
        trace_id: text(&span["traceId"]),
        id: text(&span["spanId"]),
        parent: span["parentSpanId"].as_str().map(str::to_owned),
        name: text(&span["name"]),
        kind: span["kind"].as_u64().unwrap(),
        began: number(&span["startTimeUnixNano"]),
        ended: number(&span["endTimeUnixNano"]),
        attributes: span["attributes"].as_array().unwrap().iter().map(attribute).collect(),
    };
    spans.iter().map(span).collect()
}
