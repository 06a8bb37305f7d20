//! The pool of reading connections, and the way to it from async code.

use std::sync::Arc;
use std::time::Duration;

use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::Connection;
use tokio::sync::Semaphore;
use tracing::Span;

use super::connect::{self, Role};
use super::fault::fault;
use super::watch::FileWatch;
use crate::storage::{StoreError, StoreResult};
use crate::threads::Threads;

/// Reading connections. As many threads read at once, and no more.
pub(super) struct Readers {
    pool: r2d2::Pool<SqliteConnectionManager>,
    places: Arc<Semaphore>,
    threads: Threads,
    wait: Duration,
}

impl Readers {
    /// At most `count` connections, opened when first needed; a read waits at most `wait` for one.
    pub(super) fn new(files: Arc<FileWatch>, count: u32, wait: Duration, busy: Duration) -> Self {
        let manager = SqliteConnectionManager::file(files.path()).with_flags(Role::Reader.flags()).with_init(
            move |conn| {
                files.confirm()?;
                connect::prepare(conn, Role::Reader, busy)
            },
        );
        let pool = r2d2::Pool::builder()
            .max_size(count)
            .min_idle(Some(0))
            .max_lifetime(None)
            .idle_timeout(None)
            .test_on_check_out(false)
            .error_handler(Box::new(LogErrors))
            .build_unchecked(manager);
        let count = count as usize;
        let (places, threads) = (Arc::new(Semaphore::new(count)), Threads::new("freshk-reader", count));
        Self { pool, places, threads, wait }
    }

    /// Runs `read` on a connection of its own, on a thread that may wait for the disk.
    pub(super) async fn run<T, F>(&self, read: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let place = tokio::time::timeout(self.wait, Arc::clone(&self.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            tracing::error!("no reading connection became free in time");
            return Err(StoreError::Unavailable);
        };
        let (pool, wait, span) = (self.pool.clone(), self.wait, Span::current());
        let done = self.threads.run(move || {
            let _place = place;
            // What it logs, a panic included, has the name of its request.
            let _request = span.entered();
            let conn = pool.get_timeout(wait).map_err(|error| {
                tracing::error!(%error, "no reading connection could be opened in time");
                StoreError::Unavailable
            })?;
            read(&conn).map_err(|error| fault(&error))
        });
        done.await.unwrap_or(Err(StoreError::Broken))
    }
}

#[derive(Debug)]
struct LogErrors;

impl r2d2::HandleError<rusqlite::Error> for LogErrors {
    fn handle_error(&self, error: rusqlite::Error) {
        fault(&error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::sqlite::tests::Bed;

    #[tokio::test]
    async fn a_read_that_waits_too_long_for_a_connection_is_refused() {
        let bed = Bed::new();
        let store = bed.store();
        let readers = Readers::new(Arc::clone(&store.files), 1, Duration::ZERO, Duration::ZERO);
        let _place = Arc::clone(&readers.places).acquire_owned().await.unwrap();
        assert_eq!(readers.run(|_| Ok(())).await, Err(StoreError::Unavailable));
    }

    #[tokio::test]
    async fn no_connection_is_opened_to_a_file_that_took_the_databases_place() {
        let bed = Bed::new();
        let store = bed.store();
        let copy = bed.dir.path().join("copy.db");
        std::fs::copy(store.path(), &copy).unwrap();
        std::fs::rename(&copy, store.path()).unwrap();
        let readers = Readers::new(Arc::clone(&store.files), 1, Duration::from_millis(10), Duration::ZERO);
        assert_eq!(readers.run(|_| Ok(())).await, Err(StoreError::Unavailable));
    }

    #[tokio::test]
    async fn a_database_that_cannot_be_opened_is_unavailable() {
        let bed = Bed::new();
        let store = bed.store();
        std::fs::rename(store.path(), bed.dir.path().join("elsewhere")).unwrap();
        let readers = Readers::new(Arc::clone(&store.files), 1, Duration::from_millis(10), Duration::ZERO);
        assert_eq!(readers.run(|_| Ok(())).await, Err(StoreError::Unavailable));
    }
}
