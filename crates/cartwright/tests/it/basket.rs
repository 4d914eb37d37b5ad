//! Baskets.

use http::Method;
use serde_json::json;

use crate::shop::TestShop;

#[tokio::test]
async fn lines_are_added_changed_and_removed() {
    let shop = TestShop::new().await;
    let (phone, case) = (shop.product("phone", 10_000, 5).await, shop.product("case", 500, None).await);
    assert_eq!(shop.get("/v1/baskets/ann").await.code(), "basket_not_found");
    shop.fill("ann", &phone, 1).await;
    shop.fill("ann", &phone, 2).await;
    let red = shop
        .post("/v1/baskets/ann/items", json!({"productId": phone, "quantity": 1, "color": "Red"}))
        .await
        .expect(200);
    assert_eq!(red["items"].as_array().unwrap().len(), 2, "another colour is another line");
    shop.fill("ann", &case, 1).await;
    let set = shop.put(&format!("/v1/baskets/ann/items/{case}"), json!({"quantity": 4})).await;
    assert!(set.header("etag").ends_with(".5\""), "{set:?}");
    let basket = set.expect(200);
    assert_eq!(
        basket["items"],
        json!([
            {"productId": phone, "name": "phone", "color": "", "quantity": 3, "unitPrice": {"amount": 10_000, "currency": "USD"}},
            {"productId": phone, "name": "phone", "color": "Red", "quantity": 1, "unitPrice": {"amount": 10_000, "currency": "USD"}},
            {"productId": case, "name": "case", "color": "", "quantity": 4, "unitPrice": {"amount": 500, "currency": "USD"}},
        ])
    );
    assert_eq!(basket["total"], json!({"amount": 42_000, "currency": "USD"}));
    let removed = shop.delete(&format!("/v1/baskets/ann/items/{phone}?color=Red")).await.expect(200);
    let left = removed["items"].as_array().unwrap();
    assert!(left.len() == 2 && left.iter().all(|line| line["color"] != "Red"), "{left:?}");
    let removed = shop.delete(&format!("/v1/baskets/ann/items/{phone}")).await.expect(200);
    assert_eq!(removed["items"].as_array().unwrap().len(), 1);
    assert_eq!(shop.delete(&format!("/v1/baskets/ann/items/{phone}")).await.code(), "line_not_found");
    shop.delete("/v1/baskets/ann").await.expect(204);
    assert_eq!(shop.delete("/v1/baskets/ann").await.code(), "basket_not_found");
}

#[tokio::test]
async fn what_cannot_be_in_a_basket_is_refused_and_changes_nothing() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    shop.fill("ann", &phone, 1).await;
    let before = shop.get("/v1/baskets/ann").await.expect(200);
    let unknown = "00000000-0000-0000-0000-000000000000";
    let answer = shop
        .put(
            "/v1/baskets/ann",
            json!({"items": [{"productId": phone, "quantity": 1}, {"productId": unknown, "quantity": 1}]}),
        )
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.code(), answer.pointers()),
        (422, "product_unknown", vec!["/items/1/productId"])
    );
    let answer = shop.post("/v1/baskets/ann/items", json!({"productId": unknown, "quantity": 1})).await;
    assert_eq!((answer.status.as_u16(), answer.pointers()), (422, vec!["/productId"]));
    let answer = shop
        .post("/basket", json!({"userName": "ann", "items": [{"productId": unknown, "quantity": 1, "price": 1}]}))
        .await;
    assert_eq!((answer.status.as_u16(), answer.code()), (422, "product_unknown"));
    for (body, pointer) in [
        (json!({"productId": phone, "quantity": 0}), "/quantity"),
        (json!({"productId": phone, "quantity": 10_000}), "/quantity"),
        (json!({"productId": phone, "quantity": 9_999}), "/quantity"),
        (json!({"productId": phone, "quantity": 1.5}), "/quantity"),
        (json!({"productId": "x", "quantity": 1}), "/productId"),
        (json!({"quantity": 1}), "/productId"),
        (json!({"productId": phone, "quantity": 1, "color": "x".repeat(61)}), "/color"),
    ] {
        let answer = shop.post("/v1/baskets/ann/items", body.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.pointers()), (400, vec![pointer]), "{body}");
    }
    let many: Vec<_> = (0..51).map(|n| json!({"productId": phone, "quantity": 1, "color": n.to_string()})).collect();
    assert_eq!(shop.put("/v1/baskets/ann", json!({"items": many})).await.pointers(), ["/items"]);
    shop.put("/v1/baskets/full", json!({"items": many[..50]})).await.expect(201);
    let full = shop.post("/v1/baskets/full/items", json!({"productId": phone, "quantity": 1})).await;
    assert_eq!((full.status.as_u16(), full.code()), (409, "basket_full"));
    for name in ["a%23b", "-x", "a%20b", &"x".repeat(65)] {
        assert_eq!(
            shop.put(&format!("/v1/baskets/{name}"), json!({"items": []})).await.code(),
            "invalid_user_name",
            "{name}"
        );
    }
    assert_eq!(shop.get("/v1/baskets/ann").await.expect(200), before);
}

