//! The load: closed, where everyone sends the next request when the last is answered, and open, where requests are due at
//! a constant rate whatever the server does.
//!
//! The closed load finds the maximum. Its latencies are those of a server that is never asked faster than it answers; what
//! users see is the open load, where latency counts from the moment a request was due. A server that stalls then has all
//! requests that were due meanwhile against it, not just the few that were under way ("coordinated omission").

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::Result;
use crate::connection::Connection;
use crate::machine::busy_time;
use crate::servers::{Target, cpu_time};

/// Time for what is under way when a measurement ends.
const DRAIN: Duration = Duration::from_secs(60);
/// Pause after a failure, so that a server that fails at once does not get a storm.
const FAILURE_PAUSE: Duration = Duration::from_millis(10);
/// Failures whose text is kept.
const MAX_KEPT_ERRORS: usize = 3;
/// Time between starting an open load and its first request.
const LEAD: Duration = Duration::from_millis(50);
/// The longest latency that is told from longer ones.
const MAX_LATENCY: Duration = Duration::from_secs(120);

/// Something that is done again and again, by many at the same time, each with a connection of its own.
pub(crate) trait Work: Send + Sync + 'static {
    /// Does it once. Returns when the part whose time counts was begun; none when the server has refused it, as it may.
    fn once(&self, connection: &mut Connection) -> impl Future<Output = Result<Option<Instant>>> + Send;
}

/// How long a measurement takes.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    /// Time under load before it.
    pub(crate) warm_up: Duration,
    /// The measurement itself.
    pub(crate) measured: Duration,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Run {
    /// Connections, each with at most one request under way.
    pub(crate) connections: usize,
    /// Rate at which work was due; none in a closed load.
    pub(crate) due_per_s: Option<f64>,
    /// Rate at which work was finished.
    pub(crate) done_per_s: f64,
    /// Pieces of work that were finished, and in what time.
    pub(crate) done: u64,
    pub(crate) seconds: f64,
    /// From when the timed part was begun to its end.
    pub(crate) latency: Latency,
    /// From when the work was due to its end; none in a closed load.
    pub(crate) latency_from_due: Option<Latency>,
    /// CPU time of the server per piece of work, if the system tells.
    pub(crate) server_cpu_us: Option<f64>,
    /// Share of one core the server was busy.
    pub(crate) server_busy: Option<f64>,
    /// Share of one core the load was busy. Near 1 in a closed load, the load is what limits, not the server. An open load
    /// is always busy, because it looks at the clock all the time.
    pub(crate) load_busy: Option<f64>,
    /// What everyone else on the machine took, the system's own work for the disk included, in cores.
    pub(crate) others_busy: Option<f64>,
    /// Pieces of work that failed, warm-up included.
    pub(crate) errors: u64,
    /// What went wrong first.
    pub(crate) first_errors: Vec<String>,
}

/// Percentiles of a latency.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) max_us: f64,
}

impl Latency {
    /// The percentiles of these nanoseconds.
    pub(crate) fn of(nanos: &Histogram<u64>) -> Self {
        let us = |nanos: u64| nanos as f64 / 1e3;
        let at = |quantile| us(nanos.value_at_quantile(quantile));
        Latency { p50_us: at(0.5), p90_us: at(0.9), p99_us: at(0.99), p999_us: at(0.999), max_us: us(nanos.max()) }
    }
}

/// An empty histogram of nanoseconds, exact to a thousandth.
pub(crate) fn histogram() -> Histogram<u64> {
    let highest = u64::try_from(MAX_LATENCY.as_nanos()).unwrap_or(u64::MAX);
    Histogram::new_with_bounds(1_000, highest, 3).expect("the bounds are in order and three digits are allowed")
}

/// Notes a time in a histogram of nanoseconds.
pub(crate) fn note(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
}

/// Everyone sends the next request when the last is answered.
///
/// # Errors
/// When the server cannot be reached, or does not answer any more. Work that fails is counted, and is no error here.
pub(crate) async fn closed<W: Work>(target: &Target, work: &Arc<W>, connections: usize, times: Times) -> Result<Run> {
    let tally = Arc::new(Tally::new(false));
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        let connection = Connection::open(target.address).await?;
        workers.spawn(work_closed(target.clone(), connection, Arc::clone(work), Arc::clone(&tally)));
    }
    sleep(times.warm_up).await;
    let window = Window::open(target);
    tally.state().measuring = true;
    sleep(times.measured).await;
    let run = window.close(&tally.state(), connections);
    tally.stopped.store(true, Ordering::Relaxed);
    drain(workers, &tally, run).await
}

