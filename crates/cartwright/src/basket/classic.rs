//! The classic `/basket` paths: the bodies of the design they come from, the same operations behind them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ops::{self, VersionedBasket};
use super::{CheckoutItem, CheckoutRequest, Color, Contact, Line, LineRequest};
use crate::app::App;
use crate::catalog::ProductName;
use crate::error::{Error, Result};
use crate::ordering::Status;
use crate::rest::{Classic, IfMatch, List, Nothing, Post, Reply, Segment};
use crate::values::{CardLast4, Decimal, Email, OrderId, ProductId, Quantity, Text, Username};

/// A basket as the classic paths show it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassicBasket {
    user_name: Username,
    items: Vec<ClassicItem>,
}

/// One line of a basket or an order as the classic paths show it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassicItem {
    quantity: Quantity,
    color: Color,
    price: Decimal,
    product_id: ProductId,
    product_name: ProductName,
}

impl From<&Line> for ClassicItem {
    fn from(line: &Line) -> Self {
        let CheckoutItem { product_id, product_name, color, quantity, price } = CheckoutItem::from(line);
        ClassicItem { quantity, color, price, product_id, product_name }
    }
}

impl From<VersionedBasket> for ClassicBasket {
    fn from(versioned: VersionedBasket) -> Self {
        let basket = &*versioned.basket;
        ClassicBasket {
            user_name: basket.user_name.clone(),
            items: basket.lines.iter().map(ClassicItem::from).collect(),
        }
    }
}

/// What a basket is to hold. A price or name that a client sends along is not looked at.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassicReplaceBasket {
    user_name: Username,
    items: Vec<ClassicLine>,
}

/// One line.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassicLine {
    product_id: ProductId,
    quantity: Quantity,
    #[serde(default)]
    color: Color,
}

/// What a buyer says at checkout.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassicCheckout {
    user_name: Username,
    /// The total the buyer agreed to; 0 or nothing for what the basket shows.
    total_price: Option<Decimal>,
    payment_method: Option<i64>,
    /// A card's number. Only its last four digits are kept.
    card_info: Option<String>,
    #[serde(default)]
    first_name: Text<0, 100>,
    #[serde(default)]
    last_name: Text<0, 100>,
    #[serde(default, deserialize_with = "super::none_when_empty")]
    email: Option<Email>,
    #[serde(default)]
    address: Text<0, 500>,
}

/// An accepted checkout.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassicAccepted {
    order_id: OrderId,
    status: Status,
    total_price: Decimal,
}

pub(crate) async fn list_baskets(app: App, list: List) -> Result<Reply<200, Classic<Vec<ClassicBasket>>>> {
    let listing = ops::list_baskets(&app, &list).await?;
    Ok(Classic::page("GET", &list, listing, ClassicBasket::from))
}

pub(crate) async fn get_basket(
    app: App,
    Segment(user): Segment<Username>,
) -> Result<Reply<200, Classic<ClassicBasket>>> {
    Ok(Classic::reply("GET", ops::get_basket(&app, &user).await?.into()))
}

pub(crate) async fn replace_basket(
    app: App,
    if_match: IfMatch,
    post: Post<ClassicReplaceBasket>,
) -> Result<Reply<200, Classic<ClassicBasket>>> {
    let ClassicReplaceBasket { user_name, items } = post.body;
    app.principal().must_act_for(&user_name)?;
    let request =
        |line: ClassicLine| LineRequest { product_id: line.product_id, quantity: line.quantity, color: line.color };
    let requests: Vec<LineRequest> = items.into_iter().map(request).collect();
    let basket = ops::replace_basket(&app, &post.once, &user_name, &if_match, &requests).await?;
    Ok(Classic::reply("POST", basket.into()))
}

pub(crate) async fn delete_basket(
    app: App,
    Segment(user): Segment<Username>,
    if_match: IfMatch,
) -> Result<Reply<200, Classic<Nothing>>> {
    ops::delete_basket(&app, &user, &if_match).await?;
    Ok(Classic::reply("DELETE", Nothing {}))
}

pub(crate) async fn checkout(app: App, post: Post<ClassicCheckout>) -> Result<Reply<200, Classic<ClassicAccepted>>> {
    let ClassicCheckout { user_name, total_price, payment_method, card_info, .. } = post.body;
    let ClassicCheckout { first_name, last_name, email, address, .. } = post.body;
    app.principal().must_act_for(&user_name)?;
    let contact = Contact { first_name, last_name, email, address };
    let agreed = total_price.filter(|total| !total.is_zero());
    let expected_total = agreed.map(|total| total.to_money(app.config.currency)).transpose();
    let request = CheckoutRequest {
        expected_total: expected_total.map_err(|why| Error::field("/totalPrice", why))?,
        contact,
        payment_method,
        card_last4: card_info.as_deref().and_then(CardLast4::of_card),
    };
    let accepted = ops::checkout(&app, &post.once, &user_name, request).await?;
    let total_price = accepted.total.to_decimal();
    Ok(Classic::reply("POST", ClassicAccepted { order_id: accepted.order_id, status: accepted.status, total_price }))
}

/// `/basket/checkout` takes `POST`; a basket of a user called `checkout` is read and deleted under the same path.
pub(crate) mod of_user_checkout {
    use super::*;

    /// Whose it is does not follow from the path, for those who guard it.
    fn user(app: &App) -> Result<Segment<Username>> {
        let user = Username::try_from("checkout").expect("a user may be called so");
        app.principal().must_act_for(&user)?;
        Ok(Segment(user))
    }

    pub(crate) async fn get_basket(app: App) -> Result<Reply<200, Classic<ClassicBasket>>> {
        let user = user(&app)?;
        super::get_basket(app, user).await
    }

    pub(crate) async fn delete_basket(app: App, if_match: IfMatch) -> Result<Reply<200, Classic<Nothing>>> {
        let user = user(&app)?;
        super::delete_basket(app, user, if_match).await
    }
}
