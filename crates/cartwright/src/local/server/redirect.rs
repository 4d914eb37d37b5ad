//! The listener that sends whoever comes in the clear to TLS, and does nothing else.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::header::{CONNECTION, HOST, HeaderValue, LOCATION};
use http::uri::Authority;
use http::{Request, Response, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::ACCEPT_PAUSE;

/// Connections at the same time; more wait in the operating system's queue.
pub(super) const MAX_REDIRECTED: usize = 256;
/// Longest a connection lasts: it is for one request, whose body nobody reads.
const REDIRECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Head of a request: the least that hyper takes as a limit, and far more than a request has that anyone types.
const MAX_HEAD_BYTES: usize = 8 * 1024;
/// The port of `https` URLs that do not name one.
const HTTPS_PORT: u16 = 443;

/// A listener that answers every request with the same URL under `https`.
pub struct Redirect {
    listener: TcpListener,
    port: u16,
}

impl Redirect {
    /// Listens on `listen` and sends clients to `port` of the host they have asked for.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn bind(listen: SocketAddr, port: u16) -> std::io::Result<Self> {
        Ok(Redirect { listener: super::listen(listen)?, port })
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Redirects for ever.
    pub(super) async fn serve(self) {
        let slots = Arc::new(Semaphore::new(MAX_REDIRECTED));
        while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection to be redirected");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let port = self.port;
            tokio::spawn(async move {
                let service = service_fn(async |request: Request<_>| Ok::<_, Infallible>(redirect(&request, port)));
                let mut http = http1::Builder::new();
                http.timer(TokioTimer::new()).max_buf_size(MAX_HEAD_BYTES).keep_alive(false);
                let _ = timeout(REDIRECT_TIMEOUT, http.serve_connection(TokioIo::new(stream), service)).await;
                drop(slot);
            });
        }
    }
}

/// A 308, which keeps the method, to the same host and path; a 400 when there is no host to send the client to.
fn redirect<B>(request: &Request<B>, port: u16) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    match target(request, port) {
        Some(location) => {
            *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
            response.headers_mut().insert(LOCATION, location);
        }
        None => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    response
}

fn target<B>(request: &Request<B>, port: u16) -> Option<HeaderValue> {
    let named = request.headers().get(HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let authority =
        request.uri().authority().cloned().or(named).filter(|authority| !authority.as_str().contains('@'))?;
    let path = request.uri().path_and_query().filter(|path| path.as_str().starts_with('/'))?;
    let port = if port == HTTPS_PORT { String::new() } else { format!(":{port}") };
    HeaderValue::try_from(format!("https://{}{port}{path}", authority.host())).ok()
}

#[cfg(test)]
mod tests {
    use super::{HTTPS_PORT, target};
    use http::Request;

    fn location(uri: &str, host: &str, port: u16) -> Option<String> {
        let request = Request::builder().uri(uri).header("host", host).body(()).unwrap();
        target(&request, port).map(|location| location.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_same_url_under_https() {
        let url = |url: &str| Some(url.to_owned());
        assert_eq!(location("/a?b=c", "shop.example", HTTPS_PORT), url("https://shop.example/a?b=c"));
        assert_eq!(location("/", "shop.example:80", 8443), url("https://shop.example:8443/"));
        assert_eq!(location("/", "[::1]:80", HTTPS_PORT), url("https://[::1]/"));
        assert_eq!(location("http://shop.example/a", "other.example", HTTPS_PORT), url("https://shop.example/a"));
        for host in ["", "a b", "evil@shop.example", "shop.example/path"] {
            assert_eq!(location("/", host, HTTPS_PORT), None, "{host}");
        }
        assert_eq!(location("*", "shop.example", HTTPS_PORT), None);
    }
}
