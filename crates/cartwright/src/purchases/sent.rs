//! A purchase as it was sent: every field checked on its own, so that every bad one is named.

use iso_currency::Currency;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{Category, CustomerName, Purchase, PurchaseTime, Reference};
use crate::catalog::{Description, ProductName};
use crate::error::FieldError;
use crate::values::{Invalid, MAX_AMOUNT_MINOR, Money, Quantity};

/// A field as it was sent. Reading one never fails; what is wrong with it is told together with what is wrong with the
/// others.
#[derive(Debug, Default)]
pub enum Sent<T> {
    /// Not there, or null.
    #[default]
    Missing,
    /// There, but it cannot be, for this reason.
    Bad(String),
    /// There and good.
    Good(T),
}

impl<T> Sent<T> {
    /// The field as something else, which it may turn out not to be.
    pub fn and_then<U>(self, convert: impl FnOnce(T) -> Result<U, Invalid>) -> Sent<U> {
        match self {
            Sent::Missing => Sent::Missing,
            Sent::Bad(why) => Sent::Bad(why),
            Sent::Good(value) => convert(value).map_or_else(|why| Sent::Bad(why.to_string()), Sent::Good),
        }
    }

    /// The value; what stands in its way goes into `bad`.
    fn take(self, pointer: &str, bad: &mut Vec<FieldError>) -> Option<T> {
        let detail = match self {
            Sent::Good(value) => return Some(value),
            Sent::Bad(why) => why,
            Sent::Missing => "is required".to_owned(),
        };
        bad.push(FieldError { pointer: pointer.to_owned(), detail });
        None
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Sent<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        if raw.get() == "null" {
            return Ok(Sent::Missing);
        }
        Ok(match serde_json::from_str(raw.get()) {
            Ok(value) => Sent::Good(value),
            Err(error) => {
                let why = error.to_string();
                Sent::Bad(shortened(why.rsplit_once(" at line ").map_or(why.as_str(), |(why, _)| why)))
            }
        })
    }
}

/// Longest reason, in characters: some quote what was sent, which may be long.
const MAX_REASON: usize = 300;

/// A reason, cut when it is too long.
pub(super) fn shortened(reason: &str) -> String {
    match reason.char_indices().nth(MAX_REASON) {
        Some((at, _)) => format!("{}…", &reason[..at]),
        None => reason.to_owned(),
    }
}

/// A purchase as it is sent to `/v1` and travels in the queue.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SentPurchase {
    /// What was bought, as the system it was bought in calls it.
    #[serde(default)]
    #[schema(value_type = Reference, required = true)]
    pub product_id: Sent<Reference>,
    /// Its name.
    #[serde(default)]
    #[schema(value_type = ProductName, required = true)]
    pub product_name: Sent<ProductName>,
    /// What it is.
    #[serde(default)]
    #[schema(value_type = Description)]
    pub product_description: Sent<Description>,
    /// Its category.
    #[serde(default)]
    #[schema(value_type = Category, required = true)]
    pub category: Sent<Category>,
    /// What one cost.
    #[serde(default)]
    #[schema(value_type = Money, required = true)]
    pub unit_price: Sent<Money>,
    /// How many.
    #[serde(default)]
    #[schema(value_type = Quantity, required = true)]
    pub quantity: Sent<Quantity>,
    /// Must be price × quantity.
    #[serde(default)]
    #[schema(value_type = Money, required = true)]
    pub total: Sent<Money>,
    /// Who bought it, as the system it was bought in calls them.
    #[serde(default)]
    #[schema(value_type = Reference, required = true)]
    pub customer_id: Sent<Reference>,
    /// Their name.
    #[serde(default)]
    #[schema(value_type = CustomerName, required = true)]
    pub customer_name: Sent<CustomerName>,
    /// When.
    #[serde(default)]
    #[schema(value_type = PurchaseTime, required = true)]
    pub purchased_at: Sent<PurchaseTime>,
}

