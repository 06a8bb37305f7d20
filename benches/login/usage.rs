//! What a process has used so far, from `/proc`: unlike calls a second, it hardly depends on what else the machine does.

use std::fs;
use std::ops::Sub;
use std::time::Duration;

/// Clock ticks a second in `/proc/PID/stat`: 100 on every Linux that we know.
const TICKS: u64 = 100;

/// Processor time, and how often a thread has waited for something.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) processor: Duration,
    pub(crate) waits: u64,
}

impl Usage {
    /// Of a process and all its threads.
    pub(crate) fn of(pid: u32) -> Self {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("procfs");
        let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
        // The fields 14 and 15 of proc(5); the first after the name is the third.
        let ticks = |field: usize| fields[field - 3].parse::<u64>().expect("a number");
        let processor = Duration::from_millis((ticks(14) + ticks(15)) * 1000 / TICKS);
        let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("procfs");
        // A thread may end between the list and the look.
        let waits = threads.flatten().filter_map(|thread| waits_of(&thread.path().join("status"))).sum();
        Self { processor, waits }
    }
}

fn waits_of(status: &std::path::Path) -> Option<u64> {
    let text = fs::read_to_string(status).ok()?;
    text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?.trim().parse().ok()
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            processor: self.processor.saturating_sub(earlier.processor),
            waits: self.waits.saturating_sub(earlier.waits),
        }
    }
}
