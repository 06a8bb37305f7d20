//! What was called, how long it took, and what was not answered as it should be.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use freshk::clock::Stopwatch;
use serde_json::{Value, json};

/// Since the last report.
pub(crate) struct Counts {
    watch: Mutex<Stopwatch>,
    pub(crate) logins: AtomicU64,
    late: AtomicU64,
    latencies: Mutex<BTreeMap<&'static str, Vec<u64>>>,
    faults: Mutex<BTreeMap<String, u64>>,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            watch: Mutex::new(Stopwatch::start()),
            logins: AtomicU64::new(0),
            late: AtomicU64::new(0),
            latencies: Mutex::default(),
            faults: Mutex::default(),
        }
    }
}

impl Counts {
    pub(crate) fn took(&self, call: &'static str, time: Duration) {
        let micros = u64::try_from(time.as_micros()).expect("no call takes ages");
        self.latencies.lock().expect("no holder panics").entry(call).or_default().push(micros);
    }

    pub(crate) fn fault(&self, what: String) {
        *self.faults.lock().expect("no holder panics").entry(what).or_default() += 1;
    }

    /// A login began so long after its time: all hands were busy.
    pub(crate) fn began_late(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).expect("nothing is late by ages");
        self.late.fetch_max(millis, Ordering::Relaxed);
    }

    /// All that was counted since the last time.
    pub(crate) fn take(&self) -> Value {
        let mut watch = self.watch.lock().expect("no holder panics");
        let seconds = watch.elapsed().as_secs_f64();
        *watch = Stopwatch::start();
        let latencies = std::mem::take(&mut *self.latencies.lock().expect("no holder panics"));
        let calls: BTreeMap<_, _> = latencies
            .into_iter()
            .map(|(call, mut micros)| {
                micros.sort_unstable();
                let at = |share: usize| micros[(micros.len() * share / 1000).min(micros.len() - 1)];
                (call, json!({ "count": micros.len(), "p50": at(500), "p99": at(990), "max": at(1000) }))
            })
            .collect();
        json!({
            "seconds": seconds,
            "logins": self.logins.swap(0, Ordering::Relaxed),
            "late_ms": self.late.swap(0, Ordering::Relaxed),
            "calls": calls,
            "faults": std::mem::take(&mut *self.faults.lock().expect("no holder panics")),
        })
    }
}
