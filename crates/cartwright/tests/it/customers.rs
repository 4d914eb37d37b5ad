//! Customers, their direct orders, their erasure, and the timeline of an order.

use std::time::Duration;

use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::faults::Fault;
use crate::shop::TestShop;

async fn add(shop: &TestShop, username: &str, email: &str) {
    let body = json!({"email": email, "name": "john smith", "username": username});
    let added = shop.post("/add_user/", body).await.expect(200);
    assert_eq!(added, json!({"message": format!("User {username} with added successfully")}));
}

#[tokio::test]
async fn the_classic_story_of_a_user_and_their_orders() {
    let shop = TestShop::new().await;
    add(&shop, "john", "john@gmail.com").await;
    let profile = json!({"SK": "CUSTOMER#john", "PK": "CUSTOMER#john", "Email": "john@gmail.com", "Username": "john", "Name": "john smith"});
    let fetched = shop.get("/users/john").await.expect(200);
    assert_eq!(fetched, json!({"message": "User fetched successfully", "success": true, "data": profile}));

    let moved = shop
        .send(Method::POST, "/edit-address?username=john&new_address=17%20Nightingale%20Lane", &[], "")
        .await
        .expect(200);
    let mut with_address = profile.clone();
    with_address["Address"] = json!("17 Nightingale Lane");
    assert_eq!(moved, json!({"message": "Address updated successfully", "success": true, "data": with_address}));

    let placed = shop.post("/orders/", json!({"amount": 5.5, "numItems": 2, "username": "john"})).await;
    assert_eq!(placed.status, 201);
    let data = &placed.body["data"];
    let (id, at) = (data["OrderId"].as_str().unwrap(), data["CreatedAt"].as_str().unwrap());
    assert_eq!(
        placed.body,
        json!({"message": "Order placed successfully", "success": true, "data": {"PK": "CUSTOMER#john", "SK": format!("#ORDER#{id}"),
            "OrderId": id, "CreatedAt": at, "Status": "PLACED", "Amount": 5.5, "NumberItems": 2}})
    );
    assert_eq!((id.len(), at.len(), &at[..11]), (27, "2023-08-22T02:07:33.696174".len(), "2026-01-02T"));
    shop.deliver().await;
    assert_eq!(shop.status(id).await, "CONFIRMED", "under /v1 it is seen that there was nothing to wait for");

    let path = format!("/orders/{id}");
    let fetched = shop.get(&format!("{path}?username=john")).await.expect(200);
    assert_eq!((&fetched["message"], &fetched["success"]), (&json!("Order fetched successfully"), &json!(true)));
    assert_eq!((&fetched["data"]["Status"], &fetched["data"]["Amount"]), (&json!("PLACED"), &json!(5.5)));
    let listed = shop.get("/orders/?username=john").await.expect(200);
    assert_eq!(listed["message"], "orders fetched successfully");
    assert_eq!(listed["data"], json!([with_address, fetched["data"]]));

    let cancelled = shop.put(&path, json!({"username": "john", "status": "CANCEL"})).await.expect(200);
    assert_eq!(
        (&cancelled["message"], &cancelled["data"]["Status"]),
        (&json!("Order updated successfully"), &json!("CANCEL"))
    );
    assert!(cancelled["data"]["UpdatedAt"].is_string());
    let again = shop.put(&path, json!({"username": "john", "status": "CANCEL"})).await.expect(200);
    assert_eq!(again["data"], cancelled["data"], "repeating it changes nothing");
    let forbidden = shop.put(&path, json!({"username": "john", "status": "SHIPPED"})).await;
    assert_eq!((forbidden.status.as_u16(), forbidden.code()), (409, "transition_forbidden"));
    shop.deliver().await;
}

