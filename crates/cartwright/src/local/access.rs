//! Access control, on the command line of a server.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};

use crate::access::Access;

/// Who may do what, on the command line.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Access")]
pub struct AccessOptions {
    /// Whether callers must say who they are. [default: required if the shop has an API key]
    #[arg(long, env = "CARTWRIGHT_ACCESS", value_name = "MODE")]
    access: Option<Mode>,
}

/// Whether callers must say who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Each must, by an API key.
    Required,
    /// Nobody must, and whoever reaches the server may do everything: only on a loopback address.
    Open,
}

impl AccessOptions {
    /// Access control of a server on `listen`, for a shop that has API keys or none, and what is said of it at the start.
    ///
    /// # Errors
    /// A sentence for the terminal: others would find the shop open at this address.
    pub fn decide(&self, has_keys: bool, listen: SocketAddr) -> Result<(Access, String), String> {
        let is_required = match self.access {
            Some(mode) => mode == Mode::Required,
            None => has_keys,
        };
        if is_required {
            let by = if has_keys {
                "by API keys"
            } else {
                "required, and there is no API key yet: see `cartwright keys create --help`"
            };
            return Ok((Access::required(), by.to_owned()));
        }
        if listen.ip().is_loopback() {
            let why = if self.access == Some(Mode::Open) {
                "--access open was given"
            } else {
                "no access control is configured"
            };
            return Ok((Access::open(), format!("open to this machine only: {why}")));
        }
        Err(format!(
            "refusing to listen on {listen}: no access control is configured, so whoever reaches that address could change \
             everything. Make an API key first, with `cartwright keys create --data FOLDER --name me --role admin`, or listen on \
             a loopback address such as 127.0.0.1:{}",
            listen.port()
        ))
    }
}
