//! Products and their stock.

use std::sync::Arc;

use cartwright::catalog::{NewProduct, ops};
use cartwright::events::{Event, Queue};
use cartwright::store::{Batch, Expect, Key, Once, Store, Table};
use cartwright::values::Money;
use http::Method;
use serde_json::{Value, json};

use crate::shop::TestShop;

#[tokio::test]
async fn a_product_is_created_read_changed_and_removed() {
    let shop = TestShop::new().await;
    let body = json!({"name": "Kettle", "description": "Boils", "imageFile": "k.svg", "category": "Kitchen", "price": {"amount": 4_950, "currency": "USD"}, "stock": 3});
    let created = shop.post("/v1/products", body).await;
    assert_eq!(created.status, 201);
    let location = created.header("location").to_owned();
    let id = created.body["id"].as_str().unwrap().to_owned();
    assert_eq!(location, format!("/v1/products/{id}"));
    shop.deliver().await;

    let read = shop.get(&location).await;
    assert_eq!((read.header("etag"), created.header("etag")), ("\"1.1\"", "\"1.1\""));
    let read = read.expect(200);
    assert_eq!(read, created.body);
    assert_eq!(
        read,
        json!({"id": id, "name": "Kettle", "description": "Boils", "imageFile": "k.svg", "category": "Kitchen",
            "price": {"amount": 4_950, "currency": "USD"}, "stock": {"onHand": 3, "reserved": 0, "available": 3},
            "createdAt": read["createdAt"], "updatedAt": read["createdAt"]})
    );
    let changed = shop.patch(&location, json!({"name": "Better kettle", "category": "Home"})).await;
    assert_eq!(changed.header("etag"), "\"2.1\"");
    assert_eq!((&changed.body["name"], &changed.body["description"]), (&json!("Better kettle"), &json!("Boils")));
    assert_eq!(shop.all("/v1/products?category=Kitchen").await.len(), 0, "it moved to its new category");
    assert_eq!(shop.all("/v1/products?category=Home").await.len(), 1);

    shop.delete(&location).await.expect(204);
    assert_eq!(shop.get(&location).await.code(), "product_not_found");
    assert_eq!(shop.all("/v1/products").await.len() + shop.all("/v1/products?category=Home").await.len(), 0);
    assert_eq!(shop.delete(&location).await.status, 404);
    shop.deliver().await;
}

#[tokio::test]
async fn each_field_of_a_product_can_be_changed_alone() {
    let shop = TestShop::new().await;
    let path = format!("/v1/products/{}", shop.product("phone", 100, 5).await);
    for (field, value) in [
        ("name", json!("Telephone")),
        ("description", json!("Rings")),
        ("imageFile", json!("t.svg")),
        ("category", json!("Home")),
        ("price", json!({"amount": 250, "currency": "USD"})),
    ] {
        let mut expected = shop.get(&path).await.expect(200);
        let changed = shop.patch(&path, json!({field: value})).await.expect(200);
        expected[field] = value;
        expected["updatedAt"] = changed["updatedAt"].clone();
        assert_eq!(changed, expected, "{field}");
    }
}

