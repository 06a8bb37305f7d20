//! What a test catches of the log.

use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing::{Dispatch, Level};

use crate::sync::lock;

/// What is logged, as lines of JSON.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        lock(&self.0).extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Begins to catch what this thread logs, until what is given beside it is dropped.
    pub(crate) fn catch() -> (Self, Catching) {
        // Beside one subscriber alone, a test in another thread that has none decides what is logged.
        let other = Dispatch::new(NoSubscriber::new());
        let log = Self::default();
        let writer = log.clone();
        let lines = tracing_subscriber::fmt().json().with_max_level(Level::DEBUG);
        let lines = lines.with_writer(move || writer.clone()).finish();
        (log, Catching { _logging: tracing::subscriber::set_default(lines), _other: other })
    }

    /// The lines since they were taken last.
    pub(crate) fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *lock(&self.0));
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    /// How many lines have some words.
    pub(crate) fn count(&self, words: &str) -> usize {
        std::str::from_utf8(&lock(&self.0)).unwrap().lines().filter(|line| line.contains(words)).count()
    }
}

/// Catches as long as it lives.
pub(crate) struct Catching {
    _logging: DefaultGuard,
    _other: Dispatch,
}