/// Where each field stands in a body.
pub struct Names {
    product_id: &'static str,
    product_name: &'static str,
    product_description: &'static str,
    category: &'static str,
    unit_price: &'static str,
    quantity: &'static str,
    total: &'static str,
    customer_id: &'static str,
    customer_name: &'static str,
    purchased_at: &'static str,
}

impl Names {
    /// Under `/v1` and in the queue.
    pub const V1: Names = Names {
        product_id: "/productId",
        product_name: "/productName",
        product_description: "/productDescription",
        category: "/category",
        unit_price: "/unitPrice",
        quantity: "/quantity",
        total: "/total",
        customer_id: "/customerId",
        customer_name: "/customerName",
        purchased_at: "/purchasedAt",
    };

    /// On the classic paths.
    pub const CLASSIC: Names = Names {
        product_id: "/ProductId",
        product_name: "/ProductName",
        product_description: "/ProductDescription",
        category: "/Category",
        unit_price: "/PricePerUnit",
        quantity: "/Quantity",
        total: "/TotalPrice",
        customer_id: "/CustomerId",
        customer_name: "/CustomerName",
        purchased_at: "/TimeOfPurchase",
    };

    /// All of them, in the order in which a purchase is written.
    pub fn all(&self) -> [&'static str; 10] {
        let Names { product_id, product_name, product_description, category, unit_price, .. } = *self;
        let Names { quantity, total, customer_id, customer_name, purchased_at, .. } = *self;
        [
            product_id,
            product_name,
            product_description,
            category,
            unit_price,
            quantity,
            total,
            customer_id,
            customer_name,
            purchased_at,
        ]
    }
}

impl SentPurchase {
    /// The purchase in a shop of this `currency`, or every field that stands in its way, by these `names`.
    pub fn check(self, names: &Names, currency: Currency) -> Result<Purchase, Vec<FieldError>> {
        let mut bad = Vec::new();
        let description = match self.product_description {
            Sent::Missing => Sent::Good(Description::default()),
            sent => sent,
        };
        let product_id = self.product_id.take(names.product_id, &mut bad);
        let product_name = self.product_name.take(names.product_name, &mut bad);
        let product_description = description.take(names.product_description, &mut bad);
        let category = self.category.take(names.category, &mut bad);
        let unit_price = self.unit_price.and_then(|price| in_shop(price, currency)).take(names.unit_price, &mut bad);
        let quantity = self.quantity.take(names.quantity, &mut bad);
        let total = self.total.and_then(|total| in_shop(total, currency)).take(names.total, &mut bad);
        let customer_id = self.customer_id.take(names.customer_id, &mut bad);
        let customer_name = self.customer_name.take(names.customer_name, &mut bad);
        let purchased_at = self.purchased_at.take(names.purchased_at, &mut bad);
        if let (Some(unit_price), Some(quantity), Some(total)) = (unit_price, quantity, total)
            && unit_price.times(quantity).ok() != Some(total)
        {
            let detail = format!("must be the price times the quantity: {unit_price} × {}", quantity.get());
            bad.push(FieldError { pointer: names.total.to_owned(), detail });
        }
        if !bad.is_empty() {
            return Err(bad);
        }
        let purchase = || {
            Some(Purchase {
                product_id: product_id?,
                product_name: product_name?,
                product_description: product_description?,
                category: category?,
                unit_price: unit_price?,
                quantity: quantity?,
                total: total?,
                customer_id: customer_id?,
                customer_name: customer_name?,
                purchased_at: purchased_at?,
            })
        };
        Ok(purchase().expect("a field that is not there is a bad field"))
    }
}

/// Accepts an amount of this shop: in its currency, not negative, not beyond what a price may be.
fn in_shop(money: Money, currency: Currency) -> Result<Money, Invalid> {
    if money.currency != currency {
        return Err(Invalid(format!("must be in {}, this shop's currency", currency.code()).into()));
    }
    if money.amount < 0 {
        return Err(Invalid("must not be negative".into()));
    }
    if money.amount > MAX_AMOUNT_MINOR {
        return Err(Invalid(format!("must be at most {}", Money { amount: MAX_AMOUNT_MINOR, currency }).into()));
    }
    Ok(money)
}
