//! Watchers under `/v1/products/{id}/watchers`: parse, call an operation, answer.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Watch, ops};
use crate::app::App;
use crate::error::Result;
use crate::rest::{Items, List, NoContent, Reply, Segment, Upserted};
use crate::values::{ProductId, Username};

/// That a customer waits for a product, and how that stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WatchAnswer {
    #[serde(flatten)]
    watch: Watch,
    /// Pieces that can be sold now; absent when stock is not tracked. The customer is told when it next comes back, not of what is
    /// there already.
    #[serde(skip_serializing_if = "Option::is_none")]
    available: Option<i64>,
}

pub(crate) async fn watch_product(
    app: App,
    Segment((product, user)): Segment<(ProductId, Username)>,
) -> Result<Upserted<WatchAnswer>> {
    app.principal().must_act_for(&user)?;
    let (watch, available, is_new) = ops::watch(&app, product, &user).await?;
    let location = is_new.then(|| format!("/v1/products/{product}/watchers/{user}"));
    Ok(Upserted::new(Reply::new(WatchAnswer { watch, available }), location))
}

pub(crate) async fn get_watch(
    app: App,
    Segment((product, user)): Segment<(ProductId, Username)>,
) -> Result<Reply<200, WatchAnswer>> {
    app.principal().must_act_for(&user)?;
    let (watch, available) = ops::get_watch(&app, product, &user).await?;
    Ok(Reply::new(WatchAnswer { watch: Watch::clone(&watch), available }))
}

pub(crate) async fn unwatch_product(
    app: App,
    Segment((product, user)): Segment<(ProductId, Username)>,
) -> Result<NoContent> {
    app.principal().must_act_for(&user)?;
    ops::unwatch(&app, product, &user).await?;
    Ok(NoContent)
}

pub(crate) async fn list_watchers(
    app: App,
    Segment(product): Segment<ProductId>,
    list: List,
) -> Result<Reply<200, Items<Watch>>> {
    let listing = ops::list_watchers(&app, product, &list).await?;
    Ok(Reply::page(&list, listing, |watch| watch))
}
