//! Orders under `/v1`: parse, call an operation, answer.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ops::{self, VersionedOrder};
use super::{Order, Status};
use crate::app::App;
use crate::error::{Error, Result};
use crate::rest::{IfMatch, Items, List, Params, Post, Reply, Segment};
use crate::values::{OrderId, Username};

/// An order as `/v1` shows it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderView {
    #[serde(flatten)]
    order: Arc<Order>,
    /// The statuses it may be given by hand now.
    next_statuses: Vec<Status>,
}

impl From<VersionedOrder> for OrderView {
    fn from(versioned: VersionedOrder) -> Self {
        OrderView { next_statuses: versioned.order.status.next_by_hand(), order: versioned.order }
    }
}

/// Which orders to list.
#[derive(Deserialize, IntoParams)]
pub struct OrderFilter {
    /// Only those of this customer.
    customer: Option<String>,
}

/// A step to take.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TransitionRequest {
    to: Status,
}

fn reply(versioned: VersionedOrder) -> Reply<200, OrderView> {
    let etag = versioned.etag();
    Reply::new(OrderView::from(versioned)).etag(etag)
}

pub(crate) async fn list_orders(
    app: App,
    Params(filter): Params<OrderFilter>,
    list: List,
) -> Result<Reply<200, Items<OrderView>>> {
    let customer = filter.customer.map(Username::try_from).transpose().map_err(|why| Error::field("?customer", why))?;
    let listing = ops::list_orders(&app, customer.as_ref(), &list).await?;
    Ok(Reply::page(&list, listing, OrderView::from))
}

pub(crate) async fn get_order(app: App, Segment(id): Segment<OrderId>) -> Result<Reply<200, OrderView>> {
    ops::get_order(&app, &id).await.map(reply)
}

pub(crate) async fn transition(
    app: App,
    Segment(id): Segment<OrderId>,
    if_match: IfMatch,
    post: Post<TransitionRequest>,
) -> Result<Reply<200, OrderView>> {
    ops::transition(&app, &post.once, &id, &if_match, post.body.to).await.map(reply)
}
