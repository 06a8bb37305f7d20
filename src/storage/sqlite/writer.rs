//! The one writer: a thread that owns the only writing connection and commits for many at once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;
use tracing::Span;

use super::backup::back_up;
use super::connect::{Bounds, PageLimit};
use super::fault::fault;
use super::log::{self, Growth, ResetLog};
use super::tx::SqliteTx;
use super::watch::{FileWatch, Look};
use crate::clock::Stopwatch;
use crate::files::{beside, random_name};
use crate::storage::cache::PrincipalCache;
use crate::storage::{CommitWatch, StoreError, StoreResult, WriteJob};

/// A write.
pub(super) type Job = Box<dyn WriteJob>;

/// What the writer is asked for.
pub(super) enum Task {
    /// To write.
    Write(Queued),
    /// To begin its log anew, once what came before is committed.
    Reset(ResetLog),
}

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

/// How long after a copy could not be saved it is tried again.
const SAVE_AGAIN: Duration = Duration::from_mins(1);

/// What the writer does about a database that is lost.
#[derive(Debug)]
enum Rescue {
    /// Nothing: another process does.
    NotMine,
    /// Saves a copy, if the database is lost and it was not tried a moment ago.
    Due(Option<Stopwatch>),
    /// A copy is saved.
    Done,
}

struct Writer {
    conn: Connection,
    files: Arc<FileWatch>,
    rescue: Rescue,
    tasks: Receiver<Task>,
    bounds: Bounds,
    cache: Arc<PrincipalCache>,
    page_limit: Option<PageLimit>,
    commits: Arc<OnceLock<CommitWatch>>,
    growth: Growth,
    /// `data_version` as last seen; it changes on this connection only when another one has committed.
    version: Option<i64>,
}

/// What the writer shares with the store.
pub(super) struct Surroundings {
    pub(super) files: Arc<FileWatch>,
    /// Whether it saves what is open once that is deleted or replaced.
    pub(super) rescues: bool,
    pub(super) bounds: Bounds,
    pub(super) cache: Arc<PrincipalCache>,
    pub(super) page_limit: Option<PageLimit>,
    pub(super) commits: Arc<OnceLock<CommitWatch>>,
    pub(super) growth: Growth,
}

/// Starts the thread. It ends when the queue's other end is gone and everything in it is answered.
pub(super) fn start(
    conn: Connection,
    Surroundings { files, rescues, bounds, cache, page_limit, commits, growth }: Surroundings,
) -> std::io::Result<(SyncSender<Task>, JoinHandle<()>)> {
    // An earlier run may have erased somebody and died before it emptied the log.
    if !matches!(log::empty(&conn), Ok(true)) {
        files.note_erasure();
    }
    let (sender, tasks) = sync_channel(bounds.queue);
    let rescue = if rescues { Rescue::Due(None) } else { Rescue::NotMine };
    let mut writer =
        Writer { conn, files, rescue, tasks, bounds, cache, page_limit, commits, growth, version: None };
    // Before anybody can read: a first look that came later would take what it finds for what the cache holds.
    writer.watch();
    let thread = thread::Builder::new().name("freshk-writer".into()).spawn(move || {
        writer.run(|writer, wait| writer.tasks.recv_timeout(wait));
    })?;
    Ok((sender, thread))
}

impl Writer {
    /// Writes what comes until nothing more can; `next` waits for it, though not for longer than it is told.
    fn run(mut self, mut next: impl FnMut(&Self, Duration) -> Result<Task, RecvTimeoutError>) {
        loop {
            let next = next(&self, self.bounds.watch);
            let is_lost = self.look();
            match next {
                Err(RecvTimeoutError::Disconnected) => break,
                Ok(Task::Write(job)) if is_lost => self.refuse(job, StoreError::Unavailable),
                Ok(Task::Reset(_)) | Err(RecvTimeoutError::Timeout) if is_lost => {}
                Ok(Task::Reset(log)) => log.run(&self.conn),
                Ok(Task::Write(job)) => {
                    self.watch();
                    self.batch(job);
                    self.growth.watch(&self.conn);
                }
                Err(RecvTimeoutError::Timeout) => self.watch(),
            }
            if is_lost {
                self.save(SAVE_AGAIN);
            }
        }
        if self.files.is_lost() {
            return self.save(Duration::ZERO);
        }
        // Whoever else has the database open empties the log later; nobody should wait for that now.
        if let Err(error) = log::empty(&self.conn) {
            fault(&error);
        }
    }

