//! The threads that write, each with a connection of its own. One write is one transaction.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing::Span;

use super::ahead;
use super::answers::Question;
use super::connect::{Connector, Refused};
use super::connection::Connection;
use super::fault::fault;
use super::keys::Taken;
use super::memory::Memory;
use super::queue::Queue;
use super::tx::{PostgresTx, Witness, first};
use crate::clock::Stopwatch;
use crate::storage::cache::Touched;
use crate::storage::{CommitWatch, StoreError, StoreResult, WriteJob};

/// A write in the queue, with the request that it belongs to: what it logs, a panic included, has that one's name.
pub(super) struct Queued {
    job: Box<dyn WriteJob>,
    locks: Vec<Taken>,
    span: Span,
}

impl Queued {
    /// Of the request that is at work.
    pub(super) fn new(job: Box<dyn WriteJob>, locks: Vec<Taken>) -> Self {
        Self { job, locks, span: Span::current() }
    }
}

/// What the writing threads share.
pub(super) struct Surroundings {
    pub(super) queue: Queue<Queued>,
    pub(super) connector: Connector,
    pub(super) memory: Arc<Memory>,
    pub(super) commits: OnceLock<CommitWatch>,
}

/// How often a new connection is tried to learn what became of a commit, and how long between.
const RESOLVES: u32 = 5;
const RESOLVE_AGAIN: Duration = Duration::from_millis(300);

struct Writer {
    surroundings: Arc<Surroundings>,
    conn: Option<Connection>,
}

/// Starts a thread. It ends when the queue is closed and everything in it is answered.
pub(super) fn start(surroundings: Arc<Surroundings>, number: usize) -> std::io::Result<JoinHandle<()>> {
    let name = format!("freshk-writer-{number}");
    thread::Builder::new().name(name).spawn(move || {
        let mut writer = Writer { surroundings: Arc::clone(&surroundings), conn: None };
        while let Some((Queued { mut job, locks, span }, running)) = surroundings.queue.take() {
            let committed = span.in_scope(|| writer.write(job.as_mut(), &locks));
            // Whoever asks after an answer must not find it counted still.
            drop(running);
            // A panic has logged itself.
            drop(span.in_scope(|| catch_unwind(AssertUnwindSafe(|| job.finish(committed)))));
        }
    })
}

/// How often a write is run at most whose transaction is undone for another one's sake, or whose connection breaks before its commit.
const RUNS: u32 = 3;

/// How long before that, so that the transaction for whose sake it was undone is over: they would wait for each other again.
const RUN_AGAIN: Duration = Duration::from_millis(50);

/// What is known of a write when its closure has run.
enum Ran {
    /// Nothing of it is to stay.
    Failed(StoreError),
    /// Nothing of it is there, and another run may succeed.
    Undone(StoreError),
    /// It was committed, and has changed these rows.
    Committed(Touched),
    /// The connection was lost in the commit.
    InDoubt(Option<Witness>, Touched),
}

impl Writer {
    fn write(&mut self, job: &mut dyn WriteJob, locks: &[Taken]) -> StoreResult<()> {
        let mut runs = 1;
        let mut ran = self.run(job, locks)?;
        while matches!(ran, Ran::Undone(_)) && runs < RUNS {
            tracing::info!("nothing was written; the write is run again");
            job.undone();
            self.roll_back();
            thread::sleep(RUN_AGAIN);
            runs += 1;
            ran = self.run(job, locks)?;
        }
        let (outcome, touched) = match ran {
            Ran::Committed(touched) => (Ok(()), touched),
            Ran::Failed(fault) => {
                self.roll_back();
                return Err(fault);
            }
            Ran::Undone(fault) => {
                tracing::error!(runs, "a write was undone each time that it ran");
                self.roll_back();
                return Err(fault);
            }
            Ran::InDoubt(witness, touched) => {
                self.conn = None;
                (self.resolve(locks, witness.as_ref()), touched)
            }
        };
        // After whatever has committed it, and before anybody hears of it.
        self.surroundings.memory.learn(&touched);
        outcome
    }

    /// Runs a write in a transaction of its own.
    fn run(&mut self, job: &mut dyn WriteJob, locks: &[Taken]) -> StoreResult<Ran> {
        self.begin(locks, &ahead::of(job.locks()))?;
        let Some(conn) = &self.conn else { return Err(StoreError::Unavailable) };
        Ok(run(conn, job, self.surroundings.commits.get()))
    }

