//! Purchases that were made elsewhere: from the door through the queue to the record and the sums.

use std::sync::Arc;

use cartwright::events::{Queue, handle};
use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::faults::Fault;
use crate::shop::TestShop;

mod queue;

fn classic() -> Value {
    json!({"ProductId": "c96b49bb-4b8f-4a5e-8c1b-6d1b1a3c9a77", "ProductName": "iPhone", "Category": "Phones",
        "PricePerUnit": "1032", "Quantity": "3", "TotalPrice": "3096", "CustomerId": "b20f30ta-29d3-10f3-wov0-10c39a30sgfs",
        "CustomerName": "Sarah Harris", "TimeOfPurchase": "2021-02-28T10:02:12.034Z"})
}

fn with(mut body: Value, name: &str, value: Value) -> Value {
    body[name] = value;
    body
}

fn usd(amount: i64) -> Value {
    json!({"amount": amount, "currency": "USD"})
}

fn purchase(product: &str, category: &str, price: i64, quantity: i64, day: &str) -> Value {
    json!({"productId": product, "productName": product, "category": category, "unitPrice": usd(price), "quantity": quantity,
        "total": usd(price * quantity), "customerId": "c-1", "customerName": "Ann", "purchasedAt": format!("{day}T10:00:00Z")})
}

/// Records a purchase. Its id.
async fn record(shop: &TestShop, purchase: Value) -> String {
    shop.post("/v1/purchases", purchase).await.expect(202)["id"].as_str().unwrap().to_owned()
}

/// Key, count, quantity and total of each sum.
async fn sums(shop: &TestShop, by: &str) -> Vec<(String, i64, i64, i64)> {
    let sums = shop.all(&format!("/v1/purchases/summary?by={by}&limit=2")).await;
    let number = |value: &Value| value.as_i64().unwrap();
    let sum = |sum: &Value| {
        let key = sum["key"].as_str().unwrap().to_owned();
        (key, number(&sum["count"]), number(&sum["quantity"]), number(&sum["total"]["amount"]))
    };
    sums.iter().map(sum).collect()
}

#[tokio::test]
async fn the_classic_paths_of_purchases() {
    let shop = TestShop::new().await;
    let sent = shop.post("/product-purchase/", classic()).await.expect(200);
    let id = sent["ProductPurchaseId"].as_str().unwrap().to_owned();
    let message = sent["messageId"].as_str().unwrap();
    assert_eq!((id.len(), message.len()), (36, 36));
    assert_eq!(sent, json!({"message": "Message sent successfully", "messageId": message, "ProductPurchaseId": id}));

    let path = format!("/product-purchase/{id}");
    let item = with(with(classic(), "ProductPurchaseId", json!(id)), "action", json!("create"));
    assert_eq!(shop.get(&path).await.expect(200), item, "what was just accepted is known at once");
    shop.deliver().await;
    assert_eq!(shop.get(&path).await.expect(200), item);
    assert_eq!(shop.get("/product-purchase").await.expect(200), json!([item]), "a bare array");

    let other = with(with(classic(), "Quantity", json!("1")), "TotalPrice", json!("1032"));
    let other = with(other, "ProductDescription", json!("Refurbished"));
    let put = shop.put(&path, other.clone()).await.expect(200);
    assert_eq!(put, json!({"message": "Message sent successfully", "messageId": put["messageId"]}));
    shop.deliver().await;
    let replaced = with(with(other, "ProductPurchaseId", json!(id)), "action", json!("update"));
    assert_eq!(shop.get(&path).await.expect(200), replaced);
    assert_eq!(shop.get(&format!("/v1/purchases/{id}")).await.expect(200)["purchase"]["total"], usd(103_200));
    shop.put(&path, classic()).await.expect(200);
    shop.deliver().await;
    assert_eq!(shop.get(&path).await.expect(200).get("ProductDescription"), None, "replaced, not merged");

    let deleted = shop.delete(&path).await.expect(200);
    assert_eq!(deleted, json!({"message": "Message sent successfully", "messageId": deleted["messageId"]}));
    assert_eq!(shop.get(&path).await.code(), "purchase_not_found", "what was just accepted is known at once");
    assert_eq!(shop.get("/product-purchase").await.expect(200), json!([]));
    shop.deliver().await;
    for answer in [
        shop.get(&path).await,
        shop.put(&path, classic()).await,
        shop.delete(&path).await,
        shop.get("/product-purchase/865f8acb-079d-4ffd-8d70-97b01040c4ea").await,
        shop.get("/product-purchase/1").await,
    ] {
        assert_eq!((answer.status.as_u16(), answer.code()), (404, "purchase_not_found"));
    }
    assert_eq!(shop.get("/product-purchase").await.expect(200), json!([]));
}

