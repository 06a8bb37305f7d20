//! What is known of sessions and users without asking the server, and whether that may be believed.

use super::lease::Lease;
use crate::clock::since_boot;
use crate::domain::SessionId;
use crate::storage::cache::{PrincipalCache, Reading, Touched};
use crate::storage::{Principal, StoreResult};

/// Rows that were read here, and the lease under which they count.
pub(super) struct Memory {
    cache: PrincipalCache,
    lease: Lease,
}

impl Memory {
    /// Holds at most so many sessions and as many users.
    pub(super) fn new(principals: u64) -> Self {
        Self { cache: PrincipalCache::new(principals), lease: Lease::new() }
    }

    /// Until when memory may be believed.
    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// A session and its user, where both are known and would be known to have ended.
    pub(super) fn known(&self, id: &SessionId) -> Option<Principal> {
        // The lease as it was before memory is asked, judged after that: the thread may have been halted in between.
        let end = self.lease.end_of()?;
        let known = self.cache.principal(id)?;
        (since_boot() < end).then_some(known)
    }

    /// Reads a session and its user, and keeps them.
    pub(super) fn keep(
        &self,
        id: &SessionId,
        read: impl FnOnce() -> StoreResult<Option<Principal>>,
    ) -> StoreResult<Option<Principal>> {
        let reading: Reading = self.cache.begin_read();
        let found = read()?;
        if let Some(found) = &found {
            self.cache.put(reading, id, found);
        }
        Ok(found)
    }

    /// Learns what a transaction changed.
    pub(super) fn learn(&self, touched: &Touched) {
        self.cache.learn(touched);
    }

    /// Forgets everything.
    pub(super) fn forget_all(&self) {
        self.cache.another_process_wrote();
    }
}
