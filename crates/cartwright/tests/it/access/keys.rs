//! API keys: made, told once, expired, revoked; and what an open shop makes of them.

use std::time::Duration;

use cartwright::access::Role;
use http::Method;
use serde_json::json;

use crate::faults::Fault;
use crate::shop::TestShop;

#[tokio::test]
async fn a_key_is_told_once_and_only_a_hash_of_it_is_kept() {
    let shop = TestShop::protected().await;
    let body = json!({"name": "the till", "role": "staff", "expiresAt": "2026-02-01T00:00:00Z"});
    let created = shop.post("/v1/api-keys", body).await;
    let location = created.header("location").to_owned();
    let created = created.expect(201);
    let (id, key) = (created["id"].as_str().unwrap(), created["key"].as_str().unwrap());
    assert!(key.starts_with(&format!("cw_{id}_")) && key.len() == 100, "{key}");
    assert_eq!((&created["accessControl"], location), (&json!(true), format!("/v1/api-keys/{id}")));
    let shown = shop.get(&format!("/v1/api-keys/{id}")).await.expect(200);
    let expected = json!({"id": id, "name": "the till", "role": "staff", "createdAt": created["createdAt"],
        "expiresAt": "2026-02-01T00:00:00Z"});
    assert_eq!(shown, expected);
    let listed = shop.all("/v1/api-keys?limit=1").await;
    assert_eq!(listed.len(), 2, "the admin's, and this");
    assert_eq!(listed[1], expected, "oldest first");
    let secret = key.rsplit('_').next().unwrap();
    let file = std::fs::read(shop.folder.join(cartwright::local::sqlite::FILE_NAME)).unwrap();
    let log = std::fs::read(shop.folder.join("cartwright.db-wal")).unwrap_or_default();
    for bytes in [file, log] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}

#[tokio::test]
async fn a_key_that_is_revoked_is_refused_by_the_next_request() {
    let shop = TestShop::protected().await;
    let created = shop.post("/v1/api-keys", json!({"name": "x", "role": "staff"})).await.expect(201);
    let (id, key) = (created["id"].as_str().unwrap(), created["key"].as_str().unwrap());
    shop.send_as(Some(key), "GET", "/v1/queues", &json!({})).await.expect(200);
    shop.delete(&format!("/v1/api-keys/{id}")).await.expect(204);
    let refused = shop.send_as(Some(key), "GET", "/v1/queues", &json!({})).await;
    assert_eq!(
        (refused.status.as_u16(), refused.code(), refused.header("www-authenticate")),
        (401, "unauthenticated", "Bearer")
    );
    let refused = shop.send_as(Some(key), "GET", "/v1/products", &json!({})).await;
    assert_eq!(refused.status, 401, "also where nothing is required: whoever sends it believes it is good");
    assert_eq!(shop.delete(&format!("/v1/api-keys/{id}")).await.code(), "api_key_not_found");
}

#[tokio::test]
async fn a_key_is_good_until_it_expires() {
    let shop = TestShop::protected().await;
    let body = json!({"name": "x", "role": "staff", "expiresAt": "2026-01-02T04:00:00Z"});
    let created = shop.post("/v1/api-keys", body).await.expect(201);
    let key = created["key"].as_str().unwrap();
    shop.send_as(Some(key), "GET", "/v1/queues", &json!({})).await.expect(200);
    shop.clock.advance(Duration::from_secs(3600));
    assert_eq!(shop.send_as(Some(key), "GET", "/v1/queues", &json!({})).await.status, 401);
    assert_eq!(shop.all("/v1/api-keys").await.len(), 2, "it stays in the list until it is revoked");
}

