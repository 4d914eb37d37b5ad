//! What a function is and works with: its environment, read once.

use std::fmt;

use cartwright::access::IssuerSettings;
use cartwright::config::{Config, DEFAULT_OPERATION_TABLE, EmailConfig};
use cartwright::events::Queue;
use cartwright::store::Table;
use http::HeaderValue;
use iso_currency::Currency;
use tracing_subscriber::filter::Targets;

/// The settings of one function.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which function this is.
    pub role: Role,
    /// What the name of every table and queue begins with.
    pub prefix: String,
    /// Where the WebSocket API is managed, for those who tell its sockets something.
    pub websocket_endpoint: Option<String>,
    /// Settings of the shop.
    pub config: Config,
    /// Whether callers must say who they are.
    pub is_access_required: bool,
    /// Whose tokens are taken, if anybody's.
    pub issuer: Option<IssuerSettings>,
    /// What to log.
    pub log: Targets,
    /// Whether to write metrics into the log, of which CloudWatch makes metrics at a price.
    pub has_metrics: bool,
    /// How to reach AWS.
    pub aws: Aws,
}

/// What a function does, and what only that needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Answers HTTP requests.
    Api {
        /// Those of which part.
        service: Service,
        /// The origin of the pages that may call the API, if any may.
        cors_origin: Option<HeaderValue>,
    },
    /// Processes the messages of a queue.
    Worker {
        /// The queue.
        queue: Queue,
        /// Where it publishes notifications, if that is its work.
        topics: Option<Topics>,
        /// How it sends e-mail, if that is its work and there is a server.
        mail: Option<MailServer>,
    },
    /// Puts committed events on the bus.
    Relay {
        /// The bus's name.
        bus: String,
    },
    /// Records what arrives in the dead-letter queues.
    DeadLetters,
    /// Hears what is said on WebSockets.
    WebSocket,
}

/// The topics of notifications, by their ARNs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// What customers are told.
    pub customers: String,
    /// What operators are told.
    pub operators: String,
}

/// The server that e-mail is handed to.
#[derive(Clone, PartialEq, Eq)]
pub struct MailServer {
    /// Its URL, which may hold a password.
    pub url: String,
    /// The sender.
    pub from: String,
}

/// Never shows the password.
impl fmt::Debug for MailServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailServer").field("from", &self.from).finish_non_exhaustive()
    }
}

/// Which part of the API a function is for. It serves all of it, but its role lets it reach the tables of this part only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Products and their stock.
    Catalog,
    /// Baskets and checkout.
    Basket,
    /// Orders and customers.
    Ordering,
    /// Purchases made elsewhere.
    Purchases,
    /// Free-form items.
    Operations,
    /// Queues and dead letters.
    Queues,
    /// The operators' inbox, webhooks and their deliveries.
    Notifications,
    /// Who asks, and API keys.
    Access,
    /// What needs no table: health, description, documentation, unknown paths.
    Site,
}

/// How to reach AWS.
#[derive(Clone)]
pub struct Aws {
    /// The region.
    pub region: String,
    /// Another place that speaks AWS's protocols, such as an emulator.
    pub endpoint_url: Option<String>,
    /// Id of the access key.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
    /// The session it is good for.
    pub session_token: Option<String>,
}

/// Never shows a secret.
impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws").field("region", &self.region).field("endpoint_url", &self.endpoint_url).finish()
    }
}

impl Settings {
    /// Reads the settings out of an environment. A variable that is empty is as good as absent.
    ///
    /// # Errors
    /// One line that names the variable, and says what it should be.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let find = |name: &str| variable(name).filter(|value| !value.is_empty());
        let get = |name: &str, what: &str| find(name).ok_or_else(|| format!("{name} is missing: it must be {what}"));
        // Whoever starts the program by hand is told what it is before anything else.
        get("AWS_LAMBDA_RUNTIME_API", "set, as Lambda does: this program is no server, but runs as a Lambda function")?;
        let tables = find("OPERATION_TABLES").unwrap_or_else(|| DEFAULT_OPERATION_TABLE.to_owned());
        let currency = find("CURRENCY").unwrap_or_else(|| "USD".to_owned());
        let currency = Currency::from_code(&currency.to_ascii_uppercase())
            .ok_or_else(|| format!("CURRENCY is {currency:?}: it must be an ISO 4217 code such as USD"))?;
        let log = find("CARTWRIGHT_LOG").unwrap_or_else(|| "info".to_owned());
        Ok(Settings {
            role: role(&find, &get)?,
            websocket_endpoint: find("WEBSOCKET_ENDPOINT"),
            prefix: get("PREFIX", "what the names of the tables and queues begin with, such as shop-")?,
            config: Config {
                currency,
                operation_tables: tables.split(',').map(|name| name.trim().to_owned()).collect(),
                // Operators are mailed by their topic.
                email: EmailConfig { customers: find("EMAIL_CUSTOMERS").is_some(), operators: None },
                webhook_allow_private: false,
            },
            // What nobody has set is closed.
            is_access_required: match find("ACCESS").as_deref() {
                None | Some("required") => true,
                Some("open") => false,
                Some(other) => return Err(format!("ACCESS is {other:?}: it must be required or open")),
            },
            issuer: issuer(&find)?,
            log: log.parse().map_err(|_| {
                format!("CARTWRIGHT_LOG is {log:?}: it must be levels such as info or warn,cartwright=debug")
            })?,
            has_metrics: match find("METRICS").as_deref() {
                None | Some("on") => true,
                Some("off") => false,
                Some(other) => return Err(format!("METRICS is {other:?}: it must be on or off")),
            },
            aws: Aws {
                region: get("AWS_REGION", "a region, as Lambda sets it")?,
                endpoint_url: find("AWS_ENDPOINT_URL"),
                access_key_id: get("AWS_ACCESS_KEY_ID", "the function's key, as Lambda sets it")?,
                secret_access_key: get("AWS_SECRET_ACCESS_KEY", "the function's key, as Lambda sets it")?,
                session_token: find("AWS_SESSION_TOKEN"),
            },
        })
    }
}

