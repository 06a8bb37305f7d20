//! Copies of a database: written aside, read through, with a checksum beside them, and only then under their name.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use sha2::{Digest as _, Sha256};

use super::open_error::{BackupError, OpenError, file_error, sqlite_error};
use crate::domain::Timestamp;
use crate::files::{self, Draft, Owner, beside};

/// What the name of a database that a restore replaced goes on with, before and behind the instant in milliseconds.
const REPLACED: (&str, &str) = (".before-restore-", ".bak");

/// How many databases that restores replaced are kept, however old they are.
const REPLACED_KEPT: usize = 3;

/// For how long each of them is kept: who tries one backup after another replaces the newest data first.
const REPLACED_FOR: Duration = Duration::from_hours(7 * 24);

/// What is hashed at a time.
const CHUNK: usize = 256 * 1024;

/// A digest in hexadecimal digits, as `sha256sum` writes it.
const DIGITS: usize = 64;

/// Writes a file into another one in another form, such as encrypted.
pub type Cover<'a> = &'a dyn Fn(&File, &File) -> io::Result<()>;

/// Copies the database to `to`, for `owner`: under another name first, then read through, made durable and renamed, so
/// that a file of that name is a good one; where there is a cover, in its form alone. Its checksum stands beside it before
/// it has its name.
pub(super) fn back_up(
    conn: &Connection,
    to: &Path,
    owner: Owner,
    cover: Option<Cover<'_>>,
) -> Result<(), BackupError> {
    let draft = Draft::beside(to, "part", Some(owner))?;
    match cover {
        None => write_copy(conn, &draft)?,
        // Where the backup goes nobody may ever read a plain copy; beside the database lies one already.
        Some(cover) => {
            let database = Path::new(conn.path().unwrap_or_default());
            let plain = Draft::beside(database, PLAIN, Some(owner))?;
            sweep_older(database, &plain)?;
            write_copy(conn, &plain)?;
            let mut file = plain.file();
            file.rewind()?;
            cover(file, draft.file())?;
        }
    }
    let seal = checksum_of(to);
    seal_with(&digest(draft.file())?, to, &seal, owner)?;
    draft.replace(to).inspect_err(|_| {
        // A checksum of nothing; that it cannot be deleted changes nothing.
        drop(fs::remove_file(&seal));
    })?;
    Ok(())
}

/// What the name of the copy that a cover reads goes on with.
const PLAIN: &str = "plain";

/// No backup takes longer.
const LONGEST: Duration = Duration::from_hours(24);

/// Deletes what backups that were killed a day or more before `draft` was made have left for their covers.
fn sweep_older(database: &Path, draft: &Draft) -> io::Result<()> {
    let now = draft.file().metadata()?.modified()?;
    sweep_where(database, &format!(".{PLAIN}-"), |left| {
        left.modified().is_ok_and(|made| now.duration_since(made).is_ok_and(|age| age >= LONGEST))
    })
}

/// Where the checksum of a backup stands.
pub fn checksum_of(backup: &Path) -> PathBuf {
    beside(backup, ".sha256")
}

/// Compares a backup with its checksum; false where there is none to compare with.
///
/// # Errors
/// [`OpenError::Checksum`] where they differ, and others where one of them cannot be read.
pub fn verify(backup: &Path) -> Result<bool, OpenError> {
    let seal = checksum_of(backup);
    let text = match fs::read_to_string(&seal) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => String::new(),
        Err(error) => return Err(file_error(&seal, &error)),
    };
    let found = File::open(backup).and_then(|file| digest(&file)).map_err(|e| file_error(backup, &e))?;
    if text.get(..DIGITS).is_some_and(|expected| expected.eq_ignore_ascii_case(&found)) {
        return Ok(true);
    }
    Err(OpenError::Checksum { path: backup.to_owned(), checksum: seal })
}

/// Writes a line that `sha256sum --check` understands.
fn seal_with(digest: &str, backup: &Path, seal: &Path, owner: Owner) -> io::Result<()> {
    let draft = Draft::beside(seal, "part", Some(owner))?;
    let name = backup.file_name().unwrap_or_default();
    draft.file().write_all(format!("{digest}  {}\n", name.display()).as_bytes())?;
    draft.replace(seal)
}

