//! The seam's adapter for `SQLite`: one writer that commits for many at once, a pool of readers, a cache in front.
//!
//! Nothing here knows what a flow is. No type of rusqlite, r2d2 or moka leaves this room.

use std::io;
use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, OnceLock, RwLock};
use std::thread::JoinHandle;

use futures_util::future::{BoxFuture, FutureExt as _, ready};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;

use crate::domain::SessionId;
use crate::storage::cache::PrincipalCache;
use crate::storage::{CommitWatch, Engine, Principal, ReadJob, StoreError, StoreResult, WriteJob};
use crate::sync::{read, write};

mod admin;
mod audit;
mod backup;
mod backups;
mod budgets;
mod challenges;
mod checkpoint;
mod clock;
mod columns;
mod connect;
mod devices;
mod events;
mod exchanges;
mod fault;
mod guard;
mod ledger;
mod lock;
mod log;
mod maintenance;
mod messages;
mod migrate;
mod moving;
mod nodes;
mod open;
mod open_error;
mod phone_changes;
mod reader;
mod sessions;
mod test_numbers;
mod token_names;
mod tx;
mod users;
mod watch;
mod writer;

#[cfg(test)]
mod tests;

pub use admin::{
    Checkup, DECRYPTED, RestoreError, Restored, back_up, check, check_backup, glance, look, restore,
    schema_of_backup, sweep_decrypted, vacuum,
};
pub use backup::{Cover, checksum_of, verify};
pub use connect::PageLimit;
pub use lock::{Holder, LockError, ServeLock};
pub use moving::MovingFile;
pub use open::{Make, OpenOptions, trace_of};
pub use open_error::{BackupError, OpenError};

use fault::fault;
use log::Growth;
use open::Tuning;
use reader::Readers;
use tx::SqliteTx;
use watch::FileWatch;
use writer::{Queued, Surroundings, Task, Waiting};

/// A database in one `SQLite` file.
pub struct SqliteStore {
    files: Arc<FileWatch>,
    tuning: Tuning,
    /// The writer's queue; closed when there is none.
    queue: RwLock<Option<Arc<SyncSender<Task>>>>,
    waiting: Waiting,
    writer: tokio::sync::Mutex<Option<JoinHandle<()>>>,
    readers: Readers,
    cache: Arc<PrincipalCache>,
    commits: Arc<OnceLock<CommitWatch>>,
    /// Woken when the log has grown long.
    long_log: Arc<Notify>,
}

impl SqliteStore {
    /// Opens a database, or makes a new one, and starts its writer. Dropping the store ends the writer once what is
    /// queued is written; [`Engine::close`] also waits for that.
    ///
    /// # Errors
    /// [`OpenError`], in words for the operator.
    pub fn open(options: OpenOptions) -> Result<Arc<Self>, OpenError> {
        let (conn, path) = open::open(&options)?;
        let failed = |error: io::Error| OpenError::Failed { path: path.clone(), reason: error.to_string() };
        let OpenOptions { tuning, page_limit, rescues, principals, .. } = options;
        let files = Arc::new(FileWatch::begin(&path).map_err(failed)?);
        let cache = Arc::new(PrincipalCache::new(principals));
        let readers = Readers::new(Arc::clone(&files), tuning.readers, tuning.read_wait, tuning.busy);
        let (commits, long_log) = (Arc::default(), Arc::default());
        let surroundings = Surroundings {
            files: Arc::clone(&files),
            rescues,
            bounds: tuning.writer,
            cache: Arc::clone(&cache),
            page_limit,
            commits: Arc::clone(&commits),
            growth: Growth::new(tuning.log.frames, Arc::clone(&long_log)),
        };
        let (queue, writer) = writer::start(conn, surroundings).map_err(failed)?;
        Ok(Arc::new(Self {
            files,
            tuning,
            queue: RwLock::new(Some(Arc::new(queue))),
            waiting: Waiting::default(),
            writer: tokio::sync::Mutex::new(Some(writer)),
            readers,
            cache,
            commits,
            long_log,
        }))
    }

    /// Where the file is; absolute.
    pub fn path(&self) -> &Path {
        self.files.path()
    }

