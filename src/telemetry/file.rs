//! The log in files, one a day, written by a thread of its own.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

use super::InitError;
use super::Now;
use crate::domain::Timestamp;
use crate::files::{self, Owner, beside, free_name, random_name};

/// The log in files, beside the one on standard error.
#[derive(Clone)]
pub struct LogFile<'a> {
    /// `logs/debug.log` becomes `logs/debug.2026-01-01.log` and so on; the name itself leads to the latest.
    pub path: &'a Path,
    /// How many days are kept, with the one that is being written.
    pub keep: usize,
    /// The time, for deleting old files.
    pub now: Now,
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
    let days = Days::begin(log).map_err(|reason| InitError::File { path: path.to_owned(), reason })?;
    Ok(NonBlockingBuilder::default().buffered_lines_limit(WAITING).thread_name("freshk-log").finish(days))
}

/// The file of a day, in UTC.
pub fn of_day(path: &Path, day: Date) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!(".{day}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// The day it is, in UTC.
pub fn day(now: Timestamp) -> Date {
    let instant = jiff::Timestamp::from_millisecond(now.as_millis()).unwrap_or_default();
    instant.to_zoned(TimeZone::UTC).date()
}

/// The mode of a log's file: readable by its owner and its group.
const MODE: u32 = 0o640;

/// How often it is looked whether the file is still at its place.
const LOOK: Duration = Duration::from_secs(10);

/// One file a day; the oldest are deleted.
struct Days {
    path: PathBuf,
    keep: usize,
    now: Now,
    day: Date,
    file: File,
    looked: Timestamp,
    /// Whether the last line could not be written. It is told once, when that begins, and once, when it is over: standard
    /// error has every line in any case.
    is_failing: bool,
    /// Whether only a part of the last line was written.
    is_torn: bool,
}

impl Days {
    fn begin(log: LogFile<'_>) -> Result<Self, String> {
        let path = std::path::absolute(log.path).map_err(|error| error.to_string())?;
        if path.file_name().is_none() {
            return Err("it names no file".to_owned());
        }
        let now = (log.now)();
        let day = day(now);
        let made = files::make_directory(files::directory(&path)).and_then(|()| turn_to(&path, day));
        let file = made.map_err(|error| error.to_string())?;
        let days = Self {
            path,
            keep: log.keep,
            now: log.now,
            day,
            file,
            looked: now,
            is_failing: false,
            is_torn: false,
        };
        days.let_go();
        Ok(days)
    }

    /// Deletes the oldest days beyond those that are kept. One that a wrong clock dated ahead is left alone, and so is all
    /// that merely looks alike. What cannot be deleted is tried again on the next day.
    fn let_go(&self) {
        let Some(Ok(entries)) = self.path.parent().map(fs::read_dir) else { return };
        let mut days: Vec<_> = entries
            .filter_map(|entry| self.day_of(entry.ok()?.file_name().to_str()?))
            .filter(|day| *day <= self.day)
            .collect();
        days.sort_unstable();
        days.reverse();
        for day in days.into_iter().skip(self.keep) {
            drop(fs::remove_file(of_day(&self.path, day)));
        }
    }

    /// The day of a file, if it is one of these.
    fn day_of(&self, name: &str) -> Option<Date> {
        let stem = self.path.file_stem()?.to_str()?;
        let day = name.strip_prefix(stem)?.strip_prefix('.')?.get(..10)?.parse().ok()?;
        (of_day(&self.path, day).file_name()? == name).then_some(day)
    }
}

/// Opens the file of a day and lets the log's own name lead to it. A name that is a link, or no file, is passed over.
fn turn_to(path: &Path, day: Date) -> io::Result<File> {
    let owner = Owner::beside(files::directory(path))?;
    let mut name = of_day(path, day);
    let opened = files::open_own(&name, true, MODE, owner).or_else(|error| {
        if !matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::PermissionDenied) {
            return Err(error);
        }
        name = free_name(name.clone());
        files::open_own(&name, true, MODE, owner)
    });
    let file = opened?;
    hide(&file);
    if path.symlink_metadata().is_ok_and(|found| !found.is_symlink()) {
        return Ok(file);
    }
    // A link is made new, too, and takes the place of the one of yesterday as a whole.
    let link = beside(path, &format!(".{}", random_name()));
    let led = symlink(name.file_name().unwrap_or_default(), &link).and_then(|()| fs::rename(&link, path));
    led.inspect_err(|_| drop(fs::remove_file(&link)))?;
    Ok(file)
}