#[tokio::test]
async fn the_classic_paths_of_products() {
    let shop = TestShop::new().await;
    let created =
        shop.post("/product/", json!({"name": "Phone", "category": "Phone", "price": 78.89})).await.expect(200);
    let id = created["body"]["id"].as_str().unwrap().to_owned();
    let path = format!("/product/{id}");
    let product =
        json!({"id": id, "name": "Phone", "description": "", "imageFile": "", "category": "Phone", "price": 78.89});
    assert_eq!(created, json!({"message": "Successfully finished operation: \"POST\"", "body": product}));
    let get = |body: Value| json!({"message": "Successfully finished operation: \"GET\"", "body": body});
    assert_eq!(shop.get("/product").await.expect(200), get(json!([product])));
    assert_eq!(
        shop.get("/product?category=Phone").await.expect(200),
        get(json!([product])),
        "the original answered 500"
    );
    assert_eq!(shop.get(&path).await.expect(200), get(product.clone()));
    assert_eq!(shop.get(&format!("{path}?category=Phone")).await.expect(200), get(json!([product])));
    assert_eq!(shop.get(&format!("{path}?category=Other")).await.expect(200), get(json!([])));

    let updated = shop.put(&path, json!({"price": 80, "stock": 5})).await.expect(200);
    assert_eq!(updated["message"], "Successfully finished operation: \"PUT\"");
    assert_eq!(
        (&updated["body"]["name"], &updated["body"]["price"], &updated["body"]["stock"]),
        (&json!("Phone"), &json!(80), &json!(5))
    );
    let empty = shop.put(&path, json!({})).await;
    assert_eq!((empty.status.as_u16(), empty.code()), (400, "invalid_request"));
    shop.deliver().await;
    assert_eq!(
        shop.delete(&path).await.expect(200),
        json!({"message": "Successfully finished operation: \"DELETE\"", "body": {}})
    );
    for answer in [
        shop.get(&path).await,
        shop.put(&path, json!({"price": 1})).await,
        shop.delete(&path).await,
        shop.get("/product/123").await,
    ] {
        assert_eq!((answer.status.as_u16(), answer.code()), (404, "product_not_found"));
    }
    shop.deliver().await;
}

#[tokio::test]
async fn bad_products_are_refused_with_every_bad_field_and_change_nothing() {
    let shop = TestShop::new().await;
    let usd = |amount: i64| json!({"amount": amount, "currency": "USD"});
    for (body, pointers) in [
        (
            json!({"name": "", "price": {"amount": 1, "currency": "XXQ"}, "stock": -1}),
            vec!["/name", "/price/currency", "/stock"],
        ),
        (json!({"name": "x".repeat(201), "price": usd(1)}), vec!["/name"]),
        (json!({"name": "x\u{7}", "price": usd(1)}), vec!["/name"]),
        (json!({"price": usd(1)}), vec!["/name"]),
        (json!({"name": "x"}), vec!["/price"]),
        (json!({"name": "x", "price": usd(-1)}), vec!["/price/amount"]),
        (json!({"name": "x", "price": usd(1_000_000_000_001)}), vec!["/price/amount"]),
        (json!({"name": "x", "price": {"amount": 1, "currency": "EUR"}}), vec!["/price/currency"]),
        (json!({"name": "x", "price": {"amount": 1.5, "currency": "USD"}}), vec!["/price/amount"]),
        (json!({"name": "x", "price": usd(1), "stock": 1.5}), vec!["/stock"]),
        (json!({"name": "x", "price": usd(1), "colour": "red"}), vec!["/colour"]),
        (json!([]), vec![""]),
    ] {
        let answer = shop.post("/v1/products", body.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.pointers()), (400, pointers), "{body}: {answer:?}");
        assert_eq!(answer.code(), "invalid_request");
    }
    for price in ["-1", "0.001", "1e30", "\"1\"", "null", "10000000000.01"] {
        let body = format!(r#"{{"name":"x","price":{price}}}"#);
        let answer = shop.send(Method::POST, "/product", &[], body).await;
        assert_eq!((answer.status.as_u16(), answer.pointers()), (400, vec!["/price"]), "{price}");
    }
    assert_eq!(shop.all("/v1/products").await.len(), 0);
}

