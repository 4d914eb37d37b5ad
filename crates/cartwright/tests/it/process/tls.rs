//! TLS: what is spoken, which certificate is presented, and clients that are slow or come in the clear.

use std::fs;
use std::io::{BufRead, Read, Write};
use std::time::{Duration, Instant};

use rustls::ProtocolVersion;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;

use super::certificates::{Authority, Files, TlsConnection, connect_tls, presented};
use super::harness::{Answer, Client, connect, eventually, run};

/// The server looks at its files twice a second, and believes what it sees twice.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(8);

fn get(connection: &mut TlsConnection, path: &str) -> Answer {
    connection.get_mut().write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).unwrap();
    Answer::read(connection).unwrap()
}

#[test]
fn requests_are_answered_over_tls_1_2_and_1_3() {
    let (folder, authority) = (TempDir::new().unwrap(), Authority::new());
    let server = Files::of(&authority, folder.path()).serve(folder.path(), &[]);
    let mut old = (*authority.client(&["http/1.1"])).clone();
    let builder = rustls::ClientConfig::builder_with_provider(old.crypto_provider().clone());
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS12]).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.root().as_bytes()).unwrap()).unwrap();
    old = builder.with_root_certificates(roots).with_no_client_auth();
    for (config, version) in [(authority.client(&[]), ProtocolVersion::TLSv1_3), (old.into(), ProtocolVersion::TLSv1_2)]
    {
        let mut connection = connect_tls(server.address(), &config).unwrap();
        assert_eq!(connection.get_ref().conn.protocol_version(), Some(version));
        for _ in 0..2 {
            let answer = get(&mut connection, "/v1/products");
            assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"));
            assert_eq!(answer.expect(200)["items"].as_array().unwrap().len(), 0);
        }
    }
    let stranger = connect_tls(server.address(), &Authority::new().client(&[])).unwrap_err();
    assert!(stranger.to_string().contains("invalid peer certificate"), "the chain is looked at: {stranger}");
    let plain = super::harness::Server::start(&folder.path().join("plain"), &[]);
    assert_eq!(plain.get("/health").header("strict-transport-security"), None, "only where it holds");
}

#[test]
fn a_new_certificate_is_taken_over_and_a_broken_one_is_not() {
    let (folder, authority) = (TempDir::new().unwrap(), Authority::new());
    let files = Files::of(&authority, folder.path());
    let server = files.serve(folder.path(), &["--header-timeout", "60"]);
    let config = authority.client(&["http/1.1"]);
    let fresh = || connect_tls(server.address(), &config).unwrap();
    let mut first = fresh();
    let is_presented = |cert: &str| presented(&fresh()) == CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();

    let (second, second_key) = authority.certify();
    files.write(&second, &second_key);
    eventually("the new certificate is presented", TAKEN_OVER_WITHIN, || is_presented(&second).then_some(()));

    let (third, third_key) = authority.certify();
    let broken = [
        (third.as_str(), second_key.as_str(), "cannot be used with the key"),
        (third.as_str(), "nonsense", "holds no private key"),
    ];
    for (cert, key, complaint) in broken {
        files.write(cert, key);
        eventually(complaint, TAKEN_OVER_WITHIN, || server.stderr().contains(complaint).then_some(()));
        assert!(is_presented(&second), "{complaint}");
    }
    fs::remove_file(&files.key).unwrap();
    eventually("a missing file is told", TAKEN_OVER_WITHIN, || server.stderr().contains("cannot read").then_some(()));
    assert!(is_presented(&second));
    files.write(&third, &third_key);
    eventually("the mended certificate is presented", TAKEN_OVER_WITHIN, || is_presented(&third).then_some(()));
    assert_eq!(server.stderr().lines().count(), 3, "each complaint once: {}", server.stderr());
    get(&mut first, "/health").expect(200);
}

#[test]
fn plain_requests_are_redirected_and_nothing_else() {
    let (folder, authority) = (TempDir::new().unwrap(), Authority::new());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Files::of(&authority, folder.path()).serve(folder.path(), &["--redirect-listen", &free.to_string()]);
    let port = server.address().port();
    for (method, path) in [("GET", "/v1/products?limit=3"), ("POST", "/v1/products"), ("DELETE", "/")] {
        let answer = Client::new(free, true).request(method, path, None);
        assert_eq!(answer.status, 308, "{answer:?}");
        assert_eq!(answer.header("location"), Some(format!("https://127.0.0.1:{port}{path}").as_str()));
        assert_eq!(answer.header("strict-transport-security"), None);
    }
    let mut no_host = connect(free).unwrap();
    no_host.get_mut().write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(Answer::read(&mut no_host).unwrap().status, 400);
    let clear = Client::new(server.address(), false).request("GET", "/health", None);
    assert_eq!(clear.status, 400, "the port of TLS speaks nothing else: {clear:?}");
}

