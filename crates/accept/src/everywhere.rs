//! What holds on every path: problems, slashes, limits, and that the two surfaces show one shop.

use serde_json::{Value, json};

use crate::Check;
use crate::probe::{Outcome, Probe, ensure, holds, list, same, text, usd};

pub(crate) const CHECKS: &[Check] = &[
    ("everywhere: an unknown path is 404", unknown_paths),
    ("everywhere: a wrong method is 405, and Allow names the right ones", wrong_methods),
    ("everywhere: a problem carries the id of its request", request_ids),
    ("everywhere: every bad field is named by its pointer", bad_fields),
    ("everywhere: bad limits and cursors are 400", bad_pages),
    ("everywhere: a body that is no JSON, too large, or of another type is 400, 413, 415", bad_bodies),
    ("everywhere: what is made under /v1 is seen on the classic paths, and the other way round", one_shop),
    ("everywhere: /health and /docs", health),
    ("everywhere: /openapi.json lists every path", openapi),
    ("everywhere: every path answers with and without a trailing slash", slashes),
];

fn unknown_paths(probe: &Probe) -> Outcome {
    for path in
        ["/no/such/path", "/v1", "/v1/nothing", "/v1/products/0/nothing", "/product/x/y", "/basket/a/b", "/users"]
    {
        probe.get(path)?.problem(404, "route_not_found")?;
    }
    probe.post("/no/such/path", &json!({}))?.problem(404, "route_not_found").map(drop)
}

fn wrong_methods(probe: &Probe) -> Outcome {
    for (method, path, expected) in [
        ("DELETE", "/v1/products", &["GET", "POST"][..]),
        ("PUT", "/v1/orders/0", &["GET"]),
        ("PATCH", "/product/0", &["GET", "PUT", "DELETE"]),
        ("DELETE", "/order", &["GET", "POST"]),
        ("GET", "/add_user", &["POST"]),
        ("PATCH", "/product-purchase", &["GET", "POST"]),
    ] {
        let answer = probe.send(method, path, &[], &json!({}))?;
        let allow = answer.header("allow").unwrap_or_default().to_owned();
        answer.problem(405, "method_not_allowed")?;
        let mut allowed: Vec<&str> = allow.split(',').map(str::trim).filter(|method| *method != "HEAD").collect();
        allowed.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        ensure!(allowed == expected, "{method} {path}: Allow: {allow:?} instead of {expected:?}");
    }
    Ok(())
}

fn request_ids(probe: &Probe) -> Outcome {
    let id = probe.name("request");
    let theirs = probe.client.send("GET", "/v1/orders/0", &[("x-request-id", &id)], None)?;
    same("X-Request-Id", &json!(theirs.must_have("x-request-id")?), &json!(id))?;
    same("requestId", &theirs.problem(404, "order_not_found")?["requestId"], &json!(id))?;
    let (first, second) = (probe.get("/v1/orders/0")?, probe.get("/v1/orders/0")?);
    let (id, other) = (first.must_have("x-request-id")?, second.must_have("x-request-id")?);
    ensure!(id != other, "two requests have the id {id}");
    same("requestId", &first.problem(404, "order_not_found")?["requestId"], &json!(id))
}

fn bad_fields(probe: &Probe) -> Outcome {
    let product = json!({"name": "", "price": {"amount": "x", "currency": "USD"}, "colour": 1});
    probe.post("/v1/products", &product)?.names(&["/name", "/price/amount", "/colour"])?;
    probe.post("/v1/products", &json!({}))?.names(&["/name", "/price"])?;
    probe.post("/v1/products", &json!([]))?.names(&[""])?;
    let user = probe.name("bad");
    let lines = json!({"items": [{"productId": "x", "quantity": 1}, {"productId": null, "quantity": 0}]});
    let pointers = ["/items/0/productId", "/items/1/productId", "/items/1/quantity"];
    probe.put(&format!("/v1/baskets/{user}"), &lines)?.names(&pointers)?;
    probe.post("/product", &json!({"price": "cheap"}))?.names(&["/name", "/price"])?;
    probe.post("/basket", &json!({"items": 1}))?.names(&["/userName", "/items"])?;
    probe
        .post("/orders", &json!({"amount": -1, "numItems": 0, "username": "a#b"}))?
        .names(&["/numItems", "/username"])?;
    probe.get("/v1/orders?status=LOST")?.names(&["?"])?;
    probe.get("/v1/orders?from=yesterday")?.names(&["?from"])?;
    probe.get("/v1/baskets/a!b")?.problem(400, "invalid_user_name").map(drop)
}

