//! How much a host takes on: requests a second of one caller, requests at work at the same time, bytes of large bodies.
//!
//! What is beyond is refused before any work is done for it, with a 429 when the caller asks for too much and a 503 when all
//! of them together do. A [`Door`](super::Door) without limits takes everything, for hosts that limit what comes to it.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::HttpBody;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::MAX_BODY_BYTES;
use super::put_events::MAX_REQUEST_BYTES;
use crate::error::{Error, Kind};

/// Callers whose rate is remembered. Who comes when so many are active is not counted by itself: all that is at work at the
/// same time still is.
const MAX_CALLERS: usize = 100_000;
/// Requests after which callers are forgotten that have been silent for so long that nothing is held against them.
const FORGET_EVERY: u64 = 1024;
/// A body that is free, of a request or of an answer: as many as there may be requests at work are no burden.
pub(crate) const SMALL_BODY_BYTES: usize = 16 * 1024;
/// Bodies above [`SMALL_BODY_BYTES`] that are in memory at the same time, all together.
const MAX_LARGE_BODIES_BYTES: usize = 64 * 1024 * 1024;
/// The unit in which large bodies are counted.
const BODY_UNIT_BYTES: usize = 1024;
/// How late a refusal is answered: a tenth of what `Retry-After` asks for.
const REFUSAL_DELAY: Duration = Duration::from_millis(100);
/// Refusals that wait to be answered at the same time. One more is answered at once: what waits must not grow without end.
const MAX_DELAYED_REFUSALS: usize = 1024;
/// How often it is logged that something was refused.
const REPORT_PERIOD: Duration = Duration::from_secs(10);

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Who sent a request, as far as it is known; in the request's extensions. The host puts it there with the address, and
/// whoever checks credentials adds what was proved, before the limits are asked.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// The client's address: not that of a proxy that may speak for others.
    pub address: Option<IpAddr>,
    /// The id of an API key, or the subject of a token: not the secret itself.
    pub credential: Option<Arc<str>>,
}

/// What is counted as one caller: a credential wherever it is used, or else the network the request came from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum CallerKey {
    Credential(Arc<str>),
    Network(IpAddr),
}

impl Caller {
    pub(crate) fn key(&self) -> Option<CallerKey> {
        let credential = self.credential.clone().map(CallerKey::Credential);
        credential.or_else(|| Some(CallerKey::Network(network(self.address?))))
    }
}

/// The network that is counted as one client: an IPv4 address, or the first 64 bits of an IPv6 address, because whoever has
/// one of those has all that follow.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// How many requests a caller may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Each second, in the long run.
    pub per_second: NonZeroU32,
    /// At once, after a pause.
    pub burst: NonZeroU32,
}

/// What a host takes on. The default has no limits but that of large bodies.
#[derive(Debug, Clone, Copy, Default)]
pub struct LimitSettings {
    /// The rate of one caller.
    pub rate: Option<Rate>,
    /// Requests at work at the same time.
    pub max_in_flight: Option<usize>,
    /// Those of them that are of one caller.
    pub max_in_flight_per_caller: Option<usize>,
}

/// The limits of a host, and what is held of them now.
pub struct Limits {
    rates: Option<Rates>,
    in_flight: Arc<Semaphore>,
    of_callers: Option<Shares<CallerKey>>,
    large_bodies: Arc<Semaphore>,
    delayed_refusals: Semaphore,
    refusals: Refusals,
}

/// What became of a request that asked to be taken on.
pub(super) struct Admission {
    /// What it holds while it is at work, if there are limits; the error to answer with if it is refused.
    pub(super) outcome: Result<Option<Slot>, Error>,
    /// How its caller stands with the rate.
    pub(super) standing: Option<Standing>,
}

impl Admission {
    /// Where there are no limits.
    pub(super) fn free() -> Self {
        Admission { outcome: Ok(None), standing: None }
    }

    /// Where there was no place for it.
    pub(super) fn refused(error: Error) -> Self {
        Admission { outcome: Err(error), standing: None }
    }
}

/// What a request holds while it is at work, until it is dropped.
pub struct Slot {
    _in_flight: OwnedSemaphorePermit,
    _of_caller: Option<Share<CallerKey>>,
    _large_body: Option<OwnedSemaphorePermit>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits::new(LimitSettings::default())
    }
}