#[test]
fn handshakes_that_do_not_end_are_given_up_while_others_are_served() {
    const PATIENCE: Duration = Duration::from_secs(1);
    let (folder, authority) = (TempDir::new().unwrap(), Authority::new());
    let server = Files::of(&authority, folder.path()).serve(folder.path(), &["--header-timeout", "1"]);
    let config = authority.client(&[]);
    // What a client begins with: the head of a record that announces more than ever comes.
    let half_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let mut slow = Vec::new();
    for _ in 0..50 {
        for begun in [&b""[..], half_hello] {
            let mut connection = connect(server.address()).unwrap();
            connection.get_mut().write_all(begun).unwrap();
            slow.push(connection);
        }
        // The handshake is done, and then nothing comes.
        let (done, http2) = (connect_tls(server.address(), &config), authority.client(&["h2"]));
        slow.push(into_plain(done.unwrap()));
        slow.push(into_plain(connect_tls(server.address(), &http2).unwrap()));
    }
    let opened_at = Instant::now();
    while opened_at.elapsed() < PATIENCE {
        let asked_at = Instant::now();
        get(&mut connect_tls(server.address(), &config).unwrap(), "/health").expect(200);
        assert!(asked_at.elapsed() < Duration::from_secs(2), "{:?}", asked_at.elapsed());
    }
    for mut connection in slow {
        let _ = connection.read_to_end(&mut Vec::new());
    }
    assert!(opened_at.elapsed() < 5 * PATIENCE, "closed after {:?}", opened_at.elapsed());
}

fn into_plain(connection: TlsConnection) -> std::io::BufReader<std::net::TcpStream> {
    std::io::BufReader::new(connection.into_inner().sock)
}

#[test]
fn what_is_no_tls_is_refused_and_the_server_lives_on() {
    let (folder, authority) = (TempDir::new().unwrap(), Authority::new());
    let server = Files::of(&authority, folder.path()).serve(folder.path(), &[]);
    for garbage in [&b"\x16\x03\x01\xff\xff"[..], b"\0\0\0\0", &[0x16; 70_000], b"hello\r\n\r\n"] {
        let mut connection = connect(server.address()).unwrap();
        let _ = connection.get_mut().write_all(garbage);
        let _ = connection.get_mut().shutdown(std::net::Shutdown::Write);
        let _ = connection.read_line(&mut String::new());
        get(&mut connect_tls(server.address(), &authority.client(&[])).unwrap(), "/health").expect(200);
    }
}

#[test]
fn options_that_cannot_be_used_are_told_in_one_line() {
    let (folder, authority) = (TempDir::new().unwrap(), Authority::new());
    let (data, files) = (folder.path().join("data"), Files::of(&authority, folder.path()));
    let other = Files { cert: folder.path().join("other.pem"), key: folder.path().join("other-key.pem") };
    other.write("nonsense", &authority.certify().1);
    let refused = |options: &[&str], says: &str| {
        let serve = ["serve", "--data", data.to_str().unwrap(), "--listen", "127.0.0.1:0"];
        let output = run(&[&serve, options].concat());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.lines().count(), output.stdout.len()), (Some(1), 1, 0), "{stderr}");
        assert!(stderr.contains(says), "no {says:?} in {stderr}");
        assert!(!data.exists(), "nothing was made");
    };
    let [cert, key, no_cert, other_key] =
        [&files.cert, &files.key, &other.cert, &other.key].map(|file| file.to_str().unwrap());
    refused(&["--tls-cert", cert, "--tls-key", other_key], "belong together");
    refused(&["--tls-cert", no_cert, "--tls-key", key], "holds no certificate");
    refused(&["--tls-cert", cert, "--tls-key", no_cert], "holds no private key");
    refused(&["--tls-cert", "/nowhere.pem", "--tls-key", key], "cannot read /nowhere.pem");
    refused(&["--redirect-listen", "127.0.0.1:0"], "give --tls-cert and --tls-key, or --acme-domain");
    refused(&["--acme-domain", "not a name"], "--acme-domain cannot be \"not a name\"");
    refused(&["--acme-domain", "*.example.com"], "such as shop.example.com");
    refused(&["--acme-domain", "shop.example", "--acme-contact", "me"], "not a mail address");
    refused(&["--acme-domain", "shop.example", "--acme-directory", "http://ca"], "begins with https://");
    for together in [&["--tls-cert", cert][..], &["--tls-cert", cert, "--tls-key", key, "--acme-domain", "a.example"]] {
        assert_eq!(run(&[&["serve"], together].concat()).status.code(), Some(2), "{together:?}");
    }
}
