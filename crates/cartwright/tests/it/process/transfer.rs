//! `cartwright export` and the import of what it has made: nothing is lost, and nothing that is not whole becomes a shop.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use cartwright::local::sqlite::FILE_NAME;
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::harness::{BINARY, Server, command, eventually, run};
use super::load::{Load, check_totals};

const PATIENCE: Duration = Duration::from_secs(30);

/// What a command says on standard output and standard error; it must succeed.
fn succeeds(args: &[&str]) -> (Vec<u8>, String) {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    (output.stdout, String::from_utf8(output.stderr).unwrap())
}

/// The one line with which a command fails.
pub(super) fn complains(args: &[&str], says: &[&str]) {
    let output = run(args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len(), stderr.lines().count()), (Some(1), 0, 1), "{stderr}");
    for part in says {
        assert!(stderr.contains(part), "no {part:?} in:\n{stderr}");
    }
}

pub(super) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn export(folder: &Path) -> Vec<u8> {
    succeeds(&["export", "--data", text(folder)]).0
}

/// The names of the files in a folder, sorted.
fn files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names
}

/// No shop is in the folder, and nothing that could be taken for one.
fn is_without_shop(folder: &Path) {
    let others = files(folder).into_iter().filter(|name| name != "cartwright.lock");
    assert_eq!(others.collect::<Vec<_>>(), Vec::<String>::new());
}

/// A stopped shop that has something of everything: two hundred demo products whose movements wait to be booked, a basket,
/// orders, a customer, a purchase, an item, a message that failed and waits, and dead letters.
pub(super) fn shop_with_everything() -> TempDir {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    let kettle = server.product("Kettle \u{1f375}", 50);
    let mut client = server.client();
    let mut post = |path: &str, body: Value| client.request("POST", path, Some(&body));
    for user in ["ann", "bob"] {
        post(&format!("/v1/baskets/{user}/items"), json!({"productId": kettle, "quantity": 2})).expect(200);
        post(&format!("/v1/baskets/{user}/checkout"), json!({})).expect(202);
    }
    post("/v1/baskets/cleo/items", json!({"productId": kettle, "quantity": 1})).expect(200);
    post("/v1/customers", json!({"username": "ann", "email": "ann@example.com", "name": "Ann"})).expect(201);
    let purchase = json!({"productId": "p", "productName": "iPhone", "category": "Phones", "quantity": 3,
        "unitPrice": {"amount": 103_200, "currency": "USD"}, "total": {"amount": 309_600, "currency": "USD"}, "customerId": "c", "customerName": "Sarah",
        "purchasedAt": "2021-02-28T10:02:12.034Z"});
    post("/v1/purchases", purchase).expect(202);
    let item = json!({"operation": "create", "tableName": "lambda-apigateway",
        "payload": {"Item": {"id": "1", "nested": {"b": [1, 2], "a": "line\nbreak"}}}});
    post("/v1/operations", item).expect(200);
    let malformed = json!({"userName": 7}).to_string();
    let entry = json!({"Source": "com.swn.basket.checkoutbasket", "DetailType": "CheckoutBasket", "EventBusName": "SwnEventBus",
        "Detail": malformed});
    put_events(&server, &entry);
    eventually("the bad event died", PATIENCE, || {
        (server.get("/v1/queues/OrderQueue").expect(200)["dead"] == 1).then_some(())
    });
    eventually("both orders are confirmed", PATIENCE, || {
        let orders = server.all("/v1/orders");
        (orders.len() == 2 && orders.iter().all(|order| order["status"] == "CONFIRMED")).then_some(())
    });
    server.stop();
    succeeds(&["seed", "--data", text(folder.path())]);
    let file = Connection::open(folder.path().join(FILE_NAME)).unwrap();
    let line = json!({"productId": kettle, "productName": "Kettle", "quantity": 3, "price": 12.5});
    let lucky = json!({"id": "01942a9c-7038-7652-946f-424cdab22133", "source": "com.swn.basket.checkoutbasket",
        "detail-type": "CheckoutBasket", "time": "2026-01-02T03:04:05Z", "correlationId": "test",
        "detail": {"userName": "dora", "items": [line]}});
    let waiting = "INSERT INTO messages VALUES ('OrderQueue', 7, 2, 1767323045999, 1767323045001, ?1)";
    file.execute(waiting, [serde_json::to_string_pretty(&lucky).unwrap()]).unwrap();
    let dead =
        "INSERT INTO dead_letters VALUES ('PurchaseQueue', 8, 'unreadable', 1, 1767323045000, 1767323145000, '{torn')";
    file.execute(dead, []).unwrap();
    folder
}