impl Limits {
    /// These limits, with nothing held of them.
    pub fn new(settings: LimitSettings) -> Self {
        let in_flight = settings.max_in_flight.unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        Limits {
            rates: settings.rate.map(Rates::new),
            in_flight: Arc::new(Semaphore::new(in_flight)),
            of_callers: settings.max_in_flight_per_caller.map(Shares::new),
            large_bodies: Arc::new(Semaphore::new(MAX_LARGE_BODIES_BYTES / BODY_UNIT_BYTES)),
            delayed_refusals: Semaphore::new(MAX_DELAYED_REFUSALS),
            refusals: Refusals::new("more requests came than this server takes on; it refused some of them"),
        }
    }

    /// A place among the requests at work, before anything is done for one: not even its credential has been looked at.
    ///
    /// # Errors
    /// `overloaded`.
    pub(super) fn enter(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.in_flight).try_acquire_owned().map_err(|_| {
            self.refusals.note();
            overloaded()
        })
    }

    /// Takes on a request that has a place, or refuses it.
    pub(super) fn admit<B: HttpBody>(&self, request: &Request<B>, place: OwnedSemaphorePermit) -> Admission {
        let key = request.extensions().get::<Caller>().and_then(Caller::key);
        let standing = self.rates.as_ref().zip(key.as_ref()).and_then(|(rates, key)| rates.check(key));
        let outcome = match &standing {
            Some(Standing { wait: Some(_), .. }) => Err(too_many("rate_limited", "Too many requests in a short time.")),
            _ => self.hold(key, request.body(), place).map(Some),
        };
        if outcome.is_err() {
            self.refusals.note();
        }
        Admission { outcome, standing }
    }

    /// Waits before a refusal is answered, unless too many wait already.
    pub(super) async fn delay_refusal(&self) {
        if let Ok(_waiting) = self.delayed_refusals.try_acquire() {
            tokio::time::sleep(REFUSAL_DELAY).await;
        }
    }

    fn hold(&self, key: Option<CallerKey>, body: &impl HttpBody, place: OwnedSemaphorePermit) -> Result<Slot, Error> {
        let share = match self.of_callers.as_ref().zip(key) {
            Some((shares, key)) => Some(shares.take(key).ok_or_else(|| {
                too_many("too_many_at_once", "Too many requests of yours are being carried out at the same time.")
            })?),
            None => None,
        };
        // Whoever does not say how long the body is may send the longest that most routes take.
        let bytes =
            body.size_hint().upper().map_or(MAX_BODY_BYTES, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let large = match bytes.min(MAX_REQUEST_BYTES) {
            ..=SMALL_BODY_BYTES => None,
            bytes => {
                let units = u32::try_from(bytes / BODY_UNIT_BYTES).unwrap_or(u32::MAX);
                Some(Arc::clone(&self.large_bodies).try_acquire_many_owned(units).map_err(|_| overloaded())?)
            }
        };
        Ok(Slot { _in_flight: place, _of_caller: share, _large_body: large })
    }
}

fn overloaded() -> Error {
    Error::new(Kind::Overloaded, "overloaded", "The server has all the work it takes on; try again later.")
}

fn too_many(code: &'static str, what: &str) -> Error {
    Error::new(Kind::TooManyRequests, code, format!("{what} Try again after the time in Retry-After."))
}

/// The rate of each caller.
struct Rates {
    rate: Rate,
    limiter: RateLimiter<CallerKey, DashMapStateStore<CallerKey>, DefaultClock, StateInformationMiddleware>,
    clock: DefaultClock,
    checks: AtomicU64,
    full: AtomicBool,
}

/// How a caller stands with the rate after a request.
pub(super) struct Standing {
    rate: Rate,
    /// Requests that may follow at once.
    remaining: u32,
    /// The time until another is taken on, of a request that was refused.
    wait: Option<Duration>,
}

impl Rates {
    fn new(rate: Rate) -> Self {
        let quota = Quota::per_second(rate.per_second).allow_burst(rate.burst);
        let limiter = RateLimiter::dashmap(quota).with_middleware();
        Rates { rate, limiter, clock: DefaultClock::default(), checks: AtomicU64::new(0), full: AtomicBool::new(false) }
    }

