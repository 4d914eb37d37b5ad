//! `/v1`, resource by resource.

mod baskets;
mod checkout;
mod customers;
mod feed;
mod notifications;
mod orders;
mod products;
pub(crate) mod purchases;
pub(crate) mod queues;
mod stock;

use crate::Check;

/// Those of all resources.
pub(crate) const CHECKS: &[&[Check]] = &[
    products::CHECKS,
    stock::CHECKS,
    baskets::CHECKS,
    checkout::CHECKS,
    orders::CHECKS,
    customers::CHECKS,
    purchases::CHECKS,
    queues::CHECKS,
    notifications::CHECKS,
    feed::CHECKS,
];
