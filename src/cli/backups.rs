//! The backups in `backup.dir`: their names tell their age.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

pub mod command;
pub mod drilled;
pub mod opened;

use super::database::{self, BackupError};
use crate::config::backup::Backup;
use crate::domain::Timestamp;
use crate::encryption::Recipient;
use crate::files::beside;

const FORM: &str = "freshk-%Y%m%dT%H%M%SZ.db";

/// What an encrypted one has behind it.
const ENCRYPTED: &str = ".age";

/// No backup takes longer.
const DAY: Duration = Duration::from_hours(24);

/// The file of a backup made at `now`: `freshk-20260101T000000Z.db`.
pub fn path(dir: &Path, now: Timestamp) -> PathBuf {
    let instant = jiff::Timestamp::from_millisecond(now.as_millis()).unwrap_or_default();
    dir.join(instant.strftime(FORM).to_string())
}

/// Whether the name of a backup says that it is encrypted.
pub fn is_encrypted(backup: &Path) -> bool {
    backup.extension().is_some_and(|extension| extension == "age")
}

/// Copies a database to `to`, encrypted where its name says so.
///
/// # Errors
/// [`BackupError`]; then there is no file of that name.
pub fn copy(database: &Path, to: &Path, recipient: Option<&Recipient>) -> Result<(), BackupError> {
    match recipient.filter(|_| is_encrypted(to)) {
        Some(recipient) => database::back_up(database, to, Some(&|from, to| recipient.encrypt(from, to))),
        None => database::back_up(database, to, None),
    }
}

/// The backups of a directory with their instants, the latest first; other files are none of ours.
///
/// # Errors
/// A directory that cannot be read.
pub fn all(dir: &Path) -> io::Result<Vec<(Timestamp, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if let Some(at) = entry.file_name().to_str().and_then(instant) {
            found.push((at, entry.path()));
        }
    }
    found.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    Ok(found)
}

fn instant(name: &str) -> Option<Timestamp> {
    let name = name.strip_suffix(ENCRYPTED).unwrap_or(name);
    let zoned = DateTime::strptime(FORM, name).ok()?.to_zoned(TimeZone::UTC).ok()?;
    Some(Timestamp::from_millis(zoned.timestamp().as_millisecond()))
}

/// The backups made before or at `now`, the latest first. One that a wrong clock dated ahead says nothing of when it was
/// made: it keeps none from being made, and none from being kept.
///
/// # Errors
/// A directory that cannot be read.
pub fn until(dir: &Path, now: Timestamp) -> io::Result<Vec<(Timestamp, PathBuf)>> {
    let mut found = all(dir)?;
    found.retain(|(at, _)| at.as_secs() <= now.as_secs());
    Ok(found)
}

/// Makes a backup if the latest is `backup.every` old, and lets those beyond `backup.keep` go; gives the one that was made.
///
/// # Errors
/// As [`make`].
pub fn make_if_due(
    database: &Path,
    settings: &Backup,
    now: Timestamp,
) -> Result<Option<PathBuf>, BackupError> {
    let Some(dir) = &settings.dir else { return Ok(None) };
    let due = until(dir, now)?.first().is_none_or(|(latest, _)| latest.until(now) >= settings.every);
    if due { make(database, dir, settings, now).map(Some) } else { Ok(None) }
}

/// The latest backup of a directory, whatever its instant; `None` also where the directory cannot be read.
pub fn latest(dir: &Path) -> Option<PathBuf> {
    all(dir).ok()?.into_iter().next().map(|(_, path)| path)
}

/// Makes a backup in `dir`, and lets those beyond `backup.keep` go, and what was left of one that was killed.
///
/// # Errors
/// [`BackupError`]; then nothing was deleted that could have been restored, unless it is [`BackupError::Old`].
pub fn make(database: &Path, dir: &Path, settings: &Backup, now: Timestamp) -> Result<PathBuf, BackupError> {
    // First: their room may be what this one needs.
    for draft in abandoned(dir, now)? {
        std::fs::remove_file(draft)?;
    }
    let suffix = if settings.encrypt_to.is_some() { ENCRYPTED } else { "" };
    let made = free_path(dir, now, suffix);
    copy(database, &made, settings.encrypt_to.as_ref())?;
    for (_, old) in until(dir, now)?.into_iter().skip(settings.keep) {
        let gone = std::fs::remove_file(&old).and_then(|()| remove_if_there(&database::checksum_of(&old)));
        gone.map_err(|source| BackupError::Old { made: made.clone(), old, source })?;
    }
    Ok(made)
}