#[tokio::test]
async fn times_as_tills_write_them_are_normalised() {
    let shop = TestShop::new().await;
    for (sent, shown) in [
        ("2021-02-22T8:01:21.389Z", "2021-02-22T08:01:21.389Z"),
        ("2021-02-28T10:02:12.034Z", "2021-02-28T10:02:12.034Z"),
        ("2021-2-3T4:5:6.5Z", "2021-02-03T04:05:06.500Z"),
        ("2021-02-22 08:01:21Z", "2021-02-22T08:01:21.000Z"),
        ("2021-02-22T08:01:21.3899999+01:00", "2021-02-22T07:01:21.389Z"),
        ("2021-02-22T0:30:00+1:00", "2021-02-21T23:30:00.000Z"),
    ] {
        let id = shop.post("/product-purchase", with(classic(), "TimeOfPurchase", json!(sent))).await.expect(200);
        let path = format!("/product-purchase/{}", id["ProductPurchaseId"].as_str().unwrap());
        assert_eq!(shop.get(&path).await.expect(200)["TimeOfPurchase"], shown, "{sent}");
    }
    for sent in [
        "yesterday",
        "",
        "2021-02-30T10:00:00Z",
        "2021-02-22T25:00:00Z",
        "2021-02-22T08:01:21",
        "1969-12-31T00:00:00Z",
        "é",
    ] {
        let refused = shop.post("/product-purchase", with(classic(), "TimeOfPurchase", json!(sent))).await;
        assert_eq!((refused.status.as_u16(), refused.pointers()), (400, vec!["/TimeOfPurchase"]), "{sent}");
    }
    shop.deliver().await;
}

