//! `cartwright backup`: a copy of a shop at work that is a shop.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use cartwright::local::sqlite::{FILE_NAME, Snapshot};
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use super::harness::{Server, run};
use super::load::{Load, check_totals};
use super::transfer::{complains, shop_with_everything, text};

/// Makes a backup, and puts it into a folder of its own.
fn backed_up(folder: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    let file = copy.path().join(FILE_NAME);
    let output = run(&["backup", text(&file), "--data", text(folder)]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("Backed up ") && said.trim_end().ends_with("checked)."), "{said}");
    let left: Vec<_> = fs::read_dir(copy.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [FILE_NAME], "it is one file");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "personal data is not for everyone: {mode:o}");
    copy
}

#[test]
fn a_backup_of_a_shop_at_work_is_one_state_of_it() {
    let folder = TempDir::new().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let products: Vec<_> = [100_000, 60, 100_000].iter().map(|stock| (server.product("Tea", *stock), *stock)).collect();
    let ids: Vec<_> = products.iter().map(|(id, _)| id.clone()).collect();
    let load = Load::start(&server, &ids, "backup", 4);
    let mut backups = Vec::new();
    for round in 1..=5 {
        load.until(round * 100);
        backups.push(backed_up(folder.path()));
    }
    server.kill();
    load.join();
    let mut orders_before = 0;
    for backup in backups {
        let server = Server::start(backup.path(), &[]);
        let orders = check_totals(&server, &products);
        server.stop();
        assert!(orders > orders_before, "{orders} orders after {orders_before}");
        orders_before = orders;
    }
}

#[test]
fn a_backup_has_all_that_the_shop_has() {
    let shop = shop_with_everything();
    let backup = backed_up(shop.path());
    let export = |folder: &Path| run(&["export", "--data", text(folder)]).stdout;
    let exported = export(shop.path());
    assert!(exported.len() > 100_000 && export(backup.path()) == exported);
}

#[test]
fn nothing_is_overwritten_and_nothing_half_is_left() {
    let shop = shop_with_everything();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("shop.db");
    let backup =
        |file: &Path, data: &Path, says: &[&str]| complains(&["backup", text(file), "--data", text(data)], says);
    fs::write(&file, "last week's").unwrap();
    backup(&file, shop.path(), &["is there already", "another name"]);
    backup(&shop.path().join(FILE_NAME), shop.path(), &["is there already"]);
    assert_eq!(fs::read(&file).unwrap(), b"last week's");
    let other = folder.path().join("other.db");
    backup(&other, folder.path(), &["there is no shop in"]);
    backup(&folder.path().join("none").join("shop.db"), shop.path(), &["cannot write", "none"]);

    // A page of the ordering table is torn.
    let path = shop.path().join(FILE_NAME);
    let page: u64 = {
        let file = Connection::open(&path).unwrap();
        let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'ordering'";
        file.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let mut bytes = fs::read(&path).unwrap();
    let start = (page as usize - 1) * 4096;
    bytes[start..start + 64].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    backup(&other, shop.path(), &["damaged", "restore"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "only last week's is there");
}

#[test]
fn what_is_written_meanwhile_neither_gets_into_the_copy_nor_starts_it_again() {
    let shop = shop_with_everything();
    let writer = Connection::open(shop.path().join(FILE_NAME)).unwrap();
    writer.pragma_update(None, "journal_mode", "WAL").unwrap();
    writer.execute_batch("CREATE TABLE ballast (a BLOB)").unwrap();
    let fill = || writer.execute("INSERT INTO ballast VALUES (zeroblob(1500000))", []).unwrap();
    fill();
    fill();
    let copy = shop.path().join("copy.db");
    let (mut steps, is_first) = (Vec::new(), AtomicBool::new(true));
    let snapshot = Snapshot::open(shop.path()).unwrap();
    snapshot
        .copy_to(&copy, |done, all| {
            steps.push((done, all));
            if is_first.swap(false, Ordering::Relaxed) {
                fill();
            }
        })
        .unwrap();
    assert!(steps.len() > 3 && steps.is_sorted(), "it went on where it was: {steps:?}");
    assert!(steps.iter().all(|(_, all)| *all == steps[0].1) && steps.last().unwrap().0 == steps[0].1, "{steps:?}");
    let copy = Connection::open_with_flags(&copy, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let count =
        |file: &Connection| file.query_row("SELECT count(*) FROM ballast", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!((count(&copy), count(&writer)), (2, 3));
}
