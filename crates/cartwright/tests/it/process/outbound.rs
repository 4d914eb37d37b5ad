//! Requests to other servers, over real connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cartwright::outbound::{Answer, Call, Failure, Outbound, Reach};
use http::{HeaderMap, Method};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A server that answers one connection with `answer`, whatever it is asked, and gives what it was asked.
async fn server(answer: &'static str) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, tokio::spawn(async move { serve(listener.accept().await.unwrap().0, answer).await }))
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> String {
    let (mut asked, mut buffer) = (String::new(), [0; 4096]);
    while !asked.ends_with("hello") {
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "the request is whole: {asked}");
        asked += std::str::from_utf8(&buffer[..count]).unwrap();
    }
    stream.write_all(answer.as_bytes()).await.unwrap();
    // Whoever wants to see an end closes first.
    let _ = stream.read(&mut buffer).await;
    asked
}

async fn call(client: &Outbound, url: &str, reach: Reach) -> Result<Answer, Failure> {
    let mut headers = HeaderMap::new();
    headers.insert("webhook-id", "msg_1".parse().unwrap());
    let (timeout, body) = (Duration::from_secs(20), "hello".into());
    client.send(Call { method: Method::POST, url, headers, body, timeout, max_answer_bytes: 8, reach }).await
}

#[tokio::test]
async fn a_request_arrives_and_its_answer_is_read_as_far_as_wanted() {
    let (address, asked) = server("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n12345678").await;
    let url = format!("http://{address}/hooks?x=1");
    let answer = call(&Outbound::default(), &url, Reach::Anywhere).await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.body[..], answer.is_whole), (200, &b"12345678"[..], true));
    let asked = asked.await.unwrap();
    assert!(asked.starts_with("POST /hooks?x=1 HTTP/1.1\r\n"), "{asked}");
    for header in [&format!("host: {address}"), "webhook-id: msg_1", "content-length: 5", "user-agent: Cartwright/"] {
        assert!(asked.contains(&format!("\r\n{header}")), "{header} in {asked}");
    }
    let (address, _asked) = server("HTTP/1.1 500 No\r\ncontent-length: 900\r\n\r\n123456789").await;
    let answer = call(&Outbound::default(), &format!("http://{address}/"), Reach::Anywhere).await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.body[..], answer.is_whole), (500, &b"12345678"[..], false));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let (address, _asked) =
        server("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n").await;
    let answer = call(&Outbound::default(), &format!("http://{address}/"), Reach::Anywhere).await.unwrap();
    assert_eq!(answer.status, 302);
}

#[tokio::test]
async fn what_must_be_public_does_not_reach_this_machine_under_any_name() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for host in
        ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "127.1", "2130706433", "0x7f000001", "0.0.0.0"]
    {
        let outcome = call(&Outbound::default(), &format!("http://{host}:{port}/"), Reach::Public).await;
        assert!(matches!(outcome, Err(Failure::NotPublic(_) | Failure::Unknown(_))), "{host}: {outcome:?}");
    }
    let came = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
    assert!(came.is_err(), "nobody came");
}

#[tokio::test]
async fn silence_ends_the_wait_and_an_end_is_no_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (headers, body, timeout) = (HeaderMap::new(), "".into(), Duration::from_millis(50));
    let reach = Reach::Anywhere;
    let call = Call { method: Method::GET, url: &url, headers, body, timeout, max_answer_bytes: 8, reach };
    let outcome = Outbound::default().send(call.clone()).await;
    assert!(matches!(outcome, Err(Failure::TimedOut(_))), "{outcome:?}");
    let hangs_up = tokio::spawn(async move {
        loop {
            let _ = listener.accept().await.unwrap().0.read(&mut [0; 16]).await;
        }
    });
    let outcome = Outbound::default().send(Call { timeout: Duration::from_secs(20), ..call }).await;
    assert!(matches!(outcome, Err(Failure::Broken(_))), "{outcome:?}");
    hangs_up.abort();
}

#[tokio::test]
async fn a_certificate_must_be_good_for_the_host() {
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let root: CertificateDer<'static> = cert.der().clone();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![root.clone()], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        loop {
            let stream = listener.accept().await.unwrap().0;
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream, "HTTP/1.1 204 OK\r\n\r\n").await;
            }
        }
    });
    let (stranger, friend) = (Outbound::default(), Outbound::new([root]));
    let by_name = format!("https://localhost:{port}/");
    let outcome = call(&stranger, &by_name, Reach::Anywhere).await;
    assert!(matches!(outcome, Err(Failure::Tls(_))), "a root that nobody knows: {outcome:?}");
    let outcome = call(&friend, &format!("https://127.0.0.1:{port}/"), Reach::Anywhere).await;
    assert!(matches!(outcome, Err(Failure::Tls(_))), "another name: {outcome:?}");
    assert_eq!(call(&friend, &by_name, Reach::Anywhere).await.unwrap().status, 204);
    serving.abort();
}
