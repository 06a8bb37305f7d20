//! The database, who serves it, and its backups.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use rustix::fs::{Access, access};

use super::line::Line;
use super::room::{self, Need};
use super::{drill, systemd};
use crate::cli::database::{DatabaseFile, OpenError, check_backup, verify};
use crate::cli::engine::Place;
use crate::cli::{CliError, backups, disk};
use crate::config::Config;
use crate::config::backup::Backup;
use crate::config::users::Users;
use crate::domain::Timestamp;
use crate::domain::time::humanize_wait;

const DATABASE: &str = "database";

/// A log past this is not being moved into the database as it should be.
const LOG: u64 = 256 * 1024 * 1024;

/// A larger database takes longer to read through than somebody who looks at a checklist waits.
const READ_THROUGH: u64 = 128 * 1024 * 1024;

/// What was found of the database.
struct Found {
    line: Line,
    /// It is ours, and can be read.
    is_readable: bool,
    /// It is not another program's file, named by mistake.
    is_ours: bool,
}

/// The lines, and whether the database can be read.
pub(super) fn lines(
    config: &Config,
    file: &DatabaseFile,
    place: &Place,
    now: Timestamp,
) -> (Vec<Line>, bool) {
    let Found { line, is_readable, is_ours } = database(file);
    let mut lines = vec![line];
    let log = file.log_bytes();
    if is_ours && !file.is_missing() {
        lines.extend([mode(file), owner(file), wal(log)]);
    }
    if is_readable {
        lines.push(user_ids(place, &config.users));
    }
    let (path, bytes) = (file.path(), file.bytes().saturating_add(log));
    let backups = config.backup.dir.as_deref().filter(|dir| dir.exists());
    let elsewhere = backups.filter(|dir| !disk::is_one(path, dir).unwrap_or(true));
    // An encrypted backup is made of a plain copy beside the database.
    let here = match (&config.backup.encrypt_to, backups, elsewhere) {
        (Some(_), Some(_), None) => Need::TwoCopies(bytes),
        _ => Need::Copy(bytes),
    };
    lines.extend([room::line("free disk", path, here), server(file), backup(&config.backup, now)]);
    lines.extend(drill::line(&config.backup, now));
    lines.extend(elsewhere.map(|dir| room::line("backup disk", dir, Need::Copy(bytes))));
    (lines, is_readable)
}

fn database(file: &DatabaseFile) -> Found {
    let (path, directory) = (file.path(), file.directory());
    let fault = |line| Found { line, is_readable: false, is_ours: true };
    if !directory.is_dir() {
        return fault(match systemd::makes(directory) {
            Some(unit) => Line::warn(
                DATABASE,
                format!("{} does not exist yet; systemd makes it when it starts {unit}", directory.display()),
                format!("start the server: systemctl start {unit}"),
            ),
            None => Line::told(DATABASE, &OpenError::MissingDirectory { directory: directory.to_owned() }),
        });
    }
    if file.is_missing() {
        return fault(missing(file));
    }
    let is_ours = |error: &OpenError| {
        !matches!(error, OpenError::NotADatabase { .. } | OpenError::Foreign { .. } | OpenError::Newer { .. })
    };
    let is_large = file.bytes() > READ_THROUGH;
    let checked = if is_large { file.glance() } else { file.check() };
    // Whose file it is comes first: nobody should make a stranger's file writable.
    let refuses = [directory, path].into_iter().find(|place| !can_write(place));
    if let Some(place) = refuses
        && checked.as_ref().err().is_none_or(is_ours)
    {
        return fault(Line::told(DATABASE, &OpenError::ReadOnly { path: place.to_owned() }));
    }
    match checked {
        Err(error) => {
            Found { line: Line::told(DATABASE, &error), is_readable: false, is_ours: is_ours(&error) }
        }
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
            let what = if is_large {
                let size = ByteSize(file.bytes());
                format!(
                    "of {size} only the head was read, schema {}; `freshk db check` reads all, as each backup does",
                    found.schema
                )
            } else {
                format!("integrity check passed, schema {}", found.schema)
            };
            let line = Line::ok(DATABASE, what);
            Found { line, is_readable: true, is_ours: true }
        }
    }
}

/// Before the first start there is none.
fn missing(file: &DatabaseFile) -> Line {
    match file.missing() {
        CliError::Missing(path) => {
            let found = format!("there is none at {}", path.display());
            Line::warn(DATABASE, found, "`freshk serve` makes it; or correct database.url")
        }
        lost => Line::told(DATABASE, &lost),
    }
}

