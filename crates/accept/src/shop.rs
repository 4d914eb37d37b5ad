//! Systems 1 and 4: products with stock, baskets, checkout, orders; and the rules that hold everywhere.

use serde_json::{Value, json};

use crate::Check;
use crate::probe::{Outcome, Probe, ensure, same, text};

pub(crate) const CHECKS: &[Check] = &[
    ("everywhere: unknown path 404, wrong method 405 with Allow, with and without a trailing slash", everywhere),
    ("1 POST, GET, PUT, DELETE /product", product),
    ("1 GET /product in pages, by category", product_pages),
    ("1 /basket: prices and names come from the catalogue", basket),
    ("1 POST /basket/checkout and GET /order", checkout),
    ("1 checkout: a second one of the same basket is refused", second_checkout),
    ("1 checkout: a changed price is told with both totals", price_changed),
    ("1 event: aws events put-events, good and malformed", put_events),
    ("4 stock: an order takes it, shipping takes it out, cancelling gives it back", stock),
    ("4 stock: of more buyers than pieces, as many as pieces are confirmed", scarce),
    ("v1 Idempotency-Key, If-Match, problems with pointers", preconditions),
    ("v1 orders: filters, timeline, transitions", orders),
];

fn everywhere(probe: &Probe) -> Outcome {
    probe.get("/no/such/path")?.problem(404, "route_not_found")?;
    let wrong = probe.delete("/v1/products")?;
    ensure!(wrong.header("allow").is_some_and(|allow| allow.contains("GET")), "no Allow: {:?}", wrong.headers);
    wrong.problem(405, "method_not_allowed")?;
    probe.get("/product/")?.expect(200)?;
    probe.get("/v1/products/")?.expect(200)?;
    let body = probe.client.send("POST", "/v1/products", &[], Some("{"))?;
    body.problem(400, "malformed_json")?;
    probe.get("/health")?.expect(200).map(drop)
}

fn envelope(method: &str, body: &Value) -> Value {
    json!({"message": format!("Successfully finished operation: \"{method}\""), "body": body})
}

fn product(probe: &Probe) -> Outcome {
    let category = probe.name("Phone");
    let new = json!({"name": "IPhone X", "description": "A phone", "imageFile": "p.png", "category": category, "price": 950.4, "stock": 7});
    let created = probe.post("/product", &new)?.expect(200)?;
    let id = text(&created["body"], "id")?;
    let mut product = new.clone();
    product["id"] = json!(id);
    same("created", &created, &envelope("POST", &product))?;
    same("by id", &probe.get(&format!("/product/{id}"))?.expect(200)?, &envelope("GET", &product))?;
    same(
        "by category",
        &probe.get(&format!("/product?category={category}"))?.expect(200)?,
        &envelope("GET", &json!([product])),
    )?;
    let both = probe.get(&format!("/product/{id}?category={category}"))?.expect(200)?;
    same("by id and category", &both, &envelope("GET", &json!([product])))?;
    let other = probe.get(&format!("/product/{id}?category=other"))?.expect(200)?;
    same("by id and another category", &other, &envelope("GET", &json!([])))?;
    product["price"] = json!(78.89);
    same(
        "changed",
        &probe.put(&format!("/product/{id}"), &json!({"price": 78.89}))?.expect(200)?,
        &envelope("PUT", &product),
    )?;
    probe.put(&format!("/product/{id}"), &json!({}))?.problem(400, "invalid_request")?;
    same("deleted", &probe.delete(&format!("/product/{id}"))?.expect(200)?, &envelope("DELETE", &json!({})))?;
    probe.get(&format!("/product/{id}"))?.problem(404, "product_not_found")?;
    probe.put(&format!("/product/{id}"), &json!({"price": 1}))?.problem(404, "product_not_found")?;
    probe.delete(&format!("/product/{id}"))?.problem(404, "product_not_found").map(drop)
}

