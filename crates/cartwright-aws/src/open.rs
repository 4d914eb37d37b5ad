//! The application of a function, over its ports on AWS.

use std::sync::Arc;

use async_trait::async_trait;
use aws_types::SdkConfig;
use cartwright::app::{App, Clock, Ids};
use cartwright::error::{Error, Kind, Result};
use cartwright::local::LogNotifier;
use cartwright::notifications::Notifier;
use cartwright::store::{Batch, CommitError, Doc, Key, Page, Range, Store};
use cartwright::system::{SystemClock, SystemIds};

use crate::queues::AwsQueues;
use crate::settings::{Role, Settings};
use crate::sns::SnsNotifier;
use crate::sqs::Queues;

/// The application of a function.
pub fn open(settings: &Settings, config: &SdkConfig) -> App {
    let (clock, ids): (Arc<dyn Clock>, Arc<dyn Ids>) = (Arc::new(SystemClock), Arc::new(SystemIds));
    let store = open_store(settings, config, Arc::clone(&ids), Arc::clone(&clock));
    let queues = Queues::new(aws_sdk_sqs::Client::new(config), settings.prefix.clone());
    let queues = AwsQueues::new(Arc::clone(&store), Arc::clone(&ids), queues);
    App::new(store, Arc::new(queues), notifier(settings, config), clock, ids, settings.config.clone())
}

/// Only the worker of the notifications has topics, and only it notifies.
fn notifier(settings: &Settings, config: &SdkConfig) -> Arc<dyn Notifier> {
    match &settings.role {
        Role::Worker { topics: Some(topics), .. } => {
            Arc::new(SnsNotifier::new(aws_sdk_sns::Client::new(config), topics.clone()))
        }
        _ => Arc::new(LogNotifier),
    }
}

/// The store of a function.
pub fn open_store(_: &Settings, _: &SdkConfig, _: Arc<dyn Ids>, _: Arc<dyn Clock>) -> Arc<dyn Store> {
    Arc::new(NoStore)
}

/// A store that cannot be reached.
struct NoStore;

fn no_store() -> Error {
    Error::new(Kind::Unavailable, "no_store", "There is no store on AWS yet.")
}

#[async_trait]
impl Store for NoStore {
    async fn get(&self, _: &Key) -> Result<Option<Doc>> {
        Err(no_store())
    }

    async fn get_many(&self, _: &[Key]) -> Result<Vec<Option<Doc>>> {
        Err(no_store())
    }

    async fn list(&self, _: &Range, _: Option<&str>, _: usize) -> Result<Page> {
        Err(no_store())
    }

    fn health(&self) -> Result<()> {
        Ok(())
    }

    async fn commit(&self, _: Batch) -> Result<(), CommitError> {
        Err(no_store().into())
    }
}