    /// Counts a request; none when more callers are active than are remembered.
    fn check(&self, key: &CallerKey) -> Option<Standing> {
        if self.checks.fetch_add(1, Ordering::Relaxed).is_multiple_of(FORGET_EVERY) {
            self.limiter.retain_recent();
            self.full.store(self.limiter.len() >= MAX_CALLERS, Ordering::Relaxed);
        }
        if self.full.load(Ordering::Relaxed) {
            return None;
        }
        let (remaining, wait) = match self.limiter.check_key(key) {
            Ok(state) => (state.remaining_burst_capacity(), None),
            Err(not_until) => (0, Some(not_until.wait_time_from(self.clock.now()))),
        };
        Some(Standing { rate: self.rate, remaining, wait })
    }
}

impl Standing {
    /// Tells the caller, in the fields of draft-ietf-httpapi-ratelimit-headers-10.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let Rate { per_second, burst } = self.rate;
        let seconds_of = |requests: u32| requests.div_ceil(per_second.get());
        let policy = format!("\"caller\";q={burst};w={}", seconds_of(burst.get()));
        let until_whole = seconds_of(burst.get().saturating_sub(self.remaining));
        let state = format!("\"caller\";r={};t={until_whole}", self.remaining);
        let mut insert = |name, value: String| {
            headers.insert(name, HeaderValue::try_from(value).expect("quoted words and digits are a header value"))
        };
        insert(RATE_LIMIT_POLICY, policy);
        insert(RATE_LIMIT, state);
        if let Some(wait) = self.wait {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            insert(RETRY_AFTER, seconds.max(1).to_string());
        }
    }
}

/// A number of things that each of many may hold.
pub(crate) struct Shares<K>(Arc<SharesInner<K>>);

struct SharesInner<K> {
    most: usize,
    held: Mutex<HashMap<K, usize>>,
}

/// One of them, given back when it is dropped.
pub(crate) struct Share<K: Eq + Hash> {
    of: Arc<SharesInner<K>>,
    key: K,
}

impl<K: Eq + Hash + Clone> Shares<K> {
    /// With at most so many for each.
    pub(crate) fn new(most: usize) -> Self {
        Shares(Arc::new(SharesInner { most, held: Mutex::default() }))
    }

    /// One more for `key`, unless it has all it may have.
    pub(crate) fn take(&self, key: K) -> Option<Share<K>> {
        let mut held = self.0.lock();
        let count = held.entry(key.clone()).or_default();
        if *count >= self.0.most {
            return None;
        }
        *count += 1;
        drop(held);
        Some(Share { of: Arc::clone(&self.0), key })
    }
}

impl<K> SharesInner<K> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut held = self.of.lock();
        if let Some(count) = held.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.key);
            }
        }
    }
}

/// Tells the log that something is refused, and how often, without a line for each.
pub(crate) struct Refusals {
    what: &'static str,
    since_report: Mutex<(u64, Option<Instant>)>,
}

impl Refusals {
    /// `what` is said each time.
    pub(crate) fn new(what: &'static str) -> Self {
        Refusals { what, since_report: Mutex::default() }
    }

    /// Counts one, and logs if nothing was for a while.
    pub(crate) fn note(&self) {
        let mut since_report = self.since_report.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, reported_at) = &mut *since_report;
        *count += 1;
        if reported_at.is_none_or(|at| at.elapsed() >= REPORT_PERIOD) {
            tracing::warn!(refused = *count, "{}", self.what);
            (*count, *reported_at) = (0, Some(Instant::now()));
        }
    }
}

/// Puts into an answer what its request holds, if it takes time to send it. A stream goes on for as long as its reader likes,
/// and holds nothing.
pub(super) fn keep_slot<B: HttpBody>(slot: Slot, response: &mut Response<B>) {
    if response.body().size_hint().exact().is_some_and(|bytes| bytes > SMALL_BODY_BYTES as u64) {
        response.extensions_mut().insert(Arc::new(slot));
    }
}

