//! Baskets: what someone means to buy, at the prices they saw, until they check out.
//!
//! A line's name and price come from the catalogue when the line is put in. Checkout asks the catalogue again: what the
//! buyer pays is the present price, and when that is not what the basket showed, nothing happens until the buyer agrees.

pub mod classic;
mod events;
pub mod http;
pub mod ops;
mod store;

use std::sync::Arc;

use iso_currency::Currency;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use utoipa::ToSchema;

use crate::catalog::{Demand, Product, ProductName};
use crate::error::{Error, FieldError, Kind, Result};
use crate::values::{CardLast4, Decimal, Email, Invalid, Money, OrderId, ProductId, Quantity, Text, Username};

pub use events::on_customer_erased;
pub use ops::{find_basket, find_checkout};

/// Most lines of a basket, and so of an order: every line is a conditional write of the commit that reserves it, and a
/// commit holds a hundred items.
pub const MAX_LINES: usize = 50;

/// The colour, size or other choice within a product, as the buyer named it; empty for none.
pub type Color = Text<0, 60>;

/// A basket as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Basket {
    /// Tells this basket from the one its user had before, whose versions also began at 1.
    pub id: u32,
    /// Whose it is.
    pub user_name: Username,
    /// What is in it; never two lines of one product and colour.
    pub lines: Vec<Line>,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// Checked out or thrown away. The closed basket stays for a while in place of none, so that whoever read the open one
    /// cannot mistake the next basket of this user for it.
    #[serde(default)]
    pub closed: bool,
}

impl Basket {
    /// What is left of a basket that was checked out or thrown away.
    pub fn close(&self, now: Timestamp) -> Basket {
        Basket { lines: Vec::new(), closed: true, updated_at: now, ..self.clone() }
    }
}

/// One line of a basket, and later of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// The product.
    pub product_id: ProductId,
    /// Its name when the line was priced.
    pub name: ProductName,
    /// The choice within the product; empty for none.
    pub color: Color,
    /// How many.
    pub quantity: Quantity,
    /// What one costs.
    pub unit_price: Money,
}

impl Line {
    /// What the line asks of the catalogue.
    pub fn demand(&self) -> Demand {
        Demand { product_id: self.product_id, unit_price: self.unit_price, quantity: self.quantity }
    }
}

/// A line as a caller asks for it: no name and no price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LineRequest {
    /// The product.
    pub product_id: ProductId,
    /// How many.
    pub quantity: Quantity,
    /// The choice within the product.
    #[serde(default)]
    pub color: Color,
}

/// Whom to send an order to. Every part may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Contact {
    /// First name.
    pub first_name: Text<0, 100>,
    /// Last name.
    pub last_name: Text<0, 100>,
    /// E-mail address.
    #[serde(deserialize_with = "none_when_empty", skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
    /// Postal address.
    pub address: Text<0, 500>,
}

/// Reads an optional address; the empty text is none.
pub(crate) fn none_when_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Email>, D::Error> {
    match Option::<String>::deserialize(deserializer)? {
        None => Ok(None),
        Some(text) if text.trim().is_empty() => Ok(None),
        Some(text) => Email::try_from(text).map(Some).map_err(serde::de::Error::custom),
    }
}

/// What a buyer says at checkout.
#[derive(Debug, Clone, Default)]
pub struct CheckoutRequest {
    /// The total the buyer agreed to; without it, the total the basket shows.
    pub expected_total: Option<Money>,
    /// Whom to send it to.
    pub contact: Contact,
    /// The way of payment.
    pub payment_method: Option<i64>,
    /// The tail of the card's number.
    pub card_last4: Option<CardLast4>,
}

/// Event: a basket was checked out and closed. In the shape of the classic checkout event, which others may also put on
/// the bus; prices are in major units of the shop's currency.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckoutBasket {
    /// The id its order will have; events from outside may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<OrderId>,
    /// Whose it is.
    pub user_name: Username,
    /// What was bought.
    pub items: Vec<CheckoutItem>,
    /// What it came to, for readers; ordering adds it up itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_price: Option<Decimal>,
    /// The way of payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_method: Option<i64>,
    /// The tail of the card's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card_last4: Option<CardLast4>,
    /// Whom to send it to.
    #[serde(flatten)]
    pub contact: Contact,
}

impl CheckoutBasket {
    /// The checkout without what it tells of a person, under the name `user_name`.
    pub fn anonymous(self, user_name: &Username) -> CheckoutBasket {
        CheckoutBasket { user_name: user_name.clone(), contact: Contact::default(), card_last4: None, ..self }
    }
}