#[tokio::test]
async fn prices_are_exact_in_both_notations() {
    let shop = TestShop::new().await;
    for (price, minor) in
        [("0", 0), ("0.1", 10), ("0.10", 10), ("78.89", 7_889), ("1e2", 10_000), ("9999999999.99", 999_999_999_999_i64)]
    {
        let created =
            shop.send(Method::POST, "/product", &[], format!(r#"{{"name":"x","price":{price}}}"#)).await.expect(200);
        let id = created["body"]["id"].as_str().unwrap();
        assert_eq!(shop.get(&format!("/v1/products/{id}")).await.expect(200)["price"]["amount"], minor, "{price}");
    }
}

#[tokio::test]
async fn a_change_of_what_was_changed_meanwhile_is_refused() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    let path = format!("/v1/products/{phone}");
    let patch = async |etag: &str, name: &str| {
        let headers = [("content-type", "application/json"), ("if-match", etag)];
        shop.send(Method::PATCH, &path, &headers, json!({"name": name}).to_string()).await
    };
    let seen = shop.get(&path).await.header("etag").to_owned();
    assert_eq!(patch(&seen, "first").await.status, 200);
    let late = patch(&seen, "second").await;
    assert_eq!(
        (late.status.as_u16(), late.code(), &late.body["etag"]),
        (412, "precondition_failed", &json!("\"2.1\""))
    );
    assert_eq!(shop.get(&path).await.body["name"], "first");
    assert_eq!(patch("*", "third").await.status, 200);
    shop.order("ann", &phone, 1).await;
    assert_eq!(patch("\"3.1\"", "fourth").await.status, 200, "stock that moved is no obstacle to a new name");
    let headers = [("content-type", "application/json"), ("if-match", "\"4.1\"")];
    let counted = shop.send(Method::PUT, &format!("{path}/stock"), &headers, r#"{"onHand":9}"#).await;
    assert_eq!(counted.status, 412, "but to counting it is");
    let deleted = shop.send(Method::DELETE, &path, &[("if-match", "\"1.1\"")], "").await;
    assert_eq!(deleted.status, 412);
}

#[tokio::test]
async fn what_a_reader_has_already_is_not_sent_again() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    let path = format!("/v1/products/{phone}");
    let seen = shop.get(&path).await.header("etag").to_owned();
    let again = shop.send(Method::GET, &path, &[("if-none-match", &seen)], "").await;
    assert_eq!((again.status.as_u16(), &again.body, again.header("etag")), (304, &Value::Null, seen.as_str()));
    shop.order("ann", &phone, 1).await;
    assert_eq!(shop.send(Method::GET, &path, &[("if-none-match", &seen)], "").await.status, 200, "its stock moved");
}

#[tokio::test]
async fn stock_is_received_written_off_and_counted_and_the_ledger_adds_up() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    let (stock, movements) = (format!("/v1/products/{phone}/stock"), format!("/v1/products/{phone}/stock/movements"));
    let received =
        shop.post(&movements, json!({"kind": "received", "quantity": 10, "note": "delivery 17"})).await.expect(201);
    assert_eq!(
        (&received["onHand"], &received["available"], &received["note"]),
        (&json!(10), &json!(10), &json!("delivery 17"))
    );
    assert_eq!(shop.ledger(&phone).await.0[0], received, "in the ledger at once");
    shop.post(&movements, json!({"kind": "writtenOff", "quantity": 3})).await.expect(201);
    let counted = shop.put(&stock, json!({"onHand": 11, "note": "one was missing"})).await.expect(200);
    assert_eq!(counted, json!({"onHand": 11, "reserved": 0, "available": 11}));
    shop.order("ann", &phone, 4).await;
    for (path, body) in [(&movements, json!({"kind": "writtenOff", "quantity": 8})), (&stock, json!({"onHand": 3}))] {
        let method = if path == &stock { Method::PUT } else { Method::POST };
        let refused = shop.send(method, path, &[], body.to_string()).await;
        assert_eq!(
            (refused.status.as_u16(), refused.code(), &refused.body["reserved"]),
            (409, "stock_reserved", &json!(4))
        );
    }
    assert_eq!(shop.stock(&phone).await, (11, 4, 7));
    shop.deliver().await;
    let (ledger, sums) = shop.ledger(&phone).await;
    let kinds: Vec<&str> = ledger.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["reserved", "counted", "writtenOff", "received", "received"], "newest first");
    assert_eq!(sums, (11, 7));

    let insufficient = shop.post(&movements, json!({"kind": "writtenOff", "quantity": 12})).await;
    assert_eq!(
        (insufficient.status.as_u16(), insufficient.code(), &insufficient.body["onHand"]),
        (409, "stock_insufficient", &json!(11))
    );
    let bulk = shop.post(&movements, json!({"kind": "received", "quantity": 20_000})).await;
    assert_eq!(bulk.status, 201);
    assert_eq!(shop.get(bulk.header("location")).await.expect(200), bulk.body);
    assert_eq!(shop.post(&movements, json!({"kind": "received", "quantity": 0})).await.pointers(), ["/quantity"]);
    assert_eq!(shop.get(&format!("{movements}/{phone}")).await.code(), "movement_not_found");
    let bad = shop.post(&movements, json!({"kind": "reserved", "quantity": 1})).await;
    assert_eq!((bad.status.as_u16(), bad.pointers()), (400, vec!["/kind"]), "only what a person may book");
    let untracked = shop.product("e-book", 100, None).await;
    assert_eq!(shop.get(&format!("/v1/products/{untracked}/stock")).await.code(), "stock_not_tracked");
    let refused = shop
        .post(&format!("/v1/products/{untracked}/stock/movements"), json!({"kind": "received", "quantity": 1}))
        .await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "stock_not_tracked"));
    shop.put(&format!("/v1/products/{untracked}/stock"), json!({"onHand": 2})).await.expect(200);
    assert_eq!(shop.stock(&untracked).await, (2, 0, 2), "counting starts tracking");
    shop.deliver().await;
}

