//! The words by which a product is found: those of its name. Pure.

use std::collections::BTreeSet;

/// Most words of a name by which a product is found. Each is an item of the commit that writes the product.
const MAX_WORDS: usize = 16;
/// Longest word that is kept, in characters; longer ones are found by so many.
const MAX_WORD_CHARS: usize = 40;
/// Shortest word that a search goes through. Shorter ones only narrow it down.
pub const MIN_WORD_CHARS: usize = 2;

/// The words of a text in lower case: runs of letters and digits, cut where they are too long.
fn words(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| word.chars().flat_map(char::to_lowercase).take(MAX_WORD_CHARS).collect())
}

/// The words under which a product of this name is listed.
pub fn indexed_words(name: &str) -> BTreeSet<String> {
    words(name).filter(|word| word.chars().count() >= MIN_WORD_CHARS).take(MAX_WORDS).collect()
}

/// What someone searches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// The longest word: the one that goes through the index.
    pub lead: String,
    others: Vec<String>,
}

impl Search {
    /// The search for these words; none when none of them is long enough to go through the index.
    pub fn of(text: &str) -> Option<Search> {
        let mut others: Vec<String> = words(text).take(MAX_WORDS).collect();
        let lead = (0..others.len()).rev().max_by_key(|&at| others[at].chars().count())?;
        let lead = others.swap_remove(lead);
        (lead.chars().count() >= MIN_WORD_CHARS).then_some(Search { lead, others })
    }

    /// Whether a product of this name, listed under `listed`, is to be shown there: each word that is searched for begins a
    /// word of the name, and it was not shown under an earlier word already.
    pub fn finds(&self, name: &str, listed: &str) -> bool {
        let all: Vec<String> = words(name).collect();
        let first = indexed_words(name).into_iter().find(|word| word.starts_with(&self.lead));
        first.as_deref() == Some(listed)
            && self.others.iter().all(|sought| all.iter().any(|word| word.starts_with(sought)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_by_the_beginnings_of_its_words_in_any_order_and_case() {
        let name = "Veylo 7 Plus Smartphone, 256 GB";
        for (sought, listed, found) in [
            ("smart", "smartphone", true),
            ("VEYLO smart", "smartphone", false),
            ("veylo 7 plu", "veylo", true),
            ("256 veylo", "veylo", true),
            ("phone", "smartphone", false),
            ("veylo 8", "veylo", false),
        ] {
            let search = Search::of(sought).unwrap();
            assert_eq!(search.finds(name, listed), found, "{sought}: {search:?}");
        }
        assert_eq!(Search::of("7"), None);
        assert_eq!(Search::of(" -,- "), None);
    }

    #[test]
    fn a_name_with_two_words_that_begin_alike_is_shown_once() {
        let search = Search::of("phone").unwrap();
        assert!(search.finds("Phones and Phone", "phone"));
        assert!(!search.finds("Phones and Phone", "phones"));
    }

    #[test]
    fn words_are_bounded_in_number_and_length() {
        let name = (0..40).map(|n| format!("w{n}")).collect::<Vec<_>>().join(" ");
        assert_eq!(indexed_words(&name).len(), MAX_WORDS);
        assert_eq!(indexed_words(&"ß".repeat(200)).first().unwrap().chars().count(), MAX_WORD_CHARS);
    }
}
