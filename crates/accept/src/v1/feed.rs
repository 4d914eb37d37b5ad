//! The live feed as a stream of events. In some homes a stream goes on, in others it ends after what is there and the reader
//! comes again; a reader that goes by the ids it has seen sees the same in all of them.

use std::time::Instant;

use serde_json::{Value, json};

use crate::Check;
use crate::client::Event;
use crate::probe::{Outcome, Probe, ensure, holds, same};

pub(crate) const CHECKS: &[Check] = &[
    ("v1 feed: an order's life is told step by step, and goes on after the last that was seen", life),
    ("v1 feed: what cannot be followed is refused", refused),
    ("v1 feed: /asyncapi.json describes the events", asyncapi),
];

/// Follows a topic until it has told this many events more.
fn follow(probe: &Probe, topic: &str, last_id: &mut Option<String>, count: usize) -> Outcome<Vec<Event>> {
    let (begun_at, mut told) = (Instant::now(), Vec::new());
    loop {
        // What is there from the beginning, and then what comes after the last.
        let path = format!("/v1/feed?topic={topic}&after=0");
        let events = probe.client.events(&path, last_id.as_deref(), count - told.len(), probe.patience)?;
        for event in &events {
            *last_id = event.id.clone().or(last_id.take());
        }
        told.extend(events.into_iter().filter(|event| !event.name.is_empty()));
        if told.len() >= count {
            return Ok(told);
        }
        ensure!(begun_at.elapsed() < probe.patience, "{topic} has told {} events of {count}: {told:?}", told.len());
    }
}

fn life(probe: &Probe) -> Outcome {
    let user = probe.name("follower");
    let order = probe.order(&user, &probe.product(1_000, 5)?, 1)?;
    let topic = format!("order:{order}");
    let mut last_id = None;
    let mut told = follow(probe, &topic, &mut last_id, 2)?;
    for (to, event) in [("PACKED", "OrderPacked"), ("SHIPPED", "OrderShipped"), ("DELIVERED", "OrderDelivered")] {
        probe.settles(&order, told.last().map_or("", |event| status_of(&event.data)))?;
        probe.transition(&order, to)?.expect(200)?;
        let next = follow(probe, &topic, &mut last_id, 1)?;
        same("the next event", &json!(next[0].name), &json!(event))?;
        told.extend(next);
    }
    let names: Vec<&str> = told.iter().map(|event| event.name.as_str()).collect();
    let expected = ["OrderPlaced", "OrderConfirmed", "OrderPacked", "OrderShipped", "OrderDelivered"];
    ensure!(names == expected, "expected {expected:?}, found {names:?}");
    for (event, sequence) in told.iter().zip(1..) {
        let facts = json!({"about": "order", "orderId": order, "userName": user});
        let expected =
            json!({"topic": topic, "event": event.name, "sequence": sequence, "read": false, "facts": facts});
        holds("the event", &event.data, &expected)?;
        same("its id", &json!(event.id), &json!(sequence.to_string()))?;
    }
    Ok(())
}

fn status_of(data: &Value) -> &str {
    data["facts"]["status"].as_str().unwrap_or_default()
}

fn refused(probe: &Probe) -> Outcome {
    probe.get("/v1/feed")?.names(&["?topic"])?;
    probe.get("/v1/feed?topic=nonsense")?.problem(400, "invalid_topic")?;
    probe.get("/v1/feed?topic=queue:NoQueue")?.problem(404, "queue_not_found")?;
    probe.get("/v1/feed?topic=order:0ujtsYcgvSTl8PAuAdqWYSMnLOv")?.problem(404, "order_not_found").map(drop)
}

fn asyncapi(probe: &Probe) -> Outcome {
    let document = probe.get("/asyncapi.json")?.expect(200)?;
    same("asyncapi", &document["asyncapi"], &json!("3.0.0"))?;
    let placed = &document["components"]["messages"]["OrderPlaced"];
    ensure!(placed["payload"]["properties"]["detail"].is_object(), "OrderPlaced is not described: {placed}");
    Ok(())
}
