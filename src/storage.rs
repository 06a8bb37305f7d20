//! The seam to the database: what the flows may ask of it, without a word of SQL.
//!
//! A flow hands the store a closure, and with a writing one the locks of what it reads and then replaces. **What a
//! closure may rely on**, whatever the engine: what it does happens once, or not at all. It may run again after all
//! that it did was undone, so it changes nothing but what the store undoes, and only what its last run gives counts.
//! Nobody else changes what its locks cover from its first read to its commit, and of two closures that share a lock
//! the later one sees all that the earlier one wrote. Everything that it writes is there after it or nothing is: `Err`
//! and a panic undo it alone, whoever else commits with it; a refusal that must be remembered (a wrong guess) is
//! therefore an `Ok` value. Its answer comes after the commit that makes it durable, and after the cache has forgotten
//! what it changed: whoever asks next sees it. Ids ascend in the order in which rows are written, though they may be
//! seen in another. A unique value that is taken is told by the method that writes it. An error of the store ends the
//! closure: nothing may be asked after it. A reading closure sees one snapshot of what was committed before it began.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use crate::domain::session::SessionStatus;
use crate::domain::{SessionId, User};

pub mod ahead;
pub mod audit;
pub mod backups;
pub mod budgets;
mod cache;
pub mod challenges;
pub mod clock;
mod columns;
pub mod devices;
mod error;
pub mod events;
pub mod exchanges;
pub mod guard;
pub mod ledger;
pub mod locks;
pub mod maintenance;
pub mod messages;
pub mod moving;
pub mod nodes;
pub mod phone_changes;
pub mod postgres;
pub mod sessions;
pub mod sqlite;
pub mod test_numbers;
pub mod token_names;
mod transaction;
pub mod users;

pub use error::{StoreError, StoreResult};
pub use locks::Locks;
pub use maintenance::PurgeHorizon;
pub use transaction::{Tx, View};

/// A session and its user, as the hot path sees them.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The session of the token, as far as a request must know it.
    pub session: Arc<SessionStatus>,
    /// Its user.
    pub user: Arc<User>,
}

/// A write on its way to the engine: it runs, again where what it did was undone for somebody else's sake, and is told once what
/// came of it.
pub trait WriteJob: Send {
    /// What the closure replaces.
    fn locks(&self) -> &Locks;
    /// Runs the closure; an error rolls back what it wrote.
    ///
    /// # Errors
    /// What the closure gives.
    fn run(&mut self, tx: &mut dyn Tx) -> StoreResult<()>;
    /// Lets go of what the last run gave: all that it wrote is undone. Where it runs again, nobody holds anything twice.
    fn undone(&mut self);
    /// Answers the flow, after the commit or instead of it.
    fn finish(self: Box<Self>, committed: StoreResult<()>);
}

/// A reading closure, its answer boxed away inside.
pub type ReadJob = Box<dyn FnOnce(&dyn View) + Send>;

/// Is told of every commit: how many writes it made durable, and how long it took.
pub type CommitWatch = Box<dyn Fn(usize, Duration) + Send + Sync>;

/// A database: one adapter implements it.
pub trait Engine: Send + Sync + 'static {
    /// Queues a write.
    ///
    /// # Errors
    /// [`StoreError::Overloaded`] at once when the queue is full.
    fn submit(&self, job: Box<dyn WriteJob>) -> StoreResult<()>;
    /// Runs a read on a pooled connection, off the async threads.
    fn query(&self, job: ReadJob) -> BoxFuture<'_, StoreResult<()>>;
    /// Reads a live or ended session and its user; memory may have them from then on.
    fn principal<'a>(&'a self, session: &'a SessionId) -> BoxFuture<'a, StoreResult<Option<Principal>>>;
    /// The same from memory. What an own write changed before it was answered is never missing. What another process changed
    /// may be: of what takes rights away for two seconds at most, of the rest for longer.
    fn known(&self, session: &SessionId) -> Option<Principal>;
    /// Grows by one whenever another process has written and the engine does not know what: all that memory holds is forgotten.
    /// An engine that is told what changed forgets that alone.
    fn foreign_writes(&self) -> u64;
    /// Moves the write-ahead log into the database.
    fn checkpoint(&self) -> BoxFuture<'_, StoreResult<()>>;
    /// Waits until that log has grown so long that it should be moved at once; once for each such growth.
    fn long_log(&self) -> BoxFuture<'_, ()>;
    /// Waits for the queued writes, then closes; writes that come later are refused.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// The store, as the flows hold it.
