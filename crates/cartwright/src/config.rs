//! What an operator may set. Read once, in `main`; the services see only this struct.

use iso_currency::Currency;

/// Settings of the shop.
#[derive(Debug, Clone)]
pub struct Config {
    /// The currency of every price. Fixed once there are products: amounts are stored in its minor units.
    pub currency: Currency,
}

impl Default for Config {
    fn default() -> Self {
        Config { currency: Currency::USD }
    }
}
