//! Design 4: stock of a product, and the delivery status of an order.

use serde_json::{Value, json};

use super::shop;
use crate::Check;
use crate::probe::{Outcome, Probe, holds, same};

pub(crate) const CHECKS: &[Check] = &[
    ("4 stock is part of the product, and follows orders", follows_orders),
    ("4 an order's delivery status follows it to the door", delivery_status),
    ("4 what is sold out is sold again when it comes in", replenished),
];

fn follows_orders(probe: &Probe) -> Outcome {
    let (user, product) = (probe.name("stock"), probe.product(100, 10)?);
    let stock = || -> Outcome<Value> { Ok(shop(probe.get(&format!("/product/{product}"))?, "GET")?["stock"].clone()) };
    let is_left = |pieces: i64| -> Outcome {
        probe.wait(&format!("a stock of {pieces}"), || Ok((stock()? == json!(pieces)).then_some(())))
    };
    let (kept, cancelled) = (probe.order(&user, &product, 3)?, probe.order(&user, &product, 2)?);
    probe.settles(&kept, "CONFIRMED")?;
    probe.settles(&cancelled, "CONFIRMED")?;
    same("what may be sold", &stock()?, &json!(5))?;
    probe.transition(&cancelled, "CANCELLED")?.expect(200)?;
    is_left(7)
}

fn delivery_status(probe: &Probe) -> Outcome {
    let (user, product) = (probe.name("delivery"), probe.product(100, 10)?);
    let order = probe.order(&user, &product, 3)?;
    probe.settles(&order, "CONFIRMED")?;
    for status in ["PACKED", "SHIPPED", "DELIVERED"] {
        probe.transition(&order, status)?.expect(200)?;
        let shown = shop(probe.get(&format!("/order/{user}"))?, "GET")?;
        holds("as its buyer sees it", &shown, &json!([{"orderId": order, "status": status}]))?;
    }
    probe.stock_becomes(&product, 7, 0, 7)
}

fn replenished(probe: &Probe) -> Outcome {
    let (user, product) = (probe.name("depleted"), probe.product(100, 2)?);
    probe.settles(&probe.order(&user, &product, 2)?, "CONFIRMED")?;
    same("sold out", &shop(probe.get(&format!("/product/{product}"))?, "GET")?["stock"], &json!(0))?;
    let late = probe.settles(&probe.order(&user, &product, 1)?, "REJECTED")?;
    holds("why", &late["rejections"], &json!([{"reason": "outOfStock", "asked": 1, "available": 0}]))?;
    shop(probe.put(&format!("/product/{product}"), &json!({"stock": 5}))?, "PUT")?;
    probe.settles(&probe.order(&user, &product, 1)?, "CONFIRMED")?;
    probe.stock_becomes(&product, 7, 3, 4)
}
