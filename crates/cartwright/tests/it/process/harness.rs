//! The binary in a test's hands, and an HTTP client that knows what it sent when.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long a busy machine may take to start the binary.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How long a client waits for an answer. Longer than anything the server does before it answers.
const ANSWER_PATIENCE: Duration = Duration::from_secs(40);
/// Pause between two looks at something that is awaited.
const POLL_PAUSE: Duration = Duration::from_millis(5);

/// Makes tests wait for each other that have most of the files open that a process may have.
pub(super) fn many_files() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until `check` gives something, and fails the test with `what` after `patience`.
pub(super) fn eventually<T>(what: &str, patience: Duration, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        std::thread::sleep(POLL_PAUSE);
    }
}

/// A command that runs `program` with nothing in its environment that sets options.
pub(super) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for option in [
        "LISTEN",
        "DATA",
        "CURRENCY",
        "LOG",
        "URL",
        "RATE",
        "TLS_CERT",
        "ACME_DOMAIN",
        "TRUSTED_PROXY",
        "ACCESS",
        "KEY",
        "OIDC_ISSUER",
        "OIDC_AUDIENCE",
    ] {
        command.env_remove(format!("CARTWRIGHT_{option}"));
    }
    command
}

/// The binary under test.
pub(super) const BINARY: &str = env!("CARGO_BIN_EXE_cartwright");

/// Lets the binary run to its end, and fails the test when it does not end.
pub(super) fn run(args: &[&str]) -> Output {
    let mut cartwright = command(BINARY);
    cartwright.args(args);
    finish(cartwright)
}

/// As [`run`], for any command.
pub(super) fn finish(mut command: Command) -> Output {
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut ended = Ended(spawned.unwrap());
    // Read from the start: a process that has much to say waits for its reader.
    let (stdout, stderr) = (all_of(ended.0.stdout.take().unwrap()), all_of(ended.0.stderr.take().unwrap()));
    let status = eventually("the process ends", START_PATIENCE, || ended.0.try_wait().unwrap());
    Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

/// Reads `stream` to its end.
fn all_of(mut stream: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all
    })
}

/// A process that is killed when the test fails before it has ended.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running server. Dropping it kills it.
pub(super) struct Server {
    child: Child,
    address: SocketAddr,
    spawned_at: Instant,
    stderr: Arc<Mutex<String>>,
    stdout: Mutex<Receiver<String>>,
}

impl Server {
    /// Starts a server over the data in `folder`, on a free port.
    pub(super) fn start(folder: &Path, extra: &[&str]) -> Server {
        Server::of(command(BINARY), folder, extra)
    }

    /// As [`Server::start`], by a command that runs the binary with the arguments it is given.
    pub(super) fn of(command: Command, folder: &Path, extra: &[&str]) -> Server {
        Server::try_of(command, folder, extra).unwrap_or_else(|why| panic!("the server did not come up {why}"))
    }

    /// As [`Server::of`], where it may refuse to start: what it says then.
    pub(super) fn try_of(mut command: Command, folder: &Path, extra: &[&str]) -> Result<Server, String> {
        let listen = if extra.contains(&"--listen") { &[][..] } else { &["--listen", "127.0.0.1:0"] };
        command.arg("serve").args(listen).arg("--data").arg(folder).args(extra);
        let spawned_at = Instant::now();
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap();
        let said = lines(child.stdout.take().unwrap());
        let (stderr, complaints) = (Arc::default(), child.stderr.take().unwrap());
        let kept: Arc<Mutex<String>> = Arc::clone(&stderr);
        let collector = std::thread::spawn(move || {
            for line in BufReader::new(complaints).lines().map_while(Result::ok) {
                *kept.lock().unwrap() += &(line + "\n");
            }
        });
        match address(&said) {
            Some(address) => Ok(Server { child, address, spawned_at, stderr, stdout: Mutex::new(said) }),
            None => {
                let _ = child.kill();
                let status = child.wait();
                let _ = collector.join();
                Err(format!("({status:?}): {}", stderr.lock().unwrap()))
            }
        }
    }