#[tokio::test]
async fn the_stock_that_is_set_on_the_classic_path_is_what_may_still_be_sold() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 10).await;
    shop.order("ann", &phone, 3).await;
    let updated = shop.put(&format!("/product/{phone}"), json!({"stock": 5})).await.expect(200);
    assert_eq!(updated["body"]["stock"], 5);
    assert_eq!(shop.stock(&phone).await, (8, 3, 5), "what orders hold is in the house too");
    shop.deliver().await;
    assert_eq!(shop.ledger(&phone).await.1, (8, 5));
}

#[tokio::test]
async fn whoever_counts_the_stock_can_count_on_by_the_tag_of_the_answer() {
    let shop = TestShop::new().await;
    let path = format!("/v1/products/{}", shop.product("phone", 100, None).await);
    let stock = format!("{path}/stock");
    let mut tag = shop.get(&path).await.header("etag").to_owned();
    for count in [5, 9, 7] {
        let headers = [("content-type", "application/json"), ("if-match", tag.as_str())];
        let counted = shop.send(Method::PUT, &stock, &headers, json!({"onHand": count}).to_string()).await;
        assert_eq!((counted.status.as_u16(), &counted.body["onHand"]), (200, &json!(count)));
        tag = counted.header("etag").to_owned();
        assert_eq!(shop.get(&stock).await.header("etag"), tag);
    }
    shop.deliver().await;
}

#[tokio::test]
async fn a_product_without_tracked_stock_is_always_available() {
    let shop = TestShop::new().await;
    let book = shop.product("e-book", 100, None).await;
    let order = shop.order("ann", &book, 9_999).await;
    assert_eq!(shop.status(&order).await, "CONFIRMED");
    assert_eq!(shop.get(&format!("/v1/products/{book}")).await.expect(200)["stock"], Value::Null);
}

#[tokio::test]
async fn crossing_zero_is_announced_once_in_each_direction() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 2).await;
    let depleted = async || {
        let keys = cartwright::store::Key::new(cartwright::store::Table::Catalog, format!("PRODUCT#{phone}"), "ALERT");
        let doc = cartwright::store::Store::get(&*shop.store, &keys).await.unwrap();
        doc.map(|doc| (doc.version, doc.parse_owned::<Value>().unwrap()["depleted"].as_bool().unwrap()))
    };
    assert_eq!(depleted().await, None);
    shop.order("ann", &phone, 1).await;
    assert_eq!(depleted().await, None, "one is left");
    let order = shop.order("ben", &phone, 1).await;
    assert_eq!(depleted().await, Some((1, true)));
    let rejected = shop.order("cy", &phone, 1).await;
    assert_eq!((shop.status(&rejected).await.as_str(), depleted().await), ("REJECTED", Some((1, true))));
    shop.transition(&order, "CANCELLED").await.expect(200);
    shop.deliver().await;
    assert_eq!(depleted().await, Some((2, false)));
    shop.post(&format!("/v1/products/{phone}/stock/movements"), json!({"kind": "received", "quantity": 5}))
        .await
        .expect(201);
    shop.deliver().await;
    assert_eq!(depleted().await, Some((2, false)), "more of what is there is no news");
}

