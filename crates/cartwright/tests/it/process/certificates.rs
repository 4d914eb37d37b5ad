//! Certificates made by the test, and clients that believe in them.

use std::fs;
use std::io::{BufReader, Error};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::harness::{Server, connect};

/// The name the certificates are for.
pub(super) const NAME: &str = "localhost";

/// A connection by TLS.
pub(super) type TlsConnection = BufReader<StreamOwned<ClientConnection, TcpStream>>;

/// A root, and an authority below it that signs.
pub(super) struct Authority {
    root: Certificate,
    signer: Certificate,
    signer_key: KeyPair,
}

/// The files a server is given.
pub(super) struct Files {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
}

impl Authority {
    pub(super) fn new() -> Self {
        let (root_key, signer_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let authority = |name: &str| {
            let mut params = CertificateParams::new([]).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        let root = authority("root").self_signed(&root_key).unwrap();
        let signer = authority("signer").signed_by(&signer_key, &root, &root_key).unwrap();
        Authority { root, signer, signer_key }
    }

    /// A new certificate for [`NAME`], with its chain and its key, in PEM.
    pub(super) fn certify(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([NAME.to_owned(), "127.0.0.1".to_owned()]).unwrap();
        (self.sign(params, &key), key.serialize_pem())
    }

    /// A certificate for whoever has this key, with its chain.
    pub(super) fn sign(&self, params: CertificateParams, key: &impl rcgen::PublicKeyData) -> String {
        params.signed_by(key, &self.signer, &self.signer_key).unwrap().pem() + &self.signer.pem()
    }

    /// The root, in PEM.
    pub(super) fn root(&self) -> String {
        self.root.pem()
    }

    /// A client that believes in this root alone, and speaks the protocols that are named.
    pub(super) fn client(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

impl Files {
    /// A new certificate in `folder`.
    pub(super) fn of(authority: &Authority, folder: &Path) -> Self {
        let files = Files { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
        let (cert, key) = authority.certify();
        files.write(&cert, &key);
        files
    }

    pub(super) fn write(&self, cert: &str, key: &str) {
        fs::write(&self.cert, cert).unwrap();
        fs::write(&self.key, key).unwrap();
    }

    /// A server that uses them, with these other options.
    pub(super) fn serve(&self, folder: &Path, extra: &[&str]) -> Server {
        let [cert, key] = [&self.cert, &self.key].map(|file| file.to_str().unwrap());
        Server::start(folder, &[&["--tls-cert", cert, "--tls-key", key], extra].concat())
    }
}

/// A connection whose handshake is done.
pub(super) fn connect_tls(address: SocketAddr, config: &Arc<ClientConfig>) -> Result<TlsConnection, Error> {
    let mut stream = connect(address)?.into_inner();
    let name = ServerName::try_from(NAME).unwrap();
    let mut session = ClientConnection::new(Arc::clone(config), name).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut stream)?;
    }
    Ok(BufReader::new(StreamOwned::new(session, stream)))
}

/// The certificate the server has presented.
pub(super) fn presented(connection: &TlsConnection) -> CertificateDer<'static> {
    connection.get_ref().conn.peer_certificates().unwrap()[0].clone().into_owned()
}