async fn work_closed<W: Work>(
    target: Target,
    mut connection: Connection,
    work: Arc<W>,
    tally: Arc<Tally>,
) -> Result<()> {
    while !tally.stopped.load(Ordering::Relaxed) {
        match work.once(&mut connection).await {
            Ok(Some(begun)) => tally.state().done(begun.elapsed(), None),
            Ok(None) => {}
            Err(error) => {
                tally.state().failed(&error.to_string());
                sleep(FAILURE_PAUSE).await;
                connection = Connection::open(target.address).await?;
            }
        }
    }
    Ok(())
}

/// Work is due at a constant rate; up to `connections` pieces of it are under way at the same time, and what is due while
/// all are taken is late.
///
/// # Errors
/// As [`closed`].
pub(crate) async fn open<W: Work>(
    target: &Target,
    work: &Arc<W>,
    connections: usize,
    due_per_s: f64,
    times: Times,
) -> Result<Run> {
    let tally = Arc::new(Tally::new(true));
    let start = Instant::now() + LEAD;
    let schedule = Arc::new(tokio::sync::Mutex::new(Schedule::new(start, due_per_s, times)));
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        let connection = Connection::open(target.address).await?;
        workers.spawn(work_open(
            target.clone(),
            connection,
            Arc::clone(work),
            Arc::clone(&schedule),
            Arc::clone(&tally),
        ));
    }
    target.wait_until(start + times.warm_up).await;
    let window = Window::open(target);
    sleep(times.measured).await;
    let run = window.close(&tally.state(), connections);
    let run = drain(workers, &tally, run).await?;
    Ok(Run { due_per_s: Some(due_per_s), ..run })
}

async fn work_open<W: Work>(
    target: Target,
    mut connection: Connection,
    work: Arc<W>,
    schedule: Arc<tokio::sync::Mutex<Schedule>>,
    tally: Arc<Tally>,
) -> Result<()> {
    loop {
        let slot = {
            // Whoever holds the schedule waits for the next moment; the others wait for it in a queue.
            let mut schedule = schedule.lock().await;
            let Some(slot) = schedule.next() else { return Ok(()) };
            target.wait_until(slot.due).await;
            slot
        };
        if slot.measured {
            tally.state().measuring = true;
        }
        match work.once(&mut connection).await {
            Ok(Some(begun)) if slot.measured => tally.state().done(begun.elapsed(), Some(slot.due.elapsed())),
            Ok(_) => {}
            Err(error) => {
                tally.state().failed(&error.to_string());
                sleep(FAILURE_PAUSE).await;
                connection = Connection::open(target.address).await?;
            }
        }
    }
}

/// Waits for what is under way, and adds to `run` what only then is known.
async fn drain(mut workers: JoinSet<Result<()>>, tally: &Tally, run: Run) -> Result<Run> {
    let all = async {
        while let Some(worker) = workers.join_next().await {
            worker??;
        }
        Ok::<_, crate::AnyError>(())
    };
    timeout(DRAIN, all).await.map_err(|_| "the server does not answer any more")??;
    let state = tally.state();
    let (errors, first_errors) = (state.errors, state.first_errors.clone());
    let latency_from_due = state.from_due.as_ref().map(Latency::of);
    Ok(Run { latency: Latency::of(&state.latency), latency_from_due, errors, first_errors, ..run })
}

/// When work is due: at a constant rate, from a start on.
struct Schedule {
    start: Instant,
    per_s: f64,
    next: u64,
    warm_up: u64,
    all: u64,
}

/// A piece of work of a [`Schedule`].
#[derive(Debug, PartialEq, Eq)]
struct Slot {
    due: Instant,
    /// Not part of the warm-up.
    measured: bool,
}

impl Schedule {
    fn new(start: Instant, per_s: f64, times: Times) -> Self {
        let count = |time: Duration| (time.as_secs_f64() * per_s).round() as u64;
        Schedule { start, per_s, next: 0, warm_up: count(times.warm_up), all: count(times.warm_up + times.measured) }
    }
}

impl Iterator for Schedule {
    type Item = Slot;

    /// The next piece of work, whether its time has come or is long over. Each moment is counted from the start, so that
    /// no delay moves the later ones.
    fn next(&mut self) -> Option<Slot> {
        let number = self.next;
        self.next += 1;
        let due = self.start + Duration::from_secs_f64(number as f64 / self.per_s);
        (number < self.all).then_some(Slot { due, measured: number >= self.warm_up })
    }
}

/// What all workers note together.
struct Tally {
    stopped: AtomicBool,
    state: Mutex<State>,
}