fn product_pages(probe: &Probe) -> Outcome {
    let category = probe.name("Paged");
    for n in 0..7 {
        probe.post("/product", &json!({"name": format!("p{n}"), "price": 1, "category": category}))?.expect(200)?;
    }
    let (mut names, mut path) = (Vec::new(), format!("/product?category={category}&limit=3"));
    loop {
        let page = probe.get(&path)?.expect(200)?;
        let products = page["body"].as_array().ok_or("no array")?;
        ensure!(products.len() <= 3, "a page of {}", products.len());
        names.extend(products.iter().map(|product| product["name"].to_string()));
        match page["nextCursor"].as_str() {
            Some(cursor) => path = format!("/product?category={category}&limit=3&cursor={cursor}"),
            None => break,
        }
    }
    ensure!(names.len() == 7, "7 products on all pages, not {names:?}");
    Ok(())
}

fn basket(probe: &Probe) -> Outcome {
    let (user, product) = (probe.name("basket"), probe.product(1_250, 10)?);
    probe.get(&format!("/basket/{user}"))?.problem(404, "basket_not_found")?;
    let items = json!([{"quantity": 2, "color": "Red", "price": 0.01, "productId": product, "productName": "cheap"}]);
    let put = probe.post("/basket", &json!({"userName": user, "items": items}))?.expect(200)?;
    let line = json!({"quantity": 2, "color": "Red", "price": 12.5, "productId": product, "productName": probe.name("product")});
    let expected = json!({"userName": user, "items": [line]});
    same("the basket", &put["body"], &expected)?;
    same("read again", &probe.get(&format!("/basket/{user}"))?.expect(200)?, &envelope("GET", &expected))?;
    let unknown = json!([{"quantity": 1, "productId": "00000000-0000-0000-0000-000000000000"}]);
    probe.post("/basket", &json!({"userName": user, "items": unknown}))?.problem(422, "product_unknown")?;
    ensure!(probe.get("/basket")?.expect(200)?["body"].is_array(), "GET /basket is no array");
    same("deleted", &probe.delete(&format!("/basket/{user}"))?.expect(200)?, &envelope("DELETE", &json!({})))?;
    probe.get(&format!("/basket/{user}"))?.problem(404, "basket_not_found").map(drop)
}

fn checkout(probe: &Probe) -> Outcome {
    let (user, product) = (probe.name("buyer"), probe.product(1_250, 10)?);
    let items = json!([{"quantity": 3, "color": "Red", "productId": product}]);
    probe.post("/basket", &json!({"userName": user, "items": items}))?.expect(200)?;
    let request = json!({"userName": user, "totalPrice": 0, "firstName": "mehmet", "lastName": "ozkaya", "email": "m@example.com",
        "address": "istanbul", "cardInfo": "5554443322221111", "paymentMethod": 1});
    let accepted = probe.post("/basket/checkout", &request)?.expect(200)?;
    same("the total counts the quantity", &accepted["body"]["totalPrice"], &json!(37.5))?;
    let id = text(&accepted["body"], "orderId")?;
    probe.settles(&id, "CONFIRMED")?;
    let listed = probe.get(&format!("/order/{user}"))?;
    ensure!(!listed.text.contains("5554443322221111"), "the card's number is shown");
    let order = listed.expect(200)?["body"][0].clone();
    for (name, value) in [
        ("userName", json!(user)),
        ("totalPrice", json!(37.5)),
        ("firstName", json!("mehmet")),
        ("cardLast4", json!("1111")),
        ("paymentMethod", json!(1)),
        ("status", json!("CONFIRMED")),
    ] {
        same(name, &order[name], &value)?;
    }
    let date = text(&order, "orderDate")?;
    let found = probe.get(&format!("/order/{user}?orderDate={date}"))?.expect(200)?;
    same("by date", &found["body"], &json!([order]))?;
    ensure!(probe.get("/order")?.expect(200)?["body"].is_array(), "GET /order is no array");
    same("stock is lower", &probe.get(&format!("/product/{product}"))?.expect(200)?["body"]["stock"], &json!(7))
}

fn second_checkout(probe: &Probe) -> Outcome {
    let (user, product) = (probe.name("twice"), probe.product(100, 10)?);
    let first = probe.order(&user, &product, 1)?;
    probe.post("/basket/checkout", &json!({"userName": user}))?.problem(404, "basket_not_found")?;
    probe.settles(&first, "CONFIRMED")?;
    let orders = probe.get(&format!("/order/{user}"))?.expect(200)?;
    ensure!(orders["body"].as_array().is_some_and(|orders| orders.len() == 1), "one order: {orders}");
    Ok(())
}

