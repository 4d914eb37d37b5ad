//! Design 1: `/basket/checkout` and `/order`.

use serde_json::{Value, json};

use super::{are_pages, shop, shop_page};
use crate::Check;
use crate::probe::{Outcome, Probe, each, ensure, holds, list, same, text};

pub(crate) const CHECKS: &[Check] = &[
    ("1 POST /basket/checkout", accepted),
    ("1 POST /basket/checkout: totalPrice is ignored when 0, else it must match", total_price),
    ("1 POST /basket/checkout: a missing basket is 404, an empty one 409", nothing_to_buy),
    ("1 POST /basket/checkout: a card's number is shown nowhere", card),
    ("1 GET /order: newest first", newest_first),
    ("1 GET /order/{userName}: all orders of that user", of_user),
    ("1 GET /order/{userName}?orderDate=", by_date),
];

const CARD: &str = "5554443322221111";

/// A basket of three pieces for 12.50 each.
fn fill(probe: &Probe, user: &str) -> Outcome<String> {
    let product = probe.product(1_250, 10)?;
    let items = json!([{"quantity": 3, "color": "Red", "productId": product}]);
    shop(probe.post("/basket", &json!({"userName": user, "items": items}))?, "POST")?;
    Ok(product)
}

fn request(user: &str) -> Value {
    json!({"userName": user, "totalPrice": 0, "firstName": "mehmet", "lastName": "ozkaya", "email": "ezozkme@gmail.com",
        "address": "istanbul", "cardInfo": CARD, "paymentMethod": 1})
}

/// A checkout whose order is confirmed: the order's id.
fn bought(probe: &Probe, user: &str) -> Outcome<String> {
    fill(probe, user)?;
    let id = text(&shop(probe.post("/basket/checkout", &request(user))?, "POST")?, "orderId")?;
    probe.settles(&id, "CONFIRMED")?;
    Ok(id)
}

fn accepted(probe: &Probe) -> Outcome {
    let user = probe.name("swn");
    let product = fill(probe, &user)?;
    let accepted = shop(probe.post("/basket/checkout", &request(&user))?, "POST")?;
    let id = text(&accepted, "orderId")?;
    let expected = json!({"orderId": id, "status": "PLACED", "totalPrice": 37.5});
    holds("the total counts the quantity", &accepted, &expected)?;
    probe.get(&format!("/basket/{user}"))?.problem(404, "basket_not_found")?;
    probe.settles(&id, "CONFIRMED")?;
    let order = shop(probe.get(&format!("/order/{user}"))?, "GET")?;
    let item = json!({"quantity": 3, "color": "Red", "price": 12.5, "productId": product, "productName": probe.name("product")});
    let expected = json!([{"userName": user, "totalPrice": 37.5, "firstName": "mehmet", "lastName": "ozkaya",
        "email": "ezozkme@gmail.com", "address": "istanbul", "paymentMethod": 1, "items": [item], "orderId": id,
        "status": "CONFIRMED", "cardLast4": "1111"}]);
    holds("the order", &order, &expected)?;
    text(&order[0], "orderDate")?;
    same("stock is lower", &shop(probe.get(&format!("/product/{product}"))?, "GET")?["stock"], &json!(7))?;
    let plain = probe.name("plain");
    fill(probe, &plain)?;
    shop(probe.post("/basket/checkout", &json!({"userName": plain}))?, "POST")?;
    probe.post("/basket/checkout", &json!({"firstName": "x"}))?.names(&["/userName"])
}

fn total_price(probe: &Probe) -> Outcome {
    let user = probe.name("swn");
    let product = fill(probe, &user)?;
    let checkout = |total: Value| probe.post("/basket/checkout", &json!({"userName": user, "totalPrice": total}));
    let told = checkout(json!(37.4))?.problem(409, "price_changed")?;
    holds("both totals", &told, &json!({"expectedTotal": {"amount": 3_740}, "currentTotal": {"amount": 3_750}}))?;
    shop(probe.put(&format!("/product/{product}"), &json!({"price": 13}))?, "PUT")?;
    checkout(json!(0))?.problem(409, "price_changed")?;
    checkout(json!(37.5))?.problem(409, "price_changed")?;
    let accepted = shop(checkout(json!(39))?, "POST")?;
    holds("the new total", &accepted, &json!({"totalPrice": 39}))?;
    probe.settles(&text(&accepted, "orderId")?, "CONFIRMED").map(drop)
}

