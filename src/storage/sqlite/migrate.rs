//! Bringing an older schema up to date: one transaction a step, after a backup that was opened and checked.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use super::connect::beside;
use super::open_error::{BackupError, OpenError, sqlite_error};
use crate::domain::Timestamp;

/// One step.
#[derive(Debug)]
pub(super) struct Migration {
    /// The `user_version` that it leads to: one more than the step before.
    pub(super) version: i64,
    /// What it does.
    pub(super) sql: &'static str,
}

/// All steps from the first schema on; `schema.sql` is where they lead.
pub(super) const MIGRATIONS: &[Migration] =
    &[Migration { version: 2, sql: include_str!("migrations/2.sql") }];

/// Takes the steps that are missing. If one fails it is undone, and those before it stand.
pub(super) fn run(
    conn: &Connection,
    path: &Path,
    migrations: &[Migration],
    now: Timestamp,
) -> Result<(), OpenError> {
    let told = |version| move |source| OpenError::Migration { path: path.to_owned(), version, source };
    let reached = version(conn).map_err(told(0))?;
    let mut missing = migrations.iter().filter(|step| step.version > reached).peekable();
    if let Some(first) = missing.peek() {
        let backup = backup_path(conn, path, first.version, now).map_err(told(first.version))?;
        back_up(conn, &backup).map_err(|source| OpenError::Backup { path: backup.clone(), source })?;
        tracing::info!(backup = %backup.display(), "the database was backed up before its schema changes");
    }
    for step in missing {
        take(conn, step).map_err(told(step.version))?;
        tracing::info!(schema = step.version, "the schema was brought up to date");
    }
    Ok(())
}

fn take(conn: &Connection, step: &Migration) -> rusqlite::Result<()> {
    // A table that others refer to can be rebuilt only so; the check below makes up for it.
    conn.pragma_update(None, "foreign_keys", false)?;
    let taken = take_unreferenced(conn, step);
    conn.pragma_update(None, "foreign_keys", true)?;
    taken
}

fn take_unreferenced(conn: &Connection, step: &Migration) -> rusqlite::Result<()> {
    let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    // Another process may have been faster.
    if version(conn)? >= step.version {
        return Ok(());
    }
    transaction.execute_batch(step.sql)?;
    transaction.pragma_update(None, "user_version", step.version)?;
    if transaction.prepare("PRAGMA foreign_key_check")?.exists([])? {
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY),
            None,
        ));
    }
    transaction.commit()
}

fn version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// `freshk.db.before-v2-20260101T000000Z.bak`
fn backup_path(conn: &Connection, path: &Path, version: i64, now: Timestamp) -> rusqlite::Result<PathBuf> {
    let instant: String =
        conn.query_row("SELECT strftime('%Y%m%dT%H%M%SZ', ?1, 'unixepoch')", [now.as_secs()], |row| {
            row.get(0)
        })?;
    Ok(beside(path, &format!(".before-v{version}-{instant}.bak")))
}

/// Copies the database to `backup`: under another name first, then read through, made durable and renamed, so that a
/// file of that name is a good one.
pub(super) fn back_up(conn: &Connection, backup: &Path) -> Result<(), BackupError> {
    let draft = beside(backup, ".part");
    write_draft(conn, &draft).and_then(|()| Ok(fs::rename(&draft, backup)?)).inspect_err(|_| {
        // What is left of it is of no use; that it cannot be deleted either changes nothing.
        drop(discard(&draft));
    })?;
    let directory = backup.parent().unwrap_or(backup);
    Ok(File::open(directory)?.sync_all()?)
}

/// Deletes a draft and its journal, where they are.
pub(super) fn discard(draft: &Path) -> io::Result<()> {
    for file in [draft.to_owned(), beside(draft, "-journal")] {
        match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Writes a copy, reads it through, and makes it durable.
pub(super) fn write_draft(conn: &Connection, draft: &Path) -> Result<(), BackupError> {
    // A journal that a kill left would be rolled back into the new draft.
    discard(draft)?;
    // VACUUM INTO writes into an empty file, and so keeps the mode that it was made with.
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(draft)?;
    let name = draft.to_str().ok_or(io::Error::from(io::ErrorKind::InvalidFilename))?;
    conn.execute("VACUUM INTO ?1", [name]).map_err(|error| copy_error(conn, error))?;
    let copy = Connection::open_with_flags(
        draft,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    let verdict: String = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(BackupError::Damaged);
    }
    drop(copy);
    Ok(file.sync_all()?)
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

#[cfg(test)]
#[path = "tests/migrate.rs"]
mod tests;
