//! An OpenID Connect issuer whose tokens are taken: where its keys come from, and who its users are here.
//!
//! Its keys are fetched when the first token comes, and again after an hour or when a token names a key that is not known, but not more
//! often than once a minute, so that nobody can make the shop ask for ever. While the issuer cannot be reached, the keys that it had
//! last stay good: tokens expire by themselves.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderMap, Method, Uri};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::tokens::{self, PublicKey, Refusal, Token};
use super::{Known, Role, unauthenticated};
use crate::error::{Error, Kind, Result};
use crate::outbound::{Call, Outbound, Reach};
use crate::values::Username;

/// After this time keys are fetched again, so that one that was withdrawn ceases to be good.
const KEYS_KEPT: SignedDuration = SignedDuration::from_hours(1);
/// Pause between two attempts to fetch keys.
const PAUSE: SignedDuration = SignedDuration::from_secs(60);
/// The same as long as there are none, and nobody can be let in.
const PAUSE_WITHOUT_KEYS: SignedDuration = SignedDuration::from_secs(5);
/// Time for each answer of an issuer: a request waits for it.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer of an issuer.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// Longest subject.
const MAX_SUBJECT_BYTES: usize = 255;

/// Whose tokens are taken, and what is made of them.
#[derive(Debug, Clone)]
pub struct IssuerSettings {
    /// The issuer's URL, to the letter as in its tokens.
    pub url: String,
    /// Whom tokens must be meant for: one of these.
    pub audiences: Vec<String>,
    /// Where its keys are; without it, where the issuer says.
    pub keys_url: Option<String>,
    /// The claims that may hold the user name; the first that is there does. None may be one that users choose themselves.
    pub username_claims: Vec<String>,
    /// The claim with the roles.
    pub roles_claim: String,
}

impl IssuerSettings {
    /// What a settings file leaves out: the subject is the user name, because nothing else is sure to be one user's for ever.
    pub const USERNAME_CLAIM: &'static str = "sub";
    /// The groups of Cognito.
    pub const ROLES_CLAIM: &'static str = "cognito:groups";

    /// # Errors
    /// Which setting cannot be used, and why.
    fn check(&self) -> Result<(), String> {
        for url in [Some(&self.url), self.keys_url.as_ref()].into_iter().flatten() {
            if !is_safe(url) {
                return Err(format!("{url:?} is not a URL that begins with https://"));
            }
        }
        match self.audiences.iter().any(|audience| !audience.is_empty()) {
            true => Ok(()),
            false => Err("an issuer needs an audience: whom its tokens must be meant for".to_owned()),
        }
    }
}

/// Whether nobody on the way can answer in place of a URL.
fn is_safe(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let is_here = uri.host().is_some_and(|host| matches!(host, "localhost" | "127.0.0.1" | "[::1]"));
    uri.host().is_some() && (uri.scheme_str() == Some("https") || uri.scheme_str() == Some("http") && is_here)
}

/// Where what an issuer publishes is fetched from.
#[async_trait]
pub trait Published: Send + Sync + 'static {
    /// What is under `url`.
    ///
    /// # Errors
    /// Why there is nothing, in words.
    async fn fetch(&self, url: &str) -> Result<Vec<u8>, String>;
}

#[async_trait]
impl Published for Outbound {
    async fn fetch(&self, url: &str) -> Result<Vec<u8>, String> {
        let call = Call {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: "".into(),
            timeout: FETCH_TIMEOUT,
            max_answer_bytes: MAX_ANSWER_BYTES,
            reach: Reach::Anywhere,
        };
        let answer = self.send(call).await.map_err(|error| error.to_string())?;
        match (answer.status.as_u16(), answer.is_whole) {
            (200, true) => Ok(answer.body.to_vec()),
            (200, false) => Err(format!("the answer has more than {MAX_ANSWER_BYTES} bytes")),
            (status, _) => Err(format!("the answer has the status {status}")),
        }
    }
}

/// An issuer whose tokens are taken.
pub struct Issuer {
    settings: IssuerSettings,
    published: Arc<dyn Published>,
    keys: Mutex<Option<FetchedKeys>>,
    /// When keys were last asked for; held while that goes on.
    asked_at: tokio::sync::Mutex<Option<Timestamp>>,
}

#[derive(Clone)]
struct FetchedKeys {
    keys: Arc<[PublicKey]>,
    at: Timestamp,
}

impl Issuer {
    /// The issuer of these settings. Nothing is fetched yet.
    ///
    /// # Errors
    /// Which setting cannot be used, and why.
    pub fn new(settings: IssuerSettings, published: Arc<dyn Published>) -> Result<Self, String> {
        settings.check()?;
        Ok(Issuer { settings, published, keys: Mutex::default(), asked_at: tokio::sync::Mutex::default() })
    }

    /// The issuer's URL.
    pub fn url(&self) -> &str {
        &self.settings.url
    }

    /// Whom a token proves.
    ///
    /// # Errors
    /// `unauthenticated` with the reason; `issuer_unavailable` as long as the issuer's keys are not known.
    pub(super) async fn prove(&self, text: &str, now: Timestamp) -> Result<Known> {
        let refused = |why: Refusal| unauthenticated(format!("The token is refused: {why}."));
        let token = Token::parse(text).map_err(refused)?;
        let keys = match self.keys() {
            Some(known) => {
                if now.duration_since(known.at) >= KEYS_KEPT {
                    self.refresh(now, true).await;
                }
                self.keys().unwrap_or(known)
            }
            None => self.first_keys(now).await?,
        };
        let claims = match token.claims(&keys.keys) {
            Err(Refusal::UnknownKey) => {
                self.refresh(now, false).await;
                token.claims(&self.keys().unwrap_or(keys).keys)
            }
            other => other,
        };
        let claims = claims.map_err(refused)?;
        tokens::check(&claims, &self.settings.url, &self.settings.audiences, now).map_err(refused)?;
        self.known(&claims).ok_or_else(|| unauthenticated("The token is refused: it has no subject."))
    }

