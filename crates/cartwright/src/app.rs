//! What a handler may touch: the ports, the settings, and the identity of the request or message it works for.

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use uuid::Uuid;

use crate::access::{Access, Allowed, Asked, Principal};
use crate::config::Config;
use crate::events::{Envelope, Event};
use crate::feed::{Hub, Live};
use crate::metrics::{BUILD_INFO, Host, START_TIME};
use crate::notifications::{Channels, Notifier};
use crate::queues::QueueAdmin;
use crate::rest::KeptAnswers;
use crate::store::measured::Measured;
use crate::store::{InFlight, Store};
use crate::telemetry::{Telemetry, Traced};
use crate::trace;
use crate::values::{OrderId, ProductId};

/// The time of day.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The source of everything unpredictable: ids, and the jitter of pauses.
pub trait Ids: Send + Sync + 'static {
    /// Fills `bytes` with randomness that nobody can guess.
    fn fill(&self, bytes: &mut [u8]);

    /// A random number.
    fn random(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

/// The outside world, as far as a service may see it.
pub struct Ports {
    /// Documents and events.
    pub store: Arc<dyn Store>,
    /// The queues, for operators.
    pub queues: Arc<dyn QueueAdmin>,
    /// Who tells customers and operators what happened.
    pub notifier: Arc<dyn Notifier>,
    /// Who tells those who listen that there is something new, once somebody was named.
    pub live: OnceLock<Arc<dyn Live>>,
    /// What carries notifications over the internet.
    pub channels: Channels,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub ids: Arc<dyn Ids>,
    /// Settings.
    pub config: Config,
    /// How the shop tells who asks.
    pub access: Access,
    /// Requests with an `Idempotency-Key` that are being carried out in this process.
    pub in_flight: Arc<InFlight>,
    /// The instruments of this process.
    pub telemetry: Telemetry,
}

/// The application as one request or one message sees it: the ports, and the ids by which everything that comes of this
/// request can be found again. Cheap to clone.
#[derive(Clone)]
pub struct App {
    ports: Arc<Ports>,
    kept: Arc<KeptAnswers>,
    correlation_id: Arc<str>,
    causation_id: Option<Uuid>,
    principal: Arc<Principal>,
    asked: Option<Arc<Asked>>,
}

impl std::ops::Deref for App {
    type Target = Ports;
    fn deref(&self) -> &Ports {
        &self.ports
    }
}

impl App {
    /// The application over these ports, and none of the others; open to whoever reaches it. Its listeners are those of this
    /// process.
    pub fn new(
        store: Arc<dyn Store>,
        queues: Arc<dyn QueueAdmin>,
        notifier: Arc<dyn Notifier>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        config: Config,
    ) -> Self {
        let (channels, access) = (Channels::default(), Access::open());
        let (live, in_flight, telemetry) = (OnceLock::new(), Arc::default(), Telemetry::default());
        App::over(Ports { store, queues, notifier, channels, live, clock, ids, config, access, in_flight, telemetry })
    }

    /// The application over all of these ports.
    pub fn over(mut ports: Ports) -> Self {
        let metrics = Arc::clone(&ports.telemetry.metrics);
        metrics.gauge(BUILD_INFO, &[env!("CARGO_PKG_VERSION")]).set(1);
        metrics.gauge(START_TIME, &[]).set(u64::try_from(ports.clock.now().as_microsecond()).unwrap_or(0));
        ports.notifier = Arc::new(Traced::new(ports.notifier));
        ports.store = Arc::new(Measured::new(ports.store, metrics));
        App {
            ports: Arc::new(ports),
            kept: Arc::default(),
            correlation_id: Arc::from(""),
            causation_id: None,
            principal: Arc::new(Principal::Operator),
            asked: None,
        }
    }

    /// Names who tells those who listen. Counts only before anybody was told anything.
    pub fn tell_by(&self, live: Arc<dyn Live>) {
        let _ = self.live.set(live);
    }

    /// Who tells those who listen: those of this process, unless somebody else was named.
    pub fn live(&self) -> &dyn Live {
        &**self.live.get_or_init(|| Arc::new(Hub::default()))
    }

    /// Has `host` measure into the application's metrics.
    pub fn hosted_by(&self, host: Arc<dyn Host>) {
        host.attach(&self.telemetry.metrics);
        let _ = self.telemetry.host.set(host);
    }

    /// Answers of this process that are sent again while they are good.
    pub(crate) fn kept(&self) -> &KeptAnswers {
        &self.kept
    }

    /// The id of the request all this comes of.
    pub fn correlation_id(&self) -> &str {
        &self.correlation_id
    }

    /// The application as seen by a request: events that come of it carry its id.
    pub fn for_request(&self, request_id: &str) -> App {
        App { correlation_id: Arc::from(request_id), ..self.clone() }
    }

    /// Who makes the request that this works for. A message is handled in the name of the shop itself.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The application as seen by a request that the guard of its route has let pass.
    pub(crate) fn for_allowed(&self, allowed: &Allowed) -> App {
        App { principal: Arc::clone(&allowed.principal), asked: allowed.asked.clone(), ..self.clone() }
    }

    /// What staff or an admin asked for, if this works for a request of theirs that may change something.
    pub(crate) fn asked(&self) -> Option<&Asked> {
        self.asked.as_deref()
    }

    /// The application as seen by a request that `principal` makes.
    pub fn for_principal(&self, principal: Principal) -> App {
        App { principal: Arc::new(principal), ..self.clone() }
    }

    /// The application as seen by the handler of `message`: events that come of it carry on its correlation id.
    pub fn for_message(&self, message: &Envelope) -> App {
        let correlation_id = Arc::from(message.correlation_id.as_str());
        App { correlation_id, causation_id: Some(message.id), ..self.clone() }
    }

    /// `event`, ready for a batch: with an id, the time, and what caused it.
    pub fn envelope(&self, event: &Event) -> Envelope {
        Envelope {
            id: self.new_uuid(),
            source: event.source().to_owned(),
            detail_type: event.detail_type().to_owned(),
            time: self.clock.now(),
            correlation_id: self.correlation_id.to_string(),
            causation_id: self.causation_id,
            traceparent: trace::current(),
            detail: event.detail(),
        }
    }

    /// A new UUID, version 7: sorts by time, to about a quarter of a microsecond (RFC 9562, section 6.2, method 3).
    pub fn new_uuid(&self) -> Uuid {
        let mut random = [0; 10];
        self.ids.fill(&mut random);
        let now = self.clock.now();
        let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
        let within_milli = u32::try_from(now.subsec_nanosecond()).unwrap_or(0) % 1_000_000;
        let fraction = within_milli * 4096 / 1_000_000;
        random[..2].copy_from_slice(&(fraction as u16).to_be_bytes());
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    /// A new product id.
    pub fn new_product_id(&self) -> ProductId {
        ProductId(self.new_uuid())
    }

    /// A new id for an order placed at `at`.
    pub fn new_order_id(&self, at: Timestamp) -> OrderId {
        let mut random = [0; 12];
        self.ids.fill(&mut random);
        OrderId::new(at, random)
    }
}
