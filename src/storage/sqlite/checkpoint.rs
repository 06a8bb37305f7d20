//! Moving the write-ahead log into the database: copied on a connection of its own, while the writer goes on; begun anew or emptied by
//! the writer itself, between two commits. Another connection would have to wait for a gap between them, and the writer,
//! once it found itself kept out, for longer than that takes: a tenth of a second in each two under load.

use std::sync::Weak;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use rusqlite::Connection;

use super::connect::{Role, log_of};
use super::log::{Reset, ResetLog};
use super::watch::FileWatch;
use super::writer::Task;

/// Frames that the writer may be left with, which copies them while nobody can write.
const LEFT_OVER: i64 = 256;

/// How often what came meanwhile is copied, too, until no more comes than that.
const PASSES: u32 = 4;

/// Where a log becomes too long.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogBounds {
    /// Frames, of a page each, past which it is begun anew; the writer asks for that each time that it has grown by so many. A log
    /// that is written over and over is faster than one that grows.
    pub(super) frames: i64,
    /// Bytes past which it is made empty.
    pub(super) bytes: u64,
}

/// Copies what no reader needs any more; a log past its `bounds` is begun anew or made empty, and made empty where it holds somebody
/// who was erased.
///
/// The copying stops nobody, and little is left for the writer.
pub(super) fn run(
    files: &FileWatch,
    bounds: LogBounds,
    busy: Duration,
    writer: &Weak<SyncSender<Task>>,
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
    writer: &Weak<SyncSender<Task>>,
) -> rusqlite::Result<bool> {
    let conn = files.open(Role::Checkpoint, busy)?;
    let mut log = copy(&conn)?;
    let bytes = log_of(files.path(), "-wal").metadata().map_or(0, |log| log.len());
    let Some(reset) = reset(bytes, log.frames) else { return Ok(true) };
    for _ in 1..PASSES {
        let before = std::mem::replace(&mut log, copy(&conn)?);
        if log.frames - before.frames <= LEFT_OVER {
            break;
        }
    }
    if log.left > LEFT_OVER {
        // A reader needs it: the writer could not begin it anew, or would stop for all that is left once the reader has gone.
        return Ok(false);
    }
    let (task, answer) = ResetLog::new(reset);
    // A writer that has ended, or has more to do than it can, leaves it for the next round. None is kept alive by this.
    let asked = writer.upgrade().is_some_and(|writer| writer.try_send(Task::Reset(task)).is_ok());
    if !asked {
        return Ok(false);
    }
    answer.recv().unwrap_or(Ok(false))
}

/// How far a log is copied.
struct Copied {
    /// How many frames it has.
    frames: i64,
    /// How many of them could not be copied, since somebody reads what was there before them.
    left: i64,
}

/// Copies what can be copied without stopping anybody.
fn copy(conn: &Connection) -> rusqlite::Result<Copied> {
    conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        let (frames, copied): (i64, i64) = (row.get(1)?, row.get(2)?);
        Ok(Copied { frames, left: frames - copied })
    })
}
