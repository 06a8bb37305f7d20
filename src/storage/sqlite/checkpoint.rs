//! Moving the write-ahead log into the database, on a connection of its own.

use std::thread;
use std::time::Duration;

use rusqlite::Connection;

use super::connect::{Role, log_of};
use super::watch::FileWatch;

/// How often, a millisecond apart, the end of a log is asked for before it is left for the next time: the writer's
/// pauses are short, so one long wait would miss them, and readers must not keep it waiting for long.
const TRIES: i32 = 200;

/// Copies what no reader needs any more; where the log has grown past `truncate_past` bytes, or holds somebody who was erased,
/// makes it empty too.
///
/// The first pass stops nobody, so that little is left for the second, which stops the writer. Emptying the log looks
/// like a foreign write to the writer's connection; the cache is read anew, no harm is done.
pub(super) fn run(files: &FileWatch, truncate_past: u64, busy: Duration) -> rusqlite::Result<()> {
    let is_erasure = files.take_erasure();
    let emptied = empty_past(files, if is_erasure { 0 } else { truncate_past }, busy);
    if is_erasure && !matches!(emptied, Ok(true)) {
        files.note_erasure();
    }
    emptied.map(drop)
}

/// False where the log was to be emptied and is in use.
fn empty_past(files: &FileWatch, truncate_past: u64, busy: Duration) -> rusqlite::Result<bool> {
    let conn = files.open(Role::Checkpoint, busy)?;
    conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    let log = log_of(files.path(), "-wal").metadata().map_or(0, |log| log.len());
    if log > truncate_past {
        conn.busy_handler(Some(patient))?;
        return truncate(&conn);
    }
    Ok(true)
}

/// Copies everything and makes the log empty, unless readers or another writer hold it; then it stays for later, and the answer
/// is false.
pub(super) fn truncate(conn: &Connection) -> rusqlite::Result<bool> {
    let busy: bool = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy {
        tracing::debug!("the write-ahead log is in use and was left as it is");
    }
    Ok(!busy)
}

fn patient(tries: i32) -> bool {
    let again = tries < TRIES;
    if again {
        thread::sleep(Duration::from_millis(1));
    }
    again
}
