//! What can be done with purchases: load → pure function → commit.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::store::{self, Found};
use super::{Action, By, Purchase, PurchaseId, PurchaseRequested, Revision, Standing, Sum, Version};
use crate::app::App;
use crate::error::{Error, Result};
use crate::events::Event;
use crate::rest::{IfMatch, List, Listing};
use crate::store::{
    Batch, Change, Cursor, Expect, MAX_GET_MANY, MAX_ITEMS_PER_COMMIT, Once, Table, list_merged, transact,
};

/// Most purchases recorded by one request: as many as a page shows.
pub const MAX_LINES: usize = 100;
/// Purchases accepted in one commit: each is a head and a message, and one item is left for the answer that is kept.
pub const LINES_PER_COMMIT: usize = (MAX_ITEMS_PER_COMMIT - 1) / 2;
/// Most purchases that are read in one go: half of what one read of many keys may name.
const MAX_PURCHASES_AT_ONCE: usize = MAX_GET_MANY / 2;

/// A change of a purchase that is on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The purchase.
    pub id: PurchaseId,
    /// Which change of it.
    pub version: Version,
    /// The message that carries it.
    pub message_id: Uuid,
}

/// A purchase and where it stands.
#[derive(Debug, Clone)]
pub struct KnownPurchase {
    /// Its id.
    pub id: PurchaseId,
    /// Where it stands.
    pub standing: Standing,
}

impl KnownPurchase {
    /// The entity tag: `"version.applied"`, changes with what is accepted and with what is stored.
    pub fn etag(&self) -> String {
        format!("\"{}.{}\"", self.standing.version, self.standing.applied)
    }

    /// Whoever changes the purchase must have seen its newest version; how far the queue has come does not matter.
    fn check(&self, if_match: &IfMatch) -> Result<()> {
        let version = self.standing.version.to_string();
        if_match.check_by(|tag| tag.split('.').next() == Some(&version), &self.etag())
    }
}

fn no_such_purchase() -> Error {
    Error::not_found("purchase_not_found", "such purchase")
}

/// One purchase and where it stands, from the moment it was accepted.
///
/// # Errors
/// `purchase_not_found`, also once it is deleted.
pub async fn get_purchase(app: &App, id: PurchaseId) -> Result<KnownPurchase> {
    let Found { standing, .. } = store::find_purchase(&*app.store, id).await?;
    standing.map(|standing| KnownPurchase { id, standing }).ok_or_else(no_such_purchase)
}

/// A page of the stored purchases, by age, newest first. It may have fewer than the limit, or none, and still not be the
/// last, when purchases of the page are being deleted.
///
/// # Errors
/// `invalid_request` for a cursor of another list.
pub async fn list_purchases(app: &App, list: &List) -> Result<Listing<KnownPurchase>> {
    let scope = "purchases";
    let after = list.after(scope)?;
    let page = list_merged(&*app.store, &store::index(), after.as_deref(), list.limit()).await?;
    let id_of = |doc: &crate::store::Doc| Uuid::try_parse(&doc.sk).map(PurchaseId).map_err(Error::internal);
    let ids = page.docs.iter().map(id_of).collect::<Result<Vec<_>>>()?;
    let mut items = Vec::with_capacity(ids.len());
    for ids in ids.chunks(MAX_PURCHASES_AT_ONCE) {
        let found = store::find_purchases(&*app.store, ids).await?;
        let known = ids.iter().zip(found).filter_map(|(&id, found)| {
            let standing = found.standing.filter(|standing| standing.purchase().is_some())?;
            Some(KnownPurchase { id, standing })
        });
        items.extend(known);
    }
    Ok(Listing { items, next: page.next.map(|sk| Cursor::new(scope, &sk)) })
}

/// A page of the sums by product, category or day: by key, days from the newest. It may have fewer than the limit and
/// still not be the last: sums of which nothing is left are passed over.
///
/// # Errors
/// `invalid_request` for a cursor of another list.
pub async fn summarise(app: &App, by: By, list: &List) -> Result<Listing<Arc<Sum>>> {
    let scope = format!("purchases by {}", by.name());
    let after = list.after(&scope)?;
    let page = list_merged(&*app.store, &store::sums(by), after.as_deref(), list.limit()).await?;
    let sums = page.docs.iter().map(|doc| doc.parse()).collect::<Result<Vec<Arc<Sum>>>>()?;
    let items = sums.into_iter().filter(|sum| !sum.is_zero()).collect();
    Ok(Listing { items, next: page.next.map(|sk| Cursor::new(&scope, &sk)) })
}

