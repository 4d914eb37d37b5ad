//! Access: who asks, and what a route requires of them.
//!
//! Every route of [`api`](crate::api) says in its line what it [`Requires`]. A request is made by a [`Principal`], which the
//! application carries for as long as it works for that request. Three things keep it from being forgotten: `guard` runs before
//! each handler, and no handler gets the application past it; nothing is committed in a customer's name before somebody asked
//! whose it is; and no success leaves a route for customers on which nobody did.

mod audit;
mod events;
mod guard;
pub mod http;
mod issuer;
mod keys;
pub mod ops;
mod store;
mod tokens;
mod trail;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Error, Kind, Result};
use crate::values::Username;

pub use audit::{ActionTaken, Actor, AuditEntry};
pub use events::{on_action_taken, on_customer_erased, on_dead_letters_taken};
pub(crate) use guard::{Allowed, Asked, Guarded, Route};
pub use issuer::{Issuer, IssuerSettings, Published};
pub use keys::{ApiKey, KeyName};
pub use ops::{Access, authenticate};
pub(crate) use tokens::MAX_TOKEN_BYTES;
pub(crate) use trail::{actor, note_action};

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

impl Role {
    /// The role called so.
    pub fn named(name: &str) -> Option<Role> {
        [Role::Customer, Role::Staff, Role::Admin].into_iter().find(|role| role.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Role::Customer => "customer",
            Role::Staff => "staff",
            Role::Admin => "admin",
        }
    }
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

    /// The least role that will do; none where nothing is required.
    pub fn least_role(self) -> Option<Role> {
        match self {
            Requires::Anyone => None,
            Requires::Customer => Some(Role::Customer),
            Requires::Staff => Some(Role::Staff),
            Requires::Admin => Some(Role::Admin),
        }
    }

    /// Lets a principal pass, or not.
    ///
    /// # Errors
    /// `unauthenticated` for somebody who has not said who they are, `forbidden` for somebody whose role will not do.
    pub fn check(self, principal: &Principal) -> Result<()> {
        let Some(least) = self.least_role() else { return Ok(()) };
        match principal.role() {
            None => Err(unauthenticated("This takes an API key or a token, in the header Authorization: Bearer.")),
            Some(role) if role < least => {
                let message = format!("This takes the role {}; you have the role {}.", least.name(), role.name());
                Err(Error::new(Kind::Forbidden, "forbidden", message))
            }
            Some(_) => Ok(()),
        }
    }
}

/// Who makes a request.
#[derive(Debug, Clone)]
pub enum Principal {
    /// Somebody who has not said who they are.
    Anonymous,
    /// Whoever is at this machine, where no access control is configured; and the shop itself, when it handles a message. May do
    /// everything.
    Operator,
    /// Somebody whose credential was checked.
    Known(Known),
}

/// Somebody whose credential was checked.
#[derive(Debug, Clone)]
pub struct Known {
    /// `key:` and the id of an API key, or `user:` and the subject of a token: never the secret itself.
    pub id: Arc<str>,
    /// What people call it: the name of the key, or of the user.
    pub name: Arc<str>,
    /// What they may do.
    pub role: Role,
    /// The customer they are, if they are one.
    pub username: Option<Username>,
    /// Whether somebody has found, since the credential was checked, that something is theirs.
    found_theirs: FoundTheirs,
}

/// Shared by all clones of a principal.
#[derive(Clone, Default)]
struct FoundTheirs(Arc<AtomicBool>);

impl fmt::Debug for FoundTheirs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.load(Ordering::Relaxed))
    }
}

impl Known {
    /// Somebody with this id, name and role, and perhaps the name of a customer.
    pub fn new(id: impl Into<Arc<str>>, name: impl Into<Arc<str>>, role: Role, username: Option<Username>) -> Self {
        Known { id: id.into(), name: name.into(), role, username, found_theirs: FoundTheirs::default() }
    }
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

    /// Whether they are staff or an admin.
    pub fn is_staff(&self) -> bool {
        self.role() >= Some(Role::Staff)
    }

    /// Whether what belongs to `owner` may be seen and changed: by the customer themselves, by staff and by admins. A handler of a
    /// route for customers asks this, or [`Principal::must_act_for`], before it answers.
    pub fn may_act_for(&self, owner: &Username) -> bool {
        let Principal::Known(known) = self else { return self.is_staff() };
        let is_theirs = known.username.as_ref().is_some_and(|own| own.key() == owner.key());
        if is_theirs {
            known.found_theirs.0.store(true, Ordering::Relaxed);
        }
        is_theirs || self.is_staff()
    }

