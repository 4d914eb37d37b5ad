//! What can be done with subscriptions and deliveries: load → pure function → commit.

use jiff::SignedDuration;
use uuid::Uuid;

use super::signing::SECRET_BYTES;
use super::store::{self, Found};
use super::{
    Attempt, Delivery, DeliveryDue, DeliveryStatus, Health, Listeners, MAX_SUBSCRIPTIONS, Secret, Subscription,
    SubscriptionNote, SubscriptionPatch, SubscriptionStatus, check_events, check_url, of_disabled, of_failed, of_test,
};
use crate::app::App;
use crate::error::{Error, Kind, Result};
use crate::events::Event;
use crate::notifications::InboxEntry;
use crate::notifications::ops::{enter, tell};
use crate::rest::{IfMatch, List, Listing};
use crate::store::{Batch, Change, Cursor, Expect, Once, Table, list_merged, transact};

/// How long a delivery is kept after it was made.
pub(in super::super) const DELIVERY_KEPT: SignedDuration = SignedDuration::from_hours(24 * 30);

/// A subscription and how often it was written.
pub struct VersionedSubscription {
    /// The subscription.
    pub subscription: Subscription,
    /// Its version.
    pub version: u64,
}

impl VersionedSubscription {
    /// The entity tag.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.version)
    }
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The receiver has it.
    Delivered,
    /// It does not, yet.
    Failed,
    /// The receiver is gone for good.
    Gone,
    /// There was nothing to try.
    GivenUp,
}

fn no_such_subscription() -> Error {
    Error::not_found("subscription_not_found", "such subscription")
}

fn no_such_delivery() -> Error {
    Error::not_found("delivery_not_found", "such delivery")
}

fn new_secret(app: &App) -> Secret {
    let mut bytes = [0; SECRET_BYTES];
    app.ids.fill(&mut bytes);
    Secret::new(bytes)
}

/// Adds a subscription.
///
/// # Errors
/// `invalid_request` for a URL that cannot be delivered to, or an event that there is not; `too_many_subscriptions` (409).
pub async fn subscribe(
    app: &App,
    once: &Once,
    url: String,
    events: Vec<String>,
    description: SubscriptionNote,
) -> Result<VersionedSubscription> {
    check_url(&url, app.config.webhook_allow_private)?;
    let events = check_events(events)?;
    // The answer that is kept for an Idempotency-Key is the id alone: secrets lie with their subscription only.
    let id = transact(app, once, Table::Notifications, || async {
        let (listeners, version) = store::get_listeners(&*app.store).await?;
        if listeners.subscriptions.len() >= MAX_SUBSCRIPTIONS {
            let message = format!("There are at most {MAX_SUBSCRIPTIONS} subscriptions.");
            return Err(Error::new(Kind::Conflict, "too_many_subscriptions", message));
        }
        let subscription = Subscription {
            id: app.new_uuid(),
            url: url.clone(),
            events: events.clone(),
            description: description.clone(),
            status: SubscriptionStatus::Active,
            disabled_reason: None,
            created_at: app.clock.now(),
            secrets: vec![new_secret(app)],
        };
        let mut batch = Batch::new(Table::Notifications);
        batch.put(store::subscription_key(subscription.id), Expect::Absent, &subscription)?;
        batch.put(store::listeners_key(), Expect::as_read(version), &listeners.with(subscription.listener()))?;
        Ok(Change { batch, result: subscription.id })
    })
    .await?;
    get_subscription(app, id).await
}

/// One subscription.
///
/// # Errors
/// `subscription_not_found`.
pub async fn get_subscription(app: &App, id: Uuid) -> Result<VersionedSubscription> {
    let found = store::find_subscription(&*app.store, id).await?;
    let (subscription, version) = found.ok_or_else(no_such_subscription)?;
    Ok(VersionedSubscription { subscription, version })
}

