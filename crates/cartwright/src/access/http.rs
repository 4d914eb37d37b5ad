//! Access under `/v1`: parse, call an operation, answer.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ops::{self, NewKey, UsedKey};
use super::trail::{self, AuditFilter};
use super::{AuditEntry, KeyName, Principal, Role};
use crate::app::App;
use crate::error::Result;
use crate::rest::{Items, KeyId, List, NoContent, Params, Put, Reply, Segment, time_in_query};
use crate::values::Username;

/// Who makes the request.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Me {
    /// Whether this server asks for credentials. Where it does not, whoever reaches it may do everything.
    access_control: bool,
    /// What they may do: `anyone`, `customer`, `staff` or `admin`.
    role: &'static str,
    /// The customer they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<Username>,
    /// What their credential is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

/// A new API key.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateKey {
    /// What it is called.
    name: KeyName,
    /// What whoever has it may do.
    role: Role,
    /// The customer they are; required for the role `customer`.
    username: Option<Username>,
    /// When it ceases to be good; without it, when it is revoked.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// An API key, without its secret.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyView {
    /// Its id: also the first part of its text.
    id: String,
    /// What it is called.
    name: KeyName,
    /// What whoever has it may do.
    role: Role,
    /// The customer they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<Username>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it ceases to be good.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// When it was last used, to within an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
}

/// An API key that was just made.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreatedKey {
    #[serde(flatten)]
    view: KeyView,
    /// The key itself. It is told this once; only a hash of it is kept.
    key: String,
    /// Whether this server asks for credentials already. If not, it does from its next start on.
    access_control: bool,
}

impl From<UsedKey> for KeyView {
    fn from(used: UsedKey) -> Self {
        let UsedKey { key, last_used_at } = used;
        KeyView {
            id: key.id.clone(),
            name: key.name.clone(),
            role: key.role,
            username: key.username.clone(),
            created_at: key.created_at,
            expires_at: key.expires_at,
            last_used_at,
        }
    }
}

pub(crate) async fn get_me(app: App) -> Reply<200, Me> {
    let (username, name) = match app.principal() {
        Principal::Known(known) => (known.username.clone(), Some(known.name.to_string())),
        Principal::Anonymous | Principal::Operator => (None, None),
    };
    let access_control = app.access.is_required();
    Reply::new(Me { access_control, role: app.principal().role_name(), username, name })
}

/// Takes no `Idempotency-Key`: what is kept under one is the answer, and this one has the secret.
pub(crate) async fn create_key(app: App, Put(body): Put<CreateKey>) -> Result<Reply<201, CreatedKey>> {
    let CreateKey { name, role, username, expires_at } = body;
    let (key, text) = ops::create_key(&app, NewKey { name, role, username, expires_at }).await?;
    let location = format!("/v1/api-keys/{}", key.id);
    let view = UsedKey { key: key.into(), last_used_at: None }.into();
    let access_control = app.access.is_required();
    Ok(Reply::new(CreatedKey { view, key: text, access_control }).location(location))
}

pub(crate) async fn list_keys(app: App, list: List) -> Result<Reply<200, Items<KeyView>>> {
    let listing = ops::list_keys(&app, &list).await?;
    Ok(Reply::page(&list, listing, KeyView::from))
}

pub(crate) async fn get_key(app: App, Segment(id): Segment<KeyId>) -> Result<Reply<200, KeyView>> {
    Ok(Reply::new(ops::get_key(&app, &id.0).await?.into()))
}

pub(crate) async fn revoke_key(app: App, Segment(id): Segment<KeyId>) -> Result<NoContent> {
    ops::revoke_key(&app, &id.0).await?;
    Ok(NoContent)
}

/// Which entries to list.
#[derive(Deserialize, IntoParams)]
pub struct AuditParams {
    /// Only those of this actor: `key:` and the id of an API key, or `user:` and the subject of a token.
    actor: Option<String>,
    /// Only those of this time or later (RFC 3339).
    from: Option<String>,
    /// Only those of this time or earlier (RFC 3339).
    to: Option<String>,
}

pub(crate) async fn list_audit(
    app: App,
    Params(params): Params<AuditParams>,
    list: List,
) -> Result<Reply<200, Items<AuditEntry>>> {
    let time = |name: &str, text: Option<String>| text.map(|text| time_in_query(name, &text)).transpose();
    let filter = AuditFilter { actor: params.actor, from: time("?from", params.from)?, to: time("?to", params.to)? };
    let listing = trail::list_audit(&app, &filter, &list).await?;
    Ok(Reply::page(&list, listing, std::sync::Arc::unwrap_or_clone))
}
