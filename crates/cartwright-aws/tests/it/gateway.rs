//! API Gateway's requests and what it is answered.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use cartwright_aws::gateway::Gateway;
use serde_json::{Value, json};

use crate::shop::Shop;

const TIME: Duration = Duration::from_secs(30);

/// A request as API Gateway hands it over, after its documentation, with some members changed.
pub fn request(method: &str, path: &str, changes: Value) -> Value {
    let mut request = json!({
        "resource": "/{proxy+}", "path": path, "httpMethod": method,
        "headers": {"Accept": "*/*", "Host": "70ixmpl4fl.execute-api.us-east-2.amazonaws.com", "X-Forwarded-Proto": "https"},
        "multiValueHeaders": {"Accept": ["*/*"], "Host": ["70ixmpl4fl.execute-api.us-east-2.amazonaws.com"],
            "X-Forwarded-Proto": ["https"], "content-type": ["application/json"]},
        "queryStringParameters": null, "multiValueQueryStringParameters": null,
        "pathParameters": {"proxy": "x"}, "stageVariables": null,
        "requestContext": {"resourceId": "2gxmpl", "resourcePath": "/{proxy+}", "httpMethod": method, "stage": "Prod",
            "requestId": "66da07c1-dacd-4cf3-9a7f-9db0b3e0ac7c", "path": format!("/Prod{path}"), "apiId": "70ixmpl4fl",
            "identity": {"sourceIp": "52.255.255.12"}},
        "body": null, "isBase64Encoded": false
    });
    for (name, value) in changes.as_object().into_iter().flatten() {
        request[name] = value.clone();
    }
    request
}

async fn send(shop: &Shop, request: Value) -> Value {
    let gateway = Gateway::new(shop.door.clone(), None);
    let response = gateway.answer(serde_json::from_value(request).unwrap(), TIME, None).await.unwrap();
    serde_json::to_value(response).unwrap()
}

/// Status and JSON of an answer.
fn read(response: &Value) -> (u64, Value) {
    let body = serde_json::from_str(response["body"].as_str().unwrap()).unwrap_or_default();
    assert_eq!(response["isBase64Encoded"], false, "{response}");
    (response["statusCode"].as_u64().unwrap(), body)
}

#[tokio::test]
async fn a_request_is_answered_by_the_door() {
    let shop = Shop::new();
    let product = json!({"name": "Café", "category": "A&B", "price": {"amount": 1250, "currency": "USD"}}).to_string();
    let created = send(&shop, request("POST", "/v1/products", json!({"body": product}))).await;
    let (status, body) = read(&created);
    assert_eq!((status, &body["name"]), (201, &json!("Café")), "{created}");
    assert_eq!(created["multiValueHeaders"]["x-request-id"], json!(["66da07c1-dacd-4cf3-9a7f-9db0b3e0ac7c"]));
    assert!(created["multiValueHeaders"]["location"][0].as_str().unwrap().starts_with("/v1/products/"));

    let encoded = json!({"body": BASE64_STANDARD.encode(&product), "isBase64Encoded": true});
    assert_eq!(read(&send(&shop, request("POST", "/v1/products/", encoded)).await).0, 201);

    let many = json!({"multiValueQueryStringParameters": {"category": ["A&B"], "limit": ["1"]},
        "queryStringParameters": {"category": "A&B", "limit": "1"}});
    let (_, page) = read(&send(&shop, request("GET", "/v1/products", many)).await);
    assert_eq!((page["items"].as_array().unwrap().len(), page["nextCursor"].is_string()), (1, true));
    let single = json!({"queryStringParameters": {"category": "none"}});
    assert_eq!(read(&send(&shop, request("GET", "/v1/products", single)).await).1["items"], json!([]));

    let (status, problem) = read(&send(&shop, request("GET", "/nowhere", json!({}))).await);
    assert_eq!((status, &problem["code"]), (404, &json!("route_not_found")));
    let wrong = send(&shop, request("DELETE", "/v1/products", json!({}))).await;
    assert_eq!((read(&wrong).0, &wrong["multiValueHeaders"]["allow"]), (405, &json!(["GET,HEAD,POST"])));
    assert_eq!(wrong["multiValueHeaders"]["content-type"], json!(["application/problem+json"]));
}

