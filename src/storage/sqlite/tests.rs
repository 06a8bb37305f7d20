//! What the tests of this room share.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;

use super::SqliteStore;
use super::open::{self, OpenOptions};
use super::writer::Job;
use crate::domain::clock::Times;
use crate::domain::session::{Lifetimes, Login, Session};
use crate::domain::{Mode, PhoneNumber, SessionId, Timestamp, UserId};
use crate::storage::{Engine as _, Locks, StoreResult, Tx, WriteJob};

mod killed;
mod plans;
mod rows;
mod store;

pub(super) const START: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// A directory, gone with the test.
pub(super) struct Bed {
    pub(super) dir: TempDir,
}

impl Bed {
    pub(super) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(super) fn options(&self) -> OpenOptions {
        OpenOptions::new(self.dir.path().join("freshk.db"), START)
    }

    /// A database of the first schema, as the first release wrote it.
    pub(super) fn first_schema(&self) -> Connection {
        let conn = Connection::open(self.options().path).unwrap();
        conn.execute_batch(include_str!("tests/schema_1.sql")).unwrap();
        conn
    }

    pub(super) fn store(&self) -> Arc<SqliteStore> {
        SqliteStore::open(self.options()).unwrap()
    }

    /// The writing connection alone, inside a transaction.
    pub(super) fn transaction(&self) -> Connection {
        let (conn, _) = open::open(&self.options()).unwrap();
        conn.execute_batch("BEGIN").unwrap();
        conn
    }

    /// A connection as any other program would make it.
    pub(super) fn stranger(&self) -> Connection {
        Connection::open(self.dir.path().join("freshk.db")).unwrap()
    }
}

pub(super) fn after(seconds: u64) -> Timestamp {
    START + Duration::from_secs(seconds)
}

pub(super) fn phone(number: u32) -> PhoneNumber {
    PhoneNumber::parse(&format!("+1555{number:07}"), 10).unwrap()
}

pub(super) fn session(chance: u8, user: UserId) -> Session {
    let day = Duration::from_hours(24);
    let lifetimes = Lifetimes { access: day, refresh: day, session: 10 * day };
    let login = Login { user, device: "Pixel".into(), ip: "203.0.113.7".into() };
    Session::open(
        SessionId::new(START, [chance; 10]),
        "0".repeat(32),
        login,
        &Times::right(START),
        &lifetimes,
    )
}

pub(super) fn users(conn: &Connection) -> i64 {
    conn.query_row("SELECT count(*) FROM users", [], |row| row.get(0)).unwrap()
}

struct TestJob<F> {
    locks: Locks,
    closure: F,
    reply: Sender<StoreResult<()>>,
}

impl<F: Fn(&mut dyn Tx) -> StoreResult<()> + Send> WriteJob for TestJob<F> {
    fn locks(&self) -> &Locks {
        &self.locks
    }

    fn run(&mut self, tx: &mut dyn Tx) -> StoreResult<()> {
        (self.closure)(tx)
    }

    fn undone(&mut self) {}

    fn finish(self: Box<Self>, committed: StoreResult<()>) {
        let _ = self.reply.send(committed);
    }
}

/// A write, and where its answer arrives.
pub(super) fn job<F>(closure: F) -> (Job, Receiver<StoreResult<()>>)
where
    F: Fn(&mut dyn Tx) -> StoreResult<()> + Send + 'static,
{
    job_under(Locks::none(), closure)
}

/// The same, with locks.
pub(super) fn job_under<F>(locks: Locks, closure: F) -> (Job, Receiver<StoreResult<()>>)
where
    F: Fn(&mut dyn Tx) -> StoreResult<()> + Send + 'static,
{
    let (reply, answer) = channel();
    (Box::new(TestJob { locks, closure, reply }), answer)
}

/// Queues a write.
pub(super) fn queue<F>(store: &SqliteStore, closure: F) -> Receiver<StoreResult<()>>
where
    F: Fn(&mut dyn Tx) -> StoreResult<()> + Send + 'static,
{
    let (job, answer) = job(closure);
    store.submit(job).unwrap();
    answer
}

/// Waits for an answer, though not for ever.
pub(super) fn wait<T>(answer: &Receiver<T>) -> T {
    answer.recv_timeout(Duration::from_mins(1)).expect("no answer within a minute")
}

/// Keeps the writer inside a write until the sender is used or dropped, so that what is queued meanwhile waits.
pub(super) fn hold(store: &SqliteStore) -> (Sender<()>, Receiver<StoreResult<()>>) {
    let (release, held) = channel();
    let (ready, begun) = channel();
    let answer = queue(store, move |_| {
        let _ = ready.send(());
        let _ = held.recv();
        Ok(())
    });
    wait(&begun);
    (release, answer)
}

/// Inserts one user.
pub(super) fn join(number: u32) -> impl Fn(&mut dyn Tx) -> StoreResult<()> + Send + 'static {
    move |tx| tx.insert_user(&phone(number), "retailer", START).map(drop)
}
