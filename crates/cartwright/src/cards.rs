//! What payment cards tell is taken out of whatever comes from outside, before it is stored.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::{RawValue, to_raw_value};

use crate::values::CardLast4;

/// How deep what is looked through may be nested: as deep as serde_json reads.
const MAX_DEPTH: usize = 128;

type Members<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// A detail without what it tells of payment cards, at any depth: a member with "card" in its name is taken out, and where
/// it was a card's number or its last four digits, `cardLast4` is put in its place. Others keep their exact text, and what
/// tells of no card is left as it is.
///
/// # Errors
/// When it is not JSON; when it is nested more than 128 deep, and may tell of cards.
pub fn without_cards(detail: &str) -> serde_json::Result<Box<RawValue>> {
    // A name may be written in escapes.
    if !detail.to_ascii_lowercase().contains("card") && !detail.contains("\\u") {
        return RawValue::from_string(detail.to_owned());
    }
    without(detail, 0)
}

fn without(detail: &str, depth: usize) -> serde_json::Result<Box<RawValue>> {
    if depth == MAX_DEPTH {
        return Err(serde::de::Error::custom("nested too deeply"));
    }
    let text = detail.trim();
    if text.starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(text)?;
        let items = items.into_iter().map(|item| without(item.get(), depth + 1));
        return to_raw_value(&items.collect::<serde_json::Result<Vec<_>>>()?);
    }
    if !text.starts_with('{') {
        return RawValue::from_string(text.to_owned());
    }
    let members: Members<'_> = serde_json::from_str(text)?;
    let (mut kept, mut tail) = (BTreeMap::new(), None);
    for (name, value) in members {
        if name.to_ascii_lowercase().contains("card") {
            tail = tail.or(last_four(value));
        } else {
            kept.insert(name, without(value.get(), depth + 1)?);
        }
    }
    if let Some(tail) = tail {
        kept.insert("cardLast4".into(), to_raw_value(&tail)?);
    }
    to_raw_value(&kept)
}

/// What may be kept of a card: its last four digits.
fn last_four(value: &RawValue) -> Option<CardLast4> {
    let text = serde_json::from_str::<String>(value.get()).unwrap_or_else(|_| value.get().to_owned());
    CardLast4::of_card(&text).or_else(|| CardLast4::try_from(text).ok())
}

/// A text that may be anything: JSON [without what it tells of cards](without_cards), or any other text with whatever may
/// be the number of a card cut down to its last four digits.
pub fn text_without_cards(text: &str) -> String {
    if let Ok(json) = without_cards(text) {
        return json.get().to_owned();
    }
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_alphanumeric()) {
        let (before, from) = rest.split_at(at);
        let word_of = |text: &str| text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len());
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // A word, or several of digits with one space or dash between each two.
        let mut end = word_of(from);
        let mut goes_on = is_number(&from[..end]);
        while goes_on && let Some(more) = from[end..].strip_prefix([' ', '-']) {
            let word = word_of(more);
            goes_on = is_number(&more[..word]);
            end += if goes_on { 1 + word } else { 0 };
        }
        kept.push_str(before);
        match CardLast4::of_card(&from[..end]) {
            Some(tail) => kept.push_str(&format!("****{}", String::from(tail))),
            None => kept.push_str(&from[..end]),
        }
        rest = &from[end..];
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_are_cut_down_in_texts_that_are_no_json() {
        for (text, kept) in [
            ("{torn 5554 4433-2222 1111, and 12 345", "{torn ****1111, and 12 345"),
            ("\"cardInfo\":\"5554443322221111\",", "\"cardInfo\":\"****1111\","),
            ("żółw 5554443322221111", "żółw ****1111"),
            ("id 01942a9c-7038-7652-946f-424cdab22133", "id 01942a9c-7038-7652-946f-424cdab22133"),
            ("x5554443322221111 55544433222211115554", "x5554443322221111 55544433222211115554"),
            ("", ""),
        ] {
            assert_eq!(text_without_cards(text), kept);
        }
        assert_eq!(text_without_cards(r#"{"card":1,"b":1.50, "a":2}"#), r#"{"a":2,"b":1.50}"#);
        assert_eq!(text_without_cards(r#"{"b":1.50, "a":2}"#), r#"{"b":1.50, "a":2}"#);
        let deep = "[".repeat(100_000) + "{\"card\":1}";
        assert_eq!(text_without_cards(&deep), deep, "and nothing is too deep for it");
        assert!(without_cards(&(deep + &"]".repeat(100_000))).is_err());
    }

    #[test]
    fn cards_are_taken_out_at_any_depth_and_the_rest_stays_exact() {
        let without = |detail: &str| without_cards(detail).unwrap().get().to_owned();
        assert_eq!(
            without(r#"{"price":950.40,"cardInfo":"5554 4433-2222 1111","n":12345678901234567890123}"#),
            r#"{"cardLast4":"1111","n":12345678901234567890123,"price":950.40}"#
        );
        assert_eq!(without(r#"{"c\u0061rdInfo":5554443322221111}"#), r#"{"cardLast4":"1111"}"#);
        assert_eq!(without(r#"{"cardInfo":"5554443322221111","cardInfo":"x"}"#), "{}");
        assert_eq!(without(r#"{"cardLast4":"1111"}"#), r#"{"cardLast4":"1111"}"#);
        assert_eq!(without(r#"{"cardLast4":"5554443322221111"}"#), r#"{"cardLast4":"1111"}"#);
        assert_eq!(
            without(r#"{"a":[{"credit_card":{"number":"5554443322221111"}}],"b":{"CardInfo":"5554443322221111"}}"#),
            r#"{"a":[{}],"b":{"cardLast4":"1111"}}"#
        );
    }
}
