//! What is measured at the store: group commit against plain SQLite that writes the same bytes, and the disk's `fsync`.
//!
//! What is committed is what the services commit: it was recorded while a shop was asked for it. The reference is what a
//! program could reach that does nothing but write: one thread, one prepared statement for each kind of write, as many
//! commits in each transaction as there are clients, no check of what was there, no cache to keep right, nobody to answer.
//! Each round begins with the same file and has the same work for both, made beforehand.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cartwright::events::queues_of;
use cartwright::local::sqlite::{self, FILE_NAME, SqliteStore};
use cartwright::store::{Batch, CommitError, Key, Store, Table, Write};
use cartwright::system::SystemClock;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::filling::{Filling, fill};
use crate::load::{Latency, histogram, note};
use crate::recording::{Kind, Recording, record};
use crate::report::Ratio;
use crate::servers::cpu_time;
use crate::{Plan, Result};

/// Tasks that commit at the same time, which is also how many commits the reference puts into one transaction; and commits
/// of a round.
const CLIENTS: [(usize, usize); 4] = [(1, 4_000), (16, 16_000), (64, 32_000), (256, 32_000)];
/// What the commits of a round are divided by in a smoke test.
const QUICK_DIVISOR: usize = 20;
/// Rounds of each row.
const ROUNDS: usize = 3;
/// Bytes of one append of the `fsync` row.
const APPEND_BYTES: usize = 4096;

/// Everything measured at the store.
#[derive(Serialize)]
pub(crate) struct Storage {
    /// `fdatasync` after appends of 4 KB.
    pub(crate) fsync: Fsync,
    pub(crate) rows: Vec<Commits>,
}

/// How fast the disk makes appends durable, one after the other.
#[derive(Serialize)]
pub(crate) struct Fsync {
    pub(crate) per_s: f64,
    pub(crate) latency: Latency,
}

/// Commits of one kind: the store against the reference.
#[derive(Serialize)]
pub(crate) struct Commits {
    pub(crate) kind: Kind,
    pub(crate) clients: usize,
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

/// How many steps of the progress [`measure`] takes.
pub(crate) fn steps() -> usize {
    1 + Kind::ALL.len() * (1 + CLIENTS.len() * 2 * ROUNDS)
}

/// Measures everything at the store, in `folder`.
///
/// # Errors
/// When the disk or the store fails, or the files do not hold what was committed.
pub(crate) fn measure(plan: &Plan, folder: &Path, quick: bool) -> Result<Storage> {
    plan.step("fsync");
    let fsync = fsync(&folder.join("fsync"), plan.round.measured)?;
    let runtime = Runtime::new()?;
    let divisor = if quick { QUICK_DIVISOR } else { 1 };
    let most = CLIENTS.iter().map(|(_, commits)| commits / divisor).max().unwrap_or(0);
    let base = folder.join("base");
    // A product for each movement of stock.
    let products = runtime.block_on(fill(&base, Filling { products: most, ..Filling::default() }))?;
    let mut rows = Vec::new();
    for kind in Kind::ALL {
        plan.step(&format!("commits of {}, recording", kind.name()));
        let recorded = folder.join("recorded");
        copy(&base, &recorded)?;
        let recording = runtime.block_on(record(&recorded, kind, &products, most))?;
        std::fs::remove_dir_all(&recorded)?;
        let rounds = Rounds { runtime: &runtime, folder, base: &base, recording: &recording, kind };
        for (clients, commits) in CLIENTS {
            rows.push(rounds.measure(plan, clients, commits / divisor)?);
        }
    }
    Ok(Storage { fsync, rows })
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

/// A new folder with the database of another.
fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    std::fs::copy(from.join(FILE_NAME), to.join(FILE_NAME))?;
    File::open(to.join(FILE_NAME))?.sync_all()?;
    Ok(())
}

/// What a commit executes: statements by their place in a list, and their values.
type Statements = Vec<(usize, Vec<Value>)>;

/// The rounds of one kind.
struct Rounds<'a> {
    runtime: &'a Runtime,
    folder: &'a Path,
    base: &'a Path,
    recording: &'a Recording,
    kind: Kind,
}

