//! Ends by force, one after the other, and a world that lies: disks that do not write what they took, clocks that jump.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cartwright::app::Clock;
use cartwright::local::sqlite::FILE_NAME;
use cartwright::system::SystemClock;
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::crash::{CLIENTS, ids, stock_up};
use super::harness::{Answer, BINARY, Server, command, eventually};
use super::load::{Books, Load, check, check_totals};

const PATIENCE: Duration = Duration::from_secs(20);
/// Crashes of one shop, before its books are checked and the next one opens.
const CYCLES_OF_A_SHOP: usize = 50;

/// Stops or continues a process.
fn signal(server: &Server, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), server.pid().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Kills a server under load, so many times, now and then after it stood still for a moment; starts it again each time, and
/// checks the books. How long each start took until the first answer.
fn crash(cycles: usize, mut done: impl FnMut()) -> (Vec<Duration>, [usize; 3]) {
    let (mut recoveries, mut totals) = (Vec::new(), [0; 3]);
    for shop in 0..cycles.div_ceil(CYCLES_OF_A_SHOP) {
        let folder = TempDir::new().unwrap();
        let server = Server::start(folder.path(), &[]);
        let products = stock_up(&server);
        server.stop();
        let mut books = Books::default();
        for cycle in shop * CYCLES_OF_A_SHOP..cycles.min((shop + 1) * CYCLES_OF_A_SHOP) {
            let mut server = Server::start(folder.path(), &[]);
            server.get("/health").expect(200);
            recoveries.push(server.spawned_at().elapsed());
            let load = Load::start(&server, &ids(&products), &format!("cycle-{cycle}"), CLIENTS);
            load.until(40 + cycle * 37 % 80);
            if cycle % 4 == 3 {
                signal(&server, "STOP");
                signal(&server, "CONT");
                load.until(60 + cycle * 37 % 80);
            }
            if cycle % 4 == 1 {
                signal(&server, "STOP");
            }
            server.kill();
            books.add(load.join());
            done();
        }
        let (baskets, orders, in_doubt) = books.counts();
        totals = [totals[0] + baskets, totals[1] + orders, totals[2] + in_doubt];
        check(Server::start(folder.path(), &[]), folder.path(), &books, &products);
    }
    recoveries.sort_unstable();
    (recoveries, totals)
}

/// What `cargo xtask crashes` runs.
#[test]
#[ignore = "cargo xtask crashes runs it"]
#[expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a command that talks to its terminal")]
fn the_cycles_that_were_asked_for() {
    let cycles: usize = std::env::var("CARTWRIGHT_CRASH_CYCLES").unwrap().parse().unwrap();
    let bar = indicatif::ProgressBar::new(cycles as u64);
    let (recoveries, [baskets, orders, in_doubt]) = crash(cycles, || bar.inc(1));
    bar.finish_and_clear();
    let (p50, max) = (recoveries[recoveries.len() / 2], recoveries[recoveries.len() - 1]);
    println!(
        "{cycles} kills: {baskets} baskets and {orders} checkouts acknowledged, {in_doubt} requests in doubt; none lost, none doubled"
    );
    println!("from the start to the first answer: p50 {p50:?}, longest {max:?}");
}

#[test]
fn a_server_that_stood_still_and_was_killed_keeps_what_it_acknowledged() {
    let (recoveries, _) = crash(4, || ());
    assert_eq!(recoveries.len(), 4);
}

/// Calls of the system that lie. Loaded into the binary before the C library; it is told what to do by files, whose names are
/// in its environment.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* What is told is how the names of the files end that cannot be synced. */
static int fails(int fd) {
    const char *path = getenv("SHIM_NO_SYNC");
    int told = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (told < 0) return 0;
    char end[64] = {0}, link[32], name[4096] = {0};
    ssize_t length = read(told, end, sizeof end - 1);
    close(told);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, name, sizeof name - 1);
    return length >= 0 && size >= length && strcmp(name + size - length, end) == 0;
}

int fsync(int fd) {
    if (fails(fd)) { errno = EIO; return -1; }
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    return real(fd);
}

int fdatasync(int fd) {
    if (fails(fd)) { errno = EIO; return -1; }
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    return real(fd);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int outcome = real(clock, time);
    const char *path = getenv("SHIM_CLOCK");
    if (clock == CLOCK_REALTIME && path) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            char text[32] = {0};
            if (read(fd, text, sizeof text - 1) > 0) time->tv_sec += atoll(text);
            close(fd);
        }
    }
    return outcome;
}
"#;

/// The library of [`SHIM`], made anew; `None` where there is no C compiler.
fn shim(folder: &Path) -> Option<PathBuf> {
    let (source, library) = (folder.join("shim.c"), folder.join("shim.so"));
    fs::write(&source, SHIM).unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).arg("-ldl");
    cc.status().ok()?.success().then_some(library)
}

