//! What webhooks do when a delivery is due.

use super::{Attempt, DeliveryDue, DeliveryStatus, Subscription, SubscriptionStatus, ops, payload, store};
use crate::app::App;
use crate::error::{Error, Kind, Result};
use crate::notifications::ops::as_named_now;
use crate::notifications::webhooks::WebhookRequest;

/// The answer of a receiver that is gone for good.
const GONE: u16 = 410;

/// A delivery is due: try it, and note how it went. What was delivered, or belongs to a round that is over, is not tried again.
///
/// # Errors
/// `delivery_failed` when the receiver did not take it: worth another try, as are those of the store.
pub async fn on_delivery_due(app: &App, due: DeliveryDue) -> Result<()> {
    let store::Found { subscription, delivery, health } =
        store::find(&*app.store, due.subscription_id, due.delivery_id).await?;
    let (Some((subscription, _)), Some((delivery, _))) = (subscription, delivery) else { return Ok(()) };
    if delivery.status == DeliveryStatus::Delivered || delivery.due().round != due.round {
        return Ok(());
    }
    let at = app.clock.now();
    if subscription.status == SubscriptionStatus::Disabled {
        let error = Some("The subscription is disabled.".to_owned());
        let attempt = Attempt { at, status: None, error, duration_ms: 0 };
        return ops::note_attempt(app, &due, attempt, ops::Outcome::GivenUp).await;
    }
    let notification = as_named_now(app, &delivery.notification).await?;
    let request = request(app, &subscription, &notification, health.0.is_failing())?;
    let answer = app.channels.webhooks.send(request).await;
    let duration_ms = app.clock.now().duration_since(at).as_millis().try_into().unwrap_or(i64::MAX);
    let (status, error) = match answer {
        Ok(status) if (200..300).contains(&status) => (Some(status), None),
        Ok(status) => (Some(status), Some(format!("The receiver answered {status}."))),
        Err(why) => (None, Some(format!("The receiver did not answer: {why}."))),
    };
    let outcome = match (&error, status) {
        (None, _) => ops::Outcome::Delivered,
        (Some(_), Some(GONE)) => ops::Outcome::Gone,
        (Some(_), _) => ops::Outcome::Failed,
    };
    ops::note_attempt(app, &due, Attempt { at, status, error: error.clone(), duration_ms }, outcome).await?;
    match (outcome, error) {
        (ops::Outcome::Failed, Some(error)) => Err(Error::new(Kind::Unavailable, "delivery_failed", error)),
        _ => Ok(()),
    }
}

fn request(
    app: &App,
    subscription: &Subscription,
    notification: &crate::notifications::Notification,
    is_failing: bool,
) -> Result<WebhookRequest> {
    let now = app.clock.now();
    let (id, timestamp_s, body) = (notification.id.to_string(), now.as_second(), payload(notification)?);
    let signature = subscription.signature(&id, timestamp_s, &body, now);
    let allow_private = app.config.webhook_allow_private;
    Ok(WebhookRequest { url: subscription.url.clone(), id, timestamp_s, signature, body, allow_private, is_failing })
}
