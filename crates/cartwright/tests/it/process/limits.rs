//! Each limit of the server, just below and just above it: what is refused is told why and when to come again, and others go on.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use cartwright::local::sqlite::FILE_NAME;
use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;

use super::harness::{Answer, Server, connect, eventually};

const PATIENCE: Duration = Duration::from_secs(10);

fn send(connection: &mut BufReader<TcpStream>, request: &str) -> Answer {
    connection.get_mut().write_all(request.as_bytes()).unwrap();
    Answer::read(connection).unwrap()
}

/// What comes of a request that a proxy sends for somebody.
fn forwarded(connection: &mut BufReader<TcpStream>, client: &str) -> Answer {
    send(connection, &format!("GET /health HTTP/1.1\r\nhost: shop\r\nx-forwarded-for: {client}\r\n\r\n"))
}

/// A request whose handler waits for its body.
fn begin(server: &Server, path: &str, length: usize) -> BufReader<TcpStream> {
    let mut connection = connect(server.address()).unwrap();
    let head = format!("PUT {path} HTTP/1.1\r\nhost: shop\r\ncontent-length: {length}\r\nexpect: 100-continue\r\n\r\n");
    assert_eq!(send(&mut connection, &head).status, 100, "the handler waits for the body");
    connection
}

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code()), (status, code), "{answer:?}");
    let wait: u64 = answer.header("retry-after").expect("it is told when to come again").parse().unwrap();
    assert!((1..=60).contains(&wait), "{answer:?}");
}

/// However often something was refused, one line tells of it.
fn logged_once(server: &Server) {
    eventually("it is logged", PATIENCE, || (!server.stderr().is_empty()).then_some(()));
    assert_eq!(server.stderr().lines().count(), 1, "{}", server.stderr());
}

#[test]
fn who_asks_too_often_is_refused_and_others_are_not() {
    let folder = TempDir::new().unwrap();
    let options = ["--rate", "1", "--rate-burst", "5", "--trusted-proxy", "127.0.0.1,10.0.0.0/8", "--access", "open"];
    let server = Server::start(folder.path(), &options);
    let mut proxy = connect(server.address()).unwrap();
    let begun_at = Instant::now();
    let answers: Vec<_> = (0..20).map(|at| forwarded(&mut proxy, &format!("2001:db8:1:2::{at:x}, 10.0.0.7"))).collect();
    let (taken, over): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    let replenished = begun_at.elapsed().as_secs() as usize + 1;
    assert!((5..=5 + replenished).contains(&taken.len()), "{} of a network of 64 bits", taken.len());
    assert_eq!(answers[0].header("ratelimit-policy"), Some("\"caller\";q=5;w=5"));
    assert_eq!(answers[0].header("ratelimit"), Some("\"caller\";r=4;t=1"));
    for answer in over {
        refused(answer, 429, "rate_limited");
        assert!(answer.header("ratelimit").unwrap().starts_with("\"caller\";r=0;t="), "{answer:?}");
    }
    for other in ["2001:db8:1:3::1", "192.0.2.1", "::ffff:192.0.2.2", "nonsense"] {
        assert_eq!(forwarded(&mut proxy, other).status, 200, "{other}");
    }
    logged_once(&server);
}

#[test]
fn nobody_is_believed_to_be_a_proxy_who_is_not() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &["--rate", "1", "--rate-burst", "2"]);
    let mut connection = connect(server.address()).unwrap();
    let statuses: Vec<_> = (0..10).map(|at| forwarded(&mut connection, &format!("192.0.2.{at}")).status).collect();
    assert!(statuses.contains(&429), "all are one: {statuses:?}");
}

#[test]
fn on_this_machine_alone_nobody_is_too_fast() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    let mut connection = connect(server.address()).unwrap();
    for _ in 0..500 {
        let answer = forwarded(&mut connection, "192.0.2.1");
        assert_eq!((answer.status, answer.header("ratelimit")), (200, None));
    }
}

#[test]
fn connections_beyond_the_limit_are_told_so() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &["--max-connections", "4"]);
    let mut held: Vec<_> = (0..4).map(|_| server.client()).collect();
    held.iter_mut().for_each(|client| drop(client.request("GET", "/health", None).expect(200)));
    let over = server.get("/health");
    refused(&over, 503, "too_many_connections");
    assert_eq!(over.header("connection"), Some("close"));
    held.iter_mut().for_each(|client| drop(client.request("GET", "/health", None).expect(200)));
    held.pop();
    eventually("there is room again", PATIENCE, || (server.get("/health").status == 200).then_some(()));
}

#[test]
fn connections_of_one_address_beyond_its_share_are_told_so() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &["--max-connections-per-address", "3"]);
    let mut held: Vec<_> = (0..3).map(|_| server.client()).collect();
    held.iter_mut().for_each(|client| drop(client.request("GET", "/health", None).expect(200)));
    refused(&server.get("/health"), 503, "too_many_connections");
    // On Linux all of 127.0.0.0/8 is this machine.
    if cfg!(target_os = "linux") {
        let mut other = connect_from("127.0.0.2", &server);
        assert_eq!(forwarded(&mut other, "192.0.2.1").status, 200, "another address has its own");
    }
    drop(held);
    eventually("there is room again", PATIENCE, || (server.get("/health").status == 200).then_some(()));
}

/// A connection from this address.
pub(super) fn connect_from(address: &str, server: &Server) -> BufReader<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
        socket.connect(server.address()).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

