//! What access hears: actions, which it writes into the audit trail; and that a customer was erased, with whom their keys go.

use jiff::SignedDuration;

use super::audit::{ActionTaken, AuditEntry};
use super::{ops, store};
use crate::app::App;
use crate::customers::CustomerErased;
use crate::error::Result;
use crate::events::Envelope;
use crate::queues::DeadLettersTaken;
use crate::store::{Batch, Change, Expect, Once, Table, transact};

/// How long an entry is kept: a year, and time to look back at it.
const ENTRY_KEPT: SignedDuration = SignedDuration::from_hours(24 * 400);

/// Writes down that staff or an admin changed something.
///
/// # Errors
/// Those of the store.
pub async fn on_action_taken(app: &App, event: &Envelope, action: ActionTaken) -> Result<()> {
    write(app, &AuditEntry::of(event, action)).await
}

/// Writes down that dead letters were put back or removed. Where no access control is configured nobody is known to have done it.
///
/// # Errors
/// Those of the store.
pub async fn on_dead_letters_taken(app: &App, event: &Envelope, taken: DeadLettersTaken) -> Result<()> {
    match AuditEntry::of_dead_letters(event, taken) {
        Some(entry) => write(app, &entry).await,
        None => Ok(()),
    }
}

/// A customer was erased: the API keys they had until then are no longer good. Whoever has the name next has others.
///
/// # Errors
/// Those of the store; all of them are worth another try.
pub async fn on_customer_erased(app: &App, erased: CustomerErased) -> Result<()> {
    ops::discard_keys(app, &erased.username, erased.at).await
}

/// The key is that of the event, so that a second delivery finds what the first has written.
async fn write(app: &App, entry: &AuditEntry) -> Result<()> {
    transact(app, &Once::unkeyed(), Table::Access, || async {
        let key = store::audit_key(entry.id);
        let mut batch = Batch::new(Table::Access);
        if app.store.get(&key).await?.is_none() {
            batch.put_until(key, Expect::Absent, entry, entry.at + ENTRY_KEPT)?;
        }
        Ok(Change { batch, result: () })
    })
    .await
}
