//! `[backup]`: the server's own backups.

use std::path::PathBuf;
use std::time::Duration;

use super::command_line::CommandLine;
use super::key::{Key, Kind, Section};
use super::reader::Reader;
use crate::encryption::Recipient;

/// `[backup]`
#[derive(Clone, Debug)]
pub struct Backup {
    /// Where they go; `None`: the server makes none.
    pub dir: Option<PathBuf>,
    /// How old the latest may grow.
    pub every: Duration,
    /// How many are kept.
    pub keep: usize,
    /// What is run after each.
    pub command: Option<CommandLine>,
    /// For whom each is encrypted.
    pub encrypt_to: Option<Recipient>,
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

static COMMAND: Key = Key::new(
    "backup.command",
    Kind::Text(
        "a program and its arguments, such as: rclone copy {file} far:freshk; several steps go into a script of yours, or \
         into sh -c '…\"$1\"…' sh {file}",
    ),
    "",
    "What is run after each backup, to take it off this machine; {file} stands for the backup. No shell reads it; it has 30 \
     minutes.",
);

static ENCRYPT_TO: Key = Key::new(
    "backup.encrypt_to",
    Kind::Text("the public key that age-keygen prints, age1…"),
    "",
    "Whom backups are encrypted for, in age's format; the secret key is needed to restore one, and stays off this machine.",
);

pub(super) const SECTION: Section = Section {
    name: "backup",
    doc: "Backups of the database.",
    keys: &[&DIR, &EVERY, &KEEP, &COMMAND, &ENCRYPT_TO],
};

pub(super) fn read(reader: &mut Reader<'_>) -> Backup {
    let dir = reader.one(&DIR, |text| Ok(PathBuf::from(text)));
    let command = reader.one(&COMMAND, CommandLine::parse);
    let encrypt_to = reader.one(&ENCRYPT_TO, Recipient::parse);
    if command.is_some() && dir.is_none() && !reader.is_faulty(&DIR) {
        reader.fault(&COMMAND, "no backups are made, so it does nothing", "set backup.dir, or take it out");
    }
    Backup { dir, every: reader.duration(&EVERY), keep: reader.number(&KEEP), command, encrypt_to }
}
