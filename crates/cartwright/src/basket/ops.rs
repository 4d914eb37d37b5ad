//! What can be done with baskets: load → pure function → commit.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::store::{self, Checkout};
use super::{
    Basket, CheckoutBasket, CheckoutItem, CheckoutRequest, Color, LineRequest, MAX_LINES, Merge, price_lines, put_line,
    settle,
};
use crate::app::App;
use crate::catalog;
use crate::error::{Error, Result};
use crate::events::Event;
use crate::ordering::Status;
use crate::rest::{IfMatch, List, Listing};
use crate::store::{Batch, Change, Cursor, Expect, Once, Table, list_merged, transact};
use crate::values::{Money, OrderId, ProductId, Username};

/// How long an accepted checkout can be looked up by its order id before ordering has written the order: as long as a
/// message may wait before someone must have looked.
const CHECKOUT_KEPT: SignedDuration = SignedDuration::from_hours(24);

/// How long a closed basket stays: far longer than any request that may have read it open.
const CLOSED_KEPT: SignedDuration = SignedDuration::from_mins(15);

/// Most pages that are looked through for open baskets to fill one.
const MAX_PAGES_OF_CLOSED: usize = 5;

/// A basket and how often it was written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VersionedBasket {
    /// The basket.
    pub basket: Arc<Basket>,
    /// Its version.
    pub version: u64,
    /// Whether the user had none before.
    pub is_new: bool,
}

impl VersionedBasket {
    /// The entity tag.
    pub fn etag(&self) -> String {
        format!("\"{:08x}.{}\"", self.basket.id, self.version)
    }
}

/// What a buyer gets for a checkout.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Accepted {
    /// The order that will come of it.
    pub order_id: OrderId,
    /// Where it stands.
    pub status: Status,
    /// What it costs.
    pub total: Money,
}

fn no_such_basket() -> Error {
    Error::not_found("basket_not_found", "basket of this user")
}

/// One basket.
///
/// # Errors
/// `basket_not_found`.
pub async fn get_basket(app: &App, user: &Username) -> Result<VersionedBasket> {
    let found = store::find_basket(&*app.store, user).await?;
    let open = found.filter(|(basket, _)| !basket.closed);
    open.map(|(basket, version)| VersionedBasket { basket, version, is_new: false }).ok_or_else(no_such_basket)
}

/// The open basket of `user`, if there is one. The read others are allowed.
///
/// # Errors
/// Those of the store.
pub async fn find_basket(app: &App, user: &Username) -> Result<Option<Arc<Basket>>> {
    let found = store::find_basket(&*app.store, user).await?;
    Ok(found.map(|(basket, _)| basket).filter(|basket| !basket.closed))
}

/// A page of all baskets, by user name. It may have fewer than the limit, or none, and still not be the last, when many
/// baskets were closed a moment ago.
///
/// # Errors
/// `invalid_request` for a cursor of another list.
pub async fn list_baskets(app: &App, list: &List) -> Result<Listing<VersionedBasket>> {
    let scope = "baskets";
    let after = list.after(scope)?;
    let (mut items, mut next) = (Vec::new(), after);
    for _ in 0..MAX_PAGES_OF_CLOSED {
        let page = list_merged(&*app.store, &store::baskets(), next.as_deref(), list.limit() - items.len()).await?;
        for doc in &page.docs {
            let basket: Arc<Basket> = doc.parse()?;
            if !basket.closed {
                items.push(VersionedBasket { basket, version: doc.version, is_new: false });
            }
        }
        next = page.next;
        if next.is_none() || items.len() == list.limit() {
            break;
        }
    }
    Ok(Listing { items, next: next.map(|sk| Cursor::new(scope, &sk)) })
}

