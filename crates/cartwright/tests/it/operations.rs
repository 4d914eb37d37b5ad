//! The operations endpoint.

use http::Method;
use serde_json::{Value, json};

use crate::shop::{Answer, TestShop};

const TABLE: &str = "lambda-apigateway";

async fn operate(shop: &TestShop, operation: &str, payload: Value) -> Answer {
    shop.post("/DynamoDBManager", json!({"operation": operation, "tableName": TABLE, "payload": payload})).await
}

/// The body of the answer, as text: a test of exact decimals must not parse it.
async fn text(shop: &TestShop, body: &str) -> String {
    let response = shop.answer(Method::POST, "/v1/operations", body).await;
    String::from_utf8(response).unwrap()
}

#[tokio::test]
async fn items_are_created_read_updated_listed_and_deleted() {
    let shop = TestShop::new().await;
    let item =
        json!({"id": "1234ABCG", "price": 78.89, "product": "Beautiful Jacket", "order_date": "2024-11-04T10:30:00Z"});
    let key = json!({"Key": {"id": "1234ABCG"}});
    assert_eq!(operate(&shop, "create", json!({"Item": item})).await.expect(200), json!({"Item": item}));
    let again = operate(&shop, "create", json!({"Item": item})).await;
    assert_eq!((again.status.as_u16(), again.code()), (409, "item_exists"));
    assert_eq!(operate(&shop, "read", key.clone()).await.expect(200), json!({"Item": item}));
    let updates = json!({"Key": {"id": "1234ABCG"}, "AttributeUpdates": {"number": {"Value": 10}}});
    let mut updated = item.clone();
    updated["number"] = json!(10);
    assert_eq!(operate(&shop, "update", updates).await.expect(200), json!({"Attributes": updated}));
    let listed = operate(&shop, "list", json!({})).await.expect(200);
    assert_eq!(listed, json!({"Items": [updated], "Count": 1, "ScannedCount": 1}));
    assert_eq!(operate(&shop, "delete", key.clone()).await.expect(200), json!({}));
    for operation in ["read", "delete"] {
        let gone = operate(&shop, operation, key.clone()).await;
        assert_eq!((gone.status.as_u16(), gone.code()), (404, "item_not_found"));
    }
    let gone = operate(&shop, "update", json!({"Key": {"id": "x"}, "AttributeUpdates": {"a": {"Value": 1}}})).await;
    assert_eq!(gone.status, 404);
}

#[tokio::test]
async fn echo_and_ping_answer_on_every_path_and_other_operations_on_none() {
    let shop = TestShop::new().await;
    for path in ["/order", "/DynamoDBManager", "/v1/operations", "/order/"] {
        let payload = json!({"some": ["thing", 1.50]});
        assert_eq!(shop.post(path, json!({"operation": "echo", "payload": payload})).await.expect(200), payload);
        assert_eq!(shop.post(path, json!({"operation": "ping"})).await.expect(200), json!("pong"));
        let zap = shop.post(path, json!({"operation": "zap", "tableName": TABLE})).await;
        assert_eq!((zap.status.as_u16(), &zap.body["detail"]), (400, &json!("Unrecognized operation \"zap\"")));
    }
    assert_eq!(shop.post("/v1/operations", json!({"operation": "echo"})).await.expect(200), Value::Null);
}

