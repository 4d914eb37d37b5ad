//! The HTTP server: an accept loop of its own, because those at hand build hyper without a timer and so never give up on
//! a client that sends half a header.
//!
//! Connections are capped, in all and of one address; each has a few seconds for its TLS handshake, to begin and to finish its
//! headers (`connection`); what they ask goes through the [`Door`]. One that is beyond the caps is told so, if there is room
//! to tell it. On shutdown, whatever was sent before is answered.

mod acme;
mod client;
mod connection;
mod options;
mod redirect;
mod sending;
mod socket;
mod tls;

pub use options::LimitOptions;
pub use redirect::Redirect;
pub use tls::{Tls, TlsError, TlsOptions};

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::rest::{Door, Refusals, Share, Shares, network};

/// Connections at the same time; more are told to come again later. Far below what memory would bear.
pub const MAX_CONNECTIONS: usize = 10_000;
/// Time for the TLS handshake, for the first byte of a connection, for the headers of a request, and for the next request of
/// an idle connection.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for requests under way to be answered on shutdown.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server goes on after it was told to stop, for what was sent before and has not been read.
const LAST_MOMENT: Duration = Duration::from_millis(200);
/// Pause when the operating system has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections that wait in the operating system's queue, if it allows so many. One that finds no place there tries again after
/// a second, so a short queue makes a crowd wait that could be served at once.
const BACKLOG: u32 = 4096;
/// Connections beyond the caps that are told so at the same time. When there are more, those of an address that has too many
/// are closed without a word, and others wait in the operating system's queue.
const SPARE_CONNECTIONS: usize = 64;
/// Open files that are not left to connections: the store, the redirecting listener, the spare connections.
const RESERVED_FILES: usize = 512;

/// Lets this process have as many files open as it may: each connection is one, and the usual limit is far below
/// [`MAX_CONNECTIONS`]. Returns how many connections that is enough for.
pub fn raise_open_file_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    let files =
        getrlimit(Resource::Nofile).current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    files.saturating_sub(RESERVED_FILES).max(files / 2)
}

/// Listens on `address`.
///
/// # Errors
/// Those of the operating system.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Those of a server that has just stopped may still be closing.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// How a server serves.
pub struct Settings {
    /// TLS, if connections are encrypted.
    pub tls: Option<Tls>,
    /// Connections at the same time.
    pub max_connections: usize,
    /// Those of them that come from one address, or network of 64 bits in IPv6. Trusted proxies may have more.
    pub max_connections_per_address: Option<usize>,
    /// See [`HEADER_TIMEOUT`].
    pub header_timeout: Duration,
    /// Proxies that are believed when they say, in `X-Forwarded-For`, for whom they ask.
    pub trusted_proxies: Vec<IpNet>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            tls: None,
            max_connections: MAX_CONNECTIONS,
            max_connections_per_address: None,
            header_timeout: HEADER_TIMEOUT,
            trusted_proxies: Vec::new(),
        }
    }
}

/// Serves `door` on `listener` until `stop` resolves, then answers what is under way and returns. Plain connections to
/// `redirect`, if there is one, are sent to the port of `listener`.
pub async fn serve(
    listener: TcpListener,
    redirect: Option<Redirect>,
    door: Door,
    settings: Settings,
    stop: impl Future<Output = ()>,
) {
    let redirecting = redirect.map(|redirect| tokio::spawn(redirect.serve()));
    let server = Arc::new(Server {
        door,
        slots: Arc::new(Semaphore::new(settings.max_connections.min(Semaphore::MAX_PERMITS))),
        spare: Arc::new(Semaphore::new(SPARE_CONNECTIONS)),
        of_addresses: settings.max_connections_per_address.map(Shares::new),
        phase: watch::Sender::new(Phase::Serving),
        refusals: Refusals::new("more connections came than this server takes on; it refused some of them"),
        settings,
    });
    let upkeep = tokio::spawn({
        let server = Arc::clone(&server);
        async move {
            if let Some(tls) = &server.settings.tls {
                tls.keep_up_to_date().await;
            }
        }
    });
    tokio::select! {
        () = server.accept(&listener) => {}
        () = stop => {}
    }
    upkeep.abort();
    if let Some(redirecting) = redirecting {
        redirecting.abort();
    }
    server.drain(listener).await;
}

/// What connections have to know of the server's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Told to stop: what was sent before is still read.
    LastMoment,
    /// What is under way is answered, and nothing else is read.
    Closing,
}

struct Server {
    door: Door,
    settings: Settings,
    slots: Arc<Semaphore>,
    spare: Arc<Semaphore>,
    of_addresses: Option<Shares<IpAddr>>,
    phase: watch::Sender<Phase>,
    refusals: Refusals,
}

/// What a connection holds as long as it is there.
struct Place {
    _slot: OwnedSemaphorePermit,
    _of_address: Option<Share<IpAddr>>,
    /// It is only there to be told that it cannot stay.
    is_spare: bool,
}

impl Server {
    /// Accepts connections for ever.
    async fn accept(self: &Arc<Self>, listener: &TcpListener) {
        loop {
            let (slots, spare) = (Arc::clone(&self.slots), Arc::clone(&self.spare));
            let (slot, is_spare) = tokio::select! {
                biased;
                slot = slots.acquire_owned() => (slot, false),
                slot = spare.acquire_owned() => (slot, true),
            };
            let Ok(slot) = slot else { return };
            match listener.accept().await {
                Ok((stream, peer)) => {
                    if let Some(place) = self.place(slot, is_spare, peer) {
                        self.spawn(stream, peer, place);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// The place of a connection from `peer`, for which there is a slot; none when not even a refusal has one.
    fn place(&self, slot: OwnedSemaphorePermit, is_spare: bool, peer: SocketAddr) -> Option<Place> {
        // Another may have ended while we waited for this one.
        let (slot, is_spare) = match is_spare.then(|| Arc::clone(&self.slots).try_acquire_owned()) {
            Some(Ok(slot)) => (slot, false),
            _ => (slot, is_spare),
        };
        let address = peer.ip().to_canonical();
        let share = match &self.of_addresses {
            Some(shares) if !self.is_trusted(address) => shares.take(network(address)).map(Some),
            _ => Some(None),
        };
        if is_spare || share.is_none() {
            self.refusals.note();
        }
        match share {
            Some(of_address) => Some(Place { _slot: slot, _of_address: of_address, is_spare }),
            None if is_spare => None,
            None => {
                let spare = Arc::clone(&self.spare).try_acquire_owned().ok()?;
                Some(Place { _slot: spare, _of_address: None, is_spare: true })
            }
        }
    }

    fn spawn(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, place: Place) {
        // Subscribed before the task runs: the server's end waits for all who are.
        tokio::spawn(Arc::clone(self).connection(stream, peer, place, self.phase.subscribe()));
    }

    fn is_trusted(&self, address: IpAddr) -> bool {
        self.settings.trusted_proxies.iter().any(|proxy| proxy.contains(&address))
    }

    /// Goes on serving for a moment, closing each connection after its answer, because requests may have been sent that
    /// nobody has read yet; then closes the listener, and waits until what is under way is answered.
    async fn drain(self: Arc<Self>, listener: TcpListener) {
        self.phase.send_replace(Phase::LastMoment);
        let _ = timeout(LAST_MOMENT, self.accept(&listener)).await;
        drop(listener);
        self.phase.send_replace(Phase::Closing);
        if timeout(DRAIN_TIMEOUT, self.phase.closed()).await.is_err() {
            tracing::warn!("some requests did not finish in time and were cut off");
        }
    }
}
