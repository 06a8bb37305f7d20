//! What the system says of this process; on a system without `/proc`, less.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::domain::Timestamp;
use crate::metrics::Process;

/// Looks now; `started` is when the process started.
pub(super) fn look(started: Timestamp) -> Process {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    let nanoseconds = u32::try_from(spent.tv_nsec).unwrap_or_default();
    let seconds = u32::try_from(spent.tv_sec).unwrap_or(u32::MAX);
    Process {
        cpu_seconds: Some(f64::from(seconds) + f64::from(nanoseconds) / 1e9),
        resident_bytes: resident(),
        open_files: open_files(),
        max_files: getrlimit(Resource::Nofile).current,
        started_at: u64::try_from(started.as_secs()).ok(),
    }
}

/// Memory that is held, in bytes.
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Descriptors that are open, without the one that the look itself takes.
fn open_files() -> Option<u64> {
    let entries = fs::read_dir(Path::new("/proc/self/fd")).ok()?;
    Some((entries.count() as u64).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_files_and_a_past() {
        let process = look(Timestamp::from_millis(1_767_225_600_999));
        assert_eq!(process.started_at, Some(1_767_225_600));
        assert!(process.cpu_seconds.unwrap() > 0.0);
        assert!(process.resident_bytes.unwrap() > 1 << 20, "{process:?}");
        assert!(process.open_files.unwrap() >= 3 && process.open_files < process.max_files, "{process:?}");
    }
}
