//! The log in files, a day each, over a clock that is set by hand.

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
