//! The contract of the store as tests, for every adapter to run.
//!
//! [`run`] takes a store, which may hold data already, and panics with a description of the first promise it breaks.
//! Every check works in partitions of its own, so that it can be repeated against a store that is kept.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    Adjustment, Batch, CommitError, Expect, Key, MAX_ITEM_BYTES, MAX_ITEMS_PER_COMMIT, MAX_MESSAGE_BYTES, MAX_PAGE,
    MAX_PARTITION_KEY_BYTES, MAX_SORT_KEY_BYTES, Page, Partition, Store, Table, Write, list_merged,
};
use crate::error::Result;
use crate::events::{Envelope, Queue};

/// The table the checks write to.
const TABLE: Table = Table::Basket;
/// Tasks that race for one document.
const RACERS: usize = 20;

/// Checks every promise of [`Store`]. `run_id` sets this run's documents apart from those of earlier runs.
///
/// # Panics
/// When the store breaks a promise.
pub async fn run(store: Arc<dyn Store>, run_id: &str) {
    let bench = Bench { store, run_id: run_id.to_owned() };
    bench.a_document_comes_back_as_it_was_put().await;
    bench.every_expectation_is_kept().await;
    bench.an_adjustment_adds_and_respects_its_floor().await;
    bench.a_batch_happens_in_whole_or_not_at_all().await;
    bench.all_failed_expectations_are_named().await;
    bench.one_racer_creates_a_document().await;
    bench.no_update_is_lost_among_racers().await;
    bench.no_more_is_taken_than_is_there().await;
    bench.many_keys_are_read_in_their_order().await;
    bench.pages_have_no_gaps_and_no_repeats().await;
    bench.several_ranges_are_one_list_however_full_each_is().await;
    bench.paging_is_steady_while_others_write().await;
    bench.a_prefix_and_a_direction_select().await;
    bench.unusual_keys_are_keys().await;
    bench.limits_are_enforced().await;
    bench.numbers_keep_their_value().await;
    bench.a_revision_changes_before_a_change_is_acknowledged().await;
}

struct Bench {
    store: Arc<dyn Store>,
    run_id: String,
}

impl Bench {
    fn partition(&self, name: &str) -> Partition {
        Partition::new(TABLE, format!("CONFORMANCE#{}#{name}", self.run_id))
    }

    async fn put(&self, key: &Key, expect: Expect, body: Value) -> Result<(), CommitError> {
        let mut batch = Batch::new(TABLE);
        batch.put(key.clone(), expect, &body).expect("a JSON value has a JSON form");
        self.store.commit(batch).await
    }

    async fn must_put(&self, key: &Key, expect: Expect, body: Value) {
        self.put(key, expect, body).await.unwrap_or_else(|error| panic!("a put of {key} that must succeed: {error}"));
    }

    async fn read(&self, key: &Key) -> Option<(u64, Value)> {
        let doc = self.store.get(key).await.unwrap_or_else(|error| panic!("reading {key}: {error}"))?;
        Some((doc.version, doc.parse_owned().unwrap_or_else(|error| panic!("parsing {key}: {error}"))))
    }

