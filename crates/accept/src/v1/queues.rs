//! `/v1/queues` and their dead letters.

use serde_json::{Value, json};

use crate::Check;
use crate::classic::put_events;
use crate::probe::{Outcome, Probe, each, ensure, holds, list, text};

pub(crate) const CHECKS: &[Check] = &[
    ("v1 queues: every queue and what it holds", figures),
    ("v1 dead letters: a poisoned message is shown with its reason", shown),
    ("v1 dead letters: redriven, it goes through its queue again", redrive),
    ("v1 dead letters: discarded with a reason, it is gone", discarded),
    ("v1 dead letters: those that are not there are 404, and then nothing happens", unknown),
];

/// Queues there are; a server may have more.
const QUEUES: [&str; 8] = [
    "OrderQueue",
    "StockQueue",
    "OrderStatusQueue",
    "StockLedgerQueue",
    "OrderErasureQueue",
    "BasketErasureQueue",
    "PurchaseQueue",
    "PurchaseSummaryQueue",
];

fn letters(queue: &str) -> String {
    format!("/v1/queues/{queue}/dead-letters")
}

/// Waits until a message that contains this text is among the dead letters of a queue.
pub(crate) fn dead_letter(probe: &Probe, queue: &str, text: &str) -> Outcome<Value> {
    probe.wait(&format!("a dead letter of {queue} that contains {text}"), || {
        let page = probe.get(&format!("{}?limit=100", letters(queue)))?.expect(200)?;
        Ok(list(&page["items"])?.iter().find(|letter| letter["event"].to_string().contains(text)).cloned())
    })
}

/// Throws a dead letter away, as every check does with those it has made.
pub(crate) fn discard(probe: &Probe, queue: &str, letter: &Value) -> Outcome {
    let body = json!({"ids": [letter["id"]], "reason": "the acceptance suite put it there"});
    let answer = probe.post(&format!("{}/discard", letters(queue)), &body)?.expect(200)?;
    holds("discarded", &answer, &json!({"count": 1}))
}

/// A message of `OrderQueue` that can never become an order: its mark, and the dead letter it has become.
fn poisoned(probe: &Probe, stem: &str) -> Outcome<(String, Value)> {
    let mark = probe.name(stem);
    put_events(probe, &[json!({"username": "swn", "basket": mark})])?;
    let letter = dead_letter(probe, "OrderQueue", &mark)?;
    Ok((mark, letter))
}

fn figures(probe: &Probe) -> Outcome {
    let (_, letter) = poisoned(probe, "poison")?;
    let queues = probe.get("/v1/queues")?.expect(200)?;
    let names = each(list(&queues["items"])?, "name");
    for queue in QUEUES {
        ensure!(names.contains(&json!(queue)), "{queue} is not among {names:?}");
        let shown = probe.get(&format!("/v1/queues/{queue}"))?.expect(200)?;
        for figure in ["waiting", "inFlight", "delayed", "dead"] {
            ensure!(shown[figure].is_u64(), "{queue}: no number {figure}: {shown}");
        }
        // Not every home can tell these.
        let is_absent_or = |name: &str, is_it: fn(&Value) -> bool| shown[name].is_null() || is_it(&shown[name]);
        ensure!(is_absent_or("oldestAgeMs", Value::is_u64), "{queue}: no age: {shown}");
        let is_throughput =
            |value: &Value| ["received", "processed", "failed"].iter().all(|name| value[*name].is_u64());
        ensure!(is_absent_or("sinceStart", is_throughput), "{queue}: no figures: {shown}");
    }
    probe.wait("a dead letter in the figures", || {
        Ok(probe.get("/v1/queues/OrderQueue")?.expect(200)?["dead"].as_u64().filter(|dead| *dead > 0))
    })?;
    discard(probe, "OrderQueue", &letter)?;
    probe.get("/v1/queues/NoQueue")?.problem(404, "queue_not_found")?;
    probe.get(&letters("NoQueue"))?.problem(404, "queue_not_found").map(drop)
}