/// Makes the basket of `user` hold these lines and no others.
///
/// # Errors
/// `product_unknown`, `basket_full`, `precondition_failed`, `invalid_request`.
pub async fn replace_basket(
    app: &App,
    once: &Once,
    user: &Username,
    if_match: &IfMatch,
    requests: &[LineRequest],
) -> Result<VersionedBasket> {
    if requests.len() > MAX_LINES {
        return Err(Error::field("/items", format!("must have at most {MAX_LINES} items")));
    }
    change_basket(app, once, user, if_match, |_| async {
        let ids: Vec<ProductId> = requests.iter().map(|request| request.product_id).collect();
        price_lines(requests, &catalog::quote(app, &ids).await?, |at| format!("/items/{at}"))
    })
    .await
}

/// Puts a line into the basket of `user`: adds to the quantity of the same product and colour, or replaces it.
///
/// # Errors
/// As [`replace_basket`].
pub async fn put_basket_line(
    app: &App,
    once: &Once,
    user: &Username,
    if_match: &IfMatch,
    request: &LineRequest,
    merge: Merge,
) -> Result<VersionedBasket> {
    change_basket(app, once, user, if_match, |before: Option<Arc<Basket>>| async move {
        let products = catalog::quote(app, &[request.product_id]).await?;
        let mut lines = before.map_or_else(Vec::new, |basket| basket.lines.clone());
        for line in price_lines(std::slice::from_ref(request), &products, |_| String::new())? {
            put_line(&mut lines, line, merge, "")?;
        }
        Ok(lines)
    })
    .await
}

/// Takes a product out of the basket of `user`: in one colour, or in all of them.
///
/// # Errors
/// `basket_not_found`, `line_not_found`, `precondition_failed`.
pub async fn remove_basket_line(
    app: &App,
    user: &Username,
    if_match: &IfMatch,
    id: ProductId,
    color: Option<&Color>,
) -> Result<VersionedBasket> {
    change_basket(app, &Once::unkeyed(), user, if_match, |before: Option<Arc<Basket>>| async move {
        let mut lines = before.ok_or_else(no_such_basket)?.lines.clone();
        let count = lines.len();
        lines.retain(|line| line.product_id != id || color.is_some_and(|color| line.color != *color));
        if lines.len() == count {
            return Err(Error::not_found("line_not_found", "such line in the basket"));
        }
        Ok(lines)
    })
    .await
}

/// Throws the basket of `user` away.
///
/// # Errors
/// `basket_not_found`, `precondition_failed`.
pub async fn delete_basket(app: &App, user: &Username, if_match: &IfMatch) -> Result<()> {
    transact(app, &Once::unkeyed(), Table::Basket, || async {
        let before = get_basket(app, user).await?;
        if_match.check(&before.etag())?;
        let mut batch = Batch::new(Table::Basket);
        close(app, &mut batch, &before)?;
        Ok(Change { batch, result: () })
    })
    .await
}

/// Loads a basket, lets `decide` say what its lines are to be, and writes it.
async fn change_basket<F, Lines>(
    app: &App,
    once: &Once,
    user: &Username,
    if_match: &IfMatch,
    decide: F,
) -> Result<VersionedBasket>
where
    F: Fn(Option<Arc<Basket>>) -> Lines,
    Lines: Future<Output = Result<Vec<super::Line>>>,
{
    transact(app, once, Table::Basket, || async {
        let found = store::find_basket(&*app.store, user).await?;
        let version = found.as_ref().map_or(0, |(_, version)| *version);
        let before = found.map(|(basket, _)| basket).filter(|basket| !basket.closed);
        match &before {
            Some(basket) => {
                if_match.check(&VersionedBasket { basket: Arc::clone(basket), version, is_new: false }.etag())?
            }
            None => if_match.check_absent()?,
        }
        let mut batch = Batch::new(Table::Basket);
        let is_new = before.is_none();
        let id = before.as_ref().map_or_else(|| (app.ids.random() >> 32) as u32, |basket| basket.id);
        let lines = decide(before).await?;
        let basket = Basket { id, user_name: user.clone(), lines, updated_at: app.clock.now(), closed: false };
        let expect = if version == 0 { Expect::Absent } else { Expect::Version(version) };
        batch.put(store::basket_key(user), expect, &basket)?;
        Ok(Change { batch, result: VersionedBasket { basket: Arc::new(basket), version: version + 1, is_new } })
    })
    .await
}

