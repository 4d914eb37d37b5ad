//! From basket to order: what the original design got wrong, and what races can do to it.

use std::sync::Arc;

use cartwright::events::Queue;
use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::faults::Fault;
use crate::shop::TestShop;

#[tokio::test]
async fn a_checkout_becomes_a_confirmed_order_and_lower_stock() {
    let shop = TestShop::new().await;
    let phone = shop.product("IPhone X", 95_040, 7).await;
    shop.fill("ann", &phone, 2).await;

    let answer = shop
        .post("/v1/baskets/ann/checkout", json!({"contact": {"firstName": "Ann", "email": "ann@example.com"}}))
        .await;
    assert_eq!(answer.status, 202);
    let order = answer.body["orderId"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("location"), format!("/v1/orders/{order}"));
    assert_eq!(answer.body["status"], "PLACED");
    assert_eq!(answer.body["total"], json!({"amount": 190_080, "currency": "USD"}));
    assert_eq!(shop.status(&order).await, "PLACED", "the id a buyer was given is known at once");
    let again = shop.post("/v1/baskets/ann/checkout", json!({})).await;
    assert_eq!((again.status.as_u16(), again.code()), (404, "basket_not_found"), "the basket is closed");

    shop.deliver().await;
    let shown = shop.get(&format!("/v1/orders/{order}")).await.expect(200);
    assert_eq!(shown["status"], "CONFIRMED");
    assert_eq!(
        shown["contact"],
        json!({"firstName": "Ann", "lastName": "", "email": "ann@example.com", "address": ""})
    );
    assert_eq!(shown["nextStatuses"], json!(["PACKED", "CANCELLED"]));
    assert_eq!(shop.stock(&phone).await, (7, 2, 5));
    let (ledger, sums) = shop.ledger(&phone).await;
    assert_eq!(sums, (7, 5), "the ledger adds up to the stock");
    assert_eq!(ledger[0]["kind"], "reserved");
    assert_eq!(ledger[0]["orderId"], order);
}

#[tokio::test]
async fn the_classic_story_from_product_to_order() {
    let shop = TestShop::new().await;
    let product = json!({"name": "IPhone X", "description": "A phone", "imageFile": "p.png", "category": "Phone", "price": 950.40, "stock": 7});
    let created = shop.post("/product", product).await.expect(200);
    assert_eq!(created["message"], "Successfully finished operation: \"POST\"");
    let id = created["body"]["id"].as_str().unwrap().to_owned();
    let basket = json!({"userName": "swn", "items": [
        {"quantity": 2, "color": "Red", "price": 1, "productId": id, "productName": "cheap"},
        {"quantity": 1, "color": "Blue", "price": 1, "productId": id, "productName": "cheap"},
    ]});
    let put = shop.post("/basket", basket).await.expect(200);
    assert_eq!(
        put["body"]["items"][0],
        json!({"quantity": 2, "color": "Red", "price": 950.4, "productId": id, "productName": "IPhone X"})
    );
    let checkout = json!({"userName": "swn", "totalPrice": 0, "firstName": "mehmet", "lastName": "ozkaya",
        "email": "ezozkme@gmail.com", "address": "istanbul", "cardInfo": "5554443322221111", "paymentMethod": 1});
    let accepted = shop.post("/basket/checkout", checkout).await.expect(200);
    assert_eq!(accepted["message"], "Successfully finished operation: \"POST\"");
    assert_eq!(accepted["body"]["totalPrice"], 2851.2);
    let order_id = accepted["body"]["orderId"].as_str().unwrap();
    shop.deliver().await;

    let orders = shop.get("/order/swn").await.expect(200);
    let order = &orders["body"][0];
    let date = order["orderDate"].as_str().unwrap();
    assert_eq!(
        *order,
        json!({"orderId": order_id, "userName": "swn", "orderDate": date, "status": "CONFIRMED", "totalPrice": 2851.2,
            "firstName": "mehmet", "lastName": "ozkaya", "email": "ezozkme@gmail.com", "address": "istanbul",
            "paymentMethod": 1, "cardLast4": "1111", "items": [
                {"quantity": 2, "color": "Red", "price": 950.4, "productId": id, "productName": "IPhone X"},
                {"quantity": 1, "color": "Blue", "price": 950.4, "productId": id, "productName": "IPhone X"}]})
    );
    let by_date = shop.get(&format!("/order/swn?orderDate={date}")).await.expect(200);
    assert_eq!(by_date["body"], json!([order]));
    let other_date = shop.get("/order/swn?orderDate=2026-01-02T03:04:05.999Z").await.expect(200);
    assert_eq!(other_date["body"], json!([]));
    assert_eq!(shop.get("/order/").await.expect(200)["body"], json!([order]), "with a trailing slash too");
    assert_eq!(shop.get(&format!("/product/{id}")).await.expect(200)["body"]["stock"], 4);
    assert_eq!(
        shop.get(&format!("/v1/orders/{order_id}")).await.expect(200)["total"]["amount"],
        285_120,
        "seen from both sides"
    );
    assert_eq!(shop.get("/basket/swn").await.code(), "basket_not_found");
}

