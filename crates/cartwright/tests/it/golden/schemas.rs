//! Schemas of a document as those see them who read what they describe, or write it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Fields of a schema by their pointers.
pub type Fields = BTreeMap<String, Field>;

/// A field as a reader or a writer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    is_required: bool,
    /// What it may be; anything when there is nothing.
    kinds: BTreeSet<String>,
}

/// Deepest nesting that is looked at: schemas may refer to themselves.
const MAX_DEPTH: usize = 8;
/// How a schema is made of others.
const PARTS: [&str; 3] = ["allOf", "oneOf", "anyOf"];

pub fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str().and_then(|reference| document.pointer(reference.trim_start_matches('#'))) {
        Some(target) => resolve(document, target),
        None => schema,
    }
}

fn parts<'a>(schema: &'a Value, part: &str) -> impl Iterator<Item = &'a Value> {
    schema[part].as_array().into_iter().flatten()
}

/// The types that a value of this schema may have, with their formats.
fn kinds(document: &Value, schema: &Value, depth: usize) -> BTreeSet<String> {
    let schema = resolve(document, schema);
    let names: Vec<&str> = match &schema["type"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        name => name.as_str().into_iter().collect(),
    };
    let format = schema["format"].as_str().map(|format| format!(" ({format})")).unwrap_or_default();
    let mut kinds: BTreeSet<String> = names
        .into_iter()
        .map(|name| if name == "null" { name.to_owned() } else { format!("{name}{format}") })
        .collect();
    if let Some(only) = schema.get("const") {
        kinds.insert(format!("only {only}"));
    }
    if depth < MAX_DEPTH {
        let all = PARTS.into_iter().flat_map(|part| parts(schema, part));
        kinds.extend(all.flat_map(|schema| self::kinds(document, schema, depth + 1)));
    }
    kinds
}

/// Adds the fields of a schema, of those it is made of, and of what is in it.
pub fn collect(document: &Value, schema: &Value, at: &str, depth: usize, fields: &mut Fields) {
    if depth > MAX_DEPTH {
        return;
    }
    let schema = resolve(document, schema);
    for part in PARTS {
        for schema in parts(schema, part) {
            let mut inner = Fields::new();
            collect(document, schema, at, depth + 1, &mut inner);
            // What only one of several forms wants is not wanted of all.
            for (at, field) in inner {
                let is_required = field.is_required && part == "allOf";
                fields.entry(at).or_insert(Field { is_required, ..field });
            }
        }
    }
    if schema["items"].is_object() {
        collect(document, &schema["items"], &format!("{at}/*"), depth + 1, fields);
    }
    let required: Vec<&str> = parts(schema, "required").filter_map(Value::as_str).collect();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let at = format!("{at}/{name}");
        let is_required = required.contains(&name.as_str());
        fields.insert(at.clone(), Field { is_required, kinds: kinds(document, property, 0) });
        collect(document, property, &at, depth + 1, fields);
    }
}

/// Whether everything that is one of `these` is one of `those`.
fn are_among(these: &BTreeSet<String>, those: &BTreeSet<String>) -> bool {
    those.is_empty() || (!these.is_empty() && these.is_subset(those))
}

/// What breaks those who read what is written.
pub fn breaks_of_readers(was: &Fields, now: &Fields) -> Vec<String> {
    let broken = was.iter().filter_map(|(at, before)| match now.get(at) {
        None => Some(format!("{at} is gone")),
        Some(after) if before.is_required && !after.is_required => Some(format!("{at} is no longer promised")),
        Some(after) if !are_among(&after.kinds, &before.kinds) => Some(format!("{at} has another type")),
        Some(_) => None,
    });
    broken.collect()
}

/// What breaks those who write what is read.
pub fn breaks_of_writers(was: &Fields, now: &Fields) -> Vec<String> {
    let newly_required = now.iter().filter_map(|(at, after)| {
        let parent = at.rsplit_once('/').map_or("", |(parent, _)| parent);
        let is_sent = parent.is_empty() || was.contains_key(parent.trim_end_matches("/*"));
        let was_required = was.get(at).is_some_and(|before| before.is_required);
        (after.is_required && is_sent && !was_required).then(|| format!("{at} must now be sent"))
    });
    let refused = was.iter().filter_map(|(at, before)| match now.get(at) {
        None => Some(format!("{at} is not taken any more")),
        Some(after) if !are_among(&before.kinds, &after.kinds) => Some(format!("{at} must have another type")),
        Some(_) => None,
    });
    newly_required.chain(refused).collect()
}