/// Checks the basket of `user` out: closes it and announces the checkout, in one commit. Of any number of attempts at the
/// same moment, one succeeds.
///
/// # Errors
/// `basket_not_found`, `basket_empty`, `product_gone`, `price_changed`.
pub async fn checkout(app: &App, once: &Once, user: &Username, request: CheckoutRequest) -> Result<Accepted> {
    transact(app, once, Table::Basket, || async {
        let open = get_basket(app, user).await?;
        let ids: Vec<ProductId> = open.basket.lines.iter().map(|line| line.product_id).collect();
        let products = if ids.is_empty() { Vec::new() } else { catalog::quote(app, &ids).await? };
        let (lines, total) = settle(&open.basket, &products, request.expected_total, app.config.currency)?;

        let at = app.clock.now();
        let order_id = app.new_order_id(at);
        let event = CheckoutBasket {
            order_id: Some(order_id.clone()),
            user_name: user.clone(),
            items: lines.iter().map(CheckoutItem::from).collect(),
            total_price: Some(total.to_decimal()),
            payment_method: request.payment_method,
            card_last4: request.card_last4.clone(),
            contact: request.contact.clone(),
        };
        let mut batch = Batch::new(Table::Basket);
        close(app, &mut batch, &open)?;
        // Personal data is in the event and then in the order; here, where nothing is looked for, it could not be erased.
        let checkout = Checkout { at, basket: event.clone().anonymous(user) };
        batch.put_until(store::checkout_key(&order_id), Expect::Absent, &checkout, at + CHECKOUT_KEPT)?;
        let mut envelope = app.envelope(&Event::CheckoutBasket(event));
        envelope.time = at;
        batch.emit(envelope);
        Ok(Change { batch, result: Accepted { order_id, status: Status::Placed, total } })
    })
    .await
}

/// Throws away the basket of a customer who was erased at `at`, unless someone else filled it since.
///
/// # Errors
/// Those of the store.
pub(super) async fn discard_basket(app: &App, user: &Username, at: Timestamp) -> Result<()> {
    transact(app, &Once::unkeyed(), Table::Basket, || async {
        let mut batch = Batch::new(Table::Basket);
        if let Some((basket, version)) = store::find_basket(&*app.store, user).await?
            && !basket.closed
            && basket.updated_at <= at
        {
            close(app, &mut batch, &VersionedBasket { basket, version, is_new: false })?;
        }
        Ok(Change { batch, result: () })
    })
    .await
}

/// Adds to `batch` the closing of a basket.
fn close(app: &App, batch: &mut Batch, open: &VersionedBasket) -> Result<()> {
    let now = app.clock.now();
    let (key, expect) = (store::basket_key(&open.basket.user_name), Expect::Version(open.version));
    batch.put_until(key, expect, &open.basket.close(now), now + CLOSED_KEPT)?;
    Ok(())
}

/// The checkout that will become the order `id`, for a day after it was accepted. The read ordering is allowed.
///
/// # Errors
/// Those of the store.
pub async fn find_checkout(app: &App, id: &OrderId) -> Result<Option<Checkout>> {
    store::find_checkout(&*app.store, id).await
}

/// Refuses a total in another currency than the shop's.
pub(super) fn in_currency(app: &App, total: Money, pointer: &str) -> Result<Money> {
    if total.currency == app.config.currency {
        return Ok(total);
    }
    let why = format!("must be in {}, this shop's currency", app.config.currency.code());
    Err(Error::field(pointer, why))
}
