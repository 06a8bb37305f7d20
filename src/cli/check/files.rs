//! The database, who serves it, and its backups.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use bytesize::ByteSize;
use rustix::fs::{Access, access};

use super::line::Line;
use super::room;
use crate::cli::{backups, disk};
use crate::config::Config;
use crate::config::backup::Backup;
use crate::domain::Timestamp;
use crate::domain::time::human;
use crate::storage::sqlite::{self, Holder, OpenError};

const DATABASE: &str = "database";

/// A log past this is not being moved into the database as it should be.
const LOG: u64 = 256 * 1024 * 1024;

/// The lines, and whether the database stands and can be read.
pub(super) fn lines(config: &Config, now: Timestamp) -> (Vec<Line>, bool) {
    let path = config.database.url.path();
    let (database, stands) = database(path);
    let mut lines = vec![database];
    let log = log_of(path);
    if path.exists() {
        lines.extend([mode(path), wal(log)]);
    }
    let bytes = path.metadata().map_or(0, |file| file.len()).saturating_add(log);
    lines.extend([room::line("free disk", path, bytes), server(path), backup(&config.backup, now)]);
    if let Some(dir) = config.backup.dir.as_deref()
        && dir.exists()
        && !disk::is_one(path, dir).unwrap_or(true)
    {
        lines.push(room::line("backup disk", dir, bytes));
    }
    (lines, stands)
}

fn database(path: &Path) -> (Line, bool) {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !directory.is_dir() {
        let missing = OpenError::MissingDirectory { directory: directory.to_owned() };
        return (Line::told(DATABASE, &missing), false);
    }
    let refuses = [directory, path].into_iter().find(|place| place.exists() && !can_write(place));
    if let Some(place) = refuses {
        return (Line::told(DATABASE, &OpenError::ReadOnly { path: place.to_owned() }), false);
    }
    if !path.exists() {
        let found = format!("there is none at {}", path.display());
        return (Line::warn(DATABASE, found, "`freshk serve` makes it; or correct database.url"), false);
    }
    match sqlite::check(path) {
        Err(error) => (Line::told(DATABASE, &error), false),
        Ok(found) if !found.faults.is_empty() => {
            let damage = format!("damaged: {}", found.faults.join(", "));
            let mend = "stop the server and restore the latest backup with `freshk db restore`";
            (Line::fail(DATABASE, damage, mend), false)
        }
        Ok(found) if found.schema < found.known => {
            let (found, known) = (found.schema, found.known);
            (Line::told(DATABASE, &OpenError::Older { path: path.to_owned(), found, known }), false)
        }
        Ok(found) => (Line::ok(DATABASE, format!("whole, with schema {}", found.schema)), true),
    }
}

/// Whether this user can write there; the server starts for nobody, root included, where the mode forbids it.
fn can_write(path: &Path) -> bool {
    let forbidden = path.metadata().is_ok_and(|found| found.permissions().readonly());
    !forbidden && access(path, Access::WRITE_OK).is_ok()
}

fn mode(path: &Path) -> Line {
    let mode = path.metadata().map_or(0, |file| file.permissions().mode() & 0o777);
    if mode.trailing_zeros() >= 6 {
        Line::ok("file mode", format!("{mode:o}"))
    } else {
        Line::fail(
            "file mode",
            format!("{mode:o}: others can read people's numbers"),
            format!("chmod 600 {}*", path.display()),
        )
    }
}

fn log_of(path: &Path) -> u64 {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    Path::new(&name).metadata().map_or(0, |file| file.len())
}

fn wal(bytes: u64) -> Line {
    let size = ByteSize(bytes).to_string();
    if bytes <= LOG {
        Line::ok("WAL size", size)
    } else {
        Line::warn("WAL size", size, "find who holds the database open for long, and end that process")
    }
}

/// For the reader alone: the list is gone through before the first start, too.
fn server(path: &Path) -> Line {
    const WHAT: &str = "server";
    match Holder::of(path) {
        Ok(Some(Holder { pid: Some(pid) })) => Line::ok(WHAT, format!("process {pid} holds the database")),
        Ok(Some(Holder { pid: None })) => Line::ok(WHAT, "a process holds the database"),
        Ok(None) => Line::ok(WHAT, "none runs on this database"),
        Err(error) => Line::told(WHAT, &error),
    }
}

fn backup(settings: &Backup, now: Timestamp) -> Line {
    const WHAT: &str = "backups";
    let Some(dir) = &settings.dir else {
        return Line::warn(
            WHAT,
            "none are made",
            "set backup.dir, or let Litestream replicate (docs/litestream.md)",
        );
    };
    let found = match backups::until(dir, now) {
        Ok(found) => found,
        Err(error) => {
            return Line::fail(
                WHAT,
                format!("{}: {error}", dir.display()),
                "make the directory, writable for freshk",
            );
        }
    };
    if !can_write(dir) {
        let found = format!("{} cannot be written", dir.display());
        return Line::fail(WHAT, found, "give the user that runs freshk the right to write it");
    }
    let Some((at, path)) = found.first() else {
        return Line::fail(
            WHAT,
            format!("none in {}", dir.display()),
            "run `freshk db backup`, and let the server run",
        );
    };
    match sqlite::check(path) {
        Ok(copy) if copy.faults.is_empty() => {}
        _ => {
            return Line::fail(
                WHAT,
                format!("{} is damaged", path.display()),
                "run `freshk db backup`, look at the disk",
            );
        }
    }
    let age: Duration = at.until(now);
    if age > settings.every * 2 {
        Line::fail(
            WHAT,
            format!("the latest is {} old", human(age)),
            "see in the log why the server makes none; run `freshk db backup`",
        )
    } else {
        Line::ok(WHAT, format!("the latest is {} old, and whole", human(age)))
    }
}
