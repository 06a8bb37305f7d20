//! An engine to whose writes a test does something before they are handed on.

use futures_util::future::BoxFuture;

use super::*;
use crate::domain::SessionId;
use crate::storage::{Engine, Principal, ReadJob, WriteJob};

/// What becomes of writes.
pub(super) trait Writes: Send + Sync + 'static {
    /// Hands a write on, or does not.
    fn submit(&self, engine: &dyn Engine, job: Box<dyn WriteJob>) -> StoreResult<()>;
}

/// The engine; it reads what the one behind it reads.
pub(super) struct Intercepted<W> {
    pub(super) inner: Arc<dyn Engine>,
    pub(super) writes: W,
}

impl<W: Writes> Engine for Intercepted<W> {
    fn submit(&self, job: Box<dyn WriteJob>) -> StoreResult<()> {
        self.writes.submit(&*self.inner, job)
    }

    fn query(&self, job: ReadJob) -> BoxFuture<'_, StoreResult<()>> {
        self.inner.query(job)
    }

    fn principal<'a>(&'a self, session: &'a SessionId) -> BoxFuture<'a, StoreResult<Option<Principal>>> {
        self.inner.principal(session)
    }

    fn known(&self, session: &SessionId) -> Option<Principal> {
        self.inner.known(session)
    }

    fn foreign_writes(&self) -> u64 {
        self.inner.foreign_writes()
    }

    fn checkpoint(&self) -> BoxFuture<'_, StoreResult<()>> {
        self.inner.checkpoint()
    }

    fn long_log(&self) -> BoxFuture<'_, ()> {
        self.inner.long_log()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}
