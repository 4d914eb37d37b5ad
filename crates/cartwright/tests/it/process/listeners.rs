//! Clients of the live feed: one reads a stream of events, one speaks WebSocket.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use super::harness::{Server, connect};

/// A piece of a stream that ends with an empty line.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Piece {
    pub(super) id: Option<u64>,
    pub(super) event: Option<String>,
    pub(super) data: Value,
    pub(super) retry: Option<u64>,
    pub(super) comment: bool,
}

/// A client that reads a stream, as EventSource does.
pub(super) struct Reader {
    connection: BufReader<TcpStream>,
    text: String,
    pieces: VecDeque<Piece>,
    pub(super) last_event_id: Option<u64>,
}

impl Reader {
    /// Begins to read; the stream has begun when this returns.
    pub(super) fn open(server: &Server, query: &str, last_event_id: Option<u64>) -> Reader {
        Reader::try_open(server, query, last_event_id)
            .unwrap_or_else(|status| panic!("{query} is answered with {status}"))
    }

    /// As [`Reader::open`], or the status it was refused with.
    pub(super) fn try_open(server: &Server, query: &str, last_event_id: Option<u64>) -> Result<Reader, u16> {
        let mut connection = connect(server.address()).unwrap();
        let id = last_event_id.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        let head = format!("GET /v1/feed?{query} HTTP/1.1\r\nhost: shop\r\naccept: text/event-stream\r\n{id}\r\n");
        connection.get_mut().write_all(head.as_bytes()).unwrap();
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            connection.read_line(&mut line).unwrap();
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_ascii_lowercase()),
            }
        }
        let status = lines[0].split(' ').nth(1).unwrap().parse().unwrap();
        if status != 200 {
            return Err(status);
        }
        assert!(lines.contains(&"content-type: text/event-stream".to_owned()), "{lines:?}");
        let mut reader = Reader { connection, text: String::new(), pieces: VecDeque::new(), last_event_id };
        let begun = reader.piece().expect("it begins");
        assert!(begun.retry.is_some() && begun.data.is_null(), "{begun:?}");
        Ok(reader)
    }

    /// The next piece; none when the stream has ended.
    pub(super) fn piece(&mut self) -> Option<Piece> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                self.last_event_id = piece.id.or(self.last_event_id);
                return Some(piece);
            }
            let chunk = self.chunk()?;
            self.text += &chunk;
            while let Some((piece, rest)) = self.text.split_once("\n\n") {
                self.pieces.push_back(parse(piece));
                self.text = rest.to_owned();
            }
        }
    }

    fn chunk(&mut self) -> Option<String> {
        let mut length = String::new();
        self.connection.read_line(&mut length).ok()?;
        let length = usize::from_str_radix(length.trim(), 16).ok().filter(|length| *length > 0)?;
        let mut chunk = vec![0; length + 2];
        self.connection.read_exact(&mut chunk).ok()?;
        chunk.truncate(length);
        Some(String::from_utf8(chunk).unwrap())
    }

    /// The next event; comments and numbers alone are passed over.
    pub(super) fn event(&mut self) -> Option<(String, Value)> {
        loop {
            let piece = self.piece()?;
            if let Some(event) = piece.event {
                assert_eq!(piece.data["event"], event.as_str());
                assert_eq!(piece.data["sequence"].as_u64(), piece.id);
                return Some((event, piece.data));
            }
        }
    }
}

fn parse(text: &str) -> Piece {
    let mut piece = Piece::default();
    for line in text.lines() {
        match line.split_once(':').unwrap() {
            ("", _) => piece.comment = true,
            ("id", id) => piece.id = Some(id.trim().parse().unwrap()),
            ("event", event) => piece.event = Some(event.trim().to_owned()),
            ("data", data) => piece.data = serde_json::from_str(data).unwrap(),
            ("retry", retry) => piece.retry = Some(retry.trim().parse().unwrap()),
            other => panic!("{other:?}"),
        }
    }
    piece
}

/// A client with a WebSocket.
pub(super) struct Socket(pub(super) WebSocket<TcpStream>);

impl Socket {
    pub(super) fn open(server: &Server) -> Socket {
        let stream = connect(server.address()).unwrap().into_inner();
        let (socket, _) = tungstenite::client(format!("ws://{}/ws", server.address()), stream).unwrap();
        Socket(socket)
    }

    pub(super) fn send(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).unwrap();
    }

    /// The next message of the server; the code it closed the socket with, when it did.
    pub(super) fn receive(&mut self) -> Result<Value, Option<u16>> {
        loop {
            match self.0.read() {
                Ok(Message::Text(text)) => return Ok(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(frame)) => return Err(frame.map(|frame| frame.code.into())),
                Ok(_) => {}
                Err(error) => panic!("the socket ended without a word: {error}"),
            }
        }
    }

    pub(super) fn ask(&mut self, message: &Value) -> Value {
        self.send(message);
        self.receive().unwrap()
    }

    pub(super) fn subscribe(&mut self, topic: &str, after: Option<u64>) -> Value {
        let mut message = json!({"action": "subscribe", "topic": topic});
        if let Some(after) = after {
            message["after"] = after.into();
        }
        let said = self.ask(&message);
        assert_eq!((&said["type"], &said["topic"]), (&json!("subscribed"), &json!(topic)), "{said}");
        said
    }

    /// The next event.
    pub(super) fn event(&mut self) -> (String, Value) {
        let said = self.receive().unwrap();
        assert_eq!(said["type"], "event", "{said}");
        (said["event"].as_str().unwrap().to_owned(), said)
    }
}
