//! A shop whose file someone has written into: what is damaged is said to be so, and nothing is made up in its place.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;

use axum::body::Body;
use cartwright::events::Queue;
use cartwright::local::sqlite::{Building, FILE_NAME, Snapshot};
use cartwright::store::Table;
use cartwright::transfer::{Header, Reader, Record, Writer};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use rusqlite::{Connection, params};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{any_json, cases, check, corpus};
use crate::shop::TestShop;

/// A case opens a shop, asks it some fifty things and delivers its messages: as dear as several requests.
const CASES_EACH: u32 = 8;

thread_local! {
    /// Panics of this thread.
    static PANICS: Cell<u32> = const { Cell::new(0) };
}

/// Counts panics from now on: one of a handler is answered with an error like any other.
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            before(panic);
        }));
    });
}

/// A row that has a body, by its table and its key.
#[derive(Debug, Clone)]
struct Row {
    table: &'static str,
    key: (String, String),
    body: String,
}

impl Row {
    fn columns(&self) -> (&'static str, &'static str) {
        if self.is_document() { ("pk", "sk") } else { ("queue", "seq") }
    }

    fn is_document(&self) -> bool {
        !matches!(self.table, "messages" | "dead_letters")
    }

    fn overwrite(&self, file: &Connection, body: &[u8]) {
        let (first, second) = self.columns();
        let sql = format!(
            "UPDATE {} SET body = CAST(?3 AS TEXT) WHERE {first} = ?1 AND CAST({second} AS TEXT) = ?2",
            self.table
        );
        assert_eq!(file.execute(&sql, params![self.key.0, self.key.1, body]).unwrap(), 1, "{self:?}");
    }
}

fn rows_of(file: &Connection) -> Vec<Row> {
    let tables = Table::ALL.map(Table::name).into_iter().map(|table| (table, "pk, sk"));
    let queues = ["messages", "dead_letters"].map(|table| (table, "queue, CAST(seq AS TEXT)"));
    let mut rows = Vec::new();
    for (table, key) in tables.chain(queues) {
        let mut found = file.prepare(&format!("SELECT {key}, body FROM {table}")).unwrap();
        let found = found.query_map([], |row| Ok(Row { table, key: (row.get(0)?, row.get(1)?), body: row.get(2)? }));
        rows.extend(found.unwrap().map(Result::unwrap));
    }
    rows
}

/// What a body is overwritten with.
#[derive(Debug, Clone)]
enum Damage {
    Cut(Index),
    Other(Vec<u8>),
}

impl Damage {
    fn done_to(&self, row: &Row) -> Vec<u8> {
        match self {
            Damage::Cut(at) => row.body.as_bytes()[..at.index(row.body.len())].to_vec(),
            Damage::Other(bytes) => bytes.clone(),
        }
    }
}

fn any_damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        3 => any::<Index>().prop_map(Damage::Cut),
        2 => ".{0,40}".prop_map(|text| Damage::Other(text.into_bytes())),
        1 => vec(any::<u8>(), 0..40).prop_map(Damage::Other),
        2 => any_json().prop_map(|json| Damage::Other(json.to_string().into_bytes())),
    ]
}

/// The shop of the newest release's golden file, to be damaged again and again.
struct Sound {
    folder: tempfile::TempDir,
    rows: Vec<Row>,
    /// What it is asked, and how it answers.
    answers: Vec<(String, (StatusCode, Vec<u8>))>,
}

async fn ask(shop: &TestShop, path: &str) -> (StatusCode, Vec<u8>) {
    let response = shop.door().answer(Request::builder().uri(path).body(Body::empty()).unwrap()).await;
    let (parts, body) = response.into_parts();
    (parts.status, body.collect().await.unwrap().to_bytes().to_vec())
}