/// Whose checkout the detail of an event is, even if it is otherwise not what it promises; `None` when it does not say.
pub fn buyer_of(detail: &RawValue) -> Option<Username> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Buyer {
        user_name: Username,
    }
    serde_json::from_str(detail.get()).ok().map(|Buyer { user_name }| user_name)
}

/// The detail of a checkout without what it tells of a person, under the name `alias`, for the order it names or else
/// `order_id`. Of one that is not what it promises only the alias stays: who knows where in it a person is told of.
pub fn anonymous_detail(detail: &RawValue, alias: &Username, order_id: OrderId) -> Box<RawValue> {
    let json = match serde_json::from_str::<CheckoutBasket>(detail.get()).map(|checkout| checkout.anonymous(alias)) {
        Ok(checkout) => {
            let order_id = checkout.order_id.or(Some(order_id));
            to_raw_value(&CheckoutBasket { order_id, ..checkout })
        }
        Err(_) => to_raw_value(&json!({"userName": alias})),
    };
    json.expect("a checkout has a JSON form: its fields are strings, numbers and lists of them")
}

/// One line of a [`CheckoutBasket`].
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckoutItem {
    /// The product.
    pub product_id: ProductId,
    /// Its name.
    pub product_name: ProductName,
    /// The choice within the product.
    #[serde(default)]
    pub color: Color,
    /// How many.
    pub quantity: Quantity,
    /// What one costs, in major units.
    pub price: Decimal,
}

impl CheckoutItem {
    /// The order line it becomes.
    ///
    /// # Errors
    /// `malformed_event` for a price the currency does not have.
    pub fn line(&self, currency: Currency) -> Result<Line> {
        let malformed =
            |why| Error::new(Kind::Unprocessable, "malformed_event", format!("A price of a checkout: {why}."));
        let unit_price = self.price.to_money(currency).map_err(malformed)?;
        if unit_price.amount < 0 {
            return Err(malformed(Invalid("is negative".into())));
        }
        Ok(Line {
            product_id: self.product_id,
            name: self.product_name.clone(),
            color: self.color.clone(),
            quantity: self.quantity,
            unit_price,
        })
    }
}

impl From<&Line> for CheckoutItem {
    fn from(line: &Line) -> Self {
        CheckoutItem {
            product_id: line.product_id,
            product_name: line.name.clone(),
            color: line.color.clone(),
            quantity: line.quantity,
            price: line.unit_price.to_decimal(),
        }
    }
}

/// The sum of price × quantity.
///
/// # Errors
/// `amount_too_large`, `currency_mismatch`.
pub fn total_of<'a>(lines: impl IntoIterator<Item = &'a Line>, currency: Currency) -> Result<Money> {
    lines.into_iter().try_fold(Money::zero(currency), |sum, line| sum.plus(line.unit_price.times(line.quantity)?))
}

/// Makes lines of what was asked for, with the names and prices of `products`, which are in the order of `requests`.
/// Requests of one product and colour become one line. `pointer` says where in the caller's body a request stands.
///
/// # Errors
/// `product_unknown` (422) naming every product the catalogue does not have; `basket_full` beyond [`MAX_LINES`];
/// `invalid_request` when a line grows beyond the largest quantity.
pub fn price_lines(
    requests: &[LineRequest],
    products: &[Option<Arc<Product>>],
    pointer: impl Fn(usize) -> String,
) -> Result<Vec<Line>> {
    let mut lines: Vec<Line> = Vec::with_capacity(requests.len());
    let mut unknown = Vec::new();
    for (at, (request, product)) in requests.iter().zip(products).enumerate() {
        let Some(product) = product else {
            let detail = "is not a product of the catalogue".to_owned();
            unknown.push(FieldError { pointer: format!("{}/productId", pointer(at)), detail });
            continue;
        };
        let line = Line {
            product_id: product.id,
            name: product.name.clone(),
            color: request.color.clone(),
            quantity: request.quantity,
            unit_price: product.price,
        };
        put_line(&mut lines, line, Merge::Add, &pointer(at))?;
    }
    if unknown.is_empty() { Ok(lines) } else { Err(product_unknown(unknown)) }
}

fn product_unknown(fields: Vec<FieldError>) -> Error {
    let message = "The catalogue does not have every product that was asked for.";
    Error::new(Kind::Unprocessable, "product_unknown", message).with("errors", fields)
}

/// What becomes of the quantity when a basket already has the product in that colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Merge {
    /// Both add up.
    Add,
    /// The new one replaces the old.
    Replace,
}

