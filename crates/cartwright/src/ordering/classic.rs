//! The classic `/order` and `/orders` paths: the bodies of the two designs they come from, the same operations behind them.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ops::{self, OrderFilter, VersionedOrder};
use super::{Order, Status};
use crate::app::App;
use crate::basket::classic::ClassicItem;
use crate::customers::classic::ClassicUser;
use crate::error::{Error, Result};
use crate::rest::{Classic, IfMatch, List, Listing, Params, Post, Put, Reply, Segment, time_in_query};
use crate::store::Once;
use crate::values::{CardLast4, Decimal, OrderId, Quantity, Username};

/// An order as the classic paths show it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassicOrder {
    order_id: OrderId,
    user_name: Username,
    #[schema(value_type = String, format = DateTime)]
    order_date: Timestamp,
    status: Status,
    total_price: Decimal,
    first_name: String,
    last_name: String,
    email: String,
    address: String,
    payment_method: Option<i64>,
    card_last4: Option<CardLast4>,
    items: Vec<ClassicItem>,
}

impl From<&Order> for ClassicOrder {
    fn from(order: &Order) -> Self {
        let contact = &order.contact;
        ClassicOrder {
            order_id: order.id.clone(),
            user_name: order.customer.clone(),
            order_date: order.created_at,
            status: order.status,
            total_price: order.total.to_decimal(),
            first_name: contact.first_name.as_str().to_owned(),
            last_name: contact.last_name.as_str().to_owned(),
            email: contact.email.as_ref().map(|email| email.as_str().to_owned()).unwrap_or_default(),
            address: contact.address.as_str().to_owned(),
            payment_method: order.payment_method,
            card_last4: order.card_last4.clone(),
            items: order.lines.iter().map(ClassicItem::from).collect(),
        }
    }
}

/// `GET /order/{userName}?orderDate=`.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(rename_all = "camelCase")]
pub struct ClassicOrderParams {
    /// Only the order placed at exactly this time (RFC 3339, as in its `orderDate`).
    order_date: Option<String>,
}

fn page(list: &List, listing: Listing<VersionedOrder>) -> Reply<200, Classic<Vec<ClassicOrder>>> {
    Classic::page("GET", list, listing, |versioned: VersionedOrder| ClassicOrder::from(&*versioned.order))
}

pub(crate) async fn list_orders(app: App, list: List) -> Result<Reply<200, Classic<Vec<ClassicOrder>>>> {
    let listing = ops::list_orders(&app, &OrderFilter::default(), &list).await?;
    Ok(page(&list, listing))
}

pub(crate) async fn list_orders_of_user(
    app: App,
    Segment(user): Segment<Username>,
    Params(params): Params<ClassicOrderParams>,
    list: List,
) -> Result<Reply<200, Classic<Vec<ClassicOrder>>>> {
    let Some(date) = params.order_date else {
        let listing = if list.is_limited() {
            ops::list_orders(&app, &OrderFilter::of(&user), &list).await?
        } else {
            ops::all_orders_of(&app, &user, &list).await?
        };
        return Ok(page(&list, listing));
    };
    let at = time_in_query("?orderDate", &date)?;
    let orders = ops::orders_placed_at(&app, &user, at).await?;
    Ok(Classic::reply("GET", orders.iter().map(|order: &Arc<Order>| ClassicOrder::from(&**order)).collect()))
}

/// An order as the classic `/orders` paths show it: the item of the table.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ClassicOrderItem {
    #[serde(rename = "PK")]
    pk: String,
    #[serde(rename = "SK")]
    sk: String,
    order_id: OrderId,
    created_at: String,
    status: &'static str,
    amount: Decimal,
    number_items: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<String>,
}

impl From<&Order> for ClassicOrderItem {
    fn from(order: &Order) -> Self {
        let changed = order.updated_at != order.created_at;
        ClassicOrderItem {
            pk: format!("CUSTOMER#{}", order.customer.key()),
            sk: format!("#ORDER#{}", order.id),
            order_id: order.id.clone(),
            created_at: classic_time(order.created_at),
            status: classic_status(order.status),
            amount: order.total.to_decimal(),
            number_items: order.item_count,
            updated_at: changed.then(|| classic_time(order.updated_at)),
        }
    }
}

/// The names of the classic `/orders` paths. They do not know that stock is reserved: a placed order stays placed until
/// someone does something with it.
fn classic_status(status: Status) -> &'static str {
    match status {
        Status::Placed | Status::Confirmed => "PLACED",
        Status::Cancelled => "CANCEL",
        Status::Rejected | Status::Packed | Status::Shipped | Status::Delivered | Status::Returned => status.name(),
    }
}

/// The status that a classic name asks for.
fn status_of(name: &str) -> Option<Status> {
    match name {
        "PLACED" => Some(Status::Placed),
        "CANCEL" | "CANCELLED" => Some(Status::Cancelled),
        "PACKED" => Some(Status::Packed),
        "SHIPPED" => Some(Status::Shipped),
        "DELIVERED" => Some(Status::Delivered),
        "RETURNED" => Some(Status::Returned),
        _ => None,
    }
}