#[tokio::test]
async fn a_full_basket_can_be_bought() {
    let shop = TestShop::new().await;
    let mut items = Vec::new();
    for n in 0..50 {
        items.push(json!({"productId": shop.product(&format!("p{n}"), 100, 10).await, "quantity": 2}));
    }
    shop.put("/v1/baskets/ann", json!({"items": items})).await.expect(201);
    let order = shop.checkout("ann").await;
    shop.deliver().await;
    assert_eq!(shop.status(&order).await, "CONFIRMED");
    for status in ["PACKED", "SHIPPED"] {
        shop.transition(&order, status).await.expect(200);
        shop.deliver().await;
    }
    for item in &items {
        assert_eq!(shop.stock(item["productId"].as_str().unwrap()).await, (8, 0, 8));
    }
}

#[tokio::test]
async fn one_name_in_upper_and_lower_case_is_one_basket() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    shop.fill("Ann", &phone, 1).await;
    shop.fill("aNN", &phone, 1).await;
    assert_eq!(shop.get("/v1/baskets/ann").await.expect(200)["items"][0]["quantity"], 2);
}

#[tokio::test]
async fn baskets_are_listed_by_user_name() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    for n in (0..25).rev() {
        shop.fill(&format!("user{n:02}"), &phone, 1).await;
    }
    let expected: Vec<String> = (0..25).map(|n| format!("user{n:02}")).collect();
    let names: Vec<_> = shop
        .all("/v1/baskets?limit=4")
        .await
        .iter()
        .map(|basket| basket["userName"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, expected);
    let page = shop.get("/basket?limit=25").await.expect(200);
    assert_eq!(page["body"].as_array().unwrap().len(), 25);
    assert!(page.get("nextCursor").is_none());
}

#[tokio::test]
async fn a_page_of_baskets_is_full_and_no_fuller_though_one_was_closed_a_moment_ago() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    for user in ["ann", "bob", "cy", "dee", "eve"] {
        shop.fill(user, &phone, 1).await;
    }
    shop.delete("/v1/baskets/ann").await.expect(204);
    let page = shop.get("/v1/baskets?limit=2").await.expect(200);
    let baskets = page["items"].as_array().unwrap();
    let names: Vec<&str> = baskets.iter().map(|basket| basket["userName"].as_str().unwrap()).collect();
    assert_eq!(names, ["bob", "cy"]);
    assert_eq!(shop.all("/v1/baskets?limit=2").await.len(), 4);
}