    /// Which file is open as the database: device and inode. Who sees the same at [`SqliteStore::path`] sees the same
    /// database.
    pub fn identity(&self) -> String {
        self.files.database().to_string()
    }

    /// Has every commit told to `watch` from now on; only the first call counts.
    pub fn watch_commits(&self, watch: CommitWatch) {
        drop(self.commits.set(watch));
    }

    /// How many writes wait for the writer, or for their commit.
    pub fn writes_waiting(&self) -> usize {
        self.waiting.count()
    }

    /// How many bytes the database and its write-ahead log have.
    pub fn sizes(&self) -> (u64, u64) {
        let size = |path: &Path| path.metadata().map_or(0, |file| file.len());
        (size(self.path()), size(&connect::log_of(self.path(), "-wal")))
    }

    /// Nothing is read or written once the files that are open are not those at their paths any more.
    fn standing(&self) -> StoreResult<()> {
        if self.files.is_lost() { Err(StoreError::Unavailable) } else { Ok(()) }
    }

    /// Session and user as they are in the file; memory has them from then on.
    async fn read_principal(&self, id: &SessionId) -> StoreResult<Option<Principal>> {
        let (cache, id) = (Arc::clone(&self.cache), id.clone());
        let read = move |conn: &rusqlite::Connection| {
            let reading = cache.begin_read();
            let found = sessions::principal(conn, &id)?;
            if let Some(principal) = &found {
                cache.put(reading, &id, principal);
            }
            Ok(found)
        };
        self.readers.run(read).await
    }
}

impl Engine for SqliteStore {
    fn submit(&self, job: Box<dyn WriteJob>) -> StoreResult<()> {
        self.standing()?;
        let queue = read(&self.queue);
        let queue = queue.as_ref().ok_or(StoreError::Unavailable)?;
        queue.try_send(Task::Write(Queued::new(job, &self.waiting))).map_err(|refused| match refused {
            TrySendError::Full(_) => StoreError::Overloaded,
            TrySendError::Disconnected(_) => StoreError::Unavailable,
        })
    }

    fn query(&self, job: ReadJob) -> BoxFuture<'_, StoreResult<()>> {
        if let Err(fault) = self.standing() {
            return ready(Err(fault)).boxed();
        }
        let read = move |conn: &rusqlite::Connection| {
            let snapshot = conn.unchecked_transaction()?;
            job(&SqliteTx::new(&snapshot));
            Ok(())
        };
        self.readers.run(read).boxed()
    }

    fn principal<'a>(&'a self, session: &'a SessionId) -> BoxFuture<'a, StoreResult<Option<Principal>>> {
        if let Err(fault) = self.standing() {
            return ready(Err(fault)).boxed();
        }
        self.read_principal(session).boxed()
    }

    fn known(&self, session: &SessionId) -> Option<Principal> {
        self.cache.principal(session).filter(|_| !self.files.is_lost())
    }

    fn foreign_writes(&self) -> u64 {
        self.cache.foreign_writes()
    }

    fn checkpoint(&self) -> BoxFuture<'_, StoreResult<()>> {
        if self.files.is_lost() {
            // Its log goes with it; that it is lost is told already.
            return ready(Ok(())).boxed();
        }
        let (files, tuning) = (Arc::clone(&self.files), self.tuning.clone());
        let queue = read(&self.queue).as_ref().map(Arc::downgrade).unwrap_or_default();
        let done = spawn_blocking(move || checkpoint::run(&files, tuning.log, tuning.busy, &queue));
        done.map(|done| match done {
            Ok(done) => done.map_err(|error| fault(&error)),
            Err(_) => Err(StoreError::Unavailable),
        })
        .boxed()
    }

    fn long_log(&self) -> BoxFuture<'_, ()> {
        self.long_log.notified().boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            // Without a sender the writer ends when it has answered what is queued.
            drop(write(&self.queue).take());
            if let Some(writer) = self.writer.lock().await.take()
                && !matches!(spawn_blocking(|| writer.join()).await, Ok(Ok(())))
            {
                tracing::error!("the writer did not end as it should");
            }
        }
        .boxed()
    }
}
