//! EventBridge's `PutEvents`, as much of its protocol (JSON 1.1) as its clients use: how others put events on our bus.
//!
//! `aws events put-events --entries file://… --endpoint-url http://127.0.0.1:8080` works against this server as it does
//! against AWS. Without access control whoever reaches the
//! server may put events; with it, staff, by `Authorization: Bearer`. A signature is not looked at. Answers and errors are those
//! of EventBridge, because its clients read them.
//!
//! What a payment card tells is taken out of an event before it is stored.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{HeaderName, Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::RequestId;
use crate::access::note_action;
use crate::app::App;
use crate::cards::without_cards;
use crate::error::{Error, Kind, Result};
use crate::events::{BUS, Envelope, queues_of};
use crate::store::{Batch, CommitError, MAX_EVENT_BYTES, Table};
use crate::trace;

const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const AWS_REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const AWS_JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");

/// Most entries of a request: EventBridge's limit.
const MAX_ENTRIES: usize = 10;
/// Largest sum of what the entries of a request hold: EventBridge's limit.
const MAX_ENTRIES_BYTES: usize = 256 * 1024;
/// Largest request: a detail travels as a JSON text within JSON, where a character may take six bytes.
pub(super) const MAX_REQUEST_BYTES: usize = 6 * MAX_ENTRIES_BYTES;
/// What the time of an entry counts for in the size of a request.
const TIME_BYTES: usize = 14;

#[derive(Deserialize)]
struct PutEvents {
    #[serde(rename = "Entries")]
    entries: Option<Vec<Entry>>,
}

/// What is put on the bus. `TraceHeader` is not kept, and `Resources` only counts: nothing here reads them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    time: Option<Box<RawValue>>,
    source: Option<String>,
    detail_type: Option<String>,
    detail: Option<String>,
    event_bus_name: Option<String>,
    resources: Option<Vec<String>>,
}

