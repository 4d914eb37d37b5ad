//! What the measurements were taken on.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::Serialize;

/// A machine, and the build that ran on it. What the system does not tell is "unknown".
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    /// Cores this process may use.
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    /// File system and device of the data.
    pub(crate) disk: String,
    /// Whether the data is in memory, where `fsync` does nothing.
    pub(crate) disk_is_memory: bool,
    /// Load averages at the start: others who use the machine disturb the measurement.
    pub(crate) load_average: String,
    pub(crate) git_commit: String,
    pub(crate) rustc: String,
}

impl Machine {
    /// This machine, with the data in `folder`.
    pub(crate) fn find(folder: &Path) -> Self {
        let unknown = || "unknown".to_owned();
        let read = |file| std::fs::read_to_string(file).unwrap_or_default();
        let mounts = read("/proc/self/mounts");
        let (device, kind) =
            mount_of(&mounts, &folder.canonicalize().unwrap_or_default()).unwrap_or(("unknown", "unknown"));
        let changed =
            output("git", &["status", "--porcelain", "--untracked-files=no"]).is_some_and(|files| !files.is_empty());
        let commit = output("git", &["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(unknown);
        let load_average: Vec<_> = read("/proc/loadavg").split(' ').take(3).map(str::to_owned).collect();
        Machine {
            cpu: cpu_model(&read("/proc/cpuinfo")).unwrap_or_else(unknown),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: output("uname", &["-sr"]).unwrap_or_else(unknown),
            disk: format!("{kind} on {device}"),
            disk_is_memory: matches!(kind, "tmpfs" | "ramfs"),
            load_average: load_average.join(" "),
            git_commit: if changed { format!("{commit}, with changes") } else { commit },
            rustc: output("rustc", &["--version"]).unwrap_or_else(unknown),
        }
    }
}

/// CPU time all cores together have spent on anything; none where the system does not tell. In steps of 10 ms.
pub(crate) fn busy_time() -> Option<Duration> {
    busy_ticks(&std::fs::read_to_string("/proc/stat").ok()?).map(|ticks| Duration::from_millis(10 * ticks))
}

/// The sum of the first line of `/proc/stat`, less what is idle (the fourth and fifth number: idle, and idle while a disk
/// works) and what guests took, which is counted twice.
fn busy_ticks(stat: &str) -> Option<u64> {
    let numbers = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().take(8).enumerate();
    numbers.filter(|(at, _)| !matches!(at, 3 | 4)).map(|(_, number)| number.parse::<u64>().ok()).sum()
}

fn cpu_model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Device and kind of the file system `folder` is on: the innermost mount it is under.
fn mount_of<'a>(mounts: &'a str, folder: &Path) -> Option<(&'a str, &'a str)> {
    let fields = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        Some((fields.next()?, fields.next()?, fields.next()?))
    });
    let over = fields.filter(|(_, point, _)| folder.starts_with(point));
    over.max_by_key(|(_, point, _)| point.len()).map(|(device, _, kind)| (device, kind))
}

/// What a program prints, if it succeeds.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_is_what_is_not_idle() {
        assert_eq!(busy_ticks("cpu  100 20 3 5000 600 7 8 9 50 60\ncpu0 1 1 1 1\n"), Some(147));
        assert_eq!(busy_ticks("intr 1"), None);
    }

    #[test]
    fn a_folder_is_on_the_innermost_mount() {
        let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/vdb /tmpfiles xfs rw 0 0\n";
        assert_eq!(mount_of(mounts, Path::new("/tmp/x")), Some(("tmpfs", "tmpfs")));
        assert_eq!(mount_of(mounts, Path::new("/tmpfiles/x")), Some(("/dev/vdb", "xfs")));
        assert_eq!(mount_of(mounts, Path::new("/home")), Some(("/dev/vda", "ext4")));
    }
}
