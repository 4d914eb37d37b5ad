//! Purchases under `/v1`: parse, call an operation, answer.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::ops::{self, Accepted, KnownPurchase};
use super::{Action, By, Names, Progress, Purchase, PurchaseId, SentPurchase, Sum, classic};
use crate::app::App;
use crate::error::{Error, FieldError, Result};
use crate::rest::{IfMatch, Items, List, Params, Post, Put, Reply, Segment, decode};
use crate::values::Money;

/// A purchase as `/v1` shows it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PurchaseView {
    id: PurchaseId,
    /// How often it was written, the first time included.
    version: u32,
    /// How far it has come.
    status: Progress,
    /// What was done to it last, or is being done.
    action: Action,
    /// Why its last change failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The purchase as it was accepted last. Absent when none of its versions was good.
    #[serde(skip_serializing_if = "Option::is_none")]
    purchase: Option<Purchase>,
}

impl From<KnownPurchase> for PurchaseView {
    fn from(known: KnownPurchase) -> Self {
        let KnownPurchase { id, standing } = known;
        PurchaseView {
            id,
            version: standing.version.get(),
            status: standing.status,
            action: standing.action,
            reason: standing.reason,
            purchase: standing.purchase,
        }
    }
}

/// An accepted change of a purchase. It is done when the status under `statusUrl` says so; a removal, when nothing is
/// there any more.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AcceptedPurchase {
    id: PurchaseId,
    version: u32,
    #[schema(value_type = String, format = Uuid)]
    message_id: Uuid,
    status: Progress,
    status_url: String,
}

impl From<Accepted> for AcceptedPurchase {
    fn from(accepted: Accepted) -> Self {
        AcceptedPurchase {
            id: accepted.id,
            version: accepted.version.get(),
            message_id: accepted.message_id,
            status: Progress::Pending,
            status_url: format!("/v1/purchases/{}", accepted.id),
        }
    }
}

/// Many purchases.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordPurchases {
    /// The purchases: 1 to 100. Each may also be spelled as on the classic paths (`ProductId`, `PricePerUnit`, …).
    #[schema(value_type = Vec<SentPurchase>)]
    purchases: Vec<Box<RawValue>>,
}

/// What became of each of many purchases, in their order.
#[derive(Serialize, ToSchema)]
pub struct RecordedPurchases {
    /// How many were accepted.
    accepted: usize,
    /// How many were refused.
    refused: usize,
    /// An answer for each.
    purchases: Vec<LineAnswer>,
}

/// What became of one of many purchases.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum LineAnswer {
    /// It is on its way.
    Accepted(AcceptedPurchase),
    /// It was refused, for this reason.
    Problem(LineProblem),
}

/// Why one of many purchases was refused.
#[derive(Serialize, ToSchema)]
pub struct LineProblem {
    status: u16,
    /// Stable, for programs.
    code: &'static str,
    /// For people.
    detail: String,
    /// Its bad fields, by JSON pointers into the purchase.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

impl From<Result<Accepted>> for LineAnswer {
    fn from(answer: Result<Accepted>) -> Self {
        match answer {
            Ok(accepted) => LineAnswer::Accepted(accepted.into()),
            Err(error) => LineAnswer::Problem(LineProblem {
                status: error.kind().status().as_u16(),
                code: error.code(),
                detail: error.message().to_owned(),
                errors: error.bad_fields().to_vec(),
            }),
        }
    }
}

/// What to sum up by.
#[derive(Deserialize, IntoParams)]
pub struct SummaryParams {
    /// `product`, `category` or `day` (UTC).
    #[param(required = true)]
    by: Option<String>,
}

/// The purchases of one product, category or day, added up.
#[derive(Serialize, ToSchema)]
pub struct SumView {
    /// The product's id, the category, or the day.
    key: String,
    /// How many purchases.
    count: i64,
    /// How many pieces.
    quantity: i64,
    /// What they cost.
    total: Money,
}

fn accepted(accepted: Accepted) -> Reply<202, AcceptedPurchase> {
    let view = AcceptedPurchase::from(accepted);
    let location = view.status_url.clone();
    Reply::new(view).location(location)
}

fn checked(app: &App, sent: SentPurchase) -> Result<Purchase> {
    sent.check(&Names::V1, app.config.currency).map_err(Error::fields)
}

/// A purchase in either spelling, which is that of its bad fields too.
fn checked_line(app: &App, line: &str) -> Result<Purchase> {
    if classic::is_spelled_so(line) {
        return classic::checked(app, decode(line.as_bytes())?);
    }
    checked(app, decode(line.as_bytes())?)
}

pub(crate) async fn list_purchases(app: App, list: List) -> Result<Reply<200, Items<PurchaseView>>> {
    let listing = ops::list_purchases(&app, &list).await?;
    Ok(Reply::page(&list, listing, PurchaseView::from))
}

pub(crate) async fn record_purchase(app: App, post: Post<SentPurchase>) -> Result<Reply<202, AcceptedPurchase>> {
    let purchase = checked(&app, post.body)?;
    ops::record_purchase(&app, &post.once, purchase).await.map(accepted)
}

pub(crate) async fn record_purchases(app: App, post: Post<RecordPurchases>) -> Result<Reply<207, RecordedPurchases>> {
    let lines = post.body.purchases.iter().map(|line| checked_line(&app, line.get())).collect();
    let answers = ops::record_purchases(&app, &post.once, lines).await?;
    let purchases: Vec<LineAnswer> = answers.into_iter().map(LineAnswer::from).collect();
    let accepted = purchases.iter().filter(|line| matches!(line, LineAnswer::Accepted(_))).count();
    Ok(Reply::new(RecordedPurchases { accepted, refused: purchases.len() - accepted, purchases }))
}

pub(crate) async fn get_purchase(app: App, Segment(id): Segment<PurchaseId>) -> Result<Reply<200, PurchaseView>> {
    let known = ops::get_purchase(&app, id).await?;
    let etag = known.etag();
    Ok(Reply::new(PurchaseView::from(known)).etag(etag))
}

pub(crate) async fn replace_purchase(
    app: App,
    Segment(id): Segment<PurchaseId>,
    if_match: IfMatch,
    Put(sent): Put<SentPurchase>,
) -> Result<Reply<202, AcceptedPurchase>> {
    let purchase = checked(&app, sent)?;
    ops::replace_purchase(&app, id, &if_match, purchase).await.map(accepted)
}

pub(crate) async fn delete_purchase(
    app: App,
    Segment(id): Segment<PurchaseId>,
    if_match: IfMatch,
) -> Result<Reply<202, AcceptedPurchase>> {
    ops::delete_purchase(&app, id, &if_match).await.map(accepted)
}

pub(crate) async fn summarise_purchases(
    app: App,
    Params(params): Params<SummaryParams>,
    list: List,
) -> Result<Reply<200, Items<SumView>>> {
    let by = By::ALL.into_iter().find(|by| Some(by.name()) == params.by.as_deref());
    let by = by.ok_or_else(|| Error::field("?by", "must be product, category or day"))?;
    let listing = ops::summarise(&app, by, &list).await?;
    let currency = app.config.currency;
    let view = |sum: Arc<Sum>| {
        let total = Money { amount: sum.amount, currency };
        SumView { key: sum.key.clone(), count: sum.count, quantity: sum.quantity, total }
    };
    Ok(Reply::page(&list, listing, view))
}