fn bad_pages(probe: &Probe) -> Outcome {
    for path in ["/v1/products", "/v1/orders", "/v1/customers", "/v1/purchases", "/product", "/basket", "/order"] {
        for (query, pointer) in [("limit=0", "?limit"), ("limit=101", "?limit"), ("cursor=x", "?cursor")] {
            probe.get(&format!("{path}?{query}"))?.names(&[pointer])?;
        }
    }
    Ok(())
}

fn bad_bodies(probe: &Probe) -> Outcome {
    let send = |path: &str, content_type: &str, body: &str| {
        probe.client.send("POST", path, &[("content-type", content_type)], Some(body))
    };
    for path in ["/v1/products", "/product", "/orders", "/product-purchase", "/v1/operations"] {
        send(path, "application/json", "{")?.problem(400, "malformed_json")?;
        // The last byte is one too many, so that a server has read all others before it says so.
        send(path, "application/json", &" ".repeat(256 * 1024 + 1))?.problem(413, "body_too_large")?;
    }
    send("/v1/products", "text/plain", "{}")?.problem(415, "unsupported_media_type")?;
    send("/v1/products", "application/json; charset=utf-8", "{}")?.problem(400, "invalid_request")?;
    // As `curl -d` sends it: the clients of the classic paths never had to say what they send.
    let product = json!({"name": probe.name("curl"), "price": 1}).to_string();
    send("/product", "application/x-www-form-urlencoded", &product)?.expect(200).map(drop)
}

fn one_shop(probe: &Probe) -> Outcome {
    let category = probe.name("both");
    let classic = json!({"name": "classic", "category": category, "price": 12.5, "stock": 3});
    let classic = text(&probe.post("/product", &classic)?.expect(200)?["body"], "id")?;
    let seen = probe.get(&format!("/v1/products/{classic}"))?.expect(200)?;
    holds("under /v1", &seen, &json!({"name": "classic", "price": usd(1_250), "stock": {"available": 3}}))?;
    let product = probe.product(9_999, 4)?;
    let seen = probe.get(&format!("/product/{product}"))?.expect(200)?;
    holds("on the classic path", &seen["body"], &json!({"id": product, "price": 99.99, "stock": 4}))?;

    let user = probe.customer("both")?;
    holds("the user", &probe.get(&format!("/users/{user}"))?.expect(200)?["data"], &json!({"Username": user}))?;
    probe.fill(&user, &product, 1)?;
    let basket = probe.get(&format!("/basket/{user}"))?.expect(200)?;
    same("the basket", &basket["body"]["items"][0]["productId"], &json!(product))?;
    let accepted = probe.post("/basket/checkout", &json!({"userName": user}))?.expect(200)?;
    let order = text(&accepted["body"], "orderId")?;
    probe.settles(&order, "CONFIRMED")?;
    let listed = probe.get(&format!("/order/{user}"))?.expect(200)?;
    same("the order on /order", &listed["body"][0]["orderId"], &json!(order))?;
    let listed = probe.get(&format!("/orders?username={user}"))?.expect(200)?;
    same("the order on /orders", &listed["data"][1]["OrderId"], &json!(order))
}

fn health(probe: &Probe) -> Outcome {
    holds("/health", &probe.get("/health")?.expect(200)?, &json!({"status": "ok"}))?;
    let page = probe.get("/docs")?;
    let is_page = page.status == 200 && page.header("content-type").is_some_and(|value| value.starts_with("text/html"));
    ensure!(is_page, "/docs: {} {:?}", page.status, page.headers);
    Ok(())
}

