//! Reads `deploy/template.yaml` as AWS's language extensions do: loops are written out, and what is known is put in.

use std::collections::BTreeMap;
use std::path::Path;

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};

/// What the stack is called in these tests, and where it is.
const KNOWN: [(&str, &str); 5] = [
    ("AWS::StackName", "shop"),
    ("AWS::Partition", "aws"),
    ("AWS::Region", "eu-central-1"),
    ("AWS::AccountId", "123456789012"),
    ("AWS::URLSuffix", "amazonaws.com"),
];

/// The template, written out. Functions are in their long form (`{"Ref": …}`); those that CloudFormation alone can answer
/// are still there.
pub struct Template {
    /// The names of all loops, wherever they are.
    pub loops: Vec<String>,
    pub mappings: Value,
    pub parameters: Value,
    pub outputs: BTreeMap<String, Value>,
    pub resources: BTreeMap<String, Value>,
}

impl Template {
    /// The template of this checkout, for `prod`, all other parameters as they are by default.
    pub fn read() -> Template {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/template.yaml");
        let text = std::fs::read_to_string(path).unwrap();
        let whole = long_form(&Yaml::load_from_str(&text).unwrap()[0]);
        let mut known: BTreeMap<String, String> =
            KNOWN.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        for (name, parameter) in whole["Parameters"].as_object().unwrap() {
            if let Some(default) = parameter["Default"].as_str().filter(|default| !default.is_empty()) {
                known.insert(name.clone(), default.to_owned());
            }
        }
        known.insert("StageName".into(), "prod".into());
        let reader = Reader { mappings: &whole["Mappings"] };
        let section = |name: &str| match reader.expand(&whole[name], &known) {
            Value::Object(section) => section.into_iter().collect(),
            other => panic!("{name} is {other}"),
        };
        let (outputs, mut resources): (_, BTreeMap<String, Value>) = (section("Outputs"), section("Resources"));
        let globals = reader.expand(&whole["Globals"]["Function"], &known);
        for function in resources.values_mut().filter(|resource| resource["Type"] == "AWS::Serverless::Function") {
            let own = function["Properties"].take();
            function["Properties"] = merged(globals.clone(), own);
        }
        let (mappings, parameters) = (whole["Mappings"].clone(), whole["Parameters"].clone());
        Template { loops: loops_in(&whole), mappings, parameters, outputs, resources }
    }

    /// The properties of the resource called so, which is of this type.
    pub fn properties(&self, id: &str, kind: &str) -> &Value {
        let resource = self.resources.get(id).unwrap_or_else(|| panic!("there is no {id}"));
        assert_eq!(resource["Type"], kind, "{id}");
        &resource["Properties"]
    }

    /// Names and properties of all resources of a type.
    pub fn all(&self, kind: &str) -> impl Iterator<Item = (&str, &Value)> {
        let of_kind = self.resources.iter().filter(move |(_, resource)| resource["Type"] == kind);
        of_kind.map(|(id, resource)| (id.as_str(), &resource["Properties"]))
    }
}

/// The reference to an attribute of a resource.
pub fn get_att(id: &str, attribute: &str) -> Value {
    json!({"Fn::GetAtt": [id, attribute]})
}

