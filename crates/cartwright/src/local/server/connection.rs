//! One connection: its TLS handshake, its requests over HTTP/1.1 or HTTP/2, and its end.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::header::{CONNECTION, HeaderValue, STRICT_TRANSPORT_SECURITY, UPGRADE};
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutWriter;

use super::sending::{Pulse, SEND_TIMEOUT, send};
use super::tls::HTTP_2;
use super::{LAST_MOMENT, Phase, Place, Server, client, socket};
use crate::error::{Error, Kind};
use crate::feed::{Opened, Upgradable};
use crate::local::unread;
use crate::rest::{Caller, slot_of};

/// Head of a request: its first line and its headers.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// What is read or written ahead on a connection.
const MAX_BUFFER_BYTES: usize = 64 * 1024;
/// Time in which a client must take something of what is being sent to it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for each step of a connection that is only there to be refused.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);
/// Requests at the same time on one connection: as many as browsers open, and few enough that one connection is no flood.
const MAX_STREAMS: u32 = 64;
/// What may be sent ahead of a request's body, and of all bodies of a connection.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
/// Requests that were taken back before they were looked at, and those that were in error, before the connection is closed:
/// more are an attack (CVE-2023-44487).
const MAX_RESET_STREAMS: usize = 20;
const MAX_ERROR_STREAMS: usize = 100;
/// How often a client with requests under way is asked whether it is still there, and how long it has to answer.
const PING_PERIOD: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// How long browsers are to come back by TLS alone: a year.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

impl Server {
    /// Serves a connection to its end.
    pub(super) async fn connection(
        self: Arc<Self>,
        mut stream: TcpStream,
        peer: SocketAddr,
        place: Place,
        phase: watch::Receiver<Phase>,
    ) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection ended before it began");
        }
        let patience = if place.is_spare { REFUSAL_TIMEOUT } else { self.settings.header_timeout };
        let connection =
            Connection { server: self, peer: peer.ip(), place, patience, phase, pulse: Arc::new(Pulse::new()) };
        let Some(first) = connection.in_time(first_byte(&stream)).await.flatten() else { return };
        // What follows is boxed, so that one that has not begun is small.
        match &connection.server.settings.tls {
            None => Box::pin(Arc::new(connection).http1(patient(stream))).await,
            // No TLS record begins with a letter.
            Some(_) if first.is_ascii_alphabetic() => {
                let _ = connection.in_time(stream.write_all(PLAIN_TO_TLS)).await;
            }
            Some(tls) => match Box::pin(connection.in_time(tls.accept(patient(stream)))).await {
                Some(Ok(Some(stream))) => {
                    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP_2);
                    let connection = Arc::new(connection);
                    if is_http2 {
                        Box::pin(connection.http2(stream)).await;
                    } else {
                        Box::pin(connection.http1(stream)).await;
                    }
                }
                Some(Ok(None)) => {}
                Some(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                None => tracing::debug!("a TLS handshake took too long"),
            },
        }
    }
}

/// What is answered to a request that comes in the clear where TLS is spoken.
const PLAIN_TO_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 48\r\nconnection: close\r\n\r\n\
    This server speaks TLS: begin its URL with https";

/// The first byte of a connection, left where it is; none when it has ended.
async fn first_byte(stream: &TcpStream) -> Option<u8> {
    // `peek`, because `readable()` also returns without a byte.
    let mut first = [0; 1];
    matches!(stream.peek(&mut first).await, Ok(1)).then_some(first[0])
}

/// A stream that fails when its peer takes nothing for too long of what is written.
fn patient(stream: TcpStream) -> std::pin::Pin<Box<TimeoutWriter<TcpStream>>> {
    let mut stream = TimeoutWriter::new(stream);
    stream.set_timeout(Some(WRITE_TIMEOUT));
    Box::pin(stream)
}

struct Connection {
    server: Arc<Server>,
    peer: IpAddr,
    place: Place,
    patience: Duration,
    phase: watch::Receiver<Phase>,
    pulse: Arc<Pulse>,
}

impl Connection {
    /// What `step` comes to; none when it takes longer than a connection has for one. When the server is stopping, it has only
    /// a moment left.
    async fn in_time<T>(&self, step: impl Future<Output = T>) -> Option<T> {
        let mut phase = self.phase.clone();
        let last_moment = async {
            let _ = phase.wait_for(|phase| *phase != Phase::Serving).await;
            sleep(LAST_MOMENT).await;
        };
        tokio::select! {
            biased;
            done = timeout(self.patience, step) => done.ok(),
            () = last_moment => None,
        }
    }

