//! Inboxes under `/v1`: parse, call an operation, answer.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ops::{self, InboxPage};
use super::{Inbox, InboxItem};
use crate::app::App;
use crate::error::Result;
use crate::rest::{List, NoContent, Put, Reply, Segment};
use crate::store::Cursor;
use crate::values::Username;

/// A page of an inbox, newest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InboxAnswer {
    items: Vec<InboxItem>,
    /// How many entries of the whole inbox are not read.
    unread: u64,
    /// Where the list goes on: send it back as `?cursor=`. Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// Up to where an inbox was read.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReadUpTo {
    /// The `sequence` of the newest entry that was read. All before it are read too; what was read stays so.
    up_to: u64,
}

/// The inbox of a customer, for whoever may see it.
fn inbox_of(app: &App, username: Username) -> Result<Inbox> {
    app.principal().must_act_for(&username)?;
    Ok(Inbox::Customer(username))
}

async fn answer(app: &App, inbox: &Inbox, list: &List) -> Result<Reply<200, InboxAnswer>> {
    let InboxPage { listing, unread } = ops::list_inbox(app, inbox, list).await?;
    let next_cursor = listing.next.map(Cursor::into_text);
    let link = next_cursor.clone();
    Ok(Reply::new(InboxAnswer { items: listing.items, unread, next_cursor }).next_page(list, link.as_deref()))
}

pub(crate) async fn list_inbox(
    app: App,
    Segment(user): Segment<Username>,
    list: List,
) -> Result<Reply<200, InboxAnswer>> {
    answer(&app, &inbox_of(&app, user)?, &list).await
}

pub(crate) async fn mark_read(
    app: App,
    Segment(user): Segment<Username>,
    Put(read): Put<ReadUpTo>,
) -> Result<NoContent> {
    ops::mark_read(&app, &inbox_of(&app, user)?, read.up_to).await?;
    Ok(NoContent)
}

pub(crate) async fn list_operators_inbox(app: App, list: List) -> Result<Reply<200, InboxAnswer>> {
    answer(&app, &Inbox::Operators, &list).await
}

pub(crate) async fn mark_operators_read(app: App, Put(read): Put<ReadUpTo>) -> Result<NoContent> {
    ops::mark_read(&app, &Inbox::Operators, read.up_to).await?;
    Ok(NoContent)
}