impl Rounds<'_> {
    fn measure(&self, plan: &Plan, clients: usize, count: usize) -> Result<Commits> {
        let kind = self.kind;
        let (mut store, mut reference) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let order = if round % 2 == 0 { [true, false] } else { [false, true] };
            for is_store in order {
                let name = if is_store { "store" } else { "plain SQLite" };
                let round = round + 1;
                plan.step(&format!("{} × {clients}, round {round} of {ROUNDS}, {name}", kind.name()));
                if is_store {
                    store.push(self.runtime.block_on(self.store_round(clients, count))?);
                } else {
                    reference.push(self.reference_round(clients, count)?);
                }
            }
        }
        let rate = Ratio::of(&store, &reference, |speed| Some(speed.per_s)).ok_or("nothing was committed")?;
        let cpu = Ratio::of(&store, &reference, |speed| speed.cpu_us);
        Ok(Commits { kind, clients, commits_per_round: count, store, reference, rate, cpu })
    }

    /// Commits through a store, from so many tasks.
    async fn store_round(&self, clients: usize, count: usize) -> Result<Speed> {
        let folder = self.folder.join("store");
        copy(self.base, &folder)?;
        let store = SqliteStore::open(&folder, Arc::new(SystemClock))?;
        let mut shares: Vec<Vec<Batch>> = vec![Vec::with_capacity(count / clients + 1); clients];
        for (number, batch) in self.recording.batches[..count].iter().enumerate() {
            shares[number % clients].push(batch.clone());
        }
        let clock = Stopwatch::start();
        let mut tasks = JoinSet::new();
        for share in shares {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                for batch in share {
                    store.commit(batch).await?;
                }
                Ok::<(), CommitError>(())
            });
        }
        while let Some(task) = tasks.join_next().await {
            task??;
        }
        let speed = clock.stop(count);
        store.close().await;
        drop(store);
        self.check(&folder, count)?;
        std::fs::remove_dir_all(folder)?;
        Ok(speed)
    }

    /// Writes the same with nothing but SQLite, on one thread, so many commits in each transaction.
    fn reference_round(&self, clients: usize, count: usize) -> Result<Speed> {
        let folder = self.folder.join("reference");
        copy(self.base, &folder)?;
        let connection = Connection::open(folder.join(FILE_NAME))?;
        sqlite::set_up_writer(&connection)?;
        let mut sql: Vec<String> = Vec::new();
        let plain = self.plain(count, &mut sql)?;
        let mut statements = sql.iter().map(|sql| connection.prepare(sql)).collect::<Result<Vec<_>, _>>()?;
        let clock = Stopwatch::start();
        for group in plain.chunks(clients) {
            connection.execute_batch("BEGIN IMMEDIATE")?;
            for (statement, values) in group.iter().flatten() {
                statements[*statement].execute(params_from_iter(values))?;
            }
            connection.execute_batch("COMMIT")?;
        }
        let speed = clock.stop(count);
        drop(statements);
        connection.close().map_err(|(_, error)| error)?;
        self.check(&folder, count)?;
        std::fs::remove_dir_all(folder)?;
        Ok(speed)
    }

    /// The commits as statements of `sql`, to which those are added that are not there.
    fn plain(&self, count: usize, sql: &mut Vec<String>) -> Result<Vec<Statements>> {
        let adjusted: HashMap<&Key, &String> = self.recording.adjusted.iter().map(|(key, body)| (key, body)).collect();
        let mut seq = 0_i64;
        let batches = self.recording.batches[..count].iter().map(|batch| -> Result<Statements> {
            let mut plain = Vec::new();
            let mut add = |text: String, values: Vec<Value>| {
                let at = sql.iter().position(|known| *known == text).unwrap_or_else(|| {
                    sql.push(text);
                    sql.len() - 1
                });
                plain.push((at, values));
            };
            let table = batch.table.name();
            for write in &batch.writes {
                let key = write.key();
                let mut values: Vec<Value> = vec![key.pk.clone().into(), key.sk.clone().into()];
                match write {
                    Write::Put { body, expires_at, .. } => {
                        values.push(expires_at.map(|at| at.as_millisecond()).into());
                        values.push(body.clone().into());
                        add(put(table), values);
                    }
                    Write::Adjust { key, .. } => {
                        values.push(adjusted.get(key).map(|body| (*body).clone()).into());
                        let set = "SET version = version + 1, body = ?3 WHERE pk = ?1 AND sk = ?2";
                        add(format!("UPDATE {table} {set}"), values);
                    }
                    Write::Delete { .. } => add(format!("DELETE FROM {table} WHERE pk = ?1 AND sk = ?2"), values),
                    Write::Check { .. } => {}
                }
            }
            for event in &batch.events {
                let text = serde_json::to_string(event)?;
                for queue in queues_of(&event.source, &event.detail_type) {
                    seq += 1;
                    let values: Vec<Value> = vec![queue.name().to_owned().into(), seq.into(), text.clone().into()];
                    let insert = "INSERT INTO messages (queue, seq, enqueued_at_ms, body) VALUES (?1, ?2, 0, ?3)";
                    add(insert.to_owned(), values);
                }
            }
            Ok(plain)
        });
        batches.collect()
    }

    /// Makes sure that a file holds what was committed.
    fn check(&self, folder: &Path, count: usize) -> Result<()> {
        let rows = |folder: &Path| -> Result<(u64, u64)> {
            let connection = Connection::open(folder.join(FILE_NAME))?;
            let rows = |table: &str| {
                connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, u64>(0))
            };
            let documents = Table::ALL.iter().map(|table| rows(table.name())).sum::<rusqlite::Result<u64>>()?;
            Ok((documents, rows("messages")?))
        };
        let batches = &self.recording.batches[..count];
        let is_new = |write: &&Write| matches!(write, Write::Put { .. });
        let documents = batches.iter().flat_map(|batch| &batch.writes).filter(is_new).count() as u64;
        let events = batches.iter().flat_map(|batch| &batch.events);
        let messages = events.map(|event| queues_of(&event.source, &event.detail_type).len() as u64).sum::<u64>();
        let (before, after) = (rows(self.base)?, rows(folder)?);
        if after == (before.0 + documents, before.1 + messages) {
            return Ok(());
        }
        let name = self.kind.name();
        Err(format!("{count} times {name} left {after:?} documents and messages, of {before:?} before").into())
    }
}

fn put(table: &str) -> String {
    format!(
        "INSERT INTO {table} (pk, sk, version, expires_at_ms, body) VALUES (?1, ?2, 1, ?3, ?4) \
         ON CONFLICT (pk, sk) DO UPDATE SET version = version + 1, expires_at_ms = excluded.expires_at_ms, body = excluded.body"
    )
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
