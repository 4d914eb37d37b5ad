//! Design 1: `/basket`.

use serde_json::{Value, json};

use super::shop;
use crate::Check;
use crate::probe::{Outcome, Probe, ensure, holds, same};

pub(crate) const CHECKS: &[Check] = &[
    ("1 POST /basket: price and name come from the catalogue", replace),
    ("1 POST /basket: an unknown product is 422", unknown_product),
    ("1 GET /basket", listed),
    ("1 GET /basket/{userName}", by_user),
    ("1 DELETE /basket/{userName}", remove),
    ("1 /basket/checkout does not shadow a user called checkout", user_called_checkout),
];

/// A basket of two pieces as a client sends it, and as it is answered.
fn basket(probe: &Probe, user: &str) -> Outcome<(Value, Value)> {
    let product = probe.product(1_250, 10)?;
    let line = |price: f64, name: &str| json!({"quantity": 2, "color": "Red", "price": price, "productId": product, "productName": name});
    let sent = json!({"userName": user, "items": [line(0.01, "cheap")]});
    Ok((sent, json!({"userName": user, "items": [line(12.5, &probe.name("product"))]})))
}

fn replace(probe: &Probe) -> Outcome {
    let user = probe.name("swn");
    for _ in 0..2 {
        let (sent, expected) = basket(probe, &user)?;
        holds("the basket", &shop(probe.post("/basket", &sent)?, "POST")?, &expected)?;
        holds("read again", &shop(probe.get(&format!("/basket/{user}"))?, "GET")?, &expected)?;
    }
    let empty = json!({"userName": user, "items": []});
    same("emptied", &shop(probe.post("/basket", &empty)?, "POST")?["items"], &json!([]))?;
    let (mut sent, _) = basket(probe, &user)?;
    sent["items"][0]["quantity"] = json!(0);
    probe.post("/basket", &sent)?.names(&["/items/0/quantity"])
}

fn unknown_product(probe: &Probe) -> Outcome {
    let user = probe.name("swn");
    let (mut sent, _) = basket(probe, &user)?;
    let unknown = json!({"quantity": 1, "productId": "00000000-0000-0000-0000-000000000000"});
    sent["items"].as_array_mut().ok_or("no items")?.push(unknown);
    let problem = probe.post("/basket", &sent)?.problem(422, "product_unknown")?;
    same("which", &problem["errors"][0]["pointer"], &json!("/items/1/productId"))?;
    probe.get(&format!("/basket/{user}"))?.problem(404, "basket_not_found").map(drop)
}

fn listed(probe: &Probe) -> Outcome {
    let user = probe.name("swn");
    let (sent, expected) = basket(probe, &user)?;
    shop(probe.post("/basket", &sent)?, "POST")?;
    ensure!(shop(probe.get("/basket")?, "GET")?.is_array(), "GET /basket is no array");
    let ours = |basket: &Value| basket["userName"] == user.as_str();
    if let Some(found) = probe.listed("/basket?limit=100", "body", ours)? {
        holds("listed", &found, &expected)?;
    }
    Ok(())
}

fn by_user(probe: &Probe) -> Outcome {
    let user = probe.name("swn");
    probe.get(&format!("/basket/{user}"))?.problem(404, "basket_not_found")?;
    let (sent, expected) = basket(probe, &user)?;
    shop(probe.post("/basket", &sent)?, "POST")?;
    holds("by user", &shop(probe.get(&format!("/basket/{user}"))?, "GET")?, &expected)
}

fn remove(probe: &Probe) -> Outcome {
    let user = probe.name("swn");
    let (sent, _) = basket(probe, &user)?;
    shop(probe.post("/basket", &sent)?, "POST")?;
    let path = format!("/basket/{user}");
    same("deleted", &shop(probe.delete(&path)?, "DELETE")?, &json!({}))?;
    probe.get(&path)?.problem(404, "basket_not_found")?;
    probe.delete(&path)?.problem(404, "basket_not_found").map(drop)
}

/// The only check whose data others may have: there is one user of this name.
fn user_called_checkout(probe: &Probe) -> Outcome {
    let (sent, expected) = basket(probe, "checkout")?;
    shop(probe.post("/basket", &sent)?, "POST")?;
    holds("read", &shop(probe.get("/basket/checkout")?, "GET")?, &expected)?;
    same("deleted", &shop(probe.delete("/basket/checkout")?, "DELETE")?, &json!({}))?;
    probe.get("/basket/checkout")?.problem(404, "basket_not_found").map(drop)
}