fn put_events(server: &Server, entry: &Value) {
    let body = json!({"Entries": [entry]}).to_string();
    let mut curl = super::harness::connect(server.address()).unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: shop\r\ncontent-type: application/x-amz-json-1.1\r\nx-amz-target: AWSEvents.PutEvents\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    curl.get_mut().write_all((head + &body).as_bytes()).unwrap();
    let answer = super::harness::Answer::read(&mut curl).unwrap();
    assert_eq!((answer.status, &answer.body["FailedEntryCount"]), (200, &json!(0)), "{answer:?}");
}

#[test]
fn a_shop_that_moved_has_everything_and_exports_to_the_same_bytes() {
    let old = shop_with_everything();
    let new = TempDir::new().unwrap();
    let (file, data) = (new.path().join("shop.ndjson"), new.path().join("data"));
    let before = files(old.path());
    let (nothing, said) = succeeds(&["export", "--data", text(old.path()), "--output", text(&file)]);
    assert_eq!((nothing.len(), files(old.path())), (0, before), "the shop that is exported stays as it is");
    assert_eq!(files(new.path()), ["shop.ndjson"]);
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "personal data is not for everyone: {mode:o}");
    let exported = fs::read(&file).unwrap();
    assert!(export(old.path()) == exported, "an export tells nothing of when it was made");

    let (imported, silence) = succeeds(&["import", text(&file), "--data", text(&data)]);
    let imported = String::from_utf8(imported).unwrap();
    let digest = said.trim_end().rsplit(' ').next().unwrap();
    assert!(said.contains("waiting messages and 2 dead letters") && digest.len() == 64, "{said}");
    assert!(imported.trim_end().ends_with(digest) && silence.is_empty(), "{imported}{silence}");
    assert_eq!(files(&data), [FILE_NAME, "cartwright.lock"]);
    assert!(export(&data) == exported, "the new shop has what the old one had");

    let server = Server::start(&data, &[]);
    let orders = eventually("what waited is processed", PATIENCE, || {
        let orders = server.all("/v1/orders");
        (orders.len() == 3 && orders.iter().all(|order| order["status"] == "CONFIRMED")).then_some(orders)
    });
    assert!(orders.iter().any(|order| order["customer"] == "dora"), "the message that waited became an order");
    let products = server.all("/v1/products");
    let stock: Vec<(String, i64)> = products
        .iter()
        .filter_map(|product| Some((product["id"].as_str()?.to_owned(), product["stock"]["onHand"].as_i64()?)))
        .collect();
    assert!(products.len() == 201 && stock.len() > 150, "{} products", products.len());
    check_totals(&server, &stock);
    assert_eq!(server.all("/v1/baskets").len(), 1);
    assert_eq!(server.get("/v1/customers/ann").expect(200)["email"], "ann@example.com");
    assert_eq!(server.all("/v1/purchases").len(), 1);
    let dead: Vec<_> = server.all("/v1/queues/PurchaseQueue/dead-letters");
    assert_eq!((&dead[0]["event"], &dead[0]["receives"]), (&json!("{torn"), &json!(1)));
    assert_eq!(server.all("/v1/queues/OrderQueue/dead-letters").len(), 1);
    server.stop();
}

