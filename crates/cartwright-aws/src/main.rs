//! The one binary that every Lambda function runs: what each role needs is wired here, and nothing is decided.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use cartwright::app::{App, Clock};
use cartwright::store::Key;
use cartwright::system::{SystemClock, SystemIds};
use cartwright::trace::{Context as TraceContext, Sampling, Tracer};
use cartwright::{api, catalog};
use cartwright_aws::emf::Emf;
use cartwright_aws::gateway::{Gateway, GatewayRequest};
use cartwright_aws::open::open;
use cartwright_aws::relay::{Relay, StreamBatch};
use cartwright_aws::settings::{Role, Service, Settings};
use cartwright_aws::sqs::{Queues, SqsEvent};
use cartwright_aws::websocket::{SocketEvent, Sockets, WebSocket};
use cartwright_aws::worker::Worker;
use cartwright_aws::xray::{self, XRay};
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
            record(&app, &settings);
            warm_up(&app, service).await?;
            let gateway = Gateway::new(api::door(&app), cors_origin);
            serve(emf, async |request: GatewayRequest, call| gateway.answer(request, call.time_left, call.trace).await)
                .await
        }
        Role::Worker { queue, .. } => {
            let app = open(&settings, &config)?;
            let emf = emf(&app);
            record(&app, &settings);
            let worker = Worker::new(app, queue, sqs());
            serve(emf, async |batch: SqsEvent, call| Ok(worker.process(batch, call.time_left).await)).await
        }
        Role::Relay { bus } => {
            let queues = Queues::new(sqs(), settings.prefix.clone());
            let relay = Relay::new(bus, aws_sdk_eventbridge::Client::new(&config), queues, Box::new(SystemIds));
            serve(None, async |batch: StreamBatch, call| Ok(relay.send(batch, call.time_left).await)).await
        }
        Role::WebSocket => {
            let app = open(&settings, &config)?;
            let emf = emf(&app);
            let socket = WebSocket::new(app, Sockets::new(&config, settings.websocket_endpoint.as_deref()));
            serve(emf, async |event: SocketEvent, call| socket.answer(event, call.time_left).await).await
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

/// What is known of an invocation beside its event.
#[derive(Clone, Copy)]
struct Call {
    time_left: Duration,
    /// Its place in X-Ray's trace, if that is recorded or decided not to be.
    trace: Option<TraceContext>,
}

/// Records spans for X-Ray, of the traces that Lambda or a caller began.
fn record(app: &App, settings: &Settings) {
    let Some(daemon) = &settings.xray_daemon else { return };
    match XRay::new(daemon) {
        Ok(sink) => {
            let tracer = Tracer::new(app.clock.clone(), app.ids.clone(), Sampling::OTHERS, Box::new(sink));
            let _ = app.telemetry.tracer.set(tracer);
        }
        Err(error) => tracing::warn!(%error, "no spans are recorded: X-Ray's daemon has no address"),
    }
}

/// Answers invocations with what `handle` makes of them in the time that is left; then writes their metrics.
async fn serve<E, A>(emf: Option<Emf>, handle: impl AsyncFn(E, Call) -> Result<A, String>) -> Result<(), AnyError>
where
    E: DeserializeOwned,
    A: Serialize,
{
    let (emf, handle) = (&emf, &handle);
    let service = service_fn(|event: LambdaEvent<E>| {
        let LambdaEvent { payload, context } = event;
        let span = logs::invocation_span(&context);
        let trace = context.xray_trace_id.as_deref().and_then(xray::context);
        let call = Call { time_left: time_left(&context), trace };
        async move {
            let answer = handle(payload, call).await;
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
