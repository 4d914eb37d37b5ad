//! What is noticed of every request: how many there are, how long they take, what becomes of them.
//!
//! A request goes by the route it matches, as the route is listed. Paths are never kept: they tell who asked, and there is no
//! end to them.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use http::{Request, StatusCode};

use crate::app::App;
use crate::metrics::{
    Counter, Gauge, HTTP_DURATION, HTTP_IN_FLIGHT, HTTP_REFUSALS, HTTP_REQUESTS, Histogram, Registry, micros,
};
use crate::trace::{Context, Role, Scope, Span, TRACEPARENT};

/// The name of the route of requests that match none.
const NO_ROUTE: &str = "none";
/// The methods that have names of their own in metrics; the last stands for all others.
const METHODS: [&str; 8] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "other"];
/// What becomes of most requests. Counters of these are found without a lock.
const STATUSES: [u16; 20] =
    [200, 201, 202, 204, 302, 304, 400, 401, 403, 404, 405, 409, 412, 413, 415, 422, 429, 500, 503, 206];
/// The status of a request whose client went away before it was answered.
const ABORTED: &str = "aborted";

/// Watches the requests that come through a door.
pub(super) struct Watch {
    app: App,
    patterns: matchit::Router<usize>,
    routes: Vec<Route>,
    in_flight: Gauge,
}

/// What is known of a route.
struct Route {
    pattern: &'static str,
    methods: [OnceLock<Cells>; METHODS.len()],
}

struct Cells {
    duration: Histogram,
    statuses: [OnceLock<Counter>; STATUSES.len()],
}

/// A request at work. Dropped before it is [answered](Visit::answered), it was aborted.
pub(super) struct Visit {
    watch: Arc<Watch>,
    route: usize,
    method: usize,
    began: Instant,
    context: Option<Context>,
    span: Option<Span>,
    is_answered: bool,
}

impl Watch {
    /// Watches requests for these routes.
    pub(super) fn new(app: &App, patterns: impl IntoIterator<Item = &'static str>) -> Self {
        let route = |pattern| Route { pattern, methods: Default::default() };
        let mut watch = Watch {
            app: app.clone(),
            patterns: matchit::Router::new(),
            routes: vec![route(NO_ROUTE)],
            in_flight: app.telemetry.metrics.gauge(HTTP_IN_FLIGHT, &[]),
        };
        for pattern in patterns {
            // The same path with another method is there already.
            if watch.patterns.insert(pattern, watch.routes.len()).is_ok() {
                watch.routes.push(route(pattern));
            }
        }
        watch
    }

    /// A request comes.
    pub(super) fn begin<B>(self: &Arc<Self>, request: &Request<B>) -> Visit {
        self.in_flight.increment();
        let method = METHODS.iter().position(|name| *name == request.method().as_str()).unwrap_or(METHODS.len() - 1);
        let route = self.patterns.at(request.uri().path()).map_or(0, |found| *found.value);
        let parent = request.headers().get(TRACEPARENT).and_then(|text| text.to_str().ok()?.parse().ok());
        let name = || format!("{} {}", METHODS[method], self.routes[route].pattern);
        let (context, span) = match self.app.telemetry.tracer.get() {
            None => (parent, None),
            Some(tracer) => {
                let (context, span) = tracer.begin(parent, Role::Server, name);
                (Some(context), span)
            }
        };
        Visit { watch: Arc::clone(self), route, method, began: Instant::now(), context, span, is_answered: false }
    }

    fn registry(&self) -> &Registry {
        &self.app.telemetry.metrics
    }

    /// A request is refused with this code.
    pub(super) fn refused(&self, code: &str) {
        self.registry().counter(HTTP_REFUSALS, &[code]).increment();
    }
}

impl Visit {
    /// What the request's handler works for.
    pub(super) fn scope(&self, id: &Arc<str>) -> Scope {
        let tracer = self.span.as_ref().and_then(|_| self.watch.app.telemetry.tracer.get().cloned());
        Scope { correlation_id: Some(Arc::clone(id)), context: self.context, tracer }
    }

    /// The route, as it is listed.
    fn route(&self) -> &'static str {
        self.watch.routes[self.route].pattern
    }

    /// The method.
    fn method(&self) -> &'static str {
        METHODS[self.method]
    }

    /// The request is answered with this status. Called within its scope.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.is_answered = true;
        let (took, cells) = (self.began.elapsed(), self.cells());
        tracing::info!(target: "cartwright::access", method = self.method(), route = self.route(),
            status = status.as_u16(), durationUs = micros(took), "answered");
        cells.duration.time(took);
        match STATUSES.iter().position(|known| *known == status.as_u16()) {
            Some(at) => cells.statuses[at].get_or_init(|| self.counter(status.as_str())).increment(),
            None => self.counter(status.as_str()).increment(),
        }
        self.end_span(status);
    }

    fn end_span(&mut self, status: StatusCode) {
        if let Some(mut span) = self.span.take() {
            span.set("http.request.method", self.method());
            span.set("http.route", self.route());
            span.set("http.response.status_code", i64::from(status.as_u16()));
            span.done(status.is_server_error().then(|| status.as_str()));
        }
    }

    fn cells(&self) -> &Cells {
        self.watch.routes[self.route].methods[self.method].get_or_init(|| Cells {
            duration: self.watch.registry().histogram(HTTP_DURATION, &[self.route(), self.method()]),
            statuses: Default::default(),
        })
    }

    fn counter(&self, status: &str) -> Counter {
        self.watch.registry().counter(HTTP_REQUESTS, &[self.route(), self.method(), status])
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.watch.in_flight.decrement();
        if !self.is_answered {
            self.counter(ABORTED).increment();
        }
    }
}
