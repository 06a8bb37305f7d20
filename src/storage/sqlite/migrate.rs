//! Bringing an older schema up to date: one transaction a step, after a backup that was opened and checked.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::backup::{back_up, sweep};
use super::open_error::OpenError;
use crate::domain::Timestamp;
use crate::files::{Owner, beside, free_name};

/// One step.
#[derive(Debug)]
pub(super) struct Migration {
    /// The `user_version` that it leads to: one more than the step before.
    pub(super) version: i64,
    /// What it does.
    pub(super) sql: &'static str,
}

/// All steps from the first schema on; `schema.sql` is where they lead.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration { version: 2, sql: include_str!("migrations/2.sql") },
    Migration { version: 3, sql: include_str!("migrations/3.sql") },
    Migration { version: 4, sql: include_str!("migrations/4.sql") },
    Migration { version: 5, sql: include_str!("migrations/5.sql") },
    Migration { version: 6, sql: include_str!("migrations/6.sql") },
];

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
        let backup = free_name(backup_path(conn, path, first.version, now).map_err(told(first.version))?);
        let made = sweep(path, ".bak.part-").and_then(|()| Owner::beside(path)).map_err(Into::into);
        let made = made.and_then(|owner| back_up(conn, &backup, owner, None));
        made.map_err(|source| OpenError::Backup { path: backup.clone(), source })?;
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

#[cfg(test)]
#[path = "tests/migrate.rs"]
mod tests;
