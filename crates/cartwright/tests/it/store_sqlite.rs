//! The store on SQLite keeps the port's contract, and what it adds to it.

use std::sync::Arc;
use std::time::Duration;

use cartwright::app::Clock;
use cartwright::events::Queue;
use cartwright::local::sqlite::{FILE_NAME, MAX_EXPIRED, OpenError, SqliteStore};
use cartwright::queues::QueueAdmin;
use cartwright::store::{Batch, Expect, Key, Partition, Store, Table, Write, conformance};
use rusqlite::Connection;
use serde_json::json;

use crate::shop::{TestClock, TestShop};

fn open(folder: &std::path::Path) -> Result<Arc<SqliteStore>, OpenError> {
    SqliteStore::open(folder, Arc::new(TestClock::new()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_the_contract_of_the_port() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    conformance::run(store.clone(), "first").await;
    conformance::run(store.clone(), "second").await;
    store.close().await;
    conformance::run(open(folder.path()).unwrap(), "after reopening").await;
}

#[tokio::test]
async fn what_was_committed_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let key = Partition::new(Table::Catalog, "P").key("A");
    let store = open(folder.path()).unwrap();
    let mut batch = Batch::new(Table::Catalog);
    batch.put(key.clone(), Expect::Absent, &json!({"n": 1})).unwrap();
    store.commit(batch).await.unwrap();
    store.close().await;
    assert!(store.commit(Batch { events: vec![], ..deletion(&key) }).await.is_err(), "a closed store takes nothing");
    drop(store);
    let store = open(folder.path()).unwrap();
    assert_eq!(store.get(&key).await.unwrap().unwrap().version, 1);
}

fn deletion(key: &Key) -> Batch {
    let mut batch = Batch::new(key.table);
    batch.delete(key.clone(), Expect::Anything);
    batch
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cache_never_shows_an_old_document() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let partition = Partition::new(Table::Basket, "CACHE");
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..8 {
        let key = partition.key(format!("K{n}"));
        let (writer, reader, read_key) = (store.clone(), store.clone(), key.clone());
        let written = tasks.spawn(async move {
            for n in 1..100 {
                let found = writer.get(&key).await.unwrap();
                let expect = found.map_or(Expect::Absent, |doc| Expect::Version(doc.version));
                let mut batch = Batch::new(Table::Basket);
                batch.put(key.clone(), expect, &json!({"n": n})).unwrap();
                writer.commit(batch).await.unwrap();
                assert_eq!(read_n(&writer, &key).await, Some(n), "what was acknowledged is read at once");
                if n % 10 == 0 {
                    writer.commit(deletion(&key)).await.unwrap();
                    assert_eq!(read_n(&writer, &key).await, None, "and so is what was deleted");
                }
            }
        });
        tasks.spawn(async move {
            let mut last = 0;
            while !written.is_finished() {
                let n = read_n(&reader, &read_key).await.unwrap_or(last);
                assert!(n >= last, "a reader never goes back in time: {n} after {last}");
                last = n;
                tokio::task::yield_now().await;
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
}

async fn read_n(store: &SqliteStore, key: &Key) -> Option<i64> {
    let docs = store.get_many(std::slice::from_ref(key)).await.unwrap();
    docs[0].as_ref().map(|doc| doc.parse_owned::<serde_json::Value>().unwrap()["n"].as_i64().unwrap())
}

/// A new basket whose time is over then.
async fn put_until(store: &SqliteStore, key: Key, expires_at: jiff::Timestamp) {
    let (body, expires_at) = (r#"{"n":1}"#.into(), Some(expires_at));
    let mut batch = Batch::new(Table::Basket);
    batch.writes.push(Write::Put { key, expect: Expect::Absent, body, expires_at });
    store.commit(batch).await.unwrap();
}

/// Commits wait while documents are removed, so not all of a great many are removed at once.
#[tokio::test]
async fn documents_whose_time_is_over_are_removed_a_few_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock::new());
    let store = SqliteStore::open(folder.path(), clock.clone()).unwrap();
    let partition = Partition::new(Table::Basket, "EXPIRES");
    let expires_at = clock.now();
    for at in 0..2 * MAX_EXPIRED + 1 {
        put_until(&store, partition.key(format!("{at:03}")), expires_at).await;
    }
    for count in [MAX_EXPIRED, MAX_EXPIRED, 1, 0] {
        assert_eq!(store.remove_expired().await.unwrap(), count);
    }
}

#[tokio::test]
async fn documents_whose_time_is_over_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock::new());
    let store = SqliteStore::open(folder.path(), clock.clone()).unwrap();
    let partition = Partition::new(Table::Basket, "EXPIRES");
    for (sk, hours) in [("SOON", 1), ("LATER", 3)] {
        put_until(&store, partition.key(sk), clock.now() + jiff::SignedDuration::from_hours(hours)).await;
    }
    assert_eq!(store.remove_expired().await.unwrap(), 0);
    clock.advance(Duration::from_secs(2 * 3600));
    assert_eq!(store.remove_expired().await.unwrap(), 1);
    assert!(store.get(&partition.key("SOON")).await.unwrap().is_none());
    assert!(store.get(&partition.key("LATER")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_folder_in_use_a_foreign_file_and_a_newer_schema_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    assert!(matches!(open(folder.path()), Err(OpenError::InUse { .. })));
    store.close().await;
    drop(store);
    let file = folder.path().join(FILE_NAME);
    Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let newer = open(folder.path()).err().unwrap().to_string();
    assert!(newer.contains("newer Cartwright (schema 99"), "{newer}");

    let foreign = tempfile::tempdir().unwrap();
    Connection::open(foreign.path().join(FILE_NAME)).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    let foreign = open(foreign.path()).err().unwrap().to_string();
    assert!(foreign.contains("another program"), "{foreign}");

    let damaged = tempfile::tempdir().unwrap();
    std::fs::write(damaged.path().join(FILE_NAME), "this is no database, it is a text").unwrap();
    assert!(matches!(open(damaged.path()), Err(OpenError::Damaged { .. })));
}

#[tokio::test]
async fn the_views_show_the_shop_to_sqlite_tools() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 9_999, 5).await;
    let order = shop.order("ann", &phone, 2).await;
    shop.fill("bob", &phone, 1).await;
    let file = Connection::open(shop.folder.join(FILE_NAME)).unwrap();
    let one = |sql: &str| file.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(
        one("SELECT name || ' ' || price_minor || ' ' || on_hand || ' ' || available FROM products"),
        "phone 9999 5 3"
    );
    assert_eq!(
        one("SELECT id || ' ' || customer || ' ' || status || ' ' || total_minor FROM orders"),
        format!("{order} ann CONFIRMED 19998")
    );
    assert_eq!(one("SELECT order_id || ' ' || quantity FROM order_lines"), format!("{order} 2"));
    assert_eq!(one("SELECT user_name || ' ' || lines FROM baskets"), "bob 1");
    assert_eq!(
        one(
            "SELECT group_concat(kind) FROM (SELECT kind FROM stock_movements WHERE product_id IS NOT NULL ORDER BY at)"
        ),
        "received,reserved"
    );
}

#[tokio::test]
async fn messages_wait_in_the_file_when_memory_is_full_and_come_in_order() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, None).await;
    const MESSAGES: usize = 2_500;
    for from in (0..MESSAGES).step_by(100) {
        let mut batch = Batch::new(Table::Ordering);
        for n in from..from + 100 {
            let detail = json!({"userName": format!("u{n:04}"), "items": [{"productId": phone, "productName": "p", "quantity": 1, "price": 1}]});
            batch.emit(shop.event("CheckoutBasket", detail));
        }
        shop.store.commit(batch).await.unwrap();
    }
    let mut seen = Vec::new();
    while let Some(received) = shop.store.receive(Queue::OrderQueue, 0).await.unwrap() {
        let user = received.envelope.clone().unwrap().detail.get().to_owned();
        seen.push(user[user.find("u").unwrap()..].to_owned());
        shop.store.delete_message(&received).await.unwrap();
    }
    assert_eq!(seen.len(), MESSAGES);
    assert!(seen.is_sorted(), "in the order of their commits");
}