#[derive(Clone)]
pub struct Store {
    engine: Arc<dyn Engine>,
    failed_writes: Arc<AtomicU64>,
}

impl Store {
    /// Puts the seam before an engine.
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine, failed_writes: Arc::default() }
    }

    /// Runs `closure` in a transaction and answers after its commit; `locks` cover what it reads and then replaces. Once queued
    /// it runs even if the caller goes away.
    ///
    /// # Errors
    /// Any [`StoreError`]; then nothing that the closure wrote remains, except perhaps with [`StoreError::InDoubt`].
    pub async fn write<T, F>(&self, locks: Locks, closure: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: Fn(&mut dyn Tx) -> StoreResult<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.engine.submit(Box::new(Write { locks, closure, outcome: None, reply: Some(reply) }))?;
        let written = match answer.await {
            Ok((write, committed)) => committed.and_then(|()| write.outcome.ok_or(StoreError::Broken)),
            // The writer had the job and died: it may have committed.
            Err(_) => Err(StoreError::InDoubt),
        };
        if matches!(written, Err(StoreError::Unavailable | StoreError::InDoubt)) {
            self.failed_writes.fetch_add(1, Ordering::Relaxed);
        }
        written
    }

    /// Grows by one whenever a write finds the database unavailable, or is left in doubt.
    pub fn failed_writes(&self) -> u64 {
        self.failed_writes.load(Ordering::Relaxed)
    }

    /// Runs `closure` on a snapshot.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if no connection can be had or the read fails.
    pub async fn read<T, F>(&self, closure: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&dyn View) -> StoreResult<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.engine.query(Box::new(move |view| drop(reply.send(closure(view))))).await?;
        answer.await.unwrap_or(Err(StoreError::Unavailable))
    }

    /// A live or ended session and its user: as memory has them where that `suffices`, or else from the database. So memory
    /// may allow, and whatever is refused was read.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where memory does not suffice and the database cannot be read.
    pub async fn principal(
        &self,
        session: &SessionId,
        suffices: impl FnOnce(&Principal) -> bool,
    ) -> StoreResult<Option<Principal>> {
        match self.engine.known(session).filter(suffices) {
            Some(known) => Ok(Some(known)),
            None => self.engine.principal(session).await,
        }
    }

    /// See [`Engine::foreign_writes`].
    pub fn foreign_writes(&self) -> u64 {
        self.engine.foreign_writes()
    }

    /// See [`Engine::checkpoint`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; the log waits for the next time.
    pub async fn checkpoint(&self) -> StoreResult<()> {
        self.engine.checkpoint().await
    }

    /// See [`Engine::long_log`].
    pub async fn long_log(&self) {
        self.engine.long_log().await;
    }

    /// See [`Engine::close`].
    pub async fn close(&self) {
        self.engine.close().await;
    }
}

struct Write<F, T> {
    locks: Locks,
    closure: F,
    outcome: Option<T>,
    /// Takes all of this back, so that no writer spends its time on letting go of what a flow has made.
    reply: Option<oneshot::Sender<(Box<Self>, StoreResult<()>)>>,
}

impl<F, T> WriteJob for Write<F, T>
where
    T: Send,
    F: Fn(&mut dyn Tx) -> StoreResult<T> + Send,
{
    fn locks(&self) -> &Locks {
        &self.locks
    }

    fn run(&mut self, tx: &mut dyn Tx) -> StoreResult<()> {
        self.outcome = Some((self.closure)(tx)?);
        Ok(())
    }

    fn undone(&mut self) {
        self.outcome = None;
    }

    fn finish(mut self: Box<Self>, committed: StoreResult<()>) {
        if let Some(reply) = self.reply.take() {
            // The flow may have gone away; the write stands all the same.
            drop(reply.send((self, committed)));
        }
    }
}
