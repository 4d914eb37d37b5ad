//! The audit trail: noted in each commit of staff and admins, and read page by page.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::audit::{self, ActionTaken, Actor, AuditEntry, MAX_DOCUMENTS};
use super::{Principal, store};
use crate::app::App;
use crate::error::Result;
use crate::events::Event;
use crate::rest::{List, Listing};
use crate::store::{Batch, Cursor, list_merged};

/// Most pages that are looked through to fill one with entries that pass a filter.
const MAX_PAGES_FILTERED: usize = 5;

/// Who works on this request, if it is one by which staff or an admin may change something.
pub(crate) fn actor(app: &App) -> Option<Actor> {
    let (Principal::Known(known), Some(asked)) = (app.principal(), app.asked()) else { return None };
    app.principal().is_staff().then(|| Actor {
        actor: known.id.to_string(),
        name: known.name.to_string(),
        role: known.role,
        action: asked.action.clone(),
        target: asked.target.clone(),
    })
}

/// Adds to `batch` the event that tells what staff or an admin changes by it. Nothing is added for anyone else: customers act for
/// themselves, and where no access control is configured nobody is known.
///
/// # Errors
/// Those of reading what was there before.
pub(crate) async fn note_action(app: &App, batch: &mut Batch) -> Result<()> {
    let Some(by) = actor(app).filter(|_| !batch.is_empty()) else { return Ok(()) };
    let (mut before, mut after) = (Map::new(), Map::new());
    let writes: Vec<_> = batch.writes.iter().filter(|write| audit::is_told(write)).collect();
    for write in writes.iter().take(MAX_DOCUMENTS) {
        let old = app.store.get(write.key()).await?;
        let old = old.and_then(|doc| serde_json::from_str::<Value>(doc.body.text()).ok());
        audit::tell(write, old, &mut before, &mut after);
    }
    if writes.len() > MAX_DOCUMENTS {
        after.insert("more".to_owned(), (writes.len() - MAX_DOCUMENTS).into());
    }
    if writes.is_empty() {
        let events: Vec<&str> = batch.events.iter().map(|event| event.detail_type.as_str()).collect();
        after.insert("events".to_owned(), json!(events));
    }
    batch.emit(app.envelope(&Event::ActionTaken(ActionTaken { by, before, after })));
    Ok(())
}

/// Which entries to list.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Only those of this actor.
    pub actor: Option<String>,
    /// Only those of this time or later.
    pub from: Option<Timestamp>,
    /// Only those of this time or earlier.
    pub to: Option<Timestamp>,
}

impl AuditFilter {
    /// The list's name, to which its cursors are bound.
    fn scope(&self) -> String {
        format!("audit {:?} {:?} {:?}", self.actor, self.from, self.to)
    }

    fn accepts(&self, entry: &AuditEntry) -> bool {
        self.actor.as_ref().is_none_or(|actor| entry.by.actor == *actor)
            && self.from.is_none_or(|from| entry.at >= from)
            && self.to.is_none_or(|to| entry.at <= to)
    }
}

/// A page of the audit trail, newest first. Filtered by actor, it may have fewer than the limit, or none, and still not be the last.
///
/// # Errors
/// `invalid_request` for a cursor of another list; those of reading.
pub async fn list_audit(app: &App, filter: &AuditFilter, list: &List) -> Result<Listing<Arc<AuditEntry>>> {
    let scope = filter.scope();
    let mut after = list.after(&scope)?.or_else(|| filter.to.map(store::last_of_milli));
    let mut items = Vec::new();
    for _ in 0..MAX_PAGES_FILTERED {
        let limit = list.limit() - items.len();
        let page = list_merged(&*app.store, &store::audit(), after.as_deref(), limit).await?;
        after = page.next;
        for doc in &page.docs {
            let entry: Arc<AuditEntry> = doc.parse()?;
            // The order is that of the ids, which are made a moment before the time is taken.
            if filter.from.is_some_and(|from| entry.at < from) {
                after = None;
            } else if filter.accepts(&entry) {
                items.push(entry);
            }
        }
        if after.is_none() || items.len() == list.limit() {
            break;
        }
    }
    Ok(Listing { items, next: after.map(|sk| Cursor::new(&scope, &sk)) })
}
