//! The description of the API, beside the one that callers know: what they rely on is still there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::schemas::{Fields, breaks_of_readers, breaks_of_writers, collect, resolve};
use crate::shop::TestShop;

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
                let was = fields_of(old, &resolve(old, response)["content"]);
                let now = fields_of(new, &resolve(new, &after["responses"][status])["content"]);
                breaks_of_readers(&was, &now).iter().for_each(|what| note(format!("in the answer {status} {what}")));
            }
            let (was, now) =
                (fields_of(old, &before["requestBody"]["content"]), fields_of(new, &after["requestBody"]["content"]));
            breaks_of_writers(&was, &now).into_iter().for_each(&mut note);
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
    super::keep_description("openapi.json", &today, breaks);
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
        ["POST /a: /a is not taken any more", "POST /a: /b must now be sent", "POST /a: in the answer 200 /x is gone"]
    );
    assert_eq!(breaks(&old, &serde_json::json!({"paths": {}})).into_iter().collect::<Vec<_>>(), ["POST /a is gone"]);
}
