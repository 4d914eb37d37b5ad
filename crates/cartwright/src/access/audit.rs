//! The audit trail: who of staff and admins did what, when, and what was before and after.
//!
//! An action is an event in the commit of what it changes, so that neither is without the other. Who is in it are people who work for
//! the shop. Of customers it has no more than user names: of what is kept about them it tells the names of the fields that
//! changed, and never what is in them. An entry is kept for 400 days, and the names in it go with it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::Role;
use crate::events::Envelope;
use crate::queues::DeadLettersTaken;
use crate::store::{Expect, Key, Table, Write};

/// Largest document that is kept in an entry, as it was or as it is.
const MAX_DOCUMENT_BYTES: usize = 4 * 1024;
/// Most documents of a commit that an entry tells of.
pub(super) const MAX_DOCUMENTS: usize = 20;

/// Who does something, and what they asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Actor {
    /// `key:` and the id of an API key, or `user:` and the subject of a token.
    pub actor: String,
    /// What people call it.
    pub name: String,
    /// The role they had.
    pub role: Role,
    /// Method and pattern of the route.
    pub action: String,
    /// The path that was asked, without its query.
    pub target: String,
}

/// An event: staff or an admin changed something.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActionTaken {
    /// Who, and what they asked for.
    #[serde(flatten)]
    pub by: Actor,
    /// What was there before: documents by their keys, or names of fields.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub before: Map<String, Value>,
    /// What is there now.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub after: Map<String, Value>,
}

/// An entry of the audit trail.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// Its id: that of the event.
    #[schema(value_type = String, format = Uuid)]
    pub id: Uuid,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who, and what they asked for.
    #[serde(flatten)]
    pub by: Actor,
    /// What was there before: documents by their keys. Of what is kept about customers, the names of the fields that changed.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub before: Map<String, Value>,
    /// What is there now.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub after: Map<String, Value>,
    /// The id of the request.
    pub request_id: String,
}

impl AuditEntry {
    /// The entry of an event.
    pub(super) fn of(event: &Envelope, action: ActionTaken) -> Self {
        let ActionTaken { by, before, after } = action;
        AuditEntry { id: event.id, at: event.time, by, before, after, request_id: event.correlation_id.clone() }
    }

    /// The entry of an event that tells of dead letters; none when nobody is known to have taken them.
    pub(super) fn of_dead_letters(event: &Envelope, taken: DeadLettersTaken) -> Option<Self> {
        let DeadLettersTaken { queue, ids, reason, by } = taken;
        let told = json!({"event": event.detail_type, "ids": ids, "reason": reason});
        Some(AuditEntry::of(event, ActionTaken { by: by?, before: Map::new(), after: Map::from_iter([(queue, told)]) }))
    }
}

/// How much of a document an entry tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// All of it.
    Whole,
    /// The status it has, and which other fields changed.
    Status,
    /// Which fields changed.
    Names,
}

/// How much is told of the document under `key`, and what it is called. None of indexes, and of keys with personal data in them: what is
/// not listed here is not told.
fn shown(key: &Key) -> Option<(String, Shown)> {
    let begins = |prefix: &str| key.pk.starts_with(prefix);
    let shown = match key.table {
        Table::Catalog if begins("PRODUCT#") => Shown::Whole,
        Table::Access if begins("KEYS#") => Shown::Whole,
        Table::Ordering if begins("CUSTOMER#") && key.sk.starts_with("#ORDER#") => Shown::Status,
        Table::Ordering if begins("CUSTOMER#") => Shown::Names,
        Table::Basket if begins("BASKETS#") => Shown::Names,
        Table::Purchases if begins("PURCHASE#") => Shown::Names,
        Table::Operations if begins("ITEMS#") => Shown::Names,
        Table::Notifications if key.pk == "WEBHOOKS" && key.sk.starts_with("SUBSCRIPTION#") => Shown::Names,
        _ => return None,
    };
    let name = if key.pk == key.sk { key.pk.clone() } else { format!("{} {}", key.pk, key.sk) };
    Some((name, shown))
}

/// Whether an entry tells of this write: one that expects something of a document that may be told of.
pub(super) fn is_told(write: &Write) -> bool {
    let expect = match write {
        Write::Put { expect, .. } | Write::Delete { expect, .. } => *expect,
        Write::Adjust { .. } => Expect::Exists,
        Write::Check { .. } => return false,
    };
    expect != Expect::Anything && shown(write.key()).is_some()
}

/// Adds to `before` and `after` what `write` does to a document that was `old`.
pub(super) fn tell(write: &Write, old: Option<Value>, before: &mut Map<String, Value>, after: &mut Map<String, Value>) {
    let Some((name, shown)) = shown(write.key()) else { return };
    let old = old.map(without_secrets);
    let new = match write {
        Write::Put { body, .. } => serde_json::from_str(body).ok().map(without_secrets),
        Write::Adjust { fields, .. } => {
            let by: Map<String, Value> = fields.iter().map(|field| (field.field.to_owned(), field.by.into())).collect();
            after.insert(name.clone(), json!({"adjustedBy": by}));
            None
        }
        Write::Delete { .. } | Write::Check { .. } => None,
    };
    if let Some(new) = &new {
        after.insert(name.clone(), told(new, old.as_ref(), shown));
    }
    if let Some(old) = old {
        before.insert(name, told(&old, new.as_ref(), shown));
    }
}