#[tokio::test]
async fn what_the_catalogue_hears_may_come_late_again_or_before_its_cause() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    let order = shop.order("ann", &phone, 2).await;
    let fact = |status: &str| {
        let line = json!({"productId": phone, "name": "phone", "color": "", "quantity": 2, "unitPrice": {"amount": 100, "currency": "USD"}});
        json!({"orderId": order, "customer": "ann", "status": status, "lines": [line], "total": {"amount": 200, "currency": "USD"}})
    };
    shop.transition(&order, "CANCELLED").await.expect(200);
    shop.deliver().await;
    for (name, status) in [
        ("OrderPlaced", "PLACED"),
        ("OrderCancelled", "CANCELLED"),
        ("OrderShipped", "SHIPPED"),
        ("OrderCancelled", "CANCELLED"),
        ("OrderPlaced", "PLACED"),
    ] {
        shop.emit(shop.event(name, fact(status))).await;
    }
    shop.deliver().await;
    assert_eq!(shop.stock(&phone).await, (5, 0, 5), "given back exactly once");
    assert_eq!(shop.ledger(&phone).await.1, (5, 5));

    let mut early = fact("CANCELLED");
    early["orderId"] = json!(shop.app.new_order_id(shop.app.clock.now()));
    shop.emit(shop.event("OrderCancelled", early.clone())).await;
    shop.emit(shop.event("OrderPlaced", early)).await;
    shop.deliver().await;
    assert_eq!(
        shop.stock(&phone).await,
        (5, 0, 5),
        "an order that was called off before it was heard of takes nothing"
    );
}

#[tokio::test]
async fn giving_back_to_a_product_that_left_the_catalogue_does_no_harm() {
    let shop = TestShop::new().await;
    let (stays, leaves) = (shop.product("stays", 100, 5).await, shop.product("leaves", 100, 5).await);
    shop.fill("ann", &stays, 1).await;
    let order = shop.order("ann", &leaves, 1).await;
    shop.delete(&format!("/v1/products/{leaves}")).await.expect(204);
    let again = NewProduct {
        id: Some(leaves.parse().unwrap()),
        name: "leaves".try_into().unwrap(),
        description: "".try_into().unwrap(),
        image_file: "".try_into().unwrap(),
        category: "".try_into().unwrap(),
        price: Money { amount: 100, currency: shop.app.config.currency },
        stock: Some(7.try_into().unwrap()),
    };
    ops::create_product(&shop.app, &Once::unkeyed(), again).await.unwrap();
    shop.transition(&order, "CANCELLED").await.expect(200);
    shop.deliver().await;
    assert_eq!(shop.stock(&stays).await, (5, 0, 5));
    assert_eq!(shop.stock(&leaves).await, (7, 0, 7), "another product of the same id owes the order nothing");
    assert_eq!(shop.ledger(&leaves).await.1, (7, 7), "its books were closed when it left");
}

#[tokio::test]
async fn every_event_survives_its_envelope() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    shop.fill("ann", &phone, 2).await;
    shop.checkout("ann").await;
    let received = shop.store.receive(Queue::OrderQueue, 0).await.unwrap().unwrap();
    let envelope = received.envelope.clone().unwrap();
    assert_eq!(envelope.source, "com.swn.basket.checkoutbasket");
    let detail: Value = serde_json::from_str(envelope.detail.get()).unwrap();
    assert_eq!(
        (&detail["userName"], &detail["totalPrice"], &detail["items"][0]["price"]),
        (&json!("ann"), &json!(2), &json!(1))
    );
    let Event::CheckoutBasket(parsed) = Event::parse(&envelope).unwrap() else { panic!("another event") };
    assert_eq!(serde_json::to_value(&parsed).unwrap(), detail);
    shop.store.retry_message(&received, 0).await.unwrap();
    shop.deliver().await;
}

