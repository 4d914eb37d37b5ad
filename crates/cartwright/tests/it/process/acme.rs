//! Certificates from an ACME directory: one that is small, but looks at what it is sent as a real one does (RFC 8555), and goes
//! to the server to see whether the name is its own (RFC 8737).

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::CertificateSigningRequestParams;
use ring::digest::{SHA256, digest};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use rustls::crypto::ring as provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::certificates::Authority;
use super::harness::{Server, connect, eventually};

const DOMAIN: &str = "shop.example.com";
const TOKEN: &str = "a-token";
/// The client asks whether the challenge was met a second after it has met it.
const CERTIFIED_WITHIN: Duration = Duration::from_secs(20);
/// The extension of RFC 8737, id-pe-acmeIdentifier, as it is in a certificate.
const ACME_IDENTIFIER: &[u8] = &[0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x1f];

/// What the directory knows.
struct Directory {
    url: String,
    authority: Authority,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    nonces: HashSet<String>,
    issued_nonces: usize,
    account_key: Option<Value>,
    /// Where the domain leads to.
    server: Option<SocketAddr>,
    is_valid: bool,
    certificate: Option<String>,
    orders: usize,
}

impl Directory {
    /// Starts a directory at a URL of its own.
    fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let directory = Arc::new(Directory { url, authority: Authority::new(), state: Mutex::default() });
        let (cert, key) = directory.authority.certify();
        let chain = CertificateDer::pem_slice_iter(cert.as_bytes()).map(Result::unwrap).collect();
        let builder = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let config = Arc::new(builder.with_single_cert(chain, key).unwrap());
        std::thread::spawn({
            let directory = Arc::clone(&directory);
            move || {
                for stream in listener.incoming() {
                    let session = ServerConnection::new(Arc::clone(&config)).unwrap();
                    let (directory, stream) = (Arc::clone(&directory), StreamOwned::new(session, stream.unwrap()));
                    std::thread::spawn(move || directory.serve(BufReader::new(stream)));
                }
            }
        });
        directory
    }

    /// Answers one request, if it is one.
    fn serve(&self, mut connection: BufReader<StreamOwned<ServerConnection, TcpStream>>) {
        let mut head = String::new();
        while connection.read_line(&mut head).is_ok_and(|bytes| bytes > 2) {}
        let Some((method, rest)) = head.split_once(' ') else { return };
        let path = rest.split(' ').next().unwrap();
        let header = |line: &str| {
            line.to_ascii_lowercase().strip_prefix("content-length:").map(|length| length.trim().parse::<usize>())
        };
        let mut body = vec![0; head.lines().find_map(header).map_or(0, Result::unwrap)];
        connection.read_exact(&mut body).unwrap();
        let (status, location, answer) = match (method, path) {
            ("GET", "/directory") => {
                let at = |path: &str| format!("{}{path}", self.url);
                let all = json!({"newNonce": at("/nonce"), "newAccount": at("/account"), "newOrder": at("/orders")});
                (200, None, all.to_string())
            }
            ("HEAD", "/nonce") => (200, None, String::new()),
            ("POST", _) => self.post(path, &serde_json::from_slice(&body).unwrap()),
            _ => panic!("{head}"),
        };
        let mut state = self.state.lock().unwrap();
        state.issued_nonces += 1;
        let nonce = format!("nonce-{}", state.issued_nonces);
        state.nonces.insert(nonce.clone());
        let location = location.map(|path| format!("location: {}{path}\r\n", self.url)).unwrap_or_default();
        let length = answer.len();
        let head =
            format!("HTTP/1.1 {status} OK\r\nreplay-nonce: {nonce}\r\n{location}content-length: {length}\r\n\r\n");
        connection.get_mut().write_all((head + &answer).as_bytes()).unwrap();
        connection.get_mut().conn.send_close_notify();
        let _ = connection.get_mut().flush();
    }

    /// What comes of a signed request.
    fn post(&self, path: &str, jws: &Value) -> (u16, Option<&str>, String) {
        let payload = self.verified(path, jws);
        let mut state = self.state.lock().unwrap();
        let at = |path: &str| format!("{}{path}", self.url);
        let identifier = json!({"type": "dns", "value": DOMAIN});
        let mut order = json!({"status": "pending", "identifiers": [identifier],
            "authorizations": [at("/authorization")], "finalize": at("/finalize")});
        match path {
            "/account" => {
                assert_eq!(payload["contact"], json!(["mailto:ann@example.com"]));
                (201, Some("/accounts/1"), json!({"status": "valid"}).to_string())
            }
            "/orders" => {
                assert_eq!(payload["identifiers"], json!([identifier]));
                state.orders += 1;
                (201, Some("/orders/1"), order.to_string())
            }
            "/authorization" => {
                let status = if state.is_valid { "valid" } else { "pending" };
                let challenges = json!([{"type": "http-01", "url": at("/no"), "token": "no", "status": status},
                    {"type": "tls-alpn-01", "url": at("/challenge"), "token": TOKEN, "status": status}]);
                (200, None, json!({"status": status, "identifier": identifier, "challenges": challenges}).to_string())
            }
            "/challenge" => {
                let key = state.account_key.clone().unwrap();
                state.is_valid = is_met(state.server.unwrap(), &key);
                assert!(state.is_valid, "the challenge is met");
                (200, None, json!({"type": "tls-alpn-01", "url": at(path), "token": TOKEN}).to_string())
            }
            "/orders/1" => {
                order["status"] = "ready".into();
                (200, None, order.to_string())
            }
            "/finalize" => {
                let csr = URL_SAFE_NO_PAD.decode(payload["csr"].as_str().unwrap()).unwrap();
                let csr = CertificateSigningRequestParams::from_der(&csr.into()).unwrap();
                state.certificate = Some(self.authority.sign(csr.params, &csr.public_key));
                order["status"] = "valid".into();
                order["certificate"] = at("/certificate").into();
                (200, None, order.to_string())
            }
            "/certificate" => (200, None, state.certificate.clone().unwrap()),
            _ => panic!("{path}"),
        }
    }

    /// The payload of a request, which is signed by the account, for this URL, and new.
    fn verified(&self, path: &str, jws: &Value) -> Value {
        let text = |name: &str| jws[name].as_str().unwrap();
        let decoded = |name: &str| URL_SAFE_NO_PAD.decode(text(name)).unwrap();
        let protected: Value = serde_json::from_slice(&decoded("protected")).unwrap();
        assert_eq!(protected["url"], format!("{}{path}", self.url));
        let mut state = self.state.lock().unwrap();
        assert!(state.nonces.remove(protected["nonce"].as_str().unwrap()), "a nonce counts once");
        if path == "/account" {
            state.account_key = Some(protected["jwk"].clone());
        } else {
            assert_eq!(protected["kid"], format!("{}/accounts/1", self.url));
        }
        let key = state.account_key.as_ref().unwrap();
        let point = ["x", "y"].map(|axis| URL_SAFE_NO_PAD.decode(key[axis].as_str().unwrap()).unwrap());
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, [&[4][..], &point[0], &point[1]].concat());
        let signed = format!("{}.{}", text("protected"), text("payload"));
        public.verify(signed.as_bytes(), &decoded("signature")).expect("the account has signed it");
        serde_json::from_slice(&decoded("payload")).unwrap_or(Value::Null)
    }
}

