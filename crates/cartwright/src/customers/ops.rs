//! What can be done with customers: load → pure function → commit.

use std::sync::Arc;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::store::{self, Owner};
use super::{
    AddressLabel, Customer, CustomerErased, CustomerName, CustomerPatch, PostalAddress, Tombstone, email_key, taken,
};
use crate::app::App;
use crate::error::{Error, Result};
use crate::events::Event;
use crate::rest::{IfMatch, List, Listing};
use crate::store::{Batch, Change, Cursor, Expect, Once, Table, list_merged, transact};
use crate::values::{Email, Username};

/// How long it is remembered under which alias an erased customer's orders go: longer than any event of theirs may wait.
const TOMBSTONE_KEPT: SignedDuration = SignedDuration::from_hours(24 * 30);

/// A customer and how often the profile was written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VersionedCustomer {
    /// The customer.
    pub customer: Arc<Customer>,
    /// The version of the profile.
    pub version: u64,
}

impl VersionedCustomer {
    /// The entity tag. It carries the moment of creation, so that a name that was freed and taken again is told apart.
    pub fn etag(&self) -> String {
        format!("\"{:x}.{}\"", self.customer.created_at.as_microsecond(), self.version)
    }
}

fn no_such_customer() -> Error {
    Error::not_found("customer_not_found", "such customer")
}

pub(super) fn no_such_address() -> Error {
    Error::not_found("address_not_found", "such address in the book")
}

/// One customer.
///
/// # Errors
/// `customer_not_found`.
pub async fn get_customer(app: &App, username: &Username) -> Result<VersionedCustomer> {
    let found = store::find_customer(&*app.store, username).await?;
    found.map(|(customer, version)| VersionedCustomer { customer, version }).ok_or_else(no_such_customer)
}

/// A page of all customers, by user name.
///
/// # Errors
/// `invalid_request` for a cursor of another list.
pub async fn list_customers(app: &App, list: &List) -> Result<Listing<VersionedCustomer>> {
    let scope = "customers";
    let after = list.after(scope)?;
    let page = list_merged(&*app.store, &store::index(), after.as_deref(), list.limit()).await?;
    let owner = |doc: &crate::store::Doc| Ok(store::profile_key(&doc.parse::<Owner>()?.username));
    let keys = page.docs.iter().map(owner).collect::<Result<Vec<_>>>()?;
    let docs = app.store.get_many(&keys).await?;
    let versioned = |doc: crate::store::Doc| Ok(VersionedCustomer { customer: doc.parse()?, version: doc.version });
    let items = docs.into_iter().flatten().map(versioned).collect::<Result<_>>()?;
    Ok(Listing { items, next: page.next.map(|sk| Cursor::new(scope, &sk)) })
}

/// Adds a customer: profile, guard of the e-mail address and index entry in one commit. A repeated request with the same
/// `Idempotency-Key` gets the first answer, whatever became of the customer since.
///
/// # Errors
/// `transaction_canceled` (409) naming which of user name and e-mail address is taken.
pub async fn add_customer(
    app: &App,
    once: &Once,
    username: Username,
    email: Email,
    name: CustomerName,
) -> Result<VersionedCustomer> {
    // The answer that is kept for an Idempotency-Key is the time alone. A repeated request brings the rest itself, and
    // personal data lies with the profile only.
    let at = transact(app, once, Table::Ordering, || async {
        let keys = [store::profile_key(&username), store::email_guard_key(&email)];
        let docs = app.store.get_many(&keys).await?;
        taken(docs[0].is_some(), docs[1].is_some())?;
        let customer = Customer::new(username.clone(), email.clone(), name.clone(), app.clock.now());
        let owner = Owner { username: username.clone() };
        let [profile, guard] = keys;
        let mut batch = Batch::new(Table::Ordering);
        batch.put(profile, Expect::Absent, &customer)?;
        batch.put(guard, Expect::Absent, &owner)?;
        batch.put(store::index_key(&username), Expect::Anything, &owner)?;
        Ok(Change { batch, result: customer.created_at })
    })
    .await?;
    Ok(VersionedCustomer { customer: Arc::new(Customer::new(username, email, name, at)), version: 1 })
}

/// Changes a customer's name or e-mail address. The old address is free from then on.
///
/// # Errors
/// `customer_not_found`, `precondition_failed`, `transaction_canceled` when the address is another's, `invalid_request` for
/// an empty patch.
pub async fn patch_customer(
    app: &App,
    username: &Username,
    if_match: &IfMatch,
    patch: CustomerPatch,
) -> Result<VersionedCustomer> {
    if patch.email.is_none() && patch.name.is_none() {
        return Err(Error::field("", "must name at least one field to change"));
    }
    let guard_of = |email: &Email| store::email_guard_key(email);
    transact(app, &Once::unkeyed(), Table::Ordering, || async {
        let before = get_customer(app, username).await?;
        if_match.check(&before.etag())?;
        let after = before.customer.patched(&patch, app.clock.now());
        let mut batch = Batch::new(Table::Ordering);
        if email_key(&after.email) != email_key(&before.customer.email) {
            taken(false, app.store.get(&guard_of(&after.email)).await?.is_some())?;
            batch.put(guard_of(&after.email), Expect::Absent, &Owner { username: after.username.clone() })?;
            batch.delete(guard_of(&before.customer.email), Expect::Exists);
        }
        write(batch, before.version, after)
    })
    .await
}

