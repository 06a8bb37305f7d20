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
        key.prop_map(|key| Step::Foreign { key }),
    ]
}

proptest! {
    #[test]
    fn s17_no_interleaving_serves_what_is_older_than_acknowledged(steps in prop::collection::vec(step(), 0..80)) {
        let cache: EpochCache<u8, u32> = EpochCache::new(10);
        let (mut truth, mut acknowledged, mut foreign) = ([0u32; 2], [0u32; 2], 0);
        let mut readers: [Option<(u8, ReadToken, Option<u32>)>; 3] = [None; 3];
        for step in steps {
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
                Step::Commit { key } => truth[usize::from(key)] += 1,
                Step::Acknowledge { key } => {
                    cache.forget(&key);
                    acknowledged[usize::from(key)] = truth[usize::from(key)];
                }
                Step::Foreign { key } => {
                    truth[usize::from(key)] += 1;
                    foreign += 1;
                    acknowledged[usize::from(key)] = truth[usize::from(key)];
                }
            }
            for key in 0..2u8 {
                if let Some(row) = cache.get(&key, foreign) {
                    prop_assert!(*row >= acknowledged[usize::from(key)]);
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
