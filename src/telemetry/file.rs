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
mod tests;