fn issuer(find: &impl Fn(&str) -> Option<String>) -> Result<Option<IssuerSettings>, String> {
    let Some(url) = find("OIDC_ISSUER") else { return Ok(None) };
    let names = |text: String| text.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>();
    let missing = || "OIDC_AUDIENCE is missing: it must be whom the tokens of OIDC_ISSUER are meant for".to_owned();
    Ok(Some(IssuerSettings {
        url,
        audiences: find("OIDC_AUDIENCE").map(names).ok_or_else(missing)?,
        keys_url: find("OIDC_JWKS_URL"),
        username_claims: find("OIDC_USERNAME_CLAIM")
            .map_or_else(|| vec![IssuerSettings::USERNAME_CLAIM.to_owned()], names),
        roles_claim: find("OIDC_ROLES_CLAIM").unwrap_or_else(|| IssuerSettings::ROLES_CLAIM.to_owned()),
    }))
}

fn role(
    find: &impl Fn(&str) -> Option<String>,
    get: &impl Fn(&str, &str) -> Result<String, String>,
) -> Result<Role, String> {
    let role = get("ROLE", "api, worker, relay, dead-letters or websocket")?;
    match role.as_str() {
        "api" => {
            let names = Service::ALL.map(Service::name).join(", ");
            let name = get("SERVICE", &format!("one of {names}"))?;
            let service = Service::ALL.into_iter().find(|service| service.name() == name);
            let service = service.ok_or_else(|| format!("SERVICE is {name:?}: it must be one of {names}"))?;
            let cors_origin = find("CORS_ORIGIN").map(|origin| {
                let wrong =
                    |_| format!("CORS_ORIGIN is {origin:?}: it must be an origin such as https://shop.example, or *");
                HeaderValue::from_str(&origin).map_err(wrong)
            });
            Ok(Role::Api { service, cors_origin: cors_origin.transpose()? })
        }
        "worker" => {
            let names = Queue::ALL.map(Queue::name).join(", ");
            let name = get("QUEUE", &format!("one of {names}"))?;
            let queue = Queue::named(&name).ok_or_else(|| format!("QUEUE is {name:?}: it must be one of {names}"))?;
            let topics = (queue == Queue::NotificationQueue).then(|| {
                let customers = get("CUSTOMER_TOPIC_ARN", "the ARN of the topic for customers")?;
                Ok::<_, String>(Topics {
                    customers,
                    operators: get("OPERATOR_TOPIC_ARN", "the ARN of the topic for operators")?,
                })
            });
            let mail = find("SMTP_URL").filter(|_| queue == Queue::EmailQueue).map(|url| {
                let from = get("EMAIL_FROM", "the sender of e-mail")?;
                Ok::<_, String>(MailServer { url, from })
            });
            Ok(Role::Worker { queue, topics: topics.transpose()?, mail: mail.transpose()? })
        }
        "relay" => Ok(Role::Relay { bus: get("EVENT_BUS", "the name of the event bus")? }),
        "dead-letters" => Ok(Role::DeadLetters),
        "websocket" => {
            get("WEBSOCKET_ENDPOINT", "the URL of the stage of the WebSocket API, from https on")?;
            Ok(Role::WebSocket)
        }
        _ => Err(format!("ROLE is {role:?}: it must be api, worker, relay, dead-letters or websocket")),
    }
}

impl Role {
    /// The role's name.
    pub fn name(&self) -> &'static str {
        match self {
            Role::Api { .. } => "api",
            Role::Worker { .. } => "worker",
            Role::Relay { .. } => "relay",
            Role::DeadLetters => "dead-letters",
            Role::WebSocket => "websocket",
        }
    }

    /// Which of the functions with that role.
    pub fn part(&self) -> &'static str {
        match self {
            Role::Api { service, .. } => service.name(),
            Role::Worker { queue, .. } => queue.name(),
            Role::Relay { .. } => "outbox",
            Role::DeadLetters => "queues",
            Role::WebSocket => "feed",
        }
    }
}

impl Service {
    /// Every service.
    pub const ALL: [Service; 9] = [
        Service::Catalog,
        Service::Basket,
        Service::Ordering,
        Service::Purchases,
        Service::Operations,
        Service::Queues,
        Service::Notifications,
        Service::Access,
        Service::Site,
    ];

    /// The service's name.
    pub fn name(self) -> &'static str {
        match self {
            Service::Catalog => "catalog",
            Service::Basket => "basket",
            Service::Ordering => "ordering",
            Service::Purchases => "purchases",
            Service::Operations => "operations",
            Service::Queues => "queues",
            Service::Notifications => "notifications",
            Service::Access => "access",
            Service::Site => "site",
        }
    }

    /// The table it works with, if it has one.
    pub fn table(self) -> Option<Table> {
        match self {
            Service::Catalog => Some(Table::Catalog),
            Service::Basket => Some(Table::Basket),
            Service::Ordering => Some(Table::Ordering),
            Service::Purchases => Some(Table::Purchases),
            Service::Operations | Service::Queues => Some(Table::Operations),
            Service::Notifications => Some(Table::Notifications),
            Service::Access => Some(Table::Access),
            Service::Site => None,
        }
    }
}
