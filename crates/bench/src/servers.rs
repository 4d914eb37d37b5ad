//! Servers as seen from the load: started, pinned to a core, asked how much CPU time they took, ended.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::Result;

/// What the runtime's timer may be late by, with room to spare.
const TIMER_LATENESS: Duration = Duration::from_millis(3);
/// How often a server is asked whether it has come to rest.
const REST_LOOK: Duration = Duration::from_millis(100);
/// CPU time in that time of a server at rest: its timers, at most.
const REST_CPU: Duration = Duration::from_millis(2);
/// Longest wait for a server to come to rest.
const MAX_REST_WAIT: Duration = Duration::from_secs(60);

/// The cores of the servers and of the load, so that neither takes from the other.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Pinning {
    server: usize,
    load: usize,
}

impl Pinning {
    /// Two cores this process may use; none when there is but one, or no `taskset`.
    pub(crate) fn find() -> Option<Self> {
        let taskset = Command::new("taskset").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        let status = std::fs::read_to_string("/proc/self/status")
            .ok()
            .filter(|_| taskset.is_ok_and(|status| status.success()))?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        match cores_of(list.trim())?.as_slice() {
            [server, load, ..] => Some(Pinning { server: *server, load: *load }),
            _ => None,
        }
    }

    /// Pins this process to the load's core. Threads of other cores must be gone.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn pin_load(self) -> Result<()> {
        let (core, pid) = (self.load.to_string(), std::process::id().to_string());
        let status =
            Command::new("taskset").args(["-c", "-p", core.as_str(), pid.as_str()]).stdout(Stdio::null()).status()?;
        if status.success() { Ok(()) } else { Err(format!("cannot pin the load to core {core}").into()) }
    }
}

/// The cores of a list such as `0-2,5`.
fn cores_of(list: &str) -> Option<Vec<usize>> {
    let mut cores = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cores.extend(first.parse::<usize>().ok()?..=last.parse().ok()?);
    }
    Some(cores)
}

/// The program whose shop is measured, when it is not this one.
static OTHER_BUILD: OnceLock<PathBuf> = OnceLock::new();

/// From now on shops are those of another build of this program.
pub(crate) fn measure_build(program: PathBuf) {
    let _ = OTHER_BUILD.set(program);
}

/// Where a server is.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
    /// Whether the load has a core of its own, and so may look at the clock all the time.
    own_core: bool,
}

impl Target {
    /// Waits for a moment: to the microsecond when the load has its own core, else as exactly as the runtime's timer, which
    /// counts milliseconds.
    pub(crate) async fn wait_until(&self, moment: Instant) {
        let lateness = if self.own_core { TIMER_LATENESS } else { Duration::ZERO };
        let far = moment.saturating_duration_since(Instant::now() + lateness);
        if !far.is_zero() {
            sleep(far).await;
        }
        while self.own_core && Instant::now() < moment {
            yield_now().await;
        }
    }

    /// Waits until the server has nothing to do any more, so that what one measurement left does not burden the next.
    /// Returns how long that took.
    pub(crate) async fn come_to_rest(&self) -> Duration {
        let begun = Instant::now();
        let mut before = cpu_time(self.pid);
        loop {
            sleep(REST_LOOK).await;
            let now = cpu_time(self.pid);
            let at_rest = now.zip(before).is_none_or(|(now, before)| now.saturating_sub(before) < REST_CPU);
            if at_rest || begun.elapsed() > MAX_REST_WAIT {
                return begun.elapsed().saturating_sub(REST_LOOK);
            }
            before = now;
        }
    }
}

/// A server in a process of its own, which ends when this is dropped, or this process ends.
pub(crate) struct Server {
    child: Child,
    pub(crate) target: Target,
}

impl Server {
    /// The shop, with its data in `folder`, and with another limit than its own to the requests at work, if one is given.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn shop(pinning: Option<Pinning>, folder: &Path, max_in_flight: Option<usize>) -> Result<Self> {
        let folder = folder.to_str().ok_or("the data folder's name is not UTF-8")?;
        let limit = max_in_flight.map(|most| most.to_string());
        let limit = limit.iter().flat_map(|most| ["--max-in-flight", most]);
        let role: Vec<_> = ["serve-shop", "--data", folder].into_iter().chain(limit).collect();
        match OTHER_BUILD.get() {
            Some(program) => Self::role_of(pinning, program.clone(), &role),
            None => Self::start(pinning, &role),
        }
    }

    /// The bare route, which answers with the first of `bodies` as the JSON of a product, and with each at a path of its own.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn bare(pinning: Option<Pinning>, bodies: &[String]) -> Result<Self> {
        Self::start(pinning, &["serve-bare", "--bodies", &serde_json::to_string(bodies)?])
    }

    /// Another program, which says where it listens and ends with its input as ours do.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn other(pinning: Option<Pinning>, name: &str, command: &[OsString]) -> Result<Self> {
        Self::run(pinning, name, command)
    }

    fn start(pinning: Option<Pinning>, role: &[&str]) -> Result<Self> {
        Self::role_of(pinning, std::env::current_exe()?, role)
    }

    fn role_of(pinning: Option<Pinning>, program: PathBuf, role: &[&str]) -> Result<Self> {
        let mut command = vec![program.into_os_string()];
        command.extend(role.iter().map(OsString::from));
        Self::run(pinning, role[0], &command)
    }

    fn run(pinning: Option<Pinning>, name: &str, arguments: &[OsString]) -> Result<Self> {
        let mut command = match pinning {
            Some(pinning) => {
                // taskset becomes the server: the process id stays.
                let mut command = Command::new("taskset");
                command.arg("-c").arg(pinning.server.to_string()).args(arguments);
                command
            }
            None => {
                let mut command = Command::new(&arguments[0]);
                command.args(&arguments[1..]);
                command
            }
        };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let address = line.trim().parse().map_err(|_| format!("{name} did not start"))?;
        let target = Target { address, pid: child.id(), own_core: pinning.is_some() };
        Ok(Server { child, target })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time a process has taken, all its threads together; none where the system does not tell. Exact to the scheduler's
/// tick. What a thread took that has ended is not in it.
pub(crate) fn cpu_time(pid: u32) -> Option<Duration> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let nanos = threads.filter_map(|thread| {
        let schedstat = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        schedstat.split(' ').next()?.parse::<u64>().ok()
    });
    Some(Duration::from_nanos(nanos.sum()))
}

/// Memory a process has in use; none where the system does not tell.
pub(crate) fn resident_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kb| kb * 1024)
}

#[cfg(test)]
mod tests {
    use super::cores_of;

    #[test]
    fn a_list_of_cores_has_ranges_and_single_ones() {
        assert_eq!(cores_of("0-2,5"), Some(vec![0, 1, 2, 5]));
        assert_eq!(cores_of("3"), Some(vec![3]));
        assert_eq!(cores_of("none"), None);
    }
}