    /// Looks whether the files that are open are still those at their paths; true if they are not.
    fn look(&mut self) -> bool {
        let path = self.files.path().display();
        match self.files.look() {
            Look::Lost => tracing::warn!(
                "a file of the database at {path} was deleted or replaced while it is open; no more is read or written"
            ),
            Look::Regained => {
                tracing::info!("the database at {path} is back, and is served again");
                self.cache.another_process_wrote();
                if matches!(self.rescue, Rescue::Done) {
                    self.rescue = Rescue::Due(None);
                }
            }
            Look::Unchanged => {}
        }
        self.files.is_lost()
    }

    /// Saves what is open beside the path, unless that is done, or was tried less than `pause` ago.
    fn save(&mut self, pause: Duration) {
        let Rescue::Due(tried) = &self.rescue else { return };
        if tried.as_ref().is_some_and(|tried| tried.elapsed() < pause) {
            return;
        }
        let path = self.files.path();
        let copy = beside(path, &format!(".rescue-{}.db", random_name()));
        let (path, shown) = (path.display(), copy.display());
        self.rescue = match back_up(&self.conn, &copy, self.files.owner(), None) {
            Ok(()) => {
                tracing::error!(
                    "the database at {path} was deleted or replaced while the server had it open; every call is refused. \
                     What it held is saved as {shown}: stop the server, put that in its place with `freshk db restore \
                     {shown}`, and start it again"
                );
                Rescue::Done
            }
            Err(error) => {
                tracing::error!(
                    "the database at {path} was deleted or replaced while the server had it open; every call is refused. \
                     What it held could not be saved as {shown}: {error}. Do not stop the server, which has the only \
                     copy: put that right; it tries again every minute"
                );
                Rescue::Due(Some(Stopwatch::start()))
            }
        };
    }

