//! More than the server takes on, for some seconds: it keeps its memory, its speed, and its word.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use super::harness::{Client, Server, connect, many_files};

/// How long the load lasts. `cargo xtask bench overload` goes on for a minute.
const LASTS: Duration = Duration::from_secs(3);
const MAX_IN_FLIGHT: usize = 8;
/// How many times as many clients as are taken on ask, each of which sends the next request as soon as it has an answer.
const TIMES: usize = 3;
/// What memory may grow by, whatever comes: the allocator's own untidiness, in a debug build.
const MAX_GROWTH_BYTES: u64 = 48 * 1024 * 1024;
/// How many times as long half of what is taken on may take then, and what is noise on a machine that runs other tests as well.
const MAX_SLOWDOWN: u32 = 3;
const NOISE: Duration = Duration::from_millis(20);
/// Refusals a second that a client which does not heed `Retry-After` gets at most: each waits for a tenth of a second.
const MAX_REFUSALS_PER_S: usize = 10;

/// What a client knows.
#[derive(Default)]
struct Notes {
    acknowledged: Vec<String>,
    refused: usize,
    latencies: Vec<Duration>,
}

impl Notes {
    /// What half of what was taken on took at most.
    fn median(&self) -> Duration {
        let mut latencies = self.latencies.clone();
        latencies.sort();
        latencies[latencies.len() / 2]
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "the figures are what a reader of the log wants")]
fn three_times_what_is_taken_on_costs_neither_memory_nor_what_was_acknowledged() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &["--max-in-flight", &MAX_IN_FLIGHT.to_string()]);
    let products: Vec<_> = (0..20).map(|at| server.product(&format!("Product {at}"), 1_000_000)).collect();
    let before = server.resident_bytes();
    let usual = load(&server, &products, MAX_IN_FLIGHT);
    let beyond = load(&server, &products, TIMES * MAX_IN_FLIGHT);
    let after = server.resident_bytes();
    let (usually, median) = (usual.median(), beyond.median());
    eprintln!(
        "{} orders and a median of {usually:?}, then {} and {median:?} beside {} refusals; memory {before:?} to {after:?} bytes",
        usual.acknowledged.len(),
        beyond.acknowledged.len(),
        beyond.refused
    );
    assert!(beyond.refused > 0 && !beyond.acknowledged.is_empty());
    assert!(median < MAX_SLOWDOWN * usually + NOISE, "{usually:?}, then {median:?}");
    let most = TIMES * MAX_IN_FLIGHT * (MAX_REFUSALS_PER_S * LASTS.as_secs() as usize + 1);
    assert!(beyond.refused <= most, "{} refusals", beyond.refused);
    if let (Some(before), Some(after)) = (before, after) {
        assert!(after < before + MAX_GROWTH_BYTES, "memory grew from {before} to {after} bytes");
    }
    for order in usual.acknowledged.iter().chain(&beyond.acknowledged) {
        assert_eq!(server.get(order).status, 200, "{order} was acknowledged");
    }
}

/// So many clients for a while.
fn load(server: &Server, products: &[String], clients: usize) -> Notes {
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..clients)
        .map(|at| {
            let (address, over, product) = (server.address(), Arc::clone(&over), products[at % products.len()].clone());
            let name = format!("c{clients}-{at}");
            std::thread::spawn(move || shop(Client::new(address, true), &name, &product, &over))
        })
        .collect();
    std::thread::sleep(LASTS);
    over.store(true, Ordering::Relaxed);
    let mut all = Notes::default();
    for client in clients {
        let notes = client.join().expect("every answer is one of those that are promised");
        all.acknowledged.extend(notes.acknowledged);
        all.latencies.extend(notes.latencies);
        all.refused += notes.refused;
    }
    all
}

/// Fills baskets and checks them out until it is over; comes again at once when it is refused.
fn shop(mut client: Client, name: &str, product: &str, over: &AtomicBool) -> Notes {
    let mut notes = Notes::default();
    let mut ask = |notes: &mut Notes, method: &str, path: &str, body| {
        while !over.load(Ordering::Relaxed) {
            let asked_at = Instant::now();
            let answer = client.request(method, path, Some(body));
            if answer.status != 503 {
                notes.latencies.push(asked_at.elapsed());
                return Some(answer);
            }
            assert_eq!((answer.code(), answer.header("retry-after")), ("overloaded", Some("1")));
            notes.refused += 1;
        }
        None
    };
    let (lines, empty) = (json!({"items": [{"productId": product, "quantity": 1}]}), json!({}));
    for number in 0.. {
        let basket = format!("/v1/baskets/{name}-{number}");
        let Some(filled) = ask(&mut notes, "PUT", &basket, &lines) else { break };
        filled.expect(201);
        let Some(accepted) = ask(&mut notes, "POST", &format!("{basket}/checkout"), &empty) else { break };
        notes.acknowledged.push(accepted.expect(202)["statusUrl"].as_str().unwrap().to_owned());
    }
    notes
}

#[test]
#[expect(clippy::print_stderr, reason = "the figures are what a reader of the log wants")]
fn thousands_of_connections_that_ask_nothing_leave_room_for_those_that_do() {
    /// As many as the server takes, less a few for those that ask; fewer where files are scarce.
    const MOST: usize = 9_900;
    let _files = many_files();
    let may_open = cartwright::local::server::raise_open_file_limit();
    let count = MOST.min(may_open / 2);
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &["--header-timeout", "60"]);
    let before = server.resident_bytes();
    let idle: Vec<_> = (0..count).map(|_| connect(server.address()).unwrap()).collect();
    let mut longest = Duration::ZERO;
    for _ in 0..50 {
        let asked_at = Instant::now();
        server.get("/health").expect(200);
        longest = longest.max(asked_at.elapsed());
    }
    eprintln!(
        "{count} idle connections, memory {before:?} to {:?} bytes, others wait {longest:?} at most",
        server.resident_bytes()
    );
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    if let (Some(before), Some(after)) = (before, server.resident_bytes()) {
        let each = after.saturating_sub(before) / count as u64;
        assert!(each < 16 * 1024, "{each} bytes for each");
    }
    drop(idle);
}