#[tokio::test]
async fn what_is_wrong_with_users_and_orders_is_told() {
    let shop = TestShop::new().await;
    add(&shop, "john", "john@gmail.com").await;
    for (path, code) in [
        ("/users/nobody", "customer_not_found"),
        ("/orders/?username=nobody", "customer_not_found"),
        ("/orders/2T9lhYvBXfLmcUMmVP3eBPqHvZ8?username=john", "order_not_found"),
        ("/orders/no-id?username=john", "order_not_found"),
    ] {
        let answer = shop.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (404, code), "{path}");
    }
    assert_eq!(shop.get("/orders").await.status, 400);
    assert_eq!(shop.get("/orders?username=a%23b").await.pointers(), ["?username"]);
    let placed = shop.post("/orders/", json!({"amount": 5.5, "numItems": 1, "username": "nobody"})).await;
    assert_eq!((placed.status.as_u16(), placed.code()), (404, "customer_not_found"));
    for (body, pointers) in [
        (json!({"amount": 5.555, "numItems": 1, "username": "john"}), vec!["/amount"]),
        (json!({"amount": -1, "numItems": 1, "username": "john"}), vec!["/amount"]),
        (json!({"amount": "x", "numItems": 0, "username": "a#b"}), vec!["/amount", "/numItems", "/username"]),
        (json!({}), vec!["/amount", "/numItems", "/username"]),
    ] {
        let answer = shop.post("/orders", body.clone()).await;
        let mut found = answer.pointers();
        found.sort_unstable();
        assert_eq!((answer.status.as_u16(), found), (400, pointers), "{body}");
    }
    for name in ["", "a#b", "a b", "jоhn", "john\u{200b}", "-john", "john\n"] {
        let answer = shop.post("/add_user", json!({"email": "a@b.c", "name": "x", "username": name})).await;
        assert_eq!((answer.status.as_u16(), answer.pointers()), (400, vec!["/username"]), "{name:?}");
    }
    for email in ["", "x", "a@", "@b", "a@b@c", "a b@c"] {
        let answer = shop.post("/add_user", json!({"email": email, "name": "x", "username": "new"})).await;
        assert_eq!((answer.status.as_u16(), answer.pointers()), (400, vec!["/email"]), "{email:?}");
    }
    let theirs = shop
        .post("/v1/orders", json!({"customer": "john", "total": {"amount": 100, "currency": "USD"}, "itemCount": 1}))
        .await;
    let id = theirs.expect(201)["id"].as_str().unwrap().to_owned();
    add(&shop, "jane", "jane@gmail.com").await;
    assert_eq!(shop.get(&format!("/orders/{id}?username=jane")).await.code(), "order_not_found", "it is another's");
    assert_eq!(shop.put(&format!("/orders/{id}"), json!({"username": "jane", "status": "CANCEL"})).await.status, 404);
    assert_eq!(
        shop.put(&format!("/orders/{id}"), json!({"username": "john", "status": "LOST"})).await.pointers(),
        ["/status"]
    );
    shop.deliver().await;
}

#[tokio::test]
async fn fault_duplicate_email_in_another_case() {
    let shop = TestShop::new().await;
    add(&shop, "john", "john@gmail.com").await;
    for (username, email, taken) in [
        ("JOHN", "other@gmail.com", json!(["username"])),
        ("other", "John@Gmail.com", json!(["email"])),
        ("John", "JOHN@gmail.com", json!(["username", "email"])),
    ] {
        let refused = shop.post("/add_user/", json!({"email": email, "name": "x", "username": username})).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (409, "transaction_canceled"));
        assert_eq!((&refused.body["title"], &refused.body["taken"]), (&json!("Transaction Canceled"), &taken));
    }
    assert_eq!(shop.all("/v1/customers").await.len(), 1);
}

#[tokio::test]
async fn one_of_twenty_racers_gets_the_name_and_one_the_address() {
    let shop = std::sync::Arc::new(TestShop::new().await);
    let mut racers = tokio::task::JoinSet::new();
    for n in 0..20 {
        let shop = shop.clone();
        racers.spawn(async move {
            let (username, email) =
                if n % 2 == 0 { ("john".into(), format!("j{n}@x.y")) } else { (format!("u{n}"), "same@x.y".into()) };
            shop.post("/add_user", json!({"email": email, "name": "x", "username": username})).await.status.as_u16()
        });
    }
    let statuses = racers.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 2, "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 409].contains(status)), "{statuses:?}");
}