#[tokio::test]
async fn fault_publish_then_delete_in_two_steps() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    shop.fill("ann", &phone, 1).await;
    shop.faults.next([Fault::Refuse]);
    let failed = shop.post("/v1/baskets/ann/checkout", json!({})).await;
    assert_eq!(failed.status, 503);
    assert_eq!(shop.store.depth(Queue::OrderQueue).await.unwrap(), 0, "no event of a checkout that did not happen");
    shop.get("/v1/baskets/ann").await.expect(200);

    shop.faults.next([Fault::LoseAnswer]);
    assert_eq!(shop.post("/v1/baskets/ann/checkout", json!({})).await.status, 503);
    assert_eq!(shop.get("/v1/baskets/ann").await.code(), "basket_not_found", "it did happen");
    assert_eq!(shop.store.depth(Queue::OrderQueue).await.unwrap(), 1, "and its event with it");
    shop.deliver().await;
    assert_eq!(shop.all("/v1/orders").await.len(), 1);
}

#[tokio::test]
async fn fault_consumer_not_awaiting_its_writes() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    shop.fill("ann", &phone, 1).await;
    let order = shop.checkout("ann").await;
    shop.faults.next([Fault::Refuse]);
    shop.deliver().await;
    assert_eq!(shop.store.depth(Queue::OrderQueue).await.unwrap(), 1, "a message whose write failed is not done");
    shop.deliver_with_retries().await;
    assert_eq!(shop.status(&order).await, "CONFIRMED");
}

#[tokio::test]
async fn fault_a_new_order_per_redelivery() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    let detail = json!({"userName": "ann", "items": [{"productId": phone, "productName": "phone", "quantity": 2, "price": 1.00}]});
    let event = shop.event("CheckoutBasket", detail);
    for _ in 0..10 {
        shop.emit(event.clone()).await;
    }
    shop.deliver().await;
    let orders = shop.all("/v1/orders").await;
    assert_eq!(orders.len(), 1, "the key of an order comes from its event: {orders:?}");
    assert_eq!(orders[0]["status"], "CONFIRMED");
    assert_eq!(shop.stock(&phone).await, (5, 2, 3), "stock was taken once");
}

#[tokio::test]
async fn every_message_delivered_again_after_a_lost_answer_changes_nothing() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    shop.fill("ann", &phone, 2).await;
    let order = shop.checkout("ann").await;
    shop.faults.next([Fault::LoseAnswer; 3]);
    shop.deliver_with_retries().await;
    assert_eq!(shop.status(&order).await, "CONFIRMED");
    assert_eq!(shop.stock(&phone).await, (5, 2, 3));
    assert_eq!(shop.ledger(&phone).await.1, (5, 3));
}

#[tokio::test]
async fn fault_total_without_quantity() {
    let shop = TestShop::new().await;
    let (phone, case) = (shop.product("phone", 10_000, None).await, shop.product("case", 999, None).await);
    shop.fill("ann", &phone, 3).await;
    shop.fill("ann", &case, 2).await;
    let order = shop.checkout("ann").await;
    shop.deliver().await;
    let order = shop.get(&format!("/v1/orders/{order}")).await.expect(200);
    assert_eq!(order["total"]["amount"], 3 * 10_000 + 2 * 999);
}

