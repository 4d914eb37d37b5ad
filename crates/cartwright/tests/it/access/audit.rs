//! The audit trail: what staff and admins did, and nothing of customers.

use cartwright::access::Role;
use cartwright::events::Queue;
use cartwright::local::sqlite::FILE_NAME;
use cartwright::store::{Partition, Store, Table};
use serde_json::{Value, json};

use crate::faults::Fault;
use crate::shop::TestShop;

/// The trail, newest first.
async fn trail(shop: &TestShop) -> Vec<Value> {
    shop.deliver().await;
    shop.all("/v1/audit?limit=3").await
}

#[tokio::test]
async fn an_action_of_staff_is_told_with_what_was_before_and_after() {
    let shop = TestShop::protected().await;
    let product = shop.product("phone", 1_000, 5).await;
    let staff = shop.key(Role::Staff, None).await;
    let path = format!("/v1/products/{product}");
    shop.send_as(Some(&staff), "PATCH", &path, &json!({"name": "telephone"})).await.expect(200);
    let newest = trail(&shop).await.remove(0);
    let id = staff.split('_').nth(1).unwrap();
    assert_eq!(newest["actor"], format!("key:{id}"));
    assert_eq!((&newest["name"], &newest["role"]), (&json!("staff"), &json!("staff")));
    assert_eq!((&newest["action"], &newest["target"]), (&json!("PATCH /v1/products/{id}"), &json!(path)));
    let document = format!("PRODUCT#{product} PRODUCT");
    assert_eq!(
        (&newest["before"][&document]["name"], &newest["after"][&document]["name"]),
        (&json!("phone"), &json!("telephone"))
    );
    assert!(newest["requestId"].is_string() && newest["at"].is_string() && newest["id"].is_string());
    // Reading is no action, nor is what was refused or changed nothing.
    let before = trail(&shop).await.len();
    shop.send_as(Some(&staff), "GET", &path, &json!({})).await.expect(200);
    shop.send_as(Some(&staff), "PATCH", &path, &json!({"name": ""})).await.expect(400);
    shop.send_as(Some(&staff), "DELETE", "/v1/products/00000000-0000-0000-0000-000000000000", &json!({}))
        .await
        .expect(404);
    assert_eq!(trail(&shop).await.len(), before);
}

#[tokio::test]
async fn what_failed_is_not_told_and_what_is_delivered_twice_is_told_once() {
    let shop = TestShop::protected().await;
    let product = shop.product("phone", 1_000, 5).await;
    let before = trail(&shop).await.len();
    shop.faults.next([Fault::Refuse]);
    let failed = shop.patch(&format!("/v1/products/{product}"), json!({"name": "lost"})).await;
    assert!(failed.status.is_server_error(), "{failed:?}");
    assert_eq!(trail(&shop).await.len(), before);
    shop.patch(&format!("/v1/products/{product}"), json!({"name": "kept"})).await.expect(200);
    let received = shop.store.receive(Queue::AuditQueue, 0).await.unwrap().unwrap();
    let envelope = received.envelope.clone().unwrap();
    for _ in 0..3 {
        cartwright::events::handle(&shop.app, Queue::AuditQueue, &envelope).await.unwrap();
    }
    assert_eq!(trail(&shop).await.len(), before + 1);
}

#[tokio::test]
async fn customers_and_an_open_shop_leave_no_trail() {
    let shop = TestShop::protected().await;
    let product = shop.product("phone", 1_000, 5).await;
    let ann = shop.key(Role::Customer, Some("ann")).await;
    let before = trail(&shop).await.len();
    let line = json!({"productId": product, "quantity": 1});
    shop.send_as(Some(&ann), "POST", "/v1/baskets/ann/items", &line).await.expect(200);
    shop.send_as(Some(&ann), "POST", "/v1/baskets/ann/checkout", &json!({})).await.expect(202);
    assert_eq!(trail(&shop).await.len(), before);
    let open = TestShop::new().await;
    let product = open.product("phone", 1_000, 5).await;
    open.patch(&format!("/v1/products/{product}"), json!({"name": "x"})).await.expect(200);
    assert!(trail(&open).await.is_empty());
}

