//! Levels for systemd's journal: a record on standard error that begins with `<3>` has priority 3, an error (sd-daemon(3)).

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Whether standard error is the journal's socket: systemd names its device and inode in `JOURNAL_STREAM`
/// (systemd.exec(5)). A redirection in a script does not change the variable, but the file.
pub(super) fn is_standard_error() -> bool {
    let named = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let Some(found) = io::stderr().as_fd().try_clone_to_owned().ok().map(File::from) else { return false };
    found.metadata().is_ok_and(|found| named == format!("{}:{}", found.dev(), found.ino()))
}

/// Standard error, with a priority before each record.
pub(super) struct Prioritized;

/// One record.
pub(super) struct Record(&'static str);

impl<'w> MakeWriter<'w> for Prioritized {
    type Writer = Record;

    fn make_writer(&'w self) -> Record {
        Record(priority(Level::INFO))
    }

    fn make_writer_for(&'w self, metadata: &Metadata<'_>) -> Record {
        Record(priority(*metadata.level()))
    }
}

impl Write for Record {
    /// A record comes in one piece, and goes in one: two threads must not mix theirs.
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(&[self.0.as_bytes(), record].concat())?;
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        _ => "<7>",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_warnings_and_news_have_the_journals_priorities() {
        let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
        assert_eq!(levels.map(priority), ["<3>", "<4>", "<6>", "<7>", "<7>"]);
    }
}
