//! The limits of a server, on the command line.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use clap::Args;
use ipnet::IpNet;

use super::{HEADER_TIMEOUT, MAX_CONNECTIONS, Settings};
use crate::feed::HubLimits;
use crate::rest::{LimitSettings, REQUEST_TIMEOUT, Rate};

/// Requests a second of one caller, beyond this machine: no shopper comes near it, and one program cannot take the machine for
/// itself.
const RATE_PER_S: u32 = 50;
/// Requests at once are this many seconds' worth, so that a page with all its parts is one burst.
const BURST_S: u32 = 2;
/// Connections of one address, beyond this machine: many people behind one address, and few of the whole.
const MAX_CONNECTIONS_PER_ADDRESS: usize = 256;
/// Requests at work at the same time: what waits for the writer fits into its queue.
const MAX_IN_FLIGHT: usize = 1024;
/// Those of them of one caller, beyond this machine.
const MAX_IN_FLIGHT_PER_CALLER: usize = 128;
/// Streams of the live feed at the same time: what is left of the connections is for requests.
const MAX_STREAMS: usize = 5_000;
/// Those of them of one caller, beyond this machine: a person with many tabs, and few of the whole.
const MAX_STREAMS_PER_CALLER: usize = 32;
/// Unprocessed messages: less than a minute's work.
const MAX_BACKLOG: u64 = 100_000;

/// Limits, on the command line.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits (0 is none; see docs/limits.md)")]
pub struct LimitOptions {
    /// Requests a second of one caller: an API key or the subject of a token, else an address (in IPv6 a network of 64 bits).
    /// [default: 50; none on a loopback address without --trusted-proxy]
    #[arg(long, env = "CARTWRIGHT_RATE", value_name = "REQUESTS")]
    rate: Option<u32>,
    /// Requests a caller may send at once after a pause. [default: those of two seconds]
    #[arg(long, env = "CARTWRIGHT_RATE_BURST", value_name = "REQUESTS", requires = "rate")]
    rate_burst: Option<u32>,
    /// Connections at the same time; fewer where the system allows fewer open files.
    #[arg(long, env = "CARTWRIGHT_MAX_CONNECTIONS", value_name = "COUNT", default_value_t = MAX_CONNECTIONS,
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    max_connections: usize,
    /// Connections of one address, if it is not that of a trusted proxy. [default: 256; none on a loopback address]
    #[arg(long, env = "CARTWRIGHT_MAX_CONNECTIONS_PER_ADDRESS", value_name = "COUNT")]
    max_connections_per_address: Option<usize>,
    /// Requests at work at the same time.
    #[arg(long, env = "CARTWRIGHT_MAX_IN_FLIGHT", value_name = "REQUESTS", default_value_t = MAX_IN_FLIGHT)]
    max_in_flight: usize,
    /// Requests of one caller at work at the same time. [default: 128; none on a loopback address without --trusted-proxy]
    #[arg(long, env = "CARTWRIGHT_MAX_IN_FLIGHT_PER_CALLER", value_name = "REQUESTS")]
    max_in_flight_per_caller: Option<usize>,
    /// Streams of the live feed (/v1/feed) at the same time.
    #[arg(long, env = "CARTWRIGHT_MAX_STREAMS", value_name = "COUNT", default_value_t = MAX_STREAMS)]
    max_streams: usize,
    /// Streams of one caller at the same time. [default: 32; none on a loopback address without --trusted-proxy]
    #[arg(long, env = "CARTWRIGHT_MAX_STREAMS_PER_CALLER", value_name = "COUNT")]
    max_streams_per_caller: Option<usize>,
    /// Unprocessed messages, beyond which requests are refused that would add to them.
    #[arg(long, env = "CARTWRIGHT_MAX_BACKLOG", value_name = "MESSAGES", default_value_t = MAX_BACKLOG)]
    max_backlog: u64,
    /// Seconds a client has for its TLS handshake, for the headers of a request, and until its next request.
    #[arg(long, env = "CARTWRIGHT_HEADER_TIMEOUT", value_name = "SECONDS", default_value_t = HEADER_TIMEOUT.as_secs(),
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    header_timeout: u64,
    /// Seconds a request may take, its body included.
    #[arg(long, env = "CARTWRIGHT_REQUEST_TIMEOUT", value_name = "SECONDS", default_value_t = REQUEST_TIMEOUT.as_secs(),
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    request_timeout: u64,
    /// Proxies in front of this server, as addresses or networks such as 10.0.0.0/8, separated by commas. Only they are believed
    /// when they say, in X-Forwarded-For, for whom they ask.
    #[arg(long, env = "CARTWRIGHT_TRUSTED_PROXY", value_name = "ADDRESSES", value_delimiter = ',', value_parser = proxy)]
    trusted_proxy: Vec<IpNet>,
}

