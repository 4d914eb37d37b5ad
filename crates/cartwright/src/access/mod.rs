//! Access: who asks, and what a route requires of them.
//!
//! Every route of [`api`](crate::api) says in its line what it [`Requires`]. A request is made by a [`Principal`], which an
//! [`App`](crate::app::App) carries for as long as it works for that request.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::values::Username;

/// What a principal may do, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Their own basket, orders, inbox and profile.
    Customer,
    /// The daily work: catalogue, stock, orders, queues of everyone.
    Staff,
    /// Everything, access itself included.
    Admin,
}

/// What a route requires of whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Requires {
    /// Nothing: also for those who have not said who they are.
    Anyone,
    /// A customer, for what is their own; staff and admins, for what is anyone's.
    Customer,
    /// Staff or an admin.
    Staff,
    /// An admin.
    Admin,
}

impl Requires {
    /// What it is, in a sentence.
    pub fn about(self) -> &'static str {
        match self {
            Requires::Anyone => "Open to anyone.",
            Requires::Customer => "For customers, what is their own; for staff and admins, everyone's.",
            Requires::Staff => "For staff and admins.",
            Requires::Admin => "For admins.",
        }
    }
}

/// Who makes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// Somebody who has not said who they are.
    Anonymous,
    /// Whoever is at this machine, where no access control is configured. May do everything.
    Operator,
    /// Somebody whose credential was checked.
    Known(Known),
}

/// Somebody whose credential was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The id of an API key, or the subject of a token: never the secret itself.
    pub id: Arc<str>,
    /// What they may do.
    pub role: Role,
    /// The customer they are, if they are one.
    pub username: Option<Username>,
}

impl Principal {
    /// What they may do; none for somebody who has not said who they are.
    pub fn role(&self) -> Option<Role> {
        match self {
            Principal::Anonymous => None,
            Principal::Operator => Some(Role::Admin),
            Principal::Known(known) => Some(known.role),
        }
    }

    /// Whether what belongs to `owner` may be seen and changed: by the customer themselves, by staff and by admins.
    pub fn may_act_for(&self, owner: &Username) -> bool {
        match self {
            Principal::Anonymous => false,
            Principal::Operator => true,
            Principal::Known(known) => {
                known.role >= Role::Staff || known.username.as_ref().is_some_and(|own| own.key() == owner.key())
            }
        }
    }
}