/// Accepts a purchase to be recorded.
///
/// # Errors
/// Those of the store, and of the `Idempotency-Key`.
pub async fn record_purchase(app: &App, once: &Once, purchase: Purchase) -> Result<Accepted> {
    let mut accepted = record_all(app, once, &[purchase]).await?;
    accepted.pop().ok_or_else(|| Error::internal("nothing was accepted"))
}

/// Accepts many purchases, each on its own: the answers are in their order, and a purchase that is none is answered with
/// what is wrong with it. Several commits may be needed. When the first fails, so does the request; when a later one does,
/// its purchases are answered with the error, and can be sent again. With an `Idempotency-Key`, each commit is done once.
///
/// # Errors
/// `invalid_request` for none or more than [`MAX_LINES`]; as [`record_purchase`].
pub async fn record_purchases(app: &App, once: &Once, lines: Vec<Result<Purchase>>) -> Result<Vec<Result<Accepted>>> {
    if lines.is_empty() || lines.len() > MAX_LINES {
        return Err(Error::field("/purchases", format!("must have 1 to {MAX_LINES} purchases")));
    }
    let good: Vec<Purchase> = lines.iter().filter_map(|line| line.as_ref().ok().cloned()).collect();
    let mut answers: Vec<Result<Accepted>> = Vec::with_capacity(good.len());
    for (part, purchases) in good.chunks(LINES_PER_COMMIT).enumerate() {
        match record_all(app, &once.part(part), purchases).await {
            Ok(accepted) => answers.extend(accepted.into_iter().map(Ok)),
            Err(error) if part == 0 => return Err(error),
            Err(error) => answers.extend(purchases.iter().map(|_| Err(error.clone()))),
        }
    }
    let mut answers = answers.into_iter();
    let answer = |line: Result<Purchase>| match line {
        Ok(_) => answers.next().expect("an answer for each purchase that was good"),
        Err(error) => Err(error),
    };
    Ok(lines.into_iter().map(answer).collect())
}

async fn record_all(app: &App, once: &Once, purchases: &[Purchase]) -> Result<Vec<Accepted>> {
    transact(app, once, Table::Purchases, || async {
        let mut batch = Batch::new(Table::Purchases);
        let accept = |purchase: &Purchase| {
            let id = PurchaseId(app.new_uuid());
            let first = Revision { version: Version::MIN, action: Action::Create, purchase: Some(purchase.clone()) };
            accept(app, &mut batch, id, Expect::Absent, first)
        };
        let result = purchases.iter().map(accept).collect::<Result<_>>()?;
        Ok(Change { batch, result })
    })
    .await
}

/// Accepts another record in the place of a purchase's.
///
/// # Errors
/// `purchase_not_found`, also when its removal was accepted; `precondition_failed`.
pub async fn replace_purchase(app: &App, id: PurchaseId, if_match: &IfMatch, purchase: Purchase) -> Result<Accepted> {
    change(app, id, if_match, Action::Update, Some(purchase)).await
}

/// Accepts the removal of a purchase.
///
/// # Errors
/// As [`replace_purchase`].
pub async fn delete_purchase(app: &App, id: PurchaseId, if_match: &IfMatch) -> Result<Accepted> {
    change(app, id, if_match, Action::Delete, None).await
}

async fn change(
    app: &App,
    id: PurchaseId,
    if_match: &IfMatch,
    action: Action,
    purchase: Option<Purchase>,
) -> Result<Accepted> {
    transact(app, &Once::unkeyed(), Table::Purchases, || async {
        let Found { standing, head_version } = store::find_purchase(&*app.store, id).await?;
        let before = standing.filter(|standing| standing.purchase().is_some()).ok_or_else(no_such_purchase)?;
        let before = KnownPurchase { id, standing: before };
        before.check(if_match)?;
        let next = Revision { version: before.standing.next_version()?, action, purchase: purchase.clone() };
        let expect = head_version.map_or(Expect::Absent, Expect::Version);
        let mut batch = Batch::new(Table::Purchases);
        let result = accept(app, &mut batch, id, expect, next)?;
        Ok(Change { batch, result })
    })
    .await
}

/// Adds to `batch` the head of a purchase and the message that asks for it.
fn accept(app: &App, batch: &mut Batch, id: PurchaseId, expect: Expect, head: Revision) -> Result<Accepted> {
    let record = head.purchase.as_ref().map(serde_json::value::to_raw_value).transpose().map_err(Error::internal)?;
    let Revision { version, action, .. } = head;
    let request = PurchaseRequested { purchase_id: id, version, action, record };
    let message = app.envelope(&Event::PurchaseRequested(request));
    let accepted = Accepted { id, version, message_id: message.id };
    batch.put(store::head_key(id), expect, &head)?;
    batch.emit(message);
    Ok(accepted)
}