/// Whether the server presents, to who asks for the challenge, a certificate that proves that it knows the account.
fn is_met(server: SocketAddr, key: &Value) -> bool {
    let jwk = format!(r#"{{"crv":{},"kty":{},"x":{},"y":{}}}"#, key["crv"], key["kty"], key["x"], key["y"]);
    let thumbprint = URL_SAFE_NO_PAD.encode(digest(&SHA256, jwk.as_bytes()));
    let expected = digest(&SHA256, format!("{TOKEN}.{thumbprint}").as_bytes());
    let mut config = (*Authority::new().client(&["acme-tls/1"])).clone();
    config.dangerous().set_certificate_verifier(Arc::new(Anything));
    let (_, certificate) = handshake(server, &Arc::new(config)).unwrap();
    let at = certificate.windows(ACME_IDENTIFIER.len()).position(|bytes| bytes == ACME_IDENTIFIER).unwrap();
    let extension = &certificate[at + ACME_IDENTIFIER.len()..];
    extension.windows(32).take(16).any(|bytes| bytes == expected.as_ref())
}

/// Believes every certificate: that of a challenge is looked at by hand.
#[derive(Debug)]
struct Anything;

impl rustls::client::danger::ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.verify_tls12_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        vec![rustls::SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// A connection for the name the certificate is for, and the certificate.
fn handshake(
    server: SocketAddr,
    config: &Arc<ClientConfig>,
) -> std::io::Result<(BufReader<StreamOwned<ClientConnection, TcpStream>>, CertificateDer<'static>)> {
    let mut stream = connect(server)?.into_inner();
    let mut session = ClientConnection::new(Arc::clone(config), ServerName::try_from(DOMAIN).unwrap()).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut stream)?;
    }
    let certificate = session.peer_certificates().unwrap()[0].clone().into_owned();
    Ok((BufReader::new(StreamOwned::new(session, stream)), certificate))
}

#[test]
fn a_certificate_is_got_from_a_directory_and_kept() {
    let (folder, directory) = (TempDir::new().unwrap(), Directory::start());
    let root = folder.path().join("root.pem");
    fs::write(&root, directory.authority.root()).unwrap();
    let url = format!("{}/directory", directory.url);
    let options = ["--acme-domain", DOMAIN, "--acme-contact", "ann@example.com", "--acme-directory", &url];
    let options = [&options[..], &["--acme-directory-ca", root.to_str().unwrap()]].concat();
    let data = folder.path().join("data");
    // It may ask before the test knows where the server is.
    let mut state = directory.state.lock().unwrap();
    let server = Server::start(&data, &options);
    state.server = Some(server.address());
    drop(state);

    let config = directory.authority.client(&["http/1.1"]);
    let (mut connection, first) =
        eventually("a certificate is presented that the root vouches for", CERTIFIED_WITHIN, || {
            handshake(server.address(), &config).ok()
        });
    connection.get_mut().write_all(b"GET /health HTTP/1.1\r\nhost: shop\r\n\r\n").unwrap();
    super::harness::Answer::read(&mut connection).unwrap().expect(200);
    let mode = fs::metadata(data.join("acme")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "the keys are nobody else's business");
    assert_eq!(server.stderr(), "");
    server.stop();

    let server = Server::start(&data, &options);
    let (_, again) =
        eventually("the certificate is there again", CERTIFIED_WITHIN, || handshake(server.address(), &config).ok());
    assert_eq!((again, directory.state.lock().unwrap().orders), (first, 1), "it was kept");
}

#[test]
fn a_directory_that_cannot_be_reached_is_told_and_the_server_goes_on() {
    let folder = TempDir::new().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("https://127.0.0.1:{}/directory", free.port());
    let server = Server::start(folder.path(), &["--acme-domain", DOMAIN, "--acme-directory", &url]);
    eventually("it is told", CERTIFIED_WITHIN, || {
        server.stderr().contains("no certificate yet; trying again").then_some(())
    });
    assert!(handshake(server.address(), &Authority::new().client(&[])).is_err());
    server.stop();
}
