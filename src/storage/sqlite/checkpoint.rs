//! Moving the write-ahead log into the database: copied on a connection of its own, while the writer goes on; begun anew or emptied by
//! the writer itself, between two commits. Another connection would have to wait for a gap between them, and the writer,
//! once it found itself kept out, for longer than that takes: a tenth of a second in each two under load.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;

use super::connect::{Role, log_of};
use super::watch::FileWatch;
use super::writer::Task;

/// Frames that the writer may be left with, which copies them while nobody else can write.
const LEFT_OVER: i64 = 256;

/// How often, a millisecond apart, the writer asks for a log that readers use, before it leaves it for the next time.
const TRIES: i32 = 20;

/// The same where the log holds somebody who was erased.
const TRIES_FOR_ERASURE: i32 = 200;

/// Where a log becomes too long.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogBounds {
    /// Frames, of a page each, past which it is begun anew: a log that is written over and over is faster than one that grows.
    pub(super) frames: i64,
    /// Bytes past which it is made empty.
    pub(super) bytes: u64,
}

/// What is to become of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reset {
    /// What was in it is written over.
    BeginAnew,
    /// The file becomes empty.
    Empty,
    /// The same, for the sake of somebody who was erased.
    Erase,
}

/// What the writer is asked to do with its log.
#[derive(Debug)]
pub(super) struct ResetLog {
    reset: Reset,
    /// Where it says whether that was done.
    done: SyncSender<rusqlite::Result<bool>>,
}

/// Copies what no reader needs any more; a log past its `bounds` is begun anew or made empty, and made empty where it holds somebody
/// who was erased.
///
/// The first pass stops nobody, so that little is left for the writer.
pub(super) fn run(
    files: &FileWatch,
    bounds: LogBounds,
    busy: Duration,
    writer: Option<SyncSender<Task>>,
) -> rusqlite::Result<()> {
    let is_erasure = files.take_erasure();
    let reset = move |log, frames| match (log, frames) {
        (1.., _) if is_erasure => Some(Reset::Erase),
        (log, _) if log > bounds.bytes => Some(Reset::Empty),
        (_, frames) if frames > bounds.frames => Some(Reset::BeginAnew),
        _ => None,
    };
    let done = copy_and_reset(files, reset, busy, writer);
    if is_erasure && !matches!(done, Ok(true)) {
        files.note_erasure();
    }
    done.map(drop)
}

/// What becomes of a log with so many bytes and frames is asked of `reset`. False where it was to be reset and was not.
fn copy_and_reset(
    files: &FileWatch,
    reset: impl FnOnce(u64, i64) -> Option<Reset>,
    busy: Duration,
    writer: Option<SyncSender<Task>>,
) -> rusqlite::Result<bool> {
    let conn = files.open(Role::Checkpoint, busy)?;
    let mut frames = copy(&conn)?;
    if frames > LEFT_OVER {
        frames = copy(&conn)?;
    }
    let log = log_of(files.path(), "-wal").metadata().map_or(0, |log| log.len());
    let Some(reset) = reset(log, frames) else { return Ok(true) };
    let (done, answer) = sync_channel(1);
    // A writer that has ended, or has more to do than it can, leaves it for the next round.
    let asked = writer.is_some_and(|writer| writer.try_send(Task::Reset(ResetLog { reset, done })).is_ok());
    if !asked {
        return Ok(false);
    }
    answer.recv().unwrap_or(Ok(false))
}

/// Copies what can be copied without stopping anybody: how many frames the log has.
fn copy(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(1))
}

impl ResetLog {
    /// Does it on the writer's connection, outside any transaction, and says whether it was done.
    pub(super) fn run(self, conn: &Connection) {
        let Self { reset, done } = self;
        // Whoever asked may have gone.
        let patience = match reset {
            Reset::BeginAnew | Reset::Empty => patient::<TRIES>,
            Reset::Erase => patient::<TRIES_FOR_ERASURE>,
        };
        let patiently = |conn: &Connection| conn.busy_handler(Some(patience));
        drop(done.try_send(with_busy(conn, patiently, |conn| reset.apply(conn))));
    }
}

impl Reset {
    /// Copies everything and resets the log, unless readers or another writer hold it; then it stays for later, and the answer is
    /// false.
    fn apply(self, conn: &Connection) -> rusqlite::Result<bool> {
        let pragma = match self {
            Self::BeginAnew => "PRAGMA wal_checkpoint(RESTART)",
            Self::Empty | Self::Erase => "PRAGMA wal_checkpoint(TRUNCATE)",
        };
        let busy: bool = conn.query_row(pragma, [], |row| row.get(0))?;
        if busy {
            tracing::debug!("the write-ahead log is in use and was left as it is");
        }
        Ok(!busy)
    }
}

/// Makes the log empty, unless somebody uses it: nobody waits for that. False where somebody does.
pub(super) fn empty(conn: &Connection) -> rusqlite::Result<bool> {
    with_busy(conn, |conn| conn.busy_timeout(Duration::ZERO), |conn| Reset::Empty.apply(conn))
}

/// Acts with another patience than the connection's own.
fn with_busy<T>(
    conn: &Connection,
    set: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    act: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let own: u32 = conn.query_row("PRAGMA busy_timeout", [], |row| row.get(0))?;
    let done = set(conn).and_then(|()| act(conn));
    conn.busy_timeout(Duration::from_millis(own.into()))?;
    done
}

fn patient<const TRIES: i32>(tries: i32) -> bool {
    let again = tries < TRIES;
    if again {
        thread::sleep(Duration::from_millis(1));
    }
    again
}
