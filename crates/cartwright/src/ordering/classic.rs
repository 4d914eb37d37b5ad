//! The classic `/order` paths: the bodies of the design they come from, the same operations behind them.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ops::{self, VersionedOrder};
use super::{Order, Status};
use crate::app::App;
use crate::basket::classic::ClassicItem;
use crate::error::{Error, Result};
use crate::rest::{Classic, List, Listing, Params, Reply, Segment};
use crate::values::{CardLast4, Decimal, OrderId, Username};

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
    let listing = ops::list_orders(&app, None, &list).await?;
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
            ops::list_orders(&app, Some(&user), &list).await?
        } else {
            ops::all_orders_of(&app, &user, &list).await?
        };
        return Ok(page(&list, listing));
    };
    // A `+` of the offset arrives as a space when the caller did not encode it.
    let at: Timestamp =
        date.replace(' ', "+").parse().map_err(|_| Error::field("?orderDate", "must be an RFC 3339 time"))?;
    let orders = ops::orders_placed_at(&app, &user, at).await?;
    Ok(Classic::reply("GET", orders.iter().map(|order: &Arc<Order>| ClassicOrder::from(&**order)).collect()))
}
