//! The description of the events and of the live feed, beside the one that those know who listen: what they rely on is still
//! there.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::schemas::{Fields, breaks_of_readers, breaks_of_writers, collect, resolve};
use crate::shop::TestShop;

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// The messages that the shop sends; all others are sent to it.
fn sent_by_shop(document: &Value) -> BTreeSet<String> {
    let sends = members(&document["operations"]).filter(|(_, operation)| operation["action"] == "send");
    let names = sends.flat_map(|(_, operation)| match operation["messages"].as_array() {
        Some(some) => {
            some.iter().filter_map(|one| one["$ref"].as_str()?.rsplit('/').next().map(str::to_owned)).collect()
        }
        None => members(&resolve(document, &operation["channel"])["messages"])
            .map(|(name, _)| name.clone())
            .collect::<Vec<_>>(),
    });
    names.collect()
}

fn fields_of(document: &Value, message: &Value) -> Fields {
    let mut fields = Fields::new();
    collect(document, &message["payload"], "", 0, &mut fields);
    fields
}

/// Everything in `new` that breaks a program that goes by `old`, a line each.
fn breaks(old: &Value, new: &Value) -> BTreeSet<String> {
    let mut broken = BTreeSet::new();
    for (name, before) in members(&old["channels"]) {
        let Some(after) = new["channels"].get(name) else {
            broken.insert(format!("the channel {name} is gone"));
            continue;
        };
        if before["address"] != after["address"] {
            broken.insert(format!("the channel {name} has another address"));
        }
        let gone =
            members(&before["messages"]).filter(|(message, _)| after["messages"].get(message.as_str()).is_none());
        broken.extend(gone.map(|(message, _)| format!("the channel {name} does not have {message} any more")));
    }
    for (name, before) in members(&old["operations"]) {
        if new["operations"][name]["action"] != before["action"] {
            broken.insert(format!("the operation {name} is gone"));
        }
    }
    let (from_shop, still_from_shop) = (sent_by_shop(old), sent_by_shop(new));
    for (name, before) in members(&old["components"]["messages"]) {
        let Some(after) = new["components"]["messages"].get(name) else {
            broken.insert(format!("the message {name} is gone"));
            continue;
        };
        let (was, now) = (fields_of(old, before), fields_of(new, after));
        let of_fields =
            if from_shop.contains(name) { breaks_of_readers(&was, &now) } else { breaks_of_writers(&was, &now) };
        broken.extend(of_fields.into_iter().map(|what| format!("the message {name}: {what}")));
        if from_shop.contains(name) != still_from_shop.contains(name) {
            broken.insert(format!("the message {name} goes the other way"));
        }
    }
    broken
}

#[tokio::test]
async fn events_and_the_live_feed_keep_what_listeners_rely_on() {
    let shop = TestShop::new().await;
    let today = serde_json::from_slice(&shop.raw("/asyncapi.json").await).unwrap();
    super::keep_description("asyncapi.json", &today, breaks);
}

/// The real description, with `change` done to it.
async fn changed(change: impl Fn(&mut Value)) -> (Value, Value) {
    let shop = TestShop::new().await;
    let before: Value = serde_json::from_slice(&shop.raw("/asyncapi.json").await).unwrap();
    let mut after = before.clone();
    change(&mut after);
    (before, after)
}

#[tokio::test]
async fn what_breaks_a_listener_is_found() {
    let detail = "/components/messages/OrderPlaced/payload/properties/detail";
    let (before, after) = changed(|document| {
        let detail = document.pointer(detail).map(|detail| resolve(document, detail).clone()).unwrap();
        assert!(detail["properties"]["orderId"].is_object() && detail["properties"]["total"].is_object(), "{detail}");
        let messages = &mut document["components"]["messages"];
        let event = &mut messages["OrderPlaced"]["payload"];
        event["properties"]["detail"] = detail;
        let detail = &mut event["properties"]["detail"];
        detail["properties"].as_object_mut().unwrap().remove("orderId");
        detail["properties"]["total"] = json!({"type": "string"});
        event["required"].as_array_mut().unwrap().retain(|name| name != "time");
        messages["ping"]["payload"]["required"] = json!(["action", "mark"]);
        messages["ping"]["payload"]["properties"]["mark"] = json!({"type": "string"});
        messages.as_object_mut().unwrap().remove("pong");
        let channels = document["channels"].as_object_mut().unwrap();
        channels.remove("OrderQueue");
        channels["bus"]["messages"].as_object_mut().unwrap().remove("ProductRemoved");
        channels["feed"]["address"] = json!("/socket");
        document["operations"].as_object_mut().unwrap().remove("consumeOrderQueue");
    })
    .await;
    let found = breaks(&before, &after);
    for expected in [
        "the channel OrderQueue is gone",
        "the channel bus does not have ProductRemoved any more",
        "the channel feed has another address",
        "the operation consumeOrderQueue is gone",
        "the message OrderPlaced: /detail/orderId is gone",
        "the message OrderPlaced: /detail/total has another type",
        "the message OrderPlaced: /time is no longer promised",
        "the message ping: /mark must now be sent",
        "the message pong is gone",
    ] {
        assert!(found.contains(expected), "{expected:?} is not among {found:#?}");
    }
    assert_eq!(breaks(&before, &before), BTreeSet::new());
}

#[tokio::test]
async fn what_is_only_added_breaks_no_listener() {
    let (before, after) = changed(|document| {
        let messages = &mut document["components"]["messages"];
        messages["OrderPlaced"]["payload"]["properties"]["more"] = json!({"type": "string"});
        messages["OrderPlaced"]["payload"]["required"].as_array_mut().unwrap().push(json!("more"));
        messages["ping"]["payload"]["properties"]["mark"] = json!({"type": "string"});
        messages["New"] = json!({"payload": {"type": "object"}});
        document["channels"]["NewQueue"] = json!({"address": "NewQueue", "messages": {}});
    })
    .await;
    assert_eq!(breaks(&before, &after), BTreeSet::new());
}
