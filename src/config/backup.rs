//! `[backup]`: the server's own backups.

use std::path::PathBuf;
use std::time::Duration;

use super::key::{Key, Kind, Section};
use super::reader::Reader;

/// `[backup]`
#[derive(Clone, Debug)]
pub struct Backup {
    /// Where they go; `None`: the server makes none.
    pub dir: Option<PathBuf>,
    /// How old the latest may grow.
    pub every: Duration,
    /// How many are kept.
    pub keep: usize,
}

pub(super) static DIR: Key = Key::new(
    "backup.dir",
    Kind::Text("a directory that exists, such as /var/backups/freshk"),
    "",
    "Where the server's own backups go, checked before they get their name; best on another disk. Not set: none are made.",
);
static EVERY: Key = Key::new(
    "backup.every",
    Kind::Duration { min: "1m", max: "30d" },
    "1d",
    "How often the server makes one.",
);
static KEEP: Key = Key::new(
    "backup.keep",
    Kind::Number { min: 1, max: 10_000 },
    "7",
    "How many of them are kept; the oldest goes.",
);

pub(super) const SECTION: Section =
    Section { name: "backup", doc: "Backups of the database.", keys: &[&DIR, &EVERY, &KEEP] };

pub(super) fn read(reader: &mut Reader<'_>) -> Backup {
    let dir = reader.one(&DIR, |text| Ok(PathBuf::from(text)));
    Backup { dir, every: reader.duration(&EVERY), keep: reader.number(&KEEP) }
}
