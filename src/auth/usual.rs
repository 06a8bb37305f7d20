//! What is usual in each country, counted from the database now and then.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Auth;
use crate::domain::Timestamp;
use crate::domain::clock::AHEAD;
use crate::domain::guard::{Usual, WEEK};
use crate::storage::guard::Verifications;
use crate::storage::{StoreError, StoreResult};
use crate::sync::lock;

/// After what time it is counted anew.
const GOOD_FOR: Duration = Duration::from_mins(5);

/// For how long it will do while somebody counts anew, and where that fails.
const USABLE_FOR: Duration = Duration::from_hours(1);

/// How long a call waits for another one that counts. Whoever waits longer buys a message that its caller waits for no more.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was counted last.
pub(super) struct UsualTraffic {
    known: Mutex<Option<(Timestamp, Arc<Traffic>)>>,
    /// Held by the one who counts: it takes long, and all others want the same.
    turn: tokio::sync::Mutex<()>,
    /// How long the turn is waited for.
    patience: Duration,
}

impl Default for UsualTraffic {
    fn default() -> Self {
        Self { known: Mutex::default(), turn: tokio::sync::Mutex::default(), patience: PATIENCE }
    }
}

/// What is usual.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    countries: HashMap<String, Usual>,
    world: Usual,
}

impl Traffic {
    /// Of a week of first verifications.
    fn new(verifications: Vec<Verifications>) -> Self {
        let (mut countries, mut world) = (HashMap::<_, BTreeMap<_, u32>>::new(), BTreeMap::<_, u32>::new());
        for Verifications { country, bucket, count } in verifications {
            *countries.entry(country).or_default().entry(bucket).or_default() += count;
            *world.entry(bucket).or_default() += count;
        }
        let countries = countries.into_iter().map(|(country, buckets)| (country, Usual::of(&buckets)));
        Self { countries: countries.collect(), world: Usual::of(&world) }
    }

    /// In a country, and in all.
    pub(super) fn of(&self, country: &str) -> [Usual; 2] {
        [self.countries.get(country).copied().unwrap_or_default(), self.world]
    }
}

impl UsualTraffic {
    /// What was counted less than `age` ago.
    fn known(&self, now: Timestamp, age: Duration) -> Option<Arc<Traffic>> {
        let known = lock(&self.known).clone();
        known.filter(|(at, _)| *at <= now && now < *at + age).map(|(_, traffic)| traffic)
    }

    /// What is usual now. Where it is to be counted anew, one caller does so with `count`; the others take what was counted before,
    /// or wait a few seconds where that is too old.
    async fn get<F>(&self, now: Timestamp, count: impl FnOnce() -> F) -> StoreResult<Arc<Traffic>>
    where
        F: Future<Output = StoreResult<Vec<Verifications>>>,
    {
        if let Some(traffic) = self.known(now, GOOD_FOR) {
            return Ok(traffic);
        }
        let usable = || self.known(now, USABLE_FOR);
        let _turn = match (self.turn.try_lock(), usable()) {
            (Ok(turn), _) => turn,
            (Err(_), Some(traffic)) => return Ok(traffic),
            (Err(_), None) => {
                let turn = tokio::time::timeout(self.patience, self.turn.lock()).await;
                turn.map_err(|_| StoreError::Unavailable)?
            }
        };
        // Somebody may have counted meanwhile.
        if let Some(traffic) = self.known(now, GOOD_FOR) {
            return Ok(traffic);
        }
        match count().await {
            Ok(counted) => {
                let traffic = Arc::new(Traffic::new(counted));
                *lock(&self.known) = Some((now, traffic.clone()));
                Ok(traffic)
            }
            // Where the database is away, the write of the message says so, out of a queue that is bounded.
            Err(error) => usable().ok_or(error),
        }
    }
}

impl Auth {
    /// What is usual now.
    pub(super) async fn usual_traffic(&self, now: Timestamp) -> StoreResult<Arc<Traffic>> {
        let count = || self.parts.store.read(move |view| view.first_verifications(now - WEEK, now + AHEAD));
        self.usual.get(now, count).await
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::future::join_all;

    use super::*;

    const COUNTED: Timestamp = Timestamp::from_millis(1_000_000);

    /// One that waits for nobody, before it has counted anything or after.
    async fn impatient(has_counted: bool) -> UsualTraffic {
        let usual = UsualTraffic { patience: Duration::ZERO, ..UsualTraffic::default() };
        if has_counted {
            usual.get(COUNTED, || ready(Ok(Vec::new()))).await.unwrap();
        }
        usual
    }

    #[test]
    fn a_country_has_its_own_verifications_and_the_world_has_all() {
        let of = |country: &str, bucket, count| Verifications { country: country.to_owned(), bucket, count };
        let traffic = Traffic::new(vec![of("DE", 1, 2), of("DE", 2, 3), of("FR", 2, 4), of("FR", 900, 5)]);
        let usual = |burst, hour| Usual { burst, hour };
        assert_eq!(traffic.of("DE"), [usual(3, 5), usual(7, 9)]);
        assert_eq!(traffic.of("FR"), [usual(5, 5), usual(7, 9)]);
        assert_eq!(traffic.of("US"), [usual(0, 0), usual(7, 9)], "nobody there was ever verified");
    }

    #[tokio::test]
    async fn what_was_counted_at_a_time_that_is_yet_to_come_is_counted_anew() {
        let usual = impatient(true).await;
        let before = COUNTED - Duration::from_millis(1);
        let one = Verifications { country: "DE".to_owned(), bucket: 1, count: 1 };
        let counted = usual.get(before, || ready(Ok(vec![one]))).await.unwrap();
        assert_eq!(counted.of("DE")[0], Usual { burst: 1, hour: 1 });
    }

    #[tokio::test]
    async fn while_a_count_hangs_all_others_are_answered() {
        for (has_counted, age) in [(true, GOOD_FOR), (true, USABLE_FOR), (false, Duration::ZERO)] {
            let usual = impatient(has_counted).await;
            let now = COUNTED + age;
            let mut hanging = Box::pin(usual.get(now, pending));
            assert!(futures_util::poll!(&mut hanging).is_pending());
            let others = join_all((0..50).map(|_| usual.get(now, pending))).await;
            let is_old_good_enough = has_counted && age < USABLE_FOR;
            assert!(others.iter().all(|other| other.is_ok() == is_old_good_enough), "{age:?}");
        }
    }

    #[tokio::test]
    async fn where_it_cannot_be_counted_an_older_count_does_for_an_hour() {
        let usual = impatient(true).await;
        for (age, is_usable) in [(GOOD_FOR, true), (USABLE_FOR, false)] {
            let found = usual.get(COUNTED + age, || ready(Err(StoreError::Unavailable))).await;
            assert_eq!(found.is_ok(), is_usable, "{age:?}");
        }
    }
}
