//! The AsyncAPI document: every event, the queues it goes to, and what is said on a WebSocket. It is made of the rules of the
//! bus and of the types themselves, when someone asks for it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use super::protocol::MAX_TOPICS;
use crate::events::{self, BUS, Queue, RULES};
use crate::notifications::InboxItem;

static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_string());

/// The AsyncAPI 3.0 document, as JSON.
pub fn asyncapi() -> &'static str {
    &DOCUMENT
}

fn document() -> Value {
    let mut schemas = Vec::new();
    let mut messages = Map::new();
    for (rule, (about, detail)) in RULES.iter().zip(events::descriptions(&mut schemas)) {
        messages.insert(rule.detail_type.to_owned(), event(rule.detail_type, rule.source, about, &detail));
    }
    schemas.push((InboxItem::name().into_owned(), InboxItem::schema()));
    InboxItem::schemas(&mut schemas);
    let said: Vec<Said> = said();
    messages.extend(said.iter().map(|said| (said.name.to_owned(), said.message())));
    let schemas: BTreeMap<String, RefOr<Schema>> = schemas.into_iter().collect();
    let (mut channels, mut operations) = bus();
    socket(&said, &mut channels, &mut operations);
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Cartwright",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The events of the shop, who consumes them, and the live feed. Events are delivered at least once \
                and in any order.",
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    })
}

/// The message that an event is: its envelope, which is that of EventBridge.
fn event(name: &str, source: &str, about: &str, detail: &RefOr<Schema>) -> Value {
    let time = json!({"type": "string", "format": "date-time", "description": "When it happened."});
    let payload = json!({
        "type": "object",
        "required": ["id", "source", "detail-type", "time", "detail"],
        "properties": {
            "id": {"type": "string", "format": "uuid", "description": "The event's own id: the same however often it comes."},
            "source": {"type": "string", "const": source},
            "detail-type": {"type": "string", "const": name},
            "time": time,
            "correlationId": {"type": "string", "description": "The id of the request all this came of."},
            "causationId": {"type": "string", "format": "uuid", "description": "The id of the event this one came of, if any."},
            "detail": detail,
        },
    });
    json!({"name": name, "title": name, "summary": about, "payload": payload})
}

fn reference(to: &str) -> Value {
    json!({"$ref": to})
}

fn messages_of<'a>(names: impl Iterator<Item = &'a str>) -> Map<String, Value> {
    names.map(|name| (name.to_owned(), reference(&format!("#/components/messages/{name}")))).collect()
}

/// The bus, on which every event is sent, and the queues, from each of which one consumer receives.
fn bus() -> (Map<String, Value>, Map<String, Value>) {
    let (mut channels, mut operations) = (Map::new(), Map::new());
    let all = messages_of(RULES.iter().map(|rule| rule.detail_type));
    let about = "The event bus. Events leave only in the commit of the change they tell of.";
    channels.insert("bus".to_owned(), json!({"address": BUS, "description": about, "messages": all}));
    operations.insert("emit".to_owned(), json!({"action": "send", "channel": reference("#/channels/bus")}));
    for queue in Queue::ALL {
        let name = queue.name();
        let received = RULES.iter().filter(|rule| rule.queues.contains(&queue)).map(|rule| rule.detail_type);
        channels.insert(name.to_owned(), json!({"address": name, "messages": messages_of(received)}));
        let channel = reference(&format!("#/channels/{name}"));
        operations.insert(format!("consume{name}"), json!({"action": "receive", "channel": channel}));
    }
    (channels, operations)
}

/// The live feed.
fn socket(said: &[Said], channels: &mut Map<String, Value>, operations: &mut Map<String, Value>) {
    let channel = json!({
        "address": "/ws",
        "description": format!("A WebSocket, on which one listens to at most {MAX_TOPICS} topics at the same time."),
        "messages": messages_of(said.iter().map(|said| said.name)),
    });
    channels.insert("feed".to_owned(), channel);
    for (name, action, by_client) in [("hear", "receive", true), ("tell", "send", false)] {
        let of = said.iter().filter(|said| said.by_client == by_client);
        let messages: Vec<Value> =
            of.map(|said| reference(&format!("#/channels/feed/messages/{}", said.name))).collect();
        let operation = json!({"action": action, "channel": reference("#/channels/feed"), "messages": messages});
        operations.insert(name.to_owned(), operation);
    }
}

/// Something that is said on a socket.
struct Said {
    name: &'static str,
    by_client: bool,
    about: &'static str,
    payload: Value,
}

impl Said {
    fn message(&self) -> Value {
        json!({"name": self.name, "summary": self.about, "payload": self.payload})
    }
}

fn said() -> Vec<Said> {
    let text = || json!({"type": "string"});
    let number = || json!({"type": "integer", "minimum": 0});
    let said = |name, by_client, about, required: &[&str], properties: Value| {
        let tag = if by_client { "action" } else { "type" };
        let mut members = Map::new();
        members.insert(tag.to_owned(), json!({"const": name}));
        members.extend(properties.as_object().cloned().unwrap_or_default());
        let required: Vec<&str> = std::iter::once(tag).chain(required.iter().copied()).collect();
        Said { name, by_client, about, payload: json!({"type": "object", "required": required, "properties": members}) }
    };
    let role = json!({"enum": ["customer", "staff", "admin"]});
    let told = json!({
        "allOf": [
            {"type": "object", "required": ["type", "topic", "event"],
                "properties": {"type": {"const": "event"}, "topic": text(), "event": text()}},
            {"anyOf": [reference("#/components/schemas/InboxItem"), {"type": "object"}]},
        ],
    });
    vec![
        said("authenticate", true, "Says who the client is.", &["token"], json!({"token": text()})),
        said("subscribe", true, "Listens to a topic.", &["topic"], json!({"topic": text(), "after": number()})),
        said("unsubscribe", true, "Listens to a topic no longer.", &["topic"], json!({"topic": text()})),
        said("ping", true, "Asks for a pong.", &[], json!({})),
        said("authenticated", false, "It is known who the client is.", &["role"], json!({"role": role})),
        said(
            "subscribed",
            false,
            "What the topic tells follows.",
            &["topic"],
            json!({"topic": text(), "after": number()}),
        ),
        said("unsubscribed", false, "Nothing more follows.", &["topic"], json!({"topic": text()})),
        Said { name: "event", by_client: false, about: "Something that a topic tells.", payload: told },
        said("pong", false, "The answer to a ping.", &[], json!({})),
        said(
            "error",
            false,
            "What was asked was not done.",
            &["code", "detail"],
            json!({"code": text(), "detail": text(), "topic": text()}),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_every_event_and_refers_to_nothing_that_is_not_there() {
        let document = document();
        for rule in RULES {
            let message = &document["components"]["messages"][rule.detail_type];
            assert_eq!(message["payload"]["properties"]["source"]["const"], rule.source);
            assert!(message["summary"].as_str().is_some_and(|about| about.ends_with('.')), "{message}");
            for queue in rule.queues {
                assert!(document["channels"][queue.name()]["messages"][rule.detail_type].is_object());
            }
        }
        let text = document.to_string();
        let references: Vec<&str> =
            text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(references.len() > RULES.len());
        for to in references {
            assert!(document.pointer(to).is_some(), "nothing is at {to}");
        }
    }
}