/// A page of subscriptions, oldest first.
///
/// # Errors
/// `invalid_request` for a cursor of another list.
pub async fn list_subscriptions(app: &App, list: &List) -> Result<Listing<Subscription>> {
    let scope = "subscriptions";
    let page = store::list_subscriptions(&*app.store, list.after(scope)?.as_deref(), list.limit()).await?;
    let items = page.docs.iter().map(|doc| doc.parse_owned()).collect::<Result<_>>()?;
    Ok(Listing { items, next: page.next.map(|sk| Cursor::new(scope, &sk)) })
}

/// The ids of all subscriptions.
async fn all_ids(app: &App) -> Result<Vec<Uuid>> {
    let (listeners, _) = store::get_listeners(&*app.store).await?;
    Ok(listeners.subscriptions.iter().map(|listener| listener.id).collect())
}

/// Changes a subscription. One that is made active again starts with a clean record.
///
/// # Errors
/// `subscription_not_found`, `precondition_failed`, those of [`subscribe`], `invalid_request` for an empty patch.
pub async fn patch_subscription(
    app: &App,
    id: Uuid,
    if_match: &IfMatch,
    mut patch: SubscriptionPatch,
) -> Result<VersionedSubscription> {
    patch.url.as_deref().map(|url| check_url(url, app.config.webhook_allow_private)).transpose()?;
    patch.events = patch.events.map(check_events).transpose()?;
    transact(app, &Once::unkeyed(), Table::Notifications, || async {
        let before = get_subscription(app, id).await?;
        if_match.check(&before.etag())?;
        let after = patch.apply(&before.subscription);
        let mut batch = Batch::new(Table::Notifications);
        if after != before.subscription {
            if before.subscription.status == SubscriptionStatus::Disabled {
                batch.delete(store::health_key(id), Expect::Anything);
            }
            write(app, &mut batch, &after, before.version).await?;
        }
        Ok(Change { batch, result: () })
    })
    .await?;
    get_subscription(app, id).await
}

/// Adds to `batch` the next version of a subscription, here and where recording looks.
async fn write(app: &App, batch: &mut Batch, after: &Subscription, version: u64) -> Result<()> {
    let (listeners, listeners_version) = store::get_listeners(&*app.store).await?;
    batch.put(store::subscription_key(after.id), Expect::Version(version), after)?;
    batch.put(store::listeners_key(), Expect::as_read(listeners_version), &listeners.with(after.listener()))?;
    Ok(())
}

/// Removes a subscription; what was on its way to it is not delivered any more.
///
/// # Errors
/// `subscription_not_found`, `precondition_failed`.
pub async fn unsubscribe(app: &App, id: Uuid, if_match: &IfMatch) -> Result<()> {
    transact(app, &Once::unkeyed(), Table::Notifications, || async {
        let before = get_subscription(app, id).await?;
        if_match.check(&before.etag())?;
        let (listeners, version): (Listeners, u64) = store::get_listeners(&*app.store).await?;
        let mut batch = Batch::new(Table::Notifications);
        batch.delete(store::subscription_key(id), Expect::Version(before.version));
        batch.delete(store::health_key(id), Expect::Anything);
        batch.put(store::listeners_key(), Expect::as_read(version), &listeners.without(id))?;
        Ok(Change { batch, result: () })
    })
    .await
}

/// Gives a subscription a new secret; the one before signs beside it for a day.
///
/// # Errors
/// `subscription_not_found`.
pub async fn rotate_secret(app: &App, once: &Once, id: Uuid) -> Result<VersionedSubscription> {
    transact(app, once, Table::Notifications, || async {
        let before = get_subscription(app, id).await?;
        let after = before.subscription.rotated(new_secret(app), app.clock.now());
        let mut batch = Batch::new(Table::Notifications);
        batch.put(store::subscription_key(id), Expect::Version(before.version), &after)?;
        Ok(Change { batch, result: () })
    })
    .await?;
    get_subscription(app, id).await
}

