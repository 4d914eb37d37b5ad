//! Who somebody is, by what they send; and the API keys there are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::keys::{self, ApiKey, KeyName, SECRET_BYTES, Secret};
use super::{Issuer, Principal, Role, store, unauthenticated};
use crate::app::App;
use crate::error::{Error, Kind, Result};
use crate::rest::{List, Listing};
use crate::store::{Batch, Change, Cursor, Doc, Expect, MAX_PAGE, Once, Store, Table, list_merged, transact};
use crate::values::Username;

/// How exactly it is known when a key was last used: a process notes it once in this time, so that a read costs no write.
const USE_NOTED_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// How a shop tells who asks.
#[derive(Default)]
pub struct Access {
    is_required: bool,
    issuer: Option<Issuer>,
    /// When this process last noted that a key is used, by the key's id.
    noted: Mutex<HashMap<String, Timestamp>>,
}

impl Access {
    /// Whoever reaches the shop may do everything: only for what nobody else can reach.
    pub fn open() -> Self {
        Access::default()
    }

    /// Everybody has to say who they are, but for what is open to anyone.
    pub fn required() -> Self {
        Access { is_required: true, ..Access::default() }
    }

    /// Also by tokens of this issuer.
    pub fn trusting(self, issuer: Issuer) -> Self {
        Access { issuer: Some(issuer), ..self }
    }

    /// The issuer whose tokens are taken, if any.
    pub fn issuer(&self) -> Option<&Issuer> {
        self.issuer.as_ref()
    }

    /// Whether anybody has to say who they are.
    pub fn is_required(&self) -> bool {
        self.is_required
    }

    /// Who somebody is that sends nothing.
    pub fn nobody(&self) -> Principal {
        if self.is_required { Principal::Anonymous } else { Principal::Operator }
    }

    /// Whether a use of the key at `now` is to be noted; it counts as noted then.
    fn is_use_to_be_noted(&self, id: &str, now: Timestamp) -> bool {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = noted.get(id).is_none_or(|at| now.duration_since(*at) >= USE_NOTED_EVERY);
        if is_due {
            noted.insert(id.to_owned(), now);
        }
        is_due
    }
}

/// Whom a credential proves, as it follows `Bearer` in a request's `Authorization`. Where no access control is configured that
/// is always the operator.
///
/// # Errors
/// `unauthenticated`, whatever is wrong with it; `issuer_unavailable` when a token cannot be checked now; those of reading.
pub async fn authenticate(app: &App, bearer: &str) -> Result<Principal> {
    if !app.access.is_required() {
        return Ok(Principal::Operator);
    }
    if keys::is_key(bearer) {
        return by_key(app, bearer).await;
    }
    match app.access.issuer() {
        Some(issuer) => issuer.prove(bearer, app.clock.now()).await.map(Principal::Known),
        None => Err(unauthenticated("What follows Bearer is no API key of this shop.")),
    }
}

async fn by_key(app: &App, text: &str) -> Result<Principal> {
    // One answer for all, so that nobody learns which ids there are.
    let refused = || unauthenticated("The API key is none of this shop's, was revoked or has expired.");
    let (id, secret) = keys::parse(text).ok_or_else(refused)?;
    let (key, _) = store::find_key(&*app.store, id).await?.ok_or_else(refused)?;
    let now = app.clock.now();
    let known = key.prove(&secret, now).ok_or_else(refused)?;
    if app.access.is_use_to_be_noted(id, now)
        && let Err(error) = note_use(app, id, now).await
    {
        tracing::warn!(%error, key = id, "it could not be noted that an API key is used");
    }
    Ok(Principal::Known(known))
}

async fn note_use(app: &App, id: &str, now: Timestamp) -> Result<()> {
    let mut batch = Batch::new(Table::Access);
    batch.put(store::use_key(id), Expect::Anything, &Use { at: now })?;
    Ok(app.store.commit(batch).await?)
}

/// When a key was last used.
#[derive(serde::Serialize, serde::Deserialize)]
struct Use {
    at: Timestamp,
}

/// Whether the shop has an API key, be it one that has expired.
///
/// # Errors
/// Those of reading.
pub async fn has_keys(store: &dyn Store) -> Result<bool> {
    Ok(!list_merged(store, &store::keys(), None, 1).await?.docs.is_empty())
}

/// What a new key is to be.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// What it is called.
    pub name: KeyName,
    /// What whoever has it may do.
    pub role: Role,
    /// The customer they are.
    pub username: Option<Username>,
    /// When it ceases to be good.
    pub expires_at: Option<Timestamp>,
}

