//! Webhooks under `/v1/subscriptions` and `/v1/deliveries`: parse, call an operation, answer.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::ops::{self, VersionedSubscription};
use super::{Attempt, Delivery, DeliveryStatus, Subscription, SubscriptionNote, SubscriptionPatch, SubscriptionStatus};
use crate::app::App;
use crate::error::{Error, Result};
use crate::rest::{Bare, IfMatch, Items, List, NoContent, Params, PathValue, Post, Put, Reply, Segment};

/// A new subscription.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddSubscription {
    /// Where to: https, at an address of the public internet.
    url: String,
    /// For which events; empty, or left out, for all.
    #[serde(default)]
    events: Vec<String>,
    /// What it is for.
    #[serde(default)]
    description: SubscriptionNote,
}

/// What to change in a subscription; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchSubscription {
    url: Option<String>,
    events: Option<Vec<String>>,
    description: Option<SubscriptionNote>,
    /// `active` also after it was disabled.
    status: Option<SubscriptionStatus>,
}

/// A subscription.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionAnswer {
    id: Uuid,
    url: String,
    events: Vec<String>,
    description: SubscriptionNote,
    status: SubscriptionStatus,
    /// Why it is disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_reason: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// What signatures are checked with: only in the answer that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// A delivery.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryAnswer {
    id: Uuid,
    subscription_id: Uuid,
    event: String,
    /// The `webhook-id` of every attempt.
    notification_id: Uuid,
    status: DeliveryStatus,
    attempts: Vec<Attempt>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// Which deliveries.
#[derive(Deserialize, IntoParams)]
pub struct DeliveryParams {
    /// Only those of this subscription.
    subscription: Option<Uuid>,
}

/// The id of a subscription in a path.
pub struct SubscriptionId(Uuid);
/// The id of a delivery in a path.
pub struct DeliveryId(Uuid);

impl PathValue for SubscriptionId {
    fn parse(text: &str) -> Result<Self> {
        let missing = |_| Error::not_found("subscription_not_found", "such subscription");
        Uuid::try_parse(text).map(SubscriptionId).map_err(missing)
    }
}

impl PathValue for DeliveryId {
    fn parse(text: &str) -> Result<Self> {
        let missing = |_| Error::not_found("delivery_not_found", "such delivery");
        Uuid::try_parse(text).map(DeliveryId).map_err(missing)
    }
}

impl SubscriptionAnswer {
    fn of(subscription: Subscription, shows_secret: bool) -> SubscriptionAnswer {
        let secret = shows_secret.then(|| subscription.secret().to_owned());
        let Subscription { id, url, events, description, status, disabled_reason, created_at, .. } = subscription;
        SubscriptionAnswer { id, url, events, description, status, disabled_reason, created_at, secret }
    }
}

impl From<Delivery> for DeliveryAnswer {
    fn from(delivery: Delivery) -> Self {
        let Delivery { id, subscription_id, notification, status, attempts, created_at, .. } = delivery;
        let (event, notification_id) = (notification.event, notification.id);
        DeliveryAnswer { id, subscription_id, event, notification_id, status, attempts, created_at }
    }
}

fn reply<const STATUS: u16>(versioned: VersionedSubscription, shows_secret: bool) -> Reply<STATUS, SubscriptionAnswer> {
    let etag = versioned.etag();
    Reply::new(SubscriptionAnswer::of(versioned.subscription, shows_secret)).etag(etag)
}

fn accepted(delivery: Delivery) -> Reply<202, DeliveryAnswer> {
    let location = format!("/v1/deliveries/{}", delivery.id);
    Reply::new(delivery.into()).location(location)
}

pub(crate) async fn list_subscriptions(app: App, list: List) -> Result<Reply<200, Items<SubscriptionAnswer>>> {
    let listing = ops::list_subscriptions(&app, &list).await?;
    Ok(Reply::page(&list, listing, |subscription| SubscriptionAnswer::of(subscription, false)))
}

pub(crate) async fn subscribe(app: App, post: Post<AddSubscription>) -> Result<Reply<201, SubscriptionAnswer>> {
    let AddSubscription { url, events, description } = post.body;
    let added = ops::subscribe(&app, &post.once, url, events, description).await?;
    let location = format!("/v1/subscriptions/{}", added.subscription.id);
    Ok(reply(added, true).location(location))
}

pub(crate) async fn get_subscription(
    app: App,
    Segment(SubscriptionId(id)): Segment<SubscriptionId>,
) -> Result<Reply<200, SubscriptionAnswer>> {
    Ok(reply(ops::get_subscription(&app, id).await?, false))
}

pub(crate) async fn patch_subscription(
    app: App,
    Segment(SubscriptionId(id)): Segment<SubscriptionId>,
    if_match: IfMatch,
    Put(patch): Put<PatchSubscription>,
) -> Result<Reply<200, SubscriptionAnswer>> {
    let PatchSubscription { url, events, description, status } = patch;
    if url.is_none() && events.is_none() && description.is_none() && status.is_none() {
        return Err(Error::field("", "must name at least one field to change"));
    }
    let patch = SubscriptionPatch { url, events, description, status };
    Ok(reply(ops::patch_subscription(&app, id, &if_match, patch).await?, false))
}

pub(crate) async fn unsubscribe(
    app: App,
    Segment(SubscriptionId(id)): Segment<SubscriptionId>,
    if_match: IfMatch,
) -> Result<NoContent> {
    ops::unsubscribe(&app, id, &if_match).await?;
    Ok(NoContent)
}

pub(crate) async fn rotate_secret(
    app: App,
    Segment(SubscriptionId(id)): Segment<SubscriptionId>,
    Bare(once): Bare,
) -> Result<Reply<200, SubscriptionAnswer>> {
    Ok(reply(ops::rotate_secret(&app, &once, id).await?, true))
}

pub(crate) async fn test_subscription(
    app: App,
    Segment(SubscriptionId(id)): Segment<SubscriptionId>,
    Bare(once): Bare,
) -> Result<Reply<202, DeliveryAnswer>> {
    ops::test(&app, &once, id).await.map(accepted)
}

pub(crate) async fn list_deliveries(
    app: App,
    Params(params): Params<DeliveryParams>,
    list: List,
) -> Result<Reply<200, Items<DeliveryAnswer>>> {
    let listing = ops::list_deliveries(&app, params.subscription, &list).await?;
    Ok(Reply::page(&list, listing, DeliveryAnswer::from))
}

pub(crate) async fn get_delivery(
    app: App,
    Segment(DeliveryId(id)): Segment<DeliveryId>,
) -> Result<Reply<200, DeliveryAnswer>> {
    Ok(Reply::new(ops::get_delivery(&app, id).await?.into()))
}

pub(crate) async fn redeliver(
    app: App,
    Segment(DeliveryId(id)): Segment<DeliveryId>,
    Bare(once): Bare,
) -> Result<Reply<202, DeliveryAnswer>> {
    ops::redeliver(&app, &once, id).await.map(accepted)
}