#[tokio::test]
async fn what_is_no_key_of_this_shop_is_refused_and_all_alike() {
    let shop = TestShop::protected().await;
    let key = shop.key(Role::Admin, None).await;
    let (id, secret) = (key[3..35].to_owned(), key[36..].to_owned());
    let wrong = [
        format!("cw_{id}_{}", "0".repeat(64)),
        format!("cw_{}_{secret}", "0".repeat(32)),
        format!("cw_{id}_{}", &secret[..63]),
        format!("cw_{id}"),
        "cw_".to_owned(),
    ];
    let mut told = std::collections::BTreeSet::new();
    for wrong in &wrong {
        let answer = shop.send_as(Some(wrong), "GET", "/v1/products", &json!({})).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (401, "unauthenticated"), "{wrong}");
        told.insert(answer.body["detail"].to_string());
    }
    assert_eq!(told.len(), 1);
    for header in [format!("Basic {key}"), key.clone(), "Bearer".to_owned(), String::new(), format!("bearer  {key}")] {
        let answer = shop.send(Method::GET, "/v1/products", &[("authorization", &header)], "").await;
        let expected = if header.starts_with("bearer") { 200 } else { 401 };
        assert_eq!(answer.status.as_u16(), expected, "{header}");
    }
}

#[tokio::test]
async fn only_what_can_be_a_key_is_made() {
    let shop = TestShop::protected().await;
    for (body, pointer) in [
        (json!({"name": "x", "role": "customer"}), "/username"),
        (json!({"name": "x", "role": "owner"}), "/role"),
        (json!({"name": "", "role": "staff"}), "/name"),
        (json!({"name": "x", "role": "staff", "username": "a b"}), "/username"),
        (json!({"name": "x", "role": "staff", "expiresAt": "2026-01-02T03:04:05Z"}), "/expiresAt"),
        (json!({"name": "x", "role": "staff", "key": "cw_1"}), "/key"),
    ] {
        let answer = shop.post("/v1/api-keys", body.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.pointers()), (400, vec![pointer]), "{body}");
    }
    for id in ["x", &"0".repeat(32), &"x".repeat(5000)] {
        assert_eq!(shop.get(&format!("/v1/api-keys/{id}")).await.code(), "api_key_not_found");
    }
}

#[tokio::test]
async fn a_use_is_noted_at_most_once_an_hour_and_never_costs_the_request() {
    let shop = TestShop::protected().await;
    let created = shop.post("/v1/api-keys", json!({"name": "x", "role": "staff"})).await.expect(201);
    let (path, key) = (format!("/v1/api-keys/{}", created["id"].as_str().unwrap()), created["key"].as_str().unwrap());
    let ask = async || shop.send_as(Some(key), "GET", "/v1/queues", &json!({})).await.expect(200);
    shop.faults.next([Fault::Refuse]);
    ask().await;
    assert!(shop.get(&path).await.expect(200)["lastUsedAt"].is_null(), "it could not be noted");
    shop.clock.advance(Duration::from_secs(3600));
    ask().await;
    let noted = shop.get(&path).await.expect(200)["lastUsedAt"].clone();
    assert!(noted.is_string());
    shop.clock.advance(Duration::from_secs(3590));
    ask().await;
    assert_eq!(shop.get(&path).await.expect(200)["lastUsedAt"], noted);
    shop.clock.advance(Duration::from_secs(20));
    ask().await;
    assert_ne!(shop.get(&path).await.expect(200)["lastUsedAt"], noted);
}

#[tokio::test]
async fn everybody_can_ask_who_they_are() {
    let shop = TestShop::protected().await;
    let me = async |key: Option<&str>| shop.send_as(key, "GET", "/v1/me", &json!({})).await.expect(200);
    assert_eq!(me(None).await, json!({"accessControl": true, "role": "anyone"}));
    let ann = shop.key(Role::Customer, Some("ann")).await;
    let expected = json!({"accessControl": true, "role": "customer", "username": "ann", "name": "customer"});
    assert_eq!(me(Some(&ann)).await, expected);
    let open = TestShop::new().await;
    assert_eq!(open.get("/v1/me").await.expect(200), json!({"accessControl": false, "role": "admin"}));
}

#[tokio::test]
async fn an_open_shop_asks_nobody_and_says_when_it_will() {
    let shop = TestShop::new().await;
    let created = shop.post("/v1/api-keys", json!({"name": "x", "role": "admin"})).await.expect(201);
    assert_eq!(created["accessControl"], json!(false));
    shop.get("/v1/queues").await.expect(200);
    let answer = shop.send_as(Some("cw_nonsense"), "GET", "/v1/queues", &json!({})).await;
    assert_eq!(answer.status, 200, "a credential is not looked at");
}
