//! The catalogue: products, their stock, and the reservations orders hold on it.
//!
//! Stock is two integers: `on_hand`, what lies in the house, and `available`, what may still be sold. What is reserved is
//! their difference. `available` never falls below 0, whoever races for it: reserving is one conditional adjustment of
//! every line, all or none. An order's reservation is one document whose state decides what the next event may do, so
//! that stock is taken once and given back once however often and in whatever order events arrive.

pub mod classic;
mod events;
pub mod http;
mod index;
pub mod ops;
mod store;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Error, Kind, Result};
use crate::values::{Money, OrderId, ProductId, Quantity, Text, Username};

pub use events::{on_order_cancelled, on_order_placed, on_order_shipped, on_stock_moved};
pub use index::ensure_indexed;
pub use ops::{find_availability, quote};

/// A product's name.
pub type ProductName = Text<1, 200>;
/// A product's description.
pub type Description = Text<0, 4000>;
/// The name or URL of a product's picture.
pub type ImageFile = Text<0, 500>;
/// The category a product is listed under; empty for none. Compared as it is, upper and lower case apart.
pub type Category = Text<0, 100>;
/// A remark on a stock movement.
pub type Note = Text<0, 500>;

/// Largest stock of one product: far above any shelf, far below overflow.
pub const MAX_STOCK: i64 = 1_000_000_000;

/// A product as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Product {
    /// Its id.
    pub id: ProductId,
    /// Its name.
    pub name: ProductName,
    /// What it is.
    pub description: Description,
    /// Its picture.
    pub image_file: ImageFile,
    /// Its category.
    pub category: Category,
    /// What one costs.
    pub price: Money,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When its name, description, picture, category or price last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// What a caller says of a new product.
#[derive(Debug, Clone)]
pub struct NewProduct {
    /// Its id when it comes from elsewhere and has one; else it gets a new one.
    pub id: Option<ProductId>,
    /// Its name.
    pub name: ProductName,
    /// What it is.
    pub description: Description,
    /// Its picture.
    pub image_file: ImageFile,
    /// Its category.
    pub category: Category,
    /// What one costs.
    pub price: Money,
    /// How many are on hand; without it, stock is not tracked and the product is always available.
    pub stock: Option<StockCount>,
}

/// What is to change in a product; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct ProductPatch {
    /// New name.
    pub name: Option<ProductName>,
    /// New description.
    pub description: Option<Description>,
    /// New picture.
    pub image_file: Option<ImageFile>,
    /// New category.
    pub category: Option<Category>,
    /// New price.
    pub price: Option<Money>,
    /// New stock: so many are to be available from now on.
    pub available: Option<StockCount>,
}

impl ProductPatch {
    /// Whether anything of the product itself (not its stock) is to change.
    pub fn touches_product(&self) -> bool {
        self.name.is_some()
            || self.description.is_some()
            || self.image_file.is_some()
            || self.category.is_some()
            || self.price.is_some()
    }

    /// The product after the change.
    pub fn apply(&self, product: &Product, now: Timestamp) -> Product {
        let mut changed = product.clone();
        changed.name = self.name.clone().unwrap_or(changed.name);
        changed.description = self.description.clone().unwrap_or(changed.description);
        changed.image_file = self.image_file.clone().unwrap_or(changed.image_file);
        changed.category = self.category.clone().unwrap_or(changed.category);
        changed.price = self.price.unwrap_or(changed.price);
        changed.updated_at = now;
        changed
    }
}

/// A number of pieces from 0 to [`MAX_STOCK`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "i64", into = "i64")]
#[schema(value_type = u32, maximum = 1_000_000_000)]
pub struct StockCount(i64);

impl StockCount {
    /// The number.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for StockCount {
    type Error = String;
    fn try_from(count: i64) -> Result<Self, String> {
        if (0..=MAX_STOCK).contains(&count) {
            Ok(StockCount(count))
        } else {
            Err(format!("must be a whole number from 0 to {MAX_STOCK}"))
        }
    }
}

impl From<StockCount> for i64 {
    fn from(count: StockCount) -> i64 {
        count.0
    }
}

/// The stock of a product as it is stored. A product without this document is not tracked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stock {
    /// Pieces in the house.
    pub on_hand: i64,
    /// Pieces that may still be sold.
    pub available: i64,
}