/// Puts a line among `lines`, which has its name and price from now on. `pointer` says where in the caller's body it
/// stands.
///
/// # Errors
/// As [`price_lines`].
pub fn put_line(lines: &mut Vec<Line>, line: Line, merge: Merge, pointer: &str) -> Result<()> {
    let same = lines.iter().position(|other| other.product_id == line.product_id && other.color == line.color);
    match same {
        Some(at) => {
            let before = if merge == Merge::Add { lines[at].quantity.get() } else { 0 };
            let sum = i64::from(before) + i64::from(line.quantity.get());
            let quantity = Quantity::try_from(sum).map_err(|why| Error::field(format!("{pointer}/quantity"), why))?;
            lines[at] = Line { quantity, ..line };
        }
        None if lines.len() >= MAX_LINES => {
            return Err(Error::new(
                Kind::Conflict,
                "basket_full",
                format!("A basket holds at most {MAX_LINES} lines."),
            ));
        }
        None => lines.push(line),
    }
    Ok(())
}

/// The lines of a basket at the catalogue's present prices, if the buyer agreed to what they come to.
///
/// # Errors
/// `basket_empty` (409); `product_gone` (409) naming each product that left the catalogue; `price_changed` (409) with both
/// totals when what the buyer agreed to is not what it costs now.
pub fn settle(
    basket: &Basket,
    products: &[Option<Arc<Product>>],
    expected: Option<Money>,
    currency: Currency,
) -> Result<(Vec<Line>, Money)> {
    if basket.lines.is_empty() {
        return Err(Error::new(Kind::Conflict, "basket_empty", "There is nothing in the basket."));
    }
    let mut lines = Vec::with_capacity(basket.lines.len());
    let mut gone = Vec::new();
    for (line, product) in basket.lines.iter().zip(products) {
        match product {
            Some(product) => lines.push(Line { name: product.name.clone(), unit_price: product.price, ..line.clone() }),
            None => gone.push(line.product_id),
        }
    }
    if !gone.is_empty() {
        let message = "Some of the products in the basket are no longer sold; remove them.";
        return Err(Error::new(Kind::Conflict, "product_gone", message).with("productIds", gone));
    }
    let total = total_of(&lines, currency)?;
    let expected = match expected {
        Some(expected) => expected,
        None => total_of(&basket.lines, currency)?,
    };
    if total != expected {
        let message =
            format!("The total is now {total}, not {expected}. Check out again with the new total to accept it.");
        let error = Error::new(Kind::Conflict, "price_changed", message);
        return Err(error.with("expectedTotal", expected).with("currentTotal", total));
    }
    Ok((lines, total))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usd(amount: i64) -> Money {
        Money { amount, currency: Currency::USD }
    }

    fn line(product: u128, quantity: i64, price: i64) -> Line {
        Line {
            product_id: ProductId(uuid::Uuid::from_u128(product)),
            name: "x".try_into().unwrap(),
            color: "".try_into().unwrap(),
            quantity: quantity.try_into().unwrap(),
            unit_price: usd(price),
        }
    }

    #[test]
    fn the_total_counts_the_quantity() {
        assert_eq!(total_of(&[line(1, 3, 1000), line(2, 2, 250)], Currency::USD).unwrap(), usd(3500));
        assert_eq!(total_of(&[line(1, 3, i64::MAX / 2)], Currency::USD).unwrap_err().code(), "amount_too_large");
    }

    #[test]
    fn nothing_of_what_was_in_a_basket_is_left_when_it_is_closed() {
        let basket = Basket {
            id: 7,
            user_name: "ann".try_into().unwrap(),
            lines: vec![line(1, 3, 1000)],
            updated_at: Timestamp::UNIX_EPOCH,
            closed: false,
        };
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let left = basket.close(now);
        assert_eq!(left, Basket { lines: Vec::new(), updated_at: now, closed: true, ..basket });
    }

    #[test]
    fn a_full_basket_of_the_dearest_things_still_adds_up() {
        let dearest = i64::from(crate::values::MAX_QUANTITY) * crate::values::MAX_AMOUNT_MINOR;
        assert!(dearest.checked_mul(MAX_LINES as i64).is_some());
    }

    proptest! {
        #[test]
        fn lines_of_one_product_are_one_line(puts in proptest::collection::vec((0_u128..6, 1_i64..50), 1..30)) {
            let mut lines = Vec::new();
            for &(product, quantity) in &puts {
                put_line(&mut lines, line(product, quantity, 1), Merge::Add, "").unwrap();
            }
            for line in &lines {
                let expected: i64 = puts.iter().filter(|(id, _)| *id == line.product_id.0.as_u128()).map(|(_, n)| n).sum();
                prop_assert_eq!(i64::from(line.quantity.get()), expected);
            }
            let mut ids: Vec<_> = lines.iter().map(|line| line.product_id).collect();
            ids.sort_unstable();
            ids.dedup();
            prop_assert_eq!(ids.len(), lines.len());
        }
    }
}
