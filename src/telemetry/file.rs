//! The log in files, one a day, written by a thread of its own.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{Builder, Rotation};

use super::InitError;

/// The log in files, beside the one on standard error.
#[derive(Clone, Copy, Debug)]
pub struct LogFile<'a> {
    /// `logs/debug.log` becomes `logs/debug.2026-01-01.log` and so on; the name itself leads to the latest.
    pub path: &'a Path,
    /// How many days are kept.
    pub keep: usize,
}

impl LogFile<'_> {
    /// The file of a day, `2026-01-01`, in UTC.
    pub fn of_day(&self, day: &str) -> PathBuf {
        let mut name = self.path.file_stem().unwrap_or_default().to_owned();
        name.push(".");
        name.push(day);
        if let Some(extension) = self.path.extension() {
            name.push(".");
            name.push(extension);
        }
        self.path.with_file_name(name)
    }
}

/// Lines that may wait for the disk. Those beyond it are lost rather than waited for: a slow disk must not stop logins.
const WAITING: usize = 64 * 1024;

/// Begins today's file and the thread that writes it.
pub(super) fn open(LogFile { path, keep }: LogFile<'_>) -> Result<(NonBlocking, WorkerGuard), InitError> {
    let failed = |reason: String| InitError::File { path: path.to_owned(), reason };
    let absolute = std::path::absolute(path).map_err(|error| failed(error.to_string()))?;
    let part = |part: Option<&OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    let (Some(directory), Some(name), Some(stem)) =
        (absolute.parent(), part(absolute.file_name()), part(absolute.file_stem()))
    else {
        return Err(failed("it names no file".to_owned()));
    };
    // The appender would put its link in the place of whatever is there.
    if absolute.symlink_metadata().is_ok_and(|found| !found.is_symlink()) {
        return Err(InitError::Foreign(path.to_owned()));
    }
    let mut builder = Builder::new()
        .rotation(Rotation::DAILY)
        .filename_prefix(stem)
        .latest_symlink(name)
        // Today's is not counted while it is made.
        .max_log_files(keep.saturating_add(1));
    if let Some(suffix) = part(absolute.extension()) {
        builder = builder.filename_suffix(suffix);
    }
    let files = builder.build(directory).map_err(|error| failed(error.to_string()))?;
    Ok(NonBlockingBuilder::default().buffered_lines_limit(WAITING).thread_name("freshk-log").finish(files))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Format;
    use std::fs;
    use tracing_subscriber::layer::SubscriberExt as _;

    #[test]
    fn what_was_logged_is_in_todays_file_once_the_log_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/debug.log");
        let (writer, guard) = open(LogFile { path: &path, keep: 2 }).unwrap();
        let subscriber =
            tracing_subscriber::registry().with(crate::telemetry::lines(Format::Json, false, writer));
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..1000 {
                tracing::info!(number, "a line");
            }
        });
        drop(guard);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 1000);
        assert!(text.lines().last().unwrap().contains("\"number\":999"));
        let today = fs::read_link(&path).unwrap();
        let day = today.file_stem().unwrap().to_str().unwrap().strip_prefix("debug.").unwrap();
        let named = LogFile { path: &path, keep: 2 }.of_day(day);
        assert_eq!(named.file_name(), today.file_name());
        assert_eq!(fs::read_to_string(named).unwrap(), text);
        assert!(today.file_name().unwrap().to_str().unwrap().starts_with("debug.2"), "{}", today.display());
        assert_eq!(today.extension().unwrap(), "log");
    }

    #[test]
    fn old_days_go_and_other_files_stay() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["debug.2020-01-01.log", "debug.2020-01-02.log", "debug.2020-01-03.log", "other.log"] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        drop(open(LogFile { path: &dir.path().join("debug.log"), keep: 2 }).unwrap());
        let mut days: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("debug.2"))
            .collect();
        days.sort();
        assert!(!days.contains(&"debug.2020-01-01.log".to_owned()), "{days:?}");
        assert!(days.contains(&"debug.2020-01-03.log".to_owned()), "{days:?}");
        assert!(dir.path().join("other.log").exists());
    }

    #[test]
    fn somebody_elses_file_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("debug.log");
        fs::write(&path, "Django's").unwrap();
        let refused = open(LogFile { path: &path, keep: 2 }).err().unwrap();
        assert!(refused.to_string().contains("move it away"), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "Django's");
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("logs"), "a file").unwrap();
        let refused = open(LogFile { path: &dir.path().join("logs/debug.log"), keep: 2 }).err().unwrap();
        assert!(refused.to_string().contains("cannot be written"), "{refused}");
    }
}