impl Stock {
    /// Pieces that are promised to orders and have not left yet.
    pub fn reserved(self) -> i64 {
        self.on_hand - self.available
    }

    /// The stock after a change made by hand.
    ///
    /// # Errors
    /// `stock_insufficient` when there is less than is to be taken, `stock_reserved` when less would be left than orders
    /// hold reservations on, `stock_too_large` beyond [`MAX_STOCK`].
    pub fn change(self, on_hand_by: i64) -> Result<Stock> {
        if self.on_hand + on_hand_by < 0 {
            let message = format!("There are only {} pieces.", self.on_hand);
            return Err(Error::new(Kind::Conflict, "stock_insufficient", message).with("onHand", self.on_hand));
        }
        let changed = Stock { on_hand: self.on_hand + on_hand_by, available: self.available + on_hand_by };
        if changed.available < 0 {
            let message = format!("{} of {} pieces are reserved by orders.", self.reserved(), self.on_hand);
            return Err(Error::new(Kind::Conflict, "stock_reserved", message).with("reserved", self.reserved()));
        }
        if changed.on_hand > MAX_STOCK {
            return Err(Error::new(Kind::Conflict, "stock_too_large", format!("Stock goes up to {MAX_STOCK}.")));
        }
        Ok(changed)
    }
}

/// Why stock moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum MovementKind {
    /// Goods came in.
    Received,
    /// Goods were lost, broken or given away.
    WrittenOff,
    /// The shelf was counted and the books put right.
    Counted,
    /// The product left the catalogue, and its books were closed.
    Removed,
    /// An order holds them.
    Reserved,
    /// An order no longer holds them.
    Released,
    /// They left with an order.
    Shipped,
}

/// The id of a line of a ledger: that of the event that moved the stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MovementId(pub uuid::Uuid);

/// One line of a product's ledger. The sums of all lines of a product are its stock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Movement {
    /// The id of the event that moved it.
    #[schema(value_type = String, format = Uuid)]
    pub id: uuid::Uuid,
    /// Why.
    pub kind: MovementKind,
    /// Change of what lies in the house.
    pub on_hand: i64,
    /// Change of what may still be sold.
    pub available: i64,
    /// The order, when one caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<OrderId>,
    /// A remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Note>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// Event: stock of some products moved, for one reason.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StockMoved {
    /// Why.
    pub kind: MovementKind,
    /// The order, when one caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<OrderId>,
    /// A remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Note>,
    /// What moved; each product once.
    pub changes: Vec<StockChange>,
}

/// How the stock of one product changed.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StockChange {
    /// The product.
    pub product_id: ProductId,
    /// Change of what lies in the house.
    pub on_hand: i64,
    /// Change of what may still be sold.
    pub available: i64,
}

/// Event: a product ran out, or came back.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StockLevel {
    /// The product.
    pub product_id: ProductId,
    /// Its name then; events of older releases do not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_name: Option<ProductName>,
    /// Pieces that may be sold now.
    pub available: i64,
}

/// Event: a product left the catalogue.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProductRemoved {
    /// Which it was.
    pub product_id: ProductId,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// Whether a product can be had.
#[derive(Debug, Clone)]
pub struct Availability {
    /// Its name.
    pub name: ProductName,
    /// Pieces that can be sold now; none when stock is not tracked, and it can always be had.
    pub available: Option<i64>,
    /// Whether it was announced as depleted last, and not yet as replenished.
    pub is_depleted: bool,
}

impl Availability {
    /// Whether at least one can be sold now.
    pub fn can_be_had(&self) -> bool {
        self.available.is_none_or(|available| available > 0)
    }
}

/// Event: all lines of an order are reserved.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StockReserved {
    /// The order.
    pub order_id: OrderId,
    /// Whose it is.
    pub customer: Username,
}

/// Event: nothing of an order is reserved, because some lines cannot be.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StockRejected {
    /// The order.
    pub order_id: OrderId,
    /// Whose it is.
    pub customer: Username,
    /// Each line that cannot be fulfilled, and why.
    pub rejections: Vec<Rejection>,
}