/// Takes out of an answer what its request holds until the answer has been sent.
pub fn slot_of<B>(response: &mut Response<B>) -> Option<Arc<Slot>> {
    response.extensions_mut().remove()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn an_ipv6_client_is_its_network_of_64_bits() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("2001:db8:1:2::1"), "2001:db8:1:2::");
        assert_eq!(network("2001:db8:1:3::1"), "2001:db8:1:3::");
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
    }

    fn request(address: &str, credential: Option<&str>) -> Request<axum::body::Body> {
        let caller = Caller { address: address.parse().ok(), credential: credential.map(Arc::from) };
        Request::builder().extension(caller).body(axum::body::Body::empty()).unwrap()
    }

    #[test]
    fn a_credential_is_one_caller_wherever_it_is_used() {
        let one = NonZeroU32::MIN;
        let rate = Some(Rate { per_second: one, burst: one });
        let limits = Limits::new(LimitSettings { rate, ..LimitSettings::default() });
        let is_taken =
            |address, credential| limits.admit(&request(address, credential), limits.enter().unwrap()).outcome.is_ok();
        assert!(is_taken("192.0.2.1", Some("ann")));
        assert!(!is_taken("192.0.2.2", Some("ann")), "from another address");
        assert!(is_taken("192.0.2.1", Some("bob")), "another, from the same address");
        assert!(is_taken("192.0.2.1", None), "an address that has proved nothing is a caller of its own");
        assert!(!is_taken("192.0.2.1", None));
        let nobody = Request::new(axum::body::Body::empty());
        assert!(
            (0..3).all(|_| limits.admit(&nobody, limits.enter().unwrap()).outcome.is_ok()),
            "whoever is not known is not counted"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_are_late_and_no_more_of_them_wait_than_may() {
        let (limits, began) = (Limits::default(), tokio::time::Instant::now());
        let mut waiting: Vec<_> = (0..MAX_DELAYED_REFUSALS).map(|_| Box::pin(limits.delay_refusal())).collect();
        assert!(waiting.iter_mut().all(|one| one.now_or_never().is_none()), "each waits");
        limits.delay_refusal().await;
        assert_eq!(began.elapsed(), Duration::ZERO, "one more does not");
        futures_util::future::join_all(waiting).await;
        assert_eq!(began.elapsed(), REFUSAL_DELAY);
        assert!(limits.delay_refusal().now_or_never().is_none(), "there is room again");
    }

    #[test]
    fn no_more_callers_are_remembered_than_fit() {
        let rates = Rates::new(Rate { per_second: NonZeroU32::MIN, burst: NonZeroU32::new(1_000).unwrap() });
        let key = |at: u32| CallerKey::Network(IpAddr::from(at.to_be_bytes()));
        // Who has all of it back may be forgotten, and this test may be slow: so each uses up what takes minutes to come back.
        let much = NonZeroU32::new(900).unwrap();
        let is_forgotten = |at: &u32| match rates.check(&key(*at)) {
            Some(_) => rates.limiter.check_key_n(&key(*at), much).unwrap().is_err(),
            None => true,
        };
        let forgotten = (0..2 * MAX_CALLERS as u32).filter(is_forgotten).count();
        let known = rates.limiter.len();
        assert!((MAX_CALLERS..=MAX_CALLERS + FORGET_EVERY as usize).contains(&known), "{known}");
        assert_eq!(forgotten, 2 * MAX_CALLERS - known);
    }

    #[test]
    fn shares_are_given_back_and_forgotten() {
        let shares = Shares::new(2);
        let held: Vec<_> = std::iter::from_fn(|| shares.take("ann")).collect();
        assert_eq!(held.len(), 2);
        assert!(shares.take("bob").is_some(), "others have their own");
        drop(held);
        assert!(shares.0.lock().is_empty());
        assert!(shares.take("ann").is_some());
    }

    #[test]
    fn the_fields_tell_the_policy_and_the_state() {
        let rate = Rate { per_second: NonZeroU32::new(10).unwrap(), burst: NonZeroU32::new(25).unwrap() };
        let mut headers = HeaderMap::new();
        Standing { rate, remaining: 4, wait: None }.write(&mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"caller\";q=25;w=3");
        assert_eq!(headers["ratelimit"], "\"caller\";r=4;t=3");
        assert!(!headers.contains_key(RETRY_AFTER));
        Standing { rate, remaining: 0, wait: Some(Duration::from_millis(1_001)) }.write(&mut headers);
        assert_eq!(
            (&headers["ratelimit"], &headers[RETRY_AFTER]),
            (&"\"caller\";r=0;t=3".parse().unwrap(), &"2".parse().unwrap())
        );
    }
}