#[tokio::test]
async fn a_long_queue_is_counted_beside_its_use_and_counted_right() {
    let folder = tempfile::tempdir().unwrap();
    let send = async |store: &SqliteStore, messages: usize| {
        let mut batch = Batch::new(Table::Operations);
        for _ in 0..messages {
            batch.send(Queue::StockQueue, "{}");
        }
        store.commit(batch).await.unwrap();
    };
    let waiting =
        async |store: &SqliteStore| store.statistics(Queue::StockQueue, TestClock::new().now()).await.unwrap().waiting;
    let store = open(folder.path()).unwrap();
    for _ in 0..30 {
        send(&store, 100).await;
    }
    store.close().await;
    for reopened in 1..=3 {
        drop(store_with_one_more(&folder, &send).await);
        let store = open(folder.path()).unwrap();
        let received = store.receive(Queue::StockQueue, 0).await.unwrap().unwrap();
        store.delete_message(&received).await.unwrap();
        send(&store, 1).await;
        assert_eq!(waiting(&store).await, 3_000 + reopened, "each once, whether it came before the count or during it");
        store.close().await;
    }
}

/// Opens and closes the store at once, which ends the counting early.
async fn store_with_one_more(folder: &tempfile::TempDir, send: &impl AsyncFn(&SqliteStore, usize)) -> Arc<SqliteStore> {
    let store = open(folder.path()).unwrap();
    send(&store, 1).await;
    store.close().await;
    store
}

