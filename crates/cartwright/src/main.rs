//! The command line: what each role needs is wired here, and nothing is decided.

#![expect(clippy::print_stderr, reason = "a command line talks to its terminal")]

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cartwright::access::Access;
use cartwright::access::ops::has_keys;
use cartwright::app::{App, Ports};
use cartwright::config::{Config, DEFAULT_OPERATION_TABLE, EmailConfig};
use cartwright::feed::Hub;
use cartwright::local::attack::{self, Attack};
use cartwright::local::backup::{self, Backup};
use cartwright::local::dead_letters::{self, DeadLetters};
use cartwright::local::delivery::{Delivery, Settings};
use cartwright::local::export::{self, Export};
use cartwright::local::import::{self, Import};
use cartwright::local::keys::{self, Keys};
use cartwright::local::server::{LimitOptions, Redirect, TlsOptions};
use cartwright::local::smtp::MailOptions;
use cartwright::local::sqlite::{FILE_NAME, SqliteStore};
use cartwright::local::telemetry::{LogFormat, TelemetryOptions};
use cartwright::local::{AccessOptions, DEMO_PRODUCTS, LogNotifier, seed, server};
use cartwright::notifications::Channels;
use cartwright::notifications::email::Mail;
use cartwright::rest::Limits;
use cartwright::system::{SystemClock, SystemIds};
use cartwright::telemetry::Telemetry;
use cartwright::{api, catalog, logs};
use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use iso_currency::Currency;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::Targets;

/// A commerce back end in one binary: catalogue and stock, baskets, checkout, orders.
#[derive(Parser)]
#[command(
    version,
    arg_required_else_help = true,
    after_help = "\
Start a shop with two hundred demo products, and look around:

  cartwright serve --demo
  curl 'http://127.0.0.1:8080/v1/products?limit=3'

In a browser: http://127.0.0.1:8080 is the storefront, /desk the operators' desk, /docs the API.

Everything a shop knows is in its data folder, in one SQLite file; `cartwright backup FILE` copies it while the server serves.
What has an environment variable beside it can also be set by that."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the shop: HTTP API, queues, everything.
    Serve {
        #[command(flatten)]
        shop: Shop,
        /// Address to listen on. Others than loopback addresses only with access control.
        #[arg(long, env = "CARTWRIGHT_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
        listen: SocketAddr,
        /// Put the demo products into the catalogue first, those that are not there.
        #[arg(long)]
        demo: bool,
        #[command(flatten)]
        access: Box<AccessOptions>,
        #[command(flatten)]
        tls: Box<TlsOptions>,
        #[command(flatten)]
        limits: Box<LimitOptions>,
        #[command(flatten)]
        telemetry: Box<TelemetryOptions>,
        #[command(flatten)]
        mail: Box<MailOptions>,
        /// Deliver webhooks also to private, loopback and link-local addresses, and over http. Only where nobody but you can add webhooks.
        #[arg(long, env = "CARTWRIGHT_WEBHOOK_ALLOW_PRIVATE")]
        webhook_allow_private: bool,
    },
    /// Put two hundred demo products into the catalogue, those that are not there. Not while the server runs.
    Seed {
        #[command(flatten)]
        shop: Shop,
    },
    Keys(Keys),
    DeadLetters(DeadLetters),
    Export(Export),
    Import(Import),
    Backup(Backup),
    Attack(Attack),
}

#[derive(Args)]
struct Shop {
    /// Folder of the shop's data; made if it is not there.
    #[arg(long, env = "CARTWRIGHT_DATA", default_value = "./cartwright-data", value_name = "FOLDER")]
    data: PathBuf,
    /// Currency of all prices, by its ISO 4217 code. Fixed by the first start.
    #[arg(long, env = "CARTWRIGHT_CURRENCY", default_value = "USD", value_name = "CODE", value_parser = currency)]
    currency: Currency,
    /// Tables that the operations endpoint may use, separated by commas.
    #[arg(long, env = "CARTWRIGHT_OPERATION_TABLES", default_value = DEFAULT_OPERATION_TABLE, value_name = "NAMES", value_delimiter = ',')]
    operation_tables: Vec<String>,
    /// What to log on standard error: error, warn, info, debug or trace; also by module, as in info,cartwright::local=debug.
    #[arg(long, env = "CARTWRIGHT_LOG", default_value = "warn", value_name = "LEVELS")]
    log: Targets,
    /// Form of the log: text for people, json (one object a line) for programs.
    #[arg(long, env = "CARTWRIGHT_LOG_FORMAT", default_value = "text", value_name = "FORMAT", value_enum)]
    log_format: LogFormat,
}

