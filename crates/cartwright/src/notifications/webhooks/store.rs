//! The keys of webhooks, and typed reads of what is under them.
//!
//! ```text
//! WEBHOOKS                    LISTENERS             all subscriptions, as far as recording a notification needs them
//!                             SUBSCRIPTION#<id>     a subscription, with its secrets
//!                             HEALTH#<id>           how it has fared
//! DELIVERIES#<subscription>   <id>                  a delivery, for thirty days; by time
//! ```

use uuid::Uuid;

use super::{Delivery, Health, Listeners, Subscription};
use crate::error::Result;
use crate::store::{Doc, Key, Page, Partition, Range, Store, Table};

const SUBSCRIPTION: &str = "SUBSCRIPTION#";

fn webhooks() -> Partition {
    Partition::new(Table::Notifications, "WEBHOOKS")
}

pub(in super::super) fn listeners_key() -> Key {
    webhooks().key("LISTENERS")
}

pub(super) fn subscription_key(id: Uuid) -> Key {
    webhooks().key(format!("{SUBSCRIPTION}{id}"))
}

pub(super) fn health_key(id: Uuid) -> Key {
    webhooks().key(format!("HEALTH#{id}"))
}

pub(in super::super) fn delivery_key(subscription: Uuid, id: Uuid) -> Key {
    deliveries(subscription).partition.key(id.to_string())
}

/// The deliveries of a subscription, newest first.
pub(super) fn deliveries(subscription: Uuid) -> Range {
    Partition::new(Table::Notifications, format!("DELIVERIES#{subscription}")).all().descending()
}

/// A page of subscriptions, oldest first.
pub(super) async fn list_subscriptions(store: &dyn Store, after: Option<&str>, limit: usize) -> Result<Page> {
    store.list(&webhooks().starting_with(SUBSCRIPTION), after, limit).await
}

pub(super) async fn find_subscription(store: &dyn Store, id: Uuid) -> Result<Option<(Subscription, u64)>> {
    store.get(&subscription_key(id)).await?.as_ref().map(versioned).transpose()
}

/// What recording needs of all subscriptions, and the version of the document.
pub(super) async fn get_listeners(store: &dyn Store) -> Result<(Listeners, u64)> {
    let doc = store.get(&listeners_key()).await?;
    doc.as_ref().map_or(Ok((Listeners::default(), 0)), versioned)
}

/// What there is of a delivery.
pub(super) struct Found {
    pub(super) subscription: Option<(Subscription, u64)>,
    pub(super) delivery: Option<(Delivery, u64)>,
    pub(super) health: (Health, u64),
}

pub(super) async fn find(store: &dyn Store, subscription: Uuid, delivery: Uuid) -> Result<Found> {
    let keys = [subscription_key(subscription), delivery_key(subscription, delivery), health_key(subscription)];
    let docs = store.get_many(&keys).await?;
    Ok(Found {
        subscription: docs[0].as_ref().map(versioned).transpose()?,
        delivery: docs[1].as_ref().map(versioned).transpose()?,
        health: docs[2].as_ref().map_or(Ok((Health::default(), 0)), versioned)?,
    })
}

fn versioned<T: serde::de::DeserializeOwned>(doc: &Doc) -> Result<(T, u64)> {
    Ok((doc.parse_owned()?, doc.version))
}
