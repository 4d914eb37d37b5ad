//! What was sent of people: names, addresses, cards, secrets. Whoever runs the suite can then look for it in a log, where it must
//! not be.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// Members of bodies whose texts tell of people, whatever the case of their letters.
const PERSONAL: [&str; 20] = [
    "username",
    "customer",
    "name",
    "firstname",
    "lastname",
    "email",
    "emailaddress",
    "address",
    "addressline",
    "addressline1",
    "addressline2",
    "street",
    "city",
    "zip",
    "zipcode",
    "postalcode",
    "phone",
    "cardinfo",
    "card",
    "note",
];
/// Headers that are secrets.
const SECRET: [&str; 3] = ["authorization", "x-api-key", "cookie"];
/// Texts shorter than this are found in any log.
const MIN_CHARS: usize = 6;

/// What was sent so far.
#[derive(Default)]
pub(crate) struct Sent(Mutex<BTreeSet<String>>);

impl Sent {
    /// Notes what a request tells.
    pub(crate) fn note(&self, path: &str, headers: &[(&str, &str)], body: Option<&str>) {
        let mut found = Vec::new();
        if let Some(body) = body.and_then(|body| serde_json::from_str(body).ok()) {
            collect(&body, false, &mut found);
        }
        found.extend(path.split(['/', '?', '&', '=']).filter(|part| is_name_of_a_run(part)).map(str::to_owned));
        let secrets = headers.iter().filter(|(name, _)| SECRET.contains(name));
        found.extend(secrets.map(|(_, value)| (*value).to_owned()));
        // A user called like a path is no sign of anybody.
        found.retain(|text| text.chars().count() >= MIN_CHARS && text != "checkout");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
    }

    /// Notes a secret, if there is one.
    pub(crate) fn note_secret(&self, secret: Option<&str>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(secret.map(str::to_owned));
    }

    /// Writes all of it, one value a line.
    ///
    /// # Errors
    /// Those of the file.
    pub(crate) fn write(&self, file: &Path) -> io::Result<()> {
        let sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: String = sent.iter().filter(|text| !text.contains('\n')).map(|text| format!("{text}\n")).collect();
        std::fs::write(file, lines)
    }
}

/// The texts of a body that tell of people. `is_personal` when all below a member do.
fn collect(value: &Value, is_personal: bool, found: &mut Vec<String>) {
    match value {
        Value::String(text) if is_personal || text.contains('@') => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, is_personal, found)),
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            collect(value, is_personal || PERSONAL.contains(&name.to_ascii_lowercase().as_str()), found);
        }),
        _ => {}
    }
}

/// Whether a part of a path is a name that a check has made, which ends in the run's: `ann-19aa3f-7`.
fn is_name_of_a_run(part: &str) -> bool {
    let mut ends = part.rsplitn(3, '-');
    let (at, run) = (ends.next().unwrap_or_default(), ends.next().unwrap_or_default());
    let is = |text: &str, digits: fn(&u8) -> bool| !text.is_empty() && text.as_bytes().iter().all(digits);
    is(at, u8::is_ascii_digit) && run.len() > 8 && is(run, u8::is_ascii_hexdigit) && ends.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mail_addresses_cards_and_keys_are_noted_wherever_they_are() {
        let sent = Sent::default();
        let body = r#"{"userName": "annabel", "price": {"currency": "DOLLAR"}, "address": {"line": "1 Main Street"},
            "payload": {"Item": {"Email": "a@example.com"}}, "cardInfo": "5554443322221111", "items": [{"name": "Teapot"}]}"#;
        sent.note("/v1/baskets/bob-19aa3f00b1c-7/items?x=1", &[("authorization", "Bearer t")], Some(body));
        let noted: Vec<String> = sent.0.lock().unwrap().iter().cloned().collect();
        let all = [
            "1 Main Street",
            "5554443322221111",
            "Bearer t",
            "Teapot",
            "a@example.com",
            "annabel",
            "bob-19aa3f00b1c-7",
        ];
        assert_eq!(noted, all);
    }
}
