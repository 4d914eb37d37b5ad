//! What was written once is read for ever: shops and events of all releases so far, and the API and the events that others
//! rely on.
//!
//! `tests/golden` has the export of a shop, and the events it emitted, in every form that any release has written. A release
//! that writes a new form adds files; none is ever changed. `UPDATE_GOLDEN=1 cargo test -p cartwright --test it golden` adds
//! what is new, and takes over the descriptions of the API and of the events when nothing in them breaks anybody.

mod asyncapi;
mod openapi;
mod schemas;
mod story;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cartwright::events::{Envelope, Event, Queue};
use cartwright::local::sqlite::{Building, Snapshot};
use cartwright::transfer::{Header, Reader, Record, Writer};
use serde_json::Value;

use crate::shop::TestShop;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

#[expect(clippy::disallowed_methods, reason = "the command that updates says so in the environment")]
fn may_update() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

const HOW: &str = "if that is meant, record it: UPDATE_GOLDEN=1 cargo test -p cartwright --test it golden";

/// Looks whether the description `today` breaks nobody who goes by the golden `file`, but for what is declared; takes it over
/// when that is asked for.
fn keep_description(file: &str, today: &Value, breaks: fn(&Value, &Value) -> BTreeSet<String>) {
    let (golden, declared) = (folder().join(file), folder().join("declared-breaks.txt"));
    if golden.exists() {
        let known: Value = serde_json::from_slice(&fs::read(&golden).unwrap()).unwrap();
        let lines = fs::read_to_string(&declared).unwrap_or_default();
        let mut undeclared = breaks(&known, today);
        undeclared.retain(|what| !lines.lines().any(|line| line == what));
        assert!(
            undeclared.is_empty(),
            "those who rely on it would break: {undeclared:#?}\nif that is meant, add these lines to {declared:?}"
        );
    }
    if may_update() {
        fs::write(&golden, serde_json::to_string_pretty(today).unwrap() + "\n").unwrap();
    }
    assert!(golden.exists(), "there is a golden description");
}

/// The golden files called so, from the oldest to the newest.
fn files(stem: &str) -> Vec<PathBuf> {
    (1..).map(|number| folder().join(format!("{stem}.{number}.ndjson"))).take_while(|path| path.exists()).collect()
}

fn next_file(stem: &str) -> PathBuf {
    folder().join(format!("{stem}.{}.ndjson", files(stem).len() + 1))
}

/// The form of a JSON value: where it has what. Elements of an array are all alike.
fn form_of(value: &Value) -> BTreeSet<String> {
    fn walk(value: &Value, at: &str, form: &mut BTreeSet<String>) {
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "text",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        form.insert(format!("{at}: {kind}"));
        match value {
            Value::Array(items) => items.iter().for_each(|item| walk(item, &format!("{at}/*"), form)),
            Value::Object(members) => {
                members.iter().for_each(|(name, member)| walk(member, &format!("{at}/{name}"), form));
            }
            _ => {}
        }
    }
    let mut form = BTreeSet::new();
    walk(value, "", &mut form);
    form
}

/// Forms by what has them.
type Forms = BTreeMap<String, BTreeSet<String>>;

fn add(forms: &mut Forms, what: String, value: &Value) {
    forms.entry(what).or_default().extend(form_of(value));
}

/// What `today` has that `known` has not.
fn news(today: &Forms, known: &Forms) -> Vec<String> {
    let none = BTreeSet::new();
    let missing = today.iter().flat_map(|(what, form)| {
        let known = known.get(what).unwrap_or(&none);
        form.difference(known).map(move |part| format!("{what}{part}"))
    });
    missing.collect()
}

fn records_of(file: &Path) -> Vec<Record> {
    let bytes = fs::read(file).unwrap();
    let (mut reader, mut records) = (Reader::new(&bytes[..]).unwrap(), Vec::new());
    while let Some(chunk) = reader.next_chunk().unwrap() {
        records.extend(chunk.records);
    }
    records
}

/// The kind of a document: its table, and its keys without what differs from one document to the next.
fn forms_of_documents(records: &[Record]) -> Forms {
    let mut forms = Forms::new();
    for record in records {
        let Record::Document(document) = record else { continue };
        // Up to the first separator, if that is a word; what begins with an id or a name has none.
        let is_word = |part: &&str| part.trim_end_matches('#').bytes().all(|byte| byte.is_ascii_uppercase());
        let name = |key: &str| key.split_inclusive('#').next().filter(is_word).unwrap_or_default().to_owned();
        let what = format!("{} {} {}", document.key.table.name(), name(&document.key.pk), name(&document.key.sk));
        // What a free-form item or a kept answer has is not ours to fix.
        if !what.contains("IDEMPOTENCY") && !what.starts_with("operations") {
            add(&mut forms, what, &serde_json::from_str(&document.body).unwrap());
        }
    }
    forms
}

