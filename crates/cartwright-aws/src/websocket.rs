//! WebSockets on AWS. API Gateway has the sockets, and runs a function when one opens, says something or closes; what is known
//! of one in between is a document. What is said on it is decided by the feed's protocol, as in every home.
//!
//! ```text
//! CONNECTION#<id>    HEAD    what the socket listens to, and whose it is
//! LISTENERS#<topic>  <id>    that it listens to the topic
//! ```
//!
//! A socket listens before it is told what is there already, so it misses nothing; what happens just then it may hear twice.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws_sdk_apigatewaymanagement::Client;
use aws_sdk_apigatewaymanagement::config::Builder;
use aws_sdk_apigatewaymanagement::error::DisplayErrorContext;
use aws_sdk_apigatewaymanagement::primitives::Blob;
use aws_types::SdkConfig;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use cartwright::access::{self, Known, Principal, Role};
use cartwright::app::App;
use cartwright::error::{Error, Kind, Result};
use cartwright::feed::ops::{self, Following};
use cartwright::feed::protocol::{Message, Session, Step};
use cartwright::feed::{Bell, Hub, Live, News, Told, Topic, topics_of};
use cartwright::notifications::InboxItem;
use cartwright::store::{Batch, Change, Expect, Key, MAX_PAGE, Once, Partition, Table, transact};
use cartwright::values::Username;
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// How long what is known of a socket is kept: API Gateway closes each after two hours.
const CONNECTION_KEPT: SignedDuration = SignedDuration::from_mins(130);
/// Sockets that are told something at the same time.
const POSTS_AT_ONCE: usize = 32;
/// What is kept of the time of a function for what comes after telling what was there already.
const TIME_TO_END: Duration = Duration::from_secs(5);

/// What API Gateway hands over.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SocketEvent {
    request_context: SocketContext,
    #[serde(default)]
    headers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    body: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SocketContext {
    event_type: EventType,
    connection_id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum EventType {
    Connect,
    Message,
    Disconnect,
}

/// What API Gateway is answered. Anything but a 200 refuses a socket that is about to open.
#[derive(Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SocketAnswer {
    status_code: u16,
}

/// What is known of a socket.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Connection {
    session: Session,
    /// Whose it is, once they have said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    who: Option<Who>,
}

/// Somebody whose credential was good when they showed it. The credential itself is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Who {
    id: String,
    name: String,
    role: Role,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    username: Option<Username>,
    /// When the token ends that proved it, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

/// That a socket listens to a topic.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Listener {
    /// The topic, as the client wrote it.
    topic: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    who: Option<Who>,
}

impl Who {
    fn of(principal: &Principal, bearer: &str) -> Option<Who> {
        let Principal::Known(known) = principal else { return None };
        let (id, name) = (known.id.to_string(), known.name.to_string());
        Some(Who { id, name, role: known.role, username: known.username.clone(), until: end_of(bearer) })
    }

    /// Whether what proved who they are is still good.
    async fn is_still_good(&self, app: &App) -> Result<bool> {
        match self.until {
            Some(until) => Ok(app.clock.now() < until),
            None => access::ops::is_still_good(app, &self.id).await,
        }
    }

    fn principal(&self) -> Principal {
        Principal::Known(Known::new(self.id.as_str(), self.name.as_str(), self.role, self.username.clone()))
    }
}

/// When a token ends that was found good, by what it says itself. Of an API key its document knows that.
fn end_of(bearer: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Claims {
        exp: i64,
    }
    let claims = BASE64_URL_SAFE_NO_PAD.decode(bearer.split('.').nth(1)?).ok()?;
    let Claims { exp } = serde_json::from_slice(&claims).ok()?;
    Timestamp::from_second(exp).ok()
}

fn connection_key(id: &str) -> Key {
    Key::new(Table::Notifications, format!("CONNECTION#{id}"), "HEAD")
}

fn listeners(topic: &str) -> Partition {
    Partition::new(Table::Notifications, format!("LISTENERS#{topic}"))
}