/// Why one product of an order cannot be delivered as ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    /// The product.
    pub product_id: ProductId,
    /// What stands in the way.
    #[serde(flatten)]
    pub reason: RejectionReason,
}

/// What stands in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "reason", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum RejectionReason {
    /// Fewer are available than were ordered.
    OutOfStock {
        /// Pieces ordered, over all lines of the product.
        asked: u32,
        /// Pieces available.
        available: i64,
    },
    /// The order has another price than the catalogue.
    PriceChanged {
        /// In the order.
        ordered: Money,
        /// In the catalogue.
        current: Money,
    },
    /// The product is no longer in the catalogue.
    Gone,
}

/// What an order holds of the stock: one document an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reservation {
    /// Where it stands.
    pub state: ReservationState,
    /// What of each tracked product it holds or held.
    pub holds: Vec<Hold>,
}

/// Where a reservation stands. It never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReservationState {
    /// The order holds its stock.
    Reserved,
    /// It could not be reserved.
    Rejected,
    /// It was given back, or called off before it was reserved.
    Released,
    /// It left the house.
    Shipped,
}

/// Pieces of one product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// The product.
    pub product_id: ProductId,
    /// When that product was created: another one that later gets the same id owes this order nothing.
    pub product_created_at: Timestamp,
    /// Pieces.
    pub quantity: u32,
}

/// What an order asks of one product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// The product.
    pub product_id: ProductId,
    /// At which price.
    pub unit_price: Money,
    /// How many.
    pub quantity: Quantity,
}

/// What the catalogue knows of a product that is asked for.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The product.
    pub product: Arc<Product>,
    /// Its stock, when tracked.
    pub stock: Option<Stock>,
}

/// Decides whether `demands` can be reserved: all of them or none. On success, what to hold of each tracked product; the
/// lines of one product are added up.
pub fn reserve(demands: &[Demand], offers: &BTreeMap<ProductId, Offer>) -> Result<Vec<Hold>, Vec<Rejection>> {
    let mut asked: BTreeMap<ProductId, u32> = BTreeMap::new();
    let mut rejections = BTreeMap::new();
    for demand in demands {
        *asked.entry(demand.product_id).or_default() += demand.quantity.get();
        let reason = match offers.get(&demand.product_id) {
            None => RejectionReason::Gone,
            Some(offer) if offer.product.price != demand.unit_price => {
                RejectionReason::PriceChanged { ordered: demand.unit_price, current: offer.product.price }
            }
            Some(_) => continue,
        };
        rejections.insert(demand.product_id, reason);
    }
    let mut holds = Vec::new();
    for (&product_id, &quantity) in &asked {
        let Some(offer) = offers.get(&product_id) else { continue };
        let Some(stock) = offer.stock else { continue };
        if stock.available < i64::from(quantity) {
            let reason = RejectionReason::OutOfStock { asked: quantity, available: stock.available };
            rejections.entry(product_id).or_insert(reason);
        }
        holds.push(Hold { product_id, product_created_at: offer.product.created_at, quantity });
    }
    if rejections.is_empty() {
        Ok(holds)
    } else {
        Err(rejections.into_iter().map(|(product_id, reason)| Rejection { product_id, reason }).collect())
    }
}

#[cfg(test)]
mod tests {
    use iso_currency::Currency;
    use proptest::prelude::*;

    use super::*;

    fn usd(amount: i64) -> Money {
        Money { amount, currency: Currency::USD }
    }

    fn offer(id: u128, price: i64, available: Option<i64>) -> (ProductId, Offer) {
        let product = Product {
            id: ProductId(uuid::Uuid::from_u128(id)),
            name: "x".try_into().unwrap(),
            description: "".try_into().unwrap(),
            image_file: "".try_into().unwrap(),
            category: "".try_into().unwrap(),
            price: usd(price),
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        };
        let stock = available.map(|available| Stock { on_hand: available, available });
        (product.id, Offer { product: Arc::new(product), stock })
    }

    fn demand(id: u128, price: i64, quantity: i64) -> Demand {
        let product_id = ProductId(uuid::Uuid::from_u128(id));
        Demand { product_id, unit_price: usd(price), quantity: quantity.try_into().unwrap() }
    }

