//! What becomes of an accepted purchase: the record, and the sums.

use super::{Failure, PurchaseId, PurchaseRequested, PurchaseStored, Share, Stored, differences, store};
use crate::app::App;
use crate::error::{Error, Kind, Result};
use crate::events::Event;
use crate::store::{Adjustment, Batch, Change, Expect, Once, Table, transact};

fn expect(version: Option<u64>) -> Expect {
    version.map_or(Expect::Absent, Expect::Version)
}

/// The door, or someone outside, asks for a change of a purchase: apply it, unless it or a later one was applied before.
///
/// # Errors
/// `invalid_purchase` when the record cannot be one, which is then noted under its id; `purchase_version_taken` when
/// another change has the same version; those of the store are worth another try.
pub async fn on_purchase_requested(app: &App, request: PurchaseRequested) -> Result<()> {
    let id = request.purchase_id;
    let revision = match request.revision(app.config.currency) {
        Ok(revision) => revision,
        Err(reason) => {
            let message = format!("The purchase cannot be recorded: {reason}.");
            note_failure(app, id, Failure { version: request.version, action: request.action, reason }).await?;
            return Err(Error::new(Kind::Unprocessable, "invalid_purchase", message));
        }
    };
    transact(app, &Once::unkeyed(), Table::Purchases, || async {
        let mut batch = Batch::new(Table::Purchases);
        let (before, version) = store::find_stored(&*app.store, id).await?;
        if let Some(after) = before.apply(&revision)? {
            write(app, &mut batch, id, &before, &after, version)?;
        }
        Ok(Change { batch, result: () })
    })
    .await
}

/// Adds to `batch` what the queue has made of a purchase, its index entry, and the event that tells of it.
fn write(
    app: &App,
    batch: &mut Batch,
    id: PurchaseId,
    before: &Stored,
    after: &Stored,
    version: Option<u64>,
) -> Result<()> {
    batch.put(store::record_key(id), expect(version), after)?;
    match after.purchase() {
        Some(_) => batch.put(store::index_key(id), Expect::Anything, &store::Mark {})?,
        None => batch.delete(store::index_key(id), Expect::Anything),
    };
    let applied = after.applied.as_ref().ok_or_else(|| Error::internal("nothing was applied"))?;
    let (before, after) = (before.purchase().map(Share::from), after.purchase().map(Share::from));
    let stored = PurchaseStored { purchase_id: id, version: applied.version, before, after };
    batch.emit(app.envelope(&Event::PurchaseStored(stored)));
    Ok(())
}

async fn note_failure(app: &App, id: PurchaseId, failure: Failure) -> Result<()> {
    transact(app, &Once::unkeyed(), Table::Purchases, || async {
        let mut batch = Batch::new(Table::Purchases);
        let (before, version) = store::find_stored(&*app.store, id).await?;
        if let Some(after) = before.fail(failure.clone()) {
            batch.put(store::record_key(id), expect(version), &after)?;
        }
        Ok(Change { batch, result: () })
    })
    .await
}

/// A change was applied: put the sums right, once. The mark of the change is written with them.
///
/// # Errors
/// `currency_mismatch` for money of another shop; those of the store are worth another try.
pub async fn on_purchase_stored(app: &App, stored: PurchaseStored) -> Result<()> {
    let currency = app.config.currency;
    if [&stored.before, &stored.after].into_iter().flatten().any(|share| share.total.currency != currency) {
        let message = format!("This shop's sums are in {}.", currency.code());
        return Err(Error::new(Kind::Unprocessable, "currency_mismatch", message));
    }
    let differences = differences(stored.before.as_ref(), stored.after.as_ref());
    let mark = store::summed_key(stored.purchase_id, stored.version);
    let mut keys: Vec<_> = differences.iter().map(|(by, sum)| store::sum_key(*by, &sum.key)).collect();
    keys.push(mark.clone());
    transact(app, &Once::unkeyed(), Table::Purchases, || async {
        let mut batch = Batch::new(Table::Purchases);
        let docs = app.store.get_many(&keys).await?;
        if differences.is_empty() || docs.last().is_some_and(Option::is_some) {
            return Ok(Change { batch, result: () });
        }
        batch.put(mark.clone(), Expect::Absent, &store::Mark {})?;
        for ((_, sum), (key, doc)) in differences.iter().zip(keys.iter().zip(&docs)) {
            if doc.is_none() {
                batch.put(key.clone(), Expect::Absent, sum)?;
                continue;
            }
            // No floor: a change may be summed before the one it follows, and the sum is below 0 in between.
            let field = |field, by| Adjustment { field, by, at_least: None };
            let fields = vec![field("count", sum.count), field("quantity", sum.quantity), field("amount", sum.amount)];
            batch.adjust(key.clone(), fields);
        }
        Ok(Change { batch, result: () })
    })
    .await
}