    /// Of a store that has revisions. Others may work on the table meanwhile, so nothing is said of what does not change it.
    async fn a_revision_changes_before_a_change_is_acknowledged(&self) {
        let key = self.partition("revision").key("A");
        let Some(mut before) = self.store.revision(TABLE) else { return };
        for write in [
            Write::Put { key: key.clone(), expect: Expect::Absent, body: r#"{"n":1}"#.into(), expires_at: None },
            Write::Adjust { key: key.clone(), fields: vec![Adjustment { field: "n", by: 1, at_least: None }] },
            Write::Delete { key, expect: Expect::Exists },
        ] {
            let what = format!("{write:?}");
            self.store.commit(Batch { writes: vec![write], ..Batch::new(TABLE) }).await.expect("nobody else is there");
            let after = self.store.revision(TABLE).expect("it had one before");
            assert_ne!(before, after, "{what} changed no revision");
            before = after;
        }
    }

    async fn a_document_comes_back_as_it_was_put(&self) {
        let key = self.partition("roundtrip").key("A");
        assert_eq!(self.read(&key).await, None, "nothing is there before");
        let body =
            json!({"text": "żółw 🐢 \"quoted\" \\ \n", "list": [1, null, true, {"deep": []}], "empty": "", "n": -3});
        self.must_put(&key, Expect::Absent, body.clone()).await;
        assert_eq!(self.read(&key).await, Some((1, body)), "a new document has version 1");
        self.must_put(&key, Expect::Version(1), json!({"other": 1})).await;
        assert_eq!(
            self.read(&key).await,
            Some((2, json!({"other": 1}))),
            "a put replaces in whole and counts the version up"
        );
    }

    async fn every_expectation_is_kept(&self) {
        let partition = self.partition("expect");
        let (there, missing) = (partition.key("THERE"), partition.key("MISSING"));
        self.must_put(&there, Expect::Absent, json!({})).await;
        self.must_put(&there, Expect::Version(1), json!({})).await;
        type Make = fn(Key, Expect) -> Write;
        let kinds: [(&str, Make); 3] = [
            ("put", |key, expect| Write::Put { key, expect, body: "{}".into(), expires_at: None }),
            ("delete", |key, expect| Write::Delete { key, expect }),
            ("check", |key, expect| Write::Check { key, expect }),
        ];
        for (name, make) in kinds {
            for (key, expect, holds) in [
                (&there, Expect::Absent, false),
                (&there, Expect::Version(1), false),
                (&there, Expect::Version(3), false),
                (&missing, Expect::Exists, false),
                (&missing, Expect::Version(1), false),
                (&there, Expect::Anything, true),
                (&missing, Expect::Anything, true),
                (&missing, Expect::Absent, true),
                (&there, Expect::Exists, true),
                (&there, Expect::Version(2), true),
            ] {
                if name == "put" && expect == Expect::Exists {
                    continue;
                }
                self.reset(&there, &missing).await;
                let mut batch = Batch::new(TABLE);
                batch.writes.push(make(key.clone(), expect));
                let outcome = retried(&*self.store, batch).await;
                match (&outcome, holds) {
                    (Ok(()), true) | (Err(CommitError::Conflict(_)), false) => {}
                    _ => panic!("{name} of {key} expecting {expect:?}: {outcome:?}"),
                }
                if !holds {
                    assert_eq!(
                        self.read(&there).await.map(|(version, _)| version),
                        Some(2),
                        "a failed {name} changes nothing"
                    );
                    assert_eq!(self.read(&missing).await, None, "a failed {name} changes nothing");
                }
            }
        }
    }

    /// Brings `there` to version 2 and `missing` to nothing.
    async fn reset(&self, there: &Key, missing: &Key) {
        let mut batch = Batch::new(TABLE);
        batch.delete(there.clone(), Expect::Anything).delete(missing.clone(), Expect::Anything);
        self.store.commit(batch).await.expect("deleting whatever is there succeeds");
        self.must_put(there, Expect::Absent, json!({})).await;
        self.must_put(there, Expect::Version(1), json!({})).await;
    }

    async fn adjust(&self, key: &Key, field: &'static str, by: i64, at_least: Option<i64>) -> Result<(), CommitError> {
        let mut batch = Batch::new(TABLE);
        batch.adjust(key.clone(), vec![Adjustment { field, by, at_least }]);
        self.store.commit(batch).await
    }

    async fn an_adjustment_adds_and_respects_its_floor(&self) {
        let key = self.partition("adjust").key("A");
        let conflict = |outcome: Result<(), CommitError>, why: &str| {
            assert!(matches!(outcome, Err(CommitError::Conflict(ref at)) if at == &[0]), "{why}: {outcome:?}");
        };
        conflict(self.adjust(&key, "n", 1, None).await, "there is no document");
        self.must_put(&key, Expect::Absent, json!({"n": 5, "m": 1, "text": "t"})).await;
        self.adjust(&key, "n", -5, Some(0)).await.expect("5 − 5 is at least 0");
        assert_eq!(
            self.read(&key).await,
            Some((2, json!({"n": 0, "m": 1, "text": "t"}))),
            "only the field and the version change"
        );
        conflict(self.adjust(&key, "n", -1, Some(0)).await, "0 − 1 is below the floor");
        conflict(self.adjust(&key, "absent", 1, None).await, "there is no such field");
        conflict(self.adjust(&key, "text", 1, None).await, "the field is no integer");
        self.adjust(&key, "n", -7, None).await.expect("without a floor it may go below 0");
        let mut batch = Batch::new(TABLE);
        let fields = vec![
            Adjustment { field: "n", by: 10, at_least: None },
            Adjustment { field: "m", by: -1, at_least: Some(0) },
        ];
        batch.adjust(key.clone(), fields);
        self.store.commit(batch).await.expect("two fields at once");
        assert_eq!(self.read(&key).await, Some((4, json!({"n": 3, "m": 0, "text": "t"}))));
        let mut batch = Batch::new(TABLE);
        let fields = vec![
            Adjustment { field: "n", by: 10, at_least: None },
            Adjustment { field: "m", by: -1, at_least: Some(0) },
        ];
        batch.adjust(key.clone(), fields);
        assert!(self.store.commit(batch).await.is_err(), "one floor broken is all broken");
        assert_eq!(self.read(&key).await, Some((4, json!({"n": 3, "m": 0, "text": "t"}))));
    }

    async fn a_batch_happens_in_whole_or_not_at_all(&self) {
        let partition = self.partition("atomic");
        let (counter, first, last) = (partition.key("COUNTER"), partition.key("FIRST"), partition.key("LAST"));
        self.must_put(&counter, Expect::Absent, json!({"n": 1})).await;
        let batch = |expect: Expect| {
            let mut batch = Batch::new(TABLE);
            batch.put(first.clone(), Expect::Absent, &json!({"a": 1})).expect("JSON");
            batch.adjust(counter.clone(), vec![Adjustment { field: "n", by: 1, at_least: None }]);
            batch.put(last.clone(), expect, &json!({"b": 1})).expect("JSON");
            batch.emit(probe());
            batch
        };
        let outcome = self.store.commit(batch(Expect::Version(7))).await;
        assert!(matches!(outcome, Err(CommitError::Conflict(_))), "{outcome:?}");
        assert_eq!(self.read(&first).await, None, "the first write is undone");
        assert_eq!(self.read(&counter).await, Some((1, json!({"n": 1}))), "the adjustment is undone");
        self.store.commit(batch(Expect::Absent)).await.expect("all expectations hold now");
        assert_eq!(self.read(&first).await, Some((1, json!({"a": 1}))));
        assert_eq!(self.read(&counter).await, Some((2, json!({"n": 2}))));
        assert_eq!(self.read(&last).await, Some((1, json!({"b": 1}))));
    }

    async fn all_failed_expectations_are_named(&self) {
        let partition = self.partition("named");
        let mut batch = Batch::new(TABLE);
        batch.check(partition.key("A"), Expect::Exists);
        batch.put(partition.key("B"), Expect::Absent, &json!({})).expect("JSON");
        batch.delete(partition.key("C"), Expect::Version(1));
        let outcome = self.store.commit(batch).await;
        assert!(matches!(outcome, Err(CommitError::Conflict(ref at)) if at == &[0, 2]), "{outcome:?}");
    }

    async fn one_racer_creates_a_document(&self) {
        let key = self.partition("race-create").key("A");
        let mut racers = JoinSet::new();
        for racer in 0..RACERS {
            let (store, key) = (Arc::clone(&self.store), key.clone());
            racers.spawn(async move {
                let mut batch = Batch::new(TABLE);
                batch.put(key, Expect::Absent, &json!({"racer": racer})).expect("JSON");
                retried(&*store, batch).await.is_ok().then_some(racer)
            });
        }
        let winners: Vec<usize> = racers.join_all().await.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1, "of {RACERS} racers one creates the document: {winners:?}");
        assert_eq!(self.read(&key).await, Some((1, json!({"racer": winners[0]}))), "and it is the winner's");
    }

