//! The log in files, one a day, written by a thread of its own.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

use super::InitError;
use crate::domain::Timestamp;

/// The log in files, beside the one on standard error.
#[derive(Clone)]
pub struct LogFile<'a> {
    /// `logs/debug.log` becomes `logs/debug.2026-01-01.log` and so on; the name itself leads to the latest.
    pub path: &'a Path,
    /// How many days are kept, with the one that is being written.
    pub keep: usize,
    /// Says which day it is.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

/// Lines that may wait for the disk. Those beyond it are lost rather than waited for: a slow disk must not stop logins.
const WAITING: usize = 64 * 1024;

/// Begins today's file and the thread that writes it.
pub(super) fn open(log: LogFile<'_>) -> Result<(NonBlocking, WorkerGuard), InitError> {
    let path = log.path;
    // The link would take the place of whatever is there.
    if path.symlink_metadata().is_ok_and(|found| !found.is_symlink()) {
        return Err(InitError::Foreign(path.to_owned()));
    }
    let days = Days::begin(log)
        .map_err(|error| InitError::File { path: path.to_owned(), reason: error.to_string() })?;
    Ok(NonBlockingBuilder::default().buffered_lines_limit(WAITING).thread_name("freshk-log").finish(days))
}

/// Files of a day each.
struct Days {
    names: Names,
    keep: usize,
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    day: Date,
    file: File,
}

/// How the files are called.
struct Names {
    directory: PathBuf,
    link: String,
    before: String,
    after: String,
}

impl Days {
    fn begin(log: LogFile<'_>) -> io::Result<Self> {
        let names = Names::of(log.path)?;
        fs::create_dir_all(&names.directory)?;
        let day = day(&*log.now);
        let file = names.open(day)?;
        let days = Self { names, keep: log.keep, now: log.now, day, file };
        days.let_go();
        Ok(days)
    }

    /// Goes on in another file once the day is another. If that one cannot be had, the old one takes the lines.
    fn turn(&mut self) {
        let today = day(&*self.now);
        if today == self.day {
            return;
        }
        if let Ok(file) = self.names.open(today) {
            (self.day, self.file) = (today, file);
            self.let_go();
        }
    }

    /// Deletes the oldest days beyond those that are kept. One that a wrong clock dated ahead is left alone, and so is all
    /// that merely looks alike. What cannot be deleted is tried again on the next day.
    fn let_go(&self) {
        let Ok(entries) = fs::read_dir(&self.names.directory) else { return };
        let mut days: Vec<_> = entries
            .filter_map(|entry| self.names.day_of(entry.ok()?.file_name().to_str()?))
            .filter(|day| *day <= self.day)
            .collect();
        days.sort_unstable();
        days.reverse();
        for day in days.into_iter().skip(self.keep) {
            drop(fs::remove_file(self.names.path(day)));
        }
    }
}

impl Write for Days {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.turn();
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Names {
    fn of(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let part = |part: Option<&OsStr>| part.map(|part| part.to_string_lossy().into_owned());
        let (Some(directory), Some(link), Some(stem)) =
            (path.parent(), part(path.file_name()), part(path.file_stem()))
        else {
            return Err(io::Error::new(ErrorKind::InvalidInput, "it names no file"));
        };
        let after = part(path.extension()).map(|suffix| format!(".{suffix}")).unwrap_or_default();
        Ok(Self { directory: directory.to_owned(), link, before: format!("{stem}."), after })
    }

    fn path(&self, day: Date) -> PathBuf {
        self.directory.join(self.name(day))
    }

    fn name(&self, day: Date) -> String {
        format!("{}{day}{}", self.before, self.after)
    }

    /// The day of a file, if it is one of these.
    fn day_of(&self, name: &str) -> Option<Date> {
        let day = name.strip_prefix(&self.before)?.strip_suffix(&self.after)?;
        // Read leniently, a date has other forms too.
        day.parse().ok().filter(|day| self.name(*day) == name)
    }

    /// Opens a day's file and has the link lead to it.
    fn open(&self, day: Date) -> io::Result<File> {
        let file = File::options().append(true).create(true).open(self.path(day))?;
        let (link, draft) =
            (self.directory.join(&self.link), self.directory.join(format!("{}.link", self.link)));
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        symlink(self.name(day), &draft)?;
        fs::rename(draft, link)?;
        Ok(file)
    }
}

/// The day it is, in UTC.
fn day(now: &dyn Fn() -> Timestamp) -> Date {
    let instant = jiff::Timestamp::from_millisecond(now().as_millis()).unwrap_or_default();
    instant.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Format;
    use std::sync::Mutex;
    use std::time::Duration;
    use tracing_subscriber::layer::SubscriberExt as _;

    const DAY: Duration = Duration::from_hours(24);

    /// A log in a directory of its own, and a clock.
    struct Bed {
        dir: tempfile::TempDir,
        now: Arc<Mutex<Timestamp>>,
    }

    impl Bed {
        /// On the first of January 2026, with these files there already.
        fn with(names: &[&str]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            for name in names {
                fs::write(dir.path().join(name), "x").unwrap();
            }
            let now = Timestamp::from_millis(1_767_225_600_000);
            Self { dir, now: Arc::new(Mutex::new(now)) }
        }

        fn path(&self) -> PathBuf {
            self.dir.path().join("debug.log")
        }

        fn pass(&self, time: Duration) {
            let mut now = self.now.lock().unwrap();
            *now = *now + time;
        }

        fn begin(&self, keep: usize) -> Days {
            let clock = Arc::clone(&self.now);
            let now = Arc::new(move || *clock.lock().unwrap());
            Days::begin(LogFile { path: &self.path(), keep, now }).unwrap()
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(self.dir.path()).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.dir.path().join(name)).unwrap()
        }
    }