fn names(products: &[Value]) -> Vec<&str> {
    products.iter().map(|product| product["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn categories_are_listed_while_they_have_products() {
    let shop = TestShop::new().await;
    let categories = async || names(&shop.all("/v1/categories?limit=1").await).join(", ");
    assert_eq!(categories().await, "");
    let mut ids = Vec::new();
    for (name, category) in [("Kettle", "Kitchen"), ("Pan", "Kitchen"), ("Lamp", "Home"), ("Thing", "")] {
        let body = json!({"name": name, "category": category, "price": {"amount": 1, "currency": "USD"}});
        ids.push(shop.post("/v1/products", body).await.expect(201)["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(categories().await, "Home, Kitchen");
    shop.delete(&format!("/v1/products/{}", ids[0])).await.expect(204);
    assert_eq!(categories().await, "Home, Kitchen");
    shop.patch(&format!("/v1/products/{}", ids[1]), json!({"category": "Attic"})).await.expect(200);
    assert_eq!(categories().await, "Attic, Home");
    shop.deliver().await;
}

#[tokio::test]
async fn products_are_found_by_how_the_words_of_their_names_begin() {
    let shop = TestShop::new().await;
    for name in ["Veylo 7 Smartphone", "Veylo 7 Case", "Hollin Phone, Phones & More", "Éclair Pan"] {
        shop.product(name, 100, None).await;
    }
    let found = async |words: &str| {
        let mut found = shop.all(&format!("/v1/products?search={words}&limit=1")).await;
        found.sort_by_key(|product| product["name"].to_string());
        names(&found).join(", ")
    };
    assert_eq!(found("veylo").await, "Veylo 7 Case, Veylo 7 Smartphone");
    assert_eq!(found("7%20VEY%20smart").await, "Veylo 7 Smartphone");
    assert_eq!(found("phone").await, "Hollin Phone, Phones & More", "once, though two words begin so");
    assert_eq!(found("%C3%A9cl").await, "Éclair Pan");
    assert_eq!(found("veylo%20phone").await, "");
    assert_eq!(shop.all("/v1/products?search=veylo&category=Other").await.len(), 0);
    let refused = shop.get("/v1/products?search=7").await;
    assert_eq!((refused.code(), refused.pointers()), ("invalid_request", vec!["?search"]));

    let id = shop.all("/v1/products?search=case").await[0]["id"].as_str().unwrap().to_owned();
    shop.patch(&format!("/v1/products/{id}"), json!({"name": "Veylo 7 Sleeve"})).await.expect(200);
    assert_eq!((found("case").await.as_str(), found("sleeve").await.as_str()), ("", "Veylo 7 Sleeve"));
    shop.delete(&format!("/v1/products/{id}")).await.expect(204);
    assert_eq!(found("veylo").await, "Veylo 7 Smartphone");
    shop.deliver().await;
}

#[tokio::test]
async fn a_shop_that_was_made_before_there_was_a_search_gets_its_index_once() {
    let shop = TestShop::new().await;
    let id = shop.product("Old Kettle", 100, None).await;
    let mut batch = Batch::new(Table::Catalog);
    for (pk, sk) in [("WORDS#ke", format!("kettle#{id}")), ("CATEGORIES", "Phone".to_owned())] {
        batch.delete(Key::new(Table::Catalog, pk, sk), Expect::Exists);
    }
    shop.store.commit(batch).await.unwrap();
    let seen = async || (shop.all("/v1/products?search=kettle").await.len(), shop.all("/v1/categories").await.len());
    assert_eq!(seen().await, (0, 0));
    cartwright::catalog::ensure_indexed(&shop.app).await.unwrap();
    assert_eq!(seen().await, (1, 1));
    cartwright::catalog::ensure_indexed(&shop.app).await.unwrap();
}

#[tokio::test]
async fn a_page_is_kept_until_anything_in_the_catalogue_changes() {
    const LISTS: [&str; 4] =
        ["/v1/products", "/v1/products?limit=1", "/v1/products?category=Phone&search=pho", "/v1/categories"];
    let shop = TestShop::new().await;
    let pages = async || {
        let mut pages = Vec::new();
        for path in LISTS {
            let (made, kept) = (shop.get(path).await, shop.get(path).await);
            assert_eq!((made.status, &made.body), (kept.status, &kept.body), "{path}");
            assert_eq!(made.headers.get("link"), kept.headers.get("link"), "{path}");
            assert_eq!(made.headers["content-type"], kept.headers["content-type"], "{path}");
            assert_ne!(made.headers["x-request-id"], kept.headers["x-request-id"], "each request has its own");
            pages.push(made.body);
        }
        pages
    };
    let names = |page: &Value| {
        let items = page["items"].as_array().unwrap().iter();
        items.map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert!(pages().await.iter().all(|page| page["items"] == json!([])));
    let phone = shop.product("phone", 100, 5).await;
    assert!(pages().await.iter().all(|page| page["items"].as_array().unwrap().len() == 1));
    let second = shop.product("phone two", 200, None).await;
    assert_eq!(
        pages().await.iter().map(names).collect::<Vec<_>>(),
        ["phone phone two", "phone", "phone phone two", "Phone"]
    );
    shop.patch(&format!("/v1/products/{phone}"), json!({"name": "phone one", "category": "Old"})).await.expect(200);
    assert_eq!(
        pages().await.iter().map(names).collect::<Vec<_>>(),
        ["phone one phone two", "phone one", "phone two", "Old Phone"]
    );
    shop.put(&format!("/v1/products/{phone}/stock"), json!({"onHand": 9})).await.expect(200);
    assert_eq!(pages().await[1]["items"][0]["stock"]["onHand"], 9);
    shop.order("ann", &phone, 2).await;
    assert_eq!(pages().await[1]["items"][0]["stock"]["available"], 7, "an order took two");
    shop.delete(&format!("/v1/products/{second}")).await.expect(204);
    assert_eq!(pages().await.iter().map(names).collect::<Vec<_>>(), ["phone one", "phone one", "", "Old"]);
    let reads = async || {
        let metrics = String::from_utf8(shop.raw("/metrics").await).unwrap();
        let reads = metrics.lines().filter(|line| line.starts_with("cartwright_store_cache_"));
        reads.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = reads().await;
    pages().await;
    assert_eq!(reads().await, before, "nothing was read for what is kept");
    let refused = shop.get("/v1/products?cursor=none").await;
    assert_eq!(
        (refused.code(), shop.get("/v1/products?cursor=none").await.code()),
        ("invalid_request", "invalid_request")
    );
    shop.deliver().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_page_is_never_older_than_what_was_acknowledged() {
    let shop = Arc::new(TestShop::new().await);
    let path = format!("/v1/products/{}", shop.product("phone 0", 100, 5).await);
    let name = async |shop: &TestShop| {
        let page = shop.get("/v1/products").await.expect(200);
        page["items"][0]["name"].as_str().unwrap()["phone ".len()..].parse::<u32>().unwrap()
    };
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let shop = Arc::clone(&shop);
            tokio::spawn(async move {
                let mut last = 0;
                while last < 200 {
                    let found = name(&shop).await;
                    assert!(found >= last, "a reader went back in time, from {last} to {found}");
                    last = found;
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for n in 1..=200 {
        shop.patch(&path, json!({"name": format!("phone {n}")})).await.expect(200);
        assert_eq!(name(&shop).await, n, "what was acknowledged is shown");
    }
    for reader in readers {
        reader.await.unwrap();
    }
}