    async fn no_update_is_lost_among_racers(&self) {
        let key = self.partition("race-update").key("A");
        self.must_put(&key, Expect::Absent, json!({"racers": []})).await;
        let mut racers = JoinSet::new();
        for racer in 0..RACERS {
            let (store, key) = (Arc::clone(&self.store), key.clone());
            racers.spawn(async move {
                loop {
                    let doc = store.get(&key).await.expect("readable").expect("there");
                    let mut arrived: Vec<usize> = arrived(&doc.parse_owned().expect("JSON"));
                    // An earlier attempt whose outcome nobody knew may have been carried out.
                    if arrived.contains(&racer) {
                        return;
                    }
                    arrived.push(racer);
                    let mut batch = Batch::new(TABLE);
                    batch.put(key.clone(), Expect::Version(doc.version), &json!({"racers": arrived})).expect("JSON");
                    match store.commit(batch).await {
                        Ok(()) => return,
                        Err(CommitError::Conflict(_) | CommitError::Failed(_)) => tokio::task::yield_now().await,
                        Err(error) => panic!("a racer's commit failed: {error}"),
                    }
                }
            });
        }
        racers.join_all().await;
        let (version, body) = self.read(&key).await.expect("there");
        let mut arrived = arrived(&body);
        arrived.sort_unstable();
        assert_eq!(arrived, Vec::from_iter(0..RACERS), "every racer's addition counts, once");
        assert_eq!(version, RACERS as u64 + 1);
    }