#[tokio::test]
async fn numbers_keep_their_exact_text() {
    let shop = TestShop::new().await;
    let item = r#"{"a":78.89,"b":0.10,"c":123456789012345678901234567890.123,"id":"n","z":1e3}"#;
    let create = format!(r#"{{"operation":"create","tableName":"{TABLE}","payload":{{"Item":{item}}}}}"#);
    assert_eq!(text(&shop, &create).await, format!(r#"{{"Item":{item}}}"#));
    let read = format!(r#"{{"operation":"read","tableName":"{TABLE}","payload":{{"Key":{{"id":"n"}}}}}}"#);
    assert_eq!(text(&shop, &read).await, format!(r#"{{"Item":{item}}}"#));
    assert_eq!(text(&shop, r#"{"operation":"echo","payload":{"x":1.10}}"#).await, r#"{"x":1.10}"#);
}

#[tokio::test]
async fn fault_open_table_proxy() {
    let shop = TestShop::new().await;
    for operation in ["create", "read", "update", "delete", "list", "echo", "ping"] {
        for table in ["orders", "catalog", "", "LAMBDA-APIGATEWAY", "lambda-apigateway#00"] {
            let answer = shop.post("/order", json!({"operation": operation, "tableName": table, "payload": {}})).await;
            assert_eq!((answer.status.as_u16(), answer.code()), (403, "table_forbidden"), "{operation} {table:?}");
        }
    }
}

#[tokio::test]
async fn fault_200_for_failures() {
    let shop = TestShop::new().await;
    for (operation, payload, pointer) in [
        ("create", json!({}), "/payload"),
        ("create", json!({"Item": {"price": 1}}), "/payload/Item/id"),
        ("create", json!({"Item": {"id": 7}}), "/payload/Item/id"),
        ("create", json!({"Item": {"id": ""}}), "/payload/Item/id"),
        ("create", json!({"Item": "x"}), "/payload/Item"),
        ("read", json!({"Key": {}}), "/payload/Key/id"),
        ("update", json!({"Key": {"id": "a"}}), "/payload"),
        ("update", json!({"Key": {"id": "a"}, "AttributeUpdates": {"n": 1}}), "/payload/AttributeUpdates/n"),
        ("list", json!({"Limit": 0}), "/payload/Limit"),
        ("list", json!({"Limit": 101}), "/payload/Limit"),
        ("list", json!({"Limit": "x"}), "/payload/Limit"),
        ("list", json!({"ExclusiveStartKey": {}}), "/payload/ExclusiveStartKey/id"),
    ] {
        let answer = operate(&shop, operation, payload.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.pointers()), (400, vec![pointer]), "{operation} {payload}");
    }
    operate(&shop, "create", json!({"Item": {"id": "a"}})).await.expect(200);
    for (updates, pointer) in [
        (json!({"id": {"Value": "b"}}), "/payload/AttributeUpdates/id"),
        (json!({"n": {}}), "/payload/AttributeUpdates/n"),
        (json!({"n": {"Value": 1, "Action": "ADD"}}), "/payload/AttributeUpdates/n"),
    ] {
        let answer = operate(&shop, "update", json!({"Key": {"id": "a"}, "AttributeUpdates": updates})).await;
        assert_eq!((answer.status.as_u16(), answer.pointers()), (400, vec![pointer]));
    }
    let no_table = shop.post("/order", json!({"operation": "list"})).await;
    assert_eq!((no_table.status.as_u16(), no_table.pointers()), (400, vec!["/tableName"]));
    assert_eq!(shop.post("/order", json!({})).await.pointers(), ["/operation"]);
}

#[tokio::test]
async fn a_list_goes_on_after_its_last_key() {
    let shop = TestShop::new().await;
    let ids: Vec<String> = (0..23).map(|n| format!("item{n:02}")).collect();
    for id in ids.iter().rev() {
        operate(&shop, "create", json!({"Item": {"id": id}})).await.expect(200);
    }
    let (mut seen, mut after) = (Vec::new(), Value::Null);
    loop {
        let payload =
            if after.is_null() { json!({"Limit": 5}) } else { json!({"Limit": 5, "ExclusiveStartKey": after}) };
        let page = operate(&shop, "list", payload).await.expect(200);
        assert_eq!(
            (page["Count"].as_u64(), &page["Count"]),
            (Some(page["Items"].as_array().unwrap().len() as u64), &page["ScannedCount"])
        );
        seen.extend(page["Items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        match page.get("LastEvaluatedKey") {
            Some(key) => after = key.clone(),
            None => break,
        }
    }
    assert_eq!(seen, ids);
}
