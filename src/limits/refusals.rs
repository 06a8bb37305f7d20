//! A cache of exhausted quotas: it answers 429 without the database and never grants, so that a flood of refusals does not
//! reach the disk.
//!
//! An entry that was evicted, or that another process's write has made doubtful, merely costs a look into the ledger.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::sync::Cache;

use super::shared::{GOOD_FOR, SharedRefusal};
use crate::domain::Timestamp;
use crate::domain::quota::Quota;

/// How many keys are remembered at most.
const CAPACITY: u64 = 100_000;

/// Whose quotas are exhausted, and until when.
pub struct RefusalCache {
    keys: Cache<(Quota, String), Arc<Exhausted>>,
}

struct Exhausted {
    until: Timestamp,
    /// What the store had seen of other processes' writes before the ledger was asked.
    foreign_writes: u64,
    /// When the ledger is asked again, where another server had asked it.
    good_until: Option<Timestamp>,
    refusals: AtomicU64,
}

/// Refusals that memory gave since they were last taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalCount {
    /// Of which quota.
    pub quota: Quota,
    /// To whom.
    pub subject: String,
    /// When their window closes.
    pub until: Timestamp,
    /// How many.
    pub count: u64,
}

impl RefusalCache {
    /// An empty cache.
    pub fn new() -> Self {
        Self { keys: Cache::new(CAPACITY) }
    }

    /// Which of `subjects` still has to wait the longest at `now`, by its place, and how long, if memory knows of one; counts the
    /// refusal there.
    pub fn refuse<'s>(
        &self,
        quota: Quota,
        subjects: impl IntoIterator<Item = &'s str>,
        now: Timestamp,
        foreign_writes: u64,
    ) -> Option<(usize, Duration)> {
        let known = subjects.into_iter().enumerate().filter_map(|(place, subject)| {
            let out = self.keys.get(&(quota, subject.to_owned()))?;
            out.holds(now, foreign_writes).then_some((place, out))
        });
        let (place, out) = known.max_by_key(|(_, out)| out.until)?;
        out.refusals.fetch_add(1, Ordering::Relaxed);
        Some((place, now.until(out.until)))
    }

    /// Remembers that the ledger refused `subject` until `until`; `foreign_writes` was read before the ledger was asked.
    pub fn remember(&self, quota: Quota, subject: String, until: Timestamp, foreign_writes: u64) {
        self.insert(quota, subject, Exhausted::new(until, foreign_writes, None));
    }

    /// The same of a refusal of which another server told.
    pub fn adopt(&self, quota: Quota, subject: String, told: SharedRefusal, foreign_writes: u64) {
        let good_until = Some(told.asked + GOOD_FOR);
        self.insert(quota, subject, Exhausted::new(told.until, foreign_writes, good_until));
    }

    fn insert(&self, quota: Quota, subject: String, out: Exhausted) {
        self.keys.insert((quota, subject), Arc::new(out));
    }

    /// Takes the refusals given since the last call, to be counted durably, and forgets the keys whose wait is over.
    pub fn take(&self, now: Timestamp) -> Vec<RefusalCount> {
        let mut taken = Vec::new();
        for (key, out) in &self.keys {
            let count = out.refusals.swap(0, Ordering::Relaxed);
            if count > 0 {
                taken.push(RefusalCount { quota: key.0, subject: key.1.clone(), until: out.until, count });
            }
            if out.until <= now {
                self.keys.invalidate(&*key);
            }
        }
        taken
    }
}

impl Exhausted {
    fn new(until: Timestamp, foreign_writes: u64, good_until: Option<Timestamp>) -> Self {
        Self { until, foreign_writes, good_until, refusals: AtomicU64::new(0) }
    }

    fn holds(&self, now: Timestamp, foreign_writes: u64) -> bool {
        self.until > now
            && self.foreign_writes == foreign_writes
            && self.good_until.is_none_or(|good_until| now < good_until)
    }
}

impl Default for RefusalCache {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::quota::Endpoint;

    const QUOTA: Quota = Quota::Ip(Endpoint::Request);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn it_refuses_until_the_wait_is_over_and_counts() {
        let cache = RefusalCache::new();
        assert_eq!(cache.refuse(QUOTA, ["a"], at(0), 0), None);
        cache.remember(QUOTA, "a".into(), at(60), 0);
        assert_eq!(cache.refuse(QUOTA, ["a"], at(20), 0), Some((0, Duration::from_secs(40))));
        assert_eq!(cache.refuse(QUOTA, ["b"], at(20), 0), None);
        assert_eq!(cache.refuse(Quota::Ip(Endpoint::Verify), ["a"], at(20), 0), None);
        assert_eq!(cache.refuse(QUOTA, ["a"], at(60), 0), None);
        let taken = cache.take(at(60));
        assert_eq!(taken, [RefusalCount { quota: QUOTA, subject: "a".into(), until: at(60), count: 1 }]);
        assert!(cache.take(at(60)).is_empty());
    }

    #[test]
    fn of_several_subjects_the_one_that_waits_longest_counts_the_refusal() {
        let cache = RefusalCache::new();
        cache.remember(QUOTA, "a".into(), at(60), 0);
        cache.remember(QUOTA, "b".into(), at(90), 0);
        let refused = cache.refuse(QUOTA, ["a", "b", "c"], at(20), 0);
        assert_eq!(refused, Some((1, Duration::from_secs(70))));
        let taken = cache.take(at(20));
        assert_eq!(taken, [RefusalCount { quota: QUOTA, subject: "b".into(), until: at(90), count: 1 }]);
    }

    #[test]
    fn another_processs_write_makes_it_ask_the_ledger() {
        let cache = RefusalCache::new();
        cache.remember(QUOTA, "a".into(), at(60), 3);
        assert!(cache.refuse(QUOTA, ["a"], at(1), 3).is_some());
        assert!(cache.refuse(QUOTA, ["a"], at(1), 4).is_none());
    }

    #[test]
    fn what_another_server_told_is_asked_again_five_seconds_after_it_had_asked() {
        let cache = RefusalCache::new();
        cache.adopt(QUOTA, "a".into(), SharedRefusal { until: at(60), asked: at(10) }, 3);
        assert_eq!(cache.refuse(QUOTA, ["a"], at(14), 3), Some((0, Duration::from_secs(46))));
        assert!(cache.refuse(QUOTA, ["a"], at(14), 4).is_none());
        assert!(cache.refuse(QUOTA, ["a"], at(15), 3).is_none());
        assert_eq!(cache.take(at(15)).len(), 1, "what was refused is counted all the same");
    }

    #[test]
    fn s21_a_million_random_keys_leave_it_bounded() {
        let cache = RefusalCache::new();
        for key in 0..1_000_000 {
            cache.remember(QUOTA, key.to_string(), at(60), 0);
        }
        cache.keys.run_pending_tasks();
        assert!(cache.keys.entry_count() <= CAPACITY);
    }

    #[test]
    fn a_key_is_forgotten_when_its_wait_is_over() {
        let cache = RefusalCache::default();
        cache.remember(QUOTA, "a".into(), at(60), 0);
        for (now, is_there) in [(59, true), (60, false)] {
            assert!(cache.take(at(now)).is_empty());
            assert_eq!(cache.keys.contains_key(&(QUOTA, "a".to_owned())), is_there, "{now}");
        }
    }
}