    /// Looks, outside any transaction, whether another process has written since the last look.
    fn watch(&mut self) {
        match self.conn.prepare_cached("PRAGMA data_version").and_then(|mut s| s.query_row([], |r| r.get(0)))
        {
            Ok(version) => {
                if self.version.is_some_and(|seen| seen != version) {
                    self.cache.another_process_wrote();
                    // A command that deletes a user beside a busy server leaves the log to it.
                    self.files.note_erasure();
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
            return self.refuse(first, fault);
        }
        let stopwatch = Stopwatch::start();
        let mut tx = SqliteTx::new(&self.conn);
        let (mut ran, mut reset) = (Vec::new(), None);
        let mut has_failed = false;
        let mut next = Some(first);
        while let Some(mut job) = next {
            let outcome =
                if has_failed { self.run_apart(&mut job, &mut tx) } else { self.run_one(&mut job, &mut tx) };
            if outcome.is_err() && !has_failed {
                has_failed = true;
                self.run_again(&mut ran, &mut tx);
            }
            ran.push((job, outcome));
            let room = ran.len() < self.bounds.jobs && stopwatch.elapsed() < self.bounds.time;
            let goes_on = room && !self.conn.is_autocommit();
            next = match goes_on.then(|| self.tasks.try_recv()) {
                Some(Ok(Task::Write(job))) => Some(job),
                Some(Ok(Task::Reset(log))) => {
                    reset = Some(log);
                    None
                }
                Some(Err(_)) | None => None,
            };
        }
        let stopwatch = Stopwatch::start();
        let committed = self.commit();
        if committed.is_ok() {
            if let Some(watch) = self.commits.get() {
                watch(ran.len(), stopwatch.elapsed());
            }
            let touched = tx.into_touched();
            // Of a write that was undone a use may be left that nobody committed.
            let touched = if has_failed { touched.in_doubt() } else { touched };
            if touched.is_erasure {
                self.files.note_erasure();
            }
            self.cache.learn(&touched);
        }
        for (job, outcome) in ran {
            answer(job, outcome.and(committed));
        }
        if let Some(log) = reset {
            log.run(&self.conn);
        }
    }

    /// Answers `first` and those that wait: they would wait as long, one after the other, and in vain. All are taken before
    /// any is answered: who comes after an answer may find the database free again.
    fn refuse(&self, first: Queued, fault: StoreError) {
        let waiting: Vec<_> = self.tasks.try_iter().take(self.bounds.queue).collect();
        let writes = waiting.into_iter().filter_map(|task| match task {
            Task::Write(job) => Some(job),
            // It is asked for again.
            Task::Reset(_) => None,
        });
        std::iter::once(first).chain(writes).for_each(|job| answer(job, Err(fault)));
    }

    /// Runs one write. Where it fails, all that was written before it in the transaction must be undone.
    fn run_one(&self, Queued { job, span, .. }: &mut Queued, tx: &mut SqliteTx<'_>) -> StoreResult<()> {
        tx.begin(job.locks());
        // The panic has logged itself.
        let outcome = span.in_scope(|| catch_unwind(AssertUnwindSafe(|| job.run(tx))));
        let outcome = outcome.unwrap_or(Err(StoreError::Broken));
        if self.conn.is_autocommit() {
            tracing::error!("the transaction is gone, and with it all its writes");
            return outcome.and(Err(StoreError::Unavailable));
        }
        outcome.and(tx.wholeness())
    }

    /// Undoes a failing or panicking write with all that were before it, and runs those again; nobody else writes in between.
    fn run_again(&self, ran: &mut [(Queued, StoreResult<()>)], tx: &mut SqliteTx<'_>) {
        if self.conn.is_autocommit() || self.execute("ROLLBACK TO batch").is_err() {
            return;
        }
        for (Queued { job, .. }, _) in &mut *ran {
            job.undone();
        }
        for (job, outcome) in ran {
            // Without a transaction there is none to commit, and everybody gets the fault.
            if self.conn.is_autocommit() {
                return;
            }
            *outcome = self.run_apart(job, tx);
        }
    }

    /// Runs one write; a failing or panicking one is undone alone.
    fn run_apart(&self, job: &mut Queued, tx: &mut SqliteTx<'_>) -> StoreResult<()> {
        self.execute("SAVEPOINT job")?;
        let outcome = self.run_one(job, tx);
        if self.conn.is_autocommit() {
            return outcome;
        }
        if outcome.is_err() {
            self.execute("ROLLBACK TO job")?;
        }
        self.execute("RELEASE job")?;
        outcome
    }

    /// Begins a transaction that can be rolled back and go on, while nobody else writes. A savepoint that begins it copies no
    /// pages, but takes the lock only with the first statement that could write.
    fn begin(&self) -> StoreResult<()> {
        self.roll_back();
        self.execute("SAVEPOINT batch")?;
        self.execute("UPDATE clock SET wall = wall WHERE FALSE")
    }

    fn commit(&self) -> StoreResult<()> {
        if self.conn.is_autocommit() { Err(StoreError::Unavailable) } else { self.execute("COMMIT") }
    }

    /// Runs a statement that steers the transaction; if that fails, the transaction must not go on.
    fn execute(&self, sql: &str) -> StoreResult<()> {
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
fn answer(Queued { job, span, waits }: Queued, committed: StoreResult<()>) {
    // Whoever asks after an answer must not find it counted still.
    drop(waits);
    // A panic has logged itself.
    drop(span.in_scope(|| catch_unwind(AssertUnwindSafe(|| job.finish(committed)))));
}

#[cfg(test)]
#[path = "tests/writer.rs"]
mod tests;
