//! The classic `/product-purchase` paths: the bodies of the design they come from, the same operations behind them.

use std::collections::HashMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::ops::{self, Accepted, KnownPurchase};
use super::{Category, CustomerName, Names, Purchase, PurchaseId, PurchaseTime, Reference, Sent, SentPurchase};
use crate::app::App;
use crate::catalog::{Description, ProductName};
use crate::error::{Error, Result};
use crate::rest::{IfMatch, List, Post, Put, Reply, Segment};
use crate::values::{Decimal, Invalid, Quantity};

/// A purchase as the classic paths show it: every value a string.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ClassicPurchase {
    product_purchase_id: PurchaseId,
    product_id: Reference,
    product_name: ProductName,
    #[serde(skip_serializing_if = "Option::is_none")]
    product_description: Option<Description>,
    category: Category,
    /// Major units, exact.
    price_per_unit: String,
    quantity: String,
    /// Major units, exact.
    total_price: String,
    customer_id: Reference,
    customer_name: CustomerName,
    time_of_purchase: PurchaseTime,
    /// `create` or `update`.
    #[serde(rename = "action")]
    action: &'static str,
}

impl ClassicPurchase {
    fn of(id: PurchaseId, action: &'static str, purchase: Purchase) -> Self {
        ClassicPurchase {
            product_purchase_id: id,
            product_id: purchase.product_id,
            product_name: purchase.product_name,
            product_description: Some(purchase.product_description).filter(|text| !text.as_str().is_empty()),
            category: purchase.category,
            price_per_unit: purchase.unit_price.to_decimal().as_str().to_owned(),
            quantity: purchase.quantity.get().to_string(),
            total_price: purchase.total.to_decimal().as_str().to_owned(),
            customer_id: purchase.customer_id,
            customer_name: purchase.customer_name,
            time_of_purchase: purchase.purchased_at,
            action,
        }
    }

    fn of_known(known: &KnownPurchase) -> Option<Self> {
        let purchase = known.standing.purchase()?.clone();
        Some(ClassicPurchase::of(known.id, known.standing.action.name(), purchase))
    }
}

/// A number, or a string that is one, exactly as it was written.
#[derive(Debug)]
pub struct Numeric(Decimal);

impl<'de> Deserialize<'de> for Numeric {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text: String = match raw.get() {
            text if text.starts_with('"') => serde_json::from_str(text).map_err(serde::de::Error::custom)?,
            text => text.to_owned(),
        };
        Decimal::parse(text.trim()).map(Numeric).map_err(serde::de::Error::custom)
    }
}

impl Numeric {
    /// The number as a quantity: `3`, and `3.0` as some languages write it.
    fn quantity(&self) -> Result<Quantity, Invalid> {
        let text = self.0.as_str();
        let whole = text
            .split_once('.')
            .map_or(text, |(whole, fraction)| if fraction.bytes().all(|digit| digit == b'0') { whole } else { text });
        Quantity::try_from(whole.parse::<i64>().unwrap_or(0))
    }
}

/// A purchase to record. Amounts are in major units; numbers may be sent as numbers or as strings.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ClassicSentPurchase {
    #[serde(default)]
    #[schema(value_type = Reference, required = true)]
    product_id: Sent<Reference>,
    #[serde(default)]
    #[schema(value_type = ProductName, required = true)]
    product_name: Sent<ProductName>,
    #[serde(default)]
    #[schema(value_type = Description)]
    product_description: Sent<Description>,
    #[serde(default)]
    #[schema(value_type = Category, required = true)]
    category: Sent<Category>,
    #[serde(default)]
    #[schema(value_type = String, required = true)]
    price_per_unit: Sent<Numeric>,
    #[serde(default)]
    #[schema(value_type = String, required = true)]
    quantity: Sent<Numeric>,
    /// Must be price × quantity.
    #[serde(default)]
    #[schema(value_type = String, required = true)]
    total_price: Sent<Numeric>,
    #[serde(default)]
    #[schema(value_type = Reference, required = true)]
    customer_id: Sent<Reference>,
    #[serde(default)]
    #[schema(value_type = CustomerName, required = true)]
    customer_name: Sent<CustomerName>,
    #[serde(default)]
    #[schema(value_type = PurchaseTime, required = true)]
    time_of_purchase: Sent<PurchaseTime>,
}

