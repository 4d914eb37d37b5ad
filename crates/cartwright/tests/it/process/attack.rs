//! `cartwright attack` against the real server, and against one that gets it wrong.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::harness::{BINARY, Server, command, run};

#[test]
fn a_shop_of_this_build_holds_and_is_left_as_it_was() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    let mine = server.product("Kettle", 5);
    let url = format!("http://{}", server.address());
    // A busy machine needs its time for so many requests.
    let output =
        command(BINARY).args(["attack", &url, "--rounds", "1", "--patience", "60", "--json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    let races = report["races"].as_array().unwrap();
    assert!(races.len() == 12 && races.iter().all(|race| race["verdict"] == "held"), "{report:#}");
    assert_eq!(report["left"]["others"], 0);
    let products = server.all("/v1/products");
    assert!(products.len() == 1 && products[0]["id"] == mine, "{products:?}");
    assert_eq!(server.all("/v1/baskets").len() + server.all("/v1/customers").len(), 0);
    let final_ones = ["CANCELLED", "REJECTED", "SHIPPED"];
    let orders = server.all("/v1/orders");
    assert!(orders.iter().all(|order| final_ones.iter().any(|status| order["status"] == *status)), "{orders:?}");
}

/// Reads a request to its end.
fn read_request(connection: &mut impl Read) -> Option<String> {
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    loop {
        let read = connection.read(&mut buffer).ok().filter(|read| *read > 0)?;
        text += &String::from_utf8_lossy(&buffer[..read]);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.to_lowercase().split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return Some(text);
        }
    }
}

/// A server that says yes to everything, once for each connection.
fn yes_man() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let Some(request) = read_request(&mut connection) else { continue };
            let makes = ["POST /v1/products", "POST /v1/customers"].iter().any(|start| request.starts_with(start));
            let status = match () {
                () if request.contains("/checkout") => 202,
                () if makes => 201,
                () => 200,
            };
            let order =
                json!({"id": "1", "orderId": "1", "status": "CONFIRMED", "items": [{"quantity": 1}], "total": 1});
            let body = order.to_string();
            let _ = write!(
                connection,
                "HTTP/1.1 {status} OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    format!("http://{address}")
}

#[test]
fn a_shop_that_takes_everything_is_found_out() {
    let output = run(&["attack", &yes_man(), "--rounds", "1", "--patience", "0"]);
    let table = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    for broken in [
        "8 of 8 checkouts of one basket were accepted",
        "8 customers have one e-mail address",
        "8 pieces were put into a basket",
    ] {
        assert!(table.contains(broken), "{table}");
    }
}

#[test]
fn where_no_shop_is_it_says_so() {
    let output = run(&["attack", "http://127.0.0.1:1"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("no shop answers at http://127.0.0.1:1"), "{stderr}");
}
