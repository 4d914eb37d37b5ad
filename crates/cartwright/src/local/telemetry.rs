//! How a server tells those who run it what goes on: the form of its log, where its traces go, where its metrics are read.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::task::JoinHandle;

use super::otlp::{Collector, Export};
use super::server;
use crate::api;
use crate::app::App;
use crate::logs::Format;
use crate::trace::{Sampling, Tracer};

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for programs.
    Json,
}

impl From<LogFormat> for Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => Format::Text,
            LogFormat::Json => Format::Json,
        }
    }
}

/// Where traces and metrics go.
#[derive(Debug, Args)]
pub struct TelemetryOptions {
    /// Collector that takes traces by OTLP over HTTP, such as http://127.0.0.1:4318. Without it none are recorded.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// What is sent to the collector with each request, such as a key: NAME=VALUE, several separated by commas.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_HEADERS", value_name = "HEADERS", value_parser = headers, hide_env_values = true)]
    otlp_headers: Option<HeaderMap>,
    /// How many of the traces that begin here are recorded, as a part of one. Those that a caller records always are.
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", default_value = "1", value_name = "PART")]
    trace_sample: Sampling,
    /// What this service is called in traces.
    #[arg(long, env = "OTEL_SERVICE_NAME", default_value = "cartwright", value_name = "NAME")]
    service_name: String,
    /// Also show /metrics and /health here, to whoever reaches this address, and nothing else.
    #[arg(long, env = "CARTWRIGHT_METRICS_LISTEN", value_name = "ADDRESS:PORT")]
    metrics_listen: Option<SocketAddr>,
}

/// What runs beside the server because of these options.
pub struct Running {
    export: Option<Export>,
    metrics: Option<(SocketAddr, JoinHandle<()>)>,
}

/// Headers as OpenTelemetry writes them. The error does not repeat what may be a secret.
fn headers(text: &str) -> Result<HeaderMap, &'static str> {
    let bad = "must be NAME=VALUE, several separated by commas";
    let mut headers = HeaderMap::new();
    for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
        let (name, value) = pair.split_once('=').ok_or(bad)?;
        let mut value = HeaderValue::from_str(value.trim()).map_err(|_| bad)?;
        value.set_sensitive(true);
        headers.insert(HeaderName::try_from(name.trim()).map_err(|_| bad)?, value);
    }
    Ok(headers)
}

impl TelemetryOptions {
    /// Starts what these options ask for.
    ///
    /// # Errors
    /// The address for metrics cannot be listened on.
    pub fn start(&self, app: &App) -> std::io::Result<Running> {
        let export = self.otlp_endpoint.as_ref().map(|url| {
            let collector = Collector {
                url: url.clone(),
                headers: self.otlp_headers.clone().unwrap_or_default(),
                service: self.service_name.clone(),
            };
            let (export, sink) = Export::start(collector, &app.telemetry.metrics);
            let tracer = Tracer::new(app.clock.clone(), app.ids.clone(), self.trace_sample, sink);
            let _ = app.telemetry.tracer.set(tracer);
            export
        });
        let metrics = self.metrics_listen.map(|address| {
            let listener = server::listen(address)?;
            let address = listener.local_addr()?;
            let serve = server::serve(
                listener,
                None,
                api::metrics_door(app),
                server::Settings::default(),
                std::future::pending(),
            );
            Ok::<_, std::io::Error>((address, tokio::spawn(serve)))
        });
        Ok(Running { export, metrics: metrics.transpose()? })
    }

    /// The address that metrics are asked for at, and that could not be listened on.
    pub fn metrics_listen(&self) -> Option<SocketAddr> {
        self.metrics_listen
    }
}

impl Running {
    /// Where metrics are shown, if they have an address of their own.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(|(address, _)| *address)
    }

    /// Sends the spans that wait, and stops.
    pub async fn stop(self) {
        if let Some((_, metrics)) = self.metrics {
            metrics.abort();
        }
        if let Some(export) = self.export {
            export.stop().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_opentelemetry_writes_them_and_never_shown() {
        let read = headers("api-key=s3cret, x-tenant = shop,").unwrap();
        assert_eq!((read["api-key"].as_bytes(), read["x-tenant"].as_bytes()), (&b"s3cret"[..], &b"shop"[..]));
        assert!(!format!("{read:?}").contains("s3cret"));
        for bad in ["s3cret", "a b=s3cret", "a=s3\ncret"] {
            assert!(!headers(bad).unwrap_err().contains("s3cret"), "{bad}");
        }
    }
}