#[tokio::test]
async fn fault_client_chosen_prices() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 10_000, 5).await;
    let basket = json!({"userName": "ann", "items": [{"productId": phone, "quantity": 1, "price": 0.01, "productName": "mine"}]});
    let put = shop.post("/basket", basket).await.expect(200);
    assert_eq!(put["body"]["items"][0]["price"], 100);
    assert_eq!(put["body"]["items"][0]["productName"], "phone");
    let refused = shop.post("/basket/checkout", json!({"userName": "ann", "totalPrice": 0.01})).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "price_changed"));
    let answer = shop
        .put(
            "/v1/baskets/ann",
            json!({"items": [{"productId": phone, "quantity": 1, "unitPrice": {"amount": 1, "currency": "USD"}}]}),
        )
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.pointers()),
        (400, vec!["/items/0/unitPrice"]),
        "/v1 says that it takes no price"
    );

    let detail = json!({"userName": "eve", "items": [{"productId": phone, "productName": "phone", "quantity": 1, "price": 0.01}]});
    shop.emit(shop.event("CheckoutBasket", detail)).await;
    shop.deliver().await;
    let orders = shop.all("/v1/orders?customer=eve").await;
    assert_eq!(orders[0]["status"], "REJECTED", "nor through the bus");
    assert_eq!(
        orders[0]["rejections"],
        json!([{"productId": phone, "reason": "priceChanged", "ordered": {"amount": 1, "currency": "USD"}, "current": {"amount": 10_000, "currency": "USD"}}])
    );
    assert_eq!(shop.stock(&phone).await, (5, 0, 5));
}

#[tokio::test]
async fn fault_card_number_stored() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    let card = "4929123456781234";
    shop.fill("ann", &phone, 1).await;
    shop.post("/basket/checkout", json!({"userName": "ann", "cardInfo": card})).await.expect(200);
    shop.fill("bob", &phone, 1).await;
    shop.post("/v1/baskets/bob/checkout", json!({"payment": {"method": 2, "cardNumber": "4929 1234 5678 1234"}}))
        .await
        .expect(202);
    shop.fill("cy", &phone, 1).await;
    let body = json!({"userName": "cy", "cardInfo": card}).to_string();
    shop.send(Method::POST, "/basket/checkout", &[("idempotency-key", "cy-1")], body.clone()).await.expect(200);
    let digest = |text: &str| {
        let mut hasher = blake3::Hasher::new();
        for part in [b"POST".as_slice(), b"/basket/checkout", b"", text.as_bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        hasher.finalize().to_hex()[..32].to_owned()
    };
    let struck = body.replace("492912345678", "************");
    let mut digests = 0;
    for entry in std::fs::read_dir(&shop.folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let found = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        assert!(!found(card.as_bytes()) && !found(b"4929 1234"), "the card's number is in {}", path.display());
        assert!(
            !found(digest(&body).as_bytes()),
            "a digest that gives the card's number away is in {}",
            path.display()
        );
        digests += usize::from(found(digest(&struck).as_bytes()));
    }
    shop.deliver().await;
    assert_eq!(digests, 1, "the digest is of the request without the number");
    for user in ["ann", "bob"] {
        assert_eq!(shop.all(&format!("/v1/orders?customer={user}")).await[0]["cardLast4"], "1234");
    }
}

