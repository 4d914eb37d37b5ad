//! What the roles of the binary do and say when all is well.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::harness::{BINARY, Server, command, finish, run};

/// Generous: it is a debug build, and other tests keep the machine busy.
const READY_PATIENCE: Duration = Duration::from_secs(5);

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
#[expect(clippy::print_stderr, reason = "the figure is what a reader of the log wants")]
fn a_demo_shop_is_ready_within_seconds_and_a_restart_adds_nothing() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &["--demo"]);
    let health = server.get("/health");
    let took = server.spawned_at().elapsed();
    assert_eq!(health.expect(200), json!({"status": "ok"}));
    eprintln!("serve --demo answered /health {took:?} after it was spawned");
    assert!(took < READY_PATIENCE, "{took:?}");
    let products = server.all("/v1/products");
    let ids: BTreeSet<_> = products.iter().map(|product| product["id"].as_str().unwrap()).collect();
    assert_eq!((products.len(), ids.len()), (200, 200));

    let mut client = server.client();
    let (id, price) = (products[0]["id"].as_str().unwrap(), json!({"amount": 1, "currency": "USD"}));
    client.request("PATCH", &format!("/v1/products/{id}"), Some(&json!({"price": price}))).expect(200);
    let lines = json!({"items": [{"productId": id, "quantity": 2}]});
    let basket = client.request("PUT", "/v1/baskets/ann", Some(&lines)).expect(201);
    let products = server.all("/v1/products");
    server.stop();

    let server = Server::start(folder.path(), &["--demo"]);
    assert_eq!(server.all("/v1/products"), products, "what was changed stays changed");
    assert_eq!(products.iter().find(|product| product["id"] == id).unwrap()["price"], price);
    assert_eq!(server.get("/v1/baskets/ann").expect(200), basket);
}

#[test]
fn seeding_twice_adds_the_demo_products_once() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("a/new/folder");
    for added in ["Added 200 of 200", "Added 0 of 200"] {
        let output = run(&["seed", "--data", data.to_str().unwrap()]);
        assert!(output.status.success(), "{output:?}");
        assert!(text(&output.stdout).starts_with(added), "{output:?}");
    }
    let server = Server::start(&data, &[]);
    assert_eq!(server.all("/v1/products").len(), 200);
}

#[test]
fn the_help_teaches() {
    let overview = run(&["--help"]);
    assert!(overview.status.success());
    let overview = text(&overview.stdout);
    for taught in ["serve", "seed", "cartwright serve --demo", "curl 'http://127.0.0.1:8080/v1/products?limit=3'"] {
        assert!(overview.contains(taught), "no {taught:?} in:\n{overview}");
    }
    let serve = text(&run(&["serve", "--help"]).stdout);
    for option in ["LISTEN", "DATA", "CURRENCY", "LOG"] {
        let variable = format!("CARTWRIGHT_{option}");
        assert!(serve.contains(&variable), "no {variable} in:\n{serve}");
    }
    assert!(
        serve.contains("127.0.0.1:8080") && serve.contains("info,cartwright::local=debug"),
        "no example in:\n{serve}"
    );

    let nothing = run(&[]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(text(&nothing.stderr).contains("cartwright serve --demo"), "without a command the help is shown");
}

#[test]
fn the_environment_sets_options_and_the_command_line_wins() {
    let folder = TempDir::new().unwrap();
    let (by_env, by_flag) = (folder.path().join("env"), folder.path().join("flag"));
    let mut seed = command(BINARY);
    seed.arg("seed").env("CARTWRIGHT_DATA", &by_env).env("CARTWRIGHT_CURRENCY", "eur");
    assert!(finish(seed).status.success());
    let server = Server::start(&by_env, &["--currency", "EUR"]);
    assert_eq!(server.all("/v1/products")[0]["price"]["currency"], "EUR");

    let mut seed = command(BINARY);
    seed.args(["seed", "--data"]).arg(&by_flag).env("CARTWRIGHT_DATA", &by_env);
    let output = finish(seed);
    assert!(output.status.success() && by_flag.exists(), "{output:?}");
}
