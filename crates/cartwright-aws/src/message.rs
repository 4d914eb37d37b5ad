//! An event on its way: spliced into what EventBridge takes, and read out of what SQS brings.
//!
//! EventBridge gives each event an id and a time of its own. Ours travel in the detail, as its first member:
//! `"metadata": {"id", "correlationId", "causationId", "traceparent", "time"}`. It is taken out again before a consumer sees the event, so
//! that the detail is what was emitted, to the letter. An event that someone else put on the bus has no such member; it goes
//! by EventBridge's id and time. What is put back into a queue comes as our own envelope.

use std::borrow::Cow;
use std::fmt;

use cartwright::cards::{text_without_cards, without_cards};
use cartwright::events::Envelope;
use cartwright::trace::{Context, read_or_none};
use jiff::Timestamp;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

/// The name of the member.
const METADATA: &str = "metadata";

/// Our own ids of an event.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Metadata {
    id: Uuid,
    correlation_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    causation_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "read_or_none")]
    traceparent: Option<Context>,
    time: Timestamp,
}

/// The detail of `event` with its ids as first member; none when the detail is no object, which nobody emits.
pub fn with_metadata(event: &Envelope) -> Option<String> {
    let Envelope { id, time, causation_id, correlation_id, traceparent, .. } = event;
    let metadata = Metadata {
        id: *id,
        correlation_id: correlation_id.clone(),
        causation_id: *causation_id,
        traceparent: *traceparent,
        time: *time,
    };
    let metadata = serde_json::to_string(&metadata).ok()?;
    let members = event.detail.get().trim_start().strip_prefix('{')?;
    let comma = if members.trim_start().starts_with('}') { "" } else { "," };
    Some(sendable(&format!("{{\"{METADATA}\":{metadata}{comma}{members}")))
}

/// A text without the two characters that JSON allows and SQS does not: they are written as JSON's escapes.
pub fn sendable(text: &str) -> String {
    text.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
}

/// The event in the body of a message: one that EventBridge sent, or one that was put back into the queue. What it tells of
/// payment cards is taken out.
///
/// # Errors
/// Why it is none, in words.
pub fn read(body: &str) -> Result<Envelope, String> {
    let mut event: Envelope = serde_json::from_str(body).map_err(|error| error.to_string())?;
    if let Some((metadata, detail)) = take_metadata(event.detail.get()) {
        let Metadata { id, correlation_id, causation_id, traceparent, time } = metadata;
        event = Envelope { id, correlation_id, causation_id, traceparent, time, detail, ..event };
    } else if event.correlation_id.is_empty() {
        event.correlation_id = event.id.to_string();
    }
    event.detail = without_cards(event.detail.get()).map_err(|error| error.to_string())?;
    Ok(event)
}

/// The body of a message as it may be kept: the event in its envelope, or any other text, neither with what tells of payment
/// cards. To be read again by [`read`].
pub fn keepable(body: &str) -> String {
    let event = read(body).ok().and_then(|event| serde_json::to_string(&event).ok());
    event.unwrap_or_else(|| text_without_cards(body))
}

/// Our ids in a detail, and the detail without them.
fn take_metadata(detail: &str) -> Option<(Metadata, Box<RawValue>)> {
    let Members(members) = serde_json::from_str(detail).ok()?;
    let at = members.iter().position(|(name, _)| name == METADATA)?;
    let metadata = serde_json::from_str(members[at].1.get()).ok()?;
    let mut rest = String::with_capacity(detail.len());
    for (name, value) in members.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, member)| member) {
        rest.push(if rest.is_empty() { '{' } else { ',' });
        rest.push_str(&serde_json::to_string(name).ok()?);
        rest.push(':');
        rest.push_str(value.get());
    }
    rest.push_str(if rest.is_empty() { "{}" } else { "}" });
    RawValue::from_string(rest).ok().map(|rest| (metadata, rest))
}