fn currency(code: &str) -> Result<Currency, String> {
    Currency::from_code(&code.to_ascii_uppercase()).ok_or_else(|| "not an ISO 4217 currency code".to_owned())
}

/// Prints a line, or does not when nobody reads it any more: a closed pipe is no reason to stop.
macro_rules! say {
    ($($line:tt)*) => { { let _ = writeln!(std::io::stdout(), $($line)*); } };
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve { shop, listen, demo, access, tls, limits, telemetry, mail, webhook_allow_private } => {
            let outside = Outside { mail: *mail, webhook_allow_private, telemetry: *telemetry };
            serve(shop, listen, demo, &access, &tls, &limits, &outside).await
        }
        Command::Seed { shop } => seed_only(shop).await,
        Command::Keys(command) => keys::run(command).await,
        Command::DeadLetters(command) => dead_letters::run(command).await,
        Command::Export(command) => export::run(command),
        Command::Backup(command) => backup::run(command),
        Command::Import(command) => match import::run(command).await {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Attack(command) => match attack::run(command).await {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cartwright: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What leaves the machine beside answers: notifications, traces, metrics.
struct Outside {
    mail: MailOptions,
    webhook_allow_private: bool,
    telemetry: TelemetryOptions,
}

/// The shop's store, and what it says to the log.
fn open_store(shop: &Shop) -> Result<Arc<SqliteStore>, AnyError> {
    let clock = Arc::new(SystemClock);
    logs::start(shop.log_format.into(), shop.log.clone(), clock.clone());
    Ok(SqliteStore::open(&shop.data, clock)?)
}

/// The shop's application over its store.
async fn application(
    shop: &Shop,
    store: &Arc<SqliteStore>,
    access: Access,
    outside: (Option<Arc<Mail>>, EmailConfig, bool),
) -> Result<App, AnyError> {
    let (mail, email, webhook_allow_private) = outside;
    let config = Config {
        currency: shop.currency,
        operation_tables: shop.operation_tables.clone(),
        email,
        webhook_allow_private,
    };
    let app = App::over(Ports {
        store: store.clone(),
        queues: store.clone(),
        notifier: Arc::new(LogNotifier),
        channels: Channels { mail, ..Channels::default() },
        clock: Arc::new(SystemClock),
        ids: Arc::new(SystemIds),
        config,
        access,
        live: OnceLock::new(),
        in_flight: Arc::default(),
        telemetry: Telemetry::default(),
    });
    app.hosted_by(store.clone());
    catalog::ops::pin_currency(&app).await?;
    catalog::ensure_indexed(&app).await?;
    Ok(app)
}

async fn serve(
    shop: Shop,
    listen: SocketAddr,
    demo: bool,
    access: &AccessOptions,
    tls: &TlsOptions,
    limits: &LimitOptions,
    outside: &Outside,
) -> Result<(), AnyError> {
    let encryption = tls.load(&shop.data)?;
    let (mail, email) = outside.mail.load()?;
    if !shop.data.join(FILE_NAME).is_file() {
        // A start that is refused makes no folder.
        access.decide(false, listen, limits.has_proxy())?;
    }
    let store = open_store(&shop)?;
    let cors = access.cors();
    let (access, who_may) = access.decide(has_keys(&*store).await?, listen, limits.has_proxy())?;
    let telemetry = &outside.telemetry;
    let app = application(&shop, &store, access, (mail, email, outside.webhook_allow_private)).await?;
    let hub = Hub::new(limits.of_streams(listen));
    app.tell_by(Arc::new(hub.clone()));
    let mut settings = limits.of_connections(listen, server::raise_open_file_limit());
    settings.tls = encryption;
    if demo {
        seed_with_progress(&app).await?;
    }
    if let Some(messages) = limits.max_backlog() {
        store.limit_backlog(messages);
    }
    let cannot_listen =
        |on, option| move |error| format!("cannot listen on {on}: {error}; choose another address with {option}");
    let listener = server::listen(listen).map_err(cannot_listen(listen, "--listen"))?;
    let address = listener.local_addr()?;
    let redirect = match tls.redirect(address) {
        Some((from, to)) => Some(Redirect::bind(from, to).map_err(cannot_listen(from, "--redirect-listen"))?),
        None => None,
    };
    let asked = telemetry.metrics_listen().unwrap_or(listen);
    let telemetry = telemetry.start(&app).map_err(cannot_listen(asked, "--metrics-listen"))?;
    let stop = stop_signal()?;
    let delivery = Delivery::new(app.clone(), store.clone(), Settings::default()).start();
    let door = api::door(&app).timeout(limits.request_timeout()).limited(Limits::new(limits.of_requests(listen)));
    let door = door.shared_with(cors);
    // A proxy in front has names of its own, and where there is TLS the certificate has them.
    let is_behind_a_name = settings.tls.is_some() || !settings.trusted_proxies.is_empty();
    let is_local_only = !app.access.is_required() && !is_behind_a_name;
    let door = if is_local_only { door.local_only() } else { door };
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let data = std::path::absolute(&shop.data)?.join(FILE_NAME);
    say!("Cartwright {} is ready.", env!("CARGO_PKG_VERSION"));
    say!("  listening on  {scheme}://{address}");
    if let Some(tls) = &settings.tls {
        say!("  certificate   {}", tls.source());
    }
    if let Some(redirect) = &redirect {
        say!("  redirecting   http://{}", redirect.address()?);
    }
    if let Some(metrics) = telemetry.metrics_address() {
        say!("  metrics       http://{metrics}/metrics");
    }
    say!("  data in       {}", data.display());
    say!("  access        {who_may}");
    if app.access.is_required() && !listen.ip().is_loopback() && scheme == "http" {
        say!("  unencrypted   whoever is on the way can read keys and answers, unless a proxy in front speaks TLS");
    }
    say!("  storefront    {scheme}://{address}/");
    say!("  desk          {scheme}://{address}/desk");
    say!("  API           {scheme}://{address}/docs; stop with Ctrl-C");
    let stop = async {
        stop.await;
        hub.close();
    };
    server::serve(listener, redirect, door, settings, stop).await;
    say!("Stopping: finishing what is under way.");
    delivery.stop(server::DRAIN_TIMEOUT).await;
    telemetry.stop().await;
    store.close().await;
    Ok(())
}

/// Resolves at the first SIGTERM or SIGINT. A second one ends the process at once: everything acknowledged is on disk.
fn stop_signal() -> Result<impl Future<Output = ()>, AnyError> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tokio::spawn(async move {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            std::process::exit(1);
        });
    })
}

async fn seed_only(shop: Shop) -> Result<(), AnyError> {
    let store = open_store(&shop)?;
    let app = application(&shop, &store, Access::open(), (None, EmailConfig::default(), false)).await?;
    let added = seed_with_progress(&app).await?;
    // The events of the new stock wait in the queues; the next start delivers them.
    store.close().await;
    say!("Added {added} of {DEMO_PRODUCTS} demo products to {}.", shop.data.display());
    Ok(())
}

async fn seed_with_progress(app: &App) -> Result<usize, AnyError> {
    let style = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len}")?;
    let bar = ProgressBar::new(DEMO_PRODUCTS as u64).with_style(style).with_message("Demo products");
    bar.enable_steady_tick(Duration::from_millis(200));
    let added = seed(app, |done| bar.set_position(done as u64)).await?;
    bar.finish_and_clear();
    Ok(added)
}