/// Takes away what others may do with a file that an earlier version made; where that is not allowed, it stays.
fn hide(file: &File) {
    let Ok(mut mode) = file.metadata().map(|found| found.permissions()) else { return };
    if mode.mode() & 0o777 & !MODE != 0 {
        mode.set_mode(mode.mode() & MODE);
        drop(file.set_permissions(mode));
    }
}

impl Days {
    /// Turns to the file of the day, and to a new one where somebody has deleted or moved the one that is open.
    fn turn(&mut self) -> io::Result<()> {
        let now = (self.now)();
        let today = day(now);
        if today != self.day {
            self.day = today;
            // Where there is no room for another day's file, its lines go into the one that is open.
            if let Ok(file) = turn_to(&self.path, today) {
                (self.file, self.is_torn) = (file, false);
            }
            self.let_go();
        }
        if self.looked.until(now) >= LOOK || now < self.looked {
            if self.file.metadata()?.nlink() == 0 || fs::metadata(&self.path).is_err() {
                files::make_directory(files::directory(&self.path))?;
                (self.file, self.is_torn) = (turn_to(&self.path, self.day)?, false);
            }
            // Only now: until there is a file again, each line looks.
            self.looked = now;
        }
        Ok(())
    }

    /// Writes a whole line.
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.file.write_all(b"\n")?;
            self.is_torn = false;
        }
        let mut rest = line;
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => (rest, self.is_torn) = (&rest[count..], true),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.is_torn = false;
        Ok(())
    }

    /// Says where lines are lost, and where they are no longer. This is written to the log, too, by the thread that writes
    /// this file: it waits for nobody.
    fn tell(&mut self, written: &io::Result<()>) {
        match (written, self.is_failing) {
            (Err(error), false) => tracing::error!(
                %error,
                file = %self.path.display(),
                help = "see whether its folder is there and has room; standard error has every line",
                "the log file cannot be written: its lines are lost until it can"
            ),
            (Ok(()), true) => {
                tracing::warn!(file = %self.path.display(), "the log file is written again");
            }
            _ => {}
        }
        self.is_failing = written.is_err();
    }
}