/// Completes a change: the next version of the profile.
fn write(mut batch: Batch, version: u64, after: Customer) -> Result<Change<VersionedCustomer>> {
    batch.put(store::profile_key(&after.username), Expect::Version(version), &after)?;
    Ok(Change { batch, result: VersionedCustomer { customer: Arc::new(after), version: version + 1 } })
}

/// Adds an address to a customer's book. Its id is in the answer.
///
/// # Errors
/// `customer_not_found`, `address_book_full`.
pub async fn add_address(
    app: &App,
    once: &Once,
    username: &Username,
    label: AddressLabel,
    address: PostalAddress,
) -> Result<u32> {
    transact(app, once, Table::Ordering, || async {
        let before = get_customer(app, username).await?;
        let (after, id) = before.customer.with_address(label.clone(), address.clone(), app.clock.now())?;
        let Change { batch, .. } = write(Batch::new(Table::Ordering), before.version, after)?;
        Ok(Change { batch, result: id })
    })
    .await
}

/// Takes an address out of a customer's book.
///
/// # Errors
/// `customer_not_found`, `address_not_found`, `precondition_failed`.
pub async fn remove_address(app: &App, username: &Username, if_match: &IfMatch, id: u32) -> Result<VersionedCustomer> {
    transact(app, &Once::unkeyed(), Table::Ordering, || async {
        let before = get_customer(app, username).await?;
        if_match.check(&before.etag())?;
        let after = before.customer.without_address(id, app.clock.now());
        let after = after.ok_or_else(no_such_address)?;
        write(Batch::new(Table::Ordering), before.version, after)
    })
    .await
}

/// Makes `address` the customer's first.
///
/// # Errors
/// `customer_not_found`.
pub async fn set_main_address(app: &App, username: &Username, address: PostalAddress) -> Result<VersionedCustomer> {
    transact(app, &Once::unkeyed(), Table::Ordering, || async {
        let before = get_customer(app, username).await?;
        let after = before.customer.with_main_address(address.clone(), app.clock.now());
        write(Batch::new(Table::Ordering), before.version, after)
    })
    .await
}

/// Erases a customer: user name and e-mail address are free at once. Orders stay as the accounts need them; their personal
/// data is removed by the consumers of the event that this commit emits.
///
/// # Errors
/// `customer_not_found`, `precondition_failed`.
pub async fn erase_customer(app: &App, username: &Username, if_match: &IfMatch) -> Result<()> {
    transact(app, &Once::unkeyed(), Table::Ordering, || async {
        let before = get_customer(app, username).await?;
        if_match.check(&before.etag())?;
        // By a clock that was put back, one of this name may be erased before the one before them, whose data must not come back.
        let last = find_tombstone(app, username).await?;
        let at = last.as_ref().map_or(app.clock.now(), |(last, _)| last.at.max(app.clock.now()));
        let alias = format!("erased-{:016x}", app.ids.random());
        let alias = Username::try_from(alias).map_err(Error::internal)?;
        let mut batch = Batch::new(Table::Ordering);
        batch.delete(store::profile_key(username), Expect::Version(before.version));
        batch.delete(store::email_guard_key(&before.customer.email), Expect::Exists);
        batch.delete(store::index_key(username), Expect::Anything);
        let tombstone = Tombstone { alias: alias.clone(), at };
        // Whoever places an order meanwhile goes by the version they have read: it must not be the same again.
        let expect = Expect::as_read(last.map_or(0, |(_, version)| version));
        batch.put_until(store::tombstone_key(username), expect, &tombstone, at + TOMBSTONE_KEPT)?;
        let erased = CustomerErased { username: before.customer.username.clone(), alias, at };
        batch.emit(app.envelope(&Event::CustomerErased(erased)));
        Ok(Change { batch, result: () })
    })
    .await
}

/// The last customer of this name that was erased, if any, and the version of what is kept of them. The read ordering is allowed: an order of theirs that comes to be
/// after they were erased must not bring their data back.
///
/// # Errors
/// Those of the store.
pub async fn find_tombstone(app: &App, username: &Username) -> Result<Option<(Arc<Tombstone>, u64)>> {
    let doc = app.store.get(&store::tombstone_key(username)).await?;
    doc.map(|doc| Ok((doc.parse()?, doc.version))).transpose()
}