#[tokio::test]
async fn a_basket_changed_meanwhile_is_not_overwritten() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    shop.fill("ann", &phone, 1).await;
    let seen = shop.get("/v1/baskets/ann").await.header("etag").to_owned();
    shop.fill("ann", &phone, 1).await;
    let headers = [("content-type", "application/json"), ("if-match", seen.as_str())];
    let late = shop.send(Method::PUT, "/v1/baskets/ann", &headers, r#"{"items":[]}"#).await;
    assert_eq!((late.status.as_u16(), late.code()), (412, "precondition_failed"));
    assert_eq!(shop.send(Method::DELETE, "/v1/baskets/ann", &headers, "").await.status, 412);
    assert_eq!(shop.get("/v1/baskets/ann").await.expect(200)["items"][0]["quantity"], 2);
}

#[tokio::test]
async fn adding_with_an_idempotency_key_adds_once() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    let body = json!({"productId": phone, "quantity": 2}).to_string();
    let headers = [("content-type", "application/json"), ("idempotency-key", "add-1")];
    let first = shop.send(Method::POST, "/v1/baskets/ann/items", &headers, body.clone()).await;
    for _ in 0..3 {
        let again = shop.send(Method::POST, "/v1/baskets/ann/items", &headers, body.clone()).await;
        assert_eq!((again.header("etag"), &again.body), (first.header("etag"), &first.body));
    }
    assert_eq!(shop.get("/v1/baskets/ann").await.expect(200)["items"][0]["quantity"], 2);
}

#[tokio::test]
async fn twenty_additions_at_once_all_count() {
    let shop = std::sync::Arc::new(TestShop::new().await);
    let phone = shop.product("phone", 100, 5).await;
    let mut racers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (shop, phone) = (shop.clone(), phone.clone());
        racers.spawn(async move { shop.fill("ann", &phone, 1).await });
    }
    racers.join_all().await;
    assert_eq!(shop.get("/v1/baskets/ann").await.expect(200)["items"][0]["quantity"], 20);
}

#[tokio::test]
async fn a_basket_is_not_mistaken_for_the_one_its_user_had_before() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    let put = async |headers: &[(&str, &str)]| {
        let body = json!({"items": [{"productId": phone, "quantity": 1}]}).to_string();
        shop.send(Method::PUT, "/v1/baskets/ann", headers, body).await
    };
    let first = put(&[]).await;
    assert_eq!((first.status.as_u16(), first.header("location")), (201, "/v1/baskets/ann"));
    let seen = first.header("etag").to_owned();
    assert_eq!(put(&[]).await.status, 200, "nothing is created the second time");
    shop.delete("/v1/baskets/ann").await.expect(204);
    for tag in [seen.as_str(), "*"] {
        assert_eq!(put(&[("if-match", tag)]).await.status, 412, "there is no basket");
    }
    let second = put(&[]).await;
    assert_eq!(second.status, 201);
    assert_ne!(second.header("etag"), seen);
    assert_eq!(put(&[("if-match", &seen)]).await.status, 412, "it is another basket");
    shop.delete("/v1/baskets/ann").await.expect(204);
    assert_eq!(shop.all("/v1/baskets").await.len(), 0, "a closed basket is in no list");
}

#[tokio::test]
async fn two_lines_that_are_one_too_many_are_told_where() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    let line = json!({"productId": phone, "quantity": 9_999});
    assert_eq!(shop.put("/v1/baskets/ann", json!({"items": [line, line]})).await.pointers(), ["/items/1/quantity"]);
}

#[tokio::test]
async fn a_basket_that_is_not_there_is_an_empty_one_to_those_who_ask_so() {
    let shop = TestShop::new().await;
    assert_eq!(shop.get("/v1/baskets/nobody").await.code(), "basket_not_found");
    let empty = shop.get("/v1/baskets/nobody?orEmpty=true").await;
    assert!(empty.headers.get("etag").is_none());
    let empty = empty.expect(200);
    assert_eq!((&empty["items"], &empty["total"]), (&json!([]), &json!({"amount": 0, "currency": "USD"})));
    let product = shop.product("Kettle", 100, None).await;
    shop.fill("nobody", &product, 1).await;
    let there = shop.get("/v1/baskets/nobody?orEmpty=true").await.expect(200);
    assert_eq!(there["items"].as_array().unwrap().len(), 1);
}