fn proxy(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from).ok();
    address
        .or_else(|| text.parse().ok())
        .ok_or_else(|| "neither an address nor a network such as 10.0.0.0/8".to_owned())
}

impl LimitOptions {
    /// Whether others reach the server through a proxy.
    pub fn has_proxy(&self) -> bool {
        !self.trusted_proxy.is_empty()
    }

    fn clients_are_known(&self, listen: SocketAddr) -> bool {
        !listen.ip().is_loopback() || !self.trusted_proxy.is_empty()
    }

    /// How many streams of the live feed a server on `listen` takes on.
    pub fn of_streams(&self, listen: SocketAddr) -> HubLimits {
        let default = if self.clients_are_known(listen) { MAX_STREAMS_PER_CALLER } else { 0 };
        HubLimits {
            max_streams: unless_0(self.max_streams),
            max_streams_per_caller: unless_0(self.max_streams_per_caller.unwrap_or(default)),
            ..HubLimits::default()
        }
    }

    /// What a server on `listen` takes on of each request.
    pub fn of_requests(&self, listen: SocketAddr) -> LimitSettings {
        let clients_are_known = self.clients_are_known(listen);
        let per_caller = |default| if clients_are_known { default } else { 0 };
        let rate = self.rate.unwrap_or(if clients_are_known { RATE_PER_S } else { 0 });
        let burst = self.rate_burst.filter(|burst| *burst > 0).unwrap_or(rate.saturating_mul(BURST_S));
        LimitSettings {
            rate: NonZeroU32::new(rate)
                .zip(NonZeroU32::new(burst))
                .map(|(per_second, burst)| Rate { per_second, burst }),
            max_in_flight: unless_0(self.max_in_flight),
            max_in_flight_per_caller: unless_0(
                self.max_in_flight_per_caller.unwrap_or(per_caller(MAX_IN_FLIGHT_PER_CALLER)),
            ),
        }
    }

    /// How a server on `listen` serves connections, of which the operating system allows `most`; without TLS.
    pub fn of_connections(&self, listen: SocketAddr, most: usize) -> Settings {
        if most < self.max_connections {
            tracing::warn!(most, "the system allows fewer open files than --max-connections would need");
        }
        let default = if listen.ip().is_loopback() { 0 } else { MAX_CONNECTIONS_PER_ADDRESS };
        Settings {
            tls: None,
            max_connections: self.max_connections.min(most),
            max_connections_per_address: unless_0(self.max_connections_per_address.unwrap_or(default)),
            header_timeout: Duration::from_secs(self.header_timeout),
            trusted_proxies: self.trusted_proxy.clone(),
        }
    }

    /// Longest a request may take.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout)
    }

    /// Unprocessed messages, beyond which requests are refused that would add to them.
    pub fn max_backlog(&self) -> Option<u64> {
        Some(self.max_backlog).filter(|messages| *messages > 0)
    }
}

fn unless_0(count: usize) -> Option<usize> {
    Some(count).filter(|count| *count > 0)
}
