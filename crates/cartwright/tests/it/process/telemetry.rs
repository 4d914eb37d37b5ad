//! What a real server tells those who run it: traces at a collector, a log for programs, metrics at an address of their own.

mod collector;
mod picture;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::harness::{Server, eventually};
use collector::{Collector, Span};

/// Longest wait for what happens behind queues and in batches, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The picture of a checkout's trace in docs/operations.md.
const PICTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/checkout-trace.svg");

fn check_out(server: &Server) {
    let mut client = server.client();
    let product = server.product("Phone", 10);
    let line = json!({"productId": product, "quantity": 2});
    client.request("POST", "/v1/baskets/annabel/items", Some(&line)).expect(200);
    client.request("POST", "/v1/baskets/annabel/checkout", Some(&json!({}))).expect(202);
}

/// The spans of the checkout's trace, once the last of them is there.
fn spans_of_checkout(collector: &Collector) -> Vec<Span> {
    eventually("the trace of the checkout is whole", PATIENCE, || {
        let spans = collector.spans();
        let request = spans.iter().find(|span| span.name == "POST /v1/baskets/{user}/checkout")?;
        let trace: Vec<_> = spans.iter().filter(|span| span.trace_id == request.trace_id).cloned().collect();
        let has = |name: &str| trace.iter().any(|span| span.name == name);
        let ends = ["NotificationQueue OrderConfirmed", "StockLedgerQueue StockMoved", "NotificationQueue OrderPlaced"];
        ends.into_iter().all(has).then_some(trace)
    })
}

#[test]
fn a_checkout_is_one_trace_at_the_collector_and_its_picture_in_the_documentation_is_true() {
    let (folder, collector) = (TempDir::new().unwrap(), Collector::start());
    collector.refuse_first(1);
    let server =
        Server::start(folder.path(), &["--otlp-endpoint", &collector.url(), "--otlp-headers", "api-key=s3cret"]);
    check_out(&server);
    let spans = spans_of_checkout(&collector);
    let roots: Vec<_> = spans.iter().filter(|span| span.parent.is_none()).collect();
    let [request] = &roots[..] else { panic!("{roots:#?}") };
    assert_eq!((request.kind, request.attribute("http.response.status_code")), (2, Some("202")));
    for span in &spans {
        let parent = span.parent.as_ref().map(|id| spans.iter().find(|other| other.id == *id));
        let parent = parent.map(|parent| parent.unwrap_or_else(|| panic!("{span:?} has no parent")));
        assert!(parent.is_none_or(|parent| parent.began <= span.began) && span.began <= span.ended, "{span:?}");
    }
    assert_eq!(collector.header("api-key").as_deref(), Some("s3cret"));
    assert!(!server.stderr().contains("s3cret"));
    server.stop();

    let fresh = picture::of(&spans);
    let fresh_file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("checkout-trace.svg");
    std::fs::write(&fresh_file, &fresh).unwrap();
    let kept = std::fs::read_to_string(PICTURE).unwrap_or_default();
    let (fresh, kept) = (picture::steps(&fresh), picture::steps(&kept));
    assert!(kept.len() > 10, "{kept:?}");
    let gone: Vec<_> = kept.difference(&fresh).collect();
    assert!(gone.is_empty(), "the picture shows what is no more: {gone:?}; copy {} to docs", fresh_file.display());
}

#[test]
fn a_collector_that_is_away_costs_spans_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::start(folder.path(), &["--otlp-endpoint", &format!("http://{nobody}")]);
    check_out(&server);
    eventually("the loss is counted", PATIENCE, || {
        let metrics = text(server.address(), "/metrics");
        let lost = metrics.lines().find_map(|line| line.strip_prefix("cartwright_spans_dropped_total "))?;
        (lost != "0").then_some(())
    });
    assert_eq!(server.stderr().matches("the collector does not take spans").count(), 1, "{}", server.stderr());
    server.stop();
}

#[test]
fn the_log_for_programs_says_which_request_and_which_trace_and_nobodys_name() {
    let (folder, collector) = (TempDir::new().unwrap(), Collector::start());
    let options = ["--log", "cartwright=trace", "--log-format", "json", "--otlp-endpoint", &collector.url()];
    let server = Server::start(folder.path(), &options);
    check_out(&server);
    let spans = spans_of_checkout(&collector);
    let log = server.stderr();
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect();
    for line in &lines {
        for member in ["timestamp", "level", "target", "message", "service"] {
            assert!(line[member].is_string(), "no {member} in {line}");
        }
    }
    let of_checkout = |line: &&Value| line["route"] == "/v1/baskets/{user}/checkout";
    let access = lines.iter().find(of_checkout).unwrap_or_else(|| panic!("no line of the checkout in {log}"));
    assert_eq!(
        (&access["level"], &access["method"], &access["status"], &access["service"]),
        (&json!("INFO"), &json!("POST"), &json!(202), &json!("cartwright"))
    );
    assert!(access["durationUs"].is_u64());
    assert_eq!(access["traceId"], spans[0].trace_id);
    let same_request = |line: &&Value| line["correlationId"] == access["correlationId"];
    let notified = lines.iter().filter(same_request).find(|line| line["event"] == "OrderConfirmed");
    assert!(notified.is_some_and(|line| line["traceId"] == access["traceId"]), "what came of it says so too: {log}");
    assert!(!log.contains("annabel"), "{log}");
    server.stop();
}

#[test]
fn metrics_may_have_an_address_of_their_own_where_there_is_nothing_else() {
    let folder = TempDir::new().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::start(folder.path(), &["--metrics-listen", &free.to_string()]);
    server.get("/v1/products").expect(200);
    let metrics = text(free, "/metrics");
    assert!(
        metrics.contains("cartwright_http_requests_total{route=\"/v1/products\",method=\"GET\",status=\"200\"} 1\n")
    );
    assert!(text(free, "/health/ready").contains("\"ready\""));
    assert!(text(free, "/v1/products").contains("route_not_found"));
    server.stop();
}

/// The whole answer to a request, as text.
fn text(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}