    async fn no_more_is_taken_than_is_there(&self) {
        let key = self.partition("race-stock").key("A");
        self.must_put(&key, Expect::Absent, json!({"available": 7})).await;
        let mut racers = JoinSet::new();
        for _ in 0..RACERS {
            let (store, key) = (Arc::clone(&self.store), key.clone());
            racers.spawn(async move {
                let mut batch = Batch::new(TABLE);
                batch.adjust(key, vec![Adjustment { field: "available", by: -1, at_least: Some(0) }]);
                retried(&*store, batch).await.is_ok()
            });
        }
        let taken = racers.join_all().await.into_iter().filter(|taken| *taken).count();
        assert_eq!(taken, 7, "seven pieces go to seven of {RACERS} racers");
        assert_eq!(self.read(&key).await.map(|(_, body)| body), Some(json!({"available": 0})));
    }

    async fn many_keys_are_read_in_their_order(&self) {
        let partition = self.partition("many");
        for sk in ["B", "D"] {
            self.must_put(&partition.key(sk), Expect::Absent, json!({"sk": sk})).await;
        }
        let keys: Vec<Key> = ["D", "A", "B", "C", "D"].map(|sk| partition.key(sk)).into();
        let docs = self.store.get_many(&keys).await.expect("readable");
        let found: Vec<Option<&str>> = docs.iter().map(|doc| doc.as_ref().map(|doc| &*doc.sk)).collect();
        assert_eq!(found, [Some("D"), None, Some("B"), None, Some("D")]);
    }

    async fn all_pages(&self, range: &super::Range, limit: usize) -> Vec<String> {
        Bench::all_of(limit, async |after: Option<String>| self.store.list(range, after.as_deref(), limit).await).await
    }

