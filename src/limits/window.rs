//! The sliding window, as a log: no window, wherever it starts, holds more than the limit.

use std::time::Duration;

use crate::domain::Timestamp;
use crate::domain::quota::Limit;

/// What a limit says of one more unit now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is room; `remaining` units are left once this one is spent.
    Allowed {
        /// Units left afterwards.
        remaining: u32,
        /// Until the next unit returns.
        reset: Duration,
    },
    /// There is none.
    Refused {
        /// Until there is: waiting just that long is enough.
        retry_after: Duration,
    },
}

/// Since when spends count at `now`: those at exactly one window ago no longer do.
pub fn horizon(limit: &Limit, now: Timestamp) -> Timestamp {
    now - limit.window
}

/// Judges one more unit at `now`, after those in `spent` (oldest first, none after `now`, none at or before the
/// horizon). The limit is on: `units` is not 0.
pub fn judge(limit: &Limit, spent: &[Timestamp], now: Timestamp) -> Verdict {
    let units = limit.units as usize;
    if spent.len() < units {
        let oldest = spent.first().copied().unwrap_or(now);
        let remaining = u32::try_from(units - spent.len() - 1).unwrap_or(u32::MAX);
        Verdict::Allowed { remaining, reset: now.until(oldest + limit.window) }
    } else {
        // Under a lowered limit more than one spend has to leave before there is room.
        let leaves = spent[spent.len() - units];
        Verdict::Refused { retry_after: now.until(leaves + limit.window) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::seconds_up;
    use proptest::prelude::*;

    const HOUR: i64 = 3_600_000;
    const LIMIT: Limit = Limit { units: 3, window: Duration::from_hours(1) };

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + millis)
    }

    /// A ledger in memory, driven the way the flows drive the durable one.
    fn arrive(log: &mut Vec<Timestamp>, now: Timestamp, limit: &Limit) -> Verdict {
        let spent: Vec<_> = log.iter().copied().filter(|t| *t > horizon(limit, now)).collect();
        let verdict = judge(limit, &spent, now);
        if matches!(verdict, Verdict::Allowed { .. }) {
            log.push(now);
        }
        verdict
    }

    proptest! {
        #[test]
        fn s19_no_half_open_window_ever_holds_more(
            gaps in prop::collection::vec(prop_oneof![0i64..10, 0i64..HOUR, Just(HOUR), HOUR - 2..HOUR + 2], 0..80),
            units in 1u32..6,
        ) {
            let limit = Limit { units, ..LIMIT };
            let (mut now, mut log) = (0, Vec::new());
            for gap in gaps {
                now += gap;
                let before = log.len();
                let verdict = arrive(&mut log, at(now), &limit);
                // The naive model: a unit is allowed if and only if the window that ends now has room.
                let held = log[..before].iter().filter(|t| t.as_millis() > at(now).as_millis() - HOUR).count();
                prop_assert_eq!(matches!(verdict, Verdict::Allowed { .. }), held < units as usize);
            }
            for start in &log {
                let held = log.iter().filter(|t| *t >= start && **t < *start + limit.window).count();
                prop_assert!(held <= units as usize);
            }
        }

        #[test]
        fn s20_the_wait_is_true(
            gaps in prop::collection::vec(0i64..HOUR / 2, 3..20),
            units in 1u32..4,
        ) {
            let limit = Limit { units, ..LIMIT };
            let (mut now, mut log) = (0, Vec::new());
            for gap in gaps {
                now += gap;
                if let Verdict::Refused { retry_after } = arrive(&mut log, at(now), &limit) {
                    let wait = i64::try_from(seconds_up(retry_after)).unwrap() * 1000;
                    let refused = |t| matches!(arrive(&mut log.clone(), at(t), &limit), Verdict::Refused { .. });
                    prop_assert!(wait > 0);
                    prop_assert!(refused(now + wait - 1000));
                    prop_assert!(!refused(now + wait));
                }
            }
        }

        #[test]
        fn remaining_counts_down_and_reset_is_when_the_next_returns(offset in 0i64..HOUR - 3) {
            let mut log = vec![at(0)];
            let verdict = arrive(&mut log, at(offset), &LIMIT);
            let reset = Duration::from_millis((HOUR - offset).unsigned_abs());
            prop_assert_eq!(verdict, Verdict::Allowed { remaining: 1, reset });
        }
    }

    #[test]
    fn a_lowered_limit_waits_for_more_than_one_to_leave() {
        let spent = [at(0), at(1000), at(2000), at(3000)];
        let limit = Limit { units: 2, ..LIMIT };
        let Verdict::Refused { retry_after } = judge(&limit, &spent, at(3000)) else { panic!("allowed") };
        assert_eq!(at(3000) + retry_after, at(2000 + HOUR));
    }
}