/// A document without what nobody may learn from an entry.
fn without_secrets(mut document: Value) -> Value {
    if let Some(fields) = document.as_object_mut() {
        fields.remove("secretHash");
    }
    document
}

/// What is told of a document, beside which there is `other`: what it was before, or is now.
fn told(document: &Value, other: Option<&Value>, shown: Shown) -> Value {
    let nothing = Map::new();
    let (fields, others) = (document.as_object().unwrap_or(&nothing), other.and_then(Value::as_object));
    let differs = |name: &String| others.is_none_or(|others| others.get(name) != fields.get(name));
    let names: Vec<&String> = fields.keys().filter(|name| differs(name)).collect();
    match shown {
        Shown::Whole => match document.to_string().len() {
            ..=MAX_DOCUMENT_BYTES => document.clone(),
            bytes => json!({"bytes": bytes}),
        },
        Shown::Status => json!({"status": fields.get("status"), "changed": names}),
        Shown::Names => json!({"changed": names}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(table: Table, pk: &str, sk: &str, body: &Value) -> Write {
        Write::Put {
            key: Key::new(table, pk, sk),
            expect: Expect::Version(1),
            body: body.to_string(),
            expires_at: None,
        }
    }

    fn told_of(write: &Write, old: Option<Value>) -> (Value, Value) {
        let (mut before, mut after) = (Map::new(), Map::new());
        tell(write, old, &mut before, &mut after);
        (before.into(), after.into())
    }

    #[test]
    fn of_a_product_all_is_told_and_of_a_customer_what_changed() {
        let write = put(Table::Catalog, "PRODUCT#1", "PRODUCT", &json!({"name": "new"}));
        let expected = (json!({"PRODUCT#1 PRODUCT": {"name": "old"}}), json!({"PRODUCT#1 PRODUCT": {"name": "new"}}));
        assert_eq!(told_of(&write, Some(json!({"name": "old"}))), expected);
        let new = json!({"username": "ann", "email": "new@secret.example"});
        let write = put(Table::Ordering, "CUSTOMER#ann", "CUSTOMER#ann", &new);
        let told = told_of(&write, Some(json!({"username": "ann", "email": "old@secret.example"})));
        let changed = json!({"CUSTOMER#ann": {"changed": ["email"]}});
        assert_eq!(told, (changed.clone(), changed));
        let write = put(Table::Ordering, "CUSTOMER#ann", "#ORDER#7", &json!({"status": "PACKED", "contact": "x"}));
        let (before, after) = told_of(&write, Some(json!({"status": "CONFIRMED", "contact": "x"})));
        assert_eq!(before["CUSTOMER#ann #ORDER#7"], json!({"status": "CONFIRMED", "changed": ["status"]}));
        assert_eq!(after["CUSTOMER#ann #ORDER#7"], json!({"status": "PACKED", "changed": ["status"]}));
    }

    #[test]
    fn of_a_webhook_it_is_told_what_changed_and_never_its_secret() {
        let new = json!({"url": "https://elsewhere.example", "secrets": ["whsec_new"]});
        let write = put(Table::Notifications, "WEBHOOKS", "SUBSCRIPTION#7", &new);
        assert!(is_told(&write));
        let (before, after) = told_of(&write, Some(json!({"url": "https://a.example", "secrets": ["whsec_old"]})));
        assert_eq!(after, json!({"WEBHOOKS SUBSCRIPTION#7": {"changed": ["secrets", "url"]}}));
        assert!(!before.to_string().contains("whsec"), "{before}");
    }

    #[test]
    fn what_is_not_listed_is_not_told_nor_is_a_secret() {
        for (table, pk) in [
            (Table::Ordering, "EMAIL#ann@secret.example"),
            (Table::Ordering, "CUSTOMERS#01"),
            (Table::Basket, "CHECKOUT#1"),
            (Table::Operations, "IDEMPOTENCY#k"),
            (Table::Access, "USE#1"),
            (Table::Notifications, "INBOX#ann"),
        ] {
            assert!(!is_told(&put(table, pk, "X", &json!({}))), "{pk}");
        }
        let key = json!({"id": "1", "name": "till", "secretHash": "00ff"});
        let write = put(Table::Access, "KEYS#01", "1", &key);
        assert!(is_told(&write));
        let (before, after) = told_of(&write, Some(key));
        assert!(!before.to_string().contains("00ff") && !after.to_string().contains("00ff"), "{before} {after}");
        let large = put(Table::Catalog, "PRODUCT#1", "PRODUCT", &json!({"name": "x".repeat(MAX_DOCUMENT_BYTES)}));
        assert!(told_of(&large, None).1.to_string().len() < 100);
    }
}
