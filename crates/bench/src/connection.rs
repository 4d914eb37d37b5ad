//! An HTTP/1.1 client that does as little as it can: one connection kept alive, requests written as they are, and of the
//! answer only the status and the body.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Result;

/// Room for an answer; more is made when one is longer.
const USUAL_ANSWER_BYTES: usize = 16 * 1024;
/// Most bytes of the body that are shown when an answer is not the expected one.
const MAX_SHOWN_BYTES: usize = 300;

/// One connection, kept alive.
pub(crate) struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

/// An answer.
pub(crate) struct Answer<'a> {
    status: u16,
    head: &'a [u8],
    body: &'a [u8],
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream =
            TcpStream::connect(address).await.map_err(|error| format!("cannot connect to {address}: {error}"))?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, received: Vec::with_capacity(USUAL_ANSWER_BYTES) })
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// When the connection breaks or the answer is not one this client can read. The connection is of no use then.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.received.clear();
        let head = loop {
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err("the server closed the connection".into());
            }
            if let Some(head) = Head::parse(&self.received)?
                && self.received.len() >= head.bytes + head.content_length
            {
                break head;
            }
        };
        let (own, rest) = self.received.split_at(head.bytes);
        let (body, rest) = rest.split_at(head.content_length);
        if !rest.is_empty() {
            return Err("the server sent more than its answer".into());
        }
        Ok(Answer { status: head.status, head: own, body })
    }
}

impl<'a> Answer<'a> {
    /// Whether the server has refused the request because it has all it takes on.
    pub(crate) fn is_refusal(&self) -> bool {
        self.status == 503 && text_field(self.body, "code") == Some("overloaded")
    }

    /// The value of a header, whose name is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&'a str> {
        let mut lines = self.head.split(|byte| *byte == b'\n');
        let value = lines.find_map(|line| value_of(line, format!("{name}:").as_bytes()))?;
        std::str::from_utf8(value).ok()
    }

    /// The body, if the status is the expected one.
    ///
    /// # Errors
    /// With the status and the beginning of the body, if it is not.
    pub(crate) fn expect(self, status: u16) -> Result<&'a [u8]> {
        if self.status == status {
            return Ok(self.body);
        }
        let shown = &self.body[..self.body.len().min(MAX_SHOWN_BYTES)];
        Err(format!("answered {} instead of {status}: {}", self.status, String::from_utf8_lossy(shown)).into())
    }
}

/// The request `method path` with this JSON body, or with none.
pub(crate) fn request(method: &str, path: &str, body: Option<&str>) -> String {
    match body {
        None => format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        Some(body) => format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ),
    }
}

/// The text of the first string field called `name` in compact JSON, as it stands there. Far cheaper than parsing.
pub(crate) fn text_field<'a>(json: &'a [u8], name: &str) -> Option<&'a str> {
    let mut rest = std::str::from_utf8(json).ok()?;
    loop {
        let (before, after) = rest.split_once(name)?;
        if let Some(text) = after.strip_prefix("\":\"").filter(|_| before.ends_with('"')) {
            return text.split_once('"').map(|(text, _)| text);
        }
        rest = after;
    }
}

/// What the head of an answer says.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// Length of the head itself.
    bytes: usize,
    content_length: usize,
}

impl Head {
    /// Reads the head; `None` while it is not complete.
    fn parse(received: &[u8]) -> Result<Option<Head>> {
        let mut lines = received.split_inclusive(|byte| *byte == b'\n');
        let mut bytes = 0;
        let mut next = || lines.next().filter(|line| line.ends_with(b"\r\n")).inspect(|line| bytes += line.len());
        let Some(first) = next() else { return Ok(None) };
        let digits = first.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let status = digits.and_then(number).ok_or("the answer is not HTTP/1.1")?;
        let mut content_length = None;
        loop {
            let Some(line) = next() else { return Ok(None) };
            if line == b"\r\n" {
                break;
            }
            if let Some(value) = value_of(line, b"content-length:") {
                content_length = Some(number(value).ok_or("the content-length is not a number")?);
            }
            if value_of(line, b"transfer-encoding:").is_some() {
                return Err("the answer is in chunks, which this client does not read".into());
            }
        }
        let content_length = match (status, content_length) {
            (_, Some(length)) => length,
            (204 | 304, None) => 0,
            (_, None) => return Err("the answer has no content-length".into()),
        };
        let status = u16::try_from(status)?;
        Ok(Some(Head { status, bytes, content_length }))
    }
}

/// The value in a header line, if the line is of the header `name`, which ends with the colon.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCONTENT-LENGTH: 7\r\n\r\n{\"a\":1}";

    #[test]
    fn a_head_is_read_when_it_is_complete_and_not_before() {
        let head = Head { status: 200, bytes: ANSWER.len() - 7, content_length: 7 };
        for end in 0..ANSWER.len() {
            let expected = (end >= head.bytes).then_some(Head { ..head });
            assert_eq!(Head::parse(&ANSWER[..end]).unwrap(), expected, "{end} bytes");
        }
    }

    #[test]
    fn an_answer_without_a_body_has_none() {
        let head = Head::parse(b"HTTP/1.1 204 No Content\r\ndate: x\r\n\r\n").unwrap().unwrap();
        assert_eq!((head.status, head.content_length), (204, 0));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for (answer, why) in [
            (&b"HTTP/1.0 200 OK\r\n\r\n"[..], "not HTTP/1.1"),
            (b"HTTP/1.1 200 OK\r\n\r\n", "no content-length"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n", "not a number"),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "in chunks"),
        ] {
            let error = Head::parse(answer).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[tokio::test]
    async fn answers_are_put_together_from_pieces_and_connections_used_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for _ in 0..2 {
                let mut asked = [0; 100];
                assert!(stream.read(&mut asked).await.unwrap() > 0);
                for piece in ANSWER.chunks(5) {
                    stream.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        });
        let mut connection = Connection::open(address).await.unwrap();
        let get = request("GET", "/", None);
        assert_eq!(connection.exchange(get.as_bytes()).await.unwrap().expect(200).unwrap(), b"{\"a\":1}");
        let error = connection.exchange(get.as_bytes()).await.unwrap().expect(201).unwrap_err().to_string();
        assert_eq!(error, "answered 200 instead of 201: {\"a\":1}");
        server.await.unwrap();
        assert!(connection.exchange(get.as_bytes()).await.is_err());
    }

    #[test]
    fn a_text_field_is_found_by_its_name() {
        let json = br#"{"note":"status","oldstatus":"","status":"PLACED","nextStatuses":["CANCELLED"]}"#;
        assert_eq!(text_field(json, "status"), Some("PLACED"));
        assert_eq!(text_field(json, "nextStatuses"), None);
        assert_eq!(text_field(json, "orderId"), None);
    }
}