#[tokio::test]
async fn a_message_for_one_queue_goes_to_no_other_and_need_not_be_readable() {
    let shop = TestShop::new().await;
    let event = shop.event("CustomerErased", json!({"n": 1}));
    let text = serde_json::to_string(&event).unwrap();
    let mut batch = Batch::new(Table::Operations);
    batch.send(Queue::BasketErasureQueue, text).send(Queue::StockQueue, "{torn");
    shop.store.commit(batch).await.unwrap();
    let received = shop.store.receive(Queue::BasketErasureQueue, shop.now_ms()).await.unwrap().unwrap();
    assert_eq!(received.envelope.as_ref().unwrap().id, event.id);
    assert!(shop.store.receive(Queue::OrderErasureQueue, shop.now_ms()).await.unwrap().is_none(), "no rule is asked");
    shop.store.delete_message(&received).await.unwrap();
    let torn = shop.store.receive(Queue::StockQueue, shop.now_ms()).await.unwrap().unwrap();
    assert!(torn.envelope.is_err());
    shop.store.delete_message(&torn).await.unwrap();
}

#[tokio::test]
async fn while_another_program_has_the_file_all_writers_are_told_so_together_and_the_store_closes() {
    const PATIENCE: Duration = Duration::from_secs(25); // the store waits five seconds for the other, twice
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let other = Connection::open(folder.path().join(FILE_NAME)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let write = async |n: usize| {
        let mut batch = Batch::new(Table::Operations);
        batch.send(Queue::StockQueue, format!("{n}"));
        store.commit(batch).await.unwrap_err().to_string()
    };
    let started = std::time::Instant::now();
    let refusals = futures_util::future::join_all((0..20).map(write)).await;
    assert!(started.elapsed() < PATIENCE, "not one after the other");
    assert!(refusals.iter().all(|refusal| refusal.contains("locked")), "{refusals:?}");
    tokio::time::timeout(PATIENCE, store.close()).await.expect("it closes although it cannot write");
    other.execute_batch("ROLLBACK").unwrap();
    let again = open(folder.path()).unwrap();
    assert_eq!(again.depth(Queue::StockQueue).await.unwrap(), 0, "what was refused was not done");
}

/// Pages of a document that is as large as the store takes, roughly.
const PAGES_OF_A_LARGE_ONE: u64 = 80;
const PAGE_BYTES: u64 = 4096;
/// Pages of log from which on it is written back.
const LONG_LOG_PAGES: u64 = 4000;

/// Overwrites a large document until so many pages were written.
async fn write_pages(store: &SqliteStore, pages: u64) {
    let key = Partition::new(Table::Catalog, "LARGE").key("A");
    for n in 0..pages / PAGES_OF_A_LARGE_ONE {
        let mut batch = Batch::new(Table::Catalog);
        // SQLite writes no page that stays as it is.
        let filling =
            (if n % 2 == 0 { "x" } else { "o" }).repeat(usize::try_from(PAGES_OF_A_LARGE_ONE * PAGE_BYTES).unwrap());
        batch.put(key.clone(), Expect::Anything, &json!({"n": n, "filling": filling})).unwrap();
        store.commit(batch).await.unwrap();
    }
}

fn log_bytes(folder: &tempfile::TempDir) -> u64 {
    std::fs::metadata(folder.path().join(format!("{FILE_NAME}-wal"))).map_or(0, |log| log.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_written_back_while_the_writer_goes_on_and_begins_anew() {
    const LOGS: u64 = 6;
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    write_pages(&store, LOGS * LONG_LOG_PAGES).await;
    let longest = LOGS / 2 * LONG_LOG_PAGES * PAGE_BYTES;
    assert!(log_bytes(&folder) < longest, "{} bytes of log after {LOGS} times what is long", log_bytes(&folder));
    store.close().await;
    assert_eq!(log_bytes(&folder), 0, "a store that is closed has no log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_grows_while_somebody_reads_an_old_state_and_begins_anew_after_that() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    write_pages(&store, LONG_LOG_PAGES / 2).await;
    let reader = Connection::open(folder.path().join(FILE_NAME)).unwrap();
    let read = || reader.query_row("SELECT body ->> 'n' FROM catalog", [], |row| row.get::<_, u64>(0)).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let seen = read();
    write_pages(&store, 2 * LONG_LOG_PAGES).await;
    assert_eq!(read(), seen, "what is being read is not written over");
    let grown = log_bytes(&folder);
    assert!(grown > 2 * LONG_LOG_PAGES * PAGE_BYTES, "{grown}");
    reader.execute_batch("COMMIT").unwrap();
    write_pages(&store, 4 * LONG_LOG_PAGES).await;
    assert!(log_bytes(&folder) < grown + 2 * LONG_LOG_PAGES * PAGE_BYTES, "{} after {grown}", log_bytes(&folder));
    assert!(read() > seen);
}
