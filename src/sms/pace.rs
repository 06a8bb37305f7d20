//! The pace of one sender: so many segments a second, for numbers that carriers limit.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::sync::lock;

/// A queue without a queue: whoever comes learns when its turn is. Times are counted since 1970, finer than a millisecond.
pub(super) struct Pace {
    clock: Arc<dyn Clock>,
    interval: Duration,
    max_wait: Duration,
    /// How many servers send at this pace together: each goes so many times slower.
    sharers: AtomicU32,
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    /// When the next turn at the end of the line is.
    end: Duration,
    /// Turns before the end that were given back unused: when each is, and how long.
    returned: BTreeMap<Duration, Duration>,
}

/// A place in line; dropped unused, the next comer gets it: in the middle of the line as long as its time has not passed, while
/// the line ends sooner without those at its end.
pub(super) struct Turn {
    pace: Arc<Pace>,
    at: Duration,
    length: Duration,
    used: bool,
}

const EPOCH: Timestamp = Timestamp::from_millis(0);

impl Pace {
    /// Paces messages at `per_second` segments a second; none waits for more than `max_wait`.
    /// `None` for a pace of zero: Twilio queues.
    pub(super) fn new(per_second: u32, max_wait: Duration, clock: Arc<dyn Clock>) -> Option<Arc<Self>> {
        let interval = Duration::from_secs(1).checked_div(per_second)?;
        let sharers = AtomicU32::new(1);
        Some(Arc::new(Self { clock, interval, max_wait, sharers, line: Mutex::default() }))
    }

    /// Shares the pace among so many servers from the next turn on.
    pub(super) fn share(&self, among: u32) {
        self.sharers.store(among.max(1), Ordering::Relaxed);
    }

    /// Takes the next place in line for a message of `segments`: one that was given back and is long enough, or else a new
    /// one at its end. Requests that are refused after they took a place would otherwise delay those that are not.
    ///
    /// # Errors
    /// How long until the wait would be short enough.
    pub(super) fn reserve(self: &Arc<Self>, segments: u32) -> Result<Turn, Duration> {
        let length = self.interval * self.sharers.load(Ordering::Relaxed) * segments.max(1);
        let now = EPOCH.until(self.clock.now());
        let mut line = self.line();
        // Going at a time that has passed would come too close to the turn after it.
        line.returned = line.returned.split_off(&now);
        let returned = line.returned.iter().find(|(_, returned)| **returned >= length).map(|(at, _)| *at);
        let (at, length) = if let Some(taken) = returned.and_then(|at| line.returned.remove_entry(&at)) {
            taken
        } else {
            let at = line.end.max(now);
            let too_long = at.saturating_sub(now).saturating_sub(self.max_wait);
            if !too_long.is_zero() {
                return Err(too_long);
            }
            line.end = at + length;
            (at, length)
        };
        Ok(Turn { pace: Arc::clone(self), at, length, used: false })
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        lock(&self.line)
    }
}