fn price_changed(probe: &Probe) -> Outcome {
    let (user, product) = (probe.name("price"), probe.product(1_000, 10)?);
    probe.post(&format!("/v1/baskets/{user}/items"), &json!({"productId": product, "quantity": 2}))?.expect(200)?;
    probe.put(&format!("/product/{product}"), &json!({"price": 12}))?.expect(200)?;
    let told = probe.post(&format!("/v1/baskets/{user}/checkout"), &json!({}))?.problem(409, "price_changed")?;
    same("what was agreed", &told["expectedTotal"]["amount"], &json!(2_000))?;
    same("what it is", &told["currentTotal"]["amount"], &json!(2_400))?;
    probe.post("/basket/checkout", &json!({"userName": user, "totalPrice": 1}))?.problem(409, "price_changed")?;
    let accepted = probe.post("/basket/checkout", &json!({"userName": user, "totalPrice": 24}))?.expect(200)?;
    probe.settles(&text(&accepted["body"], "orderId")?, "CONFIRMED").map(drop)
}

fn put_event(probe: &Probe, detail: &Value) -> Outcome {
    let entry = json!({"Source": "com.swn.basket.checkoutbasket", "DetailType": "CheckoutBasket", "EventBusName": "SwnEventBus", "Detail": detail.to_string()});
    let headers = [("x-amz-target", "AWSEvents.PutEvents"), ("content-type", "application/x-amz-json-1.1")];
    let body = json!({"Entries": [entry]}).to_string();
    let answer = probe.client.send("POST", "/", &headers, Some(&body))?.expect(200)?;
    same("failed entries", &answer["FailedEntryCount"], &json!(0))
}

fn put_events(probe: &Probe) -> Outcome {
    let (user, product) = (probe.name("event"), probe.product(100, 10)?);
    let item = json!({"productId": product, "productName": "p", "quantity": 1, "price": 1});
    put_event(probe, &json!({"userName": user, "items": [item], "cardInfo": "5554443322221111"}))?;
    let order = probe.wait("the order of the event", || {
        let orders = probe.get(&format!("/order/{user}"))?;
        ensure!(!orders.text.contains("555444332222"), "the card's number is shown");
        Ok(orders.expect(200)?["body"].get(0).cloned().filter(|order| order["status"] == "CONFIRMED"))
    })?;
    same("the card's last digits", &order["cardLast4"], &json!("1111"))?;
    let marker = probe.name("phone1");
    put_event(probe, &json!({"username": "swn", "basket": marker}))?;
    let letter = probe.wait("the malformed event among the dead letters", || {
        let page = probe.get("/v1/queues/OrderQueue/dead-letters?limit=100")?.expect(200)?;
        let letters = page["items"].as_array().cloned().unwrap_or_default();
        Ok(letters.into_iter().find(|letter| letter.to_string().contains(&marker)))
    })?;
    ensure!(letter["reason"].as_str().is_some_and(|reason| reason.contains("userName")), "no reason: {letter}");
    let discard = json!({"ids": [letter["id"]], "reason": "the acceptance suite put it there"});
    let discarded = probe.post("/v1/queues/OrderQueue/dead-letters/discard", &discard)?.expect(200)?;
    same("discarded", &discarded["count"], &json!(1))
}

fn stock_of(probe: &Probe, product: &str) -> Outcome<(i64, i64, i64)> {
    let stock = probe.get(&format!("/v1/products/{product}/stock"))?.expect(200)?;
    let number = |name: &str| stock[name].as_i64().ok_or_else(|| format!("no number {name} in {stock}"));
    Ok((number("onHand")?, number("reserved")?, number("available")?))
}

fn wait_for_stock(probe: &Probe, product: &str, expected: (i64, i64, i64)) -> Outcome {
    probe.wait(&format!("stock {expected:?}"), || Ok((stock_of(probe, product)? == expected).then_some(())))
}