fn loops_in(value: &Value) -> Vec<String> {
    let mut loops = Vec::new();
    match value {
        Value::Array(items) => items.iter().for_each(|item| loops.extend(loops_in(item))),
        Value::Object(entries) => {
            for (key, value) in entries {
                loops.extend(key.strip_prefix("Fn::ForEach::").map(str::to_owned));
                loops.extend(loops_in(value));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    loops
}

/// `own` over `globals`, as SAM merges them.
fn merged(globals: Value, own: Value) -> Value {
    match (globals, own) {
        (Value::Object(mut globals), Value::Object(own)) => {
            for (name, value) in own {
                let below = globals.remove(&name).unwrap_or(Value::Null);
                globals.insert(name, merged(below, value));
            }
            Value::Object(globals)
        }
        (_, own) => own,
    }
}

/// YAML as JSON, with `!Sub` and its like in their long form.
fn long_form(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Tagged(tag, inner) => {
            let inner = long_form(inner);
            match (tag.suffix.as_str(), &inner) {
                ("Ref" | "Condition", _) => json!({tag.suffix.as_str(): inner}),
                ("GetAtt", Value::String(path)) => {
                    let (id, attribute) = path.split_once('.').unwrap();
                    get_att(id, attribute)
                }
                (name, _) => json!({format!("Fn::{name}"): inner}),
            }
        }
        Yaml::Sequence(items) => items.iter().map(long_form).collect(),
        Yaml::Mapping(entries) => {
            let entries = entries.iter().map(|(key, value)| (key.as_str().unwrap().to_owned(), long_form(value)));
            Value::Object(entries.collect())
        }
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => json!(value),
        Yaml::Value(Scalar::Integer(value)) => json!(value),
        Yaml::Value(Scalar::FloatingPoint(value)) => json!(value.0),
        Yaml::Value(Scalar::String(value)) => json!(value),
        Yaml::Representation(..) | Yaml::Alias(_) | Yaml::BadValue => panic!("not in a template: {yaml:?}"),
    }
}

struct Reader<'a> {
    mappings: &'a Value,
}

impl Reader<'_> {
    /// `value` with its loops written out, and with what is `known` put in.
    fn expand(&self, value: &Value, known: &BTreeMap<String, String>) -> Value {
        match value {
            Value::Array(items) => items.iter().map(|item| self.expand(item, known)).collect(),
            Value::Object(entries) => {
                if let (1, Some((name, argument))) = (entries.len(), entries.iter().next())
                    && (name == "Ref" || name.starts_with("Fn::") && !name.starts_with("Fn::ForEach"))
                {
                    return self.call(name, argument, known);
                }
                let mut written = Map::new();
                for (key, value) in entries {
                    if key.starts_with("Fn::ForEach::") {
                        self.repeat(value, known, &mut written);
                    } else {
                        put(&mut written, substitute(key, known), self.expand(value, known));
                    }
                }
                Value::Object(written)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
        }
    }

    fn repeat(&self, looped: &Value, known: &BTreeMap<String, String>, written: &mut Map<String, Value>) {
        for item in looped[1].as_array().unwrap() {
            let mut known = known.clone();
            known.insert(looped[0].as_str().unwrap().to_owned(), item.as_str().unwrap().to_owned());
            let Value::Object(entries) = self.expand(&looped[2], &known) else { panic!("not a loop: {looped}") };
            entries.into_iter().for_each(|(key, value)| put(written, key, value));
        }
    }

    fn call(&self, name: &str, argument: &Value, known: &BTreeMap<String, String>) -> Value {
        let argument = self.expand(argument, known);
        match (name, &argument) {
            ("Ref", Value::String(name)) if known.contains_key(name) => json!(known[name]),
            ("Fn::Sub", Value::String(text)) => substituted(text, known),
            ("Fn::Sub", Value::Array(parts)) => {
                let mut known = known.clone();
                for (name, value) in parts[1].as_object().unwrap() {
                    known.extend(value.as_str().map(|value| (name.clone(), value.to_owned())));
                }
                substituted(parts[0].as_str().unwrap(), &known)
            }
            ("Fn::FindInMap", Value::Array(path)) => {
                let path: Vec<_> = path.iter().map(|step| step.as_str().unwrap()).collect();
                let found = &self.mappings[path[0]][path[1]][path[2]];
                assert!(!found.is_null(), "Mappings have no {path:?}");
                found.clone()
            }
            _ => json!({name: argument}),
        }
    }
}

fn put(written: &mut Map<String, Value>, key: String, value: Value) {
    assert!(!written.contains_key(&key), "{key} is there twice");
    written.insert(key, value);
}

fn substitute(text: &str, known: &BTreeMap<String, String>) -> String {
    known.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value))
}

fn substituted(text: &str, known: &BTreeMap<String, String>) -> Value {
    let text = substitute(text, known);
    if text.contains("${") { json!({"Fn::Sub": text}) } else { json!(text) }
}
