//! Requests to servers elsewhere: the keys of an issuer of tokens, webhooks, what commands of the terminal ask a shop.
//!
//! One connection for one request over HTTP/1.1, with TLS by the public root certificates. Everything is bounded: the time of
//! the whole, the bytes that are read of the answer. A redirect is an answer like any other and is never followed. Where a
//! URL comes from outside, [`Reach::Public`] keeps it away from what only this machine or its network can reach: the host's
//! addresses are judged after they were looked up, and the connection goes to one that was judged.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderMap, HeaderValue, USER_AGENT};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Largest head of an answer.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Addresses of one host that are tried.
const MAX_ADDRESSES: usize = 4;
/// Longest wait for a connection to one of several addresses.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How this client calls itself.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("Cartwright/", env!("CARGO_PKG_VERSION")));

/// Where a request may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Anywhere: for URLs that the operator of this process has set.
    Anywhere,
    /// Only to addresses of the public internet: for URLs that came through the API.
    Public,
}

/// A request to another server.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// The method.
    pub method: Method,
    /// An `https` or `http` URL. Whether the latter will do is for the caller to say.
    pub url: &'a str,
    /// Headers beside those that every request has.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Time for all of it, the lookup of the host's name included.
    pub timeout: Duration,
    /// Most bytes of the answer's body that are read.
    pub max_answer_bytes: usize,
    /// Where it may go.
    pub reach: Reach,
}

/// What another server answered, whatever its status.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, up to the bytes that were wanted.
    pub body: Bytes,
    /// Whether that is all of it.
    pub is_whole: bool,
}

/// Why there is no answer. None says more than whoever set the URL may know.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The URL is none that can be asked.
    #[error("not an https:// or http:// URL with a host and without a user")]
    BadUrl,
    /// The URL leads to an address that is not public.
    #[error("the host leads to {0}, which is not an address of the public internet")]
    NotPublic(IpAddr),
    /// The host has no address.
    #[error("the host has no address: {0}")]
    Unknown(String),
    /// No connection.
    #[error("no connection: {0}")]
    Unreachable(std::io::Error),
    /// No TLS: above all a certificate that is not good for this host.
    #[error("no TLS connection: {0}")]
    Tls(std::io::Error),
    /// The connection broke, or what came is not HTTP.
    #[error("no answer: {0}")]
    Broken(hyper::Error),
    /// It took too long.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
}

/// The client. Cheap to clone.
#[derive(Clone)]
pub struct Outbound {
    tls: TlsConnector,
}

impl Default for Outbound {
    fn default() -> Self {
        Outbound::new([])
    }
}

impl Outbound {
    /// A client that believes the public root certificates, and these beside them.
    pub fn new(extra_roots: impl IntoIterator<Item = rustls::pki_types::CertificateDer<'static>>) -> Self {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        roots.add_parsable_certificates(extra_roots);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("ring has cipher suites for both versions");
        let config = builder.with_root_certificates(roots).with_no_client_auth();
        Outbound { tls: TlsConnector::from(Arc::new(config)) }
    }

    /// Sends one request and reads its answer.
    ///
    /// # Errors
    /// See [`Failure`]. Whether the other side has seen the request is not known then.
    pub async fn send(&self, call: Call<'_>) -> Result<Answer, Failure> {
        let time = call.timeout;
        timeout(time, self.exchange(call)).await.unwrap_or(Err(Failure::TimedOut(time)))
    }

    async fn exchange(&self, call: Call<'_>) -> Result<Answer, Failure> {
        let target = Target::of(call.url)?;
        let stream = connect(&target, call.reach).await?;
        if target.is_encrypted {
            let name = ServerName::try_from(target.host.clone()).map_err(|_| Failure::BadUrl)?;
            let stream = self.tls.connect(name, stream).await.map_err(Failure::Tls)?;
            talk(stream, target, call).await
        } else {
            talk(stream, target, call).await
        }
    }
}

/// A URL, taken apart.
struct Target {
    is_encrypted: bool,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
    /// As the `Host` header has it.
    authority: HeaderValue,
    /// Path and query.
    path: Uri,
}

impl Target {
    fn of(url: &str) -> Result<Self, Failure> {
        let uri: Uri = url.parse().map_err(|_| Failure::BadUrl)?;
        let is_encrypted = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(Failure::BadUrl),
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or(Failure::BadUrl)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(Failure::BadUrl);
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Target {
            is_encrypted,
            host,
            port: uri.port_u16().unwrap_or(if is_encrypted { 443 } else { 80 }),
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| Failure::BadUrl)?,
            path: path.parse().map_err(|_| Failure::BadUrl)?,
        })
    }
}

/// Connects to the first of the host's addresses that can be reached. One address that is not public spoils a host that must
/// be public: whoever gives such an answer is not to be trusted with another.
async fn connect(target: &Target, reach: Reach) -> Result<TcpStream, Failure> {
    let found = lookup_host((target.host.as_str(), target.port)).await;
    let addresses: Vec<SocketAddr> = found.map_err(|error| Failure::Unknown(error.to_string()))?.collect();
    if reach == Reach::Public
        && let Some(address) = addresses.iter().find(|address| !is_public(address.ip()))
    {
        return Err(Failure::NotPublic(address.ip()));
    }
    let mut failure = Failure::Unknown("there is none".to_owned());
    for address in addresses.into_iter().take(MAX_ADDRESSES) {
        failure = match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => Failure::Unreachable(error),
            Err(_) => Failure::Unreachable(std::io::ErrorKind::TimedOut.into()),
        };
    }
    Err(failure)
}

