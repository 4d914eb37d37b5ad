//! What is said on a WebSocket, in JSON: a client asks, and what comes of it is decided here, without a socket.
//!
//! A [`Session`] is what is known of one socket. It is asked what to do about each message ([`Session::receive`]), and told
//! when that was done. In one home a session lives in the process that has the socket; in another it is a document between two
//! calls of a function.

use serde::{Deserialize, Serialize};

use super::{MAX_TOPIC_BYTES, Told, Topic};
use crate::access::{MAX_TOKEN_BYTES, Role};
use crate::error::Error;

/// Longest message of a client: the longest token, and a little more.
pub const MAX_MESSAGE_BYTES: usize = MAX_TOKEN_BYTES + 256;
/// Topics that one socket may listen to at the same time.
pub const MAX_TOPICS: usize = 20;
/// Credentials that are no good which a client may try on one socket.
const MAX_REFUSED: u32 = 3;

/// What a client asks.
#[derive(Debug, Deserialize)]
#[serde(tag = "action", rename_all = "lowercase", deny_unknown_fields)]
enum Action {
    Authenticate { token: String },
    Subscribe { topic: String, after: Option<u64> },
    Unsubscribe { topic: String },
    Ping {},
}

/// What a client is told.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Message<'a> {
    /// It is known who the client is.
    Authenticated {
        /// What they may do.
        role: Role,
    },
    /// What the topic tells follows from here on.
    Subscribed {
        /// The topic, as the client wrote it.
        topic: &'a str,
        /// The number of the entry after which it follows; absent where entries have none.
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<u64>,
    },
    /// Nothing more follows of it.
    Unsubscribed {
        /// The topic, as the client wrote it.
        topic: &'a str,
    },
    /// Something that a topic tells.
    Event {
        /// The topic, as the client wrote it.
        topic: &'a str,
        /// What it tells.
        #[serde(flatten)]
        told: &'a Told,
    },
    /// The answer to a ping.
    Pong,
    /// What the client asked was not done.
    Error {
        /// Stable, for programs.
        code: &'static str,
        /// For people.
        detail: &'a str,
        /// The topic it is about, as the client wrote it.
        #[serde(skip_serializing_if = "Option::is_none")]
        topic: Option<&'a str>,
    },
}

impl Message<'_> {
    /// Its text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("messages are made of strings, numbers and lists of them")
    }

    /// What is said about an error.
    pub fn error<'a>(error: &'a Error, topic: Option<&'a str>) -> Message<'a> {
        Message::Error { code: error.code(), detail: error.message(), topic }
    }
}

/// What is to be done about a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Say this, and nothing else.
    Say(String),
    /// Find out whose token this is, and say it.
    Authenticate(String),
    /// Find out whether this topic may be listened to; then [`Session::subscribed`].
    Subscribe {
        /// The topic.
        topic: Topic,
        /// As the client wrote it.
        text: String,
        /// The number of the entry to begin after, if not from now on.
        after: Option<u64>,
    },
    /// Stop telling of this topic, and say this.
    Unsubscribe(Topic, String),
}

/// What one socket listens to, and how many credentials on it were no good.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The keys of its topics.
    topics: Vec<String>,
    /// Credentials that were no good.
    #[serde(default)]
    refused: u32,
}

impl Session {
    /// What to do about a message of a client, who has said who they are or need not (`is_known`).
    pub fn receive(&self, message: &str, is_known: bool) -> Step {
        if message.len() > MAX_MESSAGE_BYTES {
            return refuse("message_too_large", &format!("A message has at most {MAX_MESSAGE_BYTES} bytes."), None);
        }
        let action = match serde_json::from_str(message) {
            Ok(action) => action,
            Err(error) => return refuse("invalid_message", &format!("This is no message: {error}."), None),
        };
        match action {
            Action::Ping {} => Step::Say(Message::Pong.to_json()),
            Action::Authenticate { token } => Step::Authenticate(token),
            Action::Subscribe { topic, .. } if !is_known => {
                refuse("unauthenticated", "Say who you are first, with the action authenticate.", Some(&topic))
            }
            Action::Subscribe { topic, after } => self.subscribe(topic, after),
            Action::Unsubscribe { topic } => self.unsubscribe(&topic),
        }
    }

    fn subscribe(&self, text: String, after: Option<u64>) -> Step {
        let topic = match parse(&text) {
            Ok(topic) => topic,
            Err(refused) => return refused,
        };
        if !self.topics.contains(&topic.key()) && self.topics.len() >= MAX_TOPICS {
            let detail = format!("A socket listens to at most {MAX_TOPICS} topics; leave one first.");
            return refuse("too_many_topics", &detail, Some(&text));
        }
        Step::Subscribe { topic, text, after }
    }

    fn unsubscribe(&self, text: &str) -> Step {
        match parse(text) {
            Err(refused) => refused,
            Ok(topic) if self.topics.contains(&topic.key()) => {
                Step::Unsubscribe(topic, Message::Unsubscribed { topic: text }.to_json())
            }
            Ok(_) => refuse("not_subscribed", "You do not listen to this topic.", Some(text)),
        }
    }

    /// A credential was no good. Returns whether it was the last that may be tried: when that is said, the socket is to be closed.
    #[must_use]
    pub fn refused(&mut self) -> bool {
        self.refused += 1;
        self.refused >= MAX_REFUSED
    }

