//! HTTP/2 over TLS: that it works, and clients that make bad use of it.

use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Method, Request, StatusCode};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::certificates::{Authority, Files, NAME};
use super::harness::Server;

/// Longer than anything the server does before it answers or closes.
const PATIENCE: Duration = Duration::from_secs(20);

struct Setting {
    _folder: TempDir,
    authority: Authority,
    server: Server,
}

fn setting(extra: &[&str]) -> Setting {
    let (folder, authority) = (TempDir::new().unwrap(), Authority::new());
    let server = Files::of(&authority, folder.path()).serve(folder.path(), extra);
    Setting { _folder: folder, authority, server }
}

struct Client {
    sender: SendRequest<Bytes>,
    /// Ends when the connection does.
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Setting {
    async fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.server.address()).await.unwrap();
        let connector = TlsConnector::from(self.authority.client(&["h2"]));
        let stream = connector.connect(ServerName::try_from(NAME).unwrap(), stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        Client { sender, connection: tokio::spawn(connection) }
    }
}

fn request(method: Method, path: &str) -> Request<()> {
    let uri = format!("https://{NAME}{path}");
    Request::builder().method(method).uri(uri).header("content-type", "application/json").body(()).unwrap()
}

/// The status of the answer and its body.
async fn whole(answer: impl Future<Output = Result<http::Response<h2::RecvStream>, h2::Error>>) -> (StatusCode, Value) {
    let answer = timeout(PATIENCE, answer).await.expect("it is answered").unwrap();
    let (status, mut body, mut bytes) = (answer.status(), answer.into_body(), Vec::new());
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        let _ = body.flow_control().release_capacity(data.len());
        bytes.extend_from_slice(&data);
    }
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

impl Client {
    async fn ask(&mut self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        self.sender = self.sender.clone().ready().await.unwrap();
        let (answer, mut stream) = self.sender.send_request(request(method, path), body.is_none()).unwrap();
        if let Some(body) = body {
            stream.send_data(body.to_string().into(), true).unwrap();
        }
        whole(answer).await
    }
}

fn kettle(at: usize) -> Value {
    json!({"name": format!("Kettle {at}"), "description": "k".repeat(3_000), "price": {"amount": 1_250, "currency": "USD"}})
}

#[tokio::test]
async fn many_requests_go_over_one_connection() {
    let setting = setting(&[]);
    let mut client = setting.connect().await;
    let (status, product) = client.ask(Method::POST, "/v1/products", Some(kettle(0))).await;
    assert_eq!(status, StatusCode::CREATED);
    let path = format!("/v1/products/{}", product["id"].as_str().unwrap());
    let answers: Vec<_> = (0..50)
        .map(|_| client.sender.send_request(request(Method::GET, &path), true).unwrap().0)
        .map(|answer| tokio::spawn(whole(answer)))
        .collect();
    for answer in answers {
        assert_eq!(answer.await.unwrap(), (StatusCode::OK, product.clone()));
    }
    let (status, problem) = client.ask(Method::GET, "/nowhere/", None).await;
    assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("route_not_found")));
}

#[tokio::test]
async fn large_answers_and_large_bodies_pass() {
    let setting = setting(&[]);
    let mut client = setting.connect().await;
    for at in 0..100 {
        assert_eq!(client.ask(Method::POST, "/v1/products", Some(kettle(at))).await.0, StatusCode::CREATED);
    }
    let (status, page) = client.ask(Method::GET, "/v1/products?limit=100", None).await;
    assert_eq!((status, page["items"].as_array().unwrap().len()), (StatusCode::OK, 100));
    assert!(page.to_string().len() > 300_000, "it is larger than what is sent ahead");
    let (status, problem) = client.ask(Method::POST, "/v1/products", Some(json!("x".repeat(200 * 1024)))).await;
    assert_eq!((status, &problem["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_request")));
}