#[tokio::test]
async fn fault_no_dead_letter_queue() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    let good = |user: &str| json!({"userName": user, "items": [{"productId": phone, "productName": "phone", "quantity": 1, "price": 1}]});
    let sample = json!({"username": "swn", "basket": "phone1"});
    shop.emit(shop.event("CheckoutBasket", good("before"))).await;
    shop.emit(shop.event("CheckoutBasket", sample.clone())).await;
    shop.emit(shop.event("CheckoutBasket", json!({"userName": "swn", "items": []}))).await;
    shop.emit(shop.event(
        "CheckoutBasket",
        json!({"userName": "swn", "items": [{"productId": phone, "productName": "p", "quantity": 0, "price": 1}]}),
    ))
    .await;
    shop.emit(shop.event("CheckoutBasket", good("after"))).await;
    let mut negative = good("eve");
    negative["items"][0]["price"] = json!(-1);
    shop.emit(shop.event("CheckoutBasket", negative)).await;
    shop.deliver().await;
    let taken = shop.all("/v1/orders?customer=before").await[0]["id"].clone();
    let mut other = good("before");
    other["orderId"] = taken.clone();
    shop.emit(shop.event("CheckoutBasket", other.clone())).await;
    other["items"][0]["quantity"] = json!(2);
    shop.emit(shop.event("CheckoutBasket", other)).await;
    shop.deliver().await;
    let letters = shop.dead_letters(Queue::OrderQueue).await;
    let reasons: Vec<&str> = letters.iter().map(|letter| letter.reason.as_str()).collect();
    assert_eq!(letters.len(), 5, "{reasons:?}");
    assert!(reasons[0].starts_with("malformed_event") && reasons[0].contains("userName"), "{}", reasons[0]);
    assert!(reasons[1].contains("1 to 50 items"), "{}", reasons[1]);
    assert!(reasons[2].contains("items[0].quantity"), "{}", reasons[2]);
    assert!(reasons[3].contains("negative"), "{}", reasons[3]);
    assert!(reasons[4].starts_with("order_id_taken"), "another order is not dropped in silence: {}", reasons[4]);
    let whole: Value = serde_json::from_str(&letters[0].body).unwrap();
    assert_eq!(whole["detail"], sample, "the whole message is kept");
    assert_eq!(shop.all("/v1/orders").await.len(), 2, "the messages behind it were processed");
}

#[tokio::test]
async fn fault_one_page_of_a_scan_passed_off_as_the_whole_list() {
    let shop = TestShop::new().await;
    for n in 0..45 {
        let body =
            json!({"name": format!("p{n:02}"), "price": 1, "category": if n % 3 == 0 { "Third" } else { "Other" }});
        shop.post("/product", body).await.expect(200);
    }
    for (path, expected) in
        [("/product", 45), ("/product?category=Third", 15), ("/product?category=None", 0), ("/product?limit=9", 45)]
    {
        let (mut names, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let join = if path.contains('?') { '&' } else { '?' };
            let page = shop
                .get(&cursor.as_ref().map_or(path.to_owned(), |cursor| format!("{path}{join}cursor={cursor}")))
                .await
                .expect(200);
            names.extend(
                page["body"].as_array().unwrap().iter().map(|product| product["name"].as_str().unwrap().to_owned()),
            );
            match page.get("nextCursor") {
                Some(next) => cursor = Some(next.as_str().unwrap().to_owned()),
                None => break,
            }
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!((count, names.len()), (expected, expected), "{path}");
    }
}

#[tokio::test]
async fn fault_a_user_named_checkout_shadowing_a_route() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    let items = json!([{"productId": phone, "quantity": 1}]);
    shop.post("/basket", json!({"userName": "checkout", "items": items})).await.expect(200);
    assert_eq!(shop.get("/basket/checkout").await.expect(200)["body"]["userName"], "checkout");
    shop.get("/v1/baskets/checkout").await.expect(200);
    shop.post("/basket/checkout", json!({"userName": "checkout"})).await.expect(200);
    shop.deliver().await;
    assert_eq!(shop.get("/order/checkout").await.expect(200)["body"].as_array().unwrap().len(), 1);
    shop.post("/basket", json!({"userName": "checkout", "items": items})).await.expect(200);
    shop.delete("/basket/checkout").await.expect(200);
    assert_eq!(shop.get("/basket/checkout").await.code(), "basket_not_found");
}

#[tokio::test]
async fn twenty_checkouts_of_one_basket_make_one_order() {
    let shop = Arc::new(TestShop::new().await);
    let phone = shop.product("phone", 100, 50).await;
    shop.fill("ann", &phone, 1).await;
    let mut racers = JoinSet::new();
    for _ in 0..20 {
        let shop = Arc::clone(&shop);
        racers.spawn(async move { shop.post("/v1/baskets/ann/checkout", json!({})).await.status.as_u16() });
    }
    let mut statuses = racers.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses[0], 202);
    assert!(statuses[1..].iter().all(|status| *status == 404), "{statuses:?}");
    shop.deliver().await;
    assert_eq!(shop.all("/v1/orders").await.len(), 1);
    assert_eq!(shop.stock(&phone).await, (50, 1, 49));
}

