//! The pace of one sender: so many segments a second, for numbers that carriers hold to it.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::clock::Clock;
use crate::domain::Timestamp;

/// governor counts whole cells; a segment is made of many, so that waits come out to a thousandth of its time.
const CELLS_PER_SEGMENT: u32 = 1000;

/// A queue without a queue: GCRA whose burst is what may wait. A cell that passes has its place in line, and what is left
/// of the burst tells how far back that is.
pub(super) struct Pace {
    limiter: RateLimiter<NotKeyed, InMemoryState, Ticks, StateInformationMiddleware>,
    clock: Arc<dyn Clock>,
    cell: Duration,
    burst: NonZeroU32,
    cost: NonZeroU32,
    /// Turns that were given back unused, the earliest first.
    returned: Mutex<BTreeSet<Timestamp>>,
}

/// A place in line; dropped unused, the next comer gets it, as long as its time has not passed.
pub(super) struct Turn {
    pace: Arc<Pace>,
    at: Timestamp,
    used: bool,
}

/// Our clock in governor's form: time since 1970.
struct Ticks(Arc<dyn Clock>);

impl governor::clock::Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Timestamp::from_millis(0).until(self.0.now())
    }
}

impl Pace {
    /// Paces messages of `segments` segments at `per_second` segments a second; nobody waits for more than `max_wait`.
    /// `None` for a pace of zero: Twilio queues.
    pub(super) fn new(
        per_second: u32,
        segments: u32,
        max_wait: Duration,
        clock: Arc<dyn Clock>,
    ) -> Option<Arc<Self>> {
        let cell = Duration::from_secs(1).checked_div(per_second.checked_mul(CELLS_PER_SEGMENT)?)?;
        let cost = NonZeroU32::new(segments.max(1).checked_mul(CELLS_PER_SEGMENT)?)?;
        let waiting = max_wait.as_nanos().checked_div(cell.as_nanos())?;
        let burst = cost.saturating_add(u32::try_from(waiting).unwrap_or(u32::MAX));
        let quota = Quota::with_period(cell)?.allow_burst(burst);
        let limiter = RateLimiter::direct_with_clock(quota, Ticks(Arc::clone(&clock)))
            .with_middleware::<StateInformationMiddleware>();
        Some(Arc::new(Self { limiter, clock, cell, burst, cost, returned: Mutex::default() }))
    }

    /// Takes the next place in line: one that was given back, or else a new one at its end. Requests that are refused
    /// after they took a place would otherwise hold up those who are not.
    ///
    /// # Errors
    /// How long until the wait would be short enough.
    pub(super) fn reserve(self: &Arc<Self>) -> Result<Turn, Duration> {
        let at = match self.returned() {
            Some(at) => at,
            None => self.at_the_end()?,
        };
        Ok(Turn { pace: Arc::clone(self), at, used: false })
    }

    fn returned(&self) -> Option<Timestamp> {
        let mut returned = self.lock();
        // Going at a time that has passed would come too close to the turn after it.
        *returned = returned.split_off(&self.clock.now());
        returned.pop_first()
    }