/// Makes a key. Its text is in the second place, and nowhere else.
///
/// # Errors
/// `invalid_request` for a customer's key that names no customer, and for one that would have expired already.
pub async fn create_key(app: &App, new: NewKey) -> Result<(ApiKey, String)> {
    let now = app.clock.now();
    if new.role == Role::Customer && new.username.is_none() {
        return Err(Error::field("/username", "is required for the role customer"));
    }
    if new.expires_at.is_some_and(|end| end <= now) {
        return Err(Error::field("/expiresAt", "must be later than now"));
    }
    let mut bytes = [0; SECRET_BYTES];
    app.ids.fill(&mut bytes);
    let secret = Secret::new(bytes);
    let key = ApiKey {
        id: app.new_uuid().simple().to_string(),
        name: new.name,
        role: new.role,
        username: new.username,
        created_at: now,
        expires_at: new.expires_at,
        secret_hash: secret.hash().to_hex().to_string(),
    };
    transact(app, &Once::unkeyed(), Table::Access, || async {
        let mut batch = Batch::new(Table::Access);
        batch.put(store::key_key(&key.id), Expect::Absent, &key)?;
        Ok(Change { batch, result: () })
    })
    .await?;
    tracing::info!(id = key.id, role = key.role.name(), "an API key was made");
    let text = secret.key(&key.id);
    Ok((key, text))
}

/// A key, and when it was last used, to within an hour.
#[derive(Debug, Clone)]
pub struct UsedKey {
    /// The key.
    pub key: Arc<ApiKey>,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
}

/// A page of the keys, oldest first.
///
/// # Errors
/// `invalid_request` for a cursor of another list; those of reading.
pub async fn list_keys(app: &App, list: &List) -> Result<Listing<UsedKey>> {
    const SCOPE: &str = "api keys";
    let after = list.after(SCOPE)?;
    let page = list_merged(&*app.store, &store::keys(), after.as_deref(), list.limit()).await?;
    let keys = page.docs.iter().map(Doc::parse::<ApiKey>).collect::<Result<Vec<_>>>()?;
    Ok(Listing { items: with_uses(app, keys).await?, next: page.next.map(|sk| Cursor::new(SCOPE, &sk)) })
}

/// A key.
///
/// # Errors
/// `api_key_not_found`; those of reading.
pub async fn get_key(app: &App, id: &str) -> Result<UsedKey> {
    let (key, _) = store::find_key(&*app.store, id).await?.ok_or_else(no_such_key)?;
    with_uses(app, vec![key]).await?.pop().ok_or_else(no_such_key)
}

async fn with_uses(app: &App, keys: Vec<Arc<ApiKey>>) -> Result<Vec<UsedKey>> {
    let places: Vec<_> = keys.iter().map(|key| store::use_key(&key.id)).collect();
    let uses = if places.is_empty() { Vec::new() } else { app.store.get_many(&places).await? };
    let with_use = |(key, used): (Arc<ApiKey>, Option<Doc>)| {
        let last_used_at = used.map(|doc| doc.parse::<Use>()).transpose()?.map(|used| used.at);
        Ok(UsedKey { key, last_used_at })
    };
    keys.into_iter().zip(uses).map(with_use).collect()
}

/// Whether the API key is still good that proved the [`id`](super::Known::id) of somebody; false when it was no key.
///
/// # Errors
/// Those of reading.
pub async fn is_still_good(app: &App, id: &str) -> Result<bool> {
    let Some(id) = id.strip_prefix("key:") else { return Ok(false) };
    let found = store::find_key(&*app.store, id).await?;
    Ok(found.is_some_and(|(key, _)| key.expires_at.is_none_or(|end| app.clock.now() < end)))
}

/// Revokes a key: the next request that sends it is refused.
///
/// # Errors
/// `api_key_not_found`; those of writing.
pub async fn revoke_key(app: &App, id: &str) -> Result<()> {
    transact(app, &Once::unkeyed(), Table::Access, || async {
        let (_, version) = store::find_key(&*app.store, id).await?.ok_or_else(no_such_key)?;
        let mut batch = Batch::new(Table::Access);
        batch.delete(store::key_key(id), Expect::Version(version));
        batch.delete(store::use_key(id), Expect::Anything);
        Ok(Change { batch, result: () })
    })
    .await?;
    tracing::info!(id, "an API key was revoked");
    Ok(())
}

/// Revokes the keys that name a customer and were made until `at`.
///
/// # Errors
/// Those of the store; what was revoked until then is.
pub(super) async fn discard_keys(app: &App, username: &Username, at: Timestamp) -> Result<()> {
    let mut after: Option<String> = None;
    loop {
        let page = list_merged(&*app.store, &store::keys(), after.as_deref(), MAX_PAGE).await?;
        for doc in &page.docs {
            let key: Arc<ApiKey> = doc.parse()?;
            let is_theirs = key.username.as_ref().is_some_and(|name| name.key() == username.key());
            if is_theirs && key.created_at <= at {
                match revoke_key(app, &key.id).await {
                    Err(error) if error.kind() != Kind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// What is answered about a key that is not there.
pub(crate) fn no_such_key() -> Error {
    Error::not_found("api_key_not_found", "such API key")
}