#[tokio::test]
async fn thirty_buyers_of_seven_pieces() {
    let shop = Arc::new(TestShop::new().await);
    let phone = shop.product("phone", 100, 7).await;
    let running = shop.delivery.clone().start();
    let mut buyers = JoinSet::new();
    for n in 0..30 {
        let (shop, phone) = (Arc::clone(&shop), phone.clone());
        buyers.spawn(async move {
            let user = format!("buyer{n}");
            shop.fill(&user, &phone, 1).await;
            shop.checkout(&user).await
        });
    }
    buyers.join_all().await;
    let count = |orders: &[Value], status: &str| orders.iter().filter(|order| order["status"] == status).count();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    let orders = loop {
        let orders = shop.all("/v1/orders?limit=100").await;
        if orders.len() == 30 && count(&orders, "PLACED") == 0 {
            break orders;
        }
        assert!(tokio::time::Instant::now() < deadline, "the orders do not settle: {orders:?}");
        tokio::task::yield_now().await;
    };
    running.stop(std::time::Duration::from_secs(10)).await;
    shop.deliver_with_retries().await;
    assert_eq!((count(&orders, "CONFIRMED"), count(&orders, "REJECTED")), (7, 23));
    assert_eq!(shop.stock(&phone).await, (7, 7, 0));
    let (ledger, sums) = shop.ledger(&phone).await;
    assert_eq!((ledger.len(), sums), (8, (7, 0)), "one receipt, seven reservations, and they add up");
    let rejected = orders.iter().find(|order| order["status"] == "REJECTED").unwrap();
    assert_eq!(
        rejected["rejections"],
        json!([{"productId": phone, "reason": "outOfStock", "asked": 1, "available": 0}])
    );
}

#[tokio::test]
async fn an_order_takes_all_its_lines_or_none() {
    let shop = TestShop::new().await;
    let (plenty, scarce) = (shop.product("plenty", 100, 100).await, shop.product("scarce", 100, 1).await);
    shop.fill("ann", &plenty, 10).await;
    shop.fill("ann", &scarce, 2).await;
    let order = shop.checkout("ann").await;
    shop.deliver().await;
    assert_eq!(shop.status(&order).await, "REJECTED");
    assert_eq!(shop.stock(&plenty).await, (100, 0, 100));
    assert_eq!(shop.stock(&scarce).await, (1, 0, 1));
}

#[tokio::test]
async fn a_price_changed_since_it_was_put_in_is_told_with_both_totals_and_accepted_by_agreeing() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 10_000, 5).await;
    shop.fill("ann", &phone, 2).await;
    shop.patch(&format!("/v1/products/{phone}"), json!({"price": {"amount": 12_000, "currency": "USD"}}))
        .await
        .expect(200);
    let refused = shop.post("/v1/baskets/ann/checkout", json!({})).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "price_changed"));
    assert_eq!(refused.body["expectedTotal"]["amount"], 20_000);
    assert_eq!(refused.body["currentTotal"]["amount"], 24_000);
    shop.get("/v1/baskets/ann").await.expect(200);
    let agreed = json!({"expectedTotal": {"amount": 24_000, "currency": "USD"}});
    let accepted = shop.post("/v1/baskets/ann/checkout", agreed).await.expect(202);
    shop.deliver().await;
    let order = shop.get(accepted["statusUrl"].as_str().unwrap()).await.expect(200);
    assert_eq!((&order["status"], &order["lines"][0]["unitPrice"]["amount"]), (&json!("CONFIRMED"), &json!(12_000)));
}

#[tokio::test]
async fn an_order_bears_the_names_its_products_have_at_the_checkout() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    shop.fill("ann", &phone, 1).await;
    shop.patch(&format!("/v1/products/{phone}"), json!({"name": "phone, mended"})).await.expect(200);
    let order = shop.checkout("ann").await;
    shop.deliver().await;
    let order = shop.get(&format!("/v1/orders/{order}")).await.expect(200);
    assert_eq!((&order["status"], &order["lines"][0]["name"]), (&json!("CONFIRMED"), &json!("phone, mended")));
}

#[tokio::test]
async fn what_costs_nothing_can_be_ordered() {
    let shop = TestShop::new().await;
    let sample = shop.product("sample", 0, 5).await;
    let order = shop.order("ann", &sample, 2).await;
    assert_eq!(shop.status(&order).await, "CONFIRMED");
    assert_eq!(shop.stock(&sample).await, (5, 2, 3));
}

