//! `cartwright dead-letters`, against a running server and against the folder of a stopped one.

use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use cartwright::local::sqlite::FILE_NAME;
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::harness::{Server, eventually, run};

/// The folder of a stopped shop with three dead letters: a checkout of `ann` that was only unlucky, one that can never
/// become an order, and a text that is no message.
fn shop_with_dead_letters() -> TempDir {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    let product = server.product("Kettle", 5);
    server.stop();
    let event = |detail: Value| {
        json!({"id": "01942a9c-7038-7652-946f-424cdab22133", "source": "com.swn.basket.checkoutbasket",
            "detail-type": "CheckoutBasket", "time": "2026-01-02T03:04:05Z", "correlationId": "test", "detail": detail})
    };
    let line = json!({"productId": product, "productName": "Kettle", "quantity": 1, "price": 12.5});
    let lucky = event(json!({"userName": "ann", "items": [line]}));
    let never = event(json!({"username": "swn", "basket": "phone1"}));
    bury(folder.path(), 900, "storage_full: The disk is full; nothing was changed.", &lucky.to_string());
    bury(folder.path(), 901, &format!("malformed_event: {}", "é".repeat(200)), &never.to_string());
    bury(folder.path(), 902, "unreadable_message", "{torn");
    folder
}

fn bury(folder: &Path, seq: i64, reason: &str, body: &str) {
    let file = Connection::open(folder.join(FILE_NAME)).unwrap();
    let sql = "INSERT INTO dead_letters VALUES ('OrderQueue', ?1, ?2, 6, 1767323045000, 1767323145000, ?3)";
    file.execute(sql, (seq, reason, body)).unwrap();
}