/// The members of an object in their order, with the exact text of their values.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(detail: &str) -> Envelope {
        Envelope {
            id: Uuid::from_u128(1),
            source: "cartwright.ordering".into(),
            detail_type: "OrderPlaced".into(),
            time: "2026-01-02T03:04:05.678901Z".parse().unwrap(),
            correlation_id: "request-1".into(),
            causation_id: Some(Uuid::from_u128(2)),
            traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().ok(),
            detail: RawValue::from_string(detail.to_owned()).unwrap(),
        }
    }

    /// As EventBridge would send it on.
    fn sent(event: &Envelope, detail: &str) -> String {
        format!(
            r#"{{"version":"0","id":"17793124-05d4-b198-2fde-7ededc63b103","detail-type":"{}","source":"{}","account":"1",
            "time":"2026-01-02T03:04:06Z","region":"eu-central-1","resources":[],"detail":{detail}}}"#,
            event.detail_type, event.source
        )
    }

    #[test]
    fn our_ids_travel_in_the_detail_and_the_detail_comes_back_to_the_letter() {
        for detail in [
            r#"{"z":1.50,"a":[1,  {"n":12345678901234567890123}],"é\n":"x"}"#,
            "{}",
            r#"{ "metadata": "theirs", "a": 1 }"#,
            "{ \"a\": \"\u{ffff}\" }",
        ] {
            let event = event(detail);
            let travelling = with_metadata(&event).unwrap();
            assert!(!travelling.contains('\u{ffff}'));
            assert!(
                travelling.starts_with(r#"{"metadata":{"id":"00000000-0000-0000-0000-000000000001","#),
                "{travelling}"
            );
            let back = read(&sent(&event, &travelling)).unwrap();
            let same = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            assert_eq!(same(back.detail.get()), same(detail));
            assert!(detail.contains(' ') || back.detail.get() == detail, "{}", back.detail);
            assert_eq!((back.id, back.time), (event.id, event.time));
            assert_eq!((back.correlation_id.as_str(), back.causation_id), ("request-1", event.causation_id));
            assert_eq!(back.traceparent, event.traceparent);
        }
        assert!(read(&sent(&event("{}"), r#"{"n":1.50}"#)).unwrap().detail.get().contains("1.50"));
        assert_eq!(with_metadata(&event("[1]")), None);
    }

    #[test]
    fn an_event_from_outside_goes_by_the_ids_of_the_bus_and_without_cards() {
        let detail = r#"{"metadata":{"id":"theirs"},"userName":"swn","cardInfo":"5554443322221111"}"#;
        let outside = read(&sent(&event("{}"), detail)).unwrap();
        assert_eq!(outside.id.to_string(), "17793124-05d4-b198-2fde-7ededc63b103");
        assert_eq!((outside.time.to_string(), outside.causation_id), ("2026-01-02T03:04:06Z".into(), None));
        assert_eq!(outside.correlation_id, outside.id.to_string());
        assert_eq!(outside.detail.get(), r#"{"cardLast4":"1111","metadata":{"id":"theirs"},"userName":"swn"}"#);
    }

    #[test]
    fn what_is_kept_can_be_read_again_or_is_the_text_itself() {
        let event = event(r#"{"a":1.50}"#);
        let kept = keepable(&sent(&event, &with_metadata(&event).unwrap()));
        assert_eq!(kept, serde_json::to_string(&event).unwrap());
        assert_eq!(keepable(&kept), kept);
        assert_eq!(keepable("{torn 5554443322221111"), "{torn ****1111");
        assert_eq!(keepable(r#"{"detail":{"card":"5554443322221111"}}"#), r#"{"detail":{"cardLast4":"1111"}}"#);
        let deep = sent(&event, &format!("{{\"card\":{}{}}}", "[".repeat(1000), "]".repeat(1000)));
        assert!(read(&deep).is_ok(), "it is taken out with the card");
        let deep = sent(&event, &format!("{{\"card\":1,\"a\":{}{}}}", "[".repeat(1000), "]".repeat(1000)));
        assert!(read(&deep).unwrap_err().contains("nested too deeply"));
        assert!(read("[]").is_err() && read("").is_err());
    }
}
