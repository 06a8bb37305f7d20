use std::sync::atomic::AtomicBool;
use std::thread;

use super::*;
use proptest::prelude::*;

/// One key of a cache, what the database holds, and readers at any point of their reading.
#[derive(Clone, Debug)]
enum Step {
    /// A reader begins.
    Begin { reader: usize, key: u8 },
    /// The same reader reads the database as it is now.
    Read { reader: usize },
    /// The same reader puts what it read.
    Put { reader: usize },
    /// The writer commits a new version of a key.
    Commit { key: u8 },
    /// The writer forgets the key; from here on the write is acknowledged.
    Acknowledge { key: u8 },
    /// The writer commits that a key was seen in use.
    CommitUse { key: u8 },
    /// The writer has the cache learn of it; from here on that is acknowledged.
    LearnUse { key: u8 },
    /// Another process commits, and the writer sees it.
    Foreign { key: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    let (reader, key) = (0usize..3, 0u8..2);
    prop_oneof![
        (reader.clone(), key.clone()).prop_map(|(reader, key)| Step::Begin { reader, key }),
        reader.clone().prop_map(|reader| Step::Read { reader }),
        reader.prop_map(|reader| Step::Put { reader }),
        key.clone().prop_map(|key| Step::Commit { key }),
        key.clone().prop_map(|key| Step::Acknowledge { key }),
        key.clone().prop_map(|key| Step::CommitUse { key }),
        key.clone().prop_map(|key| Step::LearnUse { key }),
        key.prop_map(|key| Step::Foreign { key }),
    ]
}

/// How often a row was replaced, and when it was last seen in use.
#[derive(Clone, Copy, Debug, Default)]
struct Versioned {
    version: u32,
    used_at: u32,
}

impl Versioned {
    fn replaced(self) -> Self {
        Self { version: self.version + 1, ..self }
    }

    fn used(self, at: u32) -> Self {
        Self { used_at: self.used_at.max(at), ..self }
    }

    fn is_at_least(self, other: Self) -> bool {
        self.version >= other.version && self.used_at >= other.used_at
    }
}

proptest! {
    #[test]
    fn s17_no_interleaving_serves_what_is_older_than_acknowledged(steps in prop::collection::vec(step(), 0..80)) {
        let cache: EpochCache<u8, Versioned> = EpochCache::new(10);
        let (mut truth, mut acknowledged) = ([Versioned::default(); 2], [Versioned::default(); 2]);
        let mut foreign = 0;
        let mut readers: [Option<(u8, ReadToken, Option<Versioned>)>; 3] = [None; 3];
        for (at, step) in (1u32..).zip(steps) {
            match step {
                Step::Begin { reader, key } => readers[reader] = Some((key, cache.begin_read(foreign), None)),
                Step::Read { reader } => {
                    if let Some((key, _, seen @ None)) = &mut readers[reader] {
                        *seen = Some(truth[usize::from(*key)]);
                    }
                }
                Step::Put { reader } => {
                    if let Some((key, token, Some(seen))) = readers[reader].take() {
                        cache.put(key, token, Arc::new(seen));
                    }
                }
                Step::Commit { key } => {
                    let row = &mut truth[usize::from(key)];
                    *row = row.replaced();
                }
                Step::Acknowledge { key } => {
                    cache.forget(&key);
                    acknowledged[usize::from(key)] = truth[usize::from(key)];
                }
                Step::CommitUse { key } => {
                    let row = &mut truth[usize::from(key)];
                    *row = row.used(at);
                }
                Step::LearnUse { key } => {
                    let used_at = truth[usize::from(key)].used_at;
                    cache.change(&key, |row| row.used(used_at));
                    acknowledged[usize::from(key)].used_at = used_at;
                }
                Step::Foreign { key } => {
                    let row = &mut truth[usize::from(key)];
                    *row = row.replaced();
                    foreign += 1;
                    acknowledged[usize::from(key)] = *row;
                }
            }
            for key in 0..2u8 {
                if let Some(row) = cache.get(&key, foreign) {
                    prop_assert!(row.is_at_least(acknowledged[usize::from(key)]));
                    prop_assert!(truth[usize::from(key)].is_at_least(*row), "what nobody committed");
                }
            }
        }
    }
}

#[test]
fn s17_threads_never_see_what_is_older_than_acknowledged() {
    let cache: Arc<EpochCache<u8, u64>> = Arc::new(EpochCache::new(10));
    let (truth, acknowledged) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (cache, truth) = (Arc::clone(&cache), Arc::clone(&truth));
            let (acknowledged, done) = (Arc::clone(&acknowledged), Arc::clone(&done));
            thread::spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    let least = acknowledged.load(Ordering::SeqCst);
                    let row = cache.get(&1, 0).unwrap_or_else(|| {
                        let token = cache.begin_read(0);
                        let row = Arc::new(truth.load(Ordering::SeqCst));
                        cache.put(1, token, Arc::clone(&row));
                        row
                    });
                    assert!(*row >= least, "{row} after {least}");
                }
            })
        })
        .collect();
    for version in 1..20_000 {
        truth.store(version, Ordering::SeqCst);
        cache.forget(&1);
        acknowledged.store(version, Ordering::SeqCst);
    }
    done.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.join().unwrap();
    }
}

