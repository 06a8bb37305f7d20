//! The seam's adapter for `PostgreSQL`: threads that write and threads that read, each with a connection of its own.
//!
//! Nothing here knows what a flow is. No type of postgres-protocol or rustls leaves this room. Of sessions and users memory keeps
//! what was read; what another process takes away is heard by a connection that listens.

use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _, pending, ready};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use crate::clock::Stopwatch;
use crate::domain::SessionId;
use crate::storage::{CommitWatch, Engine, Principal, ReadJob, StoreError, StoreResult, WriteJob};
use crate::sync::lock;

mod acme;
mod ahead;
mod answers;
mod audit;
mod backups;
mod budgets;
mod challenges;
mod clock;
mod columns;
mod connect;
mod connection;
mod devices;
mod events;
mod exchanges;
mod fault;
mod guard;
mod ids;
mod keys;
mod lease;
mod ledger;
mod listener;
mod login;
mod maintenance;
mod membership;
mod memory;
mod messages;
mod migrate;
mod moving;
mod nodes;
mod open;
mod open_error;
mod phone_changes;
mod queue;
mod reader;
mod row;
mod sessions;
mod settings;
mod test_numbers;
mod tls;
mod token_names;
mod tx;
mod users;
mod wire;
mod writer;

pub use acme::AcmeTable;
pub use backups::note_backup;
pub use membership::Membership;
pub use moving::MovingSchema;
pub use open::{Checkup, PostgresOptions, check, dev_secret, look};
pub use open_error::PostgresError;
pub use settings::{Host, PostgresSettings, SCHEMA, TlsMode, WRITERS, is_schema};

use keys::Taken;
use memory::Memory;
use queue::Queue;
use reader::Task;
use writer::Surroundings;

/// How many reads and writes may wait.
const ROOM: usize = 2048;

/// How long a refusal is remembered without asking the ledger again, which another process may have reset.
const FORGET_AFTER: Duration = Duration::from_secs(5);

/// A schema of a `PostgreSQL` database.
pub struct PostgresStore {
    identity: String,
    writing: Arc<Surroundings>,
    reading: Arc<Queue<reader::Queued>>,
    memory: Arc<Memory>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    opened: Stopwatch,
}

impl PostgresStore {
    /// Opens a database and starts the threads.
    ///
    /// # Errors
    /// [`PostgresError`], in words for the operator.
    pub fn open(options: &PostgresOptions) -> Result<Arc<Self>, PostgresError> {
        let settings = &options.settings;
        let connector = open::open(options)?;
        let memory = Arc::new(Memory::new(options.principals));
        let writing = Arc::new(Surroundings {
            queue: Queue::new(ROOM),
            connector: connector.clone(),
            memory: Arc::clone(&memory),
            commits: OnceLock::new(),
        });
        let store = Self {
            identity: settings.identity(),
            writing: Arc::clone(&writing),
            reading: Arc::new(Queue::new(ROOM)),
            memory,
            threads: Mutex::default(),
            opened: Stopwatch::start(),
        };
        let failed = |error: std::io::Error| PostgresError::Failed {
            place: settings.to_string(),
            reason: error.to_string(),
        };
        let mut threads = Vec::new();
        for number in 0..settings.writers {
            threads.push(writer::start(Arc::clone(&writing), number).map_err(failed)?);
        }
        for number in 0..settings.readers {
            let reading = Arc::clone(&store.reading);
            let memory = Arc::clone(&store.memory);
            threads.push(reader::start(reading, connector.clone(), memory, number).map_err(failed)?);
        }
        if options.principals > 0 {
            // It is not waited for: it ends when the memory is gone.
            listener::start(&store.memory, connector, settings.schema.clone()).map_err(failed)?;
        }
        *store.threads() = threads;
        Ok(Arc::new(store))
    }

    /// Where it is: host, port, database and schema.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Has every commit told to `watch` from now on; only the first call counts.
    pub fn watch_commits(&self, watch: CommitWatch) {
        drop(self.writing.commits.set(watch));
    }

    /// How many writes wait, or are not committed yet.
    pub fn writes_waiting(&self) -> usize {
        self.writing.queue.count()
    }

    fn threads(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        lock(&self.threads)
    }

    /// Has a reader do a task, and waits for its reply.
    fn ask<T: Send + 'static>(
        &self,
        task: impl FnOnce(oneshot::Sender<StoreResult<T>>) -> Task,
    ) -> BoxFuture<'static, StoreResult<T>> {
        let (reply, answer) = oneshot::channel();
        match self.reading.push(reader::Queued::new(task(reply)), Vec::new()) {
            Ok(()) => answer.map(|answer| answer.unwrap_or(Err(StoreError::Unavailable))).boxed(),
            Err(fault) => ready(Err(fault)).boxed(),
        }
    }

    fn end(&self) {
        self.writing.queue.close();
        self.reading.close();
    }
}

impl Engine for PostgresStore {
    fn submit(&self, job: Box<dyn WriteJob>) -> StoreResult<()> {
        let locks = self.writing.connector.keys().taken(job.locks());
        let alone = locks.iter().filter_map(Taken::exclusive).collect();
        self.writing.queue.push(writer::Queued::new(job, locks), alone)
    }

    fn query(&self, job: ReadJob) -> BoxFuture<'_, StoreResult<()>> {
        self.ask(|reply| Task::Closure(job, reply))
    }

    fn principal<'a>(&'a self, session: &'a SessionId) -> BoxFuture<'a, StoreResult<Option<Principal>>> {
        self.ask(|reply| Task::Principal(session.clone(), reply))
    }

    fn known(&self, session: &SessionId) -> Option<Principal> {
        self.memory.known(session)
    }

    /// What other processes write to the ledger is not told, so that they count as having written now and then.
    fn foreign_writes(&self) -> u64 {
        self.opened.elapsed().as_secs() / FORGET_AFTER.as_secs()
    }

    /// The server does that by itself.
    fn checkpoint(&self) -> BoxFuture<'_, StoreResult<()>> {
        ready(Ok(())).boxed()
    }

    fn long_log(&self) -> BoxFuture<'_, ()> {
        pending().boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            self.end();
            let threads = std::mem::take(&mut *self.threads());
            let joined = spawn_blocking(|| threads.into_iter().all(|thread| thread.join().is_ok()));
            if !matches!(joined.await, Ok(true)) {
                tracing::error!("a thread of the database did not end as it should");
            }
        }
        .boxed()
    }
}

/// What is queued is still written.
impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.end();
    }
}
