//! What is measured is what happened, and says nothing of who it happened to.

use std::collections::BTreeMap;

use axum::Router;
use axum::routing::get;
use cartwright::events::Queue;
use cartwright::metrics::{ALL, Kind};
use cartwright::rest::{Door, LimitSettings, Limits};
use http::{Method, Request};
use serde_json::json;

use crate::faults::Fault;
use crate::shop::TestShop;

/// Every value that `/metrics` shows, by its name and labels.
async fn metrics(shop: &TestShop) -> BTreeMap<String, String> {
    let text = String::from_utf8(shop.raw("/metrics").await).unwrap();
    let values = text.lines().filter(|line| !line.starts_with('#'));
    values.map(|line| line.rsplit_once(' ').unwrap()).map(|(name, value)| (name.into(), value.into())).collect()
}

fn assert_has(metrics: &BTreeMap<String, String>, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        let found = metrics.get(*name).unwrap_or_else(|| panic!("no {name} in {metrics:#?}"));
        assert_eq!(found, value, "{name}");
    }
}

#[tokio::test]
async fn a_checkout_is_measured_from_the_request_to_the_confirmed_order() {
    let shop = TestShop::new().await;
    let phone = shop.product("Phone", 1_250, 10).await;
    shop.fill("annabel", &phone, 2).await;
    shop.checkout("annabel").await;
    let waiting = metrics(&shop).await;
    assert_has(
        &waiting,
        &[
            (r#"cartwright_queue_messages{queue="OrderQueue",state="waiting"}"#, "1"),
            (r#"cartwright_queue_messages{queue="OrderQueue",state="in_flight"}"#, "0"),
        ],
    );
    shop.deliver().await;
    let metrics = metrics(&shop).await;
    assert_has(
        &metrics,
        &[
            (r#"cartwright_http_requests_total{route="/v1/baskets/{user}/checkout",method="POST",status="202"}"#, "1"),
            (
                r#"cartwright_http_request_duration_seconds_count{route="/v1/baskets/{user}/checkout",method="POST"}"#,
                "1",
            ),
            (r#"cartwright_commits_total{table="ordering",outcome="committed"}"#, "4"),
            (r#"cartwright_commit_duration_seconds_count{table="basket"}"#, "2"),
            (r#"cartwright_events_total{event="CheckoutBasket"}"#, "1"),
            (r#"cartwright_events_total{event="StockReserved"}"#, "1"),
            (r#"cartwright_orders_total{step="placed"}"#, "1"),
            (r#"cartwright_orders_total{step="confirmed"}"#, "1"),
            (r#"cartwright_order_value_total{currency="USD"}"#, "2500"),
            (r#"cartwright_messages_total{queue="OrderQueue",outcome="processed"}"#, "1"),
            (r#"cartwright_handler_duration_seconds_count{queue="StockQueue"}"#, "1"),
            (r#"cartwright_event_delay_seconds_count{queue="OrderStatusQueue"}"#, "1"),
            (r#"cartwright_queue_messages{queue="OrderQueue",state="waiting"}"#, "0"),
            (r#"cartwright_queue_dead_letters{queue="OrderQueue"}"#, "0"),
            ("cartwright_store_writable", "1"),
            ("cartwright_http_requests_in_flight", "1"),
            (concat!("cartwright_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), "1"),
        ],
    );
    let number = |name: &str| metrics[name].parse::<u64>().unwrap();
    assert!(number("cartwright_store_cache_hits_total") > 0);
    assert!(number("cartwright_store_group_size_count") > 5);
    assert_eq!(number("cartwright_store_group_size_count"), number("cartwright_store_fsync_duration_seconds_count"));
    assert!(number(r#"cartwright_store_file_bytes{file="wal"}"#) > 4096);
    assert!(number("cartwright_store_disk_free_bytes") > 0);
    assert!(!metrics.keys().any(|name| name.contains("annabel") || name.contains(&phone)), "{metrics:?}");
}

#[tokio::test]
async fn every_metric_that_is_listed_is_measured_and_no_other() {
    let shop = TestShop::new().await;
    let phone = shop.product("Phone", 1_250, 1).await;
    shop.order("ann", &phone, 1).await;
    let limits = Limits::new(LimitSettings { max_in_flight: Some(0), ..LimitSettings::default() });
    let full = Door::new(Router::new(), &shop.app).limited(limits);
    full.answer(Request::new(axum::body::Body::empty())).await;
    let text = String::from_utf8(shop.raw("/metrics").await).unwrap();
    for metric in ALL {
        assert!(text.contains(&format!("# HELP {} {}\n", metric.name, metric.about)), "{}", metric.name);
        assert!(text.contains(&format!("# TYPE {} {}\n", metric.name, metric.kind_name())), "{}", metric.name);
    }
    assert_eq!(text.matches("# TYPE").count(), ALL.len());
    let labels = |name: &str, suffix: &str| {
        let start = format!("{name}{suffix}");
        let line = text.lines().find(|line| line.strip_prefix(&start).is_some_and(|rest| rest.starts_with(['{', ' '])));
        line.unwrap_or_else(|| panic!("no {start}")).matches("=\"").count()
    };
    for metric in ALL {
        let suffix = if matches!(metric.kind, Kind::Histogram(_)) { "_count" } else { "" };
        assert_eq!(labels(metric.name, suffix), metric.labels.len(), "{}", metric.name);
    }
}

#[tokio::test]
async fn paths_and_methods_that_nobody_listed_have_no_names_of_their_own() {
    let shop = TestShop::new().await;
    for path in ["/secret/ann", "/v1/baskets/ann/items/", "/v1/products/0/1/2/3"] {
        shop.send(Method::from_bytes(b"BREW").unwrap(), path, &[], "").await;
    }
    let metrics = metrics(&shop).await;
    assert_has(
        &metrics,
        &[
            (r#"cartwright_http_requests_total{route="none",method="other",status="404"}"#, "2"),
            (r#"cartwright_http_requests_total{route="/v1/baskets/{user}/items",method="other",status="405"}"#, "1"),
        ],
    );
}

#[tokio::test]
async fn refusals_lost_races_failures_and_requests_that_were_given_up_are_counted() {
    let shop = TestShop::new().await;
    let phone = shop.product("Phone", 1_250, 10).await;
    shop.faults.next([Fault::Refuse]);
    let body = json!({"productId": phone, "quantity": 1});
    shop.post("/v1/baskets/ann/items", body).await.expect(503);

    let hanging = Router::new().route("/hang/{here}", get(std::future::pending::<()>));
    let door = Door::new(hanging, &shop.app).watching(&shop.app, ["/hang/{here}"]);
    let request = |path: &str| Request::builder().uri(path).body(axum::body::Body::empty()).unwrap();
    let slow = door.clone().timeout(std::time::Duration::from_millis(1)).answer(request("/hang/a")).await;
    assert_eq!(slow.status(), 503);
    let mut given_up = Box::pin(door.answer(request("/hang/b")));
    assert!(futures_util::poll!(given_up.as_mut()).is_pending());
    assert_has(&metrics(&shop).await, &[("cartwright_http_requests_in_flight", "2")]);
    drop(given_up);

    assert_has(
        &metrics(&shop).await,
        &[
            (r#"cartwright_commits_total{table="basket",outcome="failed"}"#, "1"),
            (r#"cartwright_http_refusals_total{code="timeout"}"#, "1"),
            (r#"cartwright_http_requests_total{route="/hang/{here}",method="GET",status="503"}"#, "1"),
            (r#"cartwright_http_requests_total{route="/hang/{here}",method="GET",status="aborted"}"#, "1"),
            ("cartwright_http_requests_in_flight", "1"),
        ],
    );
}

#[tokio::test]
async fn a_message_that_dies_is_counted_and_shown() {
    let shop = TestShop::new().await;
    shop.emit(shop.event("OrderPlaced", json!({"nonsense": true}))).await;
    shop.deliver_with_retries().await;
    assert_has(
        &metrics(&shop).await,
        &[
            (r#"cartwright_messages_total{queue="StockQueue",outcome="dead"}"#, "1"),
            (r#"cartwright_queue_dead_letters{queue="StockQueue"}"#, "1"),
        ],
    );
    let ready = shop.get("/health/ready").await.expect(200);
    assert_eq!((&ready["status"], &ready["queues"]["deadLetters"]), (&json!("ready"), &json!(2)));
    for queue in [Queue::StockQueue, Queue::NotificationQueue] {
        assert_eq!(shop.dead_letters(queue).await.len(), 1);
    }
}

#[tokio::test]
async fn a_process_whose_metrics_are_collected_from_its_log_shows_none() {
    let shop = TestShop::new().await;
    shop.app.telemetry.metrics.keep_samples();
    assert_eq!(shop.get("/metrics").await.code(), "route_not_found");
}