/// Tells the sockets that API Gateway has; nobody, where there is no API of them.
#[derive(Clone)]
pub struct Sockets {
    client: Option<Client>,
}

/// Whether a socket is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Posted {
    Done,
    Gone,
}

impl Sockets {
    /// Those of the API that is managed at `endpoint`, if there is one.
    pub fn new(config: &SdkConfig, endpoint: Option<&str>) -> Self {
        Sockets { client: endpoint.map(|url| Client::from_conf(Builder::from(config).endpoint_url(url).build())) }
    }

    /// Says something on a socket.
    ///
    /// # Errors
    /// `socket_unavailable`, worth another try.
    async fn post(&self, id: &str, text: String) -> Result<Posted> {
        let Some(client) = &self.client else { return Ok(Posted::Gone) };
        match client.post_to_connection().connection_id(id).data(Blob::new(text)).send().await {
            Ok(_) => Ok(Posted::Done),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_gone_exception()) => Ok(Posted::Gone),
            Err(error) => {
                let error = DisplayErrorContext(&error);
                Err(Error::new(Kind::Unavailable, "socket_unavailable", "The socket cannot be reached now.")
                    .because(error))
            }
        }
    }

    /// Closes a socket. Whether it is closed now.
    async fn close(&self, id: &str) -> bool {
        let Some(client) = &self.client else { return true };
        match client.delete_connection().connection_id(id).send().await {
            Ok(_) => true,
            Err(error) if error.as_service_error().is_some_and(|error| error.is_gone_exception()) => true,
            Err(error) => {
                tracing::warn!(error = %DisplayErrorContext(&error), "a socket could not be closed");
                false
            }
        }
    }

    /// Tells one that listens. Whose credential is good no longer is told so, and no more.
    async fn tell_one(&self, app: &App, id: &str, listener: &Listener, told: &Told, is_good: bool) {
        let outcome = if is_good {
            self.post(id, Message::Event { topic: &listener.topic, told }.to_json()).await
        } else {
            let detail = "Your credential is good no longer.";
            let said = self.post(id, Message::Error { code: "unauthenticated", detail, topic: None }.to_json()).await;
            self.close(id).await;
            said.map(|_| Posted::Gone)
        };
        let outcome = match outcome {
            Ok(Posted::Gone) => forget(app, id).await,
            Ok(Posted::Done) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, topic = listener.topic, "a socket was not told something");
        }
    }

    async fn tell_all(&self, app: &App, topic: &Topic, told: &Told) -> Result<()> {
        let (range, mut after, mut good) = (listeners(&topic.key()).all(), None::<String>, HashMap::new());
        loop {
            let page = app.store.list(&range, after.as_deref(), MAX_PAGE).await?;
            let mut found = Vec::with_capacity(page.docs.len());
            for doc in &page.docs {
                let listener: Listener = doc.parse_owned()?;
                let is_good = match &listener.who {
                    None => !app.access.is_required(),
                    Some(who) => match good.get(&(who.id.clone(), who.until)) {
                        Some(is_good) => *is_good,
                        None => {
                            let is_good = who.is_still_good(app).await?;
                            good.insert((who.id.clone(), who.until), is_good);
                            is_good
                        }
                    },
                };
                found.push((doc.sk.to_string(), listener, is_good));
            }
            for some in found.chunks(POSTS_AT_ONCE) {
                let mut posts = Vec::with_capacity(some.len());
                for (id, listener, is_good) in some {
                    posts.push(self.tell_one(app, id, listener, told, *is_good));
                }
                join_all(posts).await;
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }
}

#[async_trait]
impl Live for Sockets {
    async fn tell(&self, app: &App, news: News<'_>) -> Result<()> {
        if self.client.is_none() {
            return Ok(());
        }
        let (topics, told) = match news {
            News::Entry(inbox, entry) => {
                (topics_of(inbox, entry), Told::Entry(Box::new(InboxItem::of(entry.clone(), 0))))
            }
            News::Purchase(envelope, stored) => {
                (vec![Topic::Purchases], Told::Fact(ops::purchase_fact(envelope, stored)?))
            }
        };
        for topic in &topics {
            self.tell_all(app, topic, &told).await?;
        }
        Ok(())
    }

    fn hub(&self) -> Option<&Hub> {
        None
    }
}

/// Forgets a socket and all it listened to.
async fn forget(app: &App, id: &str) -> Result<()> {
    let key = connection_key(id);
    let Some(doc) = app.store.get(&key).await? else { return Ok(()) };
    let connection: Connection = doc.parse_owned()?;
    let mut batch = Batch::new(Table::Notifications);
    batch.delete(key, Expect::Anything);
    for topic in connection.session.topics() {
        batch.delete(listeners(topic).key(id), Expect::Anything);
    }
    Ok(app.store.commit(batch).await?)
}

/// The function behind the API of WebSockets.
pub struct WebSocket {
    app: App,
    sockets: Sockets,
}

impl WebSocket {
    /// Answers on these sockets.
    pub fn new(app: App, sockets: Sockets) -> Self {
        WebSocket { app, sockets }
    }

    /// Does what an event of a socket asks for, in the time the function has left.
    ///
    /// # Errors
    /// In words, when it could not be done; API Gateway tells the client that something went wrong.
    pub async fn answer(&self, event: SocketEvent, time_left: Duration) -> Result<SocketAnswer, String> {
        let id = &event.request_context.connection_id;
        let done = match event.request_context.event_type {
            EventType::Connect => self.connect(id, event.headers.as_ref()).await,
            EventType::Message => {
                self.hear(id, event.body.as_deref().unwrap_or_default(), time_left.saturating_sub(TIME_TO_END)).await
            }
            EventType::Disconnect => forget(&self.app, id).await,
        };
        match done {
            Ok(()) => Ok(SocketAnswer { status_code: 200 }),
            Err(error) if error.kind() == Kind::Unauthenticated => Ok(SocketAnswer { status_code: 401 }),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn connect(&self, id: &str, headers: Option<&BTreeMap<String, String>>) -> Result<()> {
        let authorization = headers.into_iter().flatten().find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        let mut connection = Connection::default();
        if let Some((_, value)) = authorization {
            let bearer = value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
            let bearer = bearer.map_or("", |(_, bearer)| bearer.trim());
            connection.who = Who::of(&access::authenticate(&self.app, bearer).await?, bearer);
        }
        let mut batch = Batch::new(Table::Notifications);
        let expires_at = self.app.clock.now() + CONNECTION_KEPT;
        batch.put_until(connection_key(id), Expect::Anything, &connection, expires_at)?;
        Ok(self.app.store.commit(batch).await?)
    }

    /// What is known of a socket; and the version of that.
    async fn load(&self, id: &str) -> Result<(Connection, Expect)> {
        match self.app.store.get(&connection_key(id)).await? {
            Some(doc) => Ok((doc.parse_owned()?, Expect::Version(doc.version))),
            None => Ok((Connection::default(), Expect::Absent)),
        }
    }

    /// Changes what is known of a socket; what `change` adds is in the same commit. Returns what it returns.
    async fn change<T: Serialize + DeserializeOwned>(
        &self,
        id: &str,
        change: impl Fn(&mut Connection, &mut Batch) -> Result<T>,
    ) -> Result<T> {
        transact(&self.app, &Once::unkeyed(), Table::Notifications, || async {
            let (mut connection, expect) = self.load(id).await?;
            let mut batch = Batch::new(Table::Notifications);
            let result = change(&mut connection, &mut batch)?;
            let expires_at = self.app.clock.now() + CONNECTION_KEPT;
            batch.put_until(connection_key(id), expect, &connection, expires_at)?;
            Ok(Change { batch, result })
        })
        .await
    }

    async fn say(&self, id: &str, text: String) -> Result<Posted> {
        let posted = self.sockets.post(id, text).await?;
        if posted == Posted::Gone {
            forget(&self.app, id).await?;
        }
        Ok(posted)
    }

    async fn hear(&self, id: &str, text: &str, time: Duration) -> Result<()> {
        let (connection, _) = self.load(id).await?;
        let principal = connection.who.as_ref().map_or_else(|| self.app.access.nobody(), Who::principal);
        let app = self.app.for_principal(principal);
        let said = match connection.session.receive(text, app.principal().role().is_some()) {
            Step::Say(text) => text,
            Step::Authenticate(token) => return self.authenticate(&app, id, &token).await,
            Step::Subscribe { topic, text, after } => {
                return self.subscribe(&app, id, (topic, text, after), connection.who, time).await;
            }
            Step::Unsubscribe(topic, said) => {
                self.change(id, |connection, batch| {
                    connection.session.unsubscribed(&topic);
                    batch.delete(listeners(&topic.key()).key(id), Expect::Anything);
                    Ok(())
                })
                .await?;
                said
            }
        };
        self.say(id, said).await.map(drop)
    }

    /// Who has said who they are can say so again; nobody becomes somebody else. After too many credentials that are no good the
    /// socket is closed.
    async fn authenticate(&self, app: &App, id: &str, token: &str) -> Result<()> {
        let principal = match access::authenticate(app, token).await {
            Ok(principal) => principal,
            Err(error) if error.kind() == Kind::Unauthenticated => {
                let is_last = self.change(id, |connection, _| Ok(connection.session.refused())).await?;
                self.say(id, Message::error(&error, None).to_json()).await?;
                if is_last && self.sockets.close(id).await {
                    forget(&self.app, id).await?;
                }
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if app.principal().role().is_some() && !ops::is_same(app.principal(), &principal) {
            let detail = "This socket is somebody else's; open another.";
            let said = Message::Error { code: "already_authenticated", detail, topic: None };
            return self.say(id, said.to_json()).await.map(drop);
        }
        self.change(id, |connection, _| {
            connection.who = Who::of(&principal, token);
            Ok(())
        })
        .await?;
        let said = principal.role().map(|role| Message::Authenticated { role }.to_json());
        self.say(id, said.unwrap_or_default()).await.map(drop)
    }

    async fn subscribe(
        &self,
        app: &App,
        id: &str,
        (topic, text, after): (Topic, String, Option<u64>),
        who: Option<Who>,
        time: Duration,
    ) -> Result<()> {
        let source = match self.source_of(app, &topic, who.as_ref()).await {
            Ok(source) => source,
            Err(error) if matches!(error.kind(), Kind::Unavailable | Kind::Internal) => return Err(error),
            Err(error) => return self.say(id, Message::error(&error, Some(&text)).to_json()).await.map(drop),
        };
        let listener = Listener { topic: text.clone(), who };
        self.change(id, |connection, batch| {
            connection.session.subscribed(&topic);
            let expires_at = self.app.clock.now() + CONNECTION_KEPT;
            batch.put_until(listeners(&topic.key()).key(id), Expect::Anything, &listener, expires_at)?;
            Ok(())
        })
        .await?;
        let (begun_at, mut following) = (Instant::now(), Following::begin(app, source, after, &Bell::default()).await?);
        let said = Message::Subscribed { topic: &text, after: following.position() }.to_json();
        let mut posted = self.say(id, said).await?;
        while posted == Posted::Done && following.is_behind() {
            for told in &following.next(app).await?.told {
                posted = self.say(id, Message::Event { topic: &text, told }.to_json()).await?;
                if posted == Posted::Gone {
                    return Ok(());
                }
            }
            if begun_at.elapsed() > time {
                let detail = "There is more; subscribe again, after the last entry you have.";
                let said = Message::Error { code: "fell_behind", detail, topic: Some(&text) };
                return self.say(id, said.to_json()).await.map(drop);
            }
        }
        Ok(())
    }

    async fn source_of(&self, app: &App, topic: &Topic, who: Option<&Who>) -> Result<cartwright::feed::Source> {
        if let Some(who) = who
            && !who.is_still_good(&self.app).await?
        {
            return Err(Error::new(Kind::Unauthenticated, "unauthenticated", "Your credential is good no longer."));
        }
        ops::source_of(app, topic).await
    }
}
