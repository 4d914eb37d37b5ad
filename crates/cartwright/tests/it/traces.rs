//! The trace of a checkout: from the request over every queue to what the customer is told.

use std::sync::{Arc, Mutex};

use cartwright::trace::{Attribute, Context, Finished, Role, Sampling, Sink, Tracer};
use http::Method;
use serde_json::json;

use crate::faults::Fault;
use crate::shop::TestShop;

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Where spans go in these tests.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Finished>>>);

impl Sink for Collector {
    fn take(&self, span: Finished) {
        self.0.lock().unwrap().push(span);
    }
}

impl Collector {
    /// Collects what `shop` does from now on.
    fn of(shop: &TestShop, sampling: Sampling) -> Collector {
        let collector = Collector::default();
        let (clock, ids) = (shop.app.clock.clone(), shop.app.ids.clone());
        let tracer = Tracer::new(clock, ids, sampling, Box::new(collector.clone()));
        assert!(shop.app.telemetry.tracer.set(tracer).is_ok());
        collector
    }

    fn spans(&self) -> Vec<Finished> {
        self.0.lock().unwrap().clone()
    }

    /// The tree of spans under a parent, each line indented below what it came of, siblings by name.
    fn tree(&self, parent: u64) -> String {
        let (spans, mut tree) = (self.spans(), String::new());
        write_tree(&spans, parent, 0, &mut tree);
        tree
    }
}

fn write_tree(spans: &[Finished], parent: u64, depth: usize, tree: &mut String) {
    let mut children: Vec<_> = spans.iter().filter(|span| span.parent == Some(parent)).collect();
    children.sort_by_key(|span| (span.name.clone(), span.context.span_id));
    for span in children {
        tree.push_str(&format!("{}{}\n", "  ".repeat(depth), span.name));
        write_tree(spans, span.context.span_id, depth + 1, tree);
    }
}

async fn checkout(shop: &TestShop, headers: &[(&str, &str)]) {
    let headers = [&[("content-type", "application/json")], headers].concat();
    let body = json!({"contact": {"firstName": "Annabel"}}).to_string();
    shop.send(Method::POST, "/v1/baskets/annabel/checkout", &headers, body).await.expect(202);
}

#[tokio::test]
async fn all_that_comes_of_a_checkout_is_in_its_trace_under_what_it_came_of() {
    let shop = TestShop::new().await;
    let phone = shop.product("Phone", 1_250, 10).await;
    shop.fill("annabel", &phone, 2).await;
    let collector = Collector::of(&shop, Sampling::OTHERS);
    checkout(&shop, &[("traceparent", TRACEPARENT)]).await;
    shop.deliver().await;
    let caller: Context = TRACEPARENT.parse().unwrap();
    let spans = collector.spans();
    assert!(spans.iter().all(|span| span.context.trace_id == caller.trace_id && span.error.is_none()), "{spans:#?}");
    let steps: Vec<String> = collector
        .tree(caller.span_id)
        .lines()
        .filter(|line| !line.trim_start().starts_with("get ") && !line.trim_start().starts_with("list "))
        .map(str::to_owned)
        .collect();
    for expected in [
        "POST /v1/baskets/{user}/checkout",
        "  commit basket",
        "    OrderQueue CheckoutBasket",
        "      commit ordering",
        "        NotificationQueue OrderPlaced",
        "          notify OrderPlaced",
        "        StockQueue OrderPlaced",
        "          commit catalog",
        "            OrderStatusQueue StockReserved",
        "              commit ordering",
        "                NotificationQueue OrderConfirmed",
        "                  notify OrderConfirmed",
        "            StockLedgerQueue StockMoved",
    ] {
        assert!(steps.iter().any(|step| step == expected), "no {expected:?} in {steps:#?}");
    }
    assert!(spans.iter().any(|span| span.name == "get basket"), "reads are steps too");
    let request = spans.iter().find(|span| span.role == Role::Server).unwrap();
    assert_eq!(
        request.attributes,
        [
            ("http.request.method", Attribute::from("POST")),
            ("http.route", Attribute::from("/v1/baskets/{user}/checkout")),
            ("http.response.status_code", Attribute::Number(202)),
        ]
    );
    let commit = spans.iter().find(|span| span.name == "commit basket").unwrap();
    assert_eq!(commit.attributes, [("cartwright.events", Attribute::from("CheckoutBasket"))]);
    assert!(!format!("{spans:?}").to_lowercase().contains("annabel"), "a span tells who");
}

#[tokio::test]
async fn what_failed_says_so_and_is_in_the_trace_again_when_it_is_received_again() {
    let shop = TestShop::new().await;
    let phone = shop.product("Phone", 1_250, 10).await;
    shop.fill("ann", &phone, 2).await;
    let collector = Collector::of(&shop, Sampling::OTHERS);
    let body = json!({}).to_string();
    let headers = [("content-type", "application/json"), ("traceparent", TRACEPARENT)];
    shop.send(Method::POST, "/v1/baskets/ann/checkout", &headers, body).await.expect(202);
    shop.faults.next([Fault::Refuse]);
    shop.deliver_with_retries().await;
    let spans = collector.spans();
    let order: Vec<_> = spans.iter().filter(|span| span.name == "OrderQueue CheckoutBasket").collect();
    let errors: Vec<_> = order.iter().map(|span| span.error.as_deref()).collect();
    assert_eq!(errors, [Some("storage_failed"), None]);
    assert_eq!(order[0].parent, order[1].parent);
    assert!(spans.iter().any(|span| span.name == "commit ordering" && span.error.as_deref() == Some("failed")));
}

#[tokio::test]
async fn a_trace_begins_here_when_nobody_began_it_and_only_as_often_as_it_should() {
    for (sampling, count) in [(Sampling::ALL, 1), (Sampling::OTHERS, 0)] {
        let shop = TestShop::new().await;
        let collector = Collector::of(&shop, sampling);
        shop.get("/v1/nowhere").await.expect(404);
        let not_sampled = TRACEPARENT.replace("-01", "-00");
        shop.send(Method::GET, "/v1/nowhere", &[("traceparent", &not_sampled)], "").await.expect(404);
        let spans = collector.spans();
        assert_eq!(spans.len(), count);
        assert!(spans.iter().all(|span| span.parent.is_none() && span.name == "GET none"), "{spans:?}");
    }
}

#[tokio::test]
async fn a_trace_that_is_recorded_elsewhere_goes_on_with_the_events_although_nothing_is_recorded_here() {
    let shop = TestShop::new().await;
    let phone = shop.product("Phone", 1_250, 10).await;
    shop.fill("annabel", &phone, 2).await;
    checkout(&shop, &[("traceparent", TRACEPARENT)]).await;
    let file = rusqlite::Connection::open(shop.folder.join(cartwright::local::sqlite::FILE_NAME)).unwrap();
    let body = || file.query_row("SELECT body FROM messages", [], |row| row.get::<_, String>(0)).unwrap();
    let event: serde_json::Value = serde_json::from_str(&body()).unwrap();
    assert_eq!(event["traceparent"], TRACEPARENT);
    shop.deliver().await;
}

#[tokio::test]
async fn an_event_is_worth_no_less_for_what_is_wrong_with_its_trace() {
    let shop = TestShop::new().await;
    let event = serde_json::to_value(shop.event("OrderPacked", json!({}))).unwrap();
    for traceparent in [json!("nonsense"), json!(7), json!(null), json!({"a": [1]})] {
        let mut event = event.clone();
        event["traceparent"] = traceparent;
        let read: cartwright::events::Envelope = serde_json::from_value(event).unwrap();
        assert_eq!(read.traceparent, None);
    }
}
