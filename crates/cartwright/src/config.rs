//! What an operator may set. Read once, in `main`; the services see only this struct.

use iso_currency::Currency;

use crate::values::Email;

/// Settings of the shop.
#[derive(Debug, Clone)]
pub struct Config {
    /// The currency of every price. Fixed once there are products: amounts are stored in its minor units.
    pub currency: Currency,
    /// The tables that the operations endpoint may use; it leads to no others.
    pub operation_tables: Vec<String>,
    /// Who is mailed.
    pub email: EmailConfig,
    /// Whether webhooks may go to addresses that are not of the public internet, and without TLS.
    pub webhook_allow_private: bool,
}

/// Who is mailed what they are told.
#[derive(Debug, Clone, Default)]
pub struct EmailConfig {
    /// Whether customers are.
    pub customers: bool,
    /// Where operators are, if anywhere.
    pub operators: Option<Email>,
}

/// The one table that the operations endpoint may use when nothing is configured.
pub const DEFAULT_OPERATION_TABLE: &str = "lambda-apigateway";

impl Default for Config {
    fn default() -> Self {
        Config {
            currency: Currency::USD,
            operation_tables: vec![DEFAULT_OPERATION_TABLE.to_owned()],
            email: EmailConfig::default(),
            webhook_allow_private: false,
        }
    }
}