    fn refusal(path: &Path) -> InitError {
        let now = Arc::new(|| Timestamp::from_millis(0));
        open(LogFile { path, keep: 2, now }).err().unwrap()
    }

    #[test]
    fn what_was_logged_is_in_todays_file_once_the_log_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/debug.log");
        let now = Arc::new(|| Timestamp::from_millis(1_767_225_600_000));
        let (writer, guard) = open(LogFile { path: &path, keep: 2, now }).unwrap();
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
        assert_eq!(fs::read_link(&path).unwrap(), Path::new("debug.2026-01-01.log"));
    }

    #[test]
    fn each_day_has_a_file_and_the_name_leads_to_the_latest() {
        let bed = Bed::with(&[]);
        let mut log = bed.begin(2);
        log.write_all(b"first\n").unwrap();
        bed.pass(Duration::from_millis(24 * 60 * 60 * 1000 - 1));
        log.write_all(b"still first\n").unwrap();
        bed.pass(Duration::from_millis(1));
        log.write_all(b"second\n").unwrap();
        assert_eq!(bed.names(), ["debug.2026-01-01.log", "debug.2026-01-02.log", "debug.log"]);
        assert_eq!(bed.read("debug.2026-01-01.log"), "first\nstill first\n");
        assert_eq!(bed.read("debug.log"), "second\n");
        // After a restart the day's file goes on.
        drop(log);
        bed.begin(2).write_all(b"still second\n").unwrap();
        assert_eq!(bed.read("debug.log"), "second\nstill second\n");
    }

    #[test]
    fn so_many_days_are_kept_at_the_start_and_at_each_turn() {
        let bed = Bed::with(&["debug.2025-12-29.log", "debug.2025-12-30.log", "debug.2025-12-31.log"]);
        let mut log = bed.begin(2);
        assert_eq!(bed.names(), ["debug.2025-12-31.log", "debug.2026-01-01.log", "debug.log"]);
        bed.pass(DAY);
        log.write_all(b"x").unwrap();
        assert_eq!(bed.names(), ["debug.2026-01-01.log", "debug.2026-01-02.log", "debug.log"]);
    }

    #[test]
    fn what_merely_looks_alike_or_comes_from_a_wrong_clock_is_nobodys_to_delete() {
        let others = [
            "debug-notes.log",
            "debug.2020-01-01.log.gz",
            "debug.2020-1-1.log",
            "debug.20200101.log",
            "debug.2099-01-01.log",
            "debug.notes.log",
            "debugger.2020-01-01.log",
            "other.2020-01-01.log",
        ];
        let bed = Bed::with(&others);
        drop(bed.begin(1));
        let names = bed.names();
        assert!(others.iter().all(|name| names.contains(&(*name).to_owned())), "{names:?}");
    }

    #[test]
    fn a_day_whose_file_cannot_be_had_goes_on_in_the_one_before() {
        let bed = Bed::with(&[]);
        let mut log = bed.begin(2);
        fs::create_dir(bed.dir.path().join("debug.2026-01-02.log")).unwrap();
        bed.pass(DAY);
        log.write_all(b"second\n").unwrap();
        assert_eq!(bed.read("debug.2026-01-01.log"), "second\n");
        assert_eq!(bed.read("debug.log"), "second\n");
    }

    #[test]
    fn somebody_elses_file_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("debug.log");
        fs::write(&path, "Django's").unwrap();
        let refused = refusal(&path);
        assert!(refused.to_string().contains("move it away"), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "Django's");
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("logs"), "a file").unwrap();
        let refused = refusal(&dir.path().join("logs/debug.log"));
        assert!(refused.to_string().contains("cannot be written"), "{refused}");
    }
}