/// `2023-08-22T02:07:33.696174`: UTC without saying so.
fn classic_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6f").to_string()
}

/// A new order.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassicPlaceOrder {
    amount: Decimal,
    num_items: Quantity,
    username: Username,
}

/// Whose order.
#[derive(Deserialize, IntoParams)]
pub struct ClassicOrderOwner {
    /// The customer's user name.
    username: String,
    /// Where the list goes on, from a previous answer.
    #[serde(rename = "nextToken")]
    #[param(rename = "nextToken")]
    next_token: Option<String>,
}

/// A new status.
#[derive(Deserialize, ToSchema)]
pub struct ClassicUpdateOrder {
    username: Username,
    /// `CANCEL`, or a status of `/v1`.
    status: String,
}

/// One order.
#[derive(Serialize, ToSchema)]
pub struct ClassicOrderAnswer {
    message: &'static str,
    success: bool,
    data: ClassicOrderItem,
}

/// A customer and their orders.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassicOrdersAnswer {
    message: &'static str,
    /// The profile on the first page, then orders, newest first.
    #[schema(value_type = Vec<Object>)]
    data: Vec<ProfileOrOrder>,
    /// Where the list goes on: send it back as `?nextToken=`. Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

/// An item of the customer's partition.
#[derive(Serialize)]
#[serde(untagged)]
enum ProfileOrOrder {
    Profile(ClassicUser),
    Order(ClassicOrderItem),
}

/// Orders in a page of the classic `/orders`.
const CLASSIC_PAGE: usize = 10;

fn order_answer<const STATUS: u16>(message: &'static str, order: &Order) -> Reply<STATUS, ClassicOrderAnswer> {
    Reply::new(ClassicOrderAnswer { message, success: true, data: order.into() })
}

fn owner(app: &App, text: String) -> Result<Username> {
    let owner = Username::try_from(text).map_err(|why| Error::field("?username", why))?;
    app.principal().must_act_for(&owner)?;
    Ok(owner)
}

/// The order `id`, if it is this customer's.
async fn order_of(app: &App, id: &OrderId, customer: &Username) -> Result<Arc<Order>> {
    let order = ops::get_order(app, id).await?.order;
    if order.customer.key() == customer.key() {
        return Ok(order);
    }
    Err(Error::not_found("order_not_found", "such order of this customer"))
}

pub(crate) async fn list_profile_and_orders(
    app: App,
    Params(params): Params<ClassicOrderOwner>,
) -> Result<Reply<200, ClassicOrdersAnswer>> {
    let customer = owner(&app, params.username)?;
    let page = ops::profile_and_orders(&app, &customer, params.next_token.as_deref(), CLASSIC_PAGE).await?;
    let profile = page.profile.iter().map(|profile| ProfileOrOrder::Profile((&**profile).into()));
    let orders = page.orders.items.iter().map(|order| ProfileOrOrder::Order((&**order).into()));
    let next_token = page.orders.next.map(crate::store::Cursor::into_text);
    Ok(Reply::new(ClassicOrdersAnswer {
        message: "orders fetched successfully",
        data: profile.chain(orders).collect(),
        next_token,
    }))
}

pub(crate) async fn place_order(app: App, post: Post<ClassicPlaceOrder>) -> Result<Reply<201, ClassicOrderAnswer>> {
    let ClassicPlaceOrder { amount, num_items, username } = post.body;
    let total = amount.to_money(app.config.currency).map_err(|why| Error::field("/amount", why))?;
    if total.amount < 0 {
        return Err(Error::field("/amount", "must not be negative"));
    }
    let placed = ops::place_directly(&app, &post.once, &username, total, num_items).await?;
    Ok(order_answer("Order placed successfully", &placed.order))
}

pub(crate) async fn get_order(
    app: App,
    Segment(id): Segment<OrderId>,
    Params(params): Params<ClassicOrderOwner>,
) -> Result<Reply<200, ClassicOrderAnswer>> {
    let order = order_of(&app, &id, &owner(&app, params.username)?).await?;
    Ok(order_answer("Order fetched successfully", &order))
}

pub(crate) async fn update_order(
    app: App,
    Segment(id): Segment<OrderId>,
    if_match: IfMatch,
    Put(body): Put<ClassicUpdateOrder>,
) -> Result<Reply<200, ClassicOrderAnswer>> {
    app.principal().must_act_for(&body.username)?;
    let order = order_of(&app, &id, &body.username).await?;
    let wrong = || Error::field("/status", "must be CANCEL, PACKED, SHIPPED, DELIVERED or RETURNED");
    let to = status_of(&body.status).ok_or_else(wrong)?;
    if classic_status(order.status) == body.status {
        return Ok(order_answer("Order updated successfully", &order));
    }
    let moved = ops::transition(&app, &Once::unkeyed(), &id, &if_match, to).await?;
    Ok(order_answer("Order updated successfully", &moved.order))
}
