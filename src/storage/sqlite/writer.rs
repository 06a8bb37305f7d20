//! The one writer: a thread that owns the only writing connection and commits for many at once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;
use tracing::Span;

use super::cache::PrincipalCache;
use super::checkpoint;
use super::connect::{Bounds, PageLimit};
use super::fault::fault;
use super::tx::SqliteTx;
use crate::clock::Stopwatch;
use crate::storage::{Fault, Stored, WriteJob};

/// A write.
pub(super) type Job = Box<dyn WriteJob>;

/// A write in the queue, with the request that it belongs to: what it logs, a panic included, has that one's name.
pub(super) struct Queued {
    job: Job,
    span: Span,
    waits: Waits,
}

impl Queued {
    /// Of the request that is at work; counted by `waiting` until it is answered.
    pub(super) fn new(job: Job, waiting: &Waiting) -> Self {
        Self { job, span: Span::current(), waits: waiting.enter() }
    }
}

/// How many writes are queued, or not committed yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting(Arc<AtomicUsize>);

/// One of them; no longer when it is dropped.
struct Waits(Waiting);

impl Waiting {
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn enter(&self) -> Waits {
        self.0.fetch_add(1, Ordering::Relaxed);
        Waits(self.clone())
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Is told of every commit: how many writes it made durable, and how long it took.
pub type CommitWatch = Box<dyn Fn(usize, Duration) + Send + Sync>;

struct Writer {
    conn: Connection,
    jobs: Receiver<Queued>,
    bounds: Bounds,
    cache: Arc<PrincipalCache>,
    page_limit: Option<PageLimit>,
    commits: Arc<OnceLock<CommitWatch>>,
    /// `data_version` as last seen; it changes on this connection only when another one has committed.
    version: Option<i64>,
}

/// Starts the thread. It ends when the queue's other end is gone and everything in it is answered.
pub(super) fn start(
    conn: Connection,
    bounds: Bounds,
    cache: Arc<PrincipalCache>,
    page_limit: Option<PageLimit>,
    commits: Arc<OnceLock<CommitWatch>>,
) -> std::io::Result<(SyncSender<Queued>, JoinHandle<()>)> {
    let (sender, jobs) = sync_channel(bounds.queue);
    let mut writer = Writer { conn, jobs, bounds, cache, page_limit, commits, version: None };
    // Before anybody can read: a first look that came later would take what it finds for what the cache holds.
    writer.watch();
    let thread = thread::Builder::new().name("freshk-writer".into()).spawn(move || {
        writer.run(|writer, wait| writer.jobs.recv_timeout(wait));
    })?;
    Ok((sender, thread))
}

impl Writer {
    /// Writes what comes until nothing more can; `next` waits for it, though not for longer than it is told.
    fn run(mut self, mut next: impl FnMut(&Self, Duration) -> Result<Queued, RecvTimeoutError>) {
        loop {
            match next(&self, self.bounds.watch) {
                Ok(job) => {
                    self.watch();
                    self.batch(job);
                }
                Err(RecvTimeoutError::Timeout) => self.watch(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // Whoever else has the database open empties the log later; nobody should wait for that now.
        let emptied = self.conn.busy_timeout(Duration::ZERO).and_then(|()| checkpoint::truncate(&self.conn));
        if let Err(error) = emptied {
            fault(&error);
        }
    }

    /// Looks, outside any transaction, whether another process has written since the last look.
    fn watch(&mut self) {
        match self.conn.prepare_cached("PRAGMA data_version").and_then(|mut s| s.query_row([], |r| r.get(0)))
        {
            Ok(version) => {
                if self.version.is_some_and(|seen| seen != version) {
                    self.cache.another_process_wrote();
                }
                self.version = Some(version);
            }
            Err(error) => drop(fault(&error)),
        }
        if let Some(limit) = &self.page_limit
            && let Err(error) = limit.apply(&self.conn)
        {
            fault(&error);
        }
    }

    /// Runs `first` and those that wait in one transaction, and answers them once it is durable, or gone.
    fn batch(&self, first: Queued) {
        if let Err(fault) = self.begin() {
            // Those that wait would wait as long, one after the other, and in vain. All are taken before any is answered:
            // who comes after an answer may find the database free again.
            let waiting: Vec<_> = self.jobs.try_iter().take(self.bounds.queue).collect();
            return std::iter::once(first).chain(waiting).for_each(|job| answer(job, Err(fault)));
        }
        let stopwatch = Stopwatch::start();
        let mut tx = SqliteTx::new(&self.conn);
        let mut ran = Vec::new();
        let mut next = Some(first);
        while let Some(mut job) = next {
            let outcome = self.run_one(&mut job, &mut tx);
            ran.push((job, outcome));
            let room = ran.len() < self.bounds.jobs && stopwatch.elapsed() < self.bounds.time;
            next = if room && !self.conn.is_autocommit() { self.jobs.try_recv().ok() } else { None };
        }
        let stopwatch = Stopwatch::start();
        let committed = self.commit();
        if committed.is_ok() {
            if let Some(watch) = self.commits.get() {
                watch(ran.len(), stopwatch.elapsed());
            }
            self.cache.forget(&tx.into_touched());
        }
        for (job, outcome) in ran {
            answer(job, outcome.and(committed));
        }
    }

    /// Runs one write; a failing or panicking one is undone alone.
    fn run_one(&self, Queued { job, span, .. }: &mut Queued, tx: &mut SqliteTx<'_>) -> Stored<()> {
        self.execute("SAVEPOINT job")?;
        // The panic has logged itself.
        let outcome = span.in_scope(|| catch_unwind(AssertUnwindSafe(|| job.run(tx))));
        let outcome = outcome.unwrap_or(Err(Fault::Broken));
        if self.conn.is_autocommit() {
            tracing::error!("the transaction is gone, and with it all its writes");
            return outcome.and(Err(Fault::Unavailable));
        }
        if outcome.is_err() {
            self.execute("ROLLBACK TO job")?;
        }
        self.execute("RELEASE job")?;
        outcome
    }

    fn begin(&self) -> Stored<()> {
        self.roll_back();
        self.execute("BEGIN IMMEDIATE")
    }

    fn commit(&self) -> Stored<()> {
        if self.conn.is_autocommit() { Err(Fault::Unavailable) } else { self.execute("COMMIT") }
    }

    /// Runs a statement that steers the transaction; if that fails, the transaction must not go on.
    fn execute(&self, sql: &str) -> Stored<()> {
        self.conn.prepare_cached(sql).and_then(|mut statement| statement.execute([])).map(drop).map_err(
            |error| {
                let fault = fault(&error);
                self.roll_back();
                fault
            },
        )
    }

    fn roll_back(&self) {
        if !self.conn.is_autocommit()
            && let Err(error) = self.conn.execute_batch("ROLLBACK")
        {
            fault(&error);
        }
    }
}

/// Tells a flow what came of its write; whatever it does with that must not take the writer down.
fn answer(Queued { job, span, waits }: Queued, committed: Stored<()>) {
    // Whoever asks after an answer must not find it counted still.
    drop(waits);
    // A panic has logged itself.
    drop(span.in_scope(|| catch_unwind(AssertUnwindSafe(|| job.finish(committed)))));
}

#[cfg(test)]
#[path = "tests/writer.rs"]
mod tests;
