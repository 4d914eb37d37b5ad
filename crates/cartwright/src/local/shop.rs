//! The shop that a command of the terminal works on: a running server over HTTP or HTTPS or, with `--data`, the shop in a folder
//! whose server is stopped. Either way it is asked through its API.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use clap::Args;
use http::{Method, Request};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::LogNotifier;
use super::client::Client;
use super::sqlite::{FILE_NAME, OpenError, SqliteStore};
use crate::app::App;
use crate::config::Config;
use crate::rest::{Door, IDEMPOTENCY_KEY};
use crate::system::{SystemClock, SystemIds};
use crate::{api, catalog};

/// What goes wrong in a command, as a sentence for the terminal.
pub(super) type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// What to do when no server answers.
const ADVICE: &str =
    "start it with `cartwright serve`, name another with --url, or the folder of a stopped one with --data";

/// Where the shop is.
#[derive(Args)]
pub(super) struct Place {
    /// The running server to ask, over http:// or https://.
    #[arg(long, global = true, env = "CARTWRIGHT_URL", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    url: String,
    /// Ask no server, but open the shop in this folder. Only while no server runs there.
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(super) data: Option<PathBuf>,
    /// The API key to show the server, if it asks for one. Better in the environment: whoever lists processes sees options.
    #[arg(long, global = true, env = "CARTWRIGHT_KEY", hide_env_values = true, value_name = "KEY")]
    key: Option<String>,
}

/// Whom to ask.
pub(super) enum Shop {
    Server { client: Client, url: String },
    Folder { door: Door, store: Arc<SqliteStore> },
}

impl Shop {
    /// The shop at `place`. Nothing is sent to a server yet.
    ///
    /// # Errors
    /// A URL that is none; a folder without a shop, or one that another process has open.
    pub(super) async fn at(place: Place) -> Result<Shop, AnyError> {
        match place.data {
            None => Ok(Shop::Server { client: Client::new(&place.url, place.key)?, url: place.url }),
            Some(folder) => Shop::open(&folder).await,
        }
    }

    async fn open(folder: &Path) -> Result<Shop, AnyError> {
        if !folder.join(FILE_NAME).is_file() {
            return Err(OpenError::NoShop { folder: folder.to_owned() }.into());
        }
        // There is no server whose log would have it.
        let format = tracing_subscriber::fmt::layer().with_writer(io::stderr);
        let levels =
            Targets::new().with_default(LevelFilter::WARN).with_target("cartwright::queues", LevelFilter::INFO);
        tracing_subscriber::registry().with(format).with(levels).init();
        let clock = Arc::new(SystemClock);
        let store = SqliteStore::open(folder, clock.clone())?;
        let default = Config::default();
        let currency = catalog::ops::find_currency(&*store).await?.unwrap_or(default.currency);
        let config = Config { currency, ..default };
        let app = App::new(store.clone(), store.clone(), Arc::new(LogNotifier), clock, Arc::new(SystemIds), config);
        Ok(Shop::Folder { door: api::door(&app), store })
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, AnyError> {
        self.ask(Method::GET, path, String::new()).await
    }

    /// Sends a request whose answer has no body.
    ///
    /// # Errors
    /// As [`Shop::ask`].
    pub(super) async fn order(&self, method: Method, path: &str) -> Result<(), AnyError> {
        let (status, answer) = self.send(&method, path, None, "").await?;
        if (200..300).contains(&status) { Ok(()) } else { Err(refusal(status, &answer)) }
    }

    /// The answer to a request; an error that says what the shop says when it refuses.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<T, AnyError> {
        let (status, answer) = self.send(&method, path, None, &body).await?;
        if !(200..300).contains(&status) {
            return Err(refusal(status, &answer));
        }
        serde_json::from_slice(&answer).map_err(|_| stranger(status))
    }

    /// Status and body of the answer to a request, which is carried out once under `key` when it has one.
    ///
    /// # Errors
    /// There is no answer; it says what to do about it.
    pub(super) async fn send(
        &self,
        method: &Method,
        path: &str,
        key: Option<&str>,
        body: &str,
    ) -> Result<(u16, Bytes), AnyError> {
        match self {
            Shop::Server { client, url } => {
                let answer = client.send(method, path, key, body).await;
                answer.map_err(|why| format!("no server answers at {url} ({why}); {ADVICE}").into())
            }
            Shop::Folder { door, .. } => {
                let mut request =
                    Request::builder().method(method).uri(path).header("content-type", "application/json");
                if let Some(key) = key {
                    request = request.header(IDEMPOTENCY_KEY, key);
                }
                let response = door.answer(request.body(Body::from(body.to_owned()))?).await;
                Ok((response.status().as_u16(), response.into_body().collect().await?.to_bytes()))
            }
        }
    }

    /// Waits until everything is on disk, and lets go of the folder.
    pub(super) async fn close(&self) {
        if let Shop::Folder { store, .. } = self {
            store.close().await;
        }
    }
}

/// What an answer says that is no success.
pub(super) fn refusal(status: u16, answer: &[u8]) -> AnyError {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let fields = answer["errors"].as_array().into_iter().flatten();
    let fields = fields.map(|field| format!(" {}: {}.", text(&field["pointer"]), text(&field["detail"])));
    match answer["detail"].as_str() {
        Some(detail) => format!("{detail}{}", fields.collect::<String>()).into(),
        None => stranger(status),
    }
}

/// What is said of an answer that a shop does not give.
pub(super) fn stranger(status: u16) -> AnyError {
    format!("what answers is not a Cartwright server (status {status})").into()
}

/// A JSON text as it is, anything else as JSON.
pub(super) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
