//! What the program logs on the thread of one test.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

/// The lines of `info` and above, from its beginning until it is dropped.
pub(crate) struct Log {
    lines: Lines,
    _current: DefaultGuard,
    /// While there is only one, a line that another test reaches first is off for all, for that test has none.
    _second: Dispatch,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Begins to listen.
    pub(crate) fn begin() -> Self {
        let lines = Lines::default();
        let second = Dispatch::new(tracing_subscriber::registry());
        let current = tracing_subscriber::fmt().json().with_writer(lines.clone()).finish();
        Self { lines, _current: tracing::subscriber::set_default(current), _second: second }
    }

    /// All of it, a JSON object a line.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.lines.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