#[tokio::test]
async fn fault_ghost_user_by_edit_address() {
    let shop = TestShop::new().await;
    let ghost = shop.send(Method::POST, "/edit-address?username=ghost&new_address=x", &[], "").await;
    assert_eq!((ghost.status.as_u16(), ghost.code()), (404, "customer_not_found"));
    assert_eq!(shop.get("/users/ghost").await.status, 404);
    assert_eq!(
        shop.send(Method::POST, "/edit-address?username=ghost&new_address=", &[], "").await.pointers(),
        ["?new_address"]
    );
    assert_eq!(shop.send(Method::POST, "/edit-address", &[], "").await.status, 400);
}

#[tokio::test]
async fn fault_email_never_released() {
    let shop = TestShop::new().await;
    add(&shop, "john", "john@gmail.com").await;
    shop.delete("/users/john").await.expect(200);
    assert_eq!(shop.delete("/users/john").await.status, 404);
    add(&shop, "John", "JOHN@gmail.com").await;
    let changed = shop.patch("/v1/customers/john", json!({"email": "new@gmail.com"})).await.expect(200);
    assert_eq!(changed["email"], "new@gmail.com");
    add(&shop, "other", "john@gmail.com").await;
    let refused = shop.patch("/v1/customers/john", json!({"email": "JOHN@gmail.com"})).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "transaction_canceled"));
    shop.patch("/v1/customers/john", json!({"email": "NEW@gmail.com"})).await.expect(200);
    shop.deliver().await;
}

#[tokio::test]
async fn fault_broken_paging_token() {
    let shop = TestShop::new().await;
    add(&shop, "john", "john@gmail.com").await;
    let mut placed = Vec::new();
    for n in 1..=23 {
        let order = shop.post("/orders", json!({"amount": n, "numItems": 1, "username": "john"})).await.expect(201);
        placed.push(order["data"]["OrderId"].clone());
    }
    shop.deliver().await;
    placed.reverse();
    let (mut seen, mut sizes, mut path) = (Vec::new(), Vec::new(), "/orders/?username=john".to_owned());
    loop {
        let page = shop.get(&path).await.expect(200);
        let data = page["data"].as_array().unwrap();
        sizes.push(data.len());
        seen.extend(data.iter().filter_map(|item| item.get("OrderId").cloned()));
        match page.get("nextToken") {
            Some(token) => path = format!("/orders/?username=john&nextToken={}", token.as_str().unwrap()),
            None => break,
        }
    }
    assert_eq!((seen, sizes), (placed, vec![11, 10, 3]), "ten orders a page, the profile before the first");
    let broken = shop.get("/orders/?username=john&nextToken=nonsense").await;
    assert_eq!((broken.status.as_u16(), broken.pointers()), (400, vec!["?cursor"]));
}