struct State {
    measuring: bool,
    done: u64,
    latency: Histogram<u64>,
    from_due: Option<Histogram<u64>>,
    errors: u64,
    first_errors: Vec<String>,
}

impl Tally {
    fn new(open: bool) -> Self {
        let from_due = open.then(histogram);
        let state =
            State { measuring: false, done: 0, latency: histogram(), from_due, errors: 0, first_errors: Vec::new() };
        Tally { stopped: AtomicBool::new(false), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn done(&mut self, latency: Duration, from_due: Option<Duration>) {
        if !self.measuring {
            return;
        }
        self.done += 1;
        note(&mut self.latency, latency);
        if let (Some(histogram), Some(from_due)) = (&mut self.from_due, from_due) {
            note(histogram, from_due);
        }
    }

    fn failed(&mut self, error: &str) {
        self.errors += 1;
        if self.first_errors.len() < MAX_KEPT_ERRORS {
            self.first_errors.push(error.to_owned());
        }
    }
}

/// A measured stretch of time, and the CPU time spent in it.
struct Window {
    opened: Instant,
    server_pid: u32,
    server: Option<Duration>,
    load: Option<Duration>,
    machine: Option<Duration>,
}

impl Window {
    fn open(target: &Target) -> Self {
        let (server, load) = (cpu_time(target.pid), cpu_time(std::process::id()));
        Window { opened: Instant::now(), server_pid: target.pid, server, load, machine: busy_time() }
    }

    fn close(self, state: &State, connections: usize) -> Run {
        let seconds = self.opened.elapsed().as_secs_f64();
        let spent = |now: Option<Duration>, before: Option<Duration>| Some(now?.saturating_sub(before?).as_secs_f64());
        let server = spent(cpu_time(self.server_pid), self.server);
        let load = spent(cpu_time(std::process::id()), self.load);
        let machine = spent(busy_time(), self.machine);
        let others = machine.zip(server).zip(load).map(|((machine, server), load)| (machine - server - load).max(0.0));
        Run {
            connections,
            due_per_s: None,
            done_per_s: state.done as f64 / seconds,
            done: state.done,
            seconds,
            latency: Latency::of(&state.latency),
            latency_from_due: None,
            server_cpu_us: server.filter(|_| state.done > 0).map(|server| server * 1e6 / state.done as f64),
            server_busy: server.map(|server| server / seconds),
            load_busy: load.map(|load| load / seconds),
            others_busy: others.map(|others| others / seconds),
            errors: 0,
            first_errors: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times = Times { warm_up: Duration::from_secs(1), measured: Duration::from_secs(4) };

    #[test]
    fn an_open_load_is_due_at_a_constant_rate_and_its_warm_up_is_not_measured() {
        let start = Instant::now();
        let slots: Vec<_> = Schedule::new(start, 200.0, TIMES).collect();
        assert_eq!((slots.len(), slots.iter().filter(|slot| slot.measured).count()), (1000, 800));
        for (number, slot) in slots.iter().enumerate() {
            let due = start + Duration::from_millis(5) * number as u32;
            assert!(slot.due.max(due) - slot.due.min(due) < Duration::from_micros(1), "{number}");
            assert_eq!(slot.measured, number >= 200);
        }
    }

    #[test]
    fn a_schedule_that_is_taken_late_keeps_its_moments() {
        let start = Instant::now() - Duration::from_secs(3600);
        let mut schedule = Schedule::new(start, 3.0, TIMES);
        assert_eq!(schedule.next(), Some(Slot { due: start, measured: false }));
        assert_eq!(schedule.nth(1).unwrap().due - start, Duration::from_secs_f64(2.0 / 3.0));
        assert_eq!(schedule.last().unwrap().due - start, Duration::from_secs_f64(14.0 / 3.0));
    }

    #[test]
    fn latency_before_the_measurement_is_not_noted() {
        let tally = Tally::new(true);
        let millis = Duration::from_millis;
        tally.state().done(millis(500), Some(millis(500)));
        tally.state().measuring = true;
        for time in 1..=100 {
            tally.state().done(millis(time), Some(millis(2 * time)));
        }
        let state = tally.state();
        let (latency, from_due) = (Latency::of(&state.latency), state.from_due.as_ref().map(Latency::of).unwrap());
        assert_eq!(state.done, 100);
        assert!((latency.p50_us / 50e3 - 1.0).abs() < 0.01, "{latency:?}");
        assert!((from_due.p99_us / 198e3 - 1.0).abs() < 0.01, "{from_due:?}");
        assert!((latency.max_us / 100e3 - 1.0).abs() < 0.01, "{latency:?}");
    }
}
