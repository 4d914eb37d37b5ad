//! Access control of the real binary: when it is on, where it then listens, and the command that makes keys.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::harness::{BINARY, Server, command, finish, run};

/// Runs `cartwright keys`, which must succeed. What it says.
fn keys(args: &[&str]) -> String {
    said(&run(&[&["keys"], args].concat()))
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A folder with a shop that has this key of an admin.
fn shop_with_key() -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    Server::start(folder.path(), &[]).stop();
    let made = keys(&["create", "--data", folder.path().to_str().unwrap(), "--name", "me", "--role", "admin"]);
    assert!(made.contains("cannot be shown again") && made.contains("next start"), "{made}");
    let key = made.lines().next().unwrap().to_owned();
    assert!(key.starts_with("cw_"), "{made}");
    (folder, key)
}

#[test]
fn a_shop_with_a_key_asks_for_it_and_without_one_is_open_to_its_machine() {
    let (folder, key) = shop_with_key();
    let server = Server::start(folder.path(), &[]);
    assert!(server.said("  access        by API keys"), "it says so at the start");
    assert_eq!(server.get("/v1/queues").status, 401);
    assert_eq!(server.get("/v1/products").status, 200);
    let mut admin = server.client().with_key(&key);
    let me = admin.request("GET", "/v1/me", None).expect(200);
    assert_eq!(me, json!({"accessControl": true, "role": "admin", "name": "me"}));
    server.stop();
    let open = Server::start(folder.path(), &["--access", "open"]);
    assert!(open.said("  access        open to this machine only: --access open was given"));
    open.get("/v1/queues").expect(200);
    open.stop();
}

#[test]
fn only_with_access_control_does_it_listen_where_others_can_reach_it() {
    let (folder, _) = shop_with_key();
    let server = Server::start(folder.path(), &["--listen", "0.0.0.0:0"]);
    assert!(server.said("  unencrypted   whoever is on the way can read keys and answers, unless a proxy"));
    assert_eq!(server.get("/v1/queues").status, 401);
    server.stop();
    let refused = run(&["serve", "--listen", "0.0.0.0:0", "--access", "open", "--data", path(folder.path())]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("refusing to listen on 0.0.0.0"));
    let empty = TempDir::new().unwrap();
    let server = Server::start(empty.path(), &["--listen", "0.0.0.0:0", "--access", "required"]);
    assert!(server.said("there is no API key yet"));
    assert_eq!(server.get("/v1/queues").status, 401);
    server.stop();
}

fn path(folder: &Path) -> &str {
    folder.to_str().unwrap()
}

#[test]
fn keys_are_made_listed_and_revoked_at_a_server_by_whoever_has_one() {
    let (folder, key) = shop_with_key();
    let server = Server::start(folder.path(), &[]);
    let url = format!("http://{}", server.address());
    let ask = |args: &[&str], key: Option<&str>| {
        let mut cartwright = command(BINARY);
        cartwright.arg("keys").args(args).args(["--url", &url]);
        if let Some(key) = key {
            cartwright.env("CARTWRIGHT_KEY", key);
        }
        finish(cartwright)
    };
    let refused = ask(&["list"], None);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("API key"), "it says what is missing");
    let expires = ["--expires", "2999-01-01T00:00:00Z", "--json"];
    let made = said(&ask(
        &[&["create", "--name", "till", "--role", "customer", "--username", "ann"], &expires[..]].concat(),
        Some(&key),
    ));
    let made: Value = serde_json::from_str(&made).unwrap();
    assert_eq!((&made["role"], &made["username"]), (&json!("customer"), &json!("ann")));
    let listed = said(&ask(&["list"], Some(&key)));
    let expected =
        format!("{}  customer  till, customer ann, expires 2999-01-01T00:00:00Z", made["id"].as_str().unwrap());
    assert!(listed.lines().any(|line| line.starts_with(&expected)), "{listed}");
    let mut ann = server.client().with_key(made["key"].as_str().unwrap());
    assert_eq!(ann.request("GET", "/v1/baskets/bob", None).code(), "forbidden");
    assert_eq!(ann.request("GET", "/v1/baskets/ann", None).code(), "basket_not_found");
    said(&ask(&["revoke", made["id"].as_str().unwrap()], Some(&key)));
    assert_eq!(ann.request("GET", "/v1/baskets/ann", None).code(), "unauthenticated", "on the connection it had");
    server.stop();
}

#[test]
fn other_commands_show_their_key_too() {
    let (folder, key) = shop_with_key();
    let server = Server::start(folder.path(), &[]);
    let url = format!("http://{}", server.address());
    let refused = run(&["dead-letters", "list", "--url", &url]);
    assert!(!refused.status.success());
    assert_eq!(said(&run(&["dead-letters", "list", "--url", &url, "--key", &key])), "There are no dead letters.\n");
    server.stop();
}
