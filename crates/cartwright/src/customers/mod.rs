//! Customers: who they are, where they live, and that no two are the same.
//!
//! A user name and an e-mail address belong to one customer at a time, upper and lower case alike. The profile's own key
//! guards the name, a guard document the address; both are written in one commit. Customers share their table with their
//! orders, so that a profile and its newest orders are one read.

pub mod classic;
pub mod http;
pub mod ops;
mod store;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Error, Kind, Result};
use crate::values::{Email, Text, Username};

pub use ops::{find_tombstone, get_customer};
pub use store::{is_profile, profile_key, tombstone_key};

/// A customer's name.
pub type CustomerName = Text<1, 200>;
/// A postal address.
pub type PostalAddress = Text<1, 500>;
/// What a customer calls an address: "home", "work".
pub type AddressLabel = Text<0, 60>;

/// Most addresses of one customer.
pub const MAX_ADDRESSES: usize = 20;

/// A customer as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Customer {
    /// The user name, as it was first typed.
    pub username: Username,
    /// The e-mail address.
    pub email: Email,
    /// The name.
    pub name: CustomerName,
    /// The address book; the first is the one that is used when none is named.
    pub addresses: Vec<Address>,
    /// When the customer was added.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When anything of this last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// One entry of an address book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// Its id within the book.
    pub id: u32,
    /// What the customer calls it.
    pub label: AddressLabel,
    /// The address.
    pub address: PostalAddress,
}

/// What is to change in a customer; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct CustomerPatch {
    /// New e-mail address.
    pub email: Option<Email>,
    /// New name.
    pub name: Option<CustomerName>,
}

/// Event: a customer was erased. Their orders stay, without personal data, under `alias`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CustomerErased {
    /// Who it was.
    pub username: Username,
    /// The name their orders go by from now on.
    pub alias: Username,
    /// When. What someone else does later under the freed name is not theirs.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// What stays of an erased customer: enough to know which orders were theirs until all of them have been cleaned.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tombstone {
    /// The name their orders go by.
    pub alias: Username,
    /// When they were erased.
    pub at: Timestamp,
}

/// The form in which two e-mail addresses are the same.
pub fn email_key(email: &Email) -> String {
    email.as_str().to_lowercase()
}

impl Customer {
    /// Someone new.
    pub fn new(username: Username, email: Email, name: CustomerName, now: Timestamp) -> Customer {
        Customer { username, email, name, addresses: Vec::new(), created_at: now, updated_at: now }
    }

    /// The customer after a change.
    pub fn patched(&self, patch: &CustomerPatch, now: Timestamp) -> Customer {
        let email = patch.email.clone().unwrap_or_else(|| self.email.clone());
        let name = patch.name.clone().unwrap_or_else(|| self.name.clone());
        Customer { email, name, updated_at: now, ..self.clone() }
    }

    /// The customer with one more address, and its id.
    ///
    /// # Errors
    /// `address_book_full` beyond [`MAX_ADDRESSES`].
    pub fn with_address(&self, label: AddressLabel, address: PostalAddress, now: Timestamp) -> Result<(Customer, u32)> {
        if self.addresses.len() >= MAX_ADDRESSES {
            let message = format!("An address book has at most {MAX_ADDRESSES} entries.");
            return Err(Error::new(Kind::Conflict, "address_book_full", message));
        }
        let id = self.addresses.iter().map(|entry| entry.id).max().unwrap_or(0) + 1;
        let mut changed = Customer { updated_at: now, ..self.clone() };
        changed.addresses.push(Address { id, label, address });
        Ok((changed, id))
    }

    /// The customer without an address; `None` when there is no such entry.
    pub fn without_address(&self, id: u32, now: Timestamp) -> Option<Customer> {
        let mut changed = Customer { updated_at: now, ..self.clone() };
        changed.addresses.retain(|entry| entry.id != id);
        (changed.addresses.len() < self.addresses.len()).then_some(changed)
    }

    /// The customer with another first address.
    pub fn with_main_address(&self, address: PostalAddress, now: Timestamp) -> Customer {
        let mut changed = Customer { updated_at: now, ..self.clone() };
        match changed.addresses.first_mut() {
            Some(first) => first.address = address,
            None => changed.addresses.push(Address { id: 1, label: AddressLabel::default(), address }),
        }
        changed
    }
}

/// Refuses a customer whose user name or e-mail address is another's, and says which.
pub fn taken(username: bool, email: bool) -> Result<()> {
    let what = match (username, email) {
        (false, false) => return Ok(()),
        (true, false) => "user name",
        (false, true) => "e-mail address",
        (true, true) => "user name and the e-mail address",
    };
    let message = format!("The {what} is taken.");
    let error = Error::new(Kind::Conflict, "transaction_canceled", message);
    let names = [("username", username), ("email", email)];
    let taken: Vec<&str> = names.iter().filter(|(_, taken)| *taken).map(|(name, _)| *name).collect();
    Err(error.with("taken", taken))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_customer() -> Customer {
        Customer::new(
            "ann".try_into().unwrap(),
            Email::try_from("a@b".to_owned()).unwrap(),
            "Ann".try_into().unwrap(),
            Timestamp::UNIX_EPOCH,
        )
    }

    #[test]
    fn what_changes_of_a_customer_is_kept_with_the_time_it_changed() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let address = |text: &str| PostalAddress::try_from(text).unwrap();
        let ann = new_customer().with_main_address(address("17 Nightingale Lane"), Timestamp::UNIX_EPOCH);
        let patch = CustomerPatch { email: None, name: Some("Anna".try_into().unwrap()) };
        let renamed = ann.patched(&patch, now);
        assert_eq!((renamed.name.as_str(), renamed.email.as_str()), ("Anna", "a@b"));
        for changed in [
            renamed,
            ann.with_address(AddressLabel::default(), address("3 Hidden Mews"), now).unwrap().0,
            ann.without_address(1, now).unwrap(),
            ann.with_main_address(address("3 Hidden Mews"), now),
        ] {
            assert_eq!((changed.created_at, changed.updated_at), (ann.created_at, now), "{changed:?}");
        }
    }

    #[test]
    fn an_address_book_is_kept_in_order_and_bounded() {
        let now = Timestamp::UNIX_EPOCH;
        let mut ann = new_customer();
        for n in 1..=MAX_ADDRESSES as u32 {
            let (changed, id) = ann.with_address("".try_into().unwrap(), "x".try_into().unwrap(), now).unwrap();
            assert_eq!(id, n);
            ann = changed;
        }
        assert_eq!(
            ann.with_address("".try_into().unwrap(), "x".try_into().unwrap(), now).unwrap_err().code(),
            "address_book_full"
        );
        let fewer = ann.without_address(3, now).unwrap();
        assert_eq!(fewer.without_address(3, now), None);
        let (_, id) = fewer.with_address("".try_into().unwrap(), "x".try_into().unwrap(), now).unwrap();
        assert_eq!(id, MAX_ADDRESSES as u32 + 1, "an id is not given twice while later ones are in the book");
    }
}