#[tokio::test]
async fn customers_under_v1() {
    let shop = TestShop::new().await;
    let created =
        shop.post("/v1/customers", json!({"username": "Ann", "email": "ann@example.com", "name": "Ann O'Hara"})).await;
    assert_eq!((created.status.as_u16(), created.header("location")), (201, "/v1/customers/Ann"));
    let seen = created.header("etag").to_owned();
    let home =
        shop.post("/v1/customers/ann/addresses", json!({"label": "home", "address": "17 Nightingale Lane"})).await;
    assert_eq!((home.status.as_u16(), home.header("location")), (201, "/v1/customers/ann/addresses/1"));
    let shown = shop.get(home.header("location")).await;
    assert_eq!((shown.status.as_u16(), &shown.body), (200, &home.body), "the location leads to it");
    assert_eq!(shown.header("etag"), shop.get("/v1/customers/ann").await.header("etag"));
    shop.post("/v1/customers/ann/addresses", json!({"address": "1 Work Street"})).await.expect(201);
    let book = shop.get("/v1/customers/ann/addresses").await.expect(200);
    assert_eq!(book["items"].as_array().unwrap().len(), 2);
    shop.delete("/v1/customers/ann/addresses/1").await.expect(204);
    assert_eq!(shop.delete("/v1/customers/ann/addresses/1").await.code(), "address_not_found");
    assert_eq!(shop.get("/v1/customers/ann/addresses/1").await.code(), "address_not_found");
    let late = shop.send(Method::PATCH, "/v1/customers/ann", &[("if-match", &seen)], r#"{"name":"x"}"#).await;
    assert_eq!(late.status, 412);
    assert_eq!(shop.patch("/v1/customers/ann", json!({})).await.code(), "invalid_request");
    assert_eq!(shop.patch("/v1/customers/ann", json!({"username": "x"})).await.pointers(), ["/username"]);
    for n in 0..30 {
        add(&shop, &format!("user{n:02}"), &format!("u{n}@x.y")).await;
    }
    let names: Vec<_> = shop
        .all("/v1/customers?limit=7")
        .await
        .iter()
        .map(|c| c["username"].as_str().unwrap().to_lowercase())
        .collect();
    assert!(names.len() == 31 && names.is_sorted(), "{names:?}");
    let phone = shop.product("phone", 100, 5).await;
    let order = shop.order("ann", &phone, 1).await;
    shop.fill("ann", &phone, 2).await;
    assert_eq!(shop.all("/v1/customers/ann/orders").await[0]["id"], order);
    let export = shop.get("/v1/customers/ann/export").await.expect(200);
    assert_eq!((&export["customer"]["username"], &export["orders"][0]["id"]), (&json!("Ann"), &json!(order)));
    assert_eq!(export["basket"]["lines"][0]["quantity"], 2);
}

#[tokio::test]
async fn an_erased_customer_leaves_orders_without_personal_data() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 50).await;
    let secret = "17 Nightingale Lane";
    let check_out = async || {
        shop.fill("ann", &phone, 1).await;
        let contact = json!({"contact": {"firstName": "Ann", "email": "ann@example.com", "address": secret}});
        shop.post("/v1/baskets/ann/checkout", contact).await.expect(202)["orderId"].as_str().unwrap().to_owned()
    };
    shop.post("/v1/customers", json!({"username": "ann", "email": "ann@example.com", "name": "Ann"})).await.expect(201);
    let mut old = Vec::new();
    for _ in 0..3 {
        old.push(check_out().await);
    }
    shop.deliver().await;
    old.push(check_out().await);
    shop.fill("ann", &phone, 5).await;
    shop.delete("/v1/customers/ann").await.expect(204);
    shop.post("/v1/customers", json!({"username": "Ann", "email": "ann@example.com", "name": "Another Ann"}))
        .await
        .expect(201);
    let new = check_out_as_another(&shop, &phone).await;
    shop.faults.next([Fault::LoseAnswer; 2]);
    shop.deliver_with_retries().await;

    let listed: Vec<Value> = shop.all("/v1/orders?customer=ann").await;
    assert_eq!(
        listed.iter().map(|order| order["id"].clone()).collect::<Vec<_>>(),
        [json!(new)],
        "the new Ann sees her own only"
    );
    for id in &old {
        let order = shop.get(&format!("/v1/orders/{id}")).await.expect(200);
        assert!(order["customer"].as_str().unwrap().starts_with("erased-"), "{order}");
        assert_eq!(
            (&order["status"], &order["total"]["amount"]),
            (&json!("CONFIRMED"), &json!(100)),
            "the accounts stay"
        );
        assert_eq!(order["contact"], json!({"firstName": "", "lastName": "", "address": ""}));
    }
    assert_eq!(shop.get("/v1/baskets/ann").await.code(), "basket_not_found");
    assert_eq!(shop.stock(&phone).await, (50, 5, 45));
    let moved = shop.transition(&old[0], "CANCELLED").await.expect(200);
    assert_eq!(moved["status"], "CANCELLED", "its life goes on");
    shop.deliver().await;
    let file = rusqlite::Connection::open(shop.folder.join("cartwright.db")).unwrap();
    let count = |sql: &str| file.query_row(sql, [secret], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM ordering WHERE instr(body, ?1) > 0"), 0);
}

