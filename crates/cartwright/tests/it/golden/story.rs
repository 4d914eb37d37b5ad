//! A shop's life in one telling: every kind of document it writes, and every event.

use http::Method;
use serde_json::{Value, json};

use crate::shop::TestShop;

const JSON: (&str, &str) = ("content-type", "application/json");

/// A customer with addresses, who will stay.
async fn customer(shop: &TestShop, name: &str) {
    let body = json!({"username": name, "email": format!("{name}@example.com"), "name": "Ann Example"});
    shop.post("/v1/customers", body).await.expect(201);
    let address = json!({"label": "home", "address": "1 Example Street"});
    shop.post(&format!("/v1/customers/{name}/addresses"), address).await.expect(201);
}

/// A checkout that says all a checkout can say.
async fn checkout(shop: &TestShop, user: &str, product: &str, quantity: u32) -> String {
    let line = json!({"productId": product, "quantity": quantity, "color": "Blue"});
    shop.post(&format!("/v1/baskets/{user}/items"), line).await.expect(200);
    let contact =
        json!({"firstName": "Ann", "lastName": "Example", "email": "ann@example.com", "address": "1 Example Street"});
    let body = json!({"contact": contact, "payment": {"method": 1, "cardNumber": "5554443322221111"}}).to_string();
    let key = format!("{user}-{product}");
    let headers = [JSON, ("idempotency-key", key.as_str())];
    let path = format!("/v1/baskets/{user}/checkout");
    let accepted = shop.send(Method::POST, &path, &headers, body).await.expect(202);
    shop.deliver().await;
    accepted["orderId"].as_str().unwrap().to_owned()
}

async fn product(shop: &TestShop, name: &str, stock: Value) -> String {
    let price = json!({"amount": 1_250, "currency": "USD"});
    let body = json!({"name": name, "description": "Boils.", "imageFile": "kettle.png", "category": "Kitchen",
        "price": price, "stock": stock});
    let created = shop.post("/v1/products", body).await.expect(201);
    shop.deliver().await;
    created["id"].as_str().unwrap().to_owned()
}

async fn move_on(shop: &TestShop, order: &str, steps: &[&str]) {
    for step in steps {
        shop.transition(order, step).await.expect(200);
        shop.deliver().await;
    }
}

/// Lives that life. Some messages are left in their queues, and one has died.
pub async fn tell(shop: &TestShop) {
    let (kettle, pan) = (product(shop, "Kettle", json!(20)).await, product(shop, "Pan", json!(2)).await);
    let gone = product(shop, "Gone", Value::Null).await;
    shop.delete(&format!("/v1/products/{gone}")).await.expect(204);
    let movements = format!("/v1/products/{kettle}/stock/movements");
    shop.post(&movements, json!({"kind": "received", "quantity": 5, "note": "from the mill"})).await.expect(201);
    shop.post(&movements, json!({"kind": "writtenOff", "quantity": 1})).await.expect(201);
    shop.put(&format!("/v1/products/{pan}/stock"), json!({"onHand": 3, "note": "counted"})).await.expect(200);
    customer(shop, "ann").await;
    customer(shop, "eve").await;

    let returned = checkout(shop, "ann", &kettle, 2).await;
    move_on(shop, &returned, &["PACKED", "SHIPPED", "DELIVERED", "RETURNED"]).await;
    let cancelled = checkout(shop, "bob", &pan, 3).await;
    move_on(shop, &cancelled, &["CANCELLED"]).await;
    shop.fill("cy", &pan, 9).await;
    shop.checkout("cy").await;
    shop.fill("dan", &pan, 1).await;
    shop.checkout("dan").await;
    let price = json!({"price": {"amount": 1_300, "currency": "USD"}});
    shop.patch(&format!("/v1/products/{pan}"), price).await.expect(200);
    shop.deliver().await;
    shop.fill("eve", &kettle, 1).await;
    shop.checkout("eve").await;
    shop.fill("eve", &kettle, 1).await;
    shop.delete("/v1/customers/eve").await.expect(204);
    let direct = json!({"customer": "ann", "total": {"amount": 500, "currency": "USD"}, "itemCount": 2});
    shop.post("/v1/orders", direct).await.expect(201);
    shop.deliver().await;

    let usd = |amount: i64| json!({"amount": amount, "currency": "USD"});
    let purchase = json!({"productId": "p1", "productName": "Pan", "category": "Kitchen", "unitPrice": usd(1_250), "quantity": 2,
        "total": usd(2_500), "customerId": "c1", "customerName": "Ann", "purchasedAt": "2021-02-28T10:02:12.034Z"});
    shop.post("/v1/purchases", purchase).await.expect(202);
    let item =
        json!({"operation": "create", "tableName": "lambda-apigateway", "payload": {"Item": {"id": "1", "number": 5}}});
    shop.post("/v1/operations", item).await.expect(200);
    let malformed = shop.event("CheckoutBasket", json!({"userName": "ann"}));
    shop.emit(malformed).await;
    shop.deliver().await;

    // What is left to do: a basket, an order to be placed, one to be packed.
    shop.fill("fay", &kettle, 1).await;
    checkout(shop, "gus", &kettle, 1).await;
    shop.fill("hal", &kettle, 2).await;
    shop.checkout("hal").await;
}

/// Reads everything there is, and goes on with it.
pub async fn go_on(shop: &TestShop) {
    let paths = ["/v1/products", "/v1/baskets", "/v1/orders", "/v1/customers", "/v1/purchases", "/v1/queues"];
    for path in paths {
        for item in shop.all(path).await {
            let Some(id) = ["id", "userName", "username", "name"].iter().find_map(|name| item[name].as_str()) else {
                continue;
            };
            shop.get(&format!("{path}/{id}")).await.expect(200);
        }
    }
    for product in shop.all("/v1/products").await {
        let id = product["id"].as_str().unwrap();
        let (_, sums) = shop.ledger(id).await;
        let (on_hand, _, available) = shop.stock(id).await;
        assert_eq!(sums, (on_hand, available), "the ledger of {product}");
    }
    for order in shop.all("/v1/orders").await {
        let id = order["id"].as_str().unwrap();
        assert_ne!(order["status"], "PLACED", "{order}");
        assert!(!shop.all(&format!("/v1/orders/{id}/timeline")).await.is_empty(), "{order}");
        let steps: &[&str] = match order["status"].as_str().unwrap() {
            "CONFIRMED" => &["PACKED", "SHIPPED", "DELIVERED"],
            "PACKED" => &["CANCELLED"],
            _ => &[],
        };
        move_on(shop, id, steps).await;
    }
    let baskets = shop.all("/v1/baskets").await;
    for basket in &baskets {
        let order = shop.checkout(basket["userName"].as_str().unwrap()).await;
        shop.deliver().await;
        assert_ne!(shop.status(&order).await, "PLACED");
    }
    assert!(!baskets.is_empty(), "there was a basket");
    shop.get("/v1/customers/ann/export").await.expect(200);
}
