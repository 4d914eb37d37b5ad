//! Baskets under `/v1`: parse, call an operation, answer.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ops::{self, Accepted, VersionedBasket};
use super::{CheckoutRequest, Color, Contact, Line, LineRequest, Merge, total_of};
use crate::app::App;
use crate::error::{Error, Kind, Result};
use crate::ordering::Status;
use crate::rest::{IfMatch, Items, List, NoContent, Params, Post, Put, Reply, Segment, Upserted};
use crate::store::Once;
use crate::values::{CardLast4, Email, Money, OrderId, ProductId, Quantity, Text, Username};

/// A basket as `/v1` shows it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasketView {
    user_name: Username,
    items: Vec<Line>,
    /// What it comes to at the prices shown.
    total: Money,
    /// When it last changed; of one that is not there, now.
    #[schema(value_type = String, format = DateTime)]
    updated_at: jiff::Timestamp,
}

/// What a basket is to hold.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplaceBasket {
    items: Vec<LineRequest>,
}

/// How many of a product a basket is to hold.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetLine {
    quantity: Quantity,
    /// The choice within the product.
    #[serde(default)]
    color: Color,
}

/// What to answer when there is no basket.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
pub struct BasketParams {
    /// `true`: an empty basket without an entity tag, instead of a 404.
    or_empty: Option<bool>,
}

/// Which line is meant.
#[derive(Deserialize, IntoParams)]
pub struct LineParams {
    /// Only the line of this choice; without it, every line of the product.
    color: Option<String>,
}

/// What a buyer says at checkout.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Checkout {
    /// The total the buyer agreed to; without it, what the basket shows.
    expected_total: Option<Money>,
    /// Whom to send it to.
    #[serde(default)]
    contact: ContactRequest,
    /// How it is paid.
    #[serde(default)]
    payment: Payment,
}

/// Whom to send an order to. Every part may be left out.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ContactRequest {
    first_name: Text<0, 100>,
    last_name: Text<0, 100>,
    #[serde(deserialize_with = "super::none_when_empty")]
    email: Option<Email>,
    address: Text<0, 500>,
}

impl From<ContactRequest> for Contact {
    fn from(request: ContactRequest) -> Self {
        let ContactRequest { first_name, last_name, email, address } = request;
        Contact { first_name, last_name, email, address }
    }
}

/// How an order is paid.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Payment {
    /// The way of payment; its meaning is the shop's.
    method: Option<i64>,
    /// A card's number. Only its last four digits are kept.
    card_number: Option<Text<0, 40>>,
}

/// An accepted checkout.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AcceptedView {
    order_id: OrderId,
    status: Status,
    total: Money,
    /// Where the order can be watched.
    status_url: String,
}

fn view(app: &App, versioned: VersionedBasket) -> Result<BasketView> {
    let basket = std::sync::Arc::unwrap_or_clone(versioned.basket);
    let total = total_of(&basket.lines, app.config.currency)?;
    Ok(BasketView { user_name: basket.user_name, items: basket.lines, total, updated_at: basket.updated_at })
}

fn reply<const STATUS: u16>(app: &App, versioned: VersionedBasket) -> Result<Reply<STATUS, BasketView>> {
    let etag = versioned.etag();
    Ok(Reply::new(view(app, versioned)?).etag(etag))
}

pub(crate) async fn list_baskets(app: App, list: List) -> Result<Reply<200, Items<BasketView>>> {
    let listing = ops::list_baskets(&app, &list).await?;
    let items = listing.items.into_iter().map(|basket| view(&app, basket)).collect::<Result<Vec<_>>>()?;
    Ok(Reply::page(&list, crate::rest::Listing { items, next: listing.next }, |basket| basket))
}

pub(crate) async fn get_basket(
    app: App,
    Segment(user): Segment<Username>,
    Params(params): Params<BasketParams>,
) -> Result<Reply<200, BasketView>> {
    match ops::get_basket(&app, &user).await {
        Err(error) if error.kind() == Kind::NotFound && params.or_empty == Some(true) => {
            let total = Money::zero(app.config.currency);
            Ok(Reply::new(BasketView { user_name: user, items: Vec::new(), total, updated_at: app.clock.now() }))
        }
        found => reply(&app, found?),
    }
}

pub(crate) async fn replace_basket(
    app: App,
    Segment(user): Segment<Username>,
    if_match: IfMatch,
    Put(body): Put<ReplaceBasket>,
) -> Result<Upserted<BasketView>> {
    let basket = ops::replace_basket(&app, &Once::unkeyed(), &user, &if_match, &body.items).await?;
    let created_at = basket.is_new.then(|| format!("/v1/baskets/{user}"));
    Ok(Upserted::new(reply(&app, basket)?, created_at))
}

pub(crate) async fn delete_basket(app: App, Segment(user): Segment<Username>, if_match: IfMatch) -> Result<NoContent> {
    ops::delete_basket(&app, &user, &if_match).await?;
    Ok(NoContent)
}

pub(crate) async fn add_line(
    app: App,
    Segment(user): Segment<Username>,
    if_match: IfMatch,
    post: Post<LineRequest>,
) -> Result<Reply<200, BasketView>> {
    reply(&app, ops::put_basket_line(&app, &post.once, &user, &if_match, &post.body, Merge::Add).await?)
}

pub(crate) async fn set_line(
    app: App,
    Segment((user, product_id)): Segment<(Username, ProductId)>,
    if_match: IfMatch,
    Put(body): Put<SetLine>,
) -> Result<Reply<200, BasketView>> {
    let request = LineRequest { product_id, quantity: body.quantity, color: body.color };
    reply(&app, ops::put_basket_line(&app, &Once::unkeyed(), &user, &if_match, &request, Merge::Replace).await?)
}

pub(crate) async fn remove_line(
    app: App,
    Segment((user, product_id)): Segment<(Username, ProductId)>,
    Params(params): Params<LineParams>,
    if_match: IfMatch,
) -> Result<Reply<200, BasketView>> {
    let color = params.color.map(Color::try_from).transpose().map_err(|why| Error::field("?color", why))?;
    reply(&app, ops::remove_basket_line(&app, &user, &if_match, product_id, color.as_ref()).await?)
}

pub(crate) async fn checkout(
    app: App,
    Segment(user): Segment<Username>,
    post: Post<Checkout>,
) -> Result<Reply<202, AcceptedView>> {
    let Checkout { expected_total, contact, payment } = post.body;
    let request = CheckoutRequest {
        expected_total: expected_total
            .map(|total| ops::in_currency(&app, total, "/expectedTotal/currency"))
            .transpose()?,
        contact: contact.into(),
        payment_method: payment.method,
        card_last4: payment.card_number.and_then(|number| CardLast4::of_card(number.as_str())),
    };
    let Accepted { order_id, status, total } = ops::checkout(&app, &post.once, &user, request).await?;
    let status_url = format!("/v1/orders/{order_id}");
    Ok(Reply::new(AcceptedView { order_id, status, total, status_url: status_url.clone() }).location(status_url))
}