/// Whether this user can write there; the server starts for nobody, root included, where the mode forbids it.
pub(super) fn can_write(path: &Path) -> bool {
    let forbidden = path.metadata().is_ok_and(|found| found.permissions().readonly());
    !forbidden && access(path, Access::WRITE_OK).is_ok()
}

fn companions(file: &DatabaseFile) -> impl Iterator<Item = (PathBuf, Metadata)> {
    file.companions().filter_map(|file| {
        let found = file.metadata().ok()?;
        Some((file, found))
    })
}

fn mode(file: &DatabaseFile) -> Line {
    let open: Vec<_> = companions(file)
        .filter(|(_, found)| found.mode() & 0o077 != 0)
        .map(|(file, found)| (file.display().to_string(), found.mode() & 0o777))
        .collect();
    let Some((_, mode)) = open.first() else { return Line::ok("file mode", "readable by the owner alone") };
    let names: Vec<_> = open.iter().map(|(name, _)| name.as_str()).collect();
    Line::fail(
        "file mode",
        format!("{mode:o}: other users of this machine can read phone numbers"),
        format!("chmod 600 {}", names.join(" ")),
    )
}

/// The server runs as the owner of the directory, as far as anybody can tell; a directory of root's own tells nothing.
fn owner(file: &DatabaseFile) -> Line {
    const WHAT: &str = "file owner";
    let Ok(directory) = file.directory().metadata() else { return Line::ok(WHAT, "not known") };
    let Ok(database) = file.path().metadata() else { return Line::ok(WHAT, "not known") };
    let right = if directory.uid() == 0 { &database } else { &directory };
    let wrong: Vec<_> = companions(file)
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
            format!("chown {uid}:{gid} {}", file.directory().display()),
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
pub(super) fn user_ids(place: &Place, users: &Users) -> Line {
    const WHAT: &str = "user ids";
    let last = match place.look(|view| view.last_user_id()) {
        Ok(last) => last,
        Err(error) => return Line::told(WHAT, &error),
    };
    let next = users.first().next(last).0;
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

fn wal(bytes: u64) -> Line {
    let size = ByteSize(bytes).to_string();
    if bytes <= LOG {
        Line::ok("WAL size", size)
    } else {
        Line::warn(
            "WAL size",
            size,
            "find the process that keeps a transaction open (`fuser` lists who has the file), and end that process",
        )
    }
}

/// Before the first start there is none.
fn server(file: &DatabaseFile) -> Line {
    const WHAT: &str = "server";
    let holder = match file.holder() {
        Ok(Some(holder)) => holder,
        Ok(None) => return Line::ok(WHAT, "none runs on this database"),
        Err(error) => return Line::told(WHAT, &error),
    };
    let who = holder.pid.map_or_else(|| "a process".to_owned(), |pid| format!("process {pid}"));
    if holder.served.is_some() && holder.served != file.identity() {
        return Line::fail(
            WHAT,
            format!("{who} has another file open than the one at {}", file.path().display()),
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
            "none are made: backup.dir is not set",
            "set backup.dir, or let Litestream replicate (docs/litestream.md)",
        );
    };
    let found = match backups::until(dir, now) {
        Ok(found) => found,
        Err(error) => {
            return Line::fail(
                WHAT,
                format!("{}: {error}", dir.display()),
                "create the directory, and let the user that runs freshk write it",
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
    // An encrypted one can be opened elsewhere alone.
    let looked = if backups::is_encrypted(path) { verify(path) } else { check_backup(path) };
    let has_checksum = match looked {
        Ok(has_checksum) => has_checksum,
        Err(error) => {
            return Line::fail(WHAT, error.to_string(), "run `freshk db backup`, and check the disk");
        }
    };
    let age: Duration = at.until(now);
    if age > settings.every * 2 {
        Line::fail(
            WHAT,
            format!("newest backup: {} old", humanize_wait(age)),
            "see the log for why the server makes none; run `freshk db backup`",
        )
    } else if has_checksum {
        Line::ok(WHAT, format!("newest backup: {} old, verified", humanize_wait(age)))
    } else {
        let found =
            format!("{} has no checksum, so a change since it was made would not be noticed", path.display());
        Line::warn(WHAT, found, "run `freshk db backup`, which writes one beside it")
    }
}
