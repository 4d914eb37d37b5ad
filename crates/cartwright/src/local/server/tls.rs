//! TLS: where the certificate comes from, and that it stays the current one.
//!
//! It comes from two files, which are read again when they change, or from an ACME directory (`acme`). Connections that
//! are there are not touched by a new certificate.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{Acceptor, ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_acme::is_tls_alpn_challenge;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::sleep;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::acme::{Acme, LETS_ENCRYPT};

/// The name of HTTP/2 in the handshake.
pub(super) const HTTP_2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";
/// How often the files are looked at. A change counts when it is seen twice, so that nobody uses half of it.
const LOOK_PERIOD: Duration = Duration::from_millis(500);

/// TLS, on the command line.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsOptions {
    /// Speak TLS with the certificate chain in this PEM file, the server's own first. Read again when it changes.
    #[arg(
        long,
        env = "CARTWRIGHT_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key",
        conflicts_with = "acme_domain"
    )]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, in PEM.
    #[arg(long, env = "CARTWRIGHT_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Speak TLS with a certificate for these names, separated by commas, that is got from an ACME directory and renewed in time.
    /// Port 443 of each must lead here. Using it means that you agree to the directory's terms of service.
    #[arg(long, env = "CARTWRIGHT_ACME_DOMAIN", value_name = "NAMES", value_delimiter = ',')]
    acme_domain: Vec<String>,
    /// Mail address the directory may write to.
    #[arg(long, env = "CARTWRIGHT_ACME_CONTACT", value_name = "MAIL", requires = "acme_domain")]
    acme_contact: Option<String>,
    /// The ACME directory.
    #[arg(long, env = "CARTWRIGHT_ACME_DIRECTORY", value_name = "URL", default_value = LETS_ENCRYPT)]
    acme_directory: String,
    /// PEM file of the root certificates by which the directory proves who it is, if it is not a public one.
    #[arg(long, env = "CARTWRIGHT_ACME_DIRECTORY_CA", value_name = "FILE", requires = "acme_domain")]
    acme_directory_ca: Option<PathBuf>,
    /// Also listen here, without TLS, and send every request to the same URL under https.
    #[arg(long, env = "CARTWRIGHT_REDIRECT_LISTEN", value_name = "ADDRESS:PORT")]
    redirect_listen: Option<SocketAddr>,
    /// Port they are sent to, if clients reach this server by another than that of --listen.
    #[arg(long, env = "CARTWRIGHT_REDIRECT_PORT", value_name = "PORT", requires = "redirect_listen")]
    redirect_port: Option<u16>,
}

/// Why there is no TLS. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {file}, which {option} names: {source}")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The option that names it.
        option: &'static str,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{file} holds no {what} ({why}); {option} wants a PEM file that does")]
    NotPem {
        /// The file.
        file: PathBuf,
        /// The option that names it.
        option: &'static str,
        /// What is looked for.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// Certificate and key cannot be used together.
    #[error(
        "the certificate in {cert} cannot be used with the key in {key}: {why}; give --tls-cert and --tls-key that belong together"
    )]
    Unusable {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// An option of ACME cannot be used.
    #[error("{option} cannot be {value:?}: {why}")]
    Acme {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is nothing to redirect to.
    #[error(
        "--redirect-listen sends clients to TLS, and there is none: give --tls-cert and --tls-key, or --acme-domain"
    )]
    NothingToRedirectTo,
}

impl TlsOptions {
    /// TLS as these options want it; none when they do not want it. What ACME has to remember is kept in `data`.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn load(&self, data: &Path) -> Result<Option<Tls>, TlsError> {
        if let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) {
            let files = CertificateFiles::load(cert, key)?;
            let config = server_config(files.clone(), &[HTTP_2, HTTP_1]);
            return Ok(Some(Tls { config, challenge: None, source: Source::Files(files) }));
        }
        if self.acme_domain.is_empty() {
            return if self.redirect_listen.is_some() { Err(TlsError::NothingToRedirectTo) } else { Ok(None) };
        }
        let (contact, directory_ca) = (self.acme_contact.as_deref(), self.acme_directory_ca.as_deref());
        let acme = Acme::new(&self.acme_domain, contact, &self.acme_directory, directory_ca, data)?;
        Ok(Some(Tls {
            config: server_config(acme.certificates(), &[HTTP_2, HTTP_1]),
            challenge: Some(server_config(acme.certificates(), &[rustls_acme::acme::ACME_TLS_ALPN_NAME])),
            source: Source::Acme(acme),
        }))
    }

    /// The address to redirect from, and the port to redirect to, which is that of `listen` if no other is given.
    pub fn redirect(&self, listen: SocketAddr) -> Option<(SocketAddr, u16)> {
        self.redirect_listen.map(|from| (from, self.redirect_port.unwrap_or(listen.port())))
    }
}

/// How connections are encrypted.
pub struct Tls {
    config: Arc<ServerConfig>,
    /// For those by which an ACME directory looks whether the name is ours.
    challenge: Option<Arc<ServerConfig>>,
    source: Source,
}

enum Source {
    Files(Arc<CertificateFiles>),
    Acme(Acme),
}