#[test]
fn an_export_of_a_shop_at_work_is_one_state_of_it() {
    let folder = TempDir::new().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let products: Vec<_> = [100_000, 60, 100_000].iter().map(|stock| (server.product("Tea", *stock), *stock)).collect();
    let ids: Vec<_> = products.iter().map(|(id, _)| id.clone()).collect();
    let load = Load::start(&server, &ids, "export", 4);
    let mut exports = Vec::new();
    for round in 1..=5 {
        load.until(round * 100);
        let marker = json!({"items": [{"productId": ids[0], "quantity": 1}]});
        server.client().request("PUT", &format!("/v1/baskets/marker-{round}"), Some(&marker)).expect(201);
        exports.push(export(folder.path()));
    }
    server.kill();
    load.join();
    for (round, export) in exports.iter().enumerate() {
        let copy = TempDir::new().unwrap();
        let (file, data) = (copy.path().join("shop.ndjson"), copy.path().join("data"));
        fs::write(&file, export).unwrap();
        succeeds(&["import", text(&file), "--data", text(&data)]);
        let server = Server::start(&data, &[]);
        server.get(&format!("/v1/baskets/marker-{}", round + 1)).expect(200);
        assert_eq!(server.get(&format!("/v1/baskets/marker-{}", round + 2)).status, 404, "written after the export");
        assert!(check_totals(&server, &products) > 0);
        server.stop();
    }
}

#[test]
fn a_file_that_is_not_as_it_was_written_makes_no_shop() {
    let old = shop_with_everything();
    let good = String::from_utf8(export(old.path())).unwrap();
    let lines: Vec<&str> = good.split_inclusive('\n').collect();
    let checkpoints: Vec<_> = (0..lines.len()).filter(|at| lines[*at].starts_with("{\"checkpoint\"")).collect();
    let doubled = [&lines[..3], &lines[2..]].concat().concat();
    let swapped = [&lines[..5], &[lines[6], lines[5]], &lines[7..]].concat().concat();
    let last_missing = [&lines[..lines.len() - 3], &lines[lines.len() - 2..]].concat().concat();
    let tests: [(&str, String, &str); 8] = [
        ("damaged", good.replacen("Kettle", "Kettel", 1), "checkpoint does not belong"),
        ("truncated", good[..good.len() / 2].to_owned(), "cut off"),
        ("without its end", lines[..lines.len() - 1].concat(), "cut off"),
        ("a line doubled", doubled, "checkpoint"),
        ("two lines swapped", swapped, "checkpoint does not belong"),
        ("its last record missing", last_missing, "checkpoint does not belong"),
        ("something behind it", good.clone() + "\n", "something follows the end"),
        ("of a newer version", good.replacen("\"version\":1", "\"version\":9", 1), "version 9"),
    ];
    assert!(!checkpoints.is_empty());
    let folder = TempDir::new().unwrap();
    let (file, data) = (folder.path().join("shop.ndjson"), folder.path().join("data"));
    for (what, damaged, says) in tests {
        assert!(damaged != good, "{what}");
        fs::write(&file, damaged).unwrap();
        complains(&["import", text(&file), "--data", text(&data)], &["shop.ndjson: line ", says]);
        if data.exists() {
            is_without_shop(&data);
        }
    }
    complains(&["import", text(&folder.path().join("none")), "--data", text(&data)], &["cannot read", "none"]);
    fs::write(&file, &good).unwrap();
    succeeds(&["import", text(&file), "--data", text(&data)]);
}

/// An import that is given the file bit by bit.
struct SlowImport {
    child: Child,
    pipe: fs::File,
}

impl SlowImport {
    fn start(folder: &Path, data: &Path) -> SlowImport {
        let pipe = folder.join("pipe");
        let made = command("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let mut import = command(BINARY);
        import.arg("import").arg(&pipe).arg("--data").arg(data);
        let child = import.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let pipe = fs::File::options().write(true).open(pipe).unwrap();
        SlowImport { child, pipe }
    }
}

impl Drop for SlowImport {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_killed_import_leaves_no_shop_and_is_started_again() {
    let old = shop_with_everything();
    let exported = export(old.path());
    let folder = TempDir::new().unwrap();
    let (file, data) = (folder.path().join("shop.ndjson"), folder.path().join("data"));
    fs::write(&file, &exported).unwrap();
    let mut import = SlowImport::start(folder.path(), &data);
    // All but the end, which says that it is all.
    import.pipe.write_all(&exported[..exported.len() - 1]).unwrap();
    let unfinished = data.join("cartwright.db.importing");
    eventually("it builds a shop", PATIENCE, || unfinished.exists().then_some(()));
    complains(
        &["serve", "--listen", "127.0.0.1:0", "--data", text(&data)],
        &["another cartwright process", "stop it first"],
    );
    complains(&["export", "--data", text(&data)], &["there is no shop in"]);
    drop(import);
    assert!(unfinished.exists() && !data.join(FILE_NAME).exists());
    complains(&["export", "--data", text(&data)], &["there is no shop in"]);

