//! Who holds a session, kept in memory, and never older than what was last acknowledged.
//!
//! Two things guard that. An own write bumps the epoch of what it touched after its commit and before its answer; a
//! reader notes the epoch before it reads and puts what it read only if the epoch has not moved. Epochs are sharded by
//! key: with one for all, a busy hour of logins would let no reader put anything. And every entry carries the number of
//! foreign writes seen when its reading began; one more of those, and the entry counts for nothing.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use moka::sync::Cache;

use crate::domain::session::SessionStatus;
use crate::domain::{Session, SessionId, User, UserId};
use crate::storage::Principal;
use crate::sync::lock;

/// Enough that readers and writers of different keys seldom meet, few enough to cost nothing.
const SHARDS: usize = 64;

/// Rows that a transaction changed or deleted.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Users.
    pub(super) users: Vec<UserId>,
    /// Sessions.
    pub(super) sessions: Vec<SessionId>,
    /// Whether a person was erased, whom the write-ahead log still holds.
    pub(super) is_erasure: bool,
}

/// Sessions and users by their ids.
pub(super) struct PrincipalCache {
    sessions: EpochCache<u128, SessionStatus>,
    users: EpochCache<UserId, User>,
    foreign_writes: AtomicU64,
}

impl PrincipalCache {
    /// Holds at most `capacity` sessions and as many users.
    pub(super) fn new(capacity: u64) -> Self {
        Self {
            sessions: EpochCache::new(capacity),
            users: EpochCache::new(capacity),
            foreign_writes: AtomicU64::new(0),
        }
    }

    /// A session and its user, if both are known.
    pub(super) fn principal(&self, id: &SessionId) -> Option<Principal> {
        let foreign = self.foreign_writes();
        let session = self.sessions.get(&id.number(), foreign)?;
        let user = self.users.get(&session.user, foreign)?;
        Some(Principal { session, user })
    }

    /// A session, from memory or else from `read`; misses are not cached.
    pub(super) fn session<E>(
        &self,
        id: &SessionId,
        read: impl FnOnce() -> Result<Option<Session>, E>,
    ) -> Result<Option<Arc<SessionStatus>>, E> {
        let read = || Ok(read()?.map(|session| session.status()));
        self.sessions.get_or_read(&id.number(), || self.foreign_writes(), read)
    }

    /// A user, likewise.
    pub(super) fn user<E>(
        &self,
        id: UserId,
        read: impl FnOnce() -> Result<Option<User>, E>,
    ) -> Result<Option<Arc<User>>, E> {
        self.users.get_or_read(&id, || self.foreign_writes(), read)
    }

    /// Forgets what a transaction changed; called after its commit and before anybody hears of it.
    pub(super) fn forget(&self, touched: &Touched) {
        touched.users.iter().for_each(|id| self.users.forget(id));
        touched.sessions.iter().for_each(|id| self.sessions.forget(&id.number()));
    }

    /// Forgets everything: another process wrote, and what it changed is not known.
    pub(super) fn another_process_wrote(&self) {
        self.foreign_writes.fetch_add(1, Ordering::SeqCst);
        // The count alone makes every entry worthless; this gives their memory back.
        self.sessions.entries.invalidate_all();
        self.users.entries.invalidate_all();
    }

    /// How often another process was seen to have written.
    pub(super) fn foreign_writes(&self) -> u64 {
        self.foreign_writes.load(Ordering::SeqCst)
    }
}

/// Rows of one kind by key, each key with an epoch that own writes raise.
struct EpochCache<K, V> {
    entries: Cache<K, Entry<V>>,
    epochs: Vec<Mutex<u64>>,
    hasher: RandomState,
}

struct Entry<V> {
    row: Arc<V>,
    foreign: u64,
}

/// What held when a reading began.
#[derive(Clone, Copy)]
struct ReadToken {
    epoch: u64,
    foreign: u64,
}

impl<K, V> EpochCache<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    fn new(capacity: u64) -> Self {
        Self {
            entries: Cache::new(capacity),
            epochs: (0..SHARDS).map(|_| Mutex::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }

    fn get(&self, key: &K, foreign: u64) -> Option<Arc<V>> {
        self.entries.get(key).filter(|entry| entry.foreign == foreign).map(|entry| entry.row)
    }

    fn get_or_read<E>(
        &self,
        key: &K,
        foreign: impl FnOnce() -> u64,
        read: impl FnOnce() -> Result<Option<V>, E>,
    ) -> Result<Option<Arc<V>>, E> {
        let foreign = foreign();
        if let Some(row) = self.get(key, foreign) {
            return Ok(Some(row));
        }
        let token = self.begin_read(key, foreign);
        let Some(row) = read()?.map(Arc::new) else { return Ok(None) };
        self.put(key, token, Arc::clone(&row));
        Ok(Some(row))
    }

    fn begin_read(&self, key: &K, foreign: u64) -> ReadToken {
        ReadToken { epoch: *self.epoch(key), foreign }
    }

    /// Puts what was read after `token`, unless it may be older than the truth.
    fn put(&self, key: &K, token: ReadToken, row: Arc<V>) {
        // Held until the row is in: between the comparison and the insertion nobody may forget the key.
        let epoch = self.epoch(key);
        if *epoch == token.epoch {
            self.entries.insert(key.clone(), Entry { row, foreign: token.foreign });
        }
    }

    fn forget(&self, key: &K) {
        let mut epoch = self.epoch(key);
        *epoch += 1;
        self.entries.invalidate(key);
    }

    fn epoch(&self, key: &K) -> MutexGuard<'_, u64> {
        let hash = self.hasher.hash_one(key);
        let shard = usize::try_from(hash % SHARDS as u64).unwrap_or(0);
        lock(&self.epochs[shard])
    }
}

impl<V> Clone for Entry<V> {
    fn clone(&self) -> Self {
        Self { row: Arc::clone(&self.row), foreign: self.foreign }
    }
}

#[cfg(test)]
#[path = "tests/cache.rs"]
mod tests;