fn nothing_to_buy(probe: &Probe) -> Outcome {
    let user = probe.name("swn");
    let checkout = || probe.post("/basket/checkout", &request(&user));
    checkout()?.problem(404, "basket_not_found")?;
    shop(probe.post("/basket", &json!({"userName": user, "items": []}))?, "POST")?;
    checkout()?.problem(409, "basket_empty")?;
    let id = bought(probe, &user)?;
    checkout()?.problem(404, "basket_not_found")?;
    let orders = shop(probe.get(&format!("/order/{user}"))?, "GET")?;
    same("one order", &json!(each(list(&orders)?, "orderId")), &json!([id]))
}

fn card(probe: &Probe) -> Outcome {
    let user = probe.name("swn");
    let id = bought(probe, &user)?;
    let (all, order, timeline) =
        (format!("/order/{user}"), format!("/v1/orders/{id}"), format!("/v1/orders/{id}/timeline"));
    for path in [all, order, timeline, "/order".to_owned(), format!("/v1/orders?customer={user}")] {
        let shown = probe.get(&path)?;
        ensure!(!shown.text.contains(&CARD[..12]), "{path} shows a card's number");
        shown.expect(200)?;
    }
    Ok(())
}

/// So many orders of a new customer, newest first: their name and the ids. Agreed elsewhere, so that none waits for a queue.
fn placed(probe: &Probe, count: usize) -> Outcome<(String, Vec<Value>)> {
    let (user, mut ids) = (probe.customer("swn")?, Vec::new());
    for amount in 1..=count {
        let body = json!({"amount": amount, "numItems": 1, "username": user});
        ids.insert(0, probe.post("/orders", &body)?.expect(201)?["data"]["OrderId"].clone());
    }
    Ok((user, ids))
}

fn newest_first(probe: &Probe) -> Outcome {
    let (user, placed) = placed(probe, 2)?;
    let (orders, _) = shop_page(probe.get("/order?limit=100")?, "/order?limit=100")?;
    let ours = list(&orders)?.iter().filter(|order| order["userName"] == user.as_str()).cloned().collect::<Vec<_>>();
    same("newest first", &json!(each(&ours, "orderId")), &json!(placed))?;
    let (one, next) = shop_page(probe.get("/order?limit=1")?, "/order?limit=1")?;
    let (other, _) = shop_page(probe.get(&next.ok_or("no nextCursor after one of two orders")?)?, "")?;
    are_pages(&one, &other, 1, "orderId")
}

/// More than a page: all means all.
fn of_user(probe: &Probe) -> Outcome {
    let nobody = format!("/order/{}", probe.name("nobody"));
    same("orders of nobody", &shop(probe.get(&nobody)?, "GET")?, &json!([]))?;
    let (user, placed) = placed(probe, 21)?;
    let path = format!("/order/{user}");
    let (all, next) = shop_page(probe.get(&path)?, &path)?;
    same("all of them", &json!(each(list(&all)?, "orderId")), &json!(placed))?;
    ensure!(next.is_none(), "there are no more than all: {next:?}");
    let limited = format!("{path}?limit=20");
    let (page, next) = shop_page(probe.get(&limited)?, &limited)?;
    same("a page of twenty", &json!(each(list(&page)?, "orderId")), &json!(placed[..20]))?;
    let (last, _) = shop_page(probe.get(&next.ok_or("no nextCursor after twenty of 21")?)?, &limited)?;
    same("the last one", &json!(each(list(&last)?, "orderId")), &json!(placed[20..]))
}

fn by_date(probe: &Probe) -> Outcome {
    let (user, placed) = placed(probe, 2)?;
    let path = format!("/order/{user}");
    let orders = shop(probe.get(&path)?, "GET")?;
    same("both", &json!(each(list(&orders)?, "orderId")), &json!(placed))?;
    for order in list(&orders)? {
        let date = text(order, "orderDate")?;
        let found = shop(probe.get(&format!("{path}?orderDate={date}"))?, "GET")?;
        same("the one of that time", &json!(each(list(&found)?, "orderId")), &json!([order["orderId"]]))?;
    }
    let none = shop(probe.get(&format!("{path}?orderDate=2001-01-01T00:00:00Z"))?, "GET")?;
    same("none of another time", &none, &json!([]))?;
    probe.get(&format!("{path}?orderDate=yesterday"))?.names(&["?orderDate"])
}