/// Every path and its methods. A server may have more.
const PATHS: &[(&str, &str)] = &[
    ("/v1/products", "get post"),
    ("/v1/products/{id}", "get patch delete"),
    ("/v1/products/{id}/stock", "get put"),
    ("/v1/products/{id}/stock/movements", "get post"),
    ("/v1/products/{id}/stock/movements/{movementId}", "get"),
    ("/v1/products/{id}/watchers", "get"),
    ("/v1/products/{id}/watchers/{username}", "get put delete"),
    ("/v1/baskets", "get"),
    ("/v1/baskets/{user}", "get put delete"),
    ("/v1/baskets/{user}/items", "post"),
    ("/v1/baskets/{user}/items/{productId}", "put delete"),
    ("/v1/baskets/{user}/checkout", "post"),
    ("/v1/orders", "get post"),
    ("/v1/orders/{id}", "get"),
    ("/v1/orders/{id}/timeline", "get"),
    ("/v1/orders/{id}/transitions", "post"),
    ("/v1/customers", "get post"),
    ("/v1/customers/{username}", "get patch delete"),
    ("/v1/customers/{username}/addresses", "get post"),
    ("/v1/customers/{username}/addresses/{addressId}", "get delete"),
    ("/v1/customers/{username}/orders", "get"),
    ("/v1/customers/{username}/export", "get"),
    ("/v1/customers/{username}/inbox", "get"),
    ("/v1/customers/{username}/inbox/read", "put"),
    ("/v1/feed", "get"),
    ("/v1/inbox", "get"),
    ("/v1/inbox/read", "put"),
    ("/v1/subscriptions", "get post"),
    ("/v1/subscriptions/{id}", "get patch delete"),
    ("/v1/subscriptions/{id}/secret", "post"),
    ("/v1/subscriptions/{id}/test", "post"),
    ("/v1/deliveries", "get"),
    ("/v1/deliveries/{id}", "get"),
    ("/v1/deliveries/{id}/redeliver", "post"),
    ("/v1/queues", "get"),
    ("/v1/queues/{name}", "get"),
    ("/v1/queues/{name}/dead-letters", "get"),
    ("/v1/queues/{name}/dead-letters/{id}", "get"),
    ("/v1/queues/{name}/dead-letters/redrive", "post"),
    ("/v1/queues/{name}/dead-letters/discard", "post"),
    ("/v1/operations", "post"),
    ("/v1/purchases", "get post"),
    ("/v1/purchases/batch", "post"),
    ("/v1/purchases/summary", "get"),
    ("/v1/purchases/{id}", "get put delete"),
    ("/product", "get post"),
    ("/product/{id}", "get put delete"),
    ("/basket", "get post"),
    ("/basket/checkout", "post"),
    ("/basket/{userName}", "get delete"),
    ("/order", "get post"),
    ("/order/{userName}", "get"),
    ("/DynamoDBManager", "post"),
    ("/add_user", "post"),
    ("/users/{username}", "get delete"),
    ("/edit-address", "post"),
    ("/orders", "get post"),
    ("/orders/{order_id}", "get put"),
    ("/product-purchase", "get post"),
    ("/product-purchase/{id}", "get put delete"),
];

fn openapi(probe: &Probe) -> Outcome {
    let document = probe.get("/openapi.json")?.expect(200)?;
    ensure!(text(&document, "openapi")?.starts_with("3.1"), "not OpenAPI 3.1: {}", document["openapi"]);
    for (path, methods) in PATHS {
        for method in methods.split(' ') {
            let described = &document["paths"][*path][method];
            ensure!(described["summary"].is_string(), "{method} {path} is not described: {described}");
            ensure!(described["responses"].is_object(), "{method} {path} has no answers: {described}");
        }
    }
    Ok(())
}

fn slashes(probe: &Probe) -> Outcome {
    let document = probe.get("/openapi.json")?.expect(200)?;
    let paths = document["paths"].as_object().ok_or("no paths")?;
    ensure!(paths.len() >= PATHS.len(), "only {} paths are described", paths.len());
    for (template, methods) in paths {
        // Names of nobody, ids of nothing; what is changed under a version that nothing has stays as it is.
        let value = |part: &str| match part {
            "{user}" | "{username}" | "{userName}" => probe.name("nobody"),
            part if part.starts_with('{') => "0".to_owned(),
            part => part.to_owned(),
        };
        let path = template.split('/').map(value).collect::<Vec<_>>().join("/");
        for method in methods.as_object().into_iter().flat_map(|methods| methods.keys()) {
            let method = method.to_uppercase();
            let headers = [("if-match", "\"never\"")];
            let ask = |path: &str| match method.as_str() {
                "GET" | "DELETE" => probe.client.send(&method, path, &headers, None),
                _ => probe.send(&method, path, &headers, &json!({})),
            };
            let (plain, slashed) = (ask(&path)?, ask(&format!("{path}/"))?);
            for answer in [&plain, &slashed] {
                let is_routed = answer.status < 500 && answer.status != 405 && answer.body["code"] != "route_not_found";
                ensure!(is_routed, "{}: {} {}", answer.request, answer.status, answer.text);
            }
            // The basket of the user called checkout comes and goes with the check that is about it.
            let alike = plain.status == slashed.status && plain.body["code"] == slashed.body["code"];
            ensure!(alike || path == "/basket/checkout", "{}: {} {}", slashed.request, slashed.status, slashed.text);
        }
    }
    // And a page goes on where it should, with the slash too.
    for path in ["/product/?limit=1", "/v1/products/?limit=1"] {
        let page = probe.get(path)?.expect(200)?;
        let things: &Value = if page["body"].is_array() { &page["body"] } else { &page["items"] };
        ensure!(list(things)?.len() <= 1, "{path}: {page}");
    }
    Ok(())
}