fn events_of(file: &Path) -> Vec<Envelope> {
    fs::read_to_string(file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn forms_of_events(events: &[Envelope]) -> Forms {
    let mut forms = Forms::new();
    for event in events {
        add(&mut forms, event.detail_type.clone(), &serde_json::from_str(event.detail.get()).unwrap());
    }
    forms
}

fn export(shop: &TestShop) -> Vec<u8> {
    let snapshot = Snapshot::open(&shop.folder).unwrap();
    let mut writer = Writer::new(Vec::new(), &Header::new(snapshot.currency().unwrap())).unwrap();
    snapshot.export(|record| writer.write(record)).unwrap();
    writer.finish().unwrap().0
}

#[tokio::test]
async fn what_is_written_today_has_a_form_that_is_kept_for_ever() {
    let shop = TestShop::new().await;
    story::tell(&shop).await;
    let exported = export(&shop);
    let path = tempfile::NamedTempFile::new().unwrap();
    fs::write(path.path(), &exported).unwrap();
    let today = forms_of_documents(&records_of(path.path()));
    let known: Vec<Record> = files("shop").iter().flat_map(|file| records_of(file)).collect();
    let new_documents = news(&today, &forms_of_documents(&known));

    let emitted = shop.faults.emitted();
    let known: Vec<Envelope> = files("events").iter().flat_map(|file| events_of(file)).collect();
    let known = forms_of_events(&known);
    let new_events = news(&forms_of_events(&emitted), &known);
    shop.deliver_with_retries().await;
    for queue in Queue::ALL {
        shop.dead_letters(queue).await;
    }
    if may_update() {
        if !new_documents.is_empty() {
            fs::write(next_file("shop"), exported).unwrap();
        }
        if !new_events.is_empty() {
            let mut kept = Vec::new();
            let mut seen = known;
            for event in &emitted {
                let form = forms_of_events(std::slice::from_ref(event));
                if !news(&form, &seen).is_empty() {
                    form.into_iter().for_each(|(what, form)| seen.entry(what).or_default().extend(form));
                    kept.push(serde_json::to_string(event).unwrap());
                }
            }
            fs::write(next_file("events"), kept.join("\n") + "\n").unwrap();
        }
        return;
    }
    assert!(new_documents.is_empty(), "documents have a new form: {new_documents:#?}\n{HOW}");
    assert!(new_events.is_empty(), "events have a new form: {new_events:#?}\n{HOW}");
}

#[tokio::test]
async fn every_event_that_was_ever_written_is_still_understood() {
    let files = files("events");
    assert!(!files.is_empty(), "there are golden events");
    for file in files {
        let events = events_of(&file);
        for event in &events {
            let parsed = Event::parse(event).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let (before, after): (Value, Value) = (
                serde_json::from_str(event.detail.get()).unwrap(),
                serde_json::from_str(parsed.detail().get()).unwrap(),
            );
            let lost: Vec<_> = form_of(&before).difference(&form_of(&after)).cloned().collect();
            assert!(lost.is_empty(), "{}: {} loses {lost:?}", file.display(), event.detail_type);
        }
    }
}

#[tokio::test]
async fn every_shop_that_was_ever_written_is_still_read_and_goes_on() {
    let files = files("shop");
    assert!(!files.is_empty(), "there are golden shops");
    for file in files {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("data");
        let bytes = fs::read(&file).unwrap();
        let currency = Reader::new(&bytes[..]).unwrap().header().currency;
        let mut building = Building::begin(&folder, currency).unwrap();
        records_of(&file).iter().for_each(|record| building.add(record).unwrap());
        building.finish(currency).unwrap();
        let shop = TestShop::over(temp).await;
        shop.deliver_with_retries().await;
        story::go_on(&shop).await;
        shop.deliver_with_retries().await;
        for queue in Queue::ALL {
            for letter in shop.dead_letters(queue).await {
                assert!(letter.reason.starts_with("malformed_event"), "{}: {letter:?}", file.display());
            }
        }
    }
}
