//! What one caller must not be able to do to another, beside asking for what is theirs.

use cartwright::access::Role;
use http::Method;
use serde_json::json;

use crate::shop::TestShop;

#[tokio::test]
async fn the_keys_of_an_erased_customer_do_not_open_what_the_next_of_that_name_has() {
    let shop = TestShop::protected().await;
    let ann = json!({"username": "ann", "email": "ann@example.com", "name": "Ann"});
    shop.post("/v1/customers", ann.clone()).await.expect(201);
    let (old, bob) = (shop.key(Role::Customer, Some("Ann")).await, shop.key(Role::Customer, Some("bob")).await);
    let status =
        async |key: &str| shop.send_as(Some(key), "GET", "/v1/customers/ann", &json!({})).await.status.as_u16();
    assert_eq!(status(&old).await, 200);
    shop.delete("/v1/customers/ann").await.expect(204);
    shop.post("/v1/customers", ann).await.expect(201);
    let new = shop.key(Role::Customer, Some("ann")).await;
    shop.deliver().await;
    assert_eq!((status(&old).await, status(&new).await, status(&bob).await), (401, 200, 403));
}

#[tokio::test]
async fn an_idempotency_key_is_its_callers_own() {
    let shop = TestShop::protected().await;
    let phone = shop.product("phone", 100, 5).await;
    let keys = [shop.key(Role::Customer, Some("ann")).await, shop.key(Role::Customer, Some("bob")).await];
    for (key, user) in keys.iter().zip(["ann", "bob"]) {
        let bearer = format!("Bearer {key}");
        let headers =
            [("content-type", "application/json"), ("authorization", bearer.as_str()), ("idempotency-key", "same")];
        let path = format!("/v1/baskets/{user}/items");
        let body = json!({"productId": phone, "quantity": 1}).to_string();
        for _ in 0..2 {
            let answer = shop.send(Method::POST, &path, &headers, body.clone()).await.expect(200);
            assert_eq!((&answer["userName"], &answer["items"][0]["quantity"]), (&json!(user), &json!(1)), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_path_that_is_no_text_is_a_mistake_of_whoever_sent_it() {
    let shop = TestShop::protected().await;
    let key = shop.key(Role::Customer, Some("ann")).await;
    let answer = shop.send_as(Some(&key), "GET", "/v1/baskets/%FF", &json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (400, "invalid_path"));
}
