//! What is measured at the store: group commit against plain SQLite that writes the same bytes, and the disk's `fsync`.
//!
//! The reference is what a program could reach that does nothing but write: one thread, one prepared statement a table,
//! 64 commits in each transaction, no check of what was there, no cache to keep right, nobody to answer. Each round has
//! new files and the same work for both, in the same order, made beforehand.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cartwright::events::{Envelope, Queue, queues_of};
use cartwright::local::sqlite::{self, FILE_NAME, SqliteStore};
use cartwright::store::{Batch, Expect, Key, Store, Table, Write};
use cartwright::system::SystemClock;
use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::load::{Latency, histogram, note};
use crate::report::Ratio;
use crate::servers::cpu_time;
use crate::{Plan, Result};

/// Tasks that commit at the same time, and commits in one transaction of the reference.
const CONCURRENT: usize = 64;
/// Commits by which the length of the rounds is found.
const TRIAL_COMMITS: usize = 64 * 32;
/// Bytes of one append of the `fsync` row.
const APPEND_BYTES: usize = 4096;

/// Everything measured at the store.
#[derive(Serialize)]
pub(crate) struct Storage {
    /// `fdatasync` after appends of 4 KB.
    pub(crate) fsync: Fsync,
    pub(crate) shapes: Vec<Commits>,
}

/// How fast the disk makes appends durable, one after the other.
#[derive(Serialize)]
pub(crate) struct Fsync {
    pub(crate) per_s: f64,
    pub(crate) latency: Latency,
}

/// Commits of one shape: the store against the reference.
#[derive(Serialize)]
pub(crate) struct Commits {
    pub(crate) shape: Shape,
    pub(crate) commits_per_round: usize,
    /// One a round.
    pub(crate) store: Vec<Speed>,
    /// One a round.
    pub(crate) reference: Vec<Speed>,
    /// Commits a second, store ÷ reference, round by round.
    pub(crate) rate: Ratio,
    /// CPU time per commit of all threads, store ÷ reference, round by round.
    pub(crate) cpu: Option<Ratio>,
}

/// How one round went.
#[derive(Serialize)]
pub(crate) struct Speed {
    pub(crate) per_s: f64,
    pub(crate) cpu_us: Option<f64>,
}

/// What one commit writes.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Shape {
    /// One document, a basket that was not there.
    Basket,
    /// Three documents that were not there and an event that goes to a queue.
    Order,
}

/// How many steps of the progress [`measure`] takes.
pub(crate) fn steps(plan: &Plan) -> usize {
    1 + 2 * (1 + 2 * plan.rounds)
}

/// Measures everything at the store, in `folder`.
///
/// # Errors
/// When the disk or the store fails, or the files do not hold what was committed.
pub(crate) fn measure(plan: &Plan, folder: &Path) -> Result<Storage> {
    plan.step("fsync");
    let fsync = fsync(&folder.join("fsync"), plan.round.measured)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let shapes = [Shape::Basket, Shape::Order].map(|shape| commits(plan, &runtime, folder, shape));
    Ok(Storage { fsync, shapes: shapes.into_iter().collect::<Result<_>>()? })
}

fn fsync(path: &Path, time: Duration) -> Result<Fsync> {
    let mut file = File::create_new(path)?;
    let (begun, mut latency) = (Instant::now(), histogram());
    while begun.elapsed() < time {
        let append = Instant::now();
        file.write_all(&[0x5a; APPEND_BYTES])?;
        file.sync_data()?;
        note(&mut latency, append.elapsed());
    }
    let per_s = latency.len() as f64 / begun.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(Fsync { per_s, latency: Latency::of(&latency) })
}

fn commits(plan: &Plan, runtime: &tokio::runtime::Runtime, folder: &Path, shape: Shape) -> Result<Commits> {
    plan.step(&format!("commits of {}, trial", shape.name()));
    let trial = runtime.block_on(store_round(folder, shape, TRIAL_COMMITS))?;
    let groups = trial.per_s * plan.round.measured.as_secs_f64() / CONCURRENT as f64;
    let count = CONCURRENT * (groups.ceil() as usize).max(1);
    let (mut store, mut reference) = (Vec::new(), Vec::new());
    for round in 0..plan.rounds {
        let order = if round % 2 == 0 { [true, false] } else { [false, true] };
        for is_store in order {
            let name = if is_store { "store" } else { "plain SQLite" };
            plan.step(&format!("commits of {}, round {} of {}, {name}", shape.name(), round + 1, plan.rounds));
            if is_store {
                store.push(runtime.block_on(store_round(folder, shape, count))?);
            } else {
                reference.push(reference_round(folder, shape, count)?);
            }
        }
    }
    let rate = Ratio::of(&store, &reference, |speed| Some(speed.per_s)).ok_or("nothing was committed")?;
    let cpu = Ratio::of(&store, &reference, |speed| speed.cpu_us);
    Ok(Commits { shape, commits_per_round: count, store, reference, rate, cpu })
}