/// What the shop says of itself, nobody else can say: least of all who did what, or that a customer was erased. A checkout is
/// what others may tell of.
const OWN_SOURCES: &str = "cartwright.";

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Outcome {
    failed_entry_count: usize,
    entries: Vec<EntryOutcome>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum EntryOutcome {
    #[serde(rename_all = "PascalCase")]
    Accepted { event_id: String },
    #[serde(rename_all = "PascalCase")]
    Refused { error_code: &'static str, error_message: String },
}

/// Why a whole request is refused, as AWS says it.
struct Refusal {
    status: StatusCode,
    kind: &'static str,
    message: String,
}

fn refusal(kind: &'static str, message: impl Into<String>) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, kind, message: message.into() }
}

/// Answers `POST /`: with `X-Amz-Target: AWSEvents.PutEvents` it is that. Without that header nobody meant it, and
/// `/` takes no `POST`.
pub async fn put_events(app: App, request: Request<Body>) -> Response {
    let Some(target) = request.headers().get(TARGET).cloned() else {
        let message = "The path does not take this method; the Allow header names those it takes.";
        let mut response = Error::new(Kind::MethodNotAllowed, "method_not_allowed", message).into_response();
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET,HEAD"));
        return response;
    };
    let request_id = request.extensions().get::<RequestId>().and_then(|id| HeaderValue::from_str(&id.0).ok());
    let outcome = if target == "AWSEvents.PutEvents" {
        answer(&app, request.into_body()).await
    } else {
        Err(refusal("UnknownOperationException", "This server knows the operation AWSEvents.PutEvents only."))
    };
    let (status, body) = match outcome {
        Ok(outcome) => (StatusCode::OK, json!(outcome)),
        Err(Refusal { status, kind, message }) => (status, json!({"__type": kind, "message": message})),
    };
    let mut response = (status, body.to_string()).into_response();
    response.headers_mut().insert(CONTENT_TYPE, AWS_JSON);
    if let Some(id) = request_id {
        response.headers_mut().insert(AWS_REQUEST_ID, id);
    }
    response
}

async fn answer(app: &App, body: Body) -> Result<Outcome, Refusal> {
    let body = match Limited::new(body, MAX_REQUEST_BYTES).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(too_large()),
        Err(_) => return Err(refusal("SerializationException", "The body did not arrive in whole.")),
    };
    let request: PutEvents =
        serde_json::from_slice(&body).map_err(|error| refusal("SerializationException", error.to_string()))?;
    let entries = request.entries.unwrap_or_default();
    check(&entries)?;
    let mut batch = Batch::new(Table::Operations);
    let mut outcomes = Vec::with_capacity(entries.len());
    for entry in entries {
        outcomes.push(match accept(app, entry)? {
            Ok(event) => {
                let event_id = event.id.to_string();
                if queues_of(&event.source, &event.detail_type).is_empty() {
                    let Envelope { id, source, detail_type, .. } = &event;
                    tracing::info!(%id, source, detail_type, "no rule of the bus matches an event; it goes nowhere");
                }
                batch.emit(event);
                EntryOutcome::Accepted { event_id }
            }
            Err((error_code, error_message)) => EntryOutcome::Refused { error_code, error_message },
        });
    }
    if !batch.is_empty() {
        note_action(app, &mut batch).await.map_err(failed)?;
        app.store.commit(batch).await.map_err(unavailable)?;
    }
    let refused = |outcome: &&EntryOutcome| matches!(outcome, EntryOutcome::Refused { .. });
    Ok(Outcome { failed_entry_count: outcomes.iter().filter(refused).count(), entries: outcomes })
}

/// What the store says, in a status that makes clients try again.
fn unavailable(error: CommitError) -> Refusal {
    failed(error.into())
}

fn failed(error: Error) -> Refusal {
    tracing::warn!(%error, "events could not be put on the bus");
    Refusal { status: error.kind().status(), kind: "InternalException", message: error.message().to_owned() }
}

fn too_large() -> Refusal {
    refusal("ValidationException", "Total size of the entries in the request is over the limit.")
}

/// How many entries there are, and how large they are together.
fn check(entries: &[Entry]) -> Result<(), Refusal> {
    if entries.is_empty() || entries.len() > MAX_ENTRIES {
        let bound = if entries.is_empty() { "greater than or equal to 1" } else { "less than or equal to 10" };
        let message = format!(
            "1 validation error detected: Value at 'entries' failed to satisfy constraint: Member must have length {bound}"
        );
        return Err(refusal("ValidationException", message));
    }
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let size = |entry: &Entry| {
        let resources: usize = entry.resources.iter().flatten().map(String::len).sum();
        let time = entry.time.as_ref().map_or(0, |_| TIME_BYTES);
        time + length(&entry.source) + length(&entry.detail_type) + length(&entry.detail) + resources
    };
    let one_too_large = entries.iter().any(|entry| length(&entry.detail) > MAX_EVENT_BYTES);
    if one_too_large || entries.iter().map(size).sum::<usize>() > MAX_ENTRIES_BYTES {
        return Err(too_large());
    }
    Ok(())
}

/// The event an entry is, or code and message of what is wrong with it. A time that is none spoils the whole request.
fn accept(app: &App, entry: Entry) -> Result<Result<Envelope, (&'static str, String)>, Refusal> {
    let time = match entry.time.as_deref().filter(|time| time.get() != "null") {
        Some(time) => {
            let no_time = || refusal("SerializationException", format!("{time} cannot be converted to a timestamp."));
            time_of(time).ok_or_else(no_time)?
        }
        None => app.clock.now(),
    };
    let missing = |name: &str| {
        ("InvalidArgument", format!("Parameter {name} is not valid. Reason: {name} is a required argument."))
    };
    let given = |text: Option<String>, name: &str| text.filter(|text| !text.is_empty()).ok_or_else(|| missing(name));
    let event = (|| {
        let source = given(entry.source, "Source")?;
        if source.starts_with(OWN_SOURCES) {
            return Err(("NotAuthorizedForSourceException", format!("Not authorized for the source {source}.")));
        }
        let detail_type = given(entry.detail_type, "DetailType")?;
        let detail = given(entry.detail, "Detail")?;
        let is_object = serde_json::from_str(&detail).is_ok_and(|detail: Value| detail.is_object());
        if !is_object {
            return Err(("MalformedDetail", "Detail is malformed.".to_owned()));
        }
        let bus = entry.event_bus_name.as_deref().unwrap_or("default");
        let name = bus.rsplit_once(":event-bus/").map_or(bus, |(_, name)| name);
        if name != BUS {
            let message = format!("Event bus {name} does not exist. This server has one event bus, {BUS}.");
            return Err(("ResourceNotFoundException", message));
        }
        let detail = without_cards(&detail).map_err(|_| ("MalformedDetail", "Detail is malformed.".to_owned()))?;
        let correlation_id = app.correlation_id().to_owned();
        Ok(Envelope {
            id: app.new_uuid(),
            source,
            detail_type,
            time,
            correlation_id,
            causation_id: None,
            traceparent: trace::current(),
            detail,
        })
    })();
    Ok(event)
}

/// A time in RFC 3339, or in seconds since 1970 with or without a fraction.
fn time_of(json: &RawValue) -> Option<Timestamp> {
    let text = json.get();
    if text.starts_with('"') {
        return serde_json::from_str::<String>(text).ok()?.parse().ok();
    }
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    // Finer than a nanosecond is nothing a clock tells.
    let nanos: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let after = SignedDuration::new(seconds.parse().ok()?, nanos.parse().ok()?);
    Timestamp::from_duration(if negative { -after } else { after }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_texts_or_seconds() {
        let time = |json: &str| time_of(&RawValue::from_string(json.to_owned()).unwrap()).map(|time| time.to_string());
        assert_eq!(time(r#""2026-01-02T03:04:05Z""#), Some("2026-01-02T03:04:05Z".into()));
        assert_eq!(time(r#""2026-01-02T03:04:05.5+01:00""#), Some("2026-01-02T02:04:05.5Z".into()));
        assert_eq!(time("1767323045"), Some("2026-01-02T03:04:05Z".into()));
        assert_eq!(time("1767323045.25"), Some("2026-01-02T03:04:05.25Z".into()));
        assert_eq!(time("1767323045.1234567899"), Some("2026-01-02T03:04:05.123456789Z".into()));
        assert_eq!(time("-1.5"), Some("1969-12-31T23:59:58.5Z".into()));
        for none in [r#""yesterday""#, "99999999999999", "1e9", "true", "{}", r#""2026-01-02""#] {
            assert_eq!(time(none), None, "{none}");
        }
    }
}
