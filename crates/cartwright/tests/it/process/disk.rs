//! Disks that take no more: one that is full, and one that fails.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cartwright::local::sqlite::FILE_NAME;
use cartwright::store::{Key, Table};
use cartwright::transfer::{Document, Header, Record, Writer};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::harness::{Answer, BINARY, Client, Server, command, eventually, finish, run};

const PATIENCE: Duration = Duration::from_secs(10);
/// More writes than the disks of these tests have room for.
const MANY: usize = 5_000;

/// A disk of a few megabytes that only the processes started on it see.
struct SmallDisk {
    keeper: Child,
    folder: TempDir,
}

impl SmallDisk {
    /// `None`, with the reason, where one may not mount.
    fn mount() -> Result<SmallDisk, String> {
        let folder = TempDir::new().unwrap();
        let script = "mount -t tmpfs -o size=4m tmpfs \"$0\" && nsenter --version >&2 && echo mounted && exec cat";
        let mut unshare = Command::new("unshare");
        unshare.args(["-m", "sh", "-c", script]).arg(folder.path());
        let spawned = unshare.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut keeper = spawned.map_err(|error| format!("no unshare: {error}"))?;
        let mut said = String::new();
        let read = BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut said);
        let disk = SmallDisk { keeper, folder };
        if read.is_ok() && said.trim() == "mounted" {
            Ok(disk)
        } else {
            Err("a tmpfs cannot be mounted here".to_owned())
        }
    }

    /// The binary, as a process that sees the disk.
    fn command(&self) -> Command {
        let mut nsenter = command("nsenter");
        nsenter.args(["-m", "-t", &self.keeper.id().to_string(), "--", BINARY]);
        nsenter
    }

    fn start(&self) -> Server {
        Server::of(self.command(), self.folder.path(), &[])
    }

    /// The disk as seen from here.
    fn root(&self) -> PathBuf {
        Path::new("/proc")
            .join(self.keeper.id().to_string())
            .join("root")
            .join(self.folder.path().strip_prefix("/").unwrap())
    }

    /// Takes all the room there is.
    fn fill(&self) {
        let mut ballast = OpenOptions::new().create(true).append(true).open(self.root().join("ballast")).unwrap();
        loop {
            match ballast.write_all(&[0; 4096]) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.root().join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

fn put(client: &mut Client, user: &str, product: &str) -> Answer {
    let body = json!({"items": [{"productId": product, "quantity": 1}]});
    client.request("PUT", &format!("/v1/baskets/{user}"), Some(&body))
}

/// Writes until a write is refused. Returns the users whose baskets were acknowledged, and the refusal.
fn put_until_refused(client: &mut Client, prefix: &str, product: &str) -> (Vec<String>, Answer) {
    let mut acknowledged = Vec::new();
    for number in 0..MANY {
        let user = format!("{prefix}-{number}");
        let answer = put(client, &user, product);
        if answer.status != 201 {
            return (acknowledged, answer);
        }
        acknowledged.push(user);
    }
    panic!("{MANY} writes went to a disk that has no room for them");
}

fn users(server: &Server) -> Vec<String> {
    let name = |basket: &Value| basket["userName"].as_str().unwrap().to_owned();
    server.all("/v1/baskets").iter().map(name).collect()
}

/// Exactly these users have baskets.
fn assert_baskets(server: &Server, acknowledged: &[String]) {
    let mut acknowledged = acknowledged.to_vec();
    acknowledged.sort();
    assert_eq!(users(server), acknowledged);
    for user in &acknowledged {
        server.get(&format!("/v1/baskets/{user}")).expect(200);
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that tests nothing says why")]
fn a_full_disk_refuses_writes_answers_reads_and_recovers() {
    let disk = match SmallDisk::mount() {
        Ok(disk) => disk,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let mut server = disk.start();
    let product = server.product("Kettle", 1_000);
    let mut client = server.client();
    put(&mut client, "first", &product).expect(201);

    disk.fill();
    let (mut acknowledged, refusal) = put_until_refused(&mut client, "full", &product);
    acknowledged.push("first".to_owned());
    assert_eq!((refusal.status, refusal.code(), refusal.header("retry-after")), (503, "storage_full", Some("1")));
    assert_baskets(&server, &acknowledged);
    server.get(&format!("/v1/products/{product}")).expect(200);
    server.get("/health").expect(200);

    disk.make_room();
    eventually("writes are taken again", PATIENCE, || {
        (put(&mut client, "roomy", &product).status == 200).then_some(())
    });
    acknowledged.push("roomy".to_owned());
    let accepted = client.request("POST", "/v1/baskets/first/checkout", Some(&json!({}))).expect(202);
    acknowledged.retain(|user| user != "first");

    disk.fill();
    acknowledged.extend(put_until_refused(&mut client, "again", &product).0);
    server.kill();
    let full = disk.start();
    assert_baskets(&full, &acknowledged);
    drop(full);

    disk.make_room();
    let server = disk.start();
    assert_baskets(&server, &acknowledged);
    let path = format!("/v1/orders/{}", accepted["orderId"].as_str().unwrap());
    let confirmed = || (server.get(&path).expect(200)["status"] == "CONFIRMED").then_some(());
    eventually("the order is confirmed", PATIENCE, confirmed);
    server.stop();
}

#[test]
fn a_failing_disk_ends_writes_until_a_restart_and_reads_go_on() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    let product = server.product("Kettle", 1_000);
    server.stop();
    // The largest file the process may write: an error beyond it, and one that is not "disk full".
    let mut limited = command("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 1024; exec \"$0\" \"$@\"", BINARY]);
    let mut server = Server::of(limited, folder.path(), &[]);
    let mut client = server.client();
    let (acknowledged, refusal) = put_until_refused(&mut client, "many", &product);
    assert_eq!((refusal.status, refusal.code()), (503, "storage_failed"));
    assert!(acknowledged.len() > 10, "{}", acknowledged.len());
    assert_eq!(put(&mut client, "after", &product).code(), "storage_failed", "nothing is written after a failure");
    let health = server.get("/health");
    assert_eq!((health.status, health.code()), (503, "storage_failed"), "and whoever watches can tell");
    assert_baskets(&server, &acknowledged);
    server.terminate();
    let status = server.wait(PATIENCE);
    assert_eq!(status.code(), Some(0), "{}", server.stderr());

    let server = Server::start(folder.path(), &[]);
    assert_baskets(&server, &acknowledged);
    put(&mut server.client(), "after", &product).expect(201);
}

#[test]
fn a_write_while_another_program_holds_the_database_is_refused_and_the_next_is_taken() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    let product = server.product("Kettle", 5);
    let mut client = server.client();
    put(&mut client, "before", &product).expect(201);
    let tool = rusqlite::Connection::open(folder.path().join(FILE_NAME)).unwrap();
    tool.busy_timeout(PATIENCE).unwrap();
    tool.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let refused = put(&mut client, "meanwhile", &product);
    assert_eq!((refused.status, refused.code()), (503, "storage_locked"));
    assert_baskets(&server, &["before".to_owned()]);
    tool.execute_batch("ROLLBACK").unwrap();
    put(&mut client, "after", &product).expect(201);
    assert_baskets(&server, &["after".to_owned(), "before".to_owned()]);
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that tests nothing says why")]
fn a_start_on_a_full_disk_says_so() {
    let disk = match SmallDisk::mount() {
        Ok(disk) => disk,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let start_is_refused = || {
        let mut serve = disk.command();
        serve.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(disk.folder.path());
        let output = finish(serve);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
        assert!(stderr.to_lowercase().contains("no space"), "{stderr}");
    };
    disk.fill();
    start_is_refused();
    disk.make_room();
    let server = disk.start();
    server.product("Kettle", 5);
    server.stop();
    disk.fill();
    start_is_refused();
    disk.make_room();
    assert_eq!(disk.start().all("/v1/products").len(), 1);
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that tests nothing says why")]
fn an_import_export_or_backup_without_room_leaves_nothing() {
    let disk = match SmallDisk::mount() {
        Ok(disk) => disk,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let roomy = TempDir::new().unwrap();
    let (file, shop) = (roomy.path().join("shop.ndjson"), roomy.path().join("shop"));
    let mut writer = Writer::new(fs::File::create(&file).unwrap(), &Header::new(None)).unwrap();
    for id in 0..60 {
        let key = Key::new(Table::Operations, "ITEMS", id.to_string());
        let body = format!("{{\"a\":\"{}\"}}", "x".repeat(100_000));
        writer.write(&Record::Document(Document { key, version: 1, expires_at: None, body })).unwrap();
    }
    writer.finish().unwrap();
    let (file, shop) = (file.to_str().unwrap(), shop.to_str().unwrap());
    assert!(run(&["import", file, "--data", shop]).status.success());

    let full = disk.folder.path().to_str().unwrap();
    let (export, backup) = (format!("{full}/shop.ndjson"), format!("{full}/shop.db"));
    let into = ["import", file, "--data", full];
    for args in [&into[..], &["export", "--output", &export, "--data", shop], &["backup", &backup, "--data", shop]] {
        let mut command = disk.command();
        command.args(args);
        let output = finish(command);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{args:?}: {stderr}");
        assert!(stderr.contains("disk is full") || stderr.contains("No space left"), "{args:?}: {stderr}");
        let left = fs::read_dir(disk.root()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(left.filter(|name| name != "cartwright.lock").count(), 0, "{args:?}");
    }
}