    succeeds(&["import", text(&file), "--data", text(&data)]);
    assert_eq!(files(&data), [FILE_NAME, "cartwright.lock"]);
    assert!(export(&data) == exported);
}

#[test]
fn a_folder_with_a_shop_is_left_alone() {
    let old = shop_with_everything();
    let folder = TempDir::new().unwrap();
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    let file = path("shop.ndjson");
    fs::write(&file, export(old.path())).unwrap();
    let into = |data: &Path, says: &[&str]| complains(&["import", text(&file), "--data", text(data)], says);

    let before = export(old.path());
    into(old.path(), &["there is a shop in", "--data"]);
    assert!(export(old.path()) == before);
    let server = Server::start(old.path(), &[]);
    into(old.path(), &["another cartwright process", "stop it first"]);
    server.stop();

    // Started, and stopped again: it has its currency and nothing else.
    let empty = path("empty");
    Server::start(&empty, &[]).stop();
    let tool = Connection::open(empty.join(FILE_NAME)).unwrap();
    tool.execute_batch("BEGIN; SELECT * FROM catalog").unwrap();
    into(&empty, &["locked by another program"]);
    drop(tool);
    succeeds(&["import", text(&file), "--data", text(&empty)]);
    assert!(export(&empty) == before);

    let euros = path("euros");
    Server::start(&euros, &["--currency", "EUR"]).stop();
    into(&euros, &["EUR", "USD", "another folder"]);

    let torn = path("torn");
    fs::create_dir(&torn).unwrap();
    fs::write(torn.join("cartwright.db-wal"), "the newest commits").unwrap();
    into(&torn, &["is the log of a shop", "cartwright.db-wal"]);
    into(&file, &["is a file, not a folder"]);
}

#[test]
fn an_export_that_cannot_be_made_is_said_in_one_line() {
    let shop = shop_with_everything();
    let folder = TempDir::new().unwrap();
    let data = ["--data", text(shop.path())];
    let export = |args: &[&str], says: &[&str]| complains(&[&["export"], args].concat(), says);
    export(&["--data", text(folder.path())], &["there is no shop in"]);
    export(&[&data[..], &["--output", text(folder.path())]].concat(), &["is not a file", "--output"]);
    let nowhere = folder.path().join("none").join("shop.ndjson");
    export(&[&data[..], &["--output", text(&nowhere)]].concat(), &["cannot write", "none"]);
    assert_eq!(files(folder.path()), Vec::<String>::new(), "nothing is left");

    // A reader that goes away in the middle of it.
    let mut reading = command(BINARY);
    let mut reading = reading.arg("export").args(data).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::with_capacity(64, reading.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("{\"format\""));
    let output = reading.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && stderr.contains("not read to its end"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1);

    let file = Connection::open(shop.path().join(FILE_NAME)).unwrap();
    file.execute("UPDATE ordering SET body = 'no object' WHERE sk LIKE '#ORDER#%'", []).unwrap();
    let output = folder.path().join("shop.ndjson");
    let to_file = [&data[..], &["--output", text(&output)]].concat();
    export(&to_file, &["the document ordering", "cannot be exported", "restore a backup"]);
    assert_eq!(files(folder.path()), Vec::<String>::new(), "nor is a part of it");
    file.pragma_update(None, "user_version", 1).unwrap();
    export(&data, &["older Cartwright", "start it once with this release"]);
}