/// Paths of everything in a shop.
async fn paths_of(shop: &TestShop) -> Vec<String> {
    let lists =
        ["products", "categories", "baskets", "orders", "customers", "purchases", "inbox", "products?search=ke"];
    let mut paths: Vec<String> = lists.map(|list| format!("/v1/{list}")).to_vec();
    let parts: [(&str, &str, &[&str]); 4] = [
        ("products", "id", &["", "/stock", "/stock/movements", "/watchers"]),
        ("orders", "id", &["", "/timeline"]),
        ("customers", "username", &["", "/addresses", "/orders", "/export", "/inbox"]),
        ("purchases", "id", &[""]),
    ];
    for (list, name, parts) in parts {
        for item in shop.all(&format!("/v1/{list}")).await {
            let id = item[name].as_str().unwrap();
            paths.extend(parts.iter().map(|part| format!("/v1/{list}/{id}{part}")));
        }
    }
    paths.extend(["fay", "ann"].map(|user| format!("/v1/baskets/{user}")));
    paths.extend(Queue::ALL.map(|queue| format!("/v1/queues/{}/dead-letters", queue.name())));
    paths
}

/// Delivers everything, and takes note of what died.
async fn settle(shop: &TestShop) -> Vec<String> {
    shop.deliver_with_retries().await;
    let mut dead = Vec::new();
    for queue in Queue::ALL {
        dead.extend(shop.dead_letters(queue).await.into_iter().map(|letter| letter.body));
    }
    dead
}

impl Sound {
    async fn build() -> Sound {
        let folder = tempfile::tempdir().unwrap();
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let newest = (1..).map(|n| golden.join(format!("shop.{n}.ndjson"))).take_while(|path| path.exists()).last();
        let bytes = fs::read(newest.unwrap()).unwrap();
        let mut reader = Reader::new(&bytes[..]).unwrap();
        let currency = reader.header().currency;
        let mut building = Building::begin(&folder.path().join("data"), currency).unwrap();
        while let Some(chunk) = reader.next_chunk().unwrap() {
            chunk.records.iter().for_each(|record| building.add(record).unwrap());
        }
        building.finish(currency).unwrap();
        let mut sound = Sound { folder, rows: Vec::new(), answers: Vec::new() };
        sound.rows = rows_of(&sound.open_file(sound.folder.path()));
        let shop = TestShop::over(sound.copy()).await;
        for path in paths_of(&shop).await {
            let (first, again) = (ask(&shop, &path).await, ask(&shop, &path).await);
            // What is another from one moment to the next says nothing.
            if first == again && first.0.is_success() {
                sound.answers.push((path, first));
            }
        }
        assert!(sound.answers.len() > 40 && sound.rows.len() > 150, "{:?}", sound.answers);
        settle(&shop).await;
        sound
    }

    fn copy(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        fs::create_dir(copy.path().join("data")).unwrap();
        let file = |folder: &Path| -> PathBuf { folder.join("data").join(FILE_NAME) };
        fs::copy(file(self.folder.path()), file(copy.path())).unwrap();
        copy
    }

    fn open_file(&self, folder: &Path) -> Connection {
        Connection::open(folder.join("data").join(FILE_NAME)).unwrap()
    }

    /// Overwrites rows, and uses the shop. Returns how much of what it was asked it could not answer.
    async fn damage(&self, damaged: &[(&Row, Vec<u8>)]) -> usize {
        let copy = self.copy();
        let file = self.open_file(copy.path());
        damaged.iter().for_each(|(row, body)| row.overwrite(&file, body));
        // Of the same row, what was written last.
        let now = rows_text(&file);
        drop(file);
        // By its form: what is in its strings may be nonsense still.
        let is_json = |body: &[u8]| serde_json::from_slice::<&RawValue>(body).is_ok();
        let may_be_right = damaged.iter().any(|(_, body)| is_json(body));
        let has_bad_document =
            damaged.iter().any(|(row, _)| row.is_document() && !is_json(&now[&(row.table, row.key.clone())]));
        let panics = PANICS.get();
        let shop = TestShop::over(copy).await;
        let mut refused = 0;
        for (path, before) in &self.answers {
            let (status, body) = ask(&shop, path).await;
            refused += usize::from(status.is_server_error());
            if (status, &body) == (before.0, &before.1) || may_be_right || path.ends_with("/dead-letters") {
                continue;
            }
            let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
            let what = String::from_utf8_lossy(&body);
            assert!(status.is_server_error() && problem["code"].is_string(), "{path}: {status} {what} for {damaged:?}");
        }
        check_export(&shop.folder, has_bad_document, damaged);
        let line = json!({"productId": self.product(), "quantity": 1});
        let filled = shop.post("/v1/baskets/zoe/items", line).await;
        let accepted = shop.post("/v1/baskets/zoe/checkout", json!({})).await;
        assert!(filled.status.is_success() || !accepted.status.is_success(), "{accepted:?} for {damaged:?}");
        let dead = settle(&shop).await;
        for (row, _) in damaged.iter().filter(|(row, _)| !row.is_document()) {
            let body = &now[&(row.table, row.key.clone())];
            let is_kept = dead.iter().any(|letter| *letter == String::from_utf8_lossy(body));
            assert!(is_kept || is_json(body), "{row:?} is gone for {damaged:?}");
        }
        assert_eq!(PANICS.get(), panics, "a panic for {damaged:?}");
        refused
    }

