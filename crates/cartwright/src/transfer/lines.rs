//! The lines of an export: the header's, and those of records.

use std::borrow::Cow;
use std::collections::BTreeMap;

use iso_currency::Currency;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{DeadLetter, Document, Header, Message, Record, TransferError, VERSION};
use crate::events::{Envelope, Queue};
use crate::store::{Key, Table};

/// How a line of a document begins.
const DOCUMENT: &str = r#"{"table":"#;
/// Greatest version of a document: what a store can count to.
const MAX_VERSION: u64 = i64::MAX as u64;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderLine<'a> {
    format: &'a str,
    version: u64,
    currency: Option<Currency>,
    cartwright: Cow<'a, str>,
}

pub(super) fn header_line(header: &Header) -> String {
    let Header { currency, cartwright } = header;
    let line = HeaderLine {
        format: "cartwright.export",
        version: VERSION,
        currency: *currency,
        cartwright: cartwright.into(),
    };
    serde_json::to_string(&line).expect("texts have a JSON form") + "\n"
}

/// The header in a line that begins as one.
pub(super) fn parse_header(line: &[u8]) -> Result<Header, TransferError> {
    #[derive(Deserialize)]
    struct AnyVersion {
        version: u64,
    }
    let damaged = |error: serde_json::Error| TransferError::Damaged { line: 1, what: error.to_string() };
    let AnyVersion { version } = serde_json::from_slice(line).map_err(damaged)?;
    if version != VERSION {
        return Err(TransferError::Version(version));
    }
    let HeaderLine { currency, cartwright, .. } = serde_json::from_slice(line).map_err(damaged)?;
    Ok(Header { currency, cartwright: cartwright.into_owned() })
}

/// The members of an object, sorted by name, each as its JSON text.
type Members<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DocumentLine<'a, B> {
    #[serde(borrow)]
    table: Cow<'a, str>,
    pk: Cow<'a, str>,
    sk: Cow<'a, str>,
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    body: B,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct QueueLine<'a, B> {
    #[serde(borrow)]
    queue: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'a, str>>,
    receives: u32,
    enqueued_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    died_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    envelope: Option<B>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Cow<'a, str>>,
}

/// The line of a record, without its end.
pub(super) fn line_of(record: &Record) -> serde_json::Result<String> {
    let line = match record {
        Record::Document(Document { key, version, expires_at, body }) => serde_json::to_string(&DocumentLine {
            table: key.table.name().into(),
            pk: (&key.pk).into(),
            sk: (&key.sk).into(),
            version: *version,
            expires_at: expires_at.map(next_second),
            body: serde_json::from_str::<Members<'_>>(body)?,
        })?,
        Record::Message(message) => {
            let is_event = serde_json::from_str::<Envelope>(&message.body).is_ok();
            let envelope = is_event.then(|| serde_json::from_str::<Members<'_>>(&message.body)).transpose()?;
            serde_json::to_string(&QueueLine {
                queue: message.queue.name().into(),
                reason: None,
                receives: message.receives,
                enqueued_at: message.enqueued_at,
                due_at: message.due_at,
                died_at: None,
                message: envelope.is_none().then_some((&message.body).into()),
                envelope,
            })?
        }
        Record::DeadLetter(letter) => serde_json::to_string(&QueueLine {
            queue: letter.queue.name().into(),
            reason: Some((&letter.reason).into()),
            receives: letter.receives,
            enqueued_at: letter.enqueued_at,
            due_at: None,
            died_at: Some(letter.died_at),
            envelope: None::<Members<'_>>,
            message: Some((&letter.body).into()),
        })?,
    };
    Ok(compact(line))
}

fn next_second(time: Timestamp) -> Timestamp {
    let second = time.as_second() + i64::from(time.subsec_nanosecond() > 0);
    Timestamp::from_second(second).unwrap_or(time)
}

/// JSON without space between its tokens: bodies and details may have been sent with some, and lines must not break.
fn compact(json: String) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let mut is_kept = |byte: u8| {
        let kept = in_string || !byte.is_ascii_whitespace();
        in_string = if byte == b'"' && !escaped { !in_string } else { in_string };
        escaped = byte == b'\\' && !escaped;
        kept
    };
    let mut bytes = json.into_bytes();
    bytes.retain(|byte| is_kept(*byte));
    String::from_utf8(bytes).expect("removing ASCII leaves UTF-8")
}

/// Why a line is no record.
pub(super) enum BadRecord {
    Malformed(String),
    Unknown(String),
}

impl From<serde_json::Error> for BadRecord {
    fn from(error: serde_json::Error) -> BadRecord {
        BadRecord::Malformed(error.to_string())
    }
}

/// The record in a line.
pub(super) fn record_of(line: &str) -> Result<Record, BadRecord> {
    let malformed = |what: &str| Err(BadRecord::Malformed(what.to_owned()));
    if line.starts_with(DOCUMENT) {
        let line: DocumentLine<'_, &RawValue> = serde_json::from_str(line)?;
        let table = Table::ALL.into_iter().find(|table| table.name() == line.table);
        let table = table.ok_or_else(|| BadRecord::Unknown(format!("the table {:?}", line.table)))?;
        let key = Key::new(table, line.pk, line.sk);
        key.validate().map_err(BadRecord::Malformed)?;
        let body = line.body.get().to_owned();
        if !(1..=MAX_VERSION).contains(&line.version) || !body.starts_with('{') {
            return malformed("a document has a version from 1 on, and a JSON object as its body");
        }
        return Ok(Record::Document(Document { key, version: line.version, expires_at: line.expires_at, body }));
    }
    let line: QueueLine<'_, &RawValue> = serde_json::from_str(line)?;
    let queue = Queue::named(&line.queue);
    let queue = queue.ok_or_else(|| BadRecord::Unknown(format!("the queue {:?}", line.queue)))?;
    let QueueLine { receives, enqueued_at, due_at, .. } = line;
    let body = match (line.envelope, line.message) {
        (Some(envelope), None) if line.reason.is_none() => envelope.get().to_owned(),
        (None, Some(message)) => message.into_owned(),
        _ => return malformed("a waiting message has an envelope or a message, a dead letter has a message"),
    };
    match (line.reason, line.died_at) {
        (None, None) => Ok(Record::Message(Message { queue, receives, enqueued_at, due_at, body })),
        (Some(reason), Some(died_at)) if due_at.is_none() => {
            let reason = reason.into_owned();
            Ok(Record::DeadLetter(DeadLetter { queue, reason, receives, enqueued_at, died_at, body }))
        }
        _ => malformed("a dead letter has a reason, the time it died, and is due at no time"),
    }
}

/// What a person may look for.
pub(super) fn name_of(record: &Record) -> String {
    match record {
        Record::Document(document) => format!("the document {}", document.key),
        Record::Message(message) => format!("a message of {}", message.queue.name()),
        Record::DeadLetter(letter) => format!("a dead letter of {}", letter.queue.name()),
    }
}
