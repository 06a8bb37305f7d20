//! Who holds a session, kept in memory, and never older than what was last acknowledged.
//!
//! Two things guard that. What was changed is forgotten after its commit and before its answer, but for a session that was merely
//! seen in use, whose entry is changed alike; and each forgetting or change has a
//! number; a reader notes the last number before it reads, and puts what it read only if no later one belongs to its key.
//! Forgettings are remembered by shards of keys: with one for all, a busy hour of logins would let no reader put anything. And
//! every entry carries how often everything was forgotten when its reading began; once more, and the entry counts for nothing.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use moka::sync::Cache;

use super::Principal;
use crate::domain::session::SessionStatus;
use crate::domain::{SessionId, Timestamp, User, UserId};
use crate::sync::lock;

/// Enough that readers and writers of different keys seldom meet, few enough to cost nothing.
const SHARDS: usize = 64;

/// How often what is held of a row is changed before it is read again: for a session in steady use, whose uses are noted once a
/// minute, that is five minutes. By then an ending shows of which no trigger spoke, as where triggers are off.
const MOST_CHANGES: u32 = 4;

/// Rows that a transaction changed or deleted.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Users.
    pub(super) users: Vec<UserId>,
    /// Sessions.
    pub(super) sessions: Vec<SessionId>,
    /// Sessions of which nothing else changed.
    pub(super) uses: Vec<Use>,
    /// Whether a person was erased, whom the write-ahead log still holds.
    pub(super) is_erasure: bool,
}

/// A token of a session was seen.
#[derive(Clone, Debug)]
pub(super) struct Use {
    pub(super) session: SessionId,
    /// Of the token.
    pub(super) generation: u32,
    pub(super) at: Timestamp,
}

impl Touched {
    /// The same where nobody can say whether it is so: then uses must be forgotten, too.
    pub(super) fn in_doubt(mut self) -> Self {
        self.sessions.extend(self.uses.drain(..).map(|used| used.session));
        self
    }
}

/// Sessions and users by their ids.
pub(super) struct PrincipalCache {
    sessions: EpochCache<u128, SessionStatus>,
    users: EpochCache<UserId, User>,
    foreign_writes: AtomicU64,
}

/// What held before a session and its user were read.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    sessions: ReadToken,
    users: ReadToken,
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

    /// To be called before a session and its user are read.
    pub(super) fn begin_read(&self) -> Reading {
        let foreign = self.foreign_writes();
        Reading { sessions: self.sessions.begin_read(foreign), users: self.users.begin_read(foreign) }
    }

    /// Puts what was read since `reading`, unless it may be older than the truth.
    pub(super) fn put(&self, reading: Reading, id: &SessionId, Principal { session, user }: &Principal) {
        self.sessions.put(id.number(), reading.sessions, Arc::clone(session));
        self.users.put(user.id, reading.users, Arc::clone(user));
    }

    /// Learns what a transaction changed; called after its commit and before anybody hears of it.
    pub(super) fn learn(&self, touched: &Touched) {
        for Use { session, generation, at } in &touched.uses {
            self.sessions.change(&session.number(), |status| status.seen(*generation, *at));
        }
        touched.users.iter().for_each(|id| self.users.forget(id));
        touched.sessions.iter().for_each(|id| self.sessions.forget(&id.number()));
    }

    /// Forgets everything: what another process wrote is not known.
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

/// Rows of one kind by key, each key with the number of its last forgetting; a change counts as one.
struct EpochCache<K, V> {
    entries: Cache<K, Entry<V>>,
    /// How often anything was forgotten.
    forgettings: AtomicU64,
    /// The number of the last forgetting among the keys of each shard.
    last: Vec<Mutex<u64>>,
    hasher: RandomState,
}

struct Entry<V> {
    row: Arc<V>,
    foreign: u64,
    /// Since it was read.
    changes: u32,
}

/// What held when a reading began.
#[derive(Clone, Copy)]
struct ReadToken {
    forgettings: u64,
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
            forgettings: AtomicU64::new(0),
            last: (0..SHARDS).map(|_| Mutex::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }

    fn get(&self, key: &K, foreign: u64) -> Option<Arc<V>> {
        self.entries.get(key).filter(|entry| entry.foreign == foreign).map(|entry| entry.row)
    }

    fn begin_read(&self, foreign: u64) -> ReadToken {
        ReadToken { forgettings: self.forgettings.load(Ordering::SeqCst), foreign }
    }

    /// Puts what was read after `token`, unless it may be older than the truth.
    fn put(&self, key: K, token: ReadToken, row: Arc<V>) {
        // Held until the row is in: between the comparison and the insertion nobody may forget the key.
        let last = self.last_of(&key);
        if *last <= token.forgettings {
            self.entries.insert(key, Entry { row, foreign: token.foreign, changes: 0 });
        }
    }

    fn forget(&self, key: &K) {
        let _last = self.outdate(key);
        self.entries.invalidate(key);
    }

    /// Does to what is held of a row what a transaction did; or what it would have done to a row that was so no longer, and is about to
    /// be forgotten. After [`MOST_CHANGES`] it is forgotten.
    fn change(&self, key: &K, change: impl FnOnce(&V) -> V) {
        // Held until the row is in, as in `put`.
        let _last = self.outdate(key);
        match self.entries.get(key) {
            Some(Entry { row, foreign, changes }) if changes < MOST_CHANGES => {
                let entry = Entry { row: Arc::new(change(&row)), foreign, changes: changes + 1 };
                self.entries.insert(key.clone(), entry);
            }
            Some(_) => self.entries.invalidate(key),
            None => {}
        }
    }

    /// Has what was read until now be put no more.
    fn outdate(&self, key: &K) -> MutexGuard<'_, u64> {
        let mut last = self.last_of(key);
        *last = self.forgettings.fetch_add(1, Ordering::SeqCst) + 1;
        last
    }

    fn last_of(&self, key: &K) -> MutexGuard<'_, u64> {
        let hash = self.hasher.hash_one(key);
        let shard = usize::try_from(hash % SHARDS as u64).unwrap_or(0);
        lock(&self.last[shard])
    }
}

impl<V> Clone for Entry<V> {
    fn clone(&self) -> Self {
        Self { row: Arc::clone(&self.row), foreign: self.foreign, changes: self.changes }
    }
}

#[cfg(test)]
#[path = "tests/cache.rs"]
mod tests;
