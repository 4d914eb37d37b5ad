//! Certificates from an ACME directory (RFC 8555), by the challenge TLS-ALPN-01 (RFC 8737), which is answered on the port that
//! TLS is spoken on.

use std::fmt;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use rustls::pki_types::DnsName;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};
use rustls_acme::caches::DirCache;
use rustls_acme::{AcmeConfig, AcmeState, EventOk, ResolvesServerCertAcme, is_tls_alpn_challenge};
use tokio::time::{sleep, timeout};

use super::tls::{TlsError, certificates, provider};

/// The directory of Let's Encrypt.
pub(super) const LETS_ENCRYPT: &str = rustls_acme::acme::LETS_ENCRYPT_PRODUCTION_DIRECTORY;
/// The folder, in the data folder, of the account and of the certificates.
const FOLDER: &str = "acme";
/// When nothing was heard for so long, all begins again, from what is in the folder: an order that a directory does not answer
/// would wait for ever. Longer than the longest pause between two attempts.
const MAX_SILENCE: Duration = Duration::from_secs(24 * 60 * 60);
/// Pause when the folder cannot be made.
const FOLDER_PAUSE: Duration = Duration::from_secs(60);

/// An account with a directory, and the names it is to certify.
pub(super) struct Acme {
    domains: Vec<String>,
    contact: Option<String>,
    directory: String,
    client: Option<Arc<ClientConfig>>,
    folder: PathBuf,
    certificates: Arc<Certificates>,
}

impl Acme {
    /// # Errors
    /// See [`TlsError`].
    pub(super) fn new(
        domains: &[String],
        contact: Option<&str>,
        directory: &str,
        directory_ca: Option<&Path>,
        data: &Path,
    ) -> Result<Self, TlsError> {
        let bad = |option, value: &str, why| TlsError::Acme { option, value: value.to_owned(), why };
        for domain in domains {
            if DnsName::try_from(domain.as_str()).is_err() || !domain.contains('.') {
                return Err(bad("--acme-domain", domain, "it is not a name such as shop.example.com"));
            }
        }
        if let Some(contact) = contact
            && !contact.contains('@')
        {
            return Err(bad("--acme-contact", contact, "it is not a mail address"));
        }
        if !directory.starts_with("https://") {
            return Err(bad("--acme-directory", directory, "it is not a URL that begins with https://"));
        }
        Ok(Acme {
            domains: domains.to_owned(),
            contact: contact.map(|contact| format!("mailto:{contact}")),
            directory: directory.to_owned(),
            client: directory_ca.map(client_config).transpose()?,
            folder: data.join(FOLDER),
            certificates: Arc::default(),
        })
    }

    /// The certificates, as they will be from moment to moment.
    pub(super) fn certificates(&self) -> Arc<Certificates> {
        Arc::clone(&self.certificates)
    }

    /// Gets certificates and renews them, for ever.
    pub(super) async fn keep_up_to_date(&self) {
        loop {
            // It holds the private keys.
            if let Err(error) = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder) {
                tracing::error!(folder = %self.folder.display(), %error, "cannot keep certificates; trying again");
                sleep(FOLDER_PAUSE).await;
                continue;
            }
            let mut state = self.state();
            self.certificates.set_challenges(state.resolver());
            while let Ok(Some(event)) = timeout(MAX_SILENCE, state.next()).await {
                match event {
                    Ok(event @ (EventOk::DeployedCachedCert | EventOk::DeployedNewCert)) => {
                        self.certificates.set_serving(state.resolver());
                        tracing::info!(names = ?self.domains, ?event, "a certificate is in use");
                    }
                    Ok(event) => tracing::debug!(?event, "certificates"),
                    Err(error) => {
                        tracing::error!(names = ?self.domains, directory = self.directory, %error, "no certificate yet; trying again");
                    }
                }
            }
        }
    }

    fn state(&self) -> AcmeState<io::Error> {
        let config = match &self.client {
            Some(client) => AcmeConfig::new_with_client_config(&self.domains, Arc::clone(client)),
            None => AcmeConfig::new_with_provider(&self.domains, provider()),
        };
        config.contact(&self.contact).directory(&self.directory).cache(DirCache::new(self.folder.clone())).state()
    }
}

impl fmt::Display for Acme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "for {} from {}", self.domains.join(", "), self.directory)
    }
}

/// A client that believes the roots in this file, and no others.
fn client_config(ca: &Path) -> Result<Arc<ClientConfig>, TlsError> {
    const OPTION: &str = "--acme-directory-ca";
    let pem =
        std::fs::read(ca).map_err(|source| TlsError::Unreadable { file: ca.to_owned(), option: OPTION, source })?;
    let mut roots = RootCertStore::empty();
    for root in certificates(ca, OPTION, &pem)? {
        let not_pem = |error: rustls::Error| TlsError::NotPem {
            file: ca.to_owned(),
            option: OPTION,
            what: "root",
            why: error.to_string(),
        };
        roots.add(root).map_err(not_pem)?;
    }
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.expect("ring has cipher suites for both versions");
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// What is presented to clients, and to a directory that looks whether a name is ours. They are of different origin only when
/// all began again and the new beginning has no certificate yet.
#[derive(Debug, Default)]
pub(super) struct Certificates(Mutex<Resolvers>);

#[derive(Debug, Default)]
struct Resolvers {
    serving: Option<Arc<ResolvesServerCertAcme>>,
    challenges: Option<Arc<ResolvesServerCertAcme>>,
}

impl Certificates {
    fn set_serving(&self, resolver: Arc<ResolvesServerCertAcme>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).serving = Some(resolver);
    }

    fn set_challenges(&self, resolver: Arc<ResolvesServerCertAcme>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).challenges = Some(resolver);
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let resolvers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let resolver = if is_tls_alpn_challenge(&hello) { &resolvers.challenges } else { &resolvers.serving };
        resolver.clone()?.resolve(hello)
    }
}
