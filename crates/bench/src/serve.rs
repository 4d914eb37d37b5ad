//! The servers that are measured: the shop as its own program wires it, and the least that axum can do.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path as UrlPath, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::{BufMut, Bytes, BytesMut};
use cartwright::app::App;
use cartwright::config::Config;
use cartwright::local::LogNotifier;
use cartwright::local::delivery::{Delivery, Settings};
use cartwright::local::server::{self, LimitOptions};
use cartwright::local::sqlite::SqliteStore;
use cartwright::rest::Limits;
use cartwright::system::{SystemClock, SystemIds};
use cartwright::{api, catalog};
use http::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;

use hyper_util::service::TowerToHyperService;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::Result;

/// Runs the shop with its data in `folder`, all as its own program does it, until standard input ends.
///
/// # Errors
/// When it cannot be opened.
#[tokio::main]
pub(crate) async fn shop(folder: &Path, limits: &LimitOptions) -> Result<()> {
    let format = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(format).with(Targets::new().with_default(LevelFilter::WARN)).init();
    let clock = Arc::new(SystemClock);
    let store = SqliteStore::open(folder, clock.clone())?;
    let app =
        App::new(store.clone(), store.clone(), Arc::new(LogNotifier), clock, Arc::new(SystemIds), Config::default());
    catalog::ops::pin_currency(&app).await?;
    let _delivery = Delivery::new(app.clone(), store, Settings::default()).start();
    let listener = listen()?;
    let address = listener.local_addr()?;
    let door = api::door(&app).timeout(limits.request_timeout()).limited(Limits::new(limits.of_requests(address)));
    let settings = limits.of_connections(address, server::raise_open_file_limit());
    server::serve(listener, None, door, settings, std::future::pending()).await;
    Ok(())
}

/// Runs two routes until standard input ends: one that writes the first of `bodies` as JSON, as a product is written, and one
/// that hands out each of them as it is.
///
/// # Errors
/// When the first does not have the shape of the shop's answer.
#[tokio::main]
pub(crate) async fn bare(bodies: &str) -> Result<()> {
    let bodies: Vec<String> = serde_json::from_str(bodies)?;
    let product: Product = serde_json::from_str(bodies.first().ok_or("no product")?)?;
    let answer = async |State((product, _)): State<Bare>| Json(product);
    let made = async |State((_, bodies)): State<Bare>, UrlPath(at): UrlPath<usize>| {
        ([(CONTENT_TYPE, "application/json")], bodies[at].clone())
    };
    let bodies = bodies.into_iter().map(Bytes::from).collect();
    let router: Router = Router::new()
        .route("/v1/products/{id}", get(answer))
        .route("/made/{at}", get(made))
        .with_state((Arc::new(product), bodies));
    let listener = listen()?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// What the bare routes answer with.
type Bare = (Arc<Product>, Arc<[Bytes]>);

/// Listens on a free port and prints its address. From then on, the process ends when standard input does: when the load
/// has ended, however it ended.
fn listen() -> Result<TcpListener> {
    let listener = server::listen(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", listener.local_addr()?)?;
    stdout.flush()?;
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    Ok(listener)
}

/// A product in the shape of the shop's answer, of texts and numbers only.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Product {
    id: String,
    name: String,
    description: String,
    image_file: String,
    category: String,
    price: Price,
    created_at: String,
    updated_at: String,
    stock: Stock,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Price {
    amount: i64,
    currency: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Stock {
    on_hand: i64,
    reserved: i64,
    available: i64,
}

/// A JSON answer, written as `axum::Json` writes it.
struct Json<T>(T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let mut json = BytesMut::with_capacity(128).writer();
        match serde_json::to_writer(&mut json, &self.0) {
            Ok(()) => ([(CONTENT_TYPE, "application/json")], json.into_inner().freeze()).into_response(),
            Err(error) => (http::StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    }
}