impl Turn {
    /// Uses the turn, and tells when it comes.
    pub(super) fn take(mut self) -> Timestamp {
        self.used = true;
        EPOCH + self.at
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.used {
            return;
        }
        let mut line = self.pace.line();
        let Line { end, returned } = &mut *line;
        returned.insert(self.at, self.length);
        while let Some(last) = returned.last_entry().filter(|last| *last.key() + *last.get() == *end) {
            *end = last.remove_entry().0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use proptest::prelude::*;

    fn pace(per_second: u32, max_wait: u64) -> (Arc<Pace>, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new());
        let pace = Pace::new(per_second, Duration::from_secs(max_wait), Arc::clone(&clock) as _).unwrap();
        (pace, clock)
    }

    /// The wait of the next message in milliseconds, or the refusal's.
    fn next(pace: &Arc<Pace>, clock: &ManualClock) -> Result<u128, u128> {
        match pace.reserve(1) {
            Ok(turn) => Ok(clock.now().until(turn.take()).as_millis()),
            Err(wait) => Err(wait.as_millis()),
        }
    }

    #[test]
    fn no_pace_no_queue() {
        assert!(Pace::new(0, Duration::from_secs(5), Arc::new(ManualClock::new())).is_none());
    }

    #[test]
    fn each_waits_for_those_before_and_nobody_for_too_long() {
        let (pace, clock) = pace(1, 3);
        let waits: Vec<_> = (0..5).map(|_| next(&pace, &clock)).collect();
        assert_eq!(waits, [Ok(0), Ok(1000), Ok(2000), Ok(3000), Err(1000)]);
        clock.advance(Duration::from_millis(999));
        assert_eq!(next(&pace, &clock), Err(1));
        clock.advance(Duration::from_millis(1));
        assert_eq!(next(&pace, &clock), Ok(3000));
    }

    #[test]
    fn several_servers_go_at_one_pace_together() {
        let (pace, clock) = pace(2, 5);
        pace.share(3);
        let waits: Vec<_> = (0..5).map(|_| next(&pace, &clock)).collect();
        assert_eq!(waits, [Ok(0), Ok(1500), Ok(3000), Ok(4500), Err(1000)]);
        // Two of them have ended.
        pace.share(1);
        clock.advance(Duration::from_secs(6));
        assert_eq!([next(&pace, &clock), next(&pace, &clock)], [Ok(0), Ok(500)]);
        // Nobody is known to live, as on a file.
        pace.share(0);
        assert_eq!(next(&pace, &clock), Ok(1000));
    }

    #[test]
    fn turns_are_even_though_arrivals_are_not() {
        let (pace, clock) = pace(1, 5);
        let start = clock.now();
        let mut turns = Vec::new();
        for gap in [0, 500, 400, 200, 1, 1] {
            clock.advance(Duration::from_millis(gap));
            turns.push(start.until(pace.reserve(1).ok().unwrap().take()).as_millis());
        }
        assert_eq!(turns, [0, 1000, 2000, 3000, 4000, 5000]);
    }

    #[test]
    fn a_turn_given_back_is_the_next_comers_until_its_time_has_passed() {
        let (pace, clock) = pace(1, 1);
        let start = clock.now();
        assert_eq!(next(&pace, &clock), Ok(0));
        for _ in 0..10 {
            drop(pace.reserve(1).ok().unwrap());
        }
        assert_eq!(next(&pace, &clock), Ok(1000), "ten that were refused hold nobody up");
        assert!(pace.reserve(1).is_err());
        clock.advance(Duration::from_millis(1500));
        drop(pace.reserve(1).ok().unwrap());
        clock.advance(Duration::from_millis(600));
        let late = pace.reserve(1).ok().unwrap().take();
        assert_eq!(start.until(late).as_millis(), 2100, "nobody has gone since the second");
    }

    /// As where writes are undone that had places, and run again.
    #[test]
    fn turns_given_back_at_the_end_shorten_the_line_in_whatever_order_they_come_back() {
        let (pace, clock) = pace(1, 5);
        for order in [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [2, 5, 0, 4, 1, 3]] {
            let mut turns: Vec<_> = (0..6).map(|_| pace.reserve(1).ok()).collect();
            assert!(turns.iter().all(Option::is_some) && pace.reserve(1).is_err(), "{order:?}");
            for place in order {
                turns[place] = None;
            }
            // Their times have passed by then.
            clock.advance(Duration::from_millis(3));
        }
        let (first, second, third) = (pace.reserve(1), pace.reserve(1).ok().unwrap(), pace.reserve(1));
        drop(first);
        clock.advance(Duration::from_millis(3));
        assert!(third.is_ok());
        let start = second.take();
        let next = pace.reserve(1).ok().unwrap().take();
        assert_eq!(
            start.until(next),
            Duration::from_secs(2),
            "before the third one there is no place any more"
        );
    }

    #[test]
    fn a_pause_gives_no_burst() {
        let (pace, clock) = pace(1, 5);
        clock.advance(Duration::from_hours(1));
        assert_eq!([next(&pace, &clock), next(&pace, &clock)], [Ok(0), Ok(1000)]);
    }

    #[test]
    fn two_segments_take_two_turns() {
        let (pace, clock) = pace(1, 2);
        let (first, second) = (pace.reserve(1).ok().unwrap(), pace.reserve(1).ok().unwrap());
        drop(first);
        let long = pace.reserve(2).ok().unwrap();
        assert_eq!(clock.now().until(long.take()).as_millis(), 2000, "the turn given back is too short");
        assert_eq!([next(&pace, &clock), next(&pace, &clock)], [Ok(0), Err(2000)]);
        drop(second);
    }

    proptest! {
        #[test]
        fn turns_are_never_closer_than_the_pace(
            per_second in 1u32..50,
            gaps in prop::collection::vec((0u64..2000, any::<bool>()), 1..60),
        ) {
            let (pace, clock) = pace(per_second, 5);
            let interval = 1000 / u128::from(per_second);
            let start = clock.now();
            let mut last: Option<u128> = None;
            for (gap, given_back) in gaps {
                clock.advance(Duration::from_millis(gap));
                let Ok(turn) = pace.reserve(1) else { continue };
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
