//! Watchers: customers who want to be told once when a product is back in stock.
//!
//! When a product comes back, everyone who watches it is told, each in a commit that also takes the watch away: so once for
//! each watch, whatever comes twice. There may be thousands; they are gone through in pages, each of which asks for the next.
//! Whoever cannot be told gets a message of their own, and holds up nobody.

pub mod http;
pub(super) mod ops;
mod store;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::values::{ProductId, Username};

/// Most products that one customer watches: as many as are read at once.
pub const MAX_WATCHES: usize = 100;

/// That a customer waits for a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Watch {
    /// For which.
    #[schema(value_type = String, format = Uuid)]
    pub product_id: ProductId,
    /// Who.
    pub username: Username,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

/// Event: those who watch a product that is back in stock are to be told.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WatchersDue {
    /// Which.
    pub product_id: ProductId,
    /// Those from here on; all of them without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// This one alone, who could not be told together with others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Username>,
}

impl WatchersDue {
    /// All who watch a product.
    pub fn all(product_id: ProductId) -> Self {
        WatchersDue { product_id, after: None, only: None }
    }
}
