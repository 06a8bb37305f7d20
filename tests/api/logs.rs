//! What the program logs, caught in a process of its own: `tracing` remembers for the whole process whether anybody
//! listens to a line, and tests beside this one would make it remember that nobody does.

use std::io;
use std::process::Command;
use std::sync::{Arc, Mutex};

use freshk::telemetry::{self, Format};
use serde_json::Value;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Says so in the environment of a test that runs alone.
const ALONE: &str = "TEST_ALONE";

/// Where the log goes.
#[derive(Clone, Default)]
pub(crate) struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    /// Everything so far, as it was written.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Every line so far; each must be one JSON object.
    pub(crate) fn records(&self) -> Vec<Value> {
        let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("no record: {line:?}"));
        let records: Vec<Value> = self.text().lines().map(read).collect();
        assert!(records.iter().all(Value::is_object));
        records
    }
}

/// Runs the test `name` of `module` again in a process of its own, and gives that one the log; `None` in the first.
pub(crate) fn catch(module: &str, name: &str, filter: &str) -> Option<Sink> {
    if std::env::var_os(ALONE).is_some() {
        let sink = Sink::default();
        let writer = sink.clone();
        telemetry::subscriber(filter, Format::Json, false, move || writer.clone()).unwrap().init();
        return Some(sink);
    }
    let name = format!("{}::{name}", module.split_once("::").unwrap().1);
    let run =
        Command::new(std::env::current_exe().unwrap()).args(["--exact", &name]).env(ALONE, "1").output();
    let output = run.unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
    None
}
