//! A document as an item of a table, and back.
//!
//! ```text
//! PK SK  the key
//! v      version
//! w      id of the write that left the item so
//! d      the document's JSON, without its integers at the top level
//! n      those integers, as a map of numbers: what an adjustment adds to without reading first
//! ttl    second after which DynamoDB may remove the item
//! ```
//!
//! The JSON is kept as text, because a number of DynamoDB would lose how it was written: 1.50 would come back as 1.5.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use cartwright::error::{Error, Result};
use cartwright::store::{Body, Doc, Key};
use jiff::Timestamp;
use serde_json::value::RawValue;

use super::{number, text};

pub(super) type Item = HashMap<String, AttributeValue>;

type Members<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// The item of a document.
///
/// # Errors
/// When `body` is no JSON object.
pub(super) fn item(
    key: &Key,
    version: u64,
    write_id: &str,
    body: &str,
    expires_at: Option<Timestamp>,
) -> Result<Item, String> {
    let (rest, integers) = split(body).map_err(|error| format!("{key} is no JSON object: {error}"))?;
    let mut item = Item::from([
        ("PK".to_owned(), text(&key.pk)),
        ("SK".to_owned(), text(&key.sk)),
        ("v".to_owned(), number(version)),
        ("w".to_owned(), text(write_id)),
        ("d".to_owned(), AttributeValue::S(rest)),
    ]);
    if !integers.is_empty() {
        item.insert("n".to_owned(), AttributeValue::M(integers));
    }
    if let Some(at) = expires_at {
        // Rounded up: not before its time.
        item.insert("ttl".to_owned(), number(at.as_second() + i64::from(at.subsec_nanosecond() > 0)));
    }
    Ok(item)
}

/// The integers at the top level of an object, and the text of the rest.
fn split(body: &str) -> serde_json::Result<(String, Item)> {
    let mut members: Members<'_> = serde_json::from_str(body)?;
    let mut integers = Item::new();
    members.retain(|name, value| {
        let is_integer = value.get().parse().is_ok_and(|integer: i64| integer.to_string() == value.get());
        if is_integer {
            integers.insert(name.to_string(), number(value.get()));
        }
        !is_integer
    });
    let rest = if integers.is_empty() { body.to_owned() } else { serde_json::to_string(&members)? };
    Ok((rest, integers))
}

/// The document of an item.
///
/// # Errors
/// `internal_error` when the item is not one of ours.
pub(super) fn document(item: Item) -> Result<Doc> {
    let (pk, sk) = key_of(&item)?;
    let damaged = |what: &str| Error::internal(format!("the item {pk} {sk} has no {what}"));
    let version = item.get("v").and_then(|v| v.as_n().ok()).and_then(|v| v.parse().ok());
    let version = version.ok_or_else(|| damaged("version"))?;
    let rest = item.get("d").and_then(|d| d.as_s().ok()).ok_or_else(|| damaged("document"))?;
    let body = match item.get("n").and_then(|n| n.as_m().ok()) {
        None => rest.to_owned(),
        Some(integers) => join(rest, integers).ok_or_else(|| damaged("readable document"))?,
    };
    Ok(Doc { sk: Arc::from(sk), version, body: Arc::new(Body::from_text(body)) })
}

fn join(rest: &str, integers: &Item) -> Option<String> {
    let raw = |value: &AttributeValue| RawValue::from_string(value.as_n().ok()?.clone()).ok();
    let integers: Vec<_> = integers.iter().map(|(name, value)| Some((name, raw(value)?))).collect::<Option<_>>()?;
    let mut members: Members<'_> = serde_json::from_str(rest).ok()?;
    for (name, value) in &integers {
        members.insert(Cow::Borrowed(name), value);
    }
    serde_json::to_string(&members).ok()
}

/// Partition key and sort key of an item.
///
/// # Errors
/// `internal_error` when it has none.
pub(super) fn key_of(item: &Item) -> Result<(String, String)> {
    let part = |name: &str| item.get(name).and_then(|part| part.as_s().ok()).cloned();
    part("PK").zip(part("SK")).ok_or_else(|| Error::internal("an item without a key"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cartwright::store::Table;

    #[test]
    fn a_document_comes_back_to_the_letter() {
        let key = Key::new(Table::Operations, "A", "B");
        for body in [
            "{}",
            r#"{"a":1.50,"b":"x","c":[1,2.0],"n":-0}"#,
            r#"{"a":1e3,"big":12345678901234567890,"m":-9223372036854775808,"n":9223372036854775807,"z":{"n":1}}"#,
            r#"{"":1,"PK":2,"żółw":3}"#,
        ] {
            let item = item(&key, 7, "w", body, None).unwrap();
            let doc = document(item).unwrap();
            assert_eq!((doc.version, &*doc.sk, doc.body.text()), (7, "B", body));
        }
    }

    #[test]
    fn what_an_adjustment_needs_is_a_number_of_its_own() {
        let key = Key::new(Table::Catalog, "A", "B");
        let item =
            item(&key, 1, "w", r#"{"name":"x","available":7}"#, Timestamp::from_millisecond(1_001).ok()).unwrap();
        assert_eq!(item["n"].as_m().unwrap()["available"], number(7));
        assert_eq!(item["d"], text(r#"{"name":"x"}"#));
        assert_eq!(item["ttl"], number(2));
    }
}