    fn product(&self) -> &str {
        let of_product = |row: &&Row| row.table == "catalog" && row.key.1 == "PRODUCT";
        let row = self.rows.iter().find(of_product).unwrap();
        row.key.0.trim_start_matches("PRODUCT#")
    }
}

type Bodies = std::collections::HashMap<(&'static str, (String, String)), Vec<u8>>;

fn rows_text(file: &Connection) -> Bodies {
    let mut bodies = Bodies::new();
    let tables = Table::ALL.map(Table::name).into_iter().map(|table| (table, "pk, sk"));
    let queues = ["messages", "dead_letters"].map(|table| (table, "queue, CAST(seq AS TEXT)"));
    for (table, key) in tables.chain(queues) {
        let mut found = file.prepare(&format!("SELECT {key}, CAST(body AS BLOB) FROM {table}")).unwrap();
        let found = found.query_map([], |row| Ok(((table, (row.get(0)?, row.get(1)?)), row.get(2)?))).unwrap();
        bodies.extend(found.map(Result::unwrap));
    }
    bodies
}

/// An export says what it cannot take, or can be read.
fn check_export(folder: &Path, has_bad_document: bool, damaged: &[(&Row, Vec<u8>)]) {
    let snapshot = Snapshot::open(folder).unwrap();
    let Ok(currency) = snapshot.currency() else { return };
    let mut writer = Writer::new(Vec::new(), &Header::new(currency)).unwrap();
    let exported = snapshot.export(|record| writer.write(record));
    if let Err(why) = exported {
        assert!(!why.to_string().is_empty());
        return;
    }
    assert!(!has_bad_document, "it was exported: {damaged:?}");
    let bytes = writer.finish().unwrap().0;
    let (mut reader, mut records) = (Reader::new(&bytes[..]).unwrap(), Vec::<Record>::new());
    while let Some(chunk) = reader.next_chunk().unwrap_or_else(|why| panic!("{why} for {damaged:?}")) {
        records.extend(chunk.records);
    }
    assert_eq!(records.len() as u64, snapshot.count().unwrap());
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn nothing_is_made_up_for_a_row_that_is_damaged() {
    count_panics();
    let sound = run(Sound::build());
    for (name, bytes) in corpus() {
        let of = |table: &str, sk: &str| {
            let found = sound.rows.iter().find(|row| row.table == table && row.key.1.starts_with(sk));
            found.unwrap_or_else(|| panic!("no {table} {sk} for {name}"))
        };
        let product = (of("catalog", "PRODUCT"), bytes.clone());
        let damaged = [product, (of("messages", ""), bytes.clone()), (of("dead_letters", ""), bytes)];
        assert!(run(sound.damage(&damaged)) > 0, "{name} is a product");
    }
    let rows = vec((any::<Index>(), any_damage()), 1..4);
    check(cases().div_ceil(CASES_EACH), &rows, |damage| {
        let damaged: Vec<_> = damage
            .iter()
            .map(|(at, damage)| {
                let row = &sound.rows[at.index(sound.rows.len())];
                (row, damage.done_to(row))
            })
            .collect();
        run(sound.damage(&damaged));
        Ok(())
    });
}
