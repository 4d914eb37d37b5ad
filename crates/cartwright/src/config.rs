//! What an operator may set. Read once, in `main`; the services see only this struct.

use iso_currency::Currency;

/// Settings of the shop.
#[derive(Debug, Clone)]
pub struct Config {
    /// The currency of every price. Fixed once there are products: amounts are stored in its minor units.
    pub currency: Currency,
    /// The tables that the operations endpoint may use; it leads to no others.
    pub operation_tables: Vec<String>,
}

/// The one table that the operations endpoint may use when nothing is configured.
pub const DEFAULT_OPERATION_TABLE: &str = "lambda-apigateway";

impl Default for Config {
    fn default() -> Self {
        Config { currency: Currency::USD, operation_tables: vec![DEFAULT_OPERATION_TABLE.to_owned()] }
    }
}