#[tokio::test]
async fn whatever_a_client_sends_gets_an_answer() {
    let shop = Shop::new();
    for changes in [
        json!({"multiValueHeaders": {"Host": ["[::bad]:x y"]}, "headers": {"Host": "[::bad]:x y"}}),
        json!({"multiValueHeaders": {"X-Name": ["é"], "b@d name": ["x"], "nul": ["a\u{0}b"], "Content-Length": ["-1"]}}),
        json!({"multiValueHeaders": null, "headers": null}),
        json!({"multiValueHeaders": null, "headers": {"accept": "*/*"}}),
        json!({"requestContext": {}}),
        json!({"multiValueQueryStringParameters": {"": ["", "\u{0}"], "é": ["%zz", "&=#"]}}),
        json!({"body": "not json"}),
    ] {
        let (status, body) = read(&send(&shop, request("GET", "/health", changes.clone())).await);
        assert_eq!((status, &body), (200, &json!({"status": "ok"})), "{changes}");
    }
    for path in
        ["", "/", "//", "/%", "/%zz", "/a b", "/é\u{0}", "/../..", "/v1/baskets/%2F", "http://x/y", "/v1/products/%00"]
    {
        let response = send(&shop, request("GET", path, json!({}))).await;
        assert!((200..500).contains(&response["statusCode"].as_u64().unwrap()), "{path}: {response}");
    }
    let put_events = json!({"multiValueHeaders": {"X-Amz-Target": ["AWSEvents.PutEvents"]}, "body": "{}"});
    assert_eq!(read(&send(&shop, request("POST", "/", put_events)).await).0, 405, "the bus is elsewhere");
    let (status, problem) = read(&send(&shop, request("GET", "/v1/baskets/a%20b", json!({}))).await);
    assert_eq!((status, &problem["code"]), (400, &json!("invalid_user_name")), "the path arrives decoded once");
}

#[tokio::test]
async fn a_request_keeps_the_id_its_client_gave_it_if_that_is_one() {
    let shop = Shop::new();
    for (theirs, kept) in [
        ("mine-1", "mine-1"),
        ("not one", "66da07c1-dacd-4cf3-9a7f-9db0b3e0ac7c"),
        ("", "66da07c1-dacd-4cf3-9a7f-9db0b3e0ac7c"),
    ] {
        let headers = json!({"multiValueHeaders": {"X-Request-Id": [theirs]}});
        let response = send(&shop, request("GET", "/health", headers)).await;
        assert_eq!(response["multiValueHeaders"]["x-request-id"], json!([kept]));
    }
}

#[tokio::test]
async fn the_documentation_is_handed_over_unpacked_and_pictures_as_base64() {
    let shop = Shop::new();
    let page = send(&shop, request("GET", "/docs", json!({}))).await;
    assert!(page["body"].as_str().unwrap().starts_with("<!doctype html>"), "{page}");
    let script = send(&shop, request("GET", "/docs/swagger-ui-bundle.js", json!({}))).await;
    assert_eq!(
        (&script["isBase64Encoded"], &script["multiValueHeaders"]["content-encoding"]),
        (&json!(false), &Value::Null)
    );
    assert!(script["body"].as_str().unwrap().contains("SwaggerUI"));
    let icon = send(&shop, request("GET", "/docs/favicon-32x32.png", json!({}))).await;
    assert_eq!(icon["isBase64Encoded"], true);
    assert_eq!(&BASE64_STANDARD.decode(icon["body"].as_str().unwrap()).unwrap()[1..4], b"PNG");
}

#[tokio::test]
async fn the_pages_and_their_files_are_handed_over_as_text() {
    let shop = Shop::new();
    let packed = json!({"multiValueHeaders": {"Accept-Encoding": ["gzip, br"]}});
    let page = send(&shop, request("GET", "/", packed.clone())).await;
    let text = page["body"].as_str().unwrap();
    assert!(text.starts_with("<!doctype html>"), "{page}");
    let file = text.split('"').find(|path| path.ends_with("shop/main.js")).unwrap();
    for path in ["/desk".to_owned(), format!("/{file}")] {
        let answer = send(&shop, request("GET", &path, packed.clone())).await;
        assert_eq!((&answer["statusCode"], &answer["isBase64Encoded"]), (&json!(200), &json!(false)), "{path}");
        assert_eq!(answer["multiValueHeaders"]["content-encoding"], Value::Null, "{path}");
        assert!(answer["multiValueHeaders"]["content-security-policy"].is_array(), "{path}");
    }
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up_before_the_function_is_cut_off() {
    let shop = Shop::new();
    let product = json!({"name": "hangs", "category": "c", "price": {"amount": 1, "currency": "USD"}}).to_string();
    let request = serde_json::from_value(request("POST", "/v1/products", json!({"body": product}))).unwrap();
    let gateway = Gateway::new(shop.door.clone(), None);
    let response = gateway.answer(request, Duration::from_millis(600), None).await.unwrap();
    let (status, problem) = read(&serde_json::to_value(response).unwrap());
    assert_eq!((status, &problem["code"]), (503, &json!("timeout")));
}

#[tokio::test]
async fn pages_of_one_origin_may_read_answers_and_problems() {
    let shop = Shop::new();
    let gateway = Gateway::new(shop.door.clone(), Some("https://shop.example".parse().unwrap()));
    for path in ["/health", "/nowhere"] {
        let request = serde_json::from_value(request("GET", path, json!({}))).unwrap();
        let answer = serde_json::to_value(gateway.answer(request, TIME, None).await.unwrap()).unwrap();
        let headers = &answer["multiValueHeaders"];
        assert_eq!(headers["access-control-allow-origin"], json!(["https://shop.example"]));
        assert!(headers["access-control-expose-headers"][0].as_str().unwrap().contains("ETag"), "{answer}");
    }
}
