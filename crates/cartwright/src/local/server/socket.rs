//! A WebSocket: frames in, frames out, and the time both may take. What is said is decided by the feed's protocol.
//!
//! A socket is one task. It reads a page of what there is to tell, sends it, and reads the next when the client has taken it;
//! so a slow client costs a page, and is dropped when it takes nothing for a while.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Bytes, Utf8Bytes};

use super::Phase;
use crate::access;
use crate::app::App;
use crate::error::{Error, Kind};
use crate::feed::ops::{self, Following};
use crate::feed::protocol::{MAX_MESSAGE_BYTES, Message, Session, Step};
use crate::feed::{Bell, Opened, Topic};

/// How often a client is asked whether it is still there. One that has said nothing since it was last asked is dropped.
const PING_PERIOD: Duration = Duration::from_secs(30);
/// Time to say who one is, where that is wanted.
const AUTHENTICATION_TIMEOUT: Duration = Duration::from_secs(10);
/// Time in which a client must take a message.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a client to answer that it is told the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Messages a client may send within [`RATE_PERIOD`], pings and pongs among them.
const MAX_MESSAGES: u32 = 100;
const RATE_PERIOD: Duration = Duration::from_secs(10);
/// What is read ahead; each socket has so much.
const READ_BUFFER_BYTES: usize = 4096;
/// What is written ahead before the client has taken it.
const WRITE_BUFFER_BYTES: usize = 64 * 1024;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
struct Times {
    ping: Duration,
    authentication: Duration,
    message: Duration,
}

const TIMES: Times = Times { ping: PING_PERIOD, authentication: AUTHENTICATION_TIMEOUT, message: MESSAGE_TIMEOUT };

/// Serves a WebSocket to its end. On shutdown its client is told that the server goes away.
pub(super) async fn serve<S>(stream: S, opened: Opened, phase: watch::Receiver<Phase>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    serve_within(TIMES, stream, opened, phase).await;
}

async fn serve_within<S>(times: Times, stream: S, opened: Opened, phase: watch::Receiver<Phase>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    let frames = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let now = Instant::now();
    let mut socket = Socket {
        times,
        frames,
        app: opened.app,
        bearer: opened.bearer,
        session: Session::default(),
        followed: Vec::new(),
        bell: Bell::default(),
        opened_at: now,
        heard_at: now,
        pinged_at: now,
        period_began_at: now,
        messages: 0,
    };
    let end = socket.run(phase).await;
    socket.finish(end).await;
}