impl Tls {
    /// Where the certificate comes from, in words.
    pub fn source(&self) -> String {
        match &self.source {
            Source::Files(files) => files.cert.display().to_string(),
            Source::Acme(acme) => acme.to_string(),
        }
    }

    /// Does the handshake on a new connection. None when it was only for a challenge of an ACME directory.
    pub(super) async fn accept<S>(&self, stream: S) -> io::Result<Option<TlsStream<S>>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        match &self.challenge {
            Some(challenge) if is_tls_alpn_challenge(&handshake.client_hello()) => {
                handshake.into_stream(Arc::clone(challenge)).await?.shutdown().await?;
                Ok(None)
            }
            _ => handshake.into_stream(Arc::clone(&self.config)).await.map(Some),
        }
    }

    /// Takes over new certificates, for ever.
    pub(super) async fn keep_up_to_date(&self) {
        match &self.source {
            Source::Files(files) => files.keep_up_to_date().await,
            Source::Acme(acme) => acme.keep_up_to_date().await,
        }
    }
}

/// The one crypto provider.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// TLS 1.2 and 1.3, without early data, because what is in it could be replayed.
fn server_config(certificates: Arc<dyn ResolvesServerCert>, protocols: &[&[u8]]) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.expect("ring has cipher suites for both versions").with_no_client_auth();
    let mut config = builder.with_cert_resolver(certificates);
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config.ticketer = ring::Ticketer::new().expect("the operating system has randomness once it is up");
    Arc::new(config)
}

/// A certificate and its key, from two files.
struct CertificateFiles {
    cert: PathBuf,
    key: PathBuf,
    serving: Mutex<(Content, Arc<CertifiedKey>)>,
}

/// What was found in both files, as far as it matters whether it is the same again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Hash(blake3::Hash),
    Unreadable(io::ErrorKind),
}

impl CertificateFiles {
    fn load(cert: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        let (content, certified) = read(cert, key);
        let serving = Mutex::new((content, Arc::new(certified?)));
        Ok(Arc::new(CertificateFiles { cert: cert.to_owned(), key: key.to_owned(), serving }))
    }

    async fn keep_up_to_date(&self) {
        let (mut seen, _) = self.serving();
        let mut refused = None;
        loop {
            sleep(LOOK_PERIOD).await;
            let (cert, key) = (self.cert.clone(), self.key.clone());
            let Ok((found, certified)) = tokio::task::spawn_blocking(move || read(&cert, &key)).await else { continue };
            let is_settled = found == std::mem::replace(&mut seen, found);
            if !is_settled || found == self.serving().0 || Some(found) == refused {
                continue;
            }
            match certified {
                Ok(certified) => {
                    *self.serving.lock().unwrap_or_else(PoisonError::into_inner) = (found, Arc::new(certified));
                    refused = None;
                    tracing::info!(file = %self.cert.display(), "the certificate has changed; new connections get the new one");
                }
                Err(error) => {
                    refused = Some(found);
                    tracing::error!(%error, "the certificate has changed and cannot be used; the one from before stays in use");
                }
            }
        }
    }

    fn serving(&self) -> (Content, Arc<CertifiedKey>) {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for CertificateFiles {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.serving().1)
    }
}

impl fmt::Debug for CertificateFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateFiles").field("cert", &self.cert).finish_non_exhaustive()
    }
}

fn read(cert: &Path, key: &Path) -> (Content, Result<CertifiedKey, TlsError>) {
    let unreadable = |file: &Path, option, source: io::Error| {
        (Content::Unreadable(source.kind()), Err(TlsError::Unreadable { file: file.to_owned(), option, source }))
    };
    let cert_pem = match std::fs::read(cert) {
        Ok(pem) => pem,
        Err(error) => return unreadable(cert, "--tls-cert", error),
    };
    let key_pem = match std::fs::read(key) {
        Ok(pem) => pem,
        Err(error) => return unreadable(key, "--tls-key", error),
    };
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(cert_pem.len() as u64).to_le_bytes()).update(&cert_pem).update(&key_pem);
    (Content::Hash(hasher.finalize()), certified((cert, &cert_pem), (key, &key_pem)))
}

fn certified((cert, cert_pem): (&Path, &[u8]), (key, key_pem): (&Path, &[u8])) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(cert, "--tls-cert", cert_pem)?;
    let private_key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| TlsError::NotPem {
        file: key.to_owned(),
        option: "--tls-key",
        what: "private key",
        why: error.to_string(),
    })?;
    CertifiedKey::from_der(chain, private_key, &provider()).map_err(|error| TlsError::Unusable {
        cert: cert.to_owned(),
        key: key.to_owned(),
        why: error.to_string(),
    })
}

/// The certificates in a PEM file, of which there must be one.
pub(super) fn certificates(
    file: &Path,
    option: &'static str,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let not_pem = |why: String| TlsError::NotPem { file: file.to_owned(), option, what: "certificate", why };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|error| not_pem(error.to_string()))?;
    if chain.is_empty() { Err(not_pem("it has no section CERTIFICATE".to_owned())) } else { Ok(chain) }
}
