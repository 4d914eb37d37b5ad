//! Operations: free-form items behind one endpoint that takes the name of what to do.
//!
//! An item is a JSON object with a text `id`. Its other members are the caller's, and are kept to the letter: 78.89 stays
//! 78.89, because nothing here turns a number into a float. Which tables there are is a list in the configuration.

pub mod classic;
pub mod http;
pub mod ops;
mod store;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::{Error, Kind, Result};

/// Most items in one answer to `list`.
pub const MAX_LIST: usize = 100;
/// Longest id of an item, in bytes.
pub const MAX_ID_BYTES: usize = 512;

/// An item: its members by name, each as its JSON text.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Item(pub BTreeMap<String, Box<RawValue>>);

/// The change of one member: a new value, or its removal.
#[derive(Debug, Deserialize)]
pub struct AttributeUpdate {
    /// The new value.
    #[serde(rename = "Value")]
    pub value: Option<Box<RawValue>>,
    /// `PUT`, as without it, or `DELETE`.
    #[serde(rename = "Action")]
    pub action: Option<String>,
}

impl Item {
    /// The id of this item; `pointer` says where in the caller's body the item stands.
    ///
    /// # Errors
    /// `invalid_request` when it is missing, no text, empty or too long.
    pub fn id(&self, pointer: &str) -> Result<String> {
        let at = format!("{pointer}/id");
        let raw = self.0.get("id").ok_or_else(|| Error::field(at.clone(), "is required"))?;
        let id: String = serde_json::from_str(raw.get()).map_err(|_| Error::field(at.clone(), "must be text"))?;
        if id.is_empty() || id.len() > MAX_ID_BYTES {
            return Err(Error::field(at, format!("must have 1 to {MAX_ID_BYTES} bytes")));
        }
        Ok(id)
    }

    /// The item after `updates`.
    ///
    /// # Errors
    /// `invalid_request` for an update of the id, one without a value, or an unknown action.
    pub fn updated(&self, updates: &BTreeMap<String, AttributeUpdate>) -> Result<Item> {
        let mut item = self.clone();
        for (name, update) in updates {
            let refuse = |why: &str| Err(Error::field(format!("/payload/AttributeUpdates/{name}"), why));
            match (update.action.as_deref(), &update.value) {
                _ if name == "id" => return refuse("cannot be changed"),
                (None | Some("PUT"), Some(value)) => drop(item.0.insert(name.clone(), value.clone())),
                (Some("DELETE"), _) => drop(item.0.remove(name)),
                (None | Some("PUT"), None) => return refuse("needs a Value"),
                (Some(_), _) => return refuse("has an Action that is not PUT or DELETE"),
            }
        }
        Ok(item)
    }
}

/// The error of an operation that does not exist.
pub fn unrecognized(name: &str) -> Error {
    Error::new(Kind::Invalid, "unrecognized_operation", format!("Unrecognized operation {name:?}"))
}

/// Refuses a table that is not on the list: this endpoint leads to no others.
///
/// # Errors
/// `table_forbidden` (403).
pub fn allow(table: &str, allowed: &[String]) -> Result<()> {
    if allowed.iter().any(|name| name == table) {
        return Ok(());
    }
    Err(Error::new(Kind::Forbidden, "table_forbidden", "This table is not on the list of those that may be used."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(json: &str) -> Item {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn members_keep_their_text() {
        let before = item(r#"{"id":"a","price":78.890,"n":1e400,"deep":{"x":[0.10]}}"#);
        let updates = serde_json::from_str(r#"{"number":{"Value":10.00},"n":{"Action":"DELETE"}}"#).unwrap();
        let after = serde_json::to_string(&before.updated(&updates).unwrap()).unwrap();
        assert_eq!(after, r#"{"deep":{"x":[0.10]},"id":"a","number":10.00,"price":78.890}"#);
    }

    #[test]
    fn an_id_is_text_of_reasonable_length() {
        for good in ["a", &"x".repeat(MAX_ID_BYTES)] {
            assert_eq!(item(&format!(r#"{{"id":"{good}"}}"#)).id("").unwrap(), good);
        }
        for bad in [r#"{}"#, r#"{"id":1}"#, r#"{"id":""}"#, &format!(r#"{{"id":"{}"}}"#, "x".repeat(MAX_ID_BYTES + 1))]
        {
            assert_eq!(item(bad).id("").unwrap_err().code(), "invalid_request", "{bad}");
        }
    }
}