/// Sends a receiver a test.
///
/// # Errors
/// `subscription_not_found`, `subscription_disabled` (409).
pub async fn test(app: &App, once: &Once, id: Uuid) -> Result<Delivery> {
    let delivery_id = transact(app, once, Table::Notifications, || async {
        active(get_subscription(app, id).await?.subscription)?;
        let notification = of_test(app.new_uuid(), id, app.clock.now());
        let delivery = Delivery::new(app.new_uuid(), id, notification, app.clock.now());
        let mut batch = Batch::new(Table::Notifications);
        put(&mut batch, &delivery, Expect::Absent)?;
        batch.emit(app.envelope(&Event::DeliveryDue(delivery.due())));
        Ok(Change { batch, result: delivery.id })
    })
    .await?;
    get_delivery(app, delivery_id).await
}

fn active(subscription: Subscription) -> Result<Subscription> {
    match subscription.status {
        SubscriptionStatus::Active => Ok(subscription),
        SubscriptionStatus::Disabled => {
            let message = "The subscription is disabled; make it active first.";
            Err(Error::new(Kind::Conflict, "subscription_disabled", message))
        }
    }
}

fn put(batch: &mut Batch, delivery: &Delivery, expect: Expect) -> Result<()> {
    let key = store::delivery_key(delivery.subscription_id, delivery.id);
    batch.put_until(key, expect, delivery, delivery.created_at + DELIVERY_KEPT)?;
    Ok(())
}

/// A page of the deliveries, of one subscription or of all that are there, newest first.
///
/// # Errors
/// `subscription_not_found`, `invalid_request` for a cursor of another list.
pub async fn list_deliveries(app: &App, of: Option<Uuid>, list: &List) -> Result<Listing<Delivery>> {
    let scope = of.map_or_else(|| "deliveries".to_owned(), |id| format!("deliveries of {id}"));
    let after = list.after(&scope)?;
    let ranges = match of {
        Some(id) => vec![store::deliveries(get_subscription(app, id).await?.subscription.id)],
        None => all_ids(app).await?.into_iter().map(store::deliveries).collect(),
    };
    let page = list_merged(&*app.store, &ranges, after.as_deref(), list.limit()).await?;
    let items = page.docs.iter().map(|doc| doc.parse_owned()).collect::<Result<_>>()?;
    Ok(Listing { items, next: page.next.map(|sk| Cursor::new(&scope, &sk)) })
}

/// One delivery, of a subscription that is still there.
///
/// # Errors
/// `delivery_not_found`.
pub async fn get_delivery(app: &App, id: Uuid) -> Result<Delivery> {
    let keys: Vec<_> = all_ids(app).await?.into_iter().map(|of| store::delivery_key(of, id)).collect();
    let found = app.store.get_many(&keys).await?.into_iter().flatten().next();
    found.ok_or_else(no_such_delivery)?.parse_owned()
}

/// Has a delivery tried again from the beginning, whatever became of it: with the same id, so that a receiver that has it
/// already can tell.
///
/// # Errors
/// `delivery_not_found`, `subscription_disabled` (409).
pub async fn redeliver(app: &App, once: &Once, id: Uuid) -> Result<Delivery> {
    let subscription = get_delivery(app, id).await?.subscription_id;
    transact(app, once, Table::Notifications, || async {
        let Found { subscription, delivery, .. } = store::find(&*app.store, subscription, id).await?;
        active(subscription.ok_or_else(no_such_delivery)?.0)?;
        let (delivery, version) = delivery.ok_or_else(no_such_delivery)?;
        let again = delivery.again();
        let mut batch = Batch::new(Table::Notifications);
        put(&mut batch, &again, Expect::Version(version))?;
        batch.emit(app.envelope(&Event::DeliveryDue(again.due())));
        Ok(Change { batch, result: () })
    })
    .await?;
    get_delivery(app, id).await
}

