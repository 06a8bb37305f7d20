//! The database, who serves it, and its backups.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use rustix::fs::{Access, access};

use super::line::Line;
use super::room;
use crate::cli::{CliError, backups, disk, wiring};
use crate::config::Config;
use crate::config::backup::Backup;
use crate::config::users::Users;
use crate::domain::Timestamp;
use crate::domain::time::human;
use crate::files::{self, FileId, beside};
use crate::storage::sqlite::{self, Holder, OpenError};

const DATABASE: &str = "database";

/// A log past this is not being moved into the database as it should be.
const LOG: u64 = 256 * 1024 * 1024;

/// What was found of the database.
struct Found {
    line: Line,
    /// It is ours, and can be read.
    stands: bool,
    /// It is not somebody else's file, named by mistake.
    is_ours: bool,
}

/// The lines, and whether the database stands and can be read.
pub(super) fn lines(config: &Config, now: Timestamp) -> (Vec<Line>, bool) {
    let path = config.database.url.path();
    let Found { line, stands, is_ours } = database(config);
    let mut lines = vec![line];
    let log = log_of(path);
    if is_ours && !wiring::is_missing(path) {
        lines.extend([mode(path), owner(path), wal(log)]);
    }
    if stands {
        lines.push(user_ids(path, &config.users));
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

fn database(config: &Config) -> Found {
    let path = config.database.url.path();
    let fault = |line| Found { line, stands: false, is_ours: true };
    let directory = files::directory(path);
    if !directory.is_dir() {
        return fault(Line::told(DATABASE, &OpenError::MissingDirectory { directory: directory.to_owned() }));
    }
    if wiring::is_missing(path) {
        return fault(missing(config));
    }
    let is_ours = |error: &OpenError| {
        !matches!(error, OpenError::NotADatabase { .. } | OpenError::Foreign { .. } | OpenError::Newer { .. })
    };
    let checked = sqlite::check(path);
    // Whose file it is comes first: nobody should make a stranger's file writable.
    let refuses = [directory, path].into_iter().find(|place| !can_write(place));
    if let Some(place) = refuses
        && checked.as_ref().err().is_none_or(is_ours)
    {
        return fault(Line::told(DATABASE, &OpenError::ReadOnly { path: place.to_owned() }));
    }
    match checked {
        Err(error) => Found { line: Line::told(DATABASE, &error), stands: false, is_ours: is_ours(&error) },
        Ok(found) if !found.faults.is_empty() => {
            let damage = format!("damaged: {}", found.faults.join(", "));
            let help = "stop the server and restore the latest backup with `freshk db restore`";
            fault(Line::fail(DATABASE, damage, help))
        }
        Ok(found) if found.schema < found.known => {
            let (found, known) = (found.schema, found.known);
            fault(Line::told(DATABASE, &OpenError::Older { path: path.to_owned(), found, known }))
        }
        Ok(found) => {
            let line = Line::ok(DATABASE, format!("whole, with schema {}", found.schema));
            Found { line, stands: true, is_ours: true }
        }
    }
}

/// Before the first start there is none.
fn missing(config: &Config) -> Line {
    match wiring::missing(config) {
        CliError::Missing(path) => {
            let found = format!("there is none at {}", path.display());
            Line::warn(DATABASE, found, "`freshk serve` makes it; or correct database.url")
        }
        lost => Line::told(DATABASE, &lost),
    }
}

/// Whether this user can write there; the server starts for nobody, root included, where the mode forbids it.
fn can_write(path: &Path) -> bool {
    let forbidden = path.metadata().is_ok_and(|found| found.permissions().readonly());
    !forbidden && access(path, Access::WRITE_OK).is_ok()
}

/// What lies beside a database, and is its owner's to write.
const COMPANIONS: [&str; 5] = ["", "-wal", "-shm", ".lock", ".secret"];

fn companions(path: &Path) -> impl Iterator<Item = (PathBuf, Metadata)> {
    COMPANIONS.into_iter().filter_map(|suffix| {
        let file = beside(path, suffix);
        let found = file.metadata().ok()?;
        Some((file, found))
    })
}

fn mode(path: &Path) -> Line {
    let open: Vec<_> = companions(path)
        .filter(|(_, found)| found.mode() & 0o077 != 0)
        .map(|(file, found)| (file.display().to_string(), found.mode() & 0o777))
        .collect();
    let Some((_, mode)) = open.first() else { return Line::ok("file mode", "the owner's alone") };
    let names: Vec<_> = open.iter().map(|(name, _)| name.as_str()).collect();
    Line::fail(
        "file mode",
        format!("{mode:o}: others can read people's numbers"),
        format!("chmod 600 {}", names.join(" ")),
    )
}

/// The server runs as the owner of the directory, as far as anybody can tell; a directory of root's own tells nothing.
fn owner(path: &Path) -> Line {
    const WHAT: &str = "file owner";
    let Ok(directory) = files::directory(path).metadata() else { return Line::ok(WHAT, "not known") };
    let Ok(database) = path.metadata() else { return Line::ok(WHAT, "not known") };
    let right = if directory.uid() == 0 { &database } else { &directory };
    let wrong: Vec<_> = companions(path)
        .filter(|(_, found)| found.uid() != right.uid())
        .map(|(file, _)| file.display().to_string())
        .collect();
    let (uid, gid) = (right.uid(), right.gid());
    if let Some(first) = wrong.first() {
        return Line::fail(
            WHAT,
            format!(
                "{first} does not belong to user {uid}, who owns {}",
                if directory.uid() == 0 { "the database" } else { "its directory" }
            ),
            format!("chown {uid}:{gid} {}", wrong.join(" ")),
        );
    }
    if uid != 0 && !may_write(&directory, uid) {
        return Line::fail(
            WHAT,
            format!("user {uid}, who owns the database, cannot write its directory"),
            format!("chown {uid}:{gid} {}", files::directory(path).display()),
        );
    }
    Line::ok(WHAT, format!("user {uid}, group {gid}"))
}

/// As far as the mode tells: of which groups a user is, it does not.
fn may_write(directory: &Metadata, uid: u32) -> bool {
    let bit = if directory.uid() == uid { 0o200 } else { 0o022 };
    directory.mode() & bit != 0
}

/// Which ids the next users get: a Django project beside this one must not give the same.
fn user_ids(path: &Path, users: &Users) -> Line {
    const WHAT: &str = "user ids";
    let last = match sqlite::look(path, |view| view.last_user_id()) {
        Ok(last) => last.map(|id| id.0),
        Err(error) => return Line::told(WHAT, &error),
    };
    let next = users.next_id(last);
    let found = format!("new users get ids from {next} on");
    if users.may_collide(next) {
        let first = users.first_id;
        let found = format!("{found}, which a Django project beside this one may give to its own users");
        Line::warn(
            WHAT,
            found,
            format!("set users.first_id = {first}, or {next} if there is no such project"),
        )
    } else {
        Line::ok(WHAT, found)
    }
}

fn log_of(path: &Path) -> u64 {
    beside(path, "-wal").metadata().map_or(0, |file| file.len())
}

fn wal(bytes: u64) -> Line {
    let size = ByteSize(bytes).to_string();
    if bytes <= LOG {
        Line::ok("WAL size", size)
    } else {
        Line::warn("WAL size", size, "find who holds the database open for long, and end that process")
    }
}

/// Before the first start there is none.
fn server(path: &Path) -> Line {
    const WHAT: &str = "server";
    let holder = match Holder::of(path) {
        Ok(Some(holder)) => holder,
        Ok(None) => return Line::ok(WHAT, "none runs on this database"),
        Err(error) => return Line::told(WHAT, &error),
    };
    let who = holder.pid.map_or_else(|| "a process".to_owned(), |pid| format!("process {pid}"));
    let here = FileId::of(path).ok().map(|id| id.to_string());
    if holder.served.is_some() && holder.served != here {
        return Line::fail(
            WHAT,
            format!("{who} has another file open than the one at {}", path.display()),
            "the database was deleted or replaced: look in the server's log for the copy that it saved, stop the \
             server, and restore that with `freshk db restore`",
        );
    }
    Line::ok(WHAT, format!("{who} holds the database"))
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
    let sealed = match sqlite::check_backup(path) {
        Ok(sealed) => sealed,
        Err(error) => {
            let words = error.to_string();
            let found = words.split_once("; ").map_or(words.as_str(), |(found, _)| found);
            return Line::fail(WHAT, found, "run `freshk db backup`, and have the disk looked at");
        }
    };
    let age: Duration = at.until(now);
    if age > settings.every * 2 {
        Line::fail(
            WHAT,
            format!("newest: {} old", human(age)),
            "see in the log why the server makes none; run `freshk db backup`",
        )
    } else if sealed {
        Line::ok(WHAT, format!("newest: {} old, verified", human(age)))
    } else {
        let found =
            format!("{} has no checksum: nobody can tell whether it is as it was made", path.display());
        Line::warn(WHAT, found, "run `freshk db backup`, which writes one beside it")
    }
}