    /// Memory it has in use, in bytes; none where the system does not tell.
    pub(super) fn resident_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kb| kb * 1024)
    }

    /// When it was spawned.
    pub(super) fn spawned_at(&self) -> Instant {
        self.spawned_at
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it says a line with this in it, after the one on where it listens and before its last at the start.
    pub(super) fn said(&self, part: &str) -> bool {
        let deadline = Instant::now() + START_PATIENCE;
        let stdout = self.stdout.lock().unwrap();
        let next = || stdout.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok();
        std::iter::from_fn(next).take_while(|line| !line.contains("stop with Ctrl-C")).any(|line| line.contains(part))
    }

    /// What it has written on standard error.
    pub(super) fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Ends it with SIGKILL, as a power cut would.
    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, with SIGTERM, and does not wait.
    pub(super) fn terminate(&self) {
        let sent = Command::new("sh").args(["-c", "kill -TERM \"$0\"", &self.pid().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end.
    pub(super) fn wait(&mut self, patience: Duration) -> ExitStatus {
        eventually("the server ends", patience, || self.child.try_wait().unwrap())
    }

    /// Asks it to stop, and waits until it has.
    pub(super) fn stop(mut self) {
        self.terminate();
        let status = self.wait(START_PATIENCE);
        assert!(status.success(), "{status}: {}", self.stderr());
    }

    /// A client with a connection of its own.
    pub(super) fn client(&self) -> Client {
        Client::new(self.address, true)
    }

    pub(super) fn get(&self, path: &str) -> Answer {
        self.client().request("GET", path, None)
    }

    /// Everything a `/v1` list has, page by page.
    pub(super) fn all(&self, path: &str) -> Vec<Value> {
        let (mut client, mut all, mut next) = (self.client(), Vec::new(), format!("{path}?limit=100"));
        loop {
            let page = client.request("GET", &next, None).expect(200);
            all.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["nextCursor"].as_str() {
                Some(cursor) => next = format!("{path}?limit=100&cursor={cursor}"),
                None => return all,
            }
        }
    }

    /// Makes a product of which stock is tracked. Returns its id.
    pub(super) fn product(&self, name: &str, stock: i64) -> String {
        let body = json!({"name": name, "price": {"amount": 1_250, "currency": "USD"}, "stock": stock});
        let product = self.client().request("POST", "/v1/products", Some(&body)).expect(201);
        product["id"].as_str().unwrap().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of `stream`, read to its end whoever listens, so that the process never waits for us.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}

/// The address a server says it listens on; `None` when it ends or is silent for too long.
fn address(said: &Receiver<String>) -> Option<SocketAddr> {
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        match said.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if let Some((_, url)) = line.split_once("listening on  ") {
                    return Some(url.split_once("://").unwrap().1.trim().parse().unwrap());
                }
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
        }
    }
}

/// An HTTP/1.1 client: one request after the other.
pub(super) struct Client {
    address: SocketAddr,
    keep_alive: bool,
    connection: Option<BufReader<TcpStream>>,
    credential: Option<String>,
}

/// A request that got no answer.
#[derive(Debug)]
pub(super) struct Lost {
    /// When the last byte of it was handed to the operating system; `None` when it never was.
    pub(super) sent_at: Option<Instant>,
    /// Whether its connection had carried others before.
    pub(super) reused: bool,
    /// What became of it.
    pub(super) why: Error,
}

impl Client {
    /// With one connection for all requests, or with a fresh one for each.
    pub(super) fn new(address: SocketAddr, keep_alive: bool) -> Client {
        Client { address, keep_alive, connection: None, credential: None }
    }

    /// With this credential in each request.
    pub(super) fn with_key(self, key: &str) -> Client {
        Client { credential: Some(key.to_owned()), ..self }
    }

    /// Sends a request that must be answered.
    pub(super) fn request(&mut self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.try_request(method, path, body).unwrap_or_else(|lost| panic!("{method} {path} got no answer: {lost:?}"))
    }

    /// Sends a request that may find the server gone.
    pub(super) fn try_request(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, Lost> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let (address, length) = (self.address, body.len());
        let credential =
            self.credential.as_ref().map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n{credential}content-length: {length}\r\n\r\n"
        );
        let (mut sent_at, reused) = (None, self.connection.is_some());
        let answer = self.exchange((head + &body).as_bytes(), &mut sent_at);
        answer.map_err(|why| Lost { sent_at, reused, why })
    }

    fn exchange(&mut self, request: &[u8], sent_at: &mut Option<Instant>) -> Result<Answer, Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(self.address)?,
        };
        connection.get_mut().write_all(request)?;
        *sent_at = Some(Instant::now());
        let answer = Answer::read(&mut connection)?;
        if self.keep_alive && answer.header("connection") != Some("close") {
            self.connection = Some(connection);
        }
        Ok(answer)
    }
}

/// A connection whose reads end.
pub(super) fn connect(address: SocketAddr) -> Result<BufReader<TcpStream>, Error> {
    let stream = TcpStream::connect_timeout(&address, ANSWER_PATIENCE)?;
    stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}

/// What a server answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    /// Null when there is none or it is not JSON.
    pub(super) body: Value,
}

impl Answer {
    /// Reads one answer, whose length its head tells.
    pub(super) fn read(connection: &mut impl BufRead) -> Result<Answer, Error> {
        let status = line_of(connection)?;
        let status = status.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| Error::new(ErrorKind::InvalidData, "no status line"))?;
        let mut answer = Answer { status, headers: Vec::new(), body: Value::Null };
        loop {
            let line = line_of(connection)?;
            let Some((name, value)) = line.split_once(':') else { break };
            answer.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        connection.read_exact(&mut body)?;
        answer.body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Ok(answer)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The body of an answer that must have this status.
    pub(super) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.body
    }

    /// The code of a problem.
    pub(super) fn code(&self) -> &str {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        self.body["code"].as_str().unwrap_or_else(|| panic!("no code in {self:?}"))
    }
}

/// A line without its end. That the stream is over is an error.
fn line_of(connection: &mut impl BufRead) -> Result<String, Error> {
    let mut line = String::new();
    match connection.read_line(&mut line)? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end().to_owned()),
    }
}