/// Notes in a delivery how an attempt went, and what follows of it for the subscription.
///
/// # Errors
/// Those of the store.
pub(super) async fn note_attempt(app: &App, due: &DeliveryDue, attempt: Attempt, outcome: Outcome) -> Result<()> {
    let told = transact(app, &Once::unkeyed(), Table::Notifications, || async {
        let mut batch = Batch::new(Table::Notifications);
        let found = store::find(&*app.store, due.subscription_id, due.delivery_id).await?;
        // An attempt of a round before says nothing of this one.
        let delivery = found.delivery.filter(|(delivery, _)| delivery.due().round == due.round);
        let Some((delivery, version)) = delivery else { return Ok(Change { batch, result: None }) };
        let status = match outcome {
            Outcome::Delivered => DeliveryStatus::Delivered,
            Outcome::Failed => delivery.status,
            Outcome::Gone | Outcome::GivenUp => DeliveryStatus::Failed,
        };
        put(&mut batch, &delivery.with_attempt(attempt.clone(), status), Expect::Version(version))?;
        if outcome == Outcome::Delivered || outcome == Outcome::Failed {
            let (health, version) = found.health;
            note_health(
                &mut batch,
                due.subscription_id,
                health.after(outcome == Outcome::Delivered, attempt.at),
                version,
            )?;
        }
        let mut told = None;
        if outcome == Outcome::Gone
            && let Some((subscription, version)) = found.subscription
        {
            told = disable(app, &mut batch, subscription, version, "its receiver answered 410, gone.").await?;
        }
        Ok(Change { batch, result: told })
    })
    .await?;
    tell_of(app, told).await
}

fn note_health(batch: &mut Batch, id: Uuid, health: Option<Health>, version: u64) -> Result<()> {
    if let Some(health) = health {
        batch.put(store::health_key(id), Expect::as_read(version), &health)?;
    }
    Ok(())
}

/// Adds to `batch` that a subscription is disabled, and that operators are told.
async fn disable(
    app: &App,
    batch: &mut Batch,
    subscription: Subscription,
    version: u64,
    reason: &str,
) -> Result<Option<InboxEntry>> {
    if subscription.status == SubscriptionStatus::Active {
        let told = of_disabled(&subscription, reason, app.clock.now());
        write(app, batch, &subscription.disabled(reason.to_owned()), version).await?;
        return enter(app, batch, &told).await.map(Some);
    }
    Ok(None)
}

/// Tells whoever listens of what operators were told, if they were.
async fn tell_of(app: &App, entry: Option<InboxEntry>) -> Result<()> {
    match entry {
        Some(entry) => tell(app, &entry).await,
        None => Ok(()),
    }
}

/// The message of a delivery died: it has failed, operators are told, and a subscription to which nothing got through for too
/// long is disabled.
///
/// # Errors
/// Those of the store.
pub(in super::super) async fn give_up(app: &App, due: &DeliveryDue) -> Result<()> {
    let told = transact(app, &Once::unkeyed(), Table::Notifications, || async {
        let mut batch = Batch::new(Table::Notifications);
        let found = store::find(&*app.store, due.subscription_id, due.delivery_id).await?;
        let (Some((subscription, subscription_version)), Some((delivery, version))) =
            (found.subscription, found.delivery)
        else {
            return Ok(Change { batch, result: None });
        };
        if delivery.status != DeliveryStatus::Pending || delivery.due().round != due.round {
            return Ok(Change { batch, result: None });
        }
        let now = app.clock.now();
        let reason = delivery.attempts.last().and_then(|attempt| attempt.error.clone());
        let reason = reason.unwrap_or_else(|| "It could not be tried.".to_owned());
        let told = of_failed(&delivery, &subscription.url, &reason, now);
        put(&mut batch, &Delivery { status: DeliveryStatus::Failed, ..delivery }, Expect::Version(version))?;
        let told = if subscription.status == SubscriptionStatus::Active && found.health.0.is_hopeless(now) {
            let why = "nothing got through for five days.";
            disable(app, &mut batch, subscription, subscription_version, why).await?
        } else {
            Some(enter(app, &mut batch, &told).await?)
        };
        Ok(Change { batch, result: told })
    })
    .await?;
    tell_of(app, told).await
}
