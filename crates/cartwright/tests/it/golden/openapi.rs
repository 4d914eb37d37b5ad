//! The description of the API, beside the one that callers know: what they rely on is still there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use super::{folder, may_update};
use crate::shop::TestShop;

/// Fields of a schema by their pointers: whether each must be there.
type Fields = BTreeMap<String, bool>;

/// Deepest nesting that is looked at: schemas may refer to themselves.
const MAX_DEPTH: usize = 8;

fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str().and_then(|reference| document.pointer(reference.trim_start_matches('#'))) {
        Some(target) => resolve(document, target),
        None => schema,
    }
}

/// Adds the fields of a schema, of those it is made of, and of what is in it.
fn collect(document: &Value, schema: &Value, at: &str, depth: usize, fields: &mut Fields) {
    if depth > MAX_DEPTH {
        return;
    }
    let schema = resolve(document, schema);
    for part in ["allOf", "oneOf", "anyOf"] {
        for schema in schema[part].as_array().into_iter().flatten() {
            let mut inner = Fields::new();
            collect(document, schema, at, depth + 1, &mut inner);
            // What only one of several forms wants is not wanted of all.
            for (at, required) in inner {
                fields.entry(at).or_insert(required && part == "allOf");
            }
        }
    }
    if schema["items"].is_object() {
        collect(document, &schema["items"], &format!("{at}/*"), depth + 1, fields);
    }
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let at = format!("{at}/{name}");
        fields.insert(at.clone(), required.contains(&name.as_str()));
        collect(document, property, &at, depth + 1, fields);
    }
}

fn fields_of(document: &Value, content: &Value) -> Fields {
    let mut fields = Fields::new();
    for media in content.as_object().into_iter().flat_map(|content| content.values()) {
        collect(document, &media["schema"], "", 0, &mut fields);
    }
    fields
}

/// Everything in `new` that breaks a caller who goes by `old`, a line each.
fn breaks(old: &Value, new: &Value) -> BTreeSet<String> {
    let mut broken = BTreeSet::new();
    for (path, operations) in old["paths"].as_object().unwrap() {
        for (method, before) in operations.as_object().unwrap() {
            let name = format!("{} {path}", method.to_uppercase());
            let Some(after) = new["paths"][path].get(method) else {
                broken.insert(format!("{name} is gone"));
                continue;
            };
            let mut note = |what: String| {
                broken.insert(format!("{name}: {what}"));
            };
            for (status, response) in before["responses"].as_object().unwrap() {
                if !status.starts_with('2') {
                    continue;
                }
                let now = fields_of(new, &resolve(new, &after["responses"][status])["content"]);
                for field in fields_of(old, &resolve(old, response)["content"]).keys() {
                    if !now.contains_key(field) {
                        note(format!("{field} is gone from the answer {status}"));
                    }
                }
            }
            let (was, now) =
                (fields_of(old, &before["requestBody"]["content"]), fields_of(new, &after["requestBody"]["content"]));
            for (field, required) in &now {
                let parent = field.rsplit_once('/').map_or("", |(parent, _)| parent);
                let sent = parent.is_empty() || was.contains_key(parent.trim_end_matches("/*"));
                if *required && sent && was.get(field) != Some(&true) {
                    note(format!("{field} must now be sent"));
                }
            }
            was.keys()
                .filter(|field| !now.contains_key(*field))
                .for_each(|field| note(format!("{field} is not taken any more")));
            let parameters = |operation: &Value| -> BTreeMap<String, bool> {
                let all = operation["parameters"].as_array().cloned().unwrap_or_default();
                let named = |one: Value| (format!("{} {}", one["in"], one["name"]), one["required"] == true);
                all.into_iter().map(named).collect()
            };
            let (was, now) = (parameters(before), parameters(after));
            was.keys()
                .filter(|one| !now.contains_key(*one))
                .for_each(|one| note(format!("the parameter {one} is gone")));
            for (one, _) in now.iter().filter(|(one, required)| **required && was.get(*one) != Some(&true)) {
                note(format!("the parameter {one} must now be sent"));
            }
        }
    }
    broken
}

#[tokio::test]
async fn the_api_keeps_what_callers_rely_on() {
    let shop = TestShop::new().await;
    let today: Value = serde_json::from_slice(&shop.raw("/openapi.json").await).unwrap();
    let (golden, declared) = (folder().join("openapi.json"), folder().join("declared-breaks.txt"));
    if golden.exists() {
        let known: Value = serde_json::from_slice(&fs::read(&golden).unwrap()).unwrap();
        let declared = fs::read_to_string(&declared).unwrap_or_default();
        let mut undeclared = breaks(&known, &today);
        undeclared.retain(|what| !declared.lines().any(|line| line == what));
        assert!(
            undeclared.is_empty(),
            "callers would break: {undeclared:#?}\nif that is meant, add these lines to {declared:?}"
        );
    }
    if may_update() {
        fs::write(&golden, serde_json::to_string_pretty(&today).unwrap() + "\n").unwrap();
    }
    assert!(golden.exists(), "there is a golden description");
}

#[test]
fn what_breaks_a_caller_is_found() {
    let document = |schema: Value, answer: Value| {
        serde_json::json!({"paths": {"/a": {"post": {"requestBody": {"content": {"application/json": {"schema": schema}}},
            "responses": {"200": {"content": {"application/json": {"schema": answer}}}}}}}})
    };
    let schema = |names: &[&str], required: &[&str]| {
        let properties: serde_json::Map<_, _> =
            names.iter().map(|name| ((*name).to_owned(), serde_json::json!({}))).collect();
        serde_json::json!({"properties": properties, "required": required})
    };
    let old = document(schema(&["a"], &["a"]), schema(&["x"], &[]));
    let more = document(schema(&["a", "b"], &["a"]), schema(&["x", "y"], &["x"]));
    assert_eq!(breaks(&old, &more), BTreeSet::new(), "additions break nobody");
    let less = document(schema(&["b"], &["b"]), schema(&["y"], &[]));
    let found: Vec<String> = breaks(&old, &less).into_iter().collect();
    assert_eq!(
        found,
        [
            "POST /a: /a is not taken any more",
            "POST /a: /b must now be sent",
            "POST /a: /x is gone from the answer 200"
        ]
    );
    assert_eq!(breaks(&old, &serde_json::json!({"paths": {}})).into_iter().collect::<Vec<_>>(), ["POST /a is gone"]);
}