    fn keys(&self) -> Option<FetchedKeys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn first_keys(&self, now: Timestamp) -> Result<FetchedKeys> {
        self.refresh(now, false).await;
        let message = "Tokens cannot be checked now: the keys of their issuer could not be fetched yet.";
        self.keys().ok_or_else(|| Error::new(Kind::Unavailable, "issuer_unavailable", message))
    }

    /// Fetches the keys, unless that was tried a moment ago. Whoever finds another at it waits for the outcome, or goes on with the keys
    /// there are.
    async fn refresh(&self, now: Timestamp, may_go_on: bool) {
        let mut asked_at = match self.asked_at.try_lock() {
            Ok(asked_at) => asked_at,
            Err(_) if may_go_on => return,
            Err(_) => self.asked_at.lock().await,
        };
        let pause = if self.keys().is_some() { PAUSE } else { PAUSE_WITHOUT_KEYS };
        // A clock that was set back must not keep keys from being fetched.
        if asked_at.is_some_and(|at| now.duration_since(at).abs() < pause) {
            return;
        }
        *asked_at = Some(now);
        match self.fetch().await {
            Ok(keys) => {
                let fetched = FetchedKeys { keys: keys.into(), at: now };
                *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = Some(fetched);
            }
            Err(why) => {
                tracing::warn!(
                    issuer = self.settings.url,
                    why,
                    "the keys of the issuer of tokens could not be fetched"
                );
            }
        }
    }

    async fn fetch(&self) -> Result<Vec<PublicKey>, String> {
        #[derive(Deserialize)]
        struct Configuration {
            issuer: String,
            jwks_uri: String,
        }
        let keys_url = match &self.settings.keys_url {
            Some(url) => url.clone(),
            None => {
                let url = format!("{}/.well-known/openid-configuration", self.settings.url.trim_end_matches('/'));
                let found = self.published.fetch(&url).await.map_err(|why| format!("{url}: {why}"))?;
                let found: Configuration = serde_json::from_slice(&found)
                    .map_err(|error| format!("{url}: it is no configuration: {error}"))?;
                if found.issuer != self.settings.url {
                    return Err(format!("{url}: it is of another issuer, {:?}", found.issuer));
                }
                found.jwks_uri
            }
        };
        if !is_safe(&keys_url) {
            return Err(format!("keys are not fetched from {keys_url:?}: it does not begin with https://"));
        }
        let keys = self.published.fetch(&keys_url).await.map_err(|why| format!("{keys_url}: {why}"))?;
        tokens::read_keys(&keys).map_err(|why| format!("{keys_url}: {why}"))
    }

    /// Who a user of the issuer is here.
    fn known(&self, claims: &Map<String, Value>) -> Option<Known> {
        let subject = claims.get("sub").and_then(Value::as_str);
        let subject = subject.filter(|subject| (1..=MAX_SUBJECT_BYTES).contains(&subject.len()))?;
        let mut names = self.settings.username_claims.iter().filter_map(|name| tokens::claim(claims, name)?.as_str());
        let name = names.next();
        let username = name.and_then(|name| Username::try_from(name).ok());
        let role = role_of(tokens::claim(claims, &self.settings.roles_claim));
        Some(Known::new(format!("user:{subject}"), name.unwrap_or(subject), role, username))
    }
}

/// The greatest role among those that a claim names, in a list or in a text with spaces. Who has none is a customer.
fn role_of(claim: Option<&Value>) -> Role {
    let has = |role: Role| match claim {
        Some(Value::Array(names)) => names.iter().any(|name| name.as_str() == Some(role.name())),
        Some(Value::String(names)) => names.split(' ').any(|name| name == role.name()),
        _ => false,
    };
    [Role::Admin, Role::Staff].into_iter().find(|role| has(*role)).unwrap_or(Role::Customer)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn roles_are_those_that_are_named_and_a_customer_is_who_has_none() {
        let of = |claim: Value| role_of(Some(&claim));
        assert_eq!(of(json!(["staff", "admin"])), Role::Admin);
        assert_eq!(of(json!(["staff"])), Role::Staff);
        assert_eq!(of(json!("email staff openid")), Role::Staff);
        for none in
            [json!([]), json!(["Admin", "administrator"]), json!("administrator"), json!({"admin": true}), json!(true)]
        {
            assert_eq!(of(none.clone()), Role::Customer, "{none}");
        }
        assert_eq!(role_of(None), Role::Customer);
    }

    #[test]
    fn claims_are_found_by_their_name_or_on_the_way_to_them() {
        let claims = json!({"a.b": 1, "a": {"b": 2, "c": {"d": 3}}});
        let claims = claims.as_object().unwrap();
        assert_eq!(tokens::claim(claims, "a.b"), Some(&json!(1)));
        assert_eq!(tokens::claim(claims, "a.c.d"), Some(&json!(3)));
        assert_eq!(tokens::claim(claims, "a.c.x"), None);
    }

    #[test]
    fn only_what_nobody_on_the_way_can_answer_is_asked() {
        for safe in ["https://id.example", "http://127.0.0.1:8080/realms/x", "http://localhost/x"] {
            assert!(is_safe(safe), "{safe}");
        }
        for unsafe_ in ["http://id.example", "http://127.0.0.1.example", "ftp://localhost", "id.example", ""] {
            assert!(!is_safe(unsafe_), "{unsafe_}");
        }
    }
}