#[test]
fn what_is_forgotten_of_one_key_keeps_a_reading_of_another() {
    let cache: EpochCache<u64, u64> = EpochCache::new(1000);
    let shard = |key: u64| cache.hasher.hash_one(key) % SHARDS as u64;
    let other = (2..1000).find(|key| shard(*key) != shard(1)).unwrap();
    let token = cache.begin_read(0);
    cache.forget(&other);
    cache.put(1, token, Arc::new(5));
    assert_eq!(cache.get(&1, 0).as_deref(), Some(&5));
    cache.put(other, token, Arc::new(6));
    assert_eq!(cache.get(&other, 0), None, "it was forgotten since");
}

#[test]
fn a_use_changes_what_is_held_and_holds_nothing_new() {
    let cache: EpochCache<u8, u64> = EpochCache::new(10);
    cache.change(&1, |row| row + 1);
    assert_eq!(cache.get(&1, 0), None);
    cache.put(1, cache.begin_read(0), Arc::new(5));
    let (before, late) = (cache.begin_read(0), Arc::new(5));
    cache.change(&1, |row| row + 1);
    assert_eq!(cache.get(&1, 0).as_deref(), Some(&6));
    cache.put(1, before, late);
    assert_eq!(cache.get(&1, 0).as_deref(), Some(&6), "what was read before the use is late");
    assert_eq!(cache.get(&1, 1), None, "another process wrote since");
    cache.change(&1, |row| row + 1);
    assert_eq!(cache.get(&1, 1), None, "a use brings nothing back");
}

#[test]
fn s17_what_was_changed_often_is_read_again() {
    let cache: EpochCache<u8, u64> = EpochCache::new(10);
    for _ in 0..2 {
        cache.put(1, cache.begin_read(0), Arc::new(0));
        for changes in 1..=u64::from(MOST_CHANGES) {
            cache.change(&1, |row| row + 1);
            assert_eq!(cache.get(&1, 0).as_deref(), Some(&changes));
        }
        cache.change(&1, |row| row + 1);
        assert_eq!(cache.get(&1, 0), None);
    }
}

#[test]
fn what_a_transaction_did_to_a_session_is_learnt() {
    let cache = PrincipalCache::new(10);
    let now = Timestamp::from_millis(1_700_000_000_000);
    let phone = crate::domain::PhoneNumber::parse("+15550000001", 10).unwrap();
    let user = Arc::new(User::new(UserId(1), "user_15550000001".to_owned(), phone, "retailer", now));
    let status = SessionStatus {
        user: user.id,
        generation: 2,
        generation_used: false,
        refresh_expires_at: now,
        last_used_at: now,
        ended: None,
    };
    let [current, older, ended] = [1, 2, 3].map(|chance| SessionId::new(now, [chance; 10]));
    for id in [&current, &older, &ended] {
        let principal = Principal { session: Arc::new(status), user: Arc::clone(&user) };
        cache.put(cache.begin_read(), id, &principal);
    }
    let later = Timestamp::from_millis(1_700_000_060_000);
    let seen = |session: &SessionId, generation| Use { session: session.clone(), generation, at: later };
    let touched = Touched {
        sessions: vec![ended.clone()],
        uses: vec![seen(&current, 2), seen(&older, 1), seen(&ended, 2)],
        ..Touched::default()
    };
    cache.learn(&touched);
    let held = |id| cache.principal(id).map(|principal| *principal.session);
    let expected = SessionStatus { last_used_at: later, ..status };
    assert_eq!(held(&current), Some(SessionStatus { generation_used: true, ..expected }));
    assert_eq!(held(&older), Some(expected));
    assert_eq!(held(&ended), None);
    cache.learn(&touched.in_doubt());
    assert_eq!((held(&current), held(&older)), (None, None));
}
