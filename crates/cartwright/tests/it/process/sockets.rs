//! WebSockets of clients that mean no good, and of very many that mean nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tempfile::TempDir;
use tungstenite::Message;

use super::harness::{Server, connect, many_files};
use super::listeners::Socket;

/// Idle sockets, if the machine allows so many open files.
const MANY: usize = 10_000;
/// Open files that are left to everything else in this process, and in the server.
const OTHER_FILES: usize = 1_000;
/// What one of them may cost the server, its buffers in the kernel not counted.
const MAX_BYTES_EACH: u64 = 32 * 1024;

/// A frame of a client, whose mask is zero.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ ..126 => frame.push(0x80 | u8::try_from(short).unwrap()),
        long => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(long).unwrap().to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// A socket of which the test writes every byte.
fn raw(server: &Server, headers: &str) -> Result<BufReader<TcpStream>, u16> {
    let mut connection = connect(server.address()).unwrap();
    let head = format!(
        "GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
    connection.get_mut().write_all(head.as_bytes()).unwrap();
    let (mut status, mut line) = (String::new(), String::new());
    connection.read_line(&mut status).unwrap();
    let mut accept = false;
    while connection.read_line(&mut line).unwrap() > 2 {
        accept |= line.trim_end() == "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        line.clear();
    }
    match status.split(' ').nth(1) {
        Some("101") if accept => Ok(connection),
        status => Err(status.unwrap().parse().unwrap()),
    }
}

/// The code with which the server closed the socket; frames before that are passed over.
fn close_code(connection: &mut BufReader<TcpStream>) -> u16 {
    loop {
        let mut head = [0; 2];
        connection.read_exact(&mut head).expect("the server says why");
        let mut payload = vec![0; usize::from(head[1])];
        connection.read_exact(&mut payload).unwrap();
        if head[0] == 0x88 {
            return u16::from_be_bytes([payload[0], payload[1]]);
        }
    }
}

#[test]
fn what_is_too_long_or_no_text_ends_the_socket_and_what_is_no_json_does_not() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    let ended_by = |frames: &[u8]| {
        let mut connection = raw(&server, "").unwrap();
        let _ = connection.get_mut().write_all(frames);
        close_code(&mut connection)
    };
    assert_eq!(ended_by(&frame(0x81, &[b'x'; 16 * 1024 + 257])), 1009);
    // Of one that says it is of 2^62 bytes nothing is waited for.
    assert_eq!(ended_by(&[0x81, 0x80 | 127, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), 1009);
    let fragments: Vec<u8> = [frame(0x01, &[b'x'; 9000]), frame(0x00, &[b'x'; 9000])].concat();
    assert_eq!(ended_by(&fragments), 1009);
    assert_eq!(ended_by(&frame(0x82, b"{}")), 1003);
    assert_eq!(ended_by(&frame(0x81, &[0xff, 0xfe])), 1007);
    assert_eq!(ended_by(&[0x81, 0x02, b'{', b'}']), 1002, "clients mask their frames");
    assert_eq!(ended_by(&frame(0x83, b"")), 1002);
    let pings: Vec<u8> = (0..500).flat_map(|_| frame(0x89, b"")).collect();
    assert_eq!(ended_by(&pings), 1008);

    let mut socket = Socket::open(&server);
    for text in ["", "nonsense", "[[[[", "{\"action\":\"subscribe\"}", "\u{0}"] {
        socket.0.send(Message::text(text)).unwrap();
        assert_eq!(socket.receive().unwrap()["code"], "invalid_message", "{text:?}");
    }
    assert_eq!(socket.ask(&json!({"action": "ping"})), json!({"type": "pong"}));
    assert!(server.stderr().is_empty(), "{}", server.stderr());
}

#[test]
fn an_endless_message_of_nothing_costs_no_memory_and_holds_up_nobody() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    let mut connection = raw(&server, "").unwrap();
    connection.get_mut().write_all(&frame(0x01, b"x")).unwrap();
    let before = server.resident_bytes();
    let nothing: Vec<u8> = (0..1000).flat_map(|_| frame(0x00, b"")).collect();
    for _ in 0..300 {
        connection.get_mut().write_all(&nothing).unwrap();
    }
    assert_eq!(server.get("/health").status, 200);
    if let (Some(before), Some(after)) = (before, server.resident_bytes()) {
        assert!(after < before + 8 * 1024 * 1024, "{before} and then {after} bytes");
    }
}