    async fn http1(self: Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        // hyper takes a hundred headers by itself, and is slower when it is told so.
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.patience)
            .max_buf_size(MAX_BUFFER_BYTES)
            .max_header_size(MAX_HEAD_BYTES);
        let service = service_fn({
            let connection = Arc::clone(&self);
            move |request| Arc::clone(&connection).answer(request)
        });
        // hyper ends one that rests.
        let served = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        self.drive(served, |served| served.graceful_shutdown(), std::future::pending()).await;
    }

    async fn http2(self: Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEAD_BYTES as u32)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(MAX_BUFFER_BYTES)
            .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
            .max_local_error_reset_streams(MAX_ERROR_STREAMS)
            .keep_alive_interval(PING_PERIOD)
            .keep_alive_timeout(PING_TIMEOUT);
        let service = service_fn({
            let connection = Arc::clone(&self);
            move |request| Arc::clone(&connection).answer(request)
        });
        let served = http.serve_connection(TokioIo::new(stream), service);
        self.drive(served, |served| served.graceful_shutdown(), self.pulse.rest(self.patience)).await;
    }

    /// Lets a connection live until it ends by itself, has rested too long, or the server closes. From then on what is under
    /// way is answered; a client that does not go away when there is nothing more is left.
    async fn drive<C, E>(&self, connection: C, finish: impl FnOnce(Pin<&mut C>), rest: impl Future<Output = ()>)
    where
        C: Future<Output = Result<(), E>>,
        E: std::fmt::Display,
    {
        let mut phase = self.phase.clone();
        let mut connection = std::pin::pin!(connection);
        let is_cut = tokio::select! {
            biased;
            ended = connection.as_mut() => return note_end(ended.err()),
            is_cut = self.pulse.told() => is_cut,
            _ = phase.wait_for(|phase| *phase == Phase::Closing) => false,
            () = rest => false,
        };
        if is_cut {
            return;
        }
        finish(connection.as_mut());
        let gone = async { while !self.pulse.told().await {} };
        tokio::select! {
            biased;
            ended = connection.as_mut() => note_end(ended.err()),
            () = gone => {}
            () = self.pulse.rest(self.patience) => {}
        }
    }

    async fn answer(self: Arc<Self>, mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let active = self.pulse.begin();
        let server = &self.server;
        let is_http1 = request.version() < Version::HTTP_2;
        let address = client::address(self.peer, request.headers(), &server.settings.trusted_proxies);
        request.extensions_mut().insert(Caller { address: Some(address), credential: None });
        let upgrade = (is_http1 && !self.place.is_spare && request.headers().contains_key(UPGRADE)).then(|| {
            request.extensions_mut().insert(Upgradable);
            hyper::upgrade::on(&mut request)
        });
        let mut response = if self.place.is_spare {
            server.door.refuse(&request.map(Body::new), &too_many_connections())
        } else if is_http1 {
            unread::answer(&server.door, request).await
        } else {
            server.door.answer(request.map(Body::new)).await
        };
        let opened = upgrade.zip(response.extensions_mut().remove::<Opened>());
        let is_last = self.place.is_spare || *self.phase.borrow() != Phase::Serving;
        if let Some((upgrade, opened)) = opened {
            tokio::spawn(Arc::clone(&self).socket(upgrade, opened));
        } else if is_last && is_http1 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        } else if self.place.is_spare {
            self.pulse.close();
        }
        if server.settings.tls.is_some() {
            response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, HSTS);
        }
        let slot = slot_of(&mut response);
        Ok(response.map(|body| send(body, slot, active, SEND_TIMEOUT)))
    }

    /// Serves the WebSocket that a connection becomes. It keeps the connection's place.
    async fn socket(self: Arc<Self>, upgrade: OnUpgrade, opened: Opened) {
        match upgrade.await {
            Ok(upgraded) => socket::serve(TokioIo::new(upgraded), opened, self.phase.clone()).await,
            Err(error) => tracing::debug!(%error, "a connection ended before it became a socket"),
        }
    }
}

fn too_many_connections() -> Error {
    let message = "The server has all the connections it takes on, or all that one address may have; try again later.";
    Error::new(Kind::Overloaded, "too_many_connections", message)
}

fn note_end(error: Option<impl std::fmt::Display>) {
    if let Some(error) = error {
        tracing::debug!(%error, "a connection ended early");
    }
}
