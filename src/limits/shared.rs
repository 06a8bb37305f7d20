//! What several servers of one database may count together, so that calling all of them gains a client nothing.
//!
//! It is a help and no more: where it cannot be asked, each server goes by what it has counted itself, and the ledger decides in
//! any case.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::flood::{FloodGuard, Pace};
use crate::domain::quota::{Limit, Quota};
use crate::domain::{ClientAddress, Timestamp};
use crate::sync::Live;

/// How long a refusal of the ledger holds for other servers, which may not know that it was taken back (`freshk limit reset`).
pub const GOOD_FOR: Duration = Duration::from_secs(5);

/// What the ledger refused a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedRefusal {
    /// When the subject has a unit again.
    pub until: Timestamp,
    /// When the ledger was asked.
    pub asked: Timestamp,
}

/// Counts over several servers. Each method answers `None` at once where that cannot be done.
pub trait SharedLimits: Send + Sync + 'static {
    /// Counts a call of `address` over all servers; how long it has to wait if it is too fast.
    fn pace(&self, address: ClientAddress, pace: Pace) -> BoxFuture<'_, Option<Duration>>;
    /// What the ledger refused `subject` lately, whichever server asked; `limit` bounds what is believed.
    fn refusal<'a>(
        &'a self,
        quota: Quota,
        subject: &'a str,
        limit: Limit,
        now: Timestamp,
    ) -> BoxFuture<'a, Option<SharedRefusal>>;
    /// Tells the other servers of a refusal; does not wait for it.
    fn tell(&self, quota: Quota, subject: &str, refusal: SharedRefusal);
}

/// The flood guard of a server, and what it counts with others.
#[derive(Clone)]
pub struct Pacing {
    own: Arc<Live<FloodGuard>>,
    shared: Option<Arc<dyn SharedLimits>>,
}

impl SharedRefusal {
    /// Whether it still holds at `now` for a quota of such a limit; what no server can have written does not.
    pub fn holds(&self, limit: Limit, now: Timestamp) -> bool {
        // The clocks of two servers differ by less than this.
        const APART: Duration = Duration::from_secs(1);
        let is_new = self.asked <= now + APART && now < self.asked + GOOD_FOR;
        is_new && now < self.until && self.until <= self.asked + limit.window
    }
}

impl Pacing {
    /// The guard of this server, which a reload replaces, and what is shared.
    pub(crate) fn new(own: Arc<Live<FloodGuard>>, shared: Option<Arc<dyn SharedLimits>>) -> Self {
        Self { own, shared }
    }

    /// Counts a request; how long its address has to wait if it is too fast. What this server has to refuse by itself asks
    /// nobody.
    pub async fn admit(&self, address: ClientAddress) -> Option<Duration> {
        let own = self.own.get();
        if let Err(wait) = own.admit(address) {
            return Some(wait);
        }
        self.shared.as_ref()?.pace(address, own.pace()?).await
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_refusal_holds_for_five_seconds_and_no_longer_than_its_window() {
        let limit = Limit { units: 5, window: Duration::from_mins(1) };
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let holds =
            |asked, until, now| SharedRefusal { until: at(until), asked: at(asked) }.holds(limit, at(now));
        assert!(holds(100, 160, 100) && holds(100, 160, 104));
        assert!(!holds(100, 160, 105), "the ledger is asked again");
        assert!(holds(100, 103, 102) && !holds(100, 103, 103), "its wait is over");
        assert!(!holds(100, 161, 100), "no wait is longer than the window");
        assert!(holds(101, 161, 100) && !holds(102, 162, 100), "nobody asks in the future");
    }

    /// Has every call wait for three seconds, and counts the calls.
    #[derive(Default)]
    struct Slow(AtomicU32);

    impl SharedLimits for Slow {
        fn pace(&self, _: ClientAddress, pace: Pace) -> BoxFuture<'_, Option<Duration>> {
            assert_eq!(Some(pace), Pace::new(1, 2));
            self.0.fetch_add(1, Ordering::Relaxed);
            ready(Some(Duration::from_secs(3))).boxed()
        }

        fn refusal<'a>(
            &'a self,
            _: Quota,
            _: &'a str,
            _: Limit,
            _: Timestamp,
        ) -> BoxFuture<'a, Option<SharedRefusal>> {
            ready(None).boxed()
        }

        fn tell(&self, _: Quota, _: &str, _: SharedRefusal) {}
    }

    #[tokio::test]
    async fn what_a_server_refuses_by_itself_asks_nobody() {
        let address = ClientAddress::new(Ipv4Addr::LOCALHOST.into());
        let own = || Arc::new(Live::new(FloodGuard::new(1, 2)));
        let shared = Arc::new(Slow::default());
        let pacing = Pacing::new(own(), Some(shared.clone()));
        for _ in 0..2 {
            assert_eq!(pacing.admit(address).await, Some(Duration::from_secs(3)));
        }
        assert!(pacing.admit(address).await.is_some_and(|wait| wait <= Duration::from_secs(1)));
        assert_eq!(shared.0.load(Ordering::Relaxed), 2);
        let alone = Pacing::new(own(), None);
        assert_eq!(alone.admit(address).await, None);
    }
}