#[tokio::test]
async fn an_email_address_that_is_left_empty_is_none_and_one_that_is_wrong_is_refused() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    for email in ["", "  "] {
        shop.fill("ann", &phone, 1).await;
        shop.post("/v1/baskets/ann/checkout", json!({"contact": {"email": email}})).await.expect(202);
        shop.fill("ann", &phone, 1).await;
        shop.post("/basket/checkout", json!({"userName": "ann", "email": email})).await.expect(200);
    }
    shop.deliver().await;
    let orders = shop.all("/v1/orders?customer=ann").await;
    let nobody = json!({"firstName": "", "lastName": "", "address": ""});
    assert!(orders.len() == 4 && orders.iter().all(|order| order["contact"] == nobody), "{orders:?}");
    shop.fill("ann", &phone, 1).await;
    let wrong = shop.post("/v1/baskets/ann/checkout", json!({"contact": {"email": "nowhere"}})).await;
    assert_eq!((wrong.status.as_u16(), wrong.pointers()), (400, vec!["/contact/email"]));
}

#[tokio::test]
async fn a_checkout_of_nothing_or_of_what_is_gone_is_refused() {
    let shop = TestShop::new().await;
    assert_eq!(shop.post("/v1/baskets/ann/checkout", json!({})).await.code(), "basket_not_found");
    shop.put("/v1/baskets/ann", json!({"items": []})).await.expect(201);
    let empty = shop.post("/basket/checkout", json!({"userName": "ann"})).await;
    assert_eq!((empty.status.as_u16(), empty.code()), (409, "basket_empty"));
    let phone = shop.product("phone", 100, 5).await;
    shop.fill("ann", &phone, 1).await;
    shop.delete(&format!("/v1/products/{phone}")).await.expect(204);
    let gone = shop.post("/v1/baskets/ann/checkout", json!({})).await;
    assert_eq!((gone.status.as_u16(), gone.code(), &gone.body["productIds"]), (409, "product_gone", &json!([phone])));
    let missing = shop.post("/basket/checkout", json!({})).await;
    assert_eq!((missing.status.as_u16(), missing.pointers()), (400, vec!["/userName"]));
    shop.deliver().await;
}

#[tokio::test]
async fn an_idempotency_key_checks_out_once_and_replays_the_answer() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    let send = async |key: &str, body: &str| {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        shop.send(Method::POST, "/v1/baskets/ann/checkout", &headers, body.to_owned()).await
    };
    shop.fill("ann", &phone, 1).await;
    let first = send("k1", "{}").await;
    let second = send("k1", "{}").await;
    assert_eq!((first.status.as_u16(), &first.body), (202, &second.body), "the first answer is replayed");
    assert_eq!(second.header("location"), first.header("location"));
    shop.fill("ann", &phone, 1).await;
    let reused = send("k1", r#"{"contact":{}}"#).await;
    assert_eq!((reused.status.as_u16(), reused.code()), (422, "idempotency_key_reused"));
    assert_eq!(send("not a key", "{}").await.code(), "invalid_idempotency_key");
    shop.clock.advance(std::time::Duration::from_secs(25 * 3600));
    let after_a_day = send("k1", "{}").await;
    assert_eq!(after_a_day.status, 202);
    assert_ne!(after_a_day.body["orderId"], first.body["orderId"], "after a day the key is free again");
    shop.deliver().await;
}

#[tokio::test]
async fn a_lost_answer_is_found_again_by_its_idempotency_key() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    shop.fill("ann", &phone, 1).await;
    shop.faults.next([Fault::LoseAnswer]);
    let headers = [("content-type", "application/json"), ("idempotency-key", "k")];
    let lost = shop.send(Method::POST, "/v1/baskets/ann/checkout", &headers, "{}").await;
    assert_eq!(lost.status, 503);
    let found = shop.send(Method::POST, "/v1/baskets/ann/checkout", &headers, "{}").await;
    assert_eq!(found.status, 202);
    shop.deliver().await;
    assert_eq!(shop.status(found.body["orderId"].as_str().unwrap()).await, "CONFIRMED");
    assert_eq!(shop.all("/v1/orders").await.len(), 1);
}
