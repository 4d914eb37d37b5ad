//! The door: errors, limits and names that every request has in common.

use axum::Router;
use axum::routing::{get, post};
use cartwright::rest::{Door, Post, Reply};
use http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::shop::TestShop;

#[tokio::test]
async fn fault_stack_trace_in_responses() {
    let shop = TestShop::new().await;
    let router = Router::new().route("/panics", get(async || -> &'static str { panic!("secret.rs:17 went wrong") }));
    let door = Door::new(router, &shop.app);
    let response = door.answer(Request::get("/panics").body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!(response.status(), 500);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let body = String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    assert!(!body.contains("secret") && !body.contains(".rs"), "{body}");
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&problem["code"], &problem["status"]), (&json!("internal_error"), &json!(500)));
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up() {
    let shop = TestShop::new().await;
    let router = Router::new().route("/hangs", get(async || std::future::pending::<&'static str>().await));
    let door = Door::new(router, &shop.app).timeout(std::time::Duration::from_millis(20));
    let response = door.answer(Request::get("/hangs").body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].to_str().unwrap()), (503, "1"));
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let shop = TestShop::new().await;
    for path in ["/nope", "/v1", "/v1/nope", "/product/x/y", "/basket/a/b"] {
        let answer = shop.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (404, "route_not_found"), "{path}");
    }
    let answer = shop.send(Method::DELETE, "/v1/products", &[], "").await;
    assert_eq!((answer.status.as_u16(), answer.code()), (405, "method_not_allowed"));
    let mut allow: Vec<&str> = answer.header("allow").split(',').collect();
    allow.sort_unstable();
    assert_eq!(allow, ["GET", "HEAD", "POST"]);
}

#[tokio::test]
async fn every_listed_route_answers_with_and_without_a_trailing_slash() {
    let shop = TestShop::new().await;
    for (method, path) in cartwright::api::table() {
        let path =
            path.split('/').map(|part| if part.starts_with('{') { "0" } else { part }).collect::<Vec<_>>().join("/");
        let plain = shop.send(method.clone(), &path, &[], "{}").await;
        let slashed = shop.send(method.clone(), &format!("{path}/"), &[], "{}").await;
        assert_eq!(plain.status, slashed.status, "{method} {path}");
        assert!(plain.status != 405 && plain.status.as_u16() < 500, "{method} {path}: {plain:?}");
        assert_ne!(plain.body["code"], "route_not_found", "{method} {path}");
    }
}

#[tokio::test]
async fn bodies_must_be_json_of_reasonable_size() {
    let shop = TestShop::new().await;
    let send = async |path: &str, content_type: &str, body: String| {
        let answer = shop.send(Method::POST, path, &[("content-type", content_type)], body).await;
        (answer.status.as_u16(), answer.code().to_owned())
    };
    assert_eq!(send("/v1/products", "text/plain", "{}".into()).await, (415, "unsupported_media_type".into()));
    assert_eq!(
        send("/v1/products", "application/json; charset=utf-8", "{".into()).await,
        (400, "malformed_json".into())
    );
    assert_eq!(send("/v1/products", "application/json", "".into()).await, (400, "malformed_json".into()));
    assert_eq!(send("/v1/products", "application/json", "\u{0}".into()).await, (400, "malformed_json".into()));
    assert_eq!(send("/v1/products", "application/json", "[".repeat(100_000)).await, (400, "malformed_json".into()));
    assert_eq!(send("/v1/products", "application/json", " ".repeat(300_000)).await, (413, "body_too_large".into()));
    assert_eq!(
        send("/product", "application/x-www-form-urlencoded", "{}".into()).await,
        (400, "invalid_request".into()),
        "as curl -d sends it"
    );
}

#[tokio::test]
async fn limits_and_cursors_are_checked() {
    let shop = TestShop::new().await;
    for (query, pointer) in [
        ("limit=0", "?limit"),
        ("limit=101", "?limit"),
        ("limit=x", "?limit"),
        ("cursor=x", "?cursor"),
        ("cursor=", "?cursor"),
    ] {
        for path in ["/v1/products", "/v1/orders", "/v1/baskets", "/product", "/order", "/basket", "/order/ann"] {
            let answer = shop.get(&format!("{path}?{query}")).await;
            assert_eq!((answer.status.as_u16(), answer.pointers()), (400, vec![pointer]), "{path}?{query}");
        }
    }
}

#[tokio::test]
async fn a_request_keeps_its_id_or_gets_one() {
    let shop = TestShop::new().await;
    let theirs = shop.send(Method::GET, "/nope", &[("x-request-id", "mine-1")], "").await;
    assert_eq!(theirs.header("x-request-id"), "mine-1");
    assert_eq!(theirs.code(), "route_not_found");
    let (first, second) = (shop.get("/health").await, shop.get("/health").await);
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
    let too_long = shop.send(Method::GET, "/health", &[("x-request-id", &"x".repeat(200))], "").await;
    assert_ne!(too_long.header("x-request-id").len(), 200);
}

#[tokio::test]
async fn events_carry_the_id_of_the_request_they_came_of() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    shop.fill("ann", &phone, 1).await;
    let headers = [("content-type", "application/json"), ("x-request-id", "checkout-7")];
    shop.send(Method::POST, "/v1/baskets/ann/checkout", &headers, "{}").await.expect(202);
    use cartwright::events::Queue;
    for queue in [
        Queue::OrderQueue,
        Queue::StockQueue,
        Queue::OrderStatusQueue,
        Queue::StockLedgerQueue,
        Queue::NotificationQueue,
    ] {
        let received = shop.store.receive(queue, 0).await.unwrap().unwrap();
        let envelope = received.envelope.clone().unwrap();
        assert_eq!(envelope.correlation_id, "checkout-7", "{}", queue.name());
        assert_eq!(envelope.causation_id.is_some(), queue != Queue::OrderQueue);
        cartwright::events::handle(&shop.app, queue, &envelope).await.unwrap();
        shop.store.delete_message(&received).await.unwrap();
    }
    shop.deliver().await;
}

