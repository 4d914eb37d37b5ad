//! Pages as callers see them: the opaque cursor, and one ordered list out of several shards.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::try_join_all;

use super::{Doc, Key, MAX_SORT_KEY_BYTES, Page, Partition, Range, Store, Table};
use crate::error::{Error, Result};

/// An opaque cursor: where a list goes on, bound to the list it came from.
///
/// It carries the sort key after which the next page begins and a digest of the list's name, so that a cursor of one
/// list is refused by another instead of silently giving the wrong page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(String);

const DIGEST_BYTES: usize = 4;

impl Cursor {
    /// A cursor that goes on after `sk` in the list called `scope`.
    pub fn new(scope: &str, sk: &str) -> Self {
        let mut bytes = digest(scope).to_vec();
        bytes.extend_from_slice(sk.as_bytes());
        Cursor(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The sort key to go on after.
    ///
    /// # Errors
    /// `invalid_request` at `?cursor` when the text is no cursor, or one of another list.
    pub fn read(scope: &str, text: &str) -> Result<String> {
        let refuse =
            || Error::field("?cursor", "is not a cursor of this list; use one from a previous answer, unchanged");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| refuse())?;
        let (theirs, sk) = bytes.split_at_checked(DIGEST_BYTES).ok_or_else(refuse)?;
        if theirs != digest(scope) || sk.is_empty() || sk.len() > MAX_SORT_KEY_BYTES {
            return Err(refuse());
        }
        String::from_utf8(sk.to_vec()).map_err(|_| refuse())
    }

    /// The text of the cursor, safe in a URL.
    pub fn into_text(self) -> String {
        self.0
    }
}

fn digest(scope: &str) -> [u8; DIGEST_BYTES] {
    let hash = blake3::hash(scope.as_bytes());
    std::array::from_fn(|at| hash.as_bytes()[at])
}

/// Partitions that documents which are listed together are spread over. One partition takes about a thousand writes a
/// second on DynamoDB, and new ones often all go to the end of it. Fixed for ever: keys depend on it.
const SHARDS: usize = 16;

/// Documents that are listed together, over several partitions: those of the name, each with the number of a shard.
#[derive(Debug, Clone)]
pub struct Sharded {
    table: Table,
    name: String,
}

impl Sharded {
    /// The documents called `name` of `table`.
    pub fn new(table: Table, name: impl Into<String>) -> Self {
        Sharded { table, name: name.into() }
    }

    /// The key of the document with this sort key, which decides the shard.
    pub fn key(&self, sk: impl Into<String>) -> Key {
        let sk = sk.into();
        self.partition(shard_of(&sk)).key(sk)
    }

    /// All of the documents, for [`list_merged`], in ascending order.
    pub fn all(&self) -> Vec<Range> {
        (0..SHARDS).map(|shard| self.partition(shard).all()).collect()
    }

    /// All of the documents, for [`list_merged`], in descending order.
    pub fn all_descending(&self) -> Vec<Range> {
        self.all().into_iter().map(Range::descending).collect()
    }

    fn partition(&self, shard: usize) -> Partition {
        Partition::new(self.table, format!("{}#{shard:02}", self.name))
    }
}

fn shard_of(id: &str) -> usize {
    let hash = blake3::hash(id.as_bytes());
    usize::from(u16::from_be_bytes([hash.as_bytes()[0], hash.as_bytes()[1]])) % SHARDS
}

/// What is asked of each of several ranges beyond its share of a page, because they are never equally full there.
const MARGIN: usize = 4;

/// One page of several ranges of one direction as if they were one list. Every sort key may be in one of them only.
///
/// Each range is asked for little more than its share of the page, and for more only while it may have something that belongs
/// before the page's end.
///
/// # Errors
/// As [`Store::list`].
pub async fn list_merged(store: &dyn Store, ranges: &[Range], after: Option<&str>, limit: usize) -> Result<Page> {
    let limit = limit.max(1);
    let share = limit.min(2 * limit.div_ceil(ranges.len().max(1)) + MARGIN);
    let descending = ranges.first().is_some_and(|range| range.descending);
    let order = |a: &str, b: &str| if descending { b.cmp(a) } else { a.cmp(b) };
    let mut docs: Vec<Doc> = Vec::new();
    // Where the ranges go on that are to be read, and those that need not be.
    let mut behind: Vec<_> = ranges.iter().map(|range| (range, after.map(str::to_owned))).collect();
    let mut beyond = Vec::new();
    while !behind.is_empty() {
        let pages = behind.iter().map(|(range, after)| store.list(range, after.as_deref(), share));
        let pages = try_join_all(pages).await?;
        for ((range, _), Page { docs: more, next }) in behind.drain(..).zip(pages) {
            docs.extend(more);
            beyond.extend(next.map(|next| (range, next)));
        }
        docs.sort_by(|a, b| order(&a.sk, &b.sk));
        let end = docs.get(limit - 1).map(|last| &*last.sk);
        let is_behind = |(_, next): &mut (_, String)| end.is_none_or(|end| order(next, end).is_lt());
        behind = beyond.extract_if(.., is_behind).map(|(range, next)| (range, Some(next))).collect();
    }
    let more = docs.len() > limit || !beyond.is_empty();
    docs.truncate(limit);
    let next = docs.last().filter(|_| more).map(|doc| doc.sk.to_string());
    Ok(Page { docs, next })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As they are in files that were written before.
    const SHARDED_KEYS: [(&str, &str); 3] = [
        ("orders-1a1f99d8ea0", "BASKETS#00"),
        ("scarce7-1a1f99d8ea0", "BASKETS#05"),
        ("scarce0-1a1f99d9200", "BASKETS#15"),
    ];

    #[test]
    fn the_keys_of_sharded_documents_never_change() {
        let baskets = Sharded::new(Table::Basket, "BASKETS");
        for (sk, pk) in SHARDED_KEYS {
            assert_eq!(baskets.key(sk), Key::new(Table::Basket, pk, sk));
            assert!(baskets.all().iter().any(|range| range.partition.pk == pk));
        }
        assert_eq!(baskets.all_descending().len(), 16);
    }

    #[test]
    fn a_cursor_is_refused_by_another_list() {
        let cursor = Cursor::new("products", "a#é\u{7f}").into_text();
        assert_eq!(Cursor::read("products", &cursor).unwrap(), "a#é\u{7f}");
        for (scope, text) in [("orders", cursor.as_str()), ("products", ""), ("products", "!!"), ("products", "AAAA")] {
            assert!(Cursor::read(scope, text).is_err(), "{scope} {text}");
        }
    }
}
