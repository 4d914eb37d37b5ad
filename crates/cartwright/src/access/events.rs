//! What access hears: actions, which it writes into the audit trail.

use super::audit::{ActionTaken, AuditEntry};
use super::store;
use crate::app::App;
use crate::error::Result;
use crate::events::Envelope;
use crate::queues::DeadLettersTaken;
use crate::store::{Batch, Change, Expect, Once, Table, transact};

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

/// The key is that of the event, so that a second delivery finds what the first has written.
async fn write(app: &App, entry: &AuditEntry) -> Result<()> {
    transact(app, &Once::unkeyed(), Table::Access, || async {
        let key = store::audit_key(entry.id);
        let mut batch = Batch::new(Table::Access);
        if app.store.get(&key).await?.is_none() {
            batch.put(key, Expect::Absent, entry)?;
        }
        Ok(Change { batch, result: () })
    })
    .await
}
