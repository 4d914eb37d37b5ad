//! What browsers are told, and what pages from elsewhere get.

use axum::body::Body;
use cartwright::access::Role;
use cartwright::api;
use cartwright::rest::Cors;
use http::{Method, Request, Response};
use serde_json::json;

use crate::shop::TestShop;

async fn ask(door: &cartwright::rest::Door, method: Method, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    door.answer(request.body(Body::from("{}")).unwrap()).await
}

#[tokio::test]
async fn every_answer_tells_browsers_how_to_take_it() {
    let shop = TestShop::protected().await;
    let staff = shop.key(Role::Staff, None).await;
    for (key, path, is_kept) in
        [(None, "/docs", true), (None, "/nope", true), (None, "/v1/queues", true), (Some(&*staff), "/v1/queues", false)]
    {
        let answer = shop.send_as(key, "GET", path, &json!({})).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("content-security-policy", "frame-ancestors 'none'"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(answer.header(name), value, "{path}");
        }
        let kept = answer.headers.get("cache-control").is_none_or(|value| value != "private, no-store");
        assert_eq!(kept, is_kept, "{path}");
        for absent in ["server", "x-powered-by", "access-control-allow-origin"] {
            assert!(!answer.headers.contains_key(absent), "{absent} of {path}");
        }
    }
}

#[tokio::test]
async fn only_pages_of_named_origins_may_call() {
    let shop = TestShop::new().await;
    let door = api::door(&shop.app).shared_with(Cors::new(["https://shop.example".parse().unwrap()]));
    let preflight = async |origin| {
        let headers = [("origin", origin), ("access-control-request-method", "PUT")];
        ask(&door, Method::OPTIONS, "/v1/baskets/ann", &headers).await
    };
    let allowed = preflight("https://shop.example").await;
    assert_eq!(
        (allowed.status().as_u16(), &allowed.headers()["access-control-allow-origin"]),
        (204, &"https://shop.example".parse().unwrap())
    );
    assert!(allowed.headers()["access-control-allow-headers"].to_str().unwrap().contains("Authorization"));
    for other in ["https://evil.example", "https://shop.example.evil.example", "http://shop.example", "null"] {
        let refused = preflight(other).await;
        assert_eq!(refused.status(), 405, "{other}");
        let answer = ask(&door, Method::GET, "/v1/products", &[("origin", other)]).await;
        assert!(!answer.headers().contains_key("access-control-allow-origin"), "{other}");
    }
    let answer = ask(&door, Method::GET, "/v1/products", &[("origin", "https://shop.example")]).await;
    assert_eq!((answer.status().as_u16(), &answer.headers()["vary"]), (200, &"Origin".parse().unwrap()));
    assert!(!answer.headers().contains_key("access-control-allow-credentials"));
}

#[tokio::test]
async fn pages_from_elsewhere_cannot_use_the_browser_of_whoever_runs_an_open_shop() {
    let shop = TestShop::new().await;
    let door = api::door(&shop.app).shared_with(Cors::new(["https://desk.example".parse().unwrap()])).local_only();
    for (method, path, headers, status) in [
        (Method::GET, "/v1/customers", &[("host", "evil.example")][..], 403),
        (Method::GET, "/v1/customers", &[("host", "127.0.0.1:8080")], 200),
        (Method::GET, "/v1/customers", &[("host", "localhost:8080"), ("origin", "https://evil.example")], 200),
        (Method::GET, "http://evil.example/v1/customers", &[], 403),
        (Method::GET, "/v1/customers", &[], 200),
        (
            Method::POST,
            "/product",
            &[("host", "localhost"), ("origin", "https://evil.example"), ("content-type", "text/plain")],
            403,
        ),
        (Method::POST, "/product", &[("host", "localhost"), ("origin", "null")], 403),
        (Method::POST, "/product", &[("host", "localhost"), ("origin", "http://localhost:8080")], 400),
        (Method::POST, "/product", &[("host", "localhost"), ("origin", "https://desk.example")], 400),
        (Method::POST, "/product", &[("host", "localhost")], 400),
    ] {
        let answer = ask(&door, method.clone(), path, headers).await;
        assert_eq!(answer.status(), status, "{method} {path} {headers:?}");
    }
}