fn stock(probe: &Probe) -> Outcome {
    let (user, product) = (probe.name("stock"), probe.product(100, 10)?);
    let (shipped, cancelled) = (probe.order(&user, &product, 3)?, probe.order(&user, &product, 2)?);
    probe.settles(&shipped, "CONFIRMED")?;
    probe.settles(&cancelled, "CONFIRMED")?;
    wait_for_stock(probe, &product, (10, 5, 5))?;
    for status in ["PACKED", "SHIPPED"] {
        probe.post(&format!("/v1/orders/{shipped}/transitions"), &json!({"to": status}))?.expect(200)?;
    }
    for _ in 0..2 {
        probe.post(&format!("/v1/orders/{cancelled}/transitions"), &json!({"to": "CANCELLED"}))?.expect(200)?;
    }
    wait_for_stock(probe, &product, (7, 0, 7))?;
    probe.wait("a ledger that adds up", || {
        let page = probe.get(&format!("/v1/products/{product}/stock/movements?limit=100"))?.expect(200)?;
        let items = page["items"].as_array().cloned().unwrap_or_default();
        let sum = |name: &str| items.iter().filter_map(|item| item[name].as_i64()).sum::<i64>();
        Ok((items.len() == 5 && (sum("onHand"), sum("available")) == (7, 7)).then_some(()))
    })
}

fn scarce(probe: &Probe) -> Outcome {
    let product = probe.product(100, 3)?;
    let orders =
        (0..8).map(|n| probe.order(&probe.name(&format!("scarce{n}")), &product, 1)).collect::<Outcome<Vec<_>>>()?;
    let mut confirmed = 0;
    for order in &orders {
        let settled = probe.wait("a decision", || {
            let order = probe.get(&format!("/v1/orders/{order}"))?.expect(200)?;
            Ok((order["status"] != "PLACED").then_some(order))
        })?;
        confirmed += usize::from(settled["status"] == "CONFIRMED");
    }
    ensure!(confirmed == 3, "3 of 8 are confirmed, not {confirmed}");
    wait_for_stock(probe, &product, (3, 3, 0))
}

fn preconditions(probe: &Probe) -> Outcome {
    let body = json!({"name": probe.name("once"), "price": {"amount": 100, "currency": "USD"}}).to_string();
    let key = probe.name("key");
    let headers = [("idempotency-key", key.as_str())];
    let first = probe.client.send("POST", "/v1/products", &headers, Some(&body))?;
    let (location, etag) = (first.header("location").map(str::to_owned), first.header("etag").map(str::to_owned));
    let (location, etag) = location.zip(etag).ok_or("no Location or ETag")?;
    let first = first.expect(201)?;
    same("replayed", &probe.client.send("POST", "/v1/products", &headers, Some(&body))?.expect(201)?, &first)?;
    let other = body.replace("100", "200");
    probe.client.send("POST", "/v1/products", &headers, Some(&other))?.problem(422, "idempotency_key_reused")?;
    let change = |etag: &str, name: &str| {
        probe.client.send("PATCH", &location, &[("if-match", etag)], Some(&json!({"name": name}).to_string()))
    };
    change(&etag, "first")?.expect(200)?;
    change(&etag, "second")?.problem(412, "precondition_failed")?;
    same("the first change stays", &probe.get(&location)?.expect(200)?["name"], &json!("first"))?;
    let bad = json!({"name": "", "price": {"amount": "x", "currency": "USD"}, "colour": 1});
    let problem = probe.post("/v1/products", &bad)?.problem(400, "invalid_request")?;
    let named = problem.to_string();
    ensure!(
        ["/name", "/price/amount", "/colour"].iter().all(|pointer| named.contains(pointer)),
        "every bad field: {named}"
    );
    Ok(())
}

fn orders(probe: &Probe) -> Outcome {
    let (user, product) = (probe.name("orders"), probe.product(100, 10)?);
    let order = probe.order(&user, &product, 1)?;
    probe.settles(&order, "CONFIRMED")?;
    let forbidden = json!({"to": "DELIVERED"});
    probe.post(&format!("/v1/orders/{order}/transitions"), &forbidden)?.problem(409, "transition_forbidden")?;
    let listed = probe.get(&format!("/v1/orders?customer={user}&status=CONFIRMED"))?.expect(200)?;
    same("filtered", &listed["items"][0]["id"], &json!(order))?;
    let timeline = probe.get(&format!("/v1/orders/{order}/timeline"))?.expect(200)?.to_string();
    ensure!(
        ["CheckoutBasket", "OrderPlaced", "StockReserved", "OrderConfirmed"]
            .iter()
            .all(|event| timeline.contains(event)),
        "{timeline}"
    );
    probe.get("/v1/orders/no-such-order")?.problem(404, "order_not_found").map(drop)
}