fn digest(mut file: &File) -> io::Result<String> {
    file.rewind()?;
    let (mut hash, mut chunk) = (Sha256::new(), vec![0; CHUNK]);
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            count => hash.update(&chunk[..count]),
        }
    }
    Ok(data_encoding::HEXLOWER.encode(&hash.finalize()))
}

/// Writes a copy into a draft, reads it through, and makes it durable.
pub(super) fn write_copy(conn: &Connection, draft: &Draft) -> Result<(), BackupError> {
    let name = draft.path().to_str().ok_or(io::Error::from(io::ErrorKind::InvalidFilename))?;
    // It writes into an empty file, and so keeps mode and owner that it was made with.
    conn.execute("VACUUM INTO ?1", [name]).map_err(|error| {
        // It leaves this where the disk is full; that it cannot be deleted changes nothing.
        drop(fs::remove_file(beside(draft.path(), "-journal")));
        copy_error(conn, error)
    })?;
    let copy = Connection::open_with_flags(
        draft.path(),
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    let verdict: String = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(BackupError::Damaged);
    }
    drop(copy);
    Ok(draft.file().sync_all()?)
}

/// Which of the two files a failure to copy is about.
fn copy_error(conn: &Connection, error: rusqlite::Error) -> BackupError {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked,
        ) => sqlite_error(Path::new(conn.path().unwrap_or_default()), &error).into(),
        _ => error.into(),
    }
}

/// Backups that stand beside a database, and copies that were saved when it was lost: each says that there was one.
pub(super) fn any_beside(database: &Path) -> Option<PathBuf> {
    let files = files_beside(database).ok()?;
    let is_copy = |rest: &str| rest.starts_with(".before-") || rest.starts_with(".rescue-");
    files.into_iter().find(|(rest, _)| is_copy(rest)).map(|(_, path)| path)
}

/// What stands behind the name of a database that was replaced at `now`.
pub(super) fn replaced_at(now: Timestamp) -> String {
    format!("{}{}{}", REPLACED.0, now.as_millis(), REPLACED.1)
}

/// Deletes the databases that restores replaced, beyond the latest and once they are old, with their logs; gives those that
/// went. One that cannot be deleted stays.
pub(super) fn delete_replaced(database: &Path, now: Timestamp) -> Vec<PathBuf> {
    let mut found: Vec<_> = files_beside(database)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(rest, path)| {
            let name = rest.strip_prefix(REPLACED.0)?.strip_suffix(REPLACED.1)?;
            // Random digits stand behind the instant where its name was taken.
            let millis = name.split('-').next()?.parse().ok()?;
            path.symlink_metadata().ok().filter(fs::Metadata::is_file)?;
            Some((Timestamp::from_millis(millis), path))
        })
        .collect();
    found.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let old = found.into_iter().skip(REPLACED_KEPT).filter(|(at, _)| at.until(now) > REPLACED_FOR);
    let gone = old.filter(|(_, path)| fs::remove_file(path).is_ok()).map(|(_, path)| path);
    gone.inspect(|path| {
        for log in ["-wal", "-shm"] {
            drop(fs::remove_file(beside(path, log)));
        }
    })
    .collect()
}

/// Deletes the drafts that restores or migrations left when they were killed: nobody else makes files whose names go on
/// with `mark` and digits, and whoever deletes them holds the lock.
pub(super) fn sweep(database: &Path, mark: &str) -> io::Result<()> {
    sweep_where(database, mark, |_| true)
}

/// The same, of those for which `is_over` holds.
fn sweep_where(database: &Path, mark: &str, is_over: impl Fn(&Metadata) -> bool) -> io::Result<()> {
    for (rest, path) in files_beside(database)? {
        let draft = rest.strip_suffix("-journal").unwrap_or(&rest);
        let is_left =
            draft.rsplit_once(mark).is_some_and(|(_, digits)| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        // What is no file of ours stays: its name is passed over.
        if is_left && path.symlink_metadata().is_ok_and(|found| found.is_file() && is_over(&found)) {
            drop(fs::remove_file(path));
        }
    }
    Ok(())
}

/// The files whose names begin with that of a database, each with the rest of its name.
fn files_beside(database: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let name = database.file_name().unwrap_or_default().to_string_lossy();
    let mut found = Vec::new();
    for entry in fs::read_dir(files::directory(database))? {
        let path = entry?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        if let Some(rest) = file.strip_prefix(&*name) {
            found.push((rest.to_owned(), path));
        }
    }
    Ok(found)
}