#[tokio::test]
async fn keys_orders_events_and_dead_letters_are_told() {
    let shop = TestShop::protected().await;
    let created = shop.post("/v1/api-keys", json!({"name": "till", "role": "staff"})).await.expect(201);
    let id = created["id"].as_str().unwrap();
    shop.delete(&format!("/v1/api-keys/{id}")).await.expect(204);
    let entries = trail(&shop).await;
    assert_eq!(
        (&entries[0]["action"], &entries[1]["action"]),
        (&json!("DELETE /v1/api-keys/{keyId}"), &json!("POST /v1/api-keys"))
    );
    let made = entries[1]["after"].as_object().unwrap().values().next().unwrap();
    assert_eq!((&made["name"], &made["id"]), (&json!("till"), &json!(id)));
    assert!(!json!(entries).to_string().contains("secretHash"));

    let product = shop.product("phone", 1_000, 5).await;
    let order = shop.order("ann", &product, 1).await;
    shop.transition(&order, "PACKED").await.expect(200);
    let newest = trail(&shop).await.remove(0);
    let document = format!("CUSTOMER#ann #ORDER#{order}");
    assert_eq!(
        (&newest["before"][&document]["status"], &newest["after"][&document]["status"]),
        (&json!("CONFIRMED"), &json!("PACKED"))
    );

    let entry = json!({"EventBusName": "SwnEventBus", "Source": "com.swn.basket.checkoutbasket", "DetailType": "CheckoutBasket", "Detail": "{}"});
    let headers = [("x-amz-target", "AWSEvents.PutEvents")];
    shop.send(http::Method::POST, "/", &headers, json!({"Entries": [entry]}).to_string()).await.expect(200);
    shop.deliver_with_retries().await;
    assert_eq!(trail(&shop).await.remove(0)["after"]["events"], json!(["CheckoutBasket"]));
    let dead = shop.dead_letters(Queue::OrderQueue).await;
    let body = json!({"ids": [dead[0].id.to_string()], "reason": "a test"});
    shop.post("/v1/queues/OrderQueue/dead-letters/discard", body).await.expect(200);
    let newest = trail(&shop).await.remove(0);
    assert_eq!(newest["action"], "POST /v1/queues/{name}/dead-letters/discard");
    assert_eq!(newest["after"]["OrderQueue"]["reason"], "a test");
    assert_eq!(newest["after"]["OrderQueue"]["ids"], json!([dead[0].id.to_string()]));
}

#[tokio::test]
async fn the_trail_is_read_by_actor_and_time() {
    let shop = TestShop::protected().await;
    let staff = shop.key(Role::Staff, None).await;
    let actor = format!("key:{}", staff.split('_').nth(1).unwrap());
    let product = shop.product("phone", 1_000, 5).await;
    for name in ["a", "b", "c"] {
        shop.clock.advance(std::time::Duration::from_secs(60));
        let path = format!("/v1/products/{product}");
        shop.send_as(Some(&staff), "PATCH", &path, &json!({"name": name})).await.expect(200);
        shop.patch(&path, json!({"name": format!("{name}{name}")})).await.expect(200);
    }
    let all = trail(&shop).await;
    let of_staff = shop.all(&format!("/v1/audit?limit=2&actor={actor}")).await;
    assert_eq!(of_staff.len(), 3);
    assert!(of_staff.iter().all(|entry| entry["actor"] == json!(actor)));
    let middle = of_staff[1]["at"].as_str().unwrap();
    let from = shop.all(&format!("/v1/audit?from={middle}")).await;
    let to = shop.all(&format!("/v1/audit?to={middle}")).await;
    assert_eq!((from.len(), from.len() + to.len()), (4, all.len() + 1), "the one at that moment is in both");
    assert_eq!(to[0], of_staff[1]);
    let refused = shop.get("/v1/audit?from=yesterday").await;
    assert_eq!(refused.pointers(), ["?from"]);
}

#[tokio::test]
async fn nothing_of_a_customer_but_the_name_is_in_the_trail() {
    let shop = TestShop::protected().await;
    let product = shop.product("phone", 1_000, 5).await;
    let profile = json!({"username": "ann", "name": "Annabel Quillfeather", "email": "annabel@quill.example"});
    shop.post("/v1/customers", profile).await.expect(201);
    shop.patch("/v1/customers/ann", json!({"email": "bel@quill.example"})).await.expect(200);
    let address = json!({"address": "17 Nightingale Lane"});
    shop.post("/v1/customers/ann/addresses", address).await.expect(201);
    let edited = "/edit-address?username=ann&new_address=Hidden%20Mews";
    shop.post(edited, json!({})).await.expect(200);
    shop.fill("ann", &product, 1).await;
    let contact =
        json!({"userName": "ann", "firstName": "Annabel", "email": "annabel@quill.example", "address": "Nightingale"});
    shop.post("/basket/checkout", contact).await.expect(200);
    let item = json!({"operation": "create", "tableName": "lambda-apigateway", "payload": {"Item": {"id": "1", "who": "Quillfeather"}}});
    shop.post("/DynamoDBManager", item).await.expect(200);
    shop.delete("/v1/customers/ann").await.expect(204);
    let entries = trail(&shop).await;
    assert!(
        entries.iter().any(|entry| entry["after"]["CUSTOMER#ann"]["changed"] == json!(["email", "updatedAt"])),
        "{entries:?}"
    );
    let told = json!(entries).to_string();
    for secret in ["Annabel", "Quillfeather", "quill.example", "Nightingale", "Mews"] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
    let file = rusqlite::Connection::open(shop.folder.join(FILE_NAME)).unwrap();
    let count: i64 =
        file.query_row("SELECT count(*) FROM access WHERE pk GLOB 'AUDIT#*'", [], |row| row.get(0)).unwrap();
    assert_eq!(count as usize, entries.len());
    let other = Partition::new(Table::Access, "AUDIT#00").all();
    assert!(shop.store.list(&other, None, 100).await.unwrap().docs.len() < entries.len(), "spread over partitions");
}
