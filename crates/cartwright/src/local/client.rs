//! A small HTTP client for the command line: one request, one answer, no TLS. For a server on this machine or behind a
//! tunnel; whatever else is a browser's or curl's affair.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use http::{Method, Uri};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for an answer: a little more than the server takes before it gives a request up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);
/// Largest answer. A page of dead letters is a little more than 1 MB, unless a single one is larger.
const MAX_ANSWER_BYTES: u64 = 16 * 1024 * 1024;

/// Where requests go.
#[derive(Debug, Clone)]
pub struct Client {
    host: String,
    port: u16,
    prefix: String,
    credential: Option<String>,
}

impl Client {
    /// A client of the server at `url`, such as `http://127.0.0.1:8080`, with the credential it asks for, if any.
    ///
    /// # Errors
    /// Why that is no address it can talk to, or no credential, as half a sentence.
    pub fn new(url: &str, credential: Option<String>) -> Result<Self, String> {
        if credential.as_ref().is_some_and(|text| !text.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err("the key has characters that no key has".to_owned());
        }
        let example = "write it like http://127.0.0.1:8080";
        let uri: Uri = url.parse().map_err(|_| format!("{url:?} is not a URL; {example}"))?;
        let host = uri.host().filter(|_| uri.scheme_str() == Some("http"));
        let host = host.ok_or_else(|| format!("{url:?} is not an http:// URL; {example}"))?.to_owned();
        let prefix = uri.path().trim_end_matches('/').to_owned();
        Ok(Client { host, port: uri.port_u16().unwrap_or(80), prefix, credential })
    }

    /// Sends one request with this JSON (or nothing) as its body, to be carried out once under `key` when it has one.
    /// Returns the status and the body of the answer.
    ///
    /// # Errors
    /// Those of the network, and an answer that is none.
    pub fn send(&self, method: &Method, path: &str, key: Option<&str>, json: &str) -> io::Result<(u16, Vec<u8>)> {
        let mut connection = self.connect()?;
        connection.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        connection.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        let Client { host, port, prefix, credential } = self;
        let credential =
            credential.as_ref().map(|text| format!("authorization: Bearer {text}\r\n")).unwrap_or_default();
        let key = key.map(|key| format!("idempotency-key: {key}\r\n")).unwrap_or_default();
        let head = format!(
            "{method} {prefix}{path} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\naccept: application/json\r\n\
             content-type: application/json\r\n{credential}{key}content-length: {}\r\n\r\n",
            json.len()
        );
        connection.write_all((head + json).as_bytes())?;
        let mut answer = Vec::new();
        connection.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
        read_answer(&answer)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "what answers does not speak HTTP"))
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in (bare, self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Status and body of a whole answer; none when it is not one, or not whole.
fn read_answer(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = (std::str::from_utf8(&answer[..end]).ok()?, &answer[end + 4..]);
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(':')).collect();
    let header =
        |name: &str| headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
    if header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return unchunk(body).map(|body| (status, body));
    }
    match header("content-length") {
        Some(length) => body.get(..length.parse().ok()?).map(|body| (status, body.to_vec())),
        None => Some((status, body.to_vec())),
    }
}

/// The body of chunks (RFC 9112, section 7.1); none when the last is missing.
fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        rest = &rest[line + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_by_length_by_chunks_and_to_the_end() {
        let body = |answer: &str| {
            read_answer(answer.as_bytes()).map(|(status, body)| (status, String::from_utf8(body).unwrap()))
        };
        let expected = Some((200, "hello".to_owned()));
        assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), expected);
        assert_eq!(
            body("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
            expected
        );
        assert_eq!(body("HTTP/1.0 200\r\n\r\nhello"), expected);
        for cut in [
            "",
            "SSH-2.0",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        ] {
            assert_eq!(body(cut), None, "{cut:?}");
        }
    }

    #[test]
    fn only_http_urls_are_taken() {
        for url in ["127.0.0.1:8080", "https://shop.example", "ftp://x", "http://", ""] {
            assert!(Client::new(url, None).unwrap_err().contains("http://127.0.0.1:8080"), "{url:?}");
        }
        let client = Client::new("http://[::1]:81/shop/", None).unwrap();
        assert!(Client::new("http://127.0.0.1", Some("cw_1\r\nhost: x".into())).is_err());
        assert_eq!((client.host.as_str(), client.port, client.prefix.as_str()), ("[::1]", 81, "/shop"));
    }
}
