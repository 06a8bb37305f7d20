//! What is usual in each country, counted from the database now and then.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Auth;
use crate::domain::Timestamp;
use crate::domain::guard::{Usual, WEEK};
use crate::storage::StoreResult;
use crate::storage::guard::Verifications;
use crate::sync::lock;

/// After what time it is counted anew.
const GOOD_FOR: Duration = Duration::from_mins(5);

/// What was counted last.
#[derive(Default)]
pub(super) struct UsualTraffic {
    known: Mutex<Option<(Timestamp, Arc<Traffic>)>>,
    /// Held by the one who counts: it takes long, and all others want the same.
    turn: tokio::sync::Mutex<()>,
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
    fn good(&self, now: Timestamp) -> Option<Arc<Traffic>> {
        let known = lock(&self.known).clone();
        known.filter(|(at, _)| *at <= now && now < *at + GOOD_FOR).map(|(_, traffic)| traffic)
    }
}

impl Auth {
    /// What is usual now.
    pub(super) async fn usual_traffic(&self, now: Timestamp) -> StoreResult<Arc<Traffic>> {
        if let Some(traffic) = self.usual.good(now) {
            return Ok(traffic);
        }
        let _turn = self.usual.turn.lock().await;
        // Somebody may have counted meanwhile.
        if let Some(traffic) = self.usual.good(now) {
            return Ok(traffic);
        }
        let counted = self.parts.store.read(move |view| view.first_verifications(now - WEEK)).await?;
        let traffic = Arc::new(Traffic::new(counted));
        *lock(&self.usual.known) = Some((now, traffic.clone()));
        Ok(traffic)
    }
}