/// The name of a backup made now, or in the next seconds where that is taken.
fn free_path(dir: &Path, now: Timestamp, suffix: &str) -> PathBuf {
    let is_free =
        |path: &PathBuf| [path, &beside(path, ENCRYPTED)].iter().all(|path| path.symlink_metadata().is_err());
    let mut paths = (0..60).map(|second| path(dir, now + Duration::from_secs(second)));
    let free = paths.find(is_free).unwrap_or_else(|| path(dir, now));
    beside(&free, suffix)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What is left of backups that were killed. A younger draft may be one that is being written.
fn abandoned(dir: &Path, now: Timestamp) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let begun = name.to_str().and_then(|name| {
            let (made, _) = name.split_once(".part").or_else(|| {
                // A checksum is written before its backup has its name.
                let backup = dir.join(name.strip_suffix(".sha256")?);
                (!backup.exists()).then_some((name, ""))
            })?;
            instant(made.strip_suffix(".sha256").unwrap_or(made))
        });
        if begun.is_some_and(|begun| begun.until(now) >= DAY) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::sqlite;
    use std::fs::File;

    /// A database, and an empty directory for its backups.
    struct SetUp {
        dir: tempfile::TempDir,
        database: PathBuf,
        backups: PathBuf,
        now: Timestamp,
    }

    impl SetUp {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let (database, backups) = (dir.path().join("freshk.db"), dir.path().join("backups"));
            std::fs::create_dir(&backups).unwrap();
            let now = Timestamp::from_millis(1_767_225_600_000);
            drop(sqlite::SqliteStore::open(sqlite::OpenOptions::new(&database, now)).unwrap());
            Self { dir, database, backups, now }
        }
    }

    fn keeping(keep: usize) -> Backup {
        Backup { dir: None, every: DAY, keep, command: None, encrypt_to: None }
    }

    #[test]
    fn names_tell_instants_and_other_files_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::from_millis(1_767_225_600_000);
        assert!(path(dir.path(), now).ends_with("freshk-20260101T000000Z.db"));
        for name in ["freshk-20260101T000000Z.db", "freshk-20251231T000000Z.db.age", "freshk-x.db", "my.db"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let found: Vec<_> = all(dir.path()).unwrap().into_iter().map(|(at, _)| at).collect();
        assert_eq!(found, [now, now - Duration::from_hours(24)]);
    }

    #[test]
    fn a_backup_that_a_wrong_clock_dated_ahead_keeps_none_from_being_made() {
        let SetUp { dir: _dir, database, backups, now } = SetUp::new();
        let ahead = backups.join("freshk-20991231T000000Z.db");
        std::fs::write(&ahead, "").unwrap();
        let every = Duration::from_hours(24);
        let settings = Backup { dir: Some(backups.clone()), every, ..keeping(1) };
        assert!(make_if_due(&database, &settings, now).unwrap().is_some());
        assert!(path(&backups, now).exists(), "the fresh one is kept");
        assert!(make_if_due(&database, &settings, now + Duration::from_hours(1)).unwrap().is_none());
        assert!(make_if_due(&database, &settings, now + every).unwrap().is_some());
        assert!(!path(&backups, now).exists() && path(&backups, now + every).exists());
        assert!(ahead.exists(), "nobody knows when it was made");
    }

    #[test]
    fn what_a_kill_left_goes_with_the_next_backup_once_nobody_can_be_writing_it() {
        let SetUp { dir: _dir, database, backups, now } = SetUp::new();
        let left = [
            "freshk-20251230T000000Z.db.part-00112233aabbccdd",
            "freshk-20251230T000000Z.db.part-00112233aabbccdd-journal",
            "freshk-20251230T000000Z.db.sha256.part-00112233aabbccdd",
            "freshk-20251230T000000Z.db.sha256",
            "freshk-20251230T000000Z.db.age.part-00112233aabbccdd",
            "freshk-20251230T000000Z.db.age.sha256",
        ];
        let stay = ["freshk-20251231T120000Z.db.part-0", "mine.db.part-0", "mine.db.part-0-journal"];
        for name in left.into_iter().chain(stay) {
            std::fs::write(backups.join(name), "").unwrap();
        }
        make(&database, &backups, &keeping(1), now).unwrap();
        assert!(left.iter().all(|name| !backups.join(name).exists()));
        assert!(stay.iter().all(|name| backups.join(name).exists()));
    }

    #[test]
    fn s41_a_name_that_is_taken_is_passed_over_and_a_checksum_goes_with_its_backup() {
        let SetUp { dir, database, backups, now } = SetUp::new();
        std::os::unix::fs::symlink(dir.path().join("theirs"), path(&backups, now)).unwrap();
        let made = make(&database, &backups, &keeping(7), now).unwrap();
        assert_eq!(made, path(&backups, now + Duration::from_secs(1)));
        assert!(!dir.path().join("theirs").exists());
        assert!(sqlite::check_backup(&made).unwrap(), "with a checksum");
        make(&database, &backups, &keeping(1), now + DAY).unwrap();
        assert!(!made.exists() && !sqlite::checksum_of(&made).exists());
    }

    #[test]
    fn s31_where_an_encrypted_backup_goes_there_is_no_plain_copy_at_any_moment() {
        let SetUp { dir, database, backups, .. } = SetUp::new();
        // SQLite's own files beside the database may go meanwhile.
        let is_plain =
            |path: PathBuf| std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3"));
        let plain_in = |dir: &Path| {
            let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
            files.filter(|path| path.is_file()).filter(|path| is_plain(path.clone())).count()
        };
        let left = dir.path().join("freshk.db.plain-00112233aabbccdd");
        std::fs::write(&left, "of one that was killed").unwrap();
        File::options().append(true).open(&left).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        let before = plain_in(dir.path());
        let made = backups.join("freshk-20260101T000000Z.db.age");
        let cover = |from: &File, _: &File| {
            assert_eq!((plain_in(&backups), plain_in(dir.path())), (0, before + 1));
            assert!(from.metadata()?.len() > 0);
            Ok(())
        };
        database::back_up(&database, &made, Some(&cover)).unwrap();
        assert!(made.exists() && !left.exists());
        assert_eq!(plain_in(dir.path()), before);
    }

    #[test]
    fn s31_one_flipped_bit_is_noticed() {
        let SetUp { dir: _dir, database, backups, now } = SetUp::new();
        let made = make(&database, &backups, &keeping(7), now).unwrap();
        let good = std::fs::read(&made).unwrap();
        for at in [100, good.len() / 2, good.len() - 1] {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            std::fs::write(&made, bytes).unwrap();
            assert!(sqlite::check_backup(&made).is_err(), "byte {at}");
        }
        std::fs::write(&made, &good).unwrap();
        assert!(sqlite::check_backup(&made).unwrap());
        std::fs::remove_file(sqlite::checksum_of(&made)).unwrap();
        assert!(!sqlite::check_backup(&made).unwrap());
    }
}
