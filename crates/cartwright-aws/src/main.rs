//! The one binary that every Lambda function runs: what each role needs is wired here, and nothing is decided.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use cartwright::app::{App, Clock};
use cartwright::store::Key;
use cartwright::system::{SystemClock, SystemIds};
use cartwright::{api, catalog};
use cartwright_aws::emf::Emf;
use cartwright_aws::gateway::{Gateway, GatewayRequest};
use cartwright_aws::open::open;
use cartwright_aws::relay::{Relay, StreamBatch};
use cartwright_aws::settings::{Role, Service, Settings};
use cartwright_aws::sqs::{Queues, SqsEvent};
use cartwright_aws::websocket::{SocketEvent, Sockets, WebSocket};
use cartwright_aws::worker::Worker;
use cartwright_aws::{clients, dead_letters, logs};
use futures_util::FutureExt;
use lambda_runtime::{Context, LambdaEvent, Runtime, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::Instrument;
use tracing_subscriber::filter::{LevelFilter, Targets};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    #[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
    let settings = Settings::read(|name| std::env::var(name).ok());
    let levels = settings.as_ref().map(|settings| settings.log.clone());
    logs::start(levels.unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO)));
    let outcome = match settings {
        Ok(settings) => {
            let span = logs::init_span(&settings.role);
            run(settings).instrument(span).await
        }
        Err(why) => Err(why.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the function ends: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Does what the function's role is, invocation after invocation.
async fn run(settings: Settings) -> Result<(), AnyError> {
    let config = clients::sdk_config(&settings.aws, clients::http_client());
    let emf =
        |app: &App| settings.has_metrics.then(|| Emf::new(Arc::clone(&app.telemetry.metrics), settings.role.part()));
    let sqs = || aws_sdk_sqs::Client::new(&config);
    match settings.role.clone() {
        Role::Api { service, cors_origin } => {
            let app = open(&settings, &config)?;
            let emf = emf(&app);
            warm_up(&app, service).await?;
            let gateway = Gateway::new(api::door(&app), cors_origin);
            serve(emf, async |request: GatewayRequest, time_left| gateway.answer(request, time_left).await).await
        }
        Role::Worker { queue, .. } => {
            let app = open(&settings, &config)?;
            let emf = emf(&app);
            let worker = Worker::new(app, queue, sqs());
            serve(emf, async |batch: SqsEvent, time_left| Ok(worker.process(batch, time_left).await)).await
        }
        Role::Relay { bus } => {
            let queues = Queues::new(sqs(), settings.prefix.clone());
            let relay = Relay::new(bus, aws_sdk_eventbridge::Client::new(&config), queues, Box::new(SystemIds));
            serve(None, async |batch: StreamBatch, time_left| Ok(relay.send(batch, time_left).await)).await
        }
        Role::WebSocket => {
            let app = open(&settings, &config)?;
            let emf = emf(&app);
            let socket = WebSocket::new(app, Sockets::new(&config, settings.websocket_endpoint.as_deref()));
            serve(emf, async |event: SocketEvent, time_left| socket.answer(event, time_left).await).await
        }
        Role::DeadLetters => {
            let app = open(&settings, &config)?;
            serve(None, async |batch: SqsEvent, _| Ok(dead_letters::record(&app, &settings.prefix, batch).await)).await
        }
    }
}

/// Asks the table of a service something before the first request, while the processor is at full speed: the connection
/// stands then. The catalogue makes sure of the currency of its prices.
async fn warm_up(app: &App, service: Service) -> Result<(), AnyError> {
    if service == Service::Catalog {
        catalog::ops::pin_currency(app).await?;
    } else if let Some(table) = service.table()
        && let Err(error) = app.store.get(&Key::new(table, "WARM", "UP")).await
    {
        tracing::warn!(%error, "the table cannot be read yet");
    }
    Ok(())
}

/// Answers invocations with what `handle` makes of them in the time that is left; then writes their metrics.
async fn serve<E, A>(emf: Option<Emf>, handle: impl AsyncFn(E, Duration) -> Result<A, String>) -> Result<(), AnyError>
where
    E: DeserializeOwned,
    A: Serialize,
{
    let (emf, handle) = (&emf, &handle);
    let service = service_fn(|event: LambdaEvent<E>| {
        let LambdaEvent { payload, context } = event;
        let (span, time_left) = (logs::invocation_span(&context), time_left(&context));
        async move {
            let answer = handle(payload, time_left).await;
            if let Some(emf) = emf {
                emf.flush(&context.request_id, SystemClock.now().as_millisecond());
            }
            answer
        }
        .instrument(span)
        .boxed_local()
    });
    Runtime::new(service).run().await
}

fn time_left(context: &Context) -> Duration {
    let now_ms = u64::try_from(SystemClock.now().as_millisecond()).unwrap_or(0);
    Duration::from_millis(context.deadline.saturating_sub(now_ms))
}