fn shown(probe: &Probe) -> Outcome {
    let (mark, letter) = poisoned(probe, "poison")?;
    let id = text(&letter, "id")?;
    holds("by id", &probe.get(&format!("{}/{id}", letters("OrderQueue")))?.expect(200)?, &letter)?;
    ensure!(text(&letter, "reason")?.contains("userName"), "the reason: {letter}");
    ensure!(letter["receives"].as_u64().is_some_and(|receives| receives >= 1), "received at least once: {letter}");
    for time in ["enqueuedAt", "diedAt"] {
        text(&letter, time)?;
    }
    let event = json!({"source": "com.swn.basket.checkoutbasket", "detail-type": "CheckoutBasket",
        "detail": {"username": "swn", "basket": mark}});
    holds("the message", &letter["event"], &event)?;
    probe.listed(&format!("{}?order=oldest&limit=100", letters("OrderQueue")), "items", |letter| {
        letter["id"] == id.as_str()
    })?;
    discard(probe, "OrderQueue", &letter)?;
    probe.get(&format!("{}?order=loudest", letters("OrderQueue")))?.names(&["?order"])
}

fn redrive(probe: &Probe) -> Outcome {
    let (mark, letter) = poisoned(probe, "poison")?;
    let path = format!("{}/redrive", letters("OrderQueue"));
    let answer = probe.post(&path, &json!({"ids": [letter["id"]]}))?.expect(200)?;
    holds("redriven", &answer, &json!({"count": 1}))?;
    // It is as bad as it was, so it dies again: later than before.
    let again = probe.wait("the message dead again", || {
        let again = dead_letter(probe, "OrderQueue", &mark)?;
        Ok((again["diedAt"] != letter["diedAt"]).then_some(again))
    })?;
    holds("the same message", &again["event"]["detail"], &letter["event"]["detail"])?;
    ensure!(text(&again, "reason")?.contains("userName"), "the reason: {again}");
    discard(probe, "OrderQueue", &again)?;
    for body in [json!({}), json!({"ids": ["1"], "all": true}), json!({"ids": []})] {
        probe.post(&path, &body)?.names(&["/ids"])?;
    }
    Ok(())
}

fn discarded(probe: &Probe) -> Outcome {
    let (_, letter) = poisoned(probe, "poison")?;
    let path = format!("{}/discard", letters("OrderQueue"));
    probe.post(&path, &json!({"ids": [letter["id"]]}))?.names(&["/reason"])?;
    probe.post(&path, &json!({"ids": [letter["id"]], "reason": ""}))?.names(&["/reason"])?;
    discard(probe, "OrderQueue", &letter)?;
    let id = text(&letter, "id")?;
    probe.get(&format!("{}/{id}", letters("OrderQueue")))?.problem(404, "dead_letter_not_found")?;
    let again = json!({"ids": [id], "reason": "again"});
    probe.post(&path, &again)?.problem(404, "dead_letter_not_found").map(drop)
}

fn unknown(probe: &Probe) -> Outcome {
    let (_, letter) = poisoned(probe, "poison")?;
    let id = text(&letter, "id")?;
    let base = letters("OrderQueue");
    probe.get(&format!("{base}/no-such-letter"))?.problem(404, "dead_letter_not_found")?;
    // In another queue it is not there either.
    probe.get(&format!("{}/{id}", letters("StockQueue")))?.problem(404, "dead_letter_not_found")?;
    for action in ["redrive", "discard"] {
        let mut body = json!({"ids": [id, "no-such-letter"]});
        if action == "discard" {
            body["reason"] = json!("none");
        }
        probe.post(&format!("{base}/{action}"), &body)?.problem(404, "dead_letter_not_found")?;
    }
    holds("still there", &probe.get(&format!("{base}/{id}"))?.expect(200)?, &letter)?;
    discard(probe, "OrderQueue", &letter)
}