    /// All documents of a list, page by page.
    async fn all_of(limit: usize, list: impl AsyncFn(Option<String>) -> Result<Page>) -> Vec<String> {
        let mut sks = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = list(after).await.expect("listable");
            assert!(page.docs.len() <= limit, "a page keeps its limit");
            sks.extend(page.docs.iter().map(|doc| doc.sk.to_string()));
            match page.next {
                Some(next) => after = Some(next),
                None => return sks,
            }
        }
    }

    async fn pages_have_no_gaps_and_no_repeats(&self) {
        let partition = self.partition("pages");
        let sks: Vec<String> = (0..57).map(|n| format!("{n:03}")).collect();
        for sk in sks.iter().rev() {
            self.must_put(&partition.key(sk), Expect::Absent, json!({})).await;
        }
        for limit in [1, 7, 19, 57, MAX_PAGE] {
            assert_eq!(self.all_pages(&partition.clone().all(), limit).await, sks, "pages of {limit}");
            let reversed: Vec<String> = sks.iter().rev().cloned().collect();
            assert_eq!(
                self.all_pages(&partition.clone().all().descending(), limit).await,
                reversed,
                "backward pages of {limit}"
            );
        }
        let page = self.store.list(&partition.clone().all(), None, 57).await.expect("listable");
        assert_eq!(page.next, None, "the last page says so, even when it is full");
        let page = self.store.list(&self.partition("empty").all(), None, 5).await.expect("listable");
        assert!(page.docs.is_empty() && page.next.is_none(), "an empty partition is one empty page");
        let page = self.store.list(&partition.all(), Some("0305"), 2).await.expect("listable");
        let sks: Vec<&str> = page.docs.iter().map(|doc| &*doc.sk).collect();
        assert_eq!(sks, ["031", "032"], "a page may begin after a key that is not there");
    }

    async fn several_ranges_are_one_list_however_full_each_is(&self) {
        let part = |number: usize| self.partition(&format!("merged{number}"));
        // Most of them side by side in one range, some in two others, none in the last.
        let range_of = |n: usize| if (10..40).contains(&n) { 0 } else { 1 + n % 2 };
        let sks: Vec<String> = (0..60).map(|n| format!("{n:03}")).collect();
        for (n, sk) in sks.iter().enumerate() {
            self.must_put(&part(range_of(n)).key(sk), Expect::Absent, json!({})).await;
        }
        let ascending: Vec<_> = (0..4).map(|number| part(number).all()).collect();
        let descending: Vec<_> = ascending.iter().cloned().map(super::Range::descending).collect();
        for (ranges, is_reversed) in [(ascending, false), (descending, true)] {
            let mut expected = sks.clone();
            if is_reversed {
                expected.reverse();
            }
            for limit in [1, 7, 20, 60, MAX_PAGE] {
                let merged = async |after: Option<String>| {
                    let page = list_merged(&*self.store, &ranges, after.as_deref(), limit).await?;
                    assert!(page.docs.len() == limit || page.next.is_none(), "only the last page is short");
                    Ok(page)
                };
                assert_eq!(Bench::all_of(limit, merged).await, expected, "pages of {limit}");
            }
        }
        let page = list_merged(&*self.store, &[part(3).all()], None, 5).await.expect("listable");
        assert!(page.docs.is_empty() && page.next.is_none(), "no documents are one empty page");
    }

    async fn paging_is_steady_while_others_write(&self) {
        let partition = self.partition("steady");
        let kept: BTreeSet<String> = (0..60).map(|n| format!("KEPT{n:02}")).collect();
        for sk in &kept {
            self.must_put(&partition.key(sk), Expect::Absent, json!({})).await;
        }
        let (store, writer_partition) = (Arc::clone(&self.store), partition.clone());
        let writer = tokio::spawn(async move {
            for n in 0..120 {
                let mut batch = Batch::new(TABLE);
                batch
                    .put(writer_partition.key(format!("KEPT{:02}-NEW", n % 60)), Expect::Anything, &json!({}))
                    .expect("JSON");
                batch.delete(writer_partition.key(format!("KEPT{:02}-NEW", (n + 30) % 60)), Expect::Anything);
                store.commit(batch).await.expect("writable");
            }
        });
        let mut rounds = 0;
        while !writer.is_finished() || rounds == 0 {
            let seen = self.all_pages(&partition.clone().all(), 5).await;
            let once: BTreeSet<&String> = seen.iter().collect();
            assert_eq!(once.len(), seen.len(), "no document twice");
            assert!(kept.iter().all(|sk| once.contains(sk)), "every document that was there throughout");
            rounds += 1;
        }
        writer.await.expect("the writer finishes");
    }

    async fn a_prefix_and_a_direction_select(&self) {
        let partition = self.partition("prefix");
        for sk in ["#ORDER#1", "#ORDER#2", "#ORDER#3", "#OTHER", "CUSTOMER", "#ORDER", "#ORDER$"] {
            self.must_put(&partition.key(sk), Expect::Absent, json!({})).await;
        }
        let orders = partition.clone().starting_with("#ORDER#");
        assert_eq!(self.all_pages(&orders, 2).await, ["#ORDER#1", "#ORDER#2", "#ORDER#3"]);
        assert_eq!(self.all_pages(&orders.clone().descending(), 2).await, ["#ORDER#3", "#ORDER#2", "#ORDER#1"]);
        let after_all = self.store.list(&orders.clone().descending(), Some("ZZZ"), 5).await.expect("listable");
        assert_eq!(after_all.docs.len(), 3, "a bound outside of the prefix does not cut it");
        let before_all = self.store.list(&orders, Some("!"), 5).await.expect("listable");
        assert_eq!(before_all.docs.len(), 3, "a bound outside of the prefix does not widen it");
        let all = self.all_pages(&partition.all().descending(), 3).await;
        assert_eq!(all, ["CUSTOMER", "#OTHER", "#ORDER$", "#ORDER#3", "#ORDER#2", "#ORDER#1", "#ORDER"]);
    }

    async fn unusual_keys_are_keys(&self) {
        let partition = self.partition("unusual \u{0} % _ ' \" \\ 🐢");
        let mut sks = vec![
            " ",
            "  ",
            "%",
            "_",
            "'",
            "\"",
            "\\",
            "\u{0}",
            "a\u{0}b",
            "a",
            "A",
            "\u{10ffff}",
            "\u{d7ff}",
            "é",
            "e\u{301}",
            "\n",
            "DROP TABLE",
            "🐢",
        ];
        for sk in &sks {
            self.must_put(&partition.key(*sk), Expect::Absent, json!({"sk": sk})).await;
        }
        for sk in &sks {
            assert_eq!(self.read(&partition.key(*sk)).await, Some((1, json!({"sk": sk}))), "{sk:?}");
        }
        sks.sort_unstable();
        assert_eq!(self.all_pages(&partition.clone().all(), 4).await, sks, "keys sort by their UTF-8 bytes");
        assert_eq!(self.all_pages(&partition.starting_with("\u{10ffff}").descending(), 4).await, ["\u{10ffff}"]);
    }

    async fn limits_are_enforced(&self) {
        let partition = self.partition("limits");
        let refused = |outcome: Result<(), CommitError>, why: &str| {
            assert!(matches!(outcome, Err(CommitError::Refused(_))), "{why}: {outcome:?}");
        };
        let batch_of = |count: usize, events: usize| {
            let mut batch = Batch::new(TABLE);
            for n in 0..count {
                batch.put(partition.key(format!("{n:03}")), Expect::Anything, &json!({})).expect("JSON");
            }
            batch.events.extend((0..events).map(|_| probe()));
            batch
        };
        self.store.commit(batch_of(MAX_ITEMS_PER_COMMIT - 1, 1)).await.expect("as many items as a commit holds");
        let message = |bytes: usize, items: usize| {
            let mut batch = batch_of(items - 1, 0);
            batch.send(Queue::OrderQueue, "x".repeat(bytes));
            batch
        };
        refused(self.store.commit(message(1, MAX_ITEMS_PER_COMMIT + 1)).await, "too many items, one of them a message");
        refused(self.store.commit(message(0, 1)).await, "an empty message");
        refused(self.store.commit(message(MAX_MESSAGE_BYTES + 1, 1)).await, "a message one byte too large");
        refused(self.store.commit(batch_of(MAX_ITEMS_PER_COMMIT, 1)).await, "too many items");
        refused(self.store.commit(Batch::new(TABLE)).await, "nothing to do");
        refused(
            self.store
                .commit({
                    let mut batch = batch_of(1, 0);
                    batch.delete(partition.key("000"), Expect::Anything);
                    batch
                })
                .await,
            "a document twice",
        );
        refused(
            self.store
                .commit({
                    let mut batch = batch_of(1, 0);
                    batch.delete(Key::new(Table::Catalog, "a", "b"), Expect::Anything);
                    batch
                })
                .await,
            "two tables",
        );

        let room = MAX_ITEM_BYTES - partition.pk.len() - "LARGE".len() - r#"{"text":""}"#.len();
        let large = partition.key("LARGE");
        self.must_put(&large, Expect::Anything, json!({"text": "x".repeat(room)})).await;
        assert_eq!(
            self.read(&large).await.map(|(_, body)| body["text"].as_str().map(str::len)),
            Some(Some(room)),
            "the largest document"
        );
        refused(self.put(&large, Expect::Anything, json!({"text": "x".repeat(room + 1)})).await, "one byte too large");

        for (key, why) in [
            (Key::new(TABLE, "", "a"), "an empty partition key"),
            (Key::new(TABLE, "a", ""), "an empty sort key"),
            (Key::new(TABLE, "a".repeat(MAX_PARTITION_KEY_BYTES + 1), "a"), "a partition key too long"),
            (Key::new(TABLE, "a", "a".repeat(MAX_SORT_KEY_BYTES + 1)), "a sort key too long"),
        ] {
            refused(self.put(&key, Expect::Anything, json!({})).await, why);
            assert!(self.store.get(&key).await.is_err(), "{why} cannot be read");
        }
        let longest = Key::new(TABLE, "p".repeat(MAX_PARTITION_KEY_BYTES), "s".repeat(MAX_SORT_KEY_BYTES));
        self.must_put(&longest, Expect::Anything, json!({})).await;
        assert!(self.read(&longest).await.is_some(), "the longest keys");
        let page = self.store.list(&partition.all(), None, MAX_PAGE + 1).await.expect("listable");
        assert!(page.docs.len() <= MAX_PAGE, "a page never exceeds {MAX_PAGE}");
    }

    async fn numbers_keep_their_value(&self) {
        let key = self.partition("numbers").key("A");
        let body = json!({"most": i64::MAX, "least": i64::MIN, "n": 9_007_199_254_740_993_i64});
        self.must_put(&key, Expect::Absent, body.clone()).await;
        assert_eq!(self.read(&key).await, Some((1, body)), "beyond the integers a float can hold");
    }
}

/// An event that no rule matches.
fn probe() -> Envelope {
    Envelope {
        id: uuid::Uuid::nil(),
        source: "cartwright.conformance".into(),
        detail_type: "Probe".into(),
        time: Timestamp::UNIX_EPOCH,
        correlation_id: String::new(),
        causation_id: None,
        traceparent: None,
        detail: serde_json::value::to_raw_value(&json!({})).expect("JSON"),
    }
}

/// Who has arrived, in a document of the racers.
fn arrived(body: &Value) -> Vec<usize> {
    serde_json::from_value(body["racers"].clone()).expect("a list of racers")
}

/// Commits `batch`, again when the store only asks to try later or does not know what became of it (a remote one may).
async fn retried(store: &dyn Store, batch: Batch) -> Result<(), CommitError> {
    loop {
        match store.commit(batch.clone()).await {
            Err(CommitError::Failed(_)) => tokio::task::yield_now().await,
            outcome => return outcome,
        }
    }
}