/// Why a socket ends.
#[derive(Debug)]
enum End {
    /// The client said so, and is answered.
    Closed,
    /// The client is told this.
    Told(CloseCode, &'static str),
    /// The client is gone, or as good as.
    Lost,
}

struct Socket<S> {
    times: Times,
    frames: WebSocketStream<S>,
    app: App,
    /// What proved who the client is.
    bearer: Option<String>,
    session: Session,
    followed: Vec<Followed>,
    bell: Bell,
    opened_at: Instant,
    heard_at: Instant,
    pinged_at: Instant,
    period_began_at: Instant,
    messages: u32,
}

/// A topic that a socket listens to.
struct Followed {
    topic: Topic,
    /// As the client wrote it.
    text: String,
    following: Following,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    async fn run(&mut self, mut phase: watch::Receiver<Phase>) -> End {
        let mut closing = std::pin::pin!(async {
            let _ = phase.wait_for(|phase| *phase == Phase::Closing).await;
        });
        loop {
            let wake_at = self.wake_at();
            let step = tokio::select! {
                () = &mut closing => Err(End::Told(CloseCode::Away, "the server ends; come again")),
                frame = self.frames.next() => self.hear(frame).await,
                () = self.bell.rung() => self.tell().await,
                () = sleep_until(wake_at) => self.look_after().await,
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    /// Ends it, as far as the client is there to be told.
    async fn finish(&mut self, end: End) {
        tracing::debug!(?end, "a socket ends");
        self.followed.clear();
        let told = async {
            if let End::Told(code, reason) = end {
                let reason = Utf8Bytes::from_static(reason);
                let _ = self.frames.close(Some(CloseFrame { code, reason })).await;
            }
            while let Some(Ok(_)) = self.frames.next().await {}
        };
        if !matches!(end, End::Lost) {
            let _ = timeout(CLOSE_TIMEOUT, told).await;
        }
    }

    fn is_known(&self) -> bool {
        self.app.principal().role().is_some()
    }

    /// When there is something to look after even if nothing happens.
    fn wake_at(&self) -> Instant {
        let ping_at = self.pinged_at + self.times.ping;
        if self.is_known() { ping_at } else { ping_at.min(self.opened_at + self.times.authentication) }
    }

    /// Ends with those who have not said who they are, and those who are silent; asks the others whether they are still there.
    async fn look_after(&mut self) -> Result<(), End> {
        if !self.is_known() && self.opened_at.elapsed() >= self.times.authentication {
            return Err(End::Told(CloseCode::Policy, "say who you are within ten seconds"));
        }
        if self.pinged_at.elapsed() < self.times.ping {
            return Ok(());
        }
        // The first time, it was opened but not asked.
        if self.heard_at < self.pinged_at {
            return Err(End::Lost);
        }
        self.pinged_at = Instant::now();
        if let Err(error) = ops::check_again(&self.app, self.bearer.as_deref()).await {
            self.say(Message::error(&error, None).to_json()).await?;
            return Err(End::Told(CloseCode::Policy, "the credential is good no longer"));
        }
        self.send(tungstenite::Message::Ping(Bytes::new())).await
    }

    async fn hear(&mut self, frame: Option<Result<tungstenite::Message, tungstenite::Error>>) -> Result<(), End> {
        let message = match frame {
            None => return Err(End::Lost),
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(end_of(&error)),
        };
        self.heard_at = Instant::now();
        if self.period_began_at.elapsed() >= RATE_PERIOD {
            (self.period_began_at, self.messages) = (self.heard_at, 0);
        }
        self.messages += 1;
        if self.messages > MAX_MESSAGES {
            return Err(End::Told(CloseCode::Policy, "too many messages in a short time"));
        }
        match message {
            tungstenite::Message::Text(text) => self.answer(&text).await,
            tungstenite::Message::Binary(_) => Err(End::Told(CloseCode::Unsupported, "messages are text")),
            tungstenite::Message::Close(_) => Err(End::Closed),
            // What answers a ping is written by the frames' own code.
            _ => Ok(()),
        }
    }

    async fn answer(&mut self, text: &str) -> Result<(), End> {
        match self.session.receive(text, self.is_known()) {
            Step::Say(text) => self.say(text).await,
            Step::Authenticate(token) => self.authenticate(token).await,
            Step::Subscribe { topic, text, after } => self.subscribe(topic, text, after).await,
            Step::Unsubscribe(topic, text) => {
                self.session.unsubscribed(&topic);
                self.followed.retain(|followed| followed.topic != topic);
                self.say(text).await
            }
        }
    }

    /// Who has said who they are can say so again, with a newer token; nobody becomes somebody else.
    async fn authenticate(&mut self, token: String) -> Result<(), End> {
        let principal = match access::authenticate(&self.app, &token).await {
            Ok(principal) => principal,
            Err(error) => {
                self.say(Message::error(&error, None).to_json()).await?;
                // That a credential cannot be looked at now says nothing of it.
                let is_last = error.kind() == Kind::Unauthenticated && self.session.refused();
                return if is_last { Err(End::Told(CloseCode::Policy, "no credential was good")) } else { Ok(()) };
            }
        };
        if self.is_known() && !ops::is_same(self.app.principal(), &principal) {
            let detail = "This socket is somebody else's; open another.";
            return self.say(Message::Error { code: "already_authenticated", detail, topic: None }.to_json()).await;
        }
        let said = principal.role().map(|role| Message::Authenticated { role }.to_json());
        self.app = self.app.for_principal(principal);
        self.bearer = Some(token);
        self.say(said.unwrap_or_default()).await
    }

    async fn subscribe(&mut self, topic: Topic, text: String, after: Option<u64>) -> Result<(), End> {
        match follow(&self.app, &topic, after, &self.bell).await {
            Ok(following) => {
                self.session.subscribed(&topic);
                self.followed.retain(|followed| followed.topic != topic);
                let said = Message::Subscribed { topic: &text, after: following.position() }.to_json();
                self.followed.push(Followed { topic, text, following });
                self.say(said).await?;
                self.bell.ring();
                Ok(())
            }
            Err(error) => self.say(Message::error(&error, Some(&text)).to_json()).await,
        }
    }

    /// Tells a page of what there is on each topic. When there is more, the bell rings again, so that the client is heard
    /// between.
    async fn tell(&mut self) -> Result<(), End> {
        let mut at = 0;
        while let Some(followed) = self.followed.get_mut(at) {
            at += 1;
            let next = match followed.following.next(&self.app).await {
                Ok(next) => next,
                Err(error) => {
                    at -= 1;
                    let Followed { topic, text, .. } = self.followed.swap_remove(at);
                    self.session.unsubscribed(&topic);
                    self.say(Message::error(&error, Some(&text)).to_json()).await?;
                    continue;
                }
            };
            if followed.following.is_behind() {
                self.bell.ring();
            }
            let topic = &followed.text;
            let texts: Vec<String> = next.told.iter().map(|told| Message::Event { topic, told }.to_json()).collect();
            for text in texts {
                self.say(text).await?;
            }
        }
        Ok(())
    }

    async fn say(&mut self, text: String) -> Result<(), End> {
        self.send(tungstenite::Message::text(text)).await
    }

    async fn send(&mut self, message: tungstenite::Message) -> Result<(), End> {
        match timeout(self.times.message, self.frames.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(end_of(&error)),
            Err(_) => Err(End::Lost),
        }
    }
}

async fn follow(app: &App, topic: &Topic, after: Option<u64>, bell: &Bell) -> Result<Following, Error> {
    let source = ops::source_of(app, topic).await?;
    Following::begin(app, source, after, bell).await
}

fn end_of(error: &tungstenite::Error) -> End {
    match error {
        tungstenite::Error::Capacity(_) => End::Told(CloseCode::Size, "the message is too large"),
        tungstenite::Error::Protocol(_) => End::Told(CloseCode::Protocol, "this is not WebSocket"),
        tungstenite::Error::Utf8(_) => End::Told(CloseCode::Invalid, "text is UTF-8"),
        _ => End::Lost,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, OnceLock};

    use tokio::io::{DuplexStream, duplex};
    use tokio::task::JoinHandle;

    use super::*;
    use crate::access::ops::{NewKey, create_key, revoke_key};
    use crate::access::{Access, Principal, Role};
    use crate::app::Ports;
    use crate::config::Config;
    use crate::local::LogNotifier;
    use crate::local::sqlite::SqliteStore;
    use crate::notifications::Channels;
    use crate::system::{SystemClock, SystemIds};
    use crate::telemetry::Telemetry;

    const SOON: Duration = Duration::from_millis(50);
    const LATE: Duration = Duration::from_secs(20);
    const BUFFER_BYTES: usize = 1024;

    struct Setting {
        app: App,
        client: WebSocketStream<DuplexStream>,
        served: JoinHandle<()>,
        _phase: watch::Sender<Phase>,
        _folder: tempfile::TempDir,
    }

    impl Setting {
        async fn hear(&mut self) -> tungstenite::Message {
            timeout(LATE, self.client.next()).await.expect("the server says something").unwrap().unwrap()
        }
    }

    async fn open(times: Times, principal: Principal) -> Setting {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path(), Arc::new(SystemClock)).unwrap();
        let app = App::over(Ports {
            store: store.clone(),
            queues: store,
            notifier: Arc::new(LogNotifier),
            channels: Channels::default(),
            live: OnceLock::new(),
            clock: Arc::new(SystemClock),
            ids: Arc::new(SystemIds),
            config: Config::default(),
            access: Access::required(),
            in_flight: Arc::default(),
            telemetry: Telemetry::default(),
        });
        let opened = Opened { app: app.for_principal(principal), bearer: None };
        let (ours, theirs) = duplex(BUFFER_BYTES);
        let phase = watch::Sender::new(Phase::Serving);
        let served = tokio::spawn(serve_within(times, ours, opened, phase.subscribe()));
        let client = WebSocketStream::from_raw_socket(theirs, tungstenite::protocol::Role::Client, None).await;
        Setting { app, client, served, _phase: phase, _folder: folder }
    }

    impl Setting {
        /// A key of this role, and of this customer: its id and its text.
        async fn key(&self, role: Role, username: &str) -> (String, String) {
            let username = (role == Role::Customer).then(|| username.try_into().unwrap());
            let new = NewKey { name: "test".try_into().unwrap(), role, username, expires_at: None };
            let (key, text) = create_key(&self.app.for_principal(Principal::Operator), new).await.unwrap();
            (key.id.to_string(), text)
        }

        async fn ask(&mut self, action: &str, member: &str, value: &str) -> String {
            let message = serde_json::json!({"action": action, member: value}).to_string();
            self.client.send(tungstenite::Message::text(message)).await.unwrap();
            self.hear().await.to_text().unwrap().to_owned()
        }
    }

    fn ping() -> tungstenite::Message {
        tungstenite::Message::text(r#"{"action":"ping"}"#)
    }

    #[tokio::test]
    async fn who_does_not_take_what_is_said_is_dropped() {
        let mut setting = open(Times { message: SOON, ..TIMES }, Principal::Operator).await;
        // Fewer than are too many, and more than the buffer takes the answers of.
        for _ in 0..MAX_MESSAGES {
            if setting.client.send(ping()).await.is_err() {
                break;
            }
        }
        timeout(LATE, setting.served).await.expect("it is dropped").unwrap();
    }

    #[tokio::test]
    async fn a_silent_peer_is_dropped_and_one_that_answers_is_not() {
        let times = Times { ping: SOON, ..TIMES };
        let mut silent = open(times, Principal::Operator).await;
        timeout(LATE, &mut silent.served).await.expect("it is dropped").unwrap();
        let mut setting = open(times, Principal::Operator).await;
        // Each ping that it reads is answered by the frames' own code.
        for _ in 0..5 {
            let read = setting.hear().await;
            assert!(read.is_ping(), "{read:?}");
            setting.client.flush().await.unwrap();
        }
        assert!(!setting.served.is_finished());
    }

    #[tokio::test]
    async fn who_does_not_say_who_they_are_has_only_so_long() {
        let times = Times { authentication: SOON, ..TIMES };
        let told = open(times, Principal::Anonymous).await.hear().await;
        let tungstenite::Message::Close(Some(frame)) = told else { panic!("{told:?}") };
        assert_eq!(frame.code, CloseCode::Policy);
        let mut setting = open(times, Principal::Operator).await;
        assert!(timeout(3 * SOON, setting.client.next()).await.is_err(), "who is known stays");
    }

    #[tokio::test]
    async fn who_tries_three_credentials_that_are_no_good_is_closed() {
        let mut setting = open(TIMES, Principal::Anonymous).await;
        for _ in 0..3 {
            assert!(setting.ask("authenticate", "token", "nonsense").await.contains("unauthenticated"));
        }
        let told = setting.hear().await;
        let tungstenite::Message::Close(Some(frame)) = told else { panic!("{told:?}") };
        assert_eq!(frame.code, CloseCode::Policy);
    }

    #[tokio::test]
    async fn who_is_not_known_hears_nothing() {
        let mut setting = open(TIMES, Principal::Anonymous).await;
        let subscribe = tungstenite::Message::text(r#"{"action":"subscribe","topic":"operators"}"#);
        setting.client.send(subscribe).await.unwrap();
        let said = setting.hear().await;
        assert!(said.to_text().unwrap().contains("unauthenticated"), "{said:?}");
    }

    #[tokio::test]
    async fn a_customer_hears_what_is_their_own_and_nothing_after_their_key_is_revoked() {
        let mut setting = open(Times { ping: SOON, ..TIMES }, Principal::Anonymous).await;
        let (id, ann) = setting.key(Role::Customer, "ann").await;
        let (_, staff) = setting.key(Role::Staff, "").await;
        assert!(setting.ask("authenticate", "token", "cw_nonsense").await.contains("unauthenticated"));
        assert_eq!(setting.ask("authenticate", "token", &ann).await, r#"{"type":"authenticated","role":"customer"}"#);
        assert!(setting.ask("authenticate", "token", &ann).await.contains("authenticated"), "it may be said again");
        assert!(setting.ask("authenticate", "token", &staff).await.contains("already_authenticated"));
        for foreign in ["customer:bob", "operators", "purchases", "queue:OrderQueue"] {
            assert!(setting.ask("subscribe", "topic", foreign).await.contains("forbidden"), "{foreign}");
        }
        assert!(setting.ask("subscribe", "topic", "customer:Ann").await.contains("subscribed"));
        revoke_key(&setting.app.for_principal(Principal::Operator), &id).await.unwrap();
        let end = loop {
            match setting.client.next().await.unwrap().unwrap() {
                tungstenite::Message::Close(end) => break end,
                _ => setting.client.flush().await.unwrap(),
            }
        };
        assert_eq!(end.unwrap().code, CloseCode::Policy);
    }
}
