//! The HTTP server: an accept loop of its own, because those at hand build hyper without a timer and so never give up on
//! a client that sends half a header.
//!
//! Connections are capped; each has a few seconds to begin and to finish its headers; what they ask goes through the
//! [`Door`]. On shutdown, whatever was sent before is answered.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::unread;
use crate::rest::Door;

/// Connections at the same time; more wait in the operating system's queue. Far below what memory would bear.
pub const MAX_CONNECTIONS: usize = 10_000;
/// Time for the first byte of a connection, for the headers of a request, and for the next request of an idle connection.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Head of a request beyond which it is refused. Looked at after each read, so that a little more may get through.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Time for requests under way to be answered on shutdown.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server goes on after it was told to stop, for what was sent before and has not been read.
const LAST_MOMENT: Duration = Duration::from_millis(200);
/// Pause when the operating system has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Lets this process have as many files open as it may: each connection is one, and the usual limit is far below
/// [`MAX_CONNECTIONS`]. Where it stays lower, connections beyond it wait.
pub fn raise_open_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Serves `door` on `listener` until `stop` resolves, then answers what is under way and returns.
pub async fn serve(listener: TcpListener, door: Door, stop: impl Future<Output = ()>) {
    let server = Server {
        door,
        connections: GracefulShutdown::new(),
        slots: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        stopping: watch::Sender::new(false),
    };
    let mut stop = std::pin::pin!(stop);
    loop {
        let slot = tokio::select! {
            slot = Arc::clone(&server.slots).acquire_owned() => slot,
            () = &mut stop => break,
        };
        let Ok(slot) = slot else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, _)) => server.spawn(stream, slot),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    server.drain(listener).await;
}

struct Server {
    door: Door,
    connections: GracefulShutdown,
    slots: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
}

impl Server {
    /// Serves one connection, on a task of its own.
    fn spawn(&self, stream: TcpStream, slot: OwnedSemaphorePermit) {
        let (watcher, door, stopping) = (self.connections.watcher(), self.door.clone(), self.stopping.subscribe());
        tokio::spawn(async move {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection ended before it began");
            }
            if begins(&stream, stopping.clone()).await {
                let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let (door, stopping) = (door.clone(), stopping.clone());
                    async move {
                        let mut response = unread::answer(&door, request).await;
                        if *stopping.borrow() {
                            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                        }
                        Ok::<_, std::convert::Infallible>(response)
                    }
                });
                // HTTP/1.1 only: telling it from HTTP/2 would mean waiting for bytes without a time limit.
                let mut http = http1::Builder::new();
                http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
                let connection = http.serve_connection(TokioIo::new(stream), service);
                if let Err(error) = watcher.watch(connection).await {
                    tracing::debug!(%error, "a connection ended early");
                }
            }
            drop(slot);
        });
    }

    /// Goes on serving for a moment, closing each connection after its answer, because requests may have been sent that
    /// nobody has read yet; then closes the listener, and waits until what is under way is answered.
    async fn drain(self, listener: TcpListener) {
        let _ = self.stopping.send(true);
        let last_connections = async {
            while let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await {
                match listener.accept().await {
                    Ok((stream, _)) => self.spawn(stream, slot),
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                }
            }
        };
        let _ = timeout(LAST_MOMENT, last_connections).await;
        drop(listener);
        if timeout(DRAIN_TIMEOUT, self.connections.shutdown()).await.is_err() {
            tracing::warn!("some requests did not finish in time and were cut off");
        }
    }
}

/// Waits for the first byte of a connection, which hyper would do without a time limit. When the server is stopping, a
/// connection has only a moment left to begin.
async fn begins(stream: &TcpStream, mut stopping: watch::Receiver<bool>) -> bool {
    // `peek`, because `readable()` also returns without a byte.
    let mut first = [0; 1];
    let last_moment = async {
        let _ = stopping.wait_for(|stopping| *stopping).await;
        sleep(LAST_MOMENT).await;
    };
    tokio::select! {
        biased;
        byte = stream.peek(&mut first) => matches!(byte, Ok(1)),
        () = last_moment => false,
        () = sleep(HEADER_TIMEOUT) => false,
    }
}