/// One request and its answer on `stream`.
async fn talk<S>(stream: S, target: Target, call: Call<'_>) -> Result<Answer, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut request = Request::new(Full::new(call.body));
    *request.method_mut() = call.method;
    *request.uri_mut() = target.path;
    *request.headers_mut() = call.headers;
    request.headers_mut().insert(HOST, target.authority);
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    request.headers_mut().entry(USER_AGENT).or_insert(AGENT);
    let handshake = http1::Builder::new().max_buf_size(MAX_HEAD_BYTES).handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(Failure::Broken)?;
    // Driven here and nowhere else, so that giving up ends the connection too.
    let answer = async {
        let response = sender.send_request(request).await.map_err(Failure::Broken)?;
        read(response, call.max_answer_bytes).await
    };
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => {
            ended.map_err(Failure::Broken)?;
            answer.await
        }
    }
}

/// Reads an answer, up to `most` bytes of its body.
async fn read(response: http::Response<Incoming>, most: usize) -> Result<Answer, Failure> {
    let (head, mut rest) = response.into_parts();
    let mut body = Vec::new();
    let mut is_whole = true;
    while let Some(frame) = rest.frame().await {
        let Ok(data) = frame.map_err(Failure::Broken)?.into_data() else { continue };
        let room = most - body.len();
        body.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            is_whole = false;
            break;
        }
    }
    Ok(Answer { status: head.status, headers: head.headers, body: body.into(), is_whole })
}

/// Whether an address is one of the public internet, for anyone to reach: by IANA's registries of special addresses.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    let special = match (a, b, c) {
        (0 | 10 | 127, ..) | (224.., ..) => true,
        (100, 64..=127, _) => true, // shared by carriers
        (169, 254, _) => true,      // link-local; the clouds' metadata
        (172, 16..=31, _) | (192, 168, _) => true,
        (192, 0, 0 | 2) | (192, 88, 99) => true,
        (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113) => true,
        _ => false,
    };
    !special
}

fn is_public_v6(v6: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let embedded = || Ipv4Addr::from((u32::from(g) << 16) | u32::from(h));
    match a {
        // NAT64: an IPv4 address, as seen by hosts that have none.
        0x64 if (b, c, d, e, f) == (0xff9b, 0, 0, 0, 0) => is_public_v4(embedded()),
        // Protocol assignments with Teredo in them, documentation, 6to4.
        0x2001 => b >= 0x200 && b != 0xdb8,
        0x2002 => false,
        0x3fff => b >= 0x1000,
        // All else that is given out.
        0x2000..=0x3fff => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_anyone_can_reach_are_public() {
        let is_public = |text: &str| is_public(text.parse().unwrap());
        for public in ["1.1.1.1", "100.63.0.1", "172.32.0.1", "192.0.1.1", "198.20.0.1", "223.255.255.255"] {
            assert!(is_public(public), "{public}");
        }
        for public in ["2606:4700::1111", "2001:4860::8888", "2a00::1", "64:ff9b::101:101", "::ffff:1.1.1.1"] {
            assert!(is_public(public), "{public}");
        }
        for own in ["0.0.0.0", "0.1.2.3", "10.0.0.1", "127.0.0.1", "127.255.0.9", "100.64.0.1", "169.254.169.254"] {
            assert!(!is_public(own), "{own}");
        }
        for own in ["172.16.0.1", "172.31.9.9", "192.168.1.1", "192.0.0.8", "198.18.0.1", "224.0.0.1", "240.0.0.1"] {
            assert!(!is_public(own), "{own}");
        }
        for own in ["255.255.255.255", "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "fe80::1"] {
            assert!(!is_public(own), "{own}");
        }
        for own in ["fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "100::1", "64:ff9b::7f00:1", "64:ff9b:1::1"] {
            assert!(!is_public(own), "{own}");
        }
        for own in ["2001:db8::1", "2001::7f00:1", "2001:10::1", "2002:7f00:1::", "3fff::1", "4000::1"] {
            assert!(!is_public(own), "{own}");
        }
    }

    #[test]
    fn urls_are_taken_apart() {
        let target = Target::of("https://[2001:db8::7]:8443/a/b?c=d").unwrap();
        assert_eq!((target.host.as_str(), target.port, target.is_encrypted), ("2001:db8::7", 8443, true));
        assert_eq!(
            (target.authority.to_str().unwrap(), target.path.to_string().as_str()),
            ("[2001:db8::7]:8443", "/a/b?c=d")
        );
        let target = Target::of("http://shop.example").unwrap();
        assert_eq!((target.port, target.path.to_string().as_str()), (80, "/"));
        for bad in
            ["", "shop.example", "/path", "ftp://shop.example/", "https://", "https://ann@shop.example/", "https:///x"]
        {
            assert!(matches!(Target::of(bad), Err(Failure::BadUrl)), "{bad:?}");
        }
    }
}
