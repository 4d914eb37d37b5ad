//! Clients that are slow, greedy, or both.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use super::harness::{Answer, Server, connect};

/// The server's limit is ten seconds; the rest is for a busy machine.
const CLOSED_WITHIN: Duration = Duration::from_secs(12);
/// Longest anybody else may wait meanwhile.
const OTHERS_WAIT: Duration = Duration::from_secs(2);
/// Between two bytes of a client that sends them one by one.
const TRICKLE: Duration = Duration::from_millis(400);

/// Sends `first` and then `drop_by_drop`, a byte at a time; waits until the server closes. Returns how long that took.
fn outlast(mut connection: BufReader<TcpStream>, first: &[u8], drop_by_drop: &[u8]) -> Duration {
    let (opened_at, mut drops) = (Instant::now(), drop_by_drop.iter());
    connection.get_mut().write_all(first).unwrap();
    connection.get_ref().set_read_timeout(Some(TRICKLE)).unwrap();
    loop {
        match connection.read(&mut [0; 1024]) {
            Ok(0) => return opened_at.elapsed(),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return opened_at.elapsed(),
        }
        if opened_at.elapsed() > CLOSED_WITHIN {
            return opened_at.elapsed();
        }
        if let Some(byte) = drops.next() {
            let _ = connection.get_mut().write_all(&[*byte]);
        }
    }
}

#[test]
fn slow_clients_are_closed_while_others_are_served() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    let whole = b"GET /health HTTP/1.1\r\nhost: shop\r\n\r\n";
    let slow: [(&str, &[u8], &[u8]); 7] = [
        ("nothing", b"", b""),
        ("a letter", b"P", b""),
        ("half of a greeting in HTTP/2", b"PRI * HTTP/2.0\r\n", b""),
        ("half a request line", b"GET /v1/pro", b""),
        ("half the headers", b"GET /health HTTP/1.1\r\nhost: sh", b""),
        ("headers byte by byte", b"GET /health HTTP/1.1\r\n", &[b'x'; 1000]),
        ("one request and no other", whole, b""),
    ];
    let done = AtomicBool::new(false);
    let lasted = std::thread::scope(|scope| {
        let clients = slow.map(|(what, first, drops)| {
            let connection = connect(server.address()).unwrap();
            (what, scope.spawn(move || outlast(connection, first, drops)))
        });
        let (server, done) = (&server, &done);
        let others = scope.spawn(move || {
            let (mut longest, mut fresh) = (Duration::ZERO, 0_u32);
            while !done.load(Ordering::Relaxed) {
                let asked_at = Instant::now();
                server.get("/health").expect(200);
                (longest, fresh) = (longest.max(asked_at.elapsed()), fresh + 1);
                std::thread::sleep(TRICKLE / 10);
            }
            (longest, fresh)
        });
        let lasted = clients.map(|(what, client)| (what, client.join().unwrap()));
        done.store(true, Ordering::Relaxed);
        let (longest, fresh) = others.join().unwrap();
        assert!(longest < OTHERS_WAIT && fresh > 50, "{fresh} others were served, one after {longest:?}");
        lasted
    });
    let open: Vec<_> = lasted.iter().filter(|(_, lasted)| *lasted >= CLOSED_WITHIN).collect();
    assert!(open.is_empty(), "still open after {CLOSED_WITHIN:?}, by what they sent: {open:?}");
}

fn put_of(bytes: usize) -> Vec<u8> {
    let (start, end) = (r#"{"items": ["#, "]}");
    let padding = " ".repeat(bytes - start.len() - end.len());
    let head = format!(
        "PUT /v1/baskets/ann HTTP/1.1\r\nhost: shop\r\ncontent-type: application/json\r\ncontent-length: {bytes}\r\n\r\n"
    );
    [head, start.to_owned(), padding, end.to_owned()].concat().into_bytes()
}

#[test]
fn a_body_that_is_too_large_is_refused_and_the_server_lives_on() {
    const MAX_BODY: usize = 256 * 1024;
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    for (bytes, status) in [(MAX_BODY, 201), (MAX_BODY + 1, 413), (4 * MAX_BODY, 413), (64 * MAX_BODY, 413)] {
        let mut connection = connect(server.address()).unwrap();
        // The server may answer and close before it has read everything.
        let sent = connection.get_mut().write_all(&put_of(bytes));
        match Answer::read(&mut connection) {
            Ok(answer) => {
                assert_eq!(answer.status, status, "{bytes} bytes: {answer:?}");
                assert!(status == 201 || answer.code() == "body_too_large", "{answer:?}");
            }
            Err(error) => assert!(sent.is_err(), "{bytes} bytes were taken, and not answered: {error}"),
        }
    }
    server.get("/health").expect(200);
}

#[test]
fn a_chunked_body_that_is_too_large_is_refused() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    let mut connection = connect(server.address()).unwrap();
    let head = "PUT /v1/baskets/ann HTTP/1.1\r\nhost: shop\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    connection.get_mut().write_all(head.as_bytes()).unwrap();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x1_0000));
    for _ in 0..5 {
        let _ = connection.get_mut().write_all(chunk.as_bytes());
    }
    let answer = Answer::read(&mut connection).unwrap();
    assert_eq!((answer.status, answer.code()), (413, "body_too_large"));
    server.get("/health").expect(200);
}