#[tokio::test]
async fn a_request_under_way_at_sigterm_is_answered() {
    let mut setting = setting(&[]);
    let mut client = setting.connect().await;
    let (answer, mut stream) = client.sender.send_request(request(Method::POST, "/v1/products"), false).unwrap();
    let body = kettle(0).to_string();
    stream.send_data(Bytes::copy_from_slice(&body.as_bytes()[..10]), false).unwrap();
    // An answer to another means that the server has read the beginning of the first.
    assert_eq!(client.ask(Method::GET, "/health", None).await.0, StatusCode::OK);
    setting.server.terminate();
    let closed = async {
        while TcpStream::connect(setting.server.address()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, closed).await.expect("the listener closes");
    stream.send_data(Bytes::copy_from_slice(&body.as_bytes()[10..]), true).unwrap();
    assert_eq!(whole(answer).await.0, StatusCode::CREATED);
    drop(stream);
    let _ = timeout(PATIENCE, client.connection).await.expect("it is closed");
    assert_eq!(setting.server.wait(PATIENCE).code(), Some(0));
}

#[tokio::test]
async fn a_connection_that_rests_is_closed() {
    let setting = setting(&["--header-timeout", "1"]);
    let mut client = setting.connect().await;
    assert_eq!(client.ask(Method::GET, "/health", None).await.0, StatusCode::OK);
    let _ = timeout(PATIENCE, client.connection).await.expect("it is closed");
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let setting = setting(&[]);
    let mut client = setting.connect().await;
    for (bytes, taken) in [(31 * 1024, true), (33 * 1024, false), (200 * 1024, false)] {
        let mut request = request(Method::GET, "/health");
        request.headers_mut().insert("x-long", "x".repeat(bytes).parse().unwrap());
        client = setting.connect().await;
        let (answer, _) = client.sender.send_request(request, true).unwrap();
        match timeout(PATIENCE, answer).await.unwrap() {
            Ok(answer) => assert_eq!(answer.status().as_u16(), if taken { 200 } else { 431 }, "{bytes}"),
            Err(error) => assert!(!taken && (error.is_reset() || error.is_go_away() || error.is_io()), "{error}"),
        }
    }
    drop(client);
    assert_eq!(setting.connect().await.ask(Method::GET, "/health", None).await.0, StatusCode::OK);
}

#[tokio::test]
async fn requests_taken_back_at_once_do_not_hurt_others() {
    let setting = setting(&[]);
    let attackers: Vec<_> = std::iter::repeat_with(|| setting.connect()).take(4).collect();
    let mut tasks = Vec::new();
    for attacker in attackers {
        let mut attacker = attacker.await;
        tasks.push(tokio::spawn(async move {
            let mut taken_back = 0;
            while let Ok(mut sender) = attacker.sender.clone().ready().await
                && taken_back < 5_000
            {
                let Ok((_, mut stream)) = sender.send_request(request(Method::GET, "/v1/products"), true) else {
                    break;
                };
                stream.send_reset(h2::Reason::CANCEL);
                taken_back += 1;
                attacker.sender = sender;
                tokio::task::yield_now().await;
            }
            taken_back
        }));
    }
    let mut other = setting.connect().await;
    while !tasks.iter().all(JoinHandle::is_finished) {
        let answered = timeout(Duration::from_secs(2), other.ask(Method::GET, "/health", None)).await;
        assert_eq!(answered.expect("others are served").0, StatusCode::OK);
    }
    assert_eq!(other.ask(Method::GET, "/health", None).await.0, StatusCode::OK);
}

#[tokio::test]
async fn answers_that_nobody_reads_do_not_pile_up() {
    let setting = setting(&["--max-in-flight", "8"]);
    let mut client = setting.connect().await;
    for at in 0..50 {
        assert_eq!(client.ask(Method::POST, "/v1/products", Some(kettle(at))).await.0, StatusCode::CREATED);
    }
    // Each is 150 KB, and the client lets no more than 64 KB of all of them come.
    let mut unread = Vec::new();
    for _ in 0..20 {
        let (answer, _) = client.sender.send_request(request(Method::GET, "/v1/products?limit=50"), true).unwrap();
        unread.push(timeout(PATIENCE, answer).await.unwrap().unwrap());
    }
    let refused = unread.iter().filter(|answer| answer.status() == StatusCode::SERVICE_UNAVAILABLE).count();
    assert_eq!(refused, 20 - 8, "what is not read is still at work");
    drop(unread);
    drop(client);
    let mut other = setting.connect().await;
    let freed = async { while other.ask(Method::GET, "/health", None).await.0 != StatusCode::OK {} };
    timeout(PATIENCE, freed).await.expect("it is given back with the connection");
}