/// Commits through a new store, from [`CONCURRENT`] tasks.
async fn store_round(folder: &Path, shape: Shape, count: usize) -> Result<Speed> {
    let folder = folder.join("store");
    let store = SqliteStore::open(&folder, Arc::new(SystemClock))?;
    let mut shares: Vec<Vec<Batch>> = (0..CONCURRENT).map(|_| Vec::with_capacity(count / CONCURRENT)).collect();
    for number in 0..count {
        shares[number % CONCURRENT].push(shape.batch(number as u64)?);
    }
    let clock = Stopwatch::start();
    let mut tasks = JoinSet::new();
    for share in shares {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            for batch in share {
                store.commit(batch).await?;
            }
            Ok::<(), cartwright::store::CommitError>(())
        });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    let speed = clock.stop(count);
    store.close().await;
    drop(store);
    check(&folder.join(FILE_NAME), shape, count)?;
    std::fs::remove_dir_all(folder)?;
    Ok(speed)
}

/// Writes the same with nothing but SQLite, on one thread, [`CONCURRENT`] commits in each transaction.
fn reference_round(folder: &Path, shape: Shape, count: usize) -> Result<Speed> {
    let folder = folder.join("reference");
    let file = folder.join(FILE_NAME);
    drop(SqliteStore::open(&folder, Arc::new(SystemClock))?);
    // The tables as the store makes them; of the settings, those of the store's writer.
    let connection = Connection::open(&file)?;
    sqlite::set_up_writer(&connection)?;
    let batches = (0..count).map(|number| shape.batch(number as u64)).collect::<Result<Vec<_>>>()?;
    let messages =
        batches.iter().flat_map(|batch| &batch.events).map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
    let put = format!(
        "INSERT INTO {} (pk, sk, version, expires_at_ms, body) VALUES (?1, ?2, 1, NULL, ?3) \
         ON CONFLICT (pk, sk) DO UPDATE SET version = version + 1, expires_at_ms = NULL, body = excluded.body",
        shape.table().name()
    );
    let enqueue = "INSERT INTO messages (queue, seq, enqueued_at_ms, body) VALUES (?1, ?2, 0, ?3)";
    let (mut put, mut enqueue) = (connection.prepare(&put)?, connection.prepare(enqueue)?);
    let (mut messages, mut seq) = (messages.iter(), 0);
    let clock = Stopwatch::start();
    for group in batches.chunks(CONCURRENT) {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for batch in group {
            for write in &batch.writes {
                if let Write::Put { key, body, .. } = write {
                    put.execute(params![key.pk, key.sk, body])?;
                }
            }
            for message in messages.by_ref().take(batch.events.len()) {
                seq += 1;
                enqueue.execute(params![QUEUE.name(), seq, message])?;
            }
        }
        connection.execute_batch("COMMIT")?;
    }
    let speed = clock.stop(count);
    drop((put, enqueue));
    connection.close().map_err(|(_, error)| error)?;
    check(&file, shape, count)?;
    std::fs::remove_dir_all(folder)?;
    Ok(speed)
}

/// Makes sure that a file holds what was committed.
fn check(file: &Path, shape: Shape, count: usize) -> Result<()> {
    let connection = Connection::open(file)?;
    let rows =
        |table: &str| connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, usize>(0));
    let (documents, messages) = (rows(shape.table().name())?, rows("messages")?);
    if (documents, messages) == (shape.documents() * count, shape.events() * count) {
        return Ok(());
    }
    Err(format!(
        "{count} commits of {} left {documents} documents and {messages} messages in {}",
        shape.name(),
        file.display()
    )
    .into())
}

/// The queue the event of an [`Shape::Order`] goes to.
const QUEUE: Queue = Queue::NotificationQueue;
const SOURCE: &str = "cartwright.ordering";
const DETAIL_TYPE: &str = "OrderConfirmed";

