//! Access control, on the command line of a server.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use http::{HeaderValue, Uri};

use crate::access::{Access, Issuer, IssuerSettings};
use crate::outbound::Outbound;
use crate::rest::Cors;

/// Who may do what, on the command line.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Access")]
pub struct AccessOptions {
    /// Whether callers must say who they are. [default: required if the shop has an API key or --oidc-issuer is given]
    #[arg(long, env = "CARTWRIGHT_ACCESS", value_name = "MODE")]
    access: Option<Mode>,
    /// Origins whose pages may call the API from a browser, such as `https://shop.example.com`, separated by commas. [default: none]
    #[arg(long, env = "CARTWRIGHT_CORS_ORIGIN", value_name = "ORIGINS", value_delimiter = ',', value_parser = origin)]
    cors_origin: Vec<HeaderValue>,
    /// Take tokens of this OpenID Connect issuer: its URL, to the letter as in its tokens.
    #[arg(long, env = "CARTWRIGHT_OIDC_ISSUER", value_name = "URL", requires = "oidc_audience")]
    oidc_issuer: Option<String>,
    /// Whom a token must be meant for: one of these in its `aud`, or, where it has none, its `client_id`.
    #[arg(
        long,
        env = "CARTWRIGHT_OIDC_AUDIENCE",
        value_name = "NAMES",
        value_delimiter = ',',
        requires = "oidc_issuer"
    )]
    oidc_audience: Vec<String>,
    /// Where the issuer's keys are. [default: where it says, in /.well-known/openid-configuration]
    #[arg(long, env = "CARTWRIGHT_OIDC_JWKS_URL", value_name = "URL", requires = "oidc_issuer")]
    oidc_jwks_url: Option<String>,
    /// The claims that may hold the user name of a customer; the first that is there does. Only such as users cannot choose
    /// themselves: whoever has a name is that customer.
    #[arg(long, env = "CARTWRIGHT_OIDC_USERNAME_CLAIM", value_name = "CLAIMS", value_delimiter = ',',
        default_value = IssuerSettings::USERNAME_CLAIM)]
    oidc_username_claim: Vec<String>,
    /// The claim that holds roles; those called admin and staff count. Dots lead into objects, as in realm_access.roles.
    #[arg(long, env = "CARTWRIGHT_OIDC_ROLES_CLAIM", value_name = "CLAIM", default_value = IssuerSettings::ROLES_CLAIM)]
    oidc_roles_claim: String,
}

/// Whether callers must say who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Each must, by an API key or a token.
    Required,
    /// Nobody must, and whoever reaches the server may do everything: only on a loopback address.
    Open,
}

fn origin(text: &str) -> Result<HeaderValue, String> {
    let wrong = || "not an origin such as https://shop.example.com".to_owned();
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let (scheme, authority) = uri.scheme_str().zip(uri.authority()).ok_or_else(wrong)?;
    let is_origin = matches!(scheme, "http" | "https") && text == format!("{scheme}://{authority}");
    if is_origin { HeaderValue::from_str(text).map_err(|_| wrong()) } else { Err(wrong()) }
}

impl AccessOptions {
    /// The origins whose pages may call the API.
    pub fn cors(&self) -> Cors {
        Cors::new(self.cors_origin.iter().cloned())
    }

    /// Access control of a server on `listen`, behind a proxy or not, for a shop that has API keys or none; and what is said of it at
    /// the start.
    ///
    /// # Errors
    /// A sentence for the terminal: others would find the shop open at this address.
    pub fn decide(&self, has_keys: bool, listen: SocketAddr, has_proxy: bool) -> Result<(Access, String), String> {
        let is_required = match self.access {
            Some(mode) => mode == Mode::Required,
            None => has_keys || self.oidc_issuer.is_some(),
        };
        if is_required {
            let issuer = self.issuer()?;
            if let Some(issuer) = issuer {
                let by = format!("by {}tokens of {}", if has_keys { "API keys, and " } else { "" }, issuer.url());
                return Ok((Access::required().trusting(issuer), by));
            }
            let by = if has_keys {
                "by API keys"
            } else {
                "required, and there is no API key yet: see `cartwright keys create --help`"
            };
            return Ok((Access::required(), by.to_owned()));
        }
        if has_proxy && self.access != Some(Mode::Open) {
            let message = "refusing to serve behind a proxy: no access control is configured, so whoever reaches the proxy could change \
                           everything. Make an API key first, with `cartwright keys create --data FOLDER --name me --role admin`, or \
                           say --access open if that is what you want";
            return Err(message.to_owned());
        }
        if listen.ip().is_loopback() {
            let why = if self.access == Some(Mode::Open) {
                "--access open was given"
            } else {
                "no access control is configured"
            };
            let whom = if has_proxy { "whoever reaches the proxy" } else { "this machine only" };
            return Ok((Access::open(), format!("open to {whom}: {why}")));
        }
        Err(format!(
            "refusing to listen on {listen}: no access control is configured, so whoever reaches that address could change \
             everything. Make an API key first, with `cartwright keys create --data FOLDER --name me --role admin`, or listen on \
             a loopback address such as 127.0.0.1:{}",
            listen.port()
        ))
    }

    fn issuer(&self) -> Result<Option<Issuer>, String> {
        let Some(url) = &self.oidc_issuer else { return Ok(None) };
        let settings = IssuerSettings {
            url: url.clone(),
            audiences: self.oidc_audience.clone(),
            keys_url: self.oidc_jwks_url.clone(),
            username_claims: self.oidc_username_claim.clone(),
            roles_claim: self.oidc_roles_claim.clone(),
        };
        Issuer::new(settings, Arc::new(Outbound::default())).map(Some)
    }
}
