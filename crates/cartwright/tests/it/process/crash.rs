//! Ends in the middle of load: by force, and by request.

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use super::harness::{Answer, Server, connect, eventually};
use super::load::{Books, Load, check};

pub(super) const CLIENTS: usize = 4;
const KILLS: usize = 20;
/// A stop must be over before those who run servers lose their patience and kill them.
const STOP_PATIENCE: Duration = Duration::from_secs(15);

/// Three products that last, and two that run out on the way.
pub(super) fn stock_up(server: &Server) -> Vec<(String, i64)> {
    let stock = [100_000, 60, 100_000, 100_000, 25];
    stock.iter().enumerate().map(|(at, &stock)| (server.product(&format!("Product {at}"), stock), stock)).collect()
}

pub(super) fn ids(products: &[(String, i64)]) -> Vec<String> {
    products.iter().map(|(id, _)| id.clone()).collect()
}

#[test]
#[expect(clippy::print_stderr, reason = "how much the test covered is worth seeing")]
fn an_acknowledged_write_survives_kill_9() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    let products = stock_up(&server);
    server.stop();

    let mut books = Books::default();
    for cycle in 0..KILLS {
        let mut server = Server::start(folder.path(), &[]);
        let load = Load::start(&server, &ids(&products), &format!("kill-{cycle}"), CLIENTS);
        // Another amount each time, so that the end falls on another moment.
        load.until(100 + cycle * 37 % 150);
        server.kill();
        books.add(load.join());
    }
    let (baskets, orders, in_doubt) = books.counts();
    eprintln!("{KILLS} kills: {baskets} baskets and {orders} checkouts acknowledged, {in_doubt} requests in doubt");
    check(Server::start(folder.path(), &[]), folder.path(), &books, &products);
}

#[test]
fn sigterm_under_load_answers_what_was_sent_and_keeps_what_was_answered() {
    let folder = TempDir::new().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let products = stock_up(&server);
    let load = Load::start(&server, &ids(&products), "term", 8 * CLIENTS);
    load.until(900);
    let signalled_at = Instant::now();
    server.terminate();
    let status = server.wait(STOP_PATIENCE);
    assert_eq!(status.code(), Some(0), "{}", server.stderr());
    let books = load.join();
    for lost in &books.lost {
        let early = lost.sent_at.and_then(|sent_at| signalled_at.checked_duration_since(sent_at));
        assert!(
            early.is_none(),
            "sent {early:?} before the signal, never answered: reused {}, {}",
            lost.reused,
            lost.why
        );
    }
    check(Server::start(folder.path(), &[]), folder.path(), &books, &products);
}

/// A request whose handler waits for the rest of its body.
fn begin_request(server: &Server, body: &str, sent: usize) -> BufReader<TcpStream> {
    let mut connection = connect(server.address()).unwrap();
    let (target, length) = ("PUT /v1/baskets/ann HTTP/1.1\r\nhost: shop", body.len());
    let head = format!("{target}\r\ncontent-length: {length}\r\nexpect: 100-continue\r\n\r\n");
    connection.get_mut().write_all(head.as_bytes()).unwrap();
    assert_eq!(Answer::read(&mut connection).unwrap().status, 100, "the handler waits for the body");
    connection.get_mut().write_all(&body.as_bytes()[..sent]).unwrap();
    connection
}

/// Sends SIGTERM, and waits until the server has taken notice.
fn terminate(server: &Server) {
    server.terminate();
    eventually("the listener closes", STOP_PATIENCE, || connect(server.address()).is_err().then_some(()));
}

#[test]
fn a_request_under_way_at_sigterm_is_answered() {
    let folder = TempDir::new().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let product = server.product("Kettle", 5);
    let body = json!({"items": [{"productId": product, "quantity": 1}]}).to_string();
    let (first, rest) = body.split_at(10);
    let mut connection = begin_request(&server, &body, first.len());
    terminate(&server);
    connection.get_mut().write_all(rest.as_bytes()).unwrap();
    let basket = Answer::read(&mut connection).unwrap().expect(201);
    assert_eq!(server.wait(STOP_PATIENCE).code(), Some(0));

    let server = Server::start(folder.path(), &[]);
    assert_eq!(server.get("/v1/baskets/ann").expect(200), basket);
}

#[test]
fn a_second_sigterm_ends_it_at_once() {
    let folder = TempDir::new().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let connection = begin_request(&server, "{}", 1);
    terminate(&server);
    server.terminate();
    assert_eq!(server.wait(Duration::from_secs(5)).code(), Some(1));
    drop(connection);
}

#[test]
fn connections_that_ask_nothing_do_not_hold_up_a_stop() {
    let folder = TempDir::new().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let silent = connect(server.address()).unwrap();
    let mut idle = server.client();
    idle.request("GET", "/health", None).expect(200);
    server.terminate();
    let status = server.wait(Duration::from_secs(5));
    assert_eq!(status.code(), Some(0), "{}", server.stderr());
    drop((silent, idle));
}
