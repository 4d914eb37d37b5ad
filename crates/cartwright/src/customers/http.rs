//! Customers under `/v1`: parse, call an operation, answer.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ops::{self, VersionedCustomer};
use super::{Address, AddressLabel, Customer, CustomerName, CustomerPatch, PostalAddress};
use crate::app::App;
use crate::basket::{self, Basket};
use crate::error::Result;
use crate::notifications::{self, InboxItem, Watch};
use crate::ordering::{self, Order};
use crate::rest::{IfMatch, Items, List, NoContent, Post, Put, Reply, Segment};
use crate::values::{Email, Username};

/// Most entries of the inbox in an export.
const MAX_EXPORTED_ENTRIES: usize = 500;

/// A new customer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddCustomer {
    username: Username,
    email: Email,
    name: CustomerName,
}

/// What to change in a customer; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchCustomer {
    email: Option<Email>,
    name: Option<CustomerName>,
}

/// A new address.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddAddress {
    #[serde(default)]
    label: AddressLabel,
    address: PostalAddress,
}

/// The address book of a customer, the main address first.
#[derive(Serialize, ToSchema)]
pub struct AddressBook {
    items: Vec<Address>,
}

/// Everything that is kept about a customer.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CustomerExport {
    customer: Customer,
    basket: Option<Basket>,
    /// The orders, newest first, up to 500; go on with `/v1/customers/{user}/orders` and `nextCursor` for older ones.
    orders: Vec<Order>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// What the customer was told, newest first, up to 500; `/v1/customers/{user}/inbox` has older ones.
    inbox: Vec<InboxItem>,
    /// The products of which the customer wants to be told when they are back in stock.
    watches: Vec<Watch>,
}

fn reply<const STATUS: u16>(versioned: VersionedCustomer) -> Reply<STATUS, Customer> {
    let etag = versioned.etag();
    Reply::new(std::sync::Arc::unwrap_or_clone(versioned.customer)).etag(etag)
}

pub(crate) async fn list_customers(app: App, list: List) -> Result<Reply<200, Items<Customer>>> {
    let listing = ops::list_customers(&app, &list).await?;
    Ok(Reply::page(&list, listing, |versioned| std::sync::Arc::unwrap_or_clone(versioned.customer)))
}

pub(crate) async fn add_customer(app: App, post: Post<AddCustomer>) -> Result<Reply<201, Customer>> {
    let AddCustomer { username, email, name } = post.body;
    app.principal().must_act_for(&username)?;
    let added = ops::add_customer(&app, &post.once, username, email, name).await?;
    let location = format!("/v1/customers/{}", added.customer.username);
    Ok(reply(added).location(location))
}

pub(crate) async fn get_customer(app: App, Segment(user): Segment<Username>) -> Result<Reply<200, Customer>> {
    ops::get_customer(&app, &user).await.map(reply)
}

pub(crate) async fn patch_customer(
    app: App,
    Segment(user): Segment<Username>,
    if_match: IfMatch,
    Put(patch): Put<PatchCustomer>,
) -> Result<Reply<200, Customer>> {
    let patch = CustomerPatch { email: patch.email, name: patch.name };
    ops::patch_customer(&app, &user, &if_match, patch).await.map(reply)
}

pub(crate) async fn erase_customer(app: App, Segment(user): Segment<Username>, if_match: IfMatch) -> Result<NoContent> {
    ops::erase_customer(&app, &user, &if_match).await?;
    Ok(NoContent)
}

pub(crate) async fn list_addresses(app: App, Segment(user): Segment<Username>) -> Result<Reply<200, AddressBook>> {
    let found = ops::get_customer(&app, &user).await?;
    let etag = found.etag();
    Ok(Reply::new(AddressBook { items: found.customer.addresses.clone() }).etag(etag))
}

pub(crate) async fn add_address(
    app: App,
    Segment(user): Segment<Username>,
    post: Post<AddAddress>,
) -> Result<Reply<201, Address>> {
    let AddAddress { label, address } = post.body;
    let id = ops::add_address(&app, &post.once, &user, label.clone(), address.clone()).await?;
    let location = format!("/v1/customers/{user}/addresses/{id}");
    Ok(Reply::new(Address { id, label, address }).location(location))
}

pub(crate) async fn get_address(
    app: App,
    Segment((user, id)): Segment<(Username, u32)>,
) -> Result<Reply<200, Address>> {
    let found = ops::get_customer(&app, &user).await?;
    let etag = found.etag();
    let address = found.customer.addresses.iter().find(|entry| entry.id == id);
    address.map(|address| Reply::new(address.clone()).etag(etag)).ok_or_else(ops::no_such_address)
}

pub(crate) async fn remove_address(
    app: App,
    Segment((user, id)): Segment<(Username, u32)>,
    if_match: IfMatch,
) -> Result<NoContent> {
    ops::remove_address(&app, &user, &if_match, id).await?;
    Ok(NoContent)
}

pub(crate) async fn export_customer(
    app: App,
    Segment(user): Segment<Username>,
    list: List,
) -> Result<Reply<200, CustomerExport>> {
    let customer = ops::get_customer(&app, &user).await?.customer;
    let basket = basket::find_basket(&app, &user).await?;
    let orders = ordering::all_orders_of(&app, &user, &list).await?;
    let inbox = notifications::newest_of(&app, &user, MAX_EXPORTED_ENTRIES).await?;
    let watches = notifications::watches_of(&app, &user).await?;
    Ok(Reply::new(CustomerExport {
        customer: std::sync::Arc::unwrap_or_clone(customer),
        basket: basket.map(std::sync::Arc::unwrap_or_clone),
        orders: orders.items.into_iter().map(|versioned| std::sync::Arc::unwrap_or_clone(versioned.order)).collect(),
        next_cursor: orders.next.map(crate::store::Cursor::into_text),
        inbox,
        watches,
    }))
}