#[test]
fn only_pages_of_this_server_and_programs_open_a_socket() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    let with_origin = |origin: &str| raw(&server, &format!("origin: {origin}\r\n")).map(drop);
    for origin in ["http://localhost", "https://localhost", "https://localhost:443"] {
        assert_eq!(with_origin(origin), Ok(()), "{origin}");
    }
    for origin in ["http://evil.example", "https://localhost.evil.example", "null", "http://localhost:8081"] {
        assert_eq!(with_origin(origin), Err(403), "{origin}");
    }
    let answer = server.get("/ws");
    assert_eq!((answer.status, answer.code()), (400, "websocket_expected"));
}

/// How many sockets this process can hold: [`MANY`], unless the hard limit of open files forbids it. A soft limit must yield.
fn room_for_sockets() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let files = |limit: Option<u64>| limit.map_or(usize::MAX, |files| usize::try_from(files).unwrap());
    let (may, can) = (files(limit.maximum), files(getrlimit(Resource::Nofile).current));
    let wanted = may.min(MANY + OTHER_FILES);
    assert!(can >= wanted, "the limit of open files is {can}, and could be {wanted}: {raised:?}");
    MANY.min(can.saturating_sub(OTHER_FILES))
}

#[test]
#[expect(clippy::print_stderr, reason = "the figures are what a reader of the log wants")]
fn very_many_idle_sockets_are_served_and_others_are_answered() {
    let _files = many_files();
    let many = room_for_sockets();
    let folder = TempDir::new().unwrap();
    let most = (MANY + OTHER_FILES / 10).to_string();
    let server = Server::start(folder.path(), &["--max-connections", &most]);
    let product = server.product("phone", 10);
    let before = server.resident_bytes();
    let subscribe = |at: usize| {
        frame(0x81, json!({"action": "subscribe", "topic": format!("customer:c{at}")}).to_string().as_bytes())
    };
    let mut sockets: Vec<_> = (0..many)
        .map(|at| {
            let mut socket = raw(&server, "").unwrap_or_else(|status| panic!("socket {at} is refused with {status}"));
            socket.get_mut().write_all(&subscribe(at)).unwrap();
            socket
        })
        .collect();
    let mut head = [0; 2];
    for socket in &mut sockets {
        socket.read_exact(&mut head).unwrap();
        let mut said = vec![0; usize::from(head[1])];
        socket.read_exact(&mut said).unwrap();
        assert!(said.starts_with(b"{\"type\":\"subscribed\""), "{}", String::from_utf8_lossy(&said));
    }
    let forbidden = if many < MANY { "; the hard limit of open files forbids more" } else { "" };
    eprintln!("{} of {MANY} idle sockets are open at the same time{forbidden}", sockets.len());
    if let (Some(before), Some(after)) = (before, server.resident_bytes()) {
        let each = after.saturating_sub(before) / many as u64;
        assert!(each <= MAX_BYTES_EACH, "{each} bytes for each of {many}");
    }
    let last = many - 1;
    let mut client = server.client();
    let line = json!({"productId": product, "quantity": 1});
    client.request("POST", &format!("/v1/baskets/c{last}/items"), Some(&line)).expect(200);
    client.request("POST", &format!("/v1/baskets/c{last}/checkout"), Some(&json!({}))).expect(202);
    sockets[last].get_mut().set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    sockets[last].read_exact(&mut head).expect("it is told of its order");
    assert_eq!(head[0], 0x81);
    server.stop();
}