#[test]
fn requests_beyond_those_at_work_are_refused() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &["--max-in-flight", "2"]);
    let mut at_work: Vec<_> = (0..2).map(|_| begin(&server, "/v1/baskets/ann", 2)).collect();
    let mut other = server.client();
    refused(&other.request("GET", "/health", None), 503, "overloaded");
    assert_eq!(send(&mut at_work[0], "{}").status, 400, "what was taken on is carried out");
    other.request("GET", "/health", None).expect(200);
    drop(at_work);
    logged_once(&server);
}

#[test]
fn requests_of_one_caller_beyond_its_share_are_refused() {
    let folder = TempDir::new().unwrap();
    let options = ["--max-in-flight-per-caller", "2", "--trusted-proxy", "127.0.0.1", "--access", "open"];
    let server = Server::start(folder.path(), &options);
    let at_work: Vec<_> = (0..2).map(|_| begin(&server, "/v1/baskets/ann", 2)).collect();
    let mut proxy = connect(server.address()).unwrap();
    refused(&forwarded(&mut proxy, "127.0.0.1"), 429, "too_many_at_once");
    assert_eq!(forwarded(&mut proxy, "192.0.2.1").status, 200, "another caller has its own");
    drop(at_work);
    eventually("it is given back", PATIENCE, || (forwarded(&mut proxy, "127.0.0.1").status == 200).then_some(()));
}

#[test]
fn large_bodies_together_have_a_limit_and_small_ones_pass() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    // 64 MB are 256 of the largest that a route takes.
    let held: Vec<_> = (0..256).map(|_| begin(&server, "/v1/baskets/ann", 256 * 1024)).collect();
    let mut other = connect(server.address()).unwrap();
    let head = "PUT /v1/baskets/ann HTTP/1.1\r\nhost: shop\r\nexpect: 100-continue\r\ncontent-length: ";
    refused(&send(&mut other, &format!("{head}17000\r\n\r\n")), 503, "overloaded");
    let mut other = connect(server.address()).unwrap();
    assert_eq!(send(&mut other, &format!("{head}16000\r\n\r\n")).status, 100);
    drop(held);
    eventually("it is given back", PATIENCE, || {
        let mut other = connect(server.address()).unwrap();
        (send(&mut other, &format!("{head}17000\r\n\r\n")).status == 100).then_some(())
    });
}

#[test]
fn with_full_queues_only_what_would_add_to_them_is_refused() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    let product = server.product("Kettle", 5);
    server.stop();
    // Ten messages that wait to be received again, tomorrow.
    let file = Connection::open(folder.path().join(FILE_NAME)).unwrap();
    let sql = "INSERT INTO messages (queue, seq, enqueued_at_ms, receives, due_at_ms, body) \
               VALUES ('OrderQueue', ?1, 0, 1, 9999999999999, '{}')";
    (1..=10).for_each(|seq| assert_eq!(file.execute(sql, [seq]).unwrap(), 1));
    drop(file);

    let server = Server::start(folder.path(), &["--max-backlog", "10"]);
    let mut client = server.client();
    let lines = json!({"items": [{"productId": product, "quantity": 1}]});
    client.request("PUT", "/v1/baskets/ann", Some(&lines)).expect(201);
    let checkout = json!({});
    refused(&client.request("POST", "/v1/baskets/ann/checkout", Some(&checkout)), 503, "queues_full");
    client.request("GET", "/v1/baskets/ann", None).expect(200);
    logged_once(&server);
    server.stop();
    let server = Server::start(folder.path(), &["--max-backlog", "11"]);
    let accepted = server.client().request("POST", "/v1/baskets/ann/checkout", Some(&checkout)).expect(202);
    let order = format!("/v1/orders/{}", accepted["orderId"].as_str().unwrap());
    // What consumers add is taken, or nothing would ever be finished.
    eventually("the order is confirmed", PATIENCE, || {
        (server.get(&order).expect(200)["status"] == "CONFIRMED").then_some(())
    });
}

#[test]
fn a_head_is_taken_up_to_its_limit_and_not_beyond() {
    const MAX_HEAD: usize = 32 * 1024;
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    let (start, end) = ("GET /health HTTP/1.1\r\nhost: shop\r\nx-long: ", "\r\n\r\n");
    let head = |bytes: usize| format!("{start}{}{end}", "x".repeat(bytes - start.len() - end.len()));
    let headers = |count: usize| format!("GET /health HTTP/1.1\r\n{}\r\n", "x: x\r\n".repeat(count));
    for (request, status) in
        [(head(MAX_HEAD), 200), (head(MAX_HEAD + 1), 431), (headers(100), 200), (headers(101), 431)]
    {
        let mut connection = connect(server.address()).unwrap();
        assert_eq!(send(&mut connection, &request).status, status, "{} bytes", request.len());
    }
}

#[test]
fn slow_bodies_end_with_the_time_of_a_request() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &["--request-timeout", "1", "--header-timeout", "1"]);
    let begun_at = Instant::now();
    let mut slow: Vec<_> = (0..50).map(|_| begin(&server, "/v1/baskets/ann", 1000)).collect();
    while begun_at.elapsed() < Duration::from_millis(800) {
        slow.iter_mut().for_each(|connection| drop(connection.get_mut().write_all(b" ")));
        server.get("/health").expect(200);
    }
    for mut connection in slow {
        let answer = Answer::read(&mut connection).unwrap();
        refused(&answer, 503, "timeout");
        // The rest of the body is not waited for.
        let _ = connection.read_to_end(&mut Vec::new());
    }
    assert!(begun_at.elapsed() < Duration::from_secs(6), "{:?}", begun_at.elapsed());
}
