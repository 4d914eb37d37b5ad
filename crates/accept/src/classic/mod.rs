//! The classic paths, design by design and row by row, with the bodies and statuses their clients expect.

mod baskets;
mod checkout;
mod events;
mod operations;
mod orders;
mod products;
mod purchases;
mod stock;
mod users;

use serde_json::{Value, json};

use crate::Check;
use crate::client::Answer;
use crate::probe::{Outcome, each, ensure, holds, list};

pub(crate) use events::put_events;

/// Those of all designs, in their order.
pub(crate) const CHECKS: &[&[Check]] = &[
    products::CHECKS,
    baskets::CHECKS,
    checkout::CHECKS,
    events::CHECKS,
    users::CHECKS,
    orders::CHECKS,
    purchases::CHECKS,
    stock::CHECKS,
    operations::CHECKS,
];

/// The `body` of the first design's envelope, which is checked: a 200 that says which method is done.
fn shop(answer: Answer, method: &str) -> Outcome<Value> {
    let request = answer.request.clone();
    let whole = answer.expect(200)?;
    let message = json!({"message": format!("Successfully finished operation: \"{method}\"")});
    holds(&request, &whole, &message)?;
    whole.get("body").cloned().ok_or_else(|| format!("{request}: no body in {whole}"))
}

/// Whether this is a UUID.
fn is_uuid(text: &str) -> bool {
    let parts: Vec<usize> = text.split('-').map(str::len).collect();
    parts == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

/// Checks that these are two pages of at most so many things, and that nothing is on both. A page of a list that others
/// change meanwhile may be shorter than it could be.
fn are_pages(first: &Value, second: &Value, most: usize, id: &str) -> Outcome {
    let (first, second) = (each(list(first)?, id), each(list(second)?, id));
    ensure!(first.len() <= most && second.len() <= most, "pages of at most {most}: {first:?} {second:?}");
    ensure!(first.iter().all(|id| !second.contains(id)), "on two pages: {first:?} {second:?}");
    Ok(())
}

/// A page of the first design and the path of the next. A page that is not the last must say so in its body too.
fn shop_page(answer: Answer, path: &str) -> Outcome<(Value, Option<String>)> {
    let body = answer.body.clone();
    let things = shop(answer, "GET")?;
    ensure!(things.is_array(), "{path}: not an array: {things}");
    let separator = if path.contains('?') { '&' } else { '?' };
    Ok((things, body["nextCursor"].as_str().map(|cursor| format!("{path}{separator}cursor={cursor}"))))
}