impl Shape {
    /// In words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Shape::Basket => "1 put",
            Shape::Order => "3 puts and 1 event",
        }
    }

    fn table(self) -> Table {
        match self {
            Shape::Basket => Table::Basket,
            Shape::Order => Table::Ordering,
        }
    }

    fn documents(self) -> usize {
        match self {
            Shape::Basket => 1,
            Shape::Order => 3,
        }
    }

    fn events(self) -> usize {
        match self {
            Shape::Basket => 0,
            Shape::Order => 1,
        }
    }

    /// The commit of that number, all of whose keys are new. As large as what the services write, under keys like theirs.
    fn batch(self, number: u64) -> Result<Batch> {
        let user = format!("ann-{:016x}", scatter(number));
        let lines = r#"[{"productId":"0197f3a2-7c1b-7d35-9a52-0c6f5a1e44d1","name":"Trail running shoe","color":"blue","quantity":2,"unitPrice":{"amount":12999,"currency":"USD"}}]"#;
        let mut batch = Batch::new(self.table());
        let mut put = |pk: String, sk: String, body: String| {
            let key = Key::new(self.table(), pk, sk);
            batch.writes.push(Write::Put { key, expect: Expect::Absent, body, expires_at: None });
        };
        match self {
            Shape::Basket => {
                let body =
                    format!(r#"{{"userName":"{user}","lines":{lines},"updatedAt":"2026-11-20T09:30:00.123456789Z"}}"#);
                put(format!("BASKETS#{:02}", number % 16), user, body);
            }
            Shape::Order => {
                // Ids that sort by time, as those of orders do.
                let id = format!("{number:027}");
                let head = format!(
                    r#""customer":"{user}","status":"PLACED","lines":{lines},"total":{{"amount":25998,"currency":"USD"}}"#
                );
                let contact = r#"{"firstName":"Ann","lastName":"Example","email":"ann@example.com","address":"1 Main Street, Springfield"}"#;
                let times =
                    r#""createdAt":"2026-11-20T09:30:00.123456789Z","updatedAt":"2026-11-20T09:30:00.123456789Z""#;
                put(
                    format!("CUSTOMER#{user}"),
                    format!("#ORDER#{id}"),
                    format!(r#"{{"id":"{id}",{head},"contact":{contact},{times}}}"#),
                );
                put(
                    format!("CUSTOMER#{user}"),
                    "#CUSTOMER".to_owned(),
                    format!(r#"{{"userName":"{user}","orders":1}}"#),
                );
                put(format!("ORDERS#{:02}", number % 16), id.clone(), format!(r#"{{"customer":"{user}"}}"#));
                batch.emit(envelope(number, format!(r#"{{"orderId":"{id}",{head}}}"#))?);
            }
        }
        Ok(batch)
    }
}

/// An event that goes to [`QUEUE`].
fn envelope(number: u64, detail: String) -> Result<Envelope> {
    if queues_of(SOURCE, DETAIL_TYPE) != [QUEUE] {
        return Err(format!("{DETAIL_TYPE} of {SOURCE} does not go to {} any more", QUEUE.name()).into());
    }
    Ok(Envelope {
        id: Uuid::from_u64_pair(scatter(number), number),
        source: SOURCE.to_owned(),
        detail_type: DETAIL_TYPE.to_owned(),
        time: Timestamp::UNIX_EPOCH,
        correlation_id: format!("8f3a11c2-{number:x}"),
        causation_id: Some(Uuid::from_u64_pair(number, scatter(number))),
        traceparent: None,
        detail: RawValue::from_string(detail)?,
    })
}

/// A number of its own for every number, in no order: keys made of it fall all over the table, as those of users do.
pub(crate) fn scatter(number: u64) -> u64 {
    // SplitMix64's finalizer, which is a bijection.
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Time and CPU time of this process.
struct Stopwatch {
    started: Instant,
    cpu: Option<Duration>,
}

impl Stopwatch {
    fn start() -> Self {
        Stopwatch { cpu: cpu_time(std::process::id()), started: Instant::now() }
    }

    fn stop(self, count: usize) -> Speed {
        let seconds = self.started.elapsed().as_secs_f64();
        let cpu = cpu_time(std::process::id()).zip(self.cpu).map(|(now, before)| now.saturating_sub(before));
        Speed { per_s: count as f64 / seconds, cpu_us: cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / count as f64) }
    }
}
