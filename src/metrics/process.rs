//! Metrics of this process, read from the system, under the names that Prometheus clients use.

use std::fmt;
use std::sync::{Arc, Mutex};

use crate::sync::lock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Values read from the system; one that cannot be read is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// Seconds of processor time, the system's and its own.
    pub cpu_seconds: Option<f64>,
    /// Memory that it holds, in bytes.
    pub resident_bytes: Option<u64>,
    /// File descriptors that are open.
    pub open_files: Option<u64>,
    /// File descriptors that may be open.
    pub max_files: Option<u64>,
    /// When it started, in Unix seconds.
    pub started_at: Option<u64>,
}

/// The latest values.
#[derive(Clone, Debug, Default)]
pub(super) struct Latest(Arc<Mutex<Process>>);

impl Latest {
    pub(super) fn set(&self, process: Process) {
        *lock(&self.0) = process;
    }
}

impl Collector for Latest {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let process = *lock(&self.0);
        let mut put = |name, unit: Option<Unit>, help, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, unit.as_ref(), metric.metric_type())?)
        };
        if let Some(seconds) = process.cpu_seconds {
            let help = "Processor time spent by the process and for it.";
            put("cpu", Some(Unit::Seconds), help, &ConstCounter::new(seconds))?;
        }
        let gauges = [
            ("resident_memory", Some(Unit::Bytes), "Memory that the process holds.", process.resident_bytes),
            ("open_fds", None, "File descriptors that are open.", process.open_files),
            ("max_fds", None, "File descriptors that may be open.", process.max_files),
            (
                "start_time",
                Some(Unit::Seconds),
                "When the process started, in Unix time.",
                process.started_at,
            ),
        ];
        for (name, unit, help, value) in gauges {
            if let Some(value) = value {
                put(name, unit, help, &ConstGauge::<u64>::new(value))?;
            }
        }
        Ok(())
    }
}
