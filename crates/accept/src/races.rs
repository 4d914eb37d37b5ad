//! Many at once: nothing is sold twice, no update is lost, nothing is done twice.

use serde_json::{Value, json};

use crate::Check;
use crate::probe::{Outcome, Probe, ensure, list, same, text, usd};

pub(crate) const CHECKS: &[Check] = &[
    ("race: ten checkouts of one basket make one order", one_basket),
    ("race: of ten buyers of three pieces, three are confirmed", scarce),
    ("race: ten times the same product into one basket is ten pieces", one_line),
    ("race: ten requests under one Idempotency-Key make one product", one_key),
    ("race: of ten customers with one e-mail address, one is added", one_address),
    ("race: ten cancellations give the stock back once", one_cancellation),
];

/// How many at once.
const RACERS: usize = 10;

fn one_basket(probe: &Probe) -> Outcome {
    let (user, product) = (probe.name("one"), probe.product(100, 100)?);
    probe.fill(&user, &product, 1)?;
    let path = format!("/v1/baskets/{user}/checkout");
    let answers = probe.at_once(RACERS, |_| probe.post(&path, &json!({})))?;
    let (accepted, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 202);
    ensure!(accepted.len() == 1, "{} of {RACERS} checkouts were accepted", accepted.len());
    for answer in refused {
        answer.problem(404, "basket_not_found")?;
    }
    for answer in accepted {
        probe.settles(&text(&answer.expect(202)?, "orderId")?, "CONFIRMED")?;
    }
    let orders = probe.get(&format!("/v1/orders?customer={user}"))?.expect(200)?;
    ensure!(list(&orders["items"])?.len() == 1, "one order: {orders}");
    probe.stock_becomes(&product, 100, 1, 99)
}

fn scarce(probe: &Probe) -> Outcome {
    let product = probe.product(100, 3)?;
    let users: Vec<String> = (0..RACERS).map(|n| probe.name(&format!("scarce{n}"))).collect();
    for user in &users {
        probe.fill(user, &product, 1)?;
    }
    let orders = probe.at_once(RACERS, |n| probe.checkout(&users[n]))?;
    let mut rejected = 0;
    for order in &orders {
        let decided = probe.decided(order)?;
        if decided["status"] == "REJECTED" {
            rejected += 1;
            same("why", &decided["rejections"][0]["reason"], &json!("outOfStock"))?;
        }
    }
    ensure!(rejected == RACERS - 3, "{rejected} of {RACERS} were rejected");
    probe.stock_becomes(&product, 3, 3, 0)?;
    probe.ledger_becomes(&product, &["received", "reserved", "reserved", "reserved"], 3, 0)
}

fn one_line(probe: &Probe) -> Outcome {
    let (user, product) = (probe.name("line"), probe.product(100, 100)?);
    probe.at_once(RACERS, |_| probe.fill(&user, &product, 1))?;
    let basket = probe.get(&format!("/v1/baskets/{user}"))?.expect(200)?;
    same("the total", &basket["total"], &usd(100 * RACERS as i64))?;
    same("the quantity", &basket["items"][0]["quantity"], &json!(RACERS))
}

fn one_key(probe: &Probe) -> Outcome {
    let (key, category) = (probe.name("key"), probe.name("once"));
    let body = json!({"name": "once", "category": category, "price": usd(100)});
    let headers = [("idempotency-key", key.as_str())];
    for answer in probe.at_once(RACERS, |_| probe.send("POST", "/v1/products", &headers, &body))? {
        // Those that came while the first was at work are told so, the others get its answer.
        if answer.status == 409 {
            answer.problem(409, "idempotency_key_in_use")?;
        } else {
            answer.expect(201)?;
        }
    }
    let made = probe.send("POST", "/v1/products", &headers, &body)?.expect(201)?;
    let listed = probe.all(&format!("/v1/products?category={category}"), "items")?;
    let ids: Vec<&Value> = listed.iter().map(|product| &product["id"]).collect();
    ensure!(ids == [&made["id"]], "one product: {ids:?} and {}", made["id"]);
    Ok(())
}

fn one_address(probe: &Probe) -> Outcome {
    let email = format!("{}@example.com", probe.name("one"));
    let add = |n: usize| {
        let body = json!({"username": probe.name(&format!("racer{n}")), "email": email, "name": "x"});
        probe.post("/v1/customers", &body)
    };
    let (added, refused): (Vec<_>, Vec<_>) =
        probe.at_once(RACERS, add)?.into_iter().partition(|answer| answer.status == 201);
    ensure!(added.len() == 1, "{} customers have one address", added.len());
    for answer in refused {
        let problem = answer.problem(409, "transaction_canceled")?;
        same("what is taken", &problem["taken"], &json!(["email"]))?;
    }
    Ok(())
}

fn one_cancellation(probe: &Probe) -> Outcome {
    let (user, product) = (probe.name("cancel"), probe.product(100, 10)?);
    let order = probe.order(&user, &product, 4)?;
    probe.settles(&order, "CONFIRMED")?;
    for answer in probe.at_once(RACERS, |_| probe.transition(&order, "CANCELLED"))? {
        same("status", &answer.expect(200)?["status"], &json!("CANCELLED"))?;
    }
    probe.stock_becomes(&product, 10, 0, 10)?;
    probe.ledger_becomes(&product, &["received", "released", "reserved"], 10, 10)
}