    fn at_the_end(&self) -> Result<Timestamp, Duration> {
        match self.limiter.check_n(self.cost) {
            Ok(Ok(snapshot)) => {
                let ahead =
                    (self.burst.get() - self.cost.get()).saturating_sub(snapshot.remaining_burst_capacity());
                Ok(self.clock.now() + self.cell * ahead)
            }
            Ok(Err(refusal)) => {
                Err(refusal.wait_time_from(Timestamp::from_millis(0).until(self.clock.now())))
            }
            // Cannot be: the burst holds the cost.
            Err(_) => Err(self.cell * self.cost.get()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Timestamp>> {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Uses the turn, and tells when it comes.
    pub(super) fn take(mut self) -> Timestamp {
        self.used = true;
        self.at
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.used {
            self.pace.lock().insert(self.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use proptest::prelude::*;

    fn pace(per_second: u32, segments: u32, max_wait: u64) -> (Arc<Pace>, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new());
        let pace =
            Pace::new(per_second, segments, Duration::from_secs(max_wait), Arc::clone(&clock) as _).unwrap();
        (pace, clock)
    }

    /// The wait of the next message in milliseconds, or the refusal's.
    fn next(pace: &Arc<Pace>, clock: &ManualClock) -> Result<u128, u128> {
        match pace.reserve() {
            Ok(turn) => Ok(clock.now().until(turn.take()).as_millis()),
            Err(wait) => Err(wait.as_millis()),
        }
    }

    #[test]
    fn no_pace_no_queue() {
        assert!(Pace::new(0, 1, Duration::from_secs(5), Arc::new(ManualClock::new())).is_none());
    }

    #[test]
    fn each_waits_for_those_before_and_nobody_for_too_long() {
        let (pace, clock) = pace(1, 1, 3);
        let waits: Vec<_> = (0..5).map(|_| next(&pace, &clock)).collect();
        assert_eq!(waits, [Ok(0), Ok(1000), Ok(2000), Ok(3000), Err(1000)]);
        clock.advance(Duration::from_millis(999));
        assert_eq!(next(&pace, &clock), Err(1));
        clock.advance(Duration::from_millis(1));
        assert_eq!(next(&pace, &clock), Ok(3000));
    }

    #[test]
    fn turns_are_even_though_arrivals_are_not() {
        let (pace, clock) = pace(1, 1, 5);
        let start = clock.now();
        let mut turns = Vec::new();
        for gap in [0, 500, 400, 200, 1, 1] {
            clock.advance(Duration::from_millis(gap));
            turns.push(start.until(pace.reserve().ok().unwrap().take()).as_millis());
        }
        assert_eq!(turns, [0, 1000, 2000, 3000, 4000, 5000]);
    }

    #[test]
    fn a_turn_given_back_is_the_next_comers_until_its_time_has_passed() {
        let (pace, clock) = pace(1, 1, 1);
        let start = clock.now();
        assert_eq!(next(&pace, &clock), Ok(0));
        for _ in 0..10 {
            drop(pace.reserve().ok().unwrap());
        }
        assert_eq!(next(&pace, &clock), Ok(1000), "ten that were refused hold nobody up");
        assert!(pace.reserve().is_err());
        clock.advance(Duration::from_millis(1500));
        drop(pace.reserve().ok().unwrap());
        clock.advance(Duration::from_millis(600));
        assert_eq!(start.until(pace.reserve().ok().unwrap().take()).as_millis(), 3000);
    }

    #[test]
    fn a_pause_gives_no_burst() {
        let (pace, clock) = pace(1, 1, 5);
        clock.advance(Duration::from_hours(1));
        assert_eq!([next(&pace, &clock), next(&pace, &clock)], [Ok(0), Ok(1000)]);
    }

    #[test]
    fn two_segments_take_two_turns() {
        let (pace, clock) = pace(1, 2, 0);
        assert_eq!([next(&pace, &clock), next(&pace, &clock)], [Ok(0), Err(2000)]);
    }

    proptest! {
        #[test]
        fn turns_are_never_closer_than_the_pace(
            per_second in 1u32..50,
            gaps in prop::collection::vec((0u64..2000, any::<bool>()), 1..60),
        ) {
            let (pace, clock) = pace(per_second, 1, 5);
            let interval = 1000 / u128::from(per_second);
            let start = clock.now();
            let mut last: Option<u128> = None;
            for (gap, given_back) in gaps {
                clock.advance(Duration::from_millis(gap));
                let Ok(turn) = pace.reserve() else { continue };
                if given_back {
                    continue;
                }
                let turn = turn.take();
                prop_assert!(clock.now().until(turn) <= Duration::from_secs(5));
                let turn = start.until(turn).as_millis();
                // A millisecond is the clock's grain.
                prop_assert!(last.is_none_or(|last| turn + 2 >= last + interval), "{last:?} {turn}");
                last = Some(turn);
            }
        }
    }
}
