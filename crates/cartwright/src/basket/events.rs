//! What baskets do when a customer is erased.

use super::ops;
use crate::app::App;
use crate::customers::CustomerErased;
use crate::error::Result;

/// A customer was erased: throw their basket away.
///
/// # Errors
/// Those of the store; all of them are worth another try.
pub async fn on_customer_erased(app: &App, erased: CustomerErased) -> Result<()> {
    ops::discard_basket(app, &erased.username, erased.at).await
}
