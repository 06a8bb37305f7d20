//! The database and its backups.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use super::Line;
use crate::cli::backups;
use crate::config::Config;
use crate::config::backup::Backup;
use crate::domain::Timestamp;
use crate::domain::time::human;
use crate::storage::sqlite;

/// A log past this is not being moved into the database as it should be.
const LOG: u64 = 256 * 1024 * 1024;

pub(super) fn lines(config: &Config, now: Timestamp) -> Vec<Line> {
    let path = config.database.url.path();
    let mut lines = Vec::new();
    if path.exists() {
        lines.extend([database(path), mode(path), log(path)]);
    } else {
        lines.push(Line::warn(
            "database",
            format!("there is none at {}", path.display()),
            "`freshk serve` makes it; or correct database.url",
        ));
    }
    lines.push(backup(&config.backup, now));
    lines
}

fn database(path: &Path) -> Line {
    match sqlite::check(path) {
        Err(error) => Line::fail("database", error.to_string(), "see the words beside"),
        Ok(found) if !found.faults.is_empty() => Line::fail(
            "database",
            format!("damaged: {}", found.faults.join("; ")),
            "stop the server and restore the latest backup with `freshk db restore`",
        ),
        Ok(found) if found.schema < found.known => Line::fail(
            "database",
            format!("schema {}, this freshk needs {}", found.schema, found.known),
            "run `freshk db migrate`",
        ),
        Ok(found) => Line::ok("database", format!("whole, with schema {}", found.schema)),
    }
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

fn log(path: &Path) -> Line {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    let bytes = Path::new(&name).metadata().map_or(0, |file| file.len());
    let size = bytesize::ByteSize(bytes);
    if bytes <= LOG {
        Line::ok("WAL size", size.to_string())
    } else {
        Line::warn(
            "WAL size",
            size.to_string(),
            "find who holds the database open for long, and end that process",
        )
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
    let Some((at, path)) = found.first() else {
        return Line::fail(
            WHAT,
            format!("none in {}", dir.display()),
            "run `freshk db backup`, and let the server run",
        );
    };
    let age: Duration = at.until(now);
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
