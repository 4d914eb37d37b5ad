//! The HTTP server: an accept loop of its own, because those at hand build hyper without a timer and so never give up on
//! a client that sends half a header.
//!
//! Connections are capped; each has a few seconds to begin and to finish its headers; what they ask goes through the
//! [`Door`]. On shutdown the listener closes at once, and requests under way are answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::rest::Door;

/// Connections at the same time; more wait in the operating system's queue. Far below what memory would bear.
pub const MAX_CONNECTIONS: usize = 10_000;
/// Time for the first byte of a connection, for the headers of a request, and for the next request of an idle connection.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest head of a request.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Time for requests under way to be answered on shutdown.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause when the operating system has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `door` on `listener` until `stop` resolves, then answers what is under way and returns.
pub async fn serve(listener: TcpListener, door: Door, stop: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEAD_BYTES as u32)
        .keep_alive_interval(Some(HEADER_TIMEOUT));
    let builder = Arc::new(builder);
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            () = &mut stop => break,
        };
        let Some((stream, _, slot)) = accepted else { continue };
        let (watcher, builder, door) = (graceful.watcher(), Arc::clone(&builder), door.clone());
        tokio::spawn(async move {
            // `peek`, because `readable()` also returns without a byte, and hyper waits for the first one for ever.
            if matches!(timeout(HEADER_TIMEOUT, stream.peek(&mut [0; 1])).await, Ok(Ok(1))) {
                let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let door = door.clone();
                    async move { Ok::<_, std::convert::Infallible>(door.answer(request.map(Body::new)).await) }
                });
                let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
                if let Err(error) = watcher.watch(connection.into_owned()).await {
                    tracing::debug!(%error, "a connection ended early");
                }
            }
            drop(slot);
        });
    }
    drop(listener);
    if timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not finish in time and were cut off");
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, address)) => {
            let _ = stream.set_nodelay(true);
            Some((stream, address, slot))
        }
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection");
            sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}
