//! Starts that must fail, each with one line that says why and what to do.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cartwright::local::sqlite::FILE_NAME;
use rusqlite::Connection;
use tempfile::TempDir;

use super::harness::{BINARY, Server, command, finish, run};

/// A user who owns nothing.
const NOBODY: u32 = 65_534;

/// A start on `folder` must fail: exit code 1, nothing on standard output, and one line that has all of `says`.
fn refused(folder: &Path, extra: &[&str], says: &[&str]) {
    let mut args = vec!["serve", "--data", folder.to_str().unwrap()];
    if !extra.contains(&"--listen") {
        args.extend(["--listen", "127.0.0.1:0"]);
    }
    args.extend(extra);
    complains(&run(&args), says);
}

fn complains(output: &Output, says: &[&str]) {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stdout, "", "it says it is ready, and is not");
    assert!(
        stderr.starts_with("cartwright: ") && stderr.trim_end().lines().count() == 1,
        "not one line of ours:\n{stderr}"
    );
    for part in says {
        assert!(stderr.contains(part), "no {part:?} in:\n{stderr}");
    }
}

/// A folder with a shop that was stopped in good order.
fn closed_shop() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.product("Kettle", 5);
    server.stop();
    let file = folder.path().join(FILE_NAME);
    (folder, file)
}

#[test]
fn a_folder_in_use_is_refused_and_the_user_is_named() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    let (pid, path) = (format!("process {}", server.pid()), folder.path().to_str().unwrap());
    refused(folder.path(), &[], &[&pid, path, "stop it first", "--data"]);
    complains(&run(&["seed", "--data", path]), &[&pid, "stop it first"]);
    server.get("/health").expect(200);
    server.stop();
    Server::start(folder.path(), &[]).stop();
}

#[test]
fn an_address_others_can_reach_is_refused_before_anything_is_made() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    for address in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080"] {
        refused(&data, &["--listen", address], &[address, "access control", "127.0.0.1:8080"]);
    }
    assert!(!data.exists());
}

#[test]
fn an_address_in_use_is_refused() {
    let (folder, taken) = (TempDir::new().unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = taken.local_addr().unwrap().to_string();
    refused(folder.path(), &["--listen", &address], &[&address, "in use", "--listen"]);
}

#[test]
fn a_damaged_file_is_refused_and_left_as_it_is() {
    let damage: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes[..100].fill(0xa5),
        |bytes| bytes[100..4096].fill(0xa5),
        |bytes| bytes.truncate(5000),
        |bytes| *bytes = b"Dear diary, today I opened a shop.\n".to_vec(),
    ];
    let (folder, file) = closed_shop();
    let good = fs::read(&file).unwrap();
    for (at, damage) in damage.iter().enumerate() {
        let mut bytes = good.clone();
        damage(&mut bytes);
        fs::write(&file, &bytes).unwrap();
        refused(folder.path(), &[], &[file.to_str().unwrap(), "damaged or not a SQLite database", "restore a backup"]);
        assert!(
            fs::read(&file).unwrap() == bytes,
            "damage {at}: the file was changed, and with it what could be rescued"
        );
    }
}

#[test]
fn a_file_of_a_newer_release_is_refused() {
    let (folder, file) = closed_shop();
    Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
    refused(folder.path(), &[], &[file.to_str().unwrap(), "newer Cartwright", "schema 99", "upgrade"]);
}

#[test]
fn a_database_of_another_program_is_refused_and_left_as_it_is() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join(FILE_NAME);
    Connection::open(&file).unwrap().execute_batch("CREATE TABLE diary (day TEXT)").unwrap();
    let before = fs::read(&file).unwrap();
    refused(folder.path(), &[], &[file.to_str().unwrap(), "another program", "--data"]);
    assert!(fs::read(&file).unwrap() == before, "the file of the other program was changed");
}