#[tokio::test]
async fn a_running_idempotency_key_is_refused() {
    let shop = TestShop::new().await;
    let gate = std::sync::Arc::new(tokio::sync::Notify::new());
    let waiting = gate.clone();
    let handler = async move |post: Post<Value>| {
        waiting.notified().await;
        drop(post.once);
        Reply::<200, Value>::new(post.body)
    };
    let door = Door::new(Router::new().route("/slow", post(handler)).with_state(shop.app.clone()), &shop.app);
    let request = || Request::post("/slow").header("idempotency-key", "k").body(axum::body::Body::from("{}")).unwrap();
    let first = {
        let (door, request) = (door.clone(), request());
        tokio::spawn(async move { door.answer(request).await.status() })
    };
    let second = loop {
        tokio::task::yield_now().await;
        if first.is_finished() {
            panic!("the first request did not wait");
        }
        let answer = tokio::time::timeout(std::time::Duration::from_millis(200), door.answer(request())).await;
        if let Ok(answer) = answer {
            break answer.status();
        }
    };
    assert_eq!(second, 409);
    gate.notify_waiters();
    gate.notify_one();
    assert_eq!(first.await.unwrap(), 200);
}

#[tokio::test]
async fn the_description_lists_every_route_and_its_problems() {
    let shop = TestShop::new().await;
    let document = shop.get("/openapi.json").await.expect(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    // What these do is said by their paths.
    let bare = ["/edit-address", "/v1/products/{id}/watchers/{username}"];
    let is_bare =
        |path: &str| bare.contains(&path) || ["/secret", "/test", "/redeliver"].iter().any(|end| path.ends_with(end));
    for (method, path) in cartwright::api::table() {
        let operation = &document["paths"][path][method.as_str().to_lowercase()];
        assert!(operation["operationId"].is_string(), "{method} {path}");
        assert!(
            operation["responses"].as_object().unwrap().keys().any(|status| status.starts_with('2')),
            "{method} {path}"
        );
        assert!(operation["responses"]["503"].is_object(), "{method} {path}");
        assert!(operation["responses"]["429"].is_object(), "{method} {path}");
        assert_eq!(
            operation["requestBody"].is_object(),
            matches!(method, Method::POST | Method::PUT | Method::PATCH) && !is_bare(path),
            "{method} {path}"
        );
    }
    let text = document.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(document["components"]["schemas"][reference].is_object(), "{reference} is referred to and not there");
    }
    let mut ids: Vec<&str> =
        text.split("\"operationId\":\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "operation ids are unique");
}

#[tokio::test]
async fn the_docs_page_needs_nothing_from_elsewhere() {
    let shop = TestShop::new().await;
    let response = shop.raw("/docs").await;
    let page = String::from_utf8(response).unwrap();
    assert!(!page.contains("http://") && !page.contains("https://"), "{page}");
    for file in page.split(['"', '\'']).filter(|text| text.starts_with("/docs/")) {
        assert!(!shop.raw(file).await.is_empty(), "{file}");
    }
    assert!(page.contains("/docs/swagger-ui.css"));
}

#[tokio::test]
async fn the_tag_of_an_answer_is_the_one_that_is_read_next() {
    let shop = TestShop::new().await;
    shop.customer("ann").await;
    let phone = shop.product("phone", 100, 5).await;
    let order = shop.order("ann", &phone, 1).await;
    let (customer, order) = ("/v1/customers/ann".to_owned(), format!("/v1/orders/{order}"));
    for (path, answer) in [
        (&customer, shop.patch(&customer, json!({"name": "Ann"})).await),
        (&order, shop.post(&format!("{order}/transitions"), json!({"to": "CANCELLED"})).await),
    ] {
        let read = shop.get(path).await;
        assert_eq!((answer.header("etag"), answer.status.as_u16()), (read.header("etag"), 200), "{path}");
    }
    shop.deliver().await;
}
