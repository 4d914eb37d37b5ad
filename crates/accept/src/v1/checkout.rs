//! `/v1/baskets/{user}/checkout`.

use serde_json::{Value, json};

use crate::Check;
use crate::client::Answer;
use crate::probe::{Outcome, Probe, each, ensure, holds, list, same, text, usd};

pub(crate) const CHECKS: &[Check] = &[
    ("v1 checkout: 202 and a status URL, where the order becomes CONFIRMED", accepted),
    ("v1 checkout: an order that is short of stock is REJECTED, and takes nothing", short_of_stock),
    ("v1 checkout: a changed price is told with both totals", price_changed),
    ("v1 checkout: a product that has left the catalogue is told", product_gone),
    ("v1 checkout: a missing basket is 404, an empty one 409, a second time 404", nothing_to_buy),
    ("v1 checkout: under one Idempotency-Key once", idempotency),
];

fn checkout(probe: &Probe, user: &str, body: &Value) -> Outcome<Answer> {
    probe.post(&format!("/v1/baskets/{user}/checkout"), body)
}

fn accepted(probe: &Probe) -> Outcome {
    let (user, product) = (probe.name("ann"), probe.product(1_250, 10)?);
    probe.fill(&user, &product, 2)?;
    let contact =
        json!({"firstName": "Ann", "lastName": "Lee", "email": "ann@example.com", "address": "17 Nightingale Lane"});
    let body = json!({"expectedTotal": usd(2_500), "contact": contact, "payment": {"method": 2, "cardNumber": "4929 1234 5678 1234"}});
    let answer = checkout(probe, &user, &body)?;
    let url = answer.must_have("location")?;
    let answer = answer.expect(202)?;
    let order = text(&answer, "orderId")?;
    let expected = json!({"orderId": order, "status": "PLACED", "total": usd(2_500), "statusUrl": url});
    holds("accepted", &answer, &expected)?;
    // The order is known from the first moment, though it may still be on its way.
    let line = json!({"productId": product, "name": probe.name("product"), "color": "", "quantity": 2, "unitPrice": usd(1_250)});
    let expected = json!({"id": order, "customer": user, "lines": [line], "itemCount": 2, "total": usd(2_500),
        "contact": contact, "paymentMethod": 2, "cardLast4": "1234"});
    holds("at once", &probe.get(&url)?.expect(200)?, &expected)?;
    probe.get(&format!("/v1/baskets/{user}"))?.problem(404, "basket_not_found")?;
    let order = probe.settles(&order, "CONFIRMED")?;
    holds("the order", &order, &expected)?;
    same("what comes next", &order["nextStatuses"], &json!(["PACKED", "CANCELLED"]))?;
    probe.stock_becomes(&product, 10, 2, 8)
}

fn short_of_stock(probe: &Probe) -> Outcome {
    let (user, plenty, scarce) = (probe.name("ann"), probe.product(100, 10)?, probe.product(100, 1)?);
    probe.fill(&user, &plenty, 2)?;
    probe.fill(&user, &scarce, 3)?;
    let order = probe.settles(&probe.checkout(&user)?, "REJECTED")?;
    let why = json!([{"productId": scarce, "reason": "outOfStock", "asked": 3, "available": 1}]);
    holds("why", &order["rejections"], &why)?;
    same("it is over", &order["nextStatuses"], &json!([]))?;
    for (product, stock) in [(plenty, 10), (scarce, 1)] {
        probe.stock_becomes(&product, stock, 0, stock)?;
        probe.ledger_becomes(&product, &["received"], stock, stock)?;
    }
    Ok(())
}

fn price_changed(probe: &Probe) -> Outcome {
    let (user, product) = (probe.name("ann"), probe.product(1_000, 10)?);
    probe.fill(&user, &product, 2)?;
    probe.patch(&format!("/v1/products/{product}"), &json!({"price": usd(1_200)}))?.expect(200)?;
    let told = checkout(probe, &user, &json!({}))?.problem(409, "price_changed")?;
    holds("both totals", &told, &json!({"expectedTotal": usd(2_000), "currentTotal": usd(2_400)}))?;
    checkout(probe, &user, &json!({"expectedTotal": usd(2_399)}))?.problem(409, "price_changed")?;
    same("the basket is still there", &probe.get(&format!("/v1/baskets/{user}"))?.expect(200)?["total"], &usd(2_000))?;
    let agreed = checkout(probe, &user, &json!({"expectedTotal": usd(2_400)}))?.expect(202)?;
    let order = probe.settles(&text(&agreed, "orderId")?, "CONFIRMED")?;
    same("what is paid", &order["total"], &usd(2_400))
}

fn product_gone(probe: &Probe) -> Outcome {
    let (user, product) = (probe.name("ann"), probe.product(1_000, 10)?);
    probe.fill(&user, &product, 1)?;
    let deleted = probe.delete(&format!("/v1/products/{product}"))?;
    ensure!(deleted.status == 204, "deleted: {} {}", deleted.status, deleted.text);
    let told = checkout(probe, &user, &json!({}))?.problem(409, "product_gone")?;
    same("which", &told["productIds"], &json!([product]))
}

fn nothing_to_buy(probe: &Probe) -> Outcome {
    let (user, product) = (probe.name("ann"), probe.product(100, 10)?);
    checkout(probe, &user, &json!({}))?.problem(404, "basket_not_found")?;
    probe.put(&format!("/v1/baskets/{user}"), &json!({"items": []}))?.expect(201)?;
    checkout(probe, &user, &json!({}))?.problem(409, "basket_empty")?;
    let order = probe.order(&user, &product, 1)?;
    checkout(probe, &user, &json!({}))?.problem(404, "basket_not_found")?;
    probe.settles(&order, "CONFIRMED")?;
    let orders = probe.get(&format!("/v1/orders?customer={user}"))?.expect(200)?;
    same("one order", &json!(each(list(&orders["items"])?, "id")), &json!([order]))
}

fn idempotency(probe: &Probe) -> Outcome {
    let (user, product, key) = (probe.name("ann"), probe.product(100, 10)?, probe.name("key"));
    probe.fill(&user, &product, 1)?;
    let path = format!("/v1/baskets/{user}/checkout");
    let send = |body: Value| probe.send("POST", &path, &[("idempotency-key", &key)], &body);
    let first = send(json!({}))?.expect(202)?;
    for _ in 0..2 {
        same("replayed", &send(json!({}))?.expect(202)?, &first)?;
    }
    send(json!({"payment": {"method": 1}}))?.problem(422, "idempotency_key_reused")?;
    probe.settles(&text(&first, "orderId")?, "CONFIRMED")?;
    same("replayed later, as it was", &send(json!({}))?.expect(202)?, &first)?;
    let orders = probe.get(&format!("/v1/orders?customer={user}"))?.expect(200)?;
    same("one order", &json!(each(list(&orders["items"])?, "id")), &json!([first["orderId"]]))
}