#[tokio::test]
async fn the_export_of_a_customer_of_many_orders_has_each_once_and_says_where_it_goes_on() {
    const ORDERS: u64 = 505;
    const AT_ONCE: u64 = 500;
    let shop = TestShop::new().await;
    shop.customer("ann").await;
    for n in 1..=ORDERS {
        let order = json!({"customer": "ann", "total": {"amount": n, "currency": "USD"}, "itemCount": 1});
        shop.post("/v1/orders", order).await.expect(201);
    }
    shop.deliver().await;
    let export = async |query: &str| shop.get(&format!("/v1/customers/ann/export{query}")).await.expect(200);
    let totals = |export: &Value| {
        let orders = export["orders"].as_array().unwrap();
        orders.iter().map(|order| order["total"]["amount"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let first = export("").await;
    assert_eq!(totals(&first), (ORDERS - AT_ONCE + 1..=ORDERS).rev().collect::<Vec<_>>(), "newest first");
    let rest = export(&format!("?cursor={}", first["nextCursor"].as_str().unwrap())).await;
    assert_eq!(totals(&rest), (1..=ORDERS - AT_ONCE).rev().collect::<Vec<_>>());
    assert!(rest.get("nextCursor").is_none(), "and that is all");
}

#[tokio::test]
async fn the_basket_of_an_erased_customer_is_thrown_away_and_not_the_next_of_that_name() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    shop.fill("ann", &phone, 1).await;
    for name in ["ann", "bob"] {
        shop.customer(name).await;
        shop.delete(&format!("/v1/customers/{name}")).await.expect(204);
    }
    shop.fill("bob", &phone, 2).await;
    shop.deliver().await;
    assert_eq!(shop.get("/v1/baskets/ann").await.code(), "basket_not_found");
    assert_eq!(shop.get("/v1/baskets/bob").await.expect(200)["items"][0]["quantity"], 2, "somebody filled it since");
}

/// Someone of the same name, who says nothing of themselves.
async fn check_out_as_another(shop: &TestShop, phone: &str) -> String {
    if shop.get("/v1/baskets/ann").await.status == 200 {
        shop.delete("/v1/baskets/ann").await.expect(204);
    }
    shop.fill("ann", phone, 1).await;
    shop.checkout("ann").await
}

#[tokio::test]
async fn a_timeline_tells_what_happened_and_what_failed() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    shop.fill("ann", &phone, 1).await;
    let headers = [("content-type", "application/json"), ("x-request-id", "req-7")];
    let order = shop.send(Method::POST, "/v1/baskets/ann/checkout", &headers, "{}").await.expect(202)["orderId"]
        .as_str()
        .unwrap()
        .to_owned();
    let fact = json!({"orderId": order, "customer": "ann", "status": "SHIPPED", "lines": [], "total": {"amount": 100, "currency": "USD"}});
    shop.emit(shop.event("OrderShipped", fact)).await;
    shop.clock.advance(Duration::from_secs(60));
    shop.deliver().await;
    shop.transition(&order, "PACKED").await.expect(200);
    shop.deliver_with_retries().await;
    let timeline = shop.all(&format!("/v1/orders/{order}/timeline?limit=2")).await;
    let plain = |entry: &&Value| entry.get("failure").is_none() && entry.get("notification").is_none();
    let events: Vec<_> = timeline.iter().filter(plain).collect();
    let names: Vec<_> = events.iter().map(|entry| entry["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["CheckoutBasket", "OrderPlaced", "StockReserved", "OrderConfirmed", "OrderPacked"]);
    assert!(events[..4].iter().all(|entry| entry["correlationId"] == "req-7"));
    let at = |entry: &Value| entry["at"].as_str().unwrap().parse::<Timestamp>().unwrap();
    let failed = timeline.iter().find(|entry| entry.get("failure").is_some()).unwrap();
    assert_eq!(failed["event"], "OrderShipped");
    assert!(
        at(failed).duration_since(at(&timeline[0])) >= SignedDuration::from_secs(60),
        "it tells when it failed: {failed}"
    );
    let placed = timeline.iter().find(|entry| entry["event"] == "OrderPlaced").unwrap();
    assert_eq!(placed["status"], "PLACED");
    assert_eq!(placed["causationId"], timeline[0]["eventId"], "each event names what it came of");
    assert_eq!(shop.get("/v1/orders/2T9lhYvBXfLmcUMmVP3eBPqHvZ8/timeline").await.code(), "order_not_found");
}