/// Whether a JSON object is spelled as here: all names but `action` begin with a capital, and none does under `/v1`.
pub(super) fn is_spelled_so(object: &str) -> bool {
    let names: Result<HashMap<String, IgnoredAny>, _> = serde_json::from_str(object);
    names.is_ok_and(|names| names.keys().any(|name| name.starts_with(|first: char| first.is_ascii_uppercase())))
}

/// The purchase in this shop, or every field that stands in its way.
pub(super) fn checked(app: &App, sent: ClassicSentPurchase) -> Result<Purchase> {
    let currency = app.config.currency;
    let sent = SentPurchase {
        product_id: sent.product_id,
        product_name: sent.product_name,
        product_description: sent.product_description,
        category: sent.category,
        unit_price: sent.price_per_unit.and_then(|number| number.0.to_money(currency)),
        quantity: sent.quantity.and_then(|number| number.quantity()),
        total: sent.total_price.and_then(|number| number.0.to_money(currency)),
        customer_id: sent.customer_id,
        customer_name: sent.customer_name,
        purchased_at: sent.time_of_purchase,
    };
    sent.check(&Names::CLASSIC, currency).map_err(Error::fields)
}

/// A message that was sent.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassicPurchaseMessage {
    message: &'static str,
    #[schema(value_type = String, format = Uuid)]
    message_id: Uuid,
    /// The purchase, when it is new.
    #[serde(rename = "ProductPurchaseId", skip_serializing_if = "Option::is_none")]
    product_purchase_id: Option<PurchaseId>,
}

impl ClassicPurchaseMessage {
    fn of(accepted: &Accepted) -> Self {
        let message = "Message sent successfully";
        ClassicPurchaseMessage { message, message_id: accepted.message_id, product_purchase_id: None }
    }
}

pub(crate) async fn list_purchases(app: App, list: List) -> Result<Reply<200, Vec<ClassicPurchase>>> {
    let listing = ops::list_purchases(&app, &list).await?;
    Ok(Reply::bare_page(&list, listing, |known| ClassicPurchase::of_known(&known)))
}

pub(crate) async fn get_purchase(app: App, Segment(id): Segment<PurchaseId>) -> Result<Reply<200, ClassicPurchase>> {
    let known = ops::get_purchase(&app, id).await?;
    let shown = ClassicPurchase::of_known(&known);
    shown.map(Reply::new).ok_or_else(|| Error::not_found("purchase_not_found", "such purchase"))
}

pub(crate) async fn record_purchase(
    app: App,
    post: Post<ClassicSentPurchase>,
) -> Result<Reply<200, ClassicPurchaseMessage>> {
    let purchase = checked(&app, post.body)?;
    let accepted = ops::record_purchase(&app, &post.once, purchase).await?;
    let message = ClassicPurchaseMessage::of(&accepted);
    Ok(Reply::new(ClassicPurchaseMessage { product_purchase_id: Some(accepted.id), ..message }))
}

pub(crate) async fn replace_purchase(
    app: App,
    Segment(id): Segment<PurchaseId>,
    if_match: IfMatch,
    Put(sent): Put<ClassicSentPurchase>,
) -> Result<Reply<200, ClassicPurchaseMessage>> {
    let purchase = checked(&app, sent)?;
    let accepted = ops::replace_purchase(&app, id, &if_match, purchase).await?;
    Ok(Reply::new(ClassicPurchaseMessage::of(&accepted)))
}

pub(crate) async fn delete_purchase(
    app: App,
    Segment(id): Segment<PurchaseId>,
    if_match: IfMatch,
) -> Result<Reply<200, ClassicPurchaseMessage>> {
    let accepted = ops::delete_purchase(&app, id, &if_match).await?;
    Ok(Reply::new(ClassicPurchaseMessage::of(&accepted)))
}