    /// It listens to `topic` now.
    pub fn subscribed(&mut self, topic: &Topic) {
        let key = topic.key();
        if !self.topics.contains(&key) {
            self.topics.push(key);
        }
    }

    /// It listens to `topic` no longer.
    pub fn unsubscribed(&mut self, topic: &Topic) {
        let key = topic.key();
        self.topics.retain(|other| *other != key);
    }

    /// The keys of the topics it listens to.
    pub fn topics(&self) -> &[String] {
        &self.topics
    }
}

/// A topic; or what to say about what is none. It is not repeated to the client when it is longer than a topic can be.
fn parse(text: &str) -> Result<Topic, Step> {
    let said = (text.len() <= MAX_TOPIC_BYTES).then_some(text);
    text.parse::<Topic>().map_err(|error| refuse(error.code(), error.message(), said))
}

fn refuse(code: &'static str, detail: &str, topic: Option<&str>) -> Step {
    Step::Say(Message::Error { code, detail, topic }.to_json())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn said(step: Step) -> Value {
        let Step::Say(text) = step else { panic!("something is to be done: {step:?}") };
        serde_json::from_str(&text).unwrap()
    }

    fn subscribe(topic: &str) -> String {
        json!({"action": "subscribe", "topic": topic}).to_string()
    }

    #[test]
    fn what_is_no_message_is_told_so_and_changes_nothing() {
        let session = Session::default();
        let unknown = r#"{"action":"dance"}"#;
        let extra = r#"{"action":"subscribe","topic":"operators","afer":7}"#;
        let negative = r#"{"action":"subscribe","topic":"operators","after":-1}"#;
        for text in ["", "ping", "[]", "{}", "null", r#"{"action":7}"#, unknown, extra, negative] {
            let said = said(session.receive(text, true));
            assert_eq!((&said["type"], &said["code"]), (&json!("error"), &json!("invalid_message")), "{text}");
        }
        let long = json!({"action": "authenticate", "token": "x".repeat(MAX_MESSAGE_BYTES)}).to_string();
        assert_eq!(said(session.receive(&long, true))["code"], "message_too_large");
        let nested = "[".repeat(MAX_MESSAGE_BYTES);
        assert_eq!(said(session.receive(&nested, true))["code"], "invalid_message");
    }

    #[test]
    fn who_is_not_known_can_say_who_they_are_and_ping() {
        let session = Session::default();
        assert_eq!(said(session.receive(r#"{"action":"ping"}"#, false)), json!({"type": "pong"}));
        let token = session.receive(r#"{"action":"authenticate","token":"cw_1"}"#, false);
        assert_eq!(token, Step::Authenticate("cw_1".into()));
        let refused = said(session.receive(&subscribe("operators"), false));
        assert_eq!((&refused["code"], &refused["topic"]), (&json!("unauthenticated"), &json!("operators")));
    }

    #[test]
    fn a_socket_listens_to_so_many_topics_and_no_more() {
        let mut session = Session::default();
        for at in 0..MAX_TOPICS {
            let Step::Subscribe { topic, after: None, .. } =
                session.receive(&subscribe(&format!("customer:c{at}")), true)
            else {
                panic!("topic {at}")
            };
            session.subscribed(&topic);
            session.subscribed(&topic);
        }
        assert_eq!(said(session.receive(&subscribe("customer:more"), true))["code"], "too_many_topics");
        let again = session.receive(r#"{"action":"subscribe","topic":"customer:C3","after":7}"#, true);
        assert!(matches!(again, Step::Subscribe { after: Some(7), .. }), "one it has may be begun again: {again:?}");
        let leave = json!({"action": "unsubscribe", "topic": "customer:C3"}).to_string();
        let Step::Unsubscribe(topic, text) = session.receive(&leave, true) else { panic!("it listens to that") };
        assert_eq!(text, r#"{"type":"unsubscribed","topic":"customer:C3"}"#);
        session.unsubscribed(&topic);
        assert_eq!(said(session.receive(&leave, true))["code"], "not_subscribed");
        assert!(matches!(session.receive(&subscribe("customer:more"), true), Step::Subscribe { .. }));
    }

    #[test]
    fn so_many_credentials_may_be_tried_on_a_socket_also_by_one_that_is_kept_between() {
        let mut session: Session = serde_json::from_str(r#"{"topics":[]}"#).unwrap();
        for at in 1..=MAX_REFUSED {
            assert_eq!(session.refused(), at == MAX_REFUSED, "after {at}");
            session = serde_json::from_str(&serde_json::to_string(&session).unwrap()).unwrap();
        }
    }

    #[test]
    fn what_is_no_topic_is_refused_and_not_repeated_at_length() {
        let session = Session::default();
        let refused = said(session.receive(&subscribe("nonsense"), true));
        assert_eq!((&refused["code"], &refused["topic"]), (&json!("invalid_topic"), &json!("nonsense")));
        let long = said(session.receive(&subscribe(&"x".repeat(1000)), true));
        assert_eq!((&long["code"], long.get("topic")), (&json!("invalid_topic"), None));
        assert_eq!(said(session.receive(&subscribe("queue:None"), true))["code"], "queue_not_found");
    }
}