#[tokio::test]
async fn fault_integer_or_float_value_breaking_the_list() {
    let shop = TestShop::new().await;
    let body = |price: &str, quantity: &str, total: &str| {
        let strings = classic().to_string();
        strings
            .replace(r#""PricePerUnit":"1032""#, &format!(r#""PricePerUnit":{price}"#))
            .replace(r#""Quantity":"3""#, &format!(r#""Quantity":{quantity}"#))
            .replace(r#""TotalPrice":"3096""#, &format!(r#""TotalPrice":{total}"#))
    };
    let mut expected = Vec::new();
    for (price, quantity, total, shown) in [
        ("1032", "3", "3096", ["1032", "3", "3096"]),
        ("10.1", "3", "30.30", ["10.1", "3", "30.3"]),
        ("0.1", "3.0", "0.3", ["0.1", "3", "0.3"]),
        (r#"" 78.89 ""#, r#""2""#, r#""157.78""#, ["78.89", "2", "157.78"]),
        ("1e2", "1", "100.00", ["100", "1", "100"]),
        ("0", "9999", "0", ["0", "9999", "0"]),
    ] {
        shop.send(Method::POST, "/product-purchase", &[], body(price, quantity, total)).await.expect(200);
        expected.push(shown);
    }
    shop.deliver().await;
    let list = shop.get("/product-purchase").await.expect(200);
    let shown = |item: &Value| {
        assert!(item.as_object().unwrap().values().all(Value::is_string), "{item}");
        ["PricePerUnit", "Quantity", "TotalPrice"].map(|name| item[name].as_str().unwrap().to_owned())
    };
    let mut list: Vec<_> = list.as_array().unwrap().iter().map(shown).collect();
    list.reverse();
    assert_eq!(list, expected, "every value is a string, and exact");
}

#[tokio::test]
async fn a_bad_purchase_is_refused_with_every_bad_field_and_nothing_of_it_enters_the_queue() {
    let shop = TestShop::new().await;
    let all = [
        "/ProductId",
        "/ProductName",
        "/Category",
        "/PricePerUnit",
        "/Quantity",
        "/TotalPrice",
        "/CustomerId",
        "/CustomerName",
        "/TimeOfPurchase",
    ];
    let every = json!({"ProductId": "", "ProductName": 7, "ProductDescription": "x".repeat(4001), "Category": null, "PricePerUnit": "a lot",
        "Quantity": "0", "TotalPrice": -1, "CustomerId": "a\u{7}b", "CustomerName": " ", "TimeOfPurchase": 5});
    let mut every_pointer = all.to_vec();
    every_pointer.insert(2, "/ProductDescription");
    for (body, pointers) in [
        (json!({}), all.to_vec()),
        (every, every_pointer),
        (with(classic(), "TotalPrice", json!("3095")), vec!["/TotalPrice"]),
        (with(classic(), "TotalPrice", json!("3096.001")), vec!["/TotalPrice"]),
        (with(classic(), "PricePerUnit", json!("1032.001")), vec!["/PricePerUnit"]),
        (with(classic(), "PricePerUnit", json!("-1")), vec!["/PricePerUnit"]),
        (with(classic(), "PricePerUnit", json!({})), vec!["/PricePerUnit"]),
        (with(classic(), "Quantity", json!("2.5")), vec!["/Quantity"]),
        (with(classic(), "Quantity", json!(10_000)), vec!["/Quantity"]),
        (with(classic(), "Quantity", json!(true)), vec!["/Quantity"]),
        (
            with(with(classic(), "TotalPrice", json!("1")), "CustomerName", json!("")),
            vec!["/CustomerName", "/TotalPrice"],
        ),
        (with(classic(), "CustomerId", json!("x".repeat(129))), vec!["/CustomerId"]),
        (with(classic(), "Category", json!("x".repeat(101))), vec!["/Category"]),
        (json!([]), vec![""]),
        (json!(["p", "p", "", "c", "1", "1", "1", "c", "c", "2026-01-01T00:00:00Z"]), vec![""]),
    ] {
        let answer = shop.post("/product-purchase", body.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.pointers()), (400, pointers), "{body}: {answer:?}");
        assert_eq!(answer.code(), "invalid_request");
    }
    for (name, value, pointer) in [
        ("unitPrice", json!({"amount": 1, "currency": "EUR"}), "/unitPrice"),
        ("unitPrice", json!(5), "/unitPrice"),
        ("total", usd(1_000_000_000_001), "/total"),
        ("colour", json!("red"), "/colour"),
    ] {
        let answer = shop.post("/v1/purchases", with(purchase("p", "c", 1, 1, "2026-01-01"), name, value)).await;
        assert_eq!((answer.status.as_u16(), answer.pointers()), (400, vec![pointer]));
    }
    let long = with(purchase("p", "c", 1, 1, "2026-01-01"), "unitPrice", json!("x".repeat(9_999)));
    let detail = shop.post("/v1/purchases", long).await.expect(400)["errors"][0]["detail"].clone();
    assert_eq!(detail.as_str().unwrap().chars().count(), 301, "a reason quotes no more than helps");
    assert_eq!(shop.store.depth(Queue::PurchaseQueue).await.unwrap(), 0);
    let accepted = with(classic(), "CustomerId", json!("Kunde Nr. 7 / Süd#\u{1f6d2}"));
    let accepted = with(with(accepted, "action", json!("delete")), "ProductPurchaseId", json!("mine"));
    let sent = shop.post("/product-purchase", accepted.clone()).await.expect(200);
    assert_ne!(sent["ProductPurchaseId"], "mine", "what the door decides is not the caller's to say");
    shop.deliver().await;
    assert_eq!(shop.get("/product-purchase").await.expect(200)[0]["CustomerId"], accepted["CustomerId"]);
}

#[tokio::test]
async fn the_life_of_a_purchase_under_v1() {
    let shop = TestShop::new().await;
    let body = purchase("p1", "Phones", 9_999, 2, "2026-01-05");
    let accepted = shop.post("/v1/purchases", body.clone()).await;
    assert_eq!(accepted.status, 202);
    let path = accepted.header("location").to_owned();
    let id = accepted.body["id"].as_str().unwrap();
    assert_eq!(
        accepted.body,
        json!({"id": id, "version": 1, "messageId": accepted.body["messageId"], "status": "pending", "statusUrl": path})
    );
    assert_eq!(path, format!("/v1/purchases/{id}"));
    let stored = with(with(body, "productDescription", json!("")), "purchasedAt", json!("2026-01-05T10:00:00.000Z"));
    let pending = shop.get(&path).await;
    let pending_etag = pending.header("etag").to_owned();
    assert_eq!(
        pending.expect(200),
        json!({"id": id, "version": 1, "status": "pending", "action": "create", "purchase": stored})
    );
    assert_eq!(shop.all("/v1/purchases").await, [] as [Value; 0]);
    shop.deliver().await;
    let polled = shop.send(Method::GET, &path, &[("if-none-match", &pending_etag)], "").await;
    assert_eq!(polled.body["status"], "stored", "who polls with an entity tag is told that it is done");
    assert_eq!(shop.all("/v1/purchases").await, std::slice::from_ref(&polled.body));

    let headers = |etag: &'static str| [("content-type", "application/json"), ("if-match", etag)];
    let next = purchase("p1", "Phones", 8_000, 2, "2026-01-05").to_string();
    let stale = shop.send(Method::PUT, &path, &headers("\"7.7\""), next.clone()).await;
    assert_eq!((stale.status.as_u16(), stale.code()), (412, "precondition_failed"));
    let replaced = shop.send(Method::PUT, &path, &headers("\"1.0\""), next).await;
    assert_eq!((replaced.status.as_u16(), replaced.header("location")), (202, path.as_str()));
    assert_eq!(replaced.body["version"], 2, "only the version counts, not how far the queue has come");
    assert_eq!(shop.delete(&path).await.expect(202)["version"], 3);
    let going = shop.get(&path).await.expect(200);
    assert_eq!((&going["status"], &going["action"]), (&json!("pending"), &json!("delete")));
    assert_eq!(going["purchase"], stored, "still stored as it was");
    assert_eq!(shop.delete(&path).await.code(), "purchase_not_found", "its removal was accepted");
    shop.deliver().await;
    assert_eq!(shop.get(&path).await.code(), "purchase_not_found");
    assert_eq!(shop.all("/v1/purchases").await, [] as [Value; 0]);
}

#[tokio::test]
async fn changes_that_race_get_successive_versions() {
    let shop = Arc::new(TestShop::new().await);
    let id = record(&shop, purchase("p", "c", 100, 1, "2026-01-01")).await;
    let mut racers = JoinSet::new();
    for n in 1..=12 {
        let (shop, path) = (Arc::clone(&shop), format!("/v1/purchases/{id}"));
        racers.spawn(async move {
            let answer = shop.put(&path, purchase("p", "c", 100, n, "2026-01-01")).await.expect(202);
            (answer["version"].as_u64().unwrap(), n)
        });
    }
    let mut versions = racers.join_all().await;
    versions.sort_unstable();
    assert_eq!(versions.iter().map(|(version, _)| *version).collect::<Vec<_>>(), (2..=13).collect::<Vec<_>>());
    shop.deliver().await;
    let last = shop.get(&format!("/v1/purchases/{id}")).await.expect(200);
    assert_eq!((&last["version"], &last["purchase"]["quantity"]), (&json!(13), &json!(versions[11].1)));
}

#[tokio::test]
async fn many_purchases_are_recorded_each_on_its_own() {
    let shop = TestShop::new().await;
    let good = || purchase("p", "c", 100, 1, "2026-01-01");
    let mut lines: Vec<Value> = (0..100).map(|_| good()).collect();
    lines[1] = json!({"productId": ""});
    lines[50] = json!(7);
    lines[99] = with(with(good(), "total", usd(1)), "customerName", json!(""));
    let answer = shop.post("/v1/purchases/batch", json!({"purchases": lines})).await.expect(207);
    assert_eq!((&answer["accepted"], &answer["refused"]), (&json!(97), &json!(3)));
    let answers = answer["purchases"].as_array().unwrap();
    assert_eq!(answers.len(), 100);
    let pointers = |at: usize| {
        let problem = &answers[at]["problem"];
        assert_eq!((&problem["status"], &problem["code"]), (&json!(400), &json!("invalid_request")), "{problem}");
        problem["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(pointers(1).len(), 9);
    assert_eq!(pointers(50), [""]);
    assert_eq!(pointers(99), ["/customerName", "/total"]);
    shop.deliver().await;
    let mut recorded = 0;
    for line in answers.iter().filter_map(|line| line.get("accepted")) {
        assert_eq!(shop.get(line["statusUrl"].as_str().unwrap()).await.expect(200)["status"], "stored");
        recorded += 1;
    }
    assert_eq!((recorded, shop.all("/v1/purchases?limit=40").await.len()), (97, 97));
    assert_eq!(sums(&shop, "category").await, [("c".to_owned(), 97, 97, 9_700)]);

    let too_many: Vec<Value> = (0..101).map(|_| good()).collect();
    for lines in [json!([]), json!(too_many)] {
        assert_eq!(shop.post("/v1/purchases/batch", json!({"purchases": lines})).await.pointers(), ["/purchases"]);
    }
    let none = shop.post("/v1/purchases/batch", json!({"purchases": [{}]})).await.expect(207);
    assert_eq!((&none["accepted"], &none["refused"]), (&json!(0), &json!(1)));
}

#[tokio::test]
async fn each_of_many_purchases_may_be_spelled_as_on_the_classic_paths() {
    let shop = TestShop::new().await;
    let shown = with(with(classic(), "action", json!("create")), "ProductPurchaseId", json!("7"));
    let bad = with(with(classic(), "TotalPrice", json!("1")), "CustomerName", json!(""));
    let mixed = with(classic(), "productId", json!("p"));
    let lines = json!([classic(), purchase("p", "c", 100, 1, "2026-01-01"), shown, bad, mixed]);
    let answer = shop.post("/v1/purchases/batch", json!({"purchases": lines})).await.expect(207);
    assert_eq!((&answer["accepted"], &answer["refused"]), (&json!(4), &json!(1)));
    let errors = answer["purchases"][3]["problem"]["errors"].as_array().unwrap();
    let pointers: Vec<&str> = errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, ["/CustomerName", "/TotalPrice"], "by the names they were sent under");
    shop.deliver().await;
    let first = &answer["purchases"][0]["accepted"];
    let stored = shop.get(first["statusUrl"].as_str().unwrap()).await.expect(200);
    assert_eq!((&stored["purchase"]["unitPrice"], &stored["status"]), (&usd(103_200), &json!("stored")));
}

#[tokio::test]
async fn an_idempotency_key_records_once_one_purchase_or_many() {
    let shop = TestShop::new().await;
    let headers = |key: &'static str| [("content-type", "application/json"), ("idempotency-key", key)];
    let one = purchase("p", "c", 100, 1, "2026-01-01").to_string();
    let first = shop.send(Method::POST, "/v1/purchases", &headers("k"), one.clone()).await.expect(202);
    assert_eq!(shop.send(Method::POST, "/v1/purchases", &headers("k"), one).await.expect(202), first);
    let body = classic().to_string();
    let first = shop.send(Method::POST, "/product-purchase", &headers("c"), body.clone()).await.expect(200);
    assert_eq!(shop.send(Method::POST, "/product-purchase", &headers("c"), body).await.expect(200), first);

    let lines: Vec<Value> = (1..=60).map(|n| purchase("p", "c", 100, n, "2026-01-01")).collect();
    let many = json!({"purchases": lines}).to_string();
    let send = async |key: &'static str, body: &str| {
        shop.send(Method::POST, "/v1/purchases/batch", &headers(key), body.to_owned()).await
    };
    shop.faults.next([Fault::LoseAnswer]);
    assert_eq!(send("b", &many).await.status, 503, "nothing is known of any");
    shop.faults.next([Fault::Refuse]);
    let halfway = send("b", &many).await.expect(207);
    assert_eq!(
        (&halfway["accepted"], &halfway["refused"]),
        (&json!(49), &json!(11)),
        "the first commit was done, the second was not"
    );
    assert_eq!(
        (&halfway["purchases"][59]["problem"]["status"], halfway["purchases"][59]["problem"]["errors"].is_null()),
        (&json!(503), true)
    );
    let whole = send("b", &many).await.expect(207);
    assert_eq!((&whole["accepted"], &whole["purchases"][48]), (&json!(60), &halfway["purchases"][48]));
    assert_eq!(send("b", &many).await.expect(207), whole);
    let reused = send("b", r#"{"purchases":[{}]}"#).await;
    assert_eq!(reused.status, 207, "nothing was to be done under the key");
    let other = json!({"purchases": [purchase("p", "c", 100, 1, "2026-01-01")]}).to_string();
    assert_eq!(send("b", &other).await.code(), "idempotency_key_reused");
    shop.deliver().await;
    assert_eq!(shop.all("/v1/purchases?limit=100").await.len(), 62);
}

#[tokio::test]
async fn purchases_are_listed_newest_first_page_by_page() {
    let shop = TestShop::new().await;
    let mut ids = Vec::new();
    for _ in 0..23 {
        ids.push(record(&shop, purchase("p", "c", 100, 1, "2026-01-01")).await);
    }
    shop.deliver().await;
    ids.reverse();
    for limit in [1, 5, 23, 100] {
        let listed = shop.all(&format!("/v1/purchases?limit={limit}")).await;
        assert_eq!(listed.iter().map(|item| item["id"].as_str().unwrap()).collect::<Vec<_>>(), ids, "pages of {limit}");
    }
    let (mut listed, mut next) = (Vec::new(), Some("/product-purchase/?limit=5".to_owned()));
    while let Some(path) = next {
        let answer = shop.get(&path).await;
        next = answer.headers.get("link").map(|link| {
            let link = link.to_str().unwrap();
            link.strip_prefix('<').and_then(|rest| rest.strip_suffix(">; rel=\"next\"")).unwrap().to_owned()
        });
        let page = answer.expect(200);
        listed
            .extend(page.as_array().unwrap().iter().map(|item| item["ProductPurchaseId"].as_str().unwrap().to_owned()));
    }
    assert_eq!(listed, ids, "the classic list too, along its Link headers");
    for path in ["/v1/purchases", "/product-purchase", "/v1/purchases/summary?by=day"] {
        let join = if path.contains('?') { '&' } else { '?' };
        for query in ["limit=0", "cursor=x"] {
            let pointer = format!("?{}", query.split('=').next().unwrap());
            assert_eq!(shop.get(&format!("{path}{join}{query}")).await.pointers(), [pointer.as_str()], "{path}");
        }
    }
}

#[tokio::test]
async fn sums_follow_what_is_recorded_changed_and_deleted() {
    let shop = TestShop::new().await;
    let sum = |key: &str, count: i64, quantity: i64, total: i64| (key.to_owned(), count, quantity, total);
    let phone = record(&shop, purchase("phone", "Phones", 10_000, 2, "2026-01-02")).await;
    record(&shop, purchase("phone", "Phones", 10_000, 1, "2026-01-03")).await;
    record(&shop, purchase("kettle", "Kitchen", 4_950, 3, "2026-01-02")).await;
    record(&shop, purchase("cup", "Kitchen", 500, 10, "2026-01-01")).await;
    assert_eq!(sums(&shop, "product").await, [], "nothing is summed up before it is stored");
    shop.deliver().await;
    assert_eq!(
        sums(&shop, "product").await,
        [sum("cup", 1, 10, 5_000), sum("kettle", 1, 3, 14_850), sum("phone", 2, 3, 30_000)]
    );
    assert_eq!(sums(&shop, "category").await, [sum("Kitchen", 2, 13, 19_850), sum("Phones", 2, 3, 30_000)]);
    let path = format!("/v1/purchases/{phone}");
    shop.put(&path, purchase("phone", "Second hand", 5_000, 1, "2026-01-03")).await.expect(202);
    shop.deliver().await;
    assert_eq!(
        sums(&shop, "category").await,
        [sum("Kitchen", 2, 13, 19_850), sum("Phones", 1, 1, 10_000), sum("Second hand", 1, 1, 5_000)]
    );
    let moved = [sum("2026-01-03", 2, 2, 15_000), sum("2026-01-02", 1, 3, 14_850), sum("2026-01-01", 1, 10, 5_000)];
    assert_eq!(sums(&shop, "day").await, moved);
    let renamed = with(purchase("phone", "Second hand", 5_000, 1, "2026-01-03"), "customerName", json!("Bob"));
    shop.put(&path, renamed).await.expect(202);
    shop.deliver().await;
    assert_eq!(sums(&shop, "day").await, moved, "who bought it changes no sum");
    shop.delete(&path).await.expect(202);
    shop.deliver().await;
    assert_eq!(sums(&shop, "category").await, [sum("Kitchen", 2, 13, 19_850), sum("Phones", 1, 1, 10_000)]);
    assert_eq!(shop.get("/v1/purchases/summary?by=category").await.expect(200)["items"][0]["total"], usd(19_850));
    for path in ["/v1/purchases/summary", "/v1/purchases/summary?by=hour"] {
        let refused = shop.get(path).await;
        assert_eq!((refused.status.as_u16(), refused.pointers()), (400, vec!["?by"]));
    }
    let next = shop.get("/v1/purchases/summary?by=day&limit=1").await.body["nextCursor"].as_str().unwrap().to_owned();
    assert_eq!(shop.get(&format!("/v1/purchases/summary?by=product&cursor={next}")).await.pointers(), ["?cursor"]);
}

#[tokio::test]
async fn the_door_writes_the_purchase_and_its_message_together_and_names_the_request() {
    let shop = TestShop::new().await;
    shop.faults.next([Fault::Refuse]);
    assert_eq!(shop.post("/product-purchase", classic()).await.status, 503);
    assert_eq!(shop.store.depth(Queue::PurchaseQueue).await.unwrap(), 0);
    let headers = [("x-request-id", "purchase-7")];
    let sent = shop.send(Method::POST, "/product-purchase", &headers, classic().to_string()).await.expect(200);
    for queue in [Queue::PurchaseQueue, Queue::PurchaseSummaryQueue, Queue::NotificationQueue] {
        let received = shop.store.receive(queue, 0).await.unwrap().unwrap();
        let envelope = received.envelope.clone().unwrap();
        assert_eq!(
            (envelope.correlation_id.as_str(), envelope.source.as_str()),
            ("purchase-7", "cartwright.purchases")
        );
        if queue == Queue::PurchaseQueue {
            assert_eq!(json!(envelope.id), sent["messageId"]);
        } else {
            assert!(!envelope.detail.get().contains("Sarah"), "the sums need no names: {}", envelope.detail);
        }
        handle(&shop.app, queue, &envelope).await.unwrap();
        shop.store.delete_message(&received).await.unwrap();
    }
}

#[tokio::test]
async fn the_view_shows_purchases_to_sqlite_tools() {
    let shop = TestShop::new().await;
    record(&shop, purchase("p1", "Phones", 9_999, 2, "2026-01-05")).await;
    let gone = record(&shop, purchase("p2", "Phones", 9_999, 2, "2026-01-05")).await;
    shop.delete(&format!("/v1/purchases/{gone}")).await.expect(202);
    shop.deliver().await;
    let file = rusqlite::Connection::open(shop.folder.join(cartwright::local::sqlite::FILE_NAME)).unwrap();
    let sql = "SELECT group_concat(length(id) || ' ' || action || ' ' || product_id || ' ' || quantity || ' ' || total_minor || ' ' || purchased_at) FROM product_purchases";
    let shown: String = file.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(shown, "36 create p1 2 19998 2026-01-05T10:00:00.000Z");
}