/// What the command prints, which must succeed. Only what is done to a folder is logged on standard error.
fn says(place: &[&str], args: &[&str]) -> String {
    let output = run(&[&["dead-letters"], args, place].concat());
    let logged = String::from_utf8_lossy(&output.stderr).matches("queue=\"OrderQueue\"").count();
    let is_logged = place[0] == "--data" && matches!(args[0], "redrive" | "discard");
    assert!(output.status.success() && logged == usize::from(is_logged), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The line with which the command fails.
fn complains(args: &[&str]) -> String {
    let Output { status, stdout, stderr } = run(&[&["dead-letters"], args].concat());
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!((status.code(), stdout.len(), stderr.lines().count()), (Some(1), 0, 1), "{stderr}");
    stderr
}

#[test]
fn an_operator_lists_shows_redrives_and_discards() {
    let folder = shop_with_dead_letters();
    let server = Server::start(folder.path(), &["--log", "info"]);
    let url = format!("http://{}", server.address());
    let place = ["--url", url.as_str()];

    let list = says(&place, &["list"]);
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 4, "{list}");
    assert!(lines[0].starts_with("QUEUE       ID   DIED                  RECEIVES  EVENT           REASON"), "{list}");
    assert!(
        lines[1].starts_with("OrderQueue  902  2026-01-02T03:05:45Z  6         ?               unreadable"),
        "{list}"
    );
    assert!(lines[2].ends_with("éé…"), "{list}");
    assert!(lines[3].contains("CheckoutBasket  storage_full: The disk is full"), "{list}");
    let newest = says(&place, &["list", "--queue", "OrderQueue", "--limit", "1"]);
    assert!(newest.ends_with("… and 2 more; see them with --limit.\n"), "{newest}");
    assert_eq!(says(&place, &["list", "--queue", "StockQueue"]), "There are no dead letters.\n");
    let lines = says(&place, &["list", "--json"]);
    let letters: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&letters[0]["queue"], &letters[0]["event"]), (&json!("OrderQueue"), &json!("{torn")));

    let shown = says(&place, &["show", "--queue", "OrderQueue", "901"]);
    assert!(shown.contains(r#""basket": "phone1""#) && shown.contains(&"é".repeat(200)), "{shown}");
    let raw: Value = serde_json::from_str(&says(&place, &["show", "--queue", "OrderQueue", "901", "--json"])).unwrap();
    assert_eq!(raw["event"]["detail"], json!({"username": "swn", "basket": "phone1"}));

    assert_eq!(says(&place, &["redrive", "--queue", "OrderQueue", "900"]), "Put 1 dead letter back into OrderQueue.\n");
    eventually("the order is there", std::time::Duration::from_secs(10), || {
        server.all("/v1/orders").first().filter(|order| order["status"] == "CONFIRMED").cloned()
    });
    let discard = ["discard", "--queue", "OrderQueue", "902", "901", "--reason", "samples", "--json"];
    assert_eq!(says(&place, &discard), "{\"count\":2}\n");
    assert_eq!(says(&place, &["list"]), "There are no dead letters.\n");
    let log = server.stderr();
    assert!(
        log.contains("were put back") && log.contains("were discarded") && log.contains("reason=\"samples\""),
        "{log}"
    );
}

#[test]
fn the_folder_of_a_stopped_shop_will_do() {
    let folder = shop_with_dead_letters();
    let place = ["--data", folder.path().to_str().unwrap()];
    let discard = ["discard", "--queue", "OrderQueue", "901", "902", "--reason", "samples"];
    assert_eq!(says(&place, &discard), "Discarded 2 dead letters of OrderQueue.\n");
    assert_eq!(
        says(&place, &["redrive", "--queue", "OrderQueue", "--all"]),
        "Put 1 dead letter back into OrderQueue.\n"
    );
    let server = Server::start(folder.path(), &[]);
    eventually("the order is there", std::time::Duration::from_secs(10), || {
        server.all("/v1/orders").first().filter(|order| order["status"] == "CONFIRMED").cloned()
    });
    let refused = complains(&[&["list"], &place[..]].concat());
    assert!(refused.contains("stop it first"), "{refused}");
    let nothing = TempDir::new().unwrap();
    let refused = complains(&["list", "--data", nothing.path().to_str().unwrap()]);
    assert!(refused.contains("no shop in"), "{refused}");
    assert_eq!(std::fs::read_dir(nothing.path()).unwrap().count(), 0, "and none is made");
}

#[test]
fn more_than_a_request_takes_go_in_several() {
    let folder = shop_with_dead_letters();
    (1..=85).for_each(|seq| bury(folder.path(), seq, "unreadable_message", "{torn"));
    let place = ["--data", folder.path().to_str().unwrap()];
    let ids: Vec<String> = (1..=85).map(|id| id.to_string()).collect();
    let discard = |ids: &[String]| {
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        run(&[&["dead-letters", "discard", "--queue", "OrderQueue", "--reason", "samples"], &ids[..], &place[..]]
            .concat())
    };
    let mut with_a_stranger = ids[..60].to_vec();
    with_a_stranger[50] = "77777".into();
    let refused = String::from_utf8(discard(&with_a_stranger).stderr).unwrap();
    let line = refused.lines().last().unwrap();
    assert!(line.contains("no dead letter 77777") && line.contains("40 named before were dealt with"), "{line}");
    let done = String::from_utf8(discard(&ids[40..]).stdout).unwrap();
    assert_eq!(done, "Discarded 45 dead letters of OrderQueue.\n");
}

#[test]
fn what_cannot_be_done_is_said_in_one_line() {
    let folder = shop_with_dead_letters();
    let server = Server::start(folder.path(), &[]);
    let url = format!("http://{}", server.address());
    let at = |args: &[&str]| complains(&[args, &["--url", url.as_str()]].concat());
    assert!(at(&["list", "--queue", "Nowhere"]).contains("no such queue; there are OrderQueue, StockQueue"));
    assert!(at(&["show", "--queue", "a/b c?", "1"]).contains("no such queue"));
    assert!(at(&["show", "--queue", "OrderQueue", "7"]).contains("There is no dead letter 7 in OrderQueue."));
    assert!(
        at(&["redrive", "--queue", "OrderQueue", "900", "7"])
            .contains("dead letter 7 in OrderQueue; nothing was changed")
    );
    assert!(at(&["discard", "--queue", "OrderQueue", "--all", "--reason", " "]).contains("/reason: must not be empty"));
    assert_eq!(server.get("/v1/queues/OrderQueue").expect(200)["dead"], 3);
    let refused = complains(&["list", "--url", &url.replacen("http", "https", 1)]);
    assert!(refused.contains("no server answers at https://127.0.0.1:"), "{refused}");
    assert!(refused.contains("no TLS connection"), "{refused}");
    server.stop();

    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = complains(&["list", "--url", &format!("http://{free}")]);
    for part in ["no server answers at http://127.0.0.1:", "cartwright serve", "--url", "--data"] {
        assert!(refused.contains(part), "{refused}");
    }
    assert!(complains(&["list", "--url", "ftp://shop.example"]).contains("write it like http://127.0.0.1:8080"));
    for args in
        [&["redrive", "--queue", "OrderQueue"][..], &["discard", "--queue", "OrderQueue", "--all"], &["redrive", "1"]]
    {
        assert_eq!(run(&[&["dead-letters"], args].concat()).status.code(), Some(2), "{args:?}");
    }
    let help = run(&["dead-letters", "--help"]);
    let help = String::from_utf8(help.stdout).unwrap();
    for taught in ["redrive --queue OrderQueue 17 18", "CARTWRIGHT_URL", "--reason 'a test event'"] {
        assert!(help.contains(taught), "no {taught:?} in:\n{help}");
    }
}