/// The binary under the shim, which looks for what it is to do under `path`.
fn shimmed(library: &Path, variable: &str, path: &Path) -> Command {
    let mut command = command(BINARY);
    command.env("LD_PRELOAD", library).env(variable, path);
    command
}

fn put(server: &Server, user: &str, product: &str) -> Answer {
    let body = json!({"items": [{"productId": product, "quantity": 1}]});
    server.client().request("PUT", &format!("/v1/baskets/{user}"), Some(&body))
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that tests nothing says why")]
fn what_could_not_be_synced_is_not_acknowledged_and_nothing_is_written_after_it() {
    let (folder, tools) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let Some(library) = shim(tools.path()) else { return eprintln!("skipped: no C compiler") };
    let told = tools.path().join("no-sync");
    let server = Server::of(shimmed(&library, "SHIM_NO_SYNC", &told), folder.path(), &[]);
    let product = server.product("Kettle", 50);
    for number in 0..10 {
        put(&server, &format!("before-{number}"), &product).expect(201);
    }
    fs::write(&told, "").unwrap();
    let refused = put(&server, "during", &product);
    assert_eq!((refused.status, refused.code()), (503, "storage_failed"));
    fs::remove_file(&told).unwrap();
    // A disk that failed once may have thrown away what it had: only reading the file again tells what is there.
    let after = put(&server, "after", &product);
    assert_eq!((after.status, after.code()), (503, "storage_failed"));
    assert_eq!(server.get("/health").status, 503);
    assert_eq!(server.all("/v1/baskets").len(), 10, "and reads go on");
    drop(server);

    let server = Server::start(folder.path(), &[]);
    for number in 0..10 {
        server.get(&format!("/v1/baskets/before-{number}")).expect(200);
    }
    server.get("/v1/baskets/after").expect(404);
    put(&server, "after", &product).expect(201);
    server.stop();
}

/// Whether some of what was copied from the log into the file is on disk cannot be known after that; the log has it all.
#[test]
#[expect(clippy::print_stderr, reason = "a test that tests nothing says why")]
fn a_log_that_could_not_be_written_back_is_kept_and_nothing_is_written_after_it() {
    const MANY: usize = 20_000;
    let (folder, tools) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let Some(library) = shim(tools.path()) else { return eprintln!("skipped: no C compiler") };
    let told = tools.path().join("no-sync");
    let server = Server::of(shimmed(&library, "SHIM_NO_SYNC", &told), folder.path(), &[]);
    let product = server.product("Kettle", 50);
    // At once, because an empty file says that nothing can be synced.
    let new = tools.path().join("new");
    fs::write(&new, FILE_NAME).unwrap();
    fs::rename(&new, &told).unwrap();
    let path = |number: usize| format!("/v1/baskets/basket-{number}");
    let (mut client, body) = (server.client(), json!({"items": [{"productId": product, "quantity": 1}]}));
    let (mut acknowledged, mut refused) = (0, None);
    while refused.is_none() && acknowledged < MANY {
        let answer = client.request("PUT", &path(acknowledged), Some(&body));
        match answer.status {
            201 => acknowledged += 1,
            _ => refused = Some(answer),
        }
    }
    let refused = refused.expect("the log becomes long, and is written back");
    assert_eq!((refused.status, refused.code()), (503, "storage_failed"));
    fs::remove_file(&told).unwrap();
    assert_eq!(put(&server, "after", &product).code(), "storage_failed", "also when the disk is well again");
    assert_eq!(server.get("/health").status, 503);
    server.stop();
    let log = folder.path().join(format!("{FILE_NAME}-wal"));
    assert!(fs::metadata(&log).unwrap().len() > 10_000_000, "what is in doubt is in the log");

    let server = Server::start(folder.path(), &[]);
    let mut client = server.client();
    for number in 0..acknowledged {
        client.request("GET", &path(number), None).expect(200);
    }
    put(&server, "after", &product).expect(201);
    server.stop();
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that tests nothing says why")]
fn a_clock_that_jumps_loses_nothing_and_holds_nothing_up() {
    let (folder, tools) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let Some(library) = shim(tools.path()) else { return eprintln!("skipped: no C compiler") };
    let offset = tools.path().join("offset");
    let mut server = Server::of(shimmed(&library, "SHIM_CLOCK", &offset), folder.path(), &[]);
    let products = stock_up(&server);
    let load = Load::start(&server, &ids(&products), "jump", CLIENTS);
    for (jump, seconds) in [86_400, -86_400, 3_600, 0, -600, 31_536_000].iter().enumerate() {
        load.until(60 * (jump + 1));
        fs::write(&offset, i64::to_string(seconds)).unwrap();
    }
    load.until(60 * 7);
    let order = server.all("/v1/orders").into_iter().max_by_key(|order| order["createdAt"].to_string()).unwrap();
    let year = |time: &Value| time.as_str().unwrap()[..4].parse::<i32>().unwrap();
    let now = SystemClock.now().to_string();
    assert!(year(&order["createdAt"]) > year(&json!(now)), "the clock did jump: {order} at {now}");
    assert!(check_totals_under_load(&server), "orders were left behind");
    server.kill();
    let books = load.join();
    check(Server::start(folder.path(), &[]), folder.path(), &books, &products);
}

/// Whether what was placed before now is settled in the end, whatever comes meanwhile.
fn check_totals_under_load(server: &Server) -> bool {
    let placed = server.all("/v1/orders");
    eventually("every order is settled", PATIENCE, || {
        let settled = |order: &Value| {
            let now = server.get(&format!("/v1/orders/{}", order["id"].as_str().unwrap())).expect(200);
            now["status"] != "PLACED"
        };
        placed.iter().all(settled).then_some(true)
    })
}

/// A shop that was killed under load, its books, and its log.
fn killed_shop() -> (TempDir, Books, Vec<(String, i64)>, PathBuf) {
    let folder = TempDir::new().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let products = stock_up(&server);
    let load = Load::start(&server, &ids(&products), "damage", CLIENTS);
    load.until(150);
    server.kill();
    let log = folder.path().join(format!("{FILE_NAME}-wal"));
    assert!(fs::metadata(&log).unwrap().len() > 100_000, "the log has what was written last");
    (folder, load.join(), products, log)
}

#[test]
fn a_log_with_a_torn_end_gives_back_all_that_was_acknowledged() {
    let (folder, books, products, log) = killed_shop();
    // What a write that was cut off leaves: frames that begin well and do not add up.
    let bytes = fs::read(&log).unwrap();
    let mut torn = fs::OpenOptions::new().append(true).open(&log).unwrap();
    torn.write_all(&bytes[32..32 + 3000]).unwrap();
    drop(torn);
    check(Server::start(folder.path(), &[]), folder.path(), &books, &products);
}

#[test]
fn a_log_damaged_in_the_middle_gives_back_an_earlier_state_in_whole() {
    let damages: [fn(&mut Vec<u8>); 3] = [
        |log| log.truncate(log.len() / 2),
        |log| {
            let middle = log.len() / 2;
            log[middle..middle + 64].fill(0xa5);
        },
        |log| log[..32].fill(0),
    ];
    for damage in damages {
        let (folder, _, products, log) = killed_shop();
        let mut bytes = fs::read(&log).unwrap();
        damage(&mut bytes);
        fs::write(&log, bytes).unwrap();
        // Nothing can bring back what the disk lost; but what is there is one state of the shop, and it adds up. Before the
        // first commit of the log there may be no shop at all.
        let server = Server::start(folder.path(), &[]);
        let known: Vec<String> =
            server.all("/v1/products").iter().map(|product| product["id"].as_str().unwrap().to_owned()).collect();
        let there: Vec<_> = products.into_iter().filter(|(id, _)| known.contains(id)).collect();
        check_totals(&server, &there);
        server.stop();
        let file = Connection::open(folder.path().join(FILE_NAME)).unwrap();
        let integrity: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(integrity, "ok");
    }
}

#[test]
fn a_file_damaged_in_the_middle_is_never_read_as_something_else() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    let names: Vec<String> = (0..400).map(|number| format!("Product {number}")).collect();
    for name in &names {
        server.product(name, 5);
    }
    server.stop();
    let file = folder.path().join(FILE_NAME);
    let good = fs::read(&file).unwrap();
    let pages = good.len() / 4096;
    assert!(pages > 30, "{pages}");
    let mut refused = 0;
    for page in (2..pages).step_by(pages / 12) {
        let mut bytes = good.clone();
        bytes[page * 4096..page * 4096 + 512].fill(0xa5);
        fs::write(&file, &bytes).unwrap();
        match Server::try_of(command(BINARY), folder.path(), &[]) {
            Ok(server) => {
                assert_no_invention(&server, &names);
                refused += usize::from(server.stderr().contains("storage_damaged"));
            }
            Err(why) => {
                assert!(why.contains("damaged") && why.contains("restore a backup"), "{why}");
                refused += 1;
            }
        }
        fs::write(&file, &good).unwrap();
    }
    assert!(refused > 0, "no damage hit what is read");
}

/// Lists the products until all are seen or the damage is met: what is answered is true, or says that the file is damaged.
fn assert_no_invention(server: &Server, names: &[String]) {
    let (mut client, mut path) = (server.client(), "/v1/products?limit=100".to_owned());
    loop {
        let page = client.request("GET", &path, None);
        if page.status != 200 {
            assert_eq!((page.status, page.code()), (500, "storage_damaged"));
            return;
        }
        for product in page.body["items"].as_array().unwrap() {
            assert!(names.iter().any(|name| product["name"] == **name), "{product}");
        }
        match page.body["nextCursor"].as_str() {
            Some(cursor) => path = format!("/v1/products?limit=100&cursor={cursor}"),
            None => return,
        }
    }
}