    /// Begins a transaction under its locks. A connection that is found dead is replaced: nothing has run yet.
    fn begin(&mut self, locks: &[Taken], ahead: &[Question]) -> StoreResult<()> {
        if let Some(conn) = self.conn.take().filter(|conn| !conn.is_closed()) {
            match conn.begin(locks, ahead) {
                Ok(()) => {
                    self.conn = Some(conn);
                    return Ok(());
                }
                Err(failure) if failure.is_lost() => {
                    tracing::info!(error = %failure, "a connection to the database was lost; it is replaced");
                }
                Err(failure) => {
                    self.conn = Some(conn);
                    self.roll_back();
                    return Err(fault(&failure));
                }
            }
        }
        let conn = self.surroundings.connector.connect().map_err(|refused| unreachable(&refused))?;
        let begun = conn.begin(locks, ahead).map_err(|failure| fault(&failure));
        self.conn = Some(conn);
        if begun.is_err() {
            self.roll_back();
        }
        begun
    }

    /// Ends a transaction; a connection on which that fails is given up.
    fn roll_back(&mut self) {
        self.conn.take_if(|conn| conn.roll_back().is_err());
    }

    /// Learns what became of a commit whose answer is lost: under the write's own locks the old transaction is over, and
    /// its row is there or is not.
    fn resolve(&mut self, locks: &[Taken], witness: Option<&Witness>) -> StoreResult<()> {
        let Some(witness) = witness.filter(|_| !locks.is_empty()) else { return Err(StoreError::InDoubt) };
        for _ in 0..RESOLVES {
            if self.begin(locks, &[]).is_ok()
                && let Some(conn) = &self.conn
            {
                let found = is_there(&PostgresTx::new(conn), witness);
                self.roll_back();
                if let Ok(found) = found {
                    tracing::warn!(
                        committed = found,
                        "the answer to a commit was lost; its outcome is known"
                    );
                    return if found { Ok(()) } else { Err(StoreError::Unavailable) };
                }
            }
            thread::sleep(RESOLVE_AGAIN);
        }
        tracing::error!("the answer to a commit was lost, and its outcome is not known");
        Err(StoreError::InDoubt)
    }
}

/// Runs a closure and commits it.
fn run(conn: &Connection, job: &mut dyn WriteJob, commits: Option<&CommitWatch>) -> Ran {
    let mut tx = PostgresTx::new(conn);
    // The panic has logged itself.
    let ran = catch_unwind(AssertUnwindSafe(|| job.run(&mut tx))).unwrap_or(Err(StoreError::Broken));
    // A commit of an aborted transaction succeeds, and commits nothing.
    let ran = ran.and(tx.failure().map_or(Ok(()), Err)).and_then(|()| tx.raise_ids());
    if let Err(fault) = ran {
        return if tx.may_pass() { Ran::Undone(fault) } else { Ran::Failed(fault) };
    }
    let stopwatch = Stopwatch::start();
    match conn.commit() {
        Ok(()) => {
            if let Some(watch) = commits.filter(|_| tx.wrote()) {
                watch(1, stopwatch.elapsed());
            }
            Ran::Committed(tx.into_touched())
        }
        Err(failure) if failure.is_lost() && tx.wrote() => {
            tracing::error!(error = %failure, "the connection to the database was lost in a commit");
            Ran::InDoubt(tx.witness(), tx.into_touched().in_doubt())
        }
        Err(failure) if failure.may_pass() => Ran::Undone(fault(&failure)),
        Err(failure) => Ran::Failed(fault(&failure)),
    }
}

fn is_there(tx: &PostgresTx<'_>, witness: &Witness) -> StoreResult<bool> {
    let found = match witness {
        Witness::Challenge(id, hash) => {
            const SQL: &str = "SELECT EXISTS (SELECT FROM challenges WHERE id = $1 AND code_hmac = $2)";
            tx.row(SQL, &[id, hash], first)
        }
        Witness::Session(id, jti) => {
            const SQL: &str = "SELECT EXISTS (SELECT FROM sessions WHERE id = $1 AND jti = $2)";
            tx.row(SQL, &[id, jti], first)
        }
        Witness::Audit(id, at, request) => {
            const SQL: &str = "SELECT EXISTS (SELECT FROM audit WHERE id = $1 AND at = $2 \
                 AND request_id IS NOT DISTINCT FROM $3)";
            tx.row(SQL, &[id, at, request], first)
        }
    };
    found.map(Option::unwrap_or_default)
}

/// Logs why there is no connection, and says what that means.
pub(super) fn unreachable(refused: &Refused) -> StoreError {
    match refused {
        Refused::Server(_) => tracing::error!(error = %refused, "the database cannot be reached"),
        Refused::Tls(_) | Refused::Unfit { .. } => {
            tracing::error!(error = %refused, "the database cannot be used");
        }
    }
    StoreError::Unavailable
}
