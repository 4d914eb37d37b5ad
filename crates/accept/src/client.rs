//! A client that knows nothing of Cartwright: one request, one connection, plain HTTP/1.1.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(35);

/// Where the requests go.
pub(crate) struct Client {
    authority: String,
    prefix: String,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// The JSON, or `Null` when there is none.
    pub(crate) body: Value,
    /// The body as it came.
    pub(crate) text: String,
}

impl Client {
    /// A client of `http://host:port[/prefix]`.
    pub(crate) fn new(url: &str) -> Result<Self, String> {
        let rest = url.strip_prefix("http://").ok_or("the URL must begin with http://")?;
        let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let authority = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
        let prefix = prefix.trim_end_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
        Ok(Client { authority, prefix })
    }

    /// Sends one request and reads its answer to the end of the connection.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Result<Answer, String> {
        let failed = |what: &str, error: std::io::Error| format!("{method} {path}: cannot {what}: {error}");
        let mut stream = TcpStream::connect(&self.authority).map_err(|error| failed("connect", error))?;
        stream.set_read_timeout(Some(TIMEOUT)).map_err(|error| failed("connect", error))?;
        let mut request =
            format!("{method} {}{path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.prefix, self.authority);
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = body {
            if !headers.iter().any(|(name, _)| *name == "content-type") {
                request += "content-type: application/json\r\n";
            }
            request += &format!("content-length: {}\r\n\r\n{body}", body.len());
        } else {
            request += "\r\n";
        }
        stream.write_all(request.as_bytes()).map_err(|error| failed("send", error))?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).map_err(|error| failed("read", error))?;
        parse(&bytes)
            .ok_or_else(|| format!("{method} {path}: the answer is no HTTP: {:?}", String::from_utf8_lossy(&bytes)))
    }
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let header =
        |line: &str| line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    let headers: Vec<(String, String)> = lines.filter_map(header).collect();
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if chunked { unchunk(&bytes[end + 4..])? } else { bytes[end + 4..].to_vec() };
    let text = String::from_utf8_lossy(&body).into_owned();
    Some(Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::Null), text })
}

fn unchunk(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line_end = bytes.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..line_end]).ok()?.trim(), 16).ok()?;
        bytes = &bytes[line_end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(bytes.get(..size)?);
        bytes = bytes.get(size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whole_or_in_chunks() {
        let whole = parse(b"HTTP/1.1 201 Created\r\nLocation: /x\r\n\r\n{\"a\":1}").unwrap();
        assert_eq!((whole.status, &whole.headers[0].1, &whole.body["a"]), (201, &"/x".to_owned(), &Value::from(1)));
        let chunks =
            parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n")
                .unwrap();
        assert_eq!(chunks.text, "{\"a\":1}");
        assert!(parse(b"HTTP/1.1 200 OK\r\n").is_none());
    }
}