#[test]
fn a_file_in_place_of_the_folder_is_refused() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("data");
    fs::write(&file, "a file").unwrap();
    refused(&file, &[], &[file.to_str().unwrap(), "not a folder"]);
    refused(&file.join("below"), &[], &[file.to_str().unwrap()]);
    assert_eq!(fs::read(&file).unwrap(), b"a file");
}

#[test]
fn a_folder_that_cannot_be_written_is_refused() {
    let outer = TempDir::new().unwrap();
    let folder = outer.path().join("data");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(outer.path(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o555)).unwrap();
    for data in [folder.clone(), folder.join("below")] {
        let mut serve = unprivileged(outer.path());
        serve.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&data);
        complains(&finish(serve), &["cannot write to the data folder", data.to_str().unwrap(), "Permission denied"]);
    }
}

#[test]
fn a_shop_of_another_user_is_refused() {
    let (folder, file) = closed_shop();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    for entry in fs::read_dir(folder.path()).unwrap() {
        fs::set_permissions(entry.unwrap().path(), Permissions::from_mode(0o666)).unwrap();
    }
    fs::set_permissions(&file, Permissions::from_mode(0o444)).unwrap();
    let mut serve = unprivileged(folder.path());
    serve.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(folder.path());
    complains(&finish(serve), &[file.to_str().unwrap(), "read-only for this user"]);
}

/// The binary as a user who is not root, whom permissions do not bind. `shelter` is a folder that user can reach, for a
/// copy of the binary when it lies in one they cannot.
fn unprivileged(shelter: &Path) -> Command {
    let is_root = fs::metadata(shelter).unwrap().uid() == 0;
    if !is_root {
        return command(BINARY);
    }
    let mut probe = command(BINARY);
    probe.uid(NOBODY).gid(NOBODY).arg("--version");
    let reachable = probe.output().is_ok_and(|output| output.status.success());
    let copy = shelter.join("cartwright-for-nobody");
    if !reachable && !copy.exists() {
        fs::copy(BINARY, &copy).unwrap();
    }
    let mut command = command(if reachable { Path::new(BINARY) } else { &copy });
    command.uid(NOBODY).gid(NOBODY);
    command
}

#[test]
fn another_currency_than_the_shops_is_refused() {
    let (folder, _) = closed_shop();
    refused(folder.path(), &["--currency", "EUR"], &["This shop's prices are in USD", "EUR"]);
    Server::start(folder.path(), &["--currency", "usd"]).stop();
}

#[test]
fn a_file_another_program_has_locked_is_refused() {
    let (folder, file) = closed_shop();
    let tool = Connection::open(&file).unwrap();
    tool.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;").unwrap();
    refused(folder.path(), &[], &[file.to_str().unwrap(), "locked by another program", "close it"]);
    drop(tool);
    Server::start(folder.path(), &[]).stop();
}

#[test]
fn mail_that_cannot_be_sent_or_filled_in_is_refused_at_the_start() {
    let (folder, templates) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (data, server) =
        (folder.path().join("data"), ["--smtp-url", "smtp://127.0.0.1:9", "--email-from", "a@b.example"]);
    let file = templates.path().join("OrderShipped.html");
    fs::write(&file, "{{ facts.orderId }}\n{{ facts.weight }}").unwrap();
    let with_templates = [&server[..], &["--email-templates", templates.path().to_str().unwrap()]].concat();
    refused(&data, &with_templates, &["--email-templates", "OrderShipped.html:2"]);
    fs::rename(&file, templates.path().join("OrderLost.html")).unwrap();
    refused(&data, &with_templates, &["OrderLost.html is no template", "customer.html"]);
    refused(
        &data,
        &["--smtp-url", "http://u:hunter2@x", "--email-from", "a@b.example"],
        &["--smtp-url must be like smtps://"],
    );
    refused(&data, &["--smtp-url", "smtp://x", "--email-from", "nobody"], &["--email-from must be an e-mail address"]);
    refused(
        &data,
        &[&server[..], &["--operator-email", "desk"]].concat(),
        &["--operator-email must be an e-mail address"],
    );
    assert!(!data.exists(), "and nothing was made");
}
