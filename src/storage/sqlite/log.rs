//! The writer's end of its write-ahead log: how long it is, and begun anew or emptied on the writer's own connection, between two
//! commits.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::Notify;

use super::fault::fault;

/// How often, a millisecond apart, the writer asks for a log that readers use, before it leaves it for the next time.
const TRIES: i32 = 20;

/// The same where the log holds somebody who was erased.
const TRIES_FOR_ERASURE: i32 = 200;

/// Wakes who moves the log once it has grown by so many frames, of a page each, and once more for each so many that it grows by
/// without being begun anew.
#[derive(Debug)]
pub(super) struct Growth {
    step: i64,
    /// How long it was when somebody was woken last.
    told: i64,
    long: Arc<Notify>,
}

impl Growth {
    pub(super) const fn new(step: i64, long: Arc<Notify>) -> Self {
        Self { step, told: 0, long }
    }

    /// Looks how long the log is, after a commit on the writer's connection.
    pub(super) fn watch(&mut self, conn: &Connection) {
        match frames(conn) {
            Ok(frames) => self.note(frames),
            Err(error) => drop(fault(&error)),
        }
    }

    fn note(&mut self, frames: i64) {
        // It was begun anew.
        if frames < self.told {
            self.told = 0;
        }
        if frames.saturating_sub(self.told) > self.step {
            self.told = frames;
            self.long.notify_one();
        }
    }
}

/// How many frames the log has; nothing is copied.
fn frames(conn: &Connection) -> rusqlite::Result<i64> {
    conn.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?.query_row([], |row| row.get(1))
}

/// What is to become of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reset {
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

impl ResetLog {
    /// What to ask the writer for, and where its answer comes.
    pub(super) fn new(reset: Reset) -> (Self, Receiver<rusqlite::Result<bool>>) {
        let (done, answer) = sync_channel(1);
        (Self { reset, done }, answer)
    }

    /// Does it on the writer's connection, outside any transaction, and says whether it was done.
    pub(super) fn run(self, conn: &Connection) {
        let Self { reset, done } = self;
        let patience = match reset {
            Reset::BeginAnew | Reset::Empty => patient::<TRIES>,
            Reset::Erase => patient::<TRIES_FOR_ERASURE>,
        };
        let patiently = |conn: &Connection| conn.busy_handler(Some(patience));
        // Nobody may wait for the answer any more.
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