impl Write for Days {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.turn().and_then(|()| self.append(bytes));
        self.tell(&written);
        written.map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};
    use crate::domain::Help as _;
    use crate::telemetry::Format;
    use std::sync::Arc;
    use std::sync::Mutex;
    use std::time::Duration;
    use tracing_subscriber::layer::SubscriberExt as _;

    /// A log in a directory of its own, with a clock.
    struct Bed {
        dir: tempfile::TempDir,
        now: Arc<Mutex<Timestamp>>,
    }

    impl Bed {
        /// With these files there already.
        fn with(names: &[&str]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            for name in names {
                fs::write(dir.path().join(name), "x").unwrap();
            }
            Self { dir, now: Arc::new(Mutex::new(SystemClock::new().now())) }
        }

        fn begin(&self, keep: usize) -> Days {
            let clock = Arc::clone(&self.now);
            let now = Arc::new(move || *clock.lock().unwrap());
            Days::begin(LogFile { path: &self.dir.path().join("debug.log"), keep, now }).unwrap()
        }

        /// The files of years gone by.
        fn old(&self) -> Vec<String> {
            let mut names: Vec<_> = self.names();
            names.retain(|name| name.starts_with("debug.19"));
            names
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(self.dir.path()).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
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
        let now = Arc::new(|| Timestamp::from_millis(0));
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
        let today = fs::read_link(&path).unwrap();
        let date = today.file_stem().unwrap().to_str().unwrap().strip_prefix("debug.").unwrap();
        let named = of_day(&path, date.parse().unwrap());
        assert_eq!((named.file_name(), fs::read_to_string(&named).unwrap()), (today.file_name(), text));
    }

    #[test]
    fn so_many_days_are_kept_at_the_start_and_once_a_day() {
        let files = ["debug.1999-12-29.log", "debug.1999-12-30.log", "debug.1999-12-31.log"];
        let bed = Bed::with(&files);
        let mut log = bed.begin(3);
        assert_eq!(bed.old(), files[1..], "with the one that is being written");
        fs::write(bed.dir.path().join(files[0]), "x").unwrap();
        log.write_all(b"x").unwrap();
        assert_eq!(bed.old(), files, "not at every line");
        let now = *bed.now.lock().unwrap();
        *bed.now.lock().unwrap() = now + Duration::from_hours(24);
        log.write_all(b"x").unwrap();
        assert_eq!(bed.old(), files[2..], "with those of today and of tomorrow");
    }

    #[test]
    fn what_merely_looks_alike_or_comes_from_a_wrong_clock_is_nobodys_to_delete() {
        let others = [
            "debug-notes.log",
            "debug.2020-01-01.log.gz",
            "debug.2020-1-1.log",
            "debug.20200101.log",
            "debug.2999-01-01.log",
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
    fn somebody_elses_file_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("debug.log");
        fs::write(&path, "Django's").unwrap();
        let refused = refusal(&path);
        assert!(refused.help().contains("move it away"), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "Django's");
    }

    #[test]
    fn s41_a_log_is_new_follows_no_link_and_is_not_everybodys() {
        let bed = Bed::with(&["theirs"]);
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        let today = |days: &Days| of_day(&days.path, days.day);
        let mut log = bed.begin(3);
        assert_eq!(mode(&today(&log)) & !0o640, 0);
        // As an earlier version left it.
        fs::set_permissions(today(&log), fs::Permissions::from_mode(0o644)).unwrap();
        drop(bed.begin(3));
        assert_eq!(mode(&today(&log)), 0o640);
        let tomorrow = of_day(&log.path, day(*bed.now.lock().unwrap() + Duration::from_hours(24)));
        symlink(bed.dir.path().join("theirs"), &tomorrow).unwrap();
        let now = *bed.now.lock().unwrap();
        *bed.now.lock().unwrap() = now + Duration::from_hours(24);
        log.write_all(b"a line").unwrap();
        assert_eq!(fs::read_to_string(bed.dir.path().join("theirs")).unwrap(), "x");
        assert_eq!(fs::read_to_string(&log.path).unwrap(), "a line", "the name leads to where it is");
    }

    /// What the log's own thread says on standard error meanwhile.
    fn said(what: impl FnOnce()) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        let writer = Arc::new(file.reopen().unwrap());
        let lines = crate::telemetry::lines(Format::Json, false, writer);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), what);
        fs::read_to_string(file.path()).unwrap()
    }

    #[test]
    fn a_disk_without_room_is_told_once_and_so_is_its_end_and_no_line_is_joined_to_half_a_line() {
        let bed = Bed::with(&[]);
        let mut log = bed.begin(3);
        log.write_all(b"first\n").unwrap();
        let good = std::mem::replace(&mut log.file, File::options().write(true).open("/dev/full").unwrap());
        let told = said(|| (0..3).for_each(|_| drop(log.write_all(b"lost\n"))));
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(told.contains("\"ERROR\"") && told.contains("No space left on device"), "{told}");
        // The half of a line that there was room for.
        log.file = good;
        log.file.write_all(b"ha").unwrap();
        log.is_torn = true;
        let told = said(|| (0..2).for_each(|_| log.write_all(b"again\n").unwrap()));
        assert!(told.lines().count() == 1 && told.contains("is written again"), "{told}");
        assert_eq!(fs::read_to_string(&log.path).unwrap(), "first\nha\nagain\nagain\n");
    }

    #[test]
    fn a_file_or_directory_that_somebody_deletes_is_made_anew_soon() {
        let bed = Bed::with(&[]);
        let folder = bed.dir.path().join("logs");
        let clock = Arc::clone(&bed.now);
        let now = Arc::new(move || *clock.lock().unwrap());
        let mut log = Days::begin(LogFile { path: &folder.join("debug.log"), keep: 3, now }).unwrap();
        let later = || {
            let mut now = bed.now.lock().unwrap();
            *now = *now + LOOK;
        };
        fs::remove_dir_all(&folder).unwrap();
        later();
        log.write_all(b"one\n").unwrap();
        assert_eq!(fs::read_to_string(&log.path).unwrap(), "one\n");
        fs::rename(of_day(&log.path, log.day), folder.join("moved")).unwrap();
        later();
        log.write_all(b"two\n").unwrap();
        assert_eq!(fs::read_to_string(&log.path).unwrap(), "two\n");
        // Where it cannot be made, that is told, and not taken back by what the deleted file still swallows.
        fs::remove_dir_all(&folder).unwrap();
        fs::write(&folder, "a file").unwrap();
        later();
        let told = said(|| (0..3).for_each(|_| drop(log.write_all(b"lost\n"))));
        assert_eq!(told.lines().count(), 1, "{told}");
        fs::remove_file(&folder).unwrap();
        log.write_all(b"three\n").unwrap();
        assert_eq!(fs::read_to_string(&log.path).unwrap(), "three\n");
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("logs"), "a file").unwrap();
        let refused = refusal(&dir.path().join("logs/debug.log"));
        assert!(refused.to_string().contains("cannot be written"), "{refused}");
    }
}