#[test]
fn a_connection_outlives_a_request_whose_body_nobody_wanted() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    let mut connection = connect(server.address()).unwrap();
    for _ in 0..3 {
        let head = "POST /no/such/path HTTP/1.1\r\nhost: shop\r\ncontent-length: 2\r\n\r\n";
        connection.get_mut().write_all(head.as_bytes()).unwrap();
        // Many clients write head and body one after the other.
        std::thread::sleep(TRICKLE / 10);
        connection.get_mut().write_all(b"{}").unwrap();
        let answer = Answer::read(&mut connection).unwrap();
        assert_eq!((answer.status, answer.header("connection")), (404, None));
    }
}

#[test]
fn a_body_that_never_comes_is_answered_with_the_end_of_the_connection() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    for expect in ["", "expect: 100-continue\r\n"] {
        let mut connection = connect(server.address()).unwrap();
        let head = format!("POST /no/such/path HTTP/1.1\r\nhost: shop\r\n{expect}content-length: 2\r\n\r\n");
        connection.get_mut().write_all(head.as_bytes()).unwrap();
        let answer = Answer::read(&mut connection).unwrap();
        assert_eq!((answer.status, answer.header("connection")), (404, Some("close")));
        assert_eq!(connection.read(&mut [0; 1]).unwrap(), 0, "it is closed");
    }
}

#[test]
fn headers_that_are_too_large_are_refused_and_the_server_lives_on() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    let long_value = format!("GET /health HTTP/1.1\r\nhost: shop\r\nx-long: {}\r\n\r\n", "x".repeat(200 * 1024));
    let long_path = format!("GET /{} HTTP/1.1\r\nhost: shop\r\n\r\n", "x".repeat(200 * 1024));
    let many = format!("GET /health HTTP/1.1\r\nhost: shop\r\n{}\r\n", "x-many: x\r\n".repeat(2_000));
    for request in [long_value, long_path, many] {
        let mut connection = connect(server.address()).unwrap();
        let sent = connection.get_mut().write_all(request.as_bytes());
        match Answer::read(&mut connection) {
            Ok(answer) => assert!(matches!(answer.status, 414 | 431), "{answer:?}"),
            Err(error) => assert!(sent.is_err() || error.kind() != ErrorKind::WouldBlock, "{error}"),
        }
        server.get("/health").expect(200);
    }
}

#[test]
fn what_is_no_http_is_refused_and_the_server_lives_on() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    let tls_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    for garbage in [&b"\0\0\0\0\r\n\r\n"[..], b"hello\r\n\r\n", tls_hello, b"GET / HTTP/9.9\r\n\r\n"] {
        let mut connection = connect(server.address()).unwrap();
        connection.get_mut().write_all(garbage).unwrap();
        let mut said = String::new();
        if connection.read_line(&mut said).is_ok() && !said.is_empty() {
            assert!(said.starts_with("HTTP/1.1 400") || said.starts_with("HTTP/1.1 505"), "{said}");
        }
        server.get("/health").expect(200);
    }
}

#[test]
fn a_client_that_goes_away_in_the_middle_leaves_no_trace() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    let product = server.product("Kettle", 5);
    let lines = json!({"items": [{"productId": product, "quantity": 1}]});
    let body = lines.to_string();
    let head = format!("PUT /v1/baskets/ann HTTP/1.1\r\nhost: shop\r\ncontent-length: {}\r\n\r\n", body.len());
    for sent in [0, 1, body.len() - 1] {
        let mut connection = connect(server.address()).unwrap();
        connection.get_mut().write_all(format!("{head}{}", &body[..sent]).as_bytes()).unwrap();
        drop(connection);
    }
    let mut client = server.client();
    assert_eq!(client.request("GET", "/v1/baskets/ann", None).status, 404);
    client.request("PUT", "/v1/baskets/ann", Some(&lines)).expect(201);
    assert_eq!(server.all("/v1/baskets").len(), 1);
}