    /// As [`Principal::may_act_for`], for what names its owner in the request: that it is there is no secret then.
    ///
    /// # Errors
    /// `forbidden`.
    pub fn must_act_for(&self, owner: &Username) -> Result<()> {
        if self.may_act_for(owner) {
            return Ok(());
        }
        let message = match self {
            Principal::Known(Known { username: Some(own), .. }) => format!("This is not yours: you are {own}."),
            _ => "This is not yours: your credential names no customer.".to_owned(),
        };
        Err(Error::new(Kind::Forbidden, "forbidden", message))
    }

    /// Whether anything may be changed in their name now: staff may change anything, a customer what was found to be theirs.
    ///
    /// # Errors
    /// An internal one: whoever wrote the operation forgot to ask whose it is.
    pub(crate) fn must_be_settled(&self) -> Result<()> {
        match self {
            Principal::Known(known) if known.role == Role::Customer && known.found_theirs.0.load(Ordering::Relaxed) => {
                Ok(())
            }
            _ if self.is_staff() => Ok(()),
            _ => Err(Error::internal("nobody has asked whether this belongs to whoever asks for it")),
        }
    }

    /// Their role, as answers tell it.
    pub fn role_name(&self) -> &'static str {
        self.role().map_or("anyone", Role::name)
    }
}

/// What is answered to somebody who has to say who they are.
pub(crate) fn unauthenticated(message: impl Into<String>) -> Error {
    Error::new(Kind::Unauthenticated, "unauthenticated", message)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn known(role: Role, username: Option<&str>) -> Principal {
        Principal::Known(Known::new("key:1", "test", role, username.map(|name| name.try_into().unwrap())))
    }

    #[test]
    fn a_role_is_found_by_its_name_and_by_no_other() {
        for role in [Role::Customer, Role::Staff, Role::Admin] {
            assert_eq!(Role::named(role.name()), Some(role));
        }
        for name in ["", "Admin", "owner"] {
            assert_eq!(Role::named(name), None, "{name}");
        }
    }

    #[test]
    fn what_a_route_requires_is_told_in_a_sentence_of_its_own() {
        let all = [Requires::Anyone, Requires::Customer, Requires::Staff, Requires::Admin];
        let told = BTreeSet::from(all.map(Requires::about));
        assert_eq!(told.len(), all.len(), "{told:?}");
        assert!(told.iter().all(|sentence| sentence.ends_with('.')), "{told:?}");
    }

    #[test]
    fn each_role_passes_where_it_will_do_and_nowhere_else() {
        let everyone = [
            Principal::Anonymous,
            known(Role::Customer, None),
            known(Role::Staff, None),
            known(Role::Admin, None),
            Principal::Operator,
        ];
        let expected = [
            (Requires::Anyone, ["", "", "", "", ""]),
            (Requires::Customer, ["unauthenticated", "", "", "", ""]),
            (Requires::Staff, ["unauthenticated", "forbidden", "", "", ""]),
            (Requires::Admin, ["unauthenticated", "forbidden", "forbidden", "", ""]),
        ];
        for (requires, codes) in expected {
            let found = everyone.each_ref().map(|who| requires.check(who).map_or_else(|error| error.code(), |()| ""));
            assert_eq!(found, codes, "{requires:?}");
        }
    }

    #[test]
    fn a_customer_acts_for_themselves_and_is_settled_only_then() {
        let (own, other) = ("Ann".try_into().unwrap(), "bob".try_into().unwrap());
        let ann = known(Role::Customer, Some("ann"));
        assert!(!ann.may_act_for(&other));
        assert_eq!(ann.must_act_for(&other).unwrap_err().code(), "forbidden");
        assert!(ann.clone().must_be_settled().is_err());
        assert!(ann.clone().may_act_for(&own), "names are the same in any case");
        assert!(ann.must_be_settled().is_ok());
        assert!(!known(Role::Customer, None).may_act_for(&own));
        assert!(!Principal::Anonymous.may_act_for(&own));
        assert!(Principal::Anonymous.must_be_settled().is_err());
        for staff in [known(Role::Staff, None), known(Role::Admin, Some("ann")), Principal::Operator] {
            assert!(staff.must_be_settled().is_ok() && staff.may_act_for(&own) && staff.may_act_for(&other));
        }
    }

    #[test]
    fn whoever_reaches_for_what_is_anothers_is_told_whom_their_credential_names() {
        let bob: Username = "bob".try_into().unwrap();
        let told = |who: Principal| who.must_act_for(&bob).unwrap_err().message().to_owned();
        assert!(told(known(Role::Customer, Some("ann"))).contains("you are ann"));
        assert!(told(known(Role::Customer, None)).contains("names no customer"));
    }
}