    #[test]
    fn stock_goes_down_to_what_is_reserved_and_up_to_the_largest_and_no_further() {
        let (free, held) = (Stock { on_hand: 5, available: 5 }, Stock { on_hand: 5, available: 2 });
        for (stock, by, expected) in [
            (free, -5, Ok((0, 0))),
            (free, -6, Err("stock_insufficient")),
            (held, -2, Ok((3, 0))),
            (held, -3, Err("stock_reserved")),
            (free, MAX_STOCK - 5, Ok((MAX_STOCK, MAX_STOCK))),
            (free, MAX_STOCK - 4, Err("stock_too_large")),
        ] {
            let changed = stock.change(by).map(|changed| (changed.on_hand, changed.available));
            assert_eq!(changed.map_err(|error| error.code()), expected, "{stock:?} {by}");
        }
    }

    #[test]
    fn a_number_of_pieces_is_written_as_it_was_read() {
        for count in [0, 7, MAX_STOCK] {
            let read = StockCount::try_from(count).unwrap();
            assert_eq!((read.get(), serde_json::to_value(read).unwrap()), (count, serde_json::json!(count)));
        }
        for count in [-1, MAX_STOCK + 1] {
            assert!(StockCount::try_from(count).is_err(), "{count}");
        }
    }

    #[test]
    fn two_lines_of_one_product_are_one_demand() {
        let offers = BTreeMap::from([offer(1, 100, Some(5))]);
        let rejections = reserve(&[demand(1, 100, 3), demand(1, 100, 3)], &offers).unwrap_err();
        assert_eq!(rejections[0].reason, RejectionReason::OutOfStock { asked: 6, available: 5 });
        let holds = reserve(&[demand(1, 100, 3), demand(1, 100, 2)], &offers).unwrap();
        assert_eq!(holds.iter().map(|hold| hold.quantity).collect::<Vec<_>>(), [5]);
    }

    #[test]
    fn a_price_that_is_not_the_catalogues_is_rejected() {
        let offers = BTreeMap::from([offer(1, 100, None)]);
        let rejections = reserve(&[demand(1, 1, 1), demand(2, 1, 1)], &offers).unwrap_err();
        assert_eq!(rejections[0].reason, RejectionReason::PriceChanged { ordered: usd(1), current: usd(100) });
        assert_eq!(rejections[1].reason, RejectionReason::Gone);
        assert_eq!(reserve(&[demand(1, 100, 9)], &offers), Ok(vec![]), "untracked stock is held by nobody");
    }

    proptest! {
        #[test]
        fn never_more_is_held_than_is_available(
            stocks in proptest::collection::vec(0_i64..20, 1..5),
            asks in proptest::collection::vec((0_usize..5, 1_i64..9), 1..12),
        ) {
            let offers: BTreeMap<_, _> = stocks.iter().enumerate().map(|(id, &n)| offer(id as u128, 100, Some(n))).collect();
            let demands: Vec<_> = asks.iter().map(|&(id, quantity)| demand(id as u128, 100, quantity)).collect();
            let total = |id: ProductId| demands.iter().filter(|d| d.product_id == id).map(|d| i64::from(d.quantity.get())).sum::<i64>();
            match reserve(&demands, &offers) {
                Ok(holds) => for hold in &holds {
                    prop_assert_eq!(i64::from(hold.quantity), total(hold.product_id));
                    prop_assert!(i64::from(hold.quantity) <= offers[&hold.product_id].stock.unwrap().available);
                },
                Err(rejections) => for rejection in rejections {
                    let available = offers.get(&rejection.product_id).map_or(0, |offer| offer.stock.unwrap().available);
                    prop_assert!(total(rejection.product_id) > available);
                },
            }
        }

        #[test]
        fn a_change_by_hand_never_takes_what_is_reserved(on_hand in 0..1000_i64, reserved in 0..1000_i64, by in -2000..2000_i64) {
            prop_assume!(reserved <= on_hand);
            let stock = Stock { on_hand, available: on_hand - reserved };
            match stock.change(by) {
                Ok(changed) => {
                    prop_assert_eq!(changed.reserved(), reserved);
                    prop_assert!(changed.available >= 0);
                }
                Err(_) => prop_assert!(on_hand + by < reserved),
            }
        }
    }
}
