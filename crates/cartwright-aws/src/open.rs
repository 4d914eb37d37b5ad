//! The application of a function, over its ports on AWS.

use std::sync::{Arc, OnceLock};

use aws_types::SdkConfig;
use cartwright::access::{Access, Issuer};
use cartwright::app::{App, Clock, Ids, Ports};
use cartwright::feed::Live;
use cartwright::local::LogNotifier;
use cartwright::local::smtp::SmtpMailer;
use cartwright::notifications::email::{Mail, Templates};
use cartwright::notifications::{Channels, Notifier};
use cartwright::outbound::Outbound;
use cartwright::store::Store;
use cartwright::system::{SystemClock, SystemIds};
use cartwright::telemetry::Telemetry;

use crate::dynamodb::{DynamoStore, retry};
use crate::queues::AwsQueues;
use crate::settings::{Role, Settings};
use crate::sns::SnsNotifier;
use crate::sqs::Queues;
use crate::websocket::Sockets;

/// The application of a function.
///
/// # Errors
/// In a sentence, when it is to send e-mail and cannot, or to take tokens of an issuer that is none.
pub fn open(settings: &Settings, config: &SdkConfig) -> Result<App, String> {
    let (clock, ids): (Arc<dyn Clock>, Arc<dyn Ids>) = (Arc::new(SystemClock), Arc::new(SystemIds));
    let store: Arc<dyn Store> = Arc::new(open_store(settings, config, Arc::clone(&ids), Arc::clone(&clock)));
    let queues = Queues::new(aws_sdk_sqs::Client::new(config), settings.prefix.clone());
    let queues = AwsQueues::new(Arc::clone(&store), Arc::clone(&ids), queues);
    let sockets = Sockets::new(config, settings.websocket_endpoint.as_deref());
    Ok(App::over(Ports {
        store,
        queues: Arc::new(queues),
        notifier: notifier(settings, config),
        channels: Channels { mail: mail(settings)?, ..Channels::default() },
        clock,
        ids,
        config: settings.config.clone(),
        access: access(settings)?,
        live: OnceLock::from(Arc::new(sockets) as Arc<dyn Live>),
        in_flight: Arc::default(),
        telemetry: Telemetry::default(),
    }))
}

/// Who may do what with this function.
fn access(settings: &Settings) -> Result<Access, String> {
    match &settings.issuer {
        _ if !settings.is_access_required => Ok(Access::open()),
        None => Ok(Access::required()),
        Some(issuer) => {
            let issuer = Issuer::new(issuer.clone(), Arc::new(Outbound::default()))?;
            Ok(Access::required().trusting(issuer))
        }
    }
}

/// Only the worker of e-mail knows the server.
fn mail(settings: &Settings) -> Result<Option<Arc<Mail>>, String> {
    let Role::Worker { mail: Some(server), .. } = &settings.role else { return Ok(None) };
    let mailer = SmtpMailer::new(&server.url, &server.from)?;
    Ok(Some(Arc::new(Mail { mailer: Arc::new(mailer), templates: Templates::default() })))
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
pub fn open_store(settings: &Settings, config: &SdkConfig, ids: Arc<dyn Ids>, clock: Arc<dyn Clock>) -> DynamoStore {
    dynamo_store(config, settings.prefix.clone(), ids, clock)
}

/// The store in the tables whose names begin with `prefix`.
pub fn dynamo_store(config: &SdkConfig, prefix: String, ids: Arc<dyn Ids>, clock: Arc<dyn Clock>) -> DynamoStore {
    // The store repeats requests itself: it knows which can be.
    let (retries, timeouts) = retry::settings();
    let config = aws_sdk_dynamodb::config::Builder::from(config).retry_config(retries).timeout_config(timeouts).build();
    DynamoStore::new(aws_sdk_dynamodb::Client::from_conf(config), prefix, ids, clock)
}
