//! Orders under `/v1`: parse, call an operation, answer.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ops::{self, OrderFilter, VersionedOrder};
use super::{Order, Status, TimelineEntry};
use crate::app::App;
use crate::error::{Error, Result};
use crate::rest::{IfMatch, Items, List, Params, Post, Reply, Segment, time_in_query};
use crate::values::{Money, OrderId, Quantity, Username};

/// An order as `/v1` shows it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderView {
    #[serde(flatten)]
    order: Arc<Order>,
    /// The statuses that whoever asks may give it by hand now.
    next_statuses: Vec<Status>,
}

impl OrderView {
    /// As whoever asks may see it: the steps are those they may take.
    fn of(app: &App, versioned: VersionedOrder) -> Self {
        let mut next_statuses = versioned.order.status.next_by_hand();
        next_statuses.retain(|status| app.principal().is_staff() || status.is_for_customers());
        OrderView { next_statuses, order: versioned.order }
    }
}

/// Which orders to list.
#[derive(Deserialize, IntoParams)]
pub struct OrderParams {
    /// Only those of this customer.
    customer: Option<String>,
    /// Only those in this status.
    #[param(inline)]
    status: Option<Status>,
    /// Only those placed at this time or later (RFC 3339).
    from: Option<String>,
    /// Only those placed at this time or earlier (RFC 3339).
    to: Option<String>,
}

impl OrderParams {
    fn filter(self) -> Result<OrderFilter> {
        let customer = self.customer.map(Username::try_from).transpose();
        Ok(OrderFilter {
            customer: customer.map_err(|why| Error::field("?customer", why))?,
            status: self.status,
            from: self.from.map(|text| time_in_query("?from", &text)).transpose()?,
            to: self.to.map(|text| time_in_query("?to", &text)).transpose()?,
        })
    }
}

/// An order that was agreed elsewhere.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlaceOrder {
    /// The user name of a customer there is.
    customer: Username,
    /// What it costs.
    total: Money,
    /// Pieces.
    item_count: Quantity,
}

/// A step to take.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TransitionRequest {
    to: Status,
}

fn reply(app: &App, versioned: VersionedOrder) -> Reply<200, OrderView> {
    let etag = versioned.etag();
    Reply::new(OrderView::of(app, versioned)).etag(etag)
}

pub(crate) async fn list_orders(
    app: App,
    Params(params): Params<OrderParams>,
    list: List,
) -> Result<Reply<200, Items<OrderView>>> {
    let listing = ops::list_orders(&app, &params.filter()?, &list).await?;
    Ok(Reply::page(&list, listing, |order| OrderView::of(&app, order)))
}

pub(crate) async fn place_order(app: App, post: Post<PlaceOrder>) -> Result<Reply<201, OrderView>> {
    let PlaceOrder { customer, total, item_count } = post.body;
    let total = total.as_price(app.config.currency, "/total")?;
    let placed = ops::place_directly(&app, &post.once, &customer, total, item_count).await?;
    let (etag, location) = (placed.etag(), format!("/v1/orders/{}", placed.order.id));
    Ok(Reply::new(OrderView::of(&app, placed)).etag(etag).location(location))
}

pub(crate) async fn list_orders_of_customer(
    app: App,
    Segment(customer): Segment<Username>,
    list: List,
) -> Result<Reply<200, Items<OrderView>>> {
    let listing = ops::list_orders(&app, &OrderFilter::of(&customer), &list).await?;
    Ok(Reply::page(&list, listing, |order| OrderView::of(&app, order)))
}

pub(crate) async fn list_timeline(
    app: App,
    Segment(id): Segment<OrderId>,
    list: List,
) -> Result<Reply<200, Items<TimelineEntry>>> {
    let listing = ops::list_timeline(&app, &id, &list).await?;
    Ok(Reply::page(&list, listing, Arc::unwrap_or_clone))
}

pub(crate) async fn get_order(app: App, Segment(id): Segment<OrderId>) -> Result<Reply<200, OrderView>> {
    Ok(reply(&app, ops::get_order(&app, &id).await?))
}

pub(crate) async fn transition(
    app: App,
    Segment(id): Segment<OrderId>,
    if_match: IfMatch,
    post: Post<TransitionRequest>,
) -> Result<Reply<200, OrderView>> {
    Ok(reply(&app, ops::transition(&app, &post.once, &id, &if_match, post.body.to).await?))
}
