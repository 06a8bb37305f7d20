//! The sliding window, as a log: no window, wherever it starts, holds more than the limit.

use std::cmp::Reverse;
use std::time::Duration;

use crate::domain::Timestamp;
use crate::domain::quota::Limit;

/// What a limit says of one more unit now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitDecision {
    /// There is one; `remaining` units are left once it is spent.
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

/// Since when spends count at `now` for any of the limits: those at exactly one window ago no longer do. `None` where all are
/// off.
pub fn horizon(limits: &[Limit], now: Timestamp) -> Option<Timestamp> {
    in_force(limits).map(|limit| now - limit.window).min()
}

/// Judges one more unit at `now`, after those in `spent` (oldest first, none after `now`), by all limits that are on. Gives the
/// one that decides, and what it says: where some refuse, the one that refuses longest, else the one with the least left.
pub fn judge(limits: &[Limit], spent: &[Timestamp], now: Timestamp) -> Option<(Limit, LimitDecision)> {
    let decisions = in_force(limits).map(|limit| {
        let since = spent.partition_point(|at| *at <= now - limit.window);
        (*limit, decide(limit, &spent[since..], now))
    });
    decisions.min_by_key(|(_, decision)| match decision {
        LimitDecision::Refused { retry_after } => (0, Reverse(*retry_after), 0),
        LimitDecision::Allowed { remaining, .. } => (1, Reverse(Duration::ZERO), *remaining),
    })
}

fn in_force(limits: &[Limit]) -> impl Iterator<Item = &Limit> {
    limits.iter().filter(|limit| limit.units > 0)
}

fn decide(limit: &Limit, spent: &[Timestamp], now: Timestamp) -> LimitDecision {
    let units = limit.units as usize;
    if spent.len() < units {
        let oldest = spent.first().copied().unwrap_or(now);
        let remaining = u32::try_from(units - spent.len() - 1).unwrap_or(u32::MAX);
        LimitDecision::Allowed { remaining, reset: now.until(oldest + limit.window) }
    } else {
        // Under a lowered limit more than one spend has to leave before there is a unit.
        let leaves = spent[spent.len() - units];
        LimitDecision::Refused { retry_after: now.until(leaves + limit.window) }
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
    fn arrive(log: &mut Vec<Timestamp>, now: Timestamp, limit: &Limit) -> LimitDecision {
        let (_, decision) = judge(&[*limit], log, now).unwrap();
        if matches!(decision, LimitDecision::Allowed { .. }) {
            log.push(now);
        }
        decision
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
                let decision = arrive(&mut log, at(now), &limit);
                // The naive model: a unit is allowed if and only if the window that ends now has room.
                let held = log[..before].iter().filter(|t| t.as_millis() > at(now).as_millis() - HOUR).count();
                prop_assert_eq!(matches!(decision, LimitDecision::Allowed { .. }), held < units as usize);
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
                if let LimitDecision::Refused { retry_after } = arrive(&mut log, at(now), &limit) {
                    let wait = i64::try_from(seconds_up(retry_after)).unwrap() * 1000;
                    let refused = |t| matches!(arrive(&mut log.clone(), at(t), &limit), LimitDecision::Refused { .. });
                    prop_assert!(wait > 0);
                    prop_assert!(refused(now + wait - 1000));
                    prop_assert!(!refused(now + wait));
                }
            }
        }

        #[test]
        fn remaining_counts_down_and_reset_is_when_the_next_returns(offset in 0i64..HOUR - 3) {
            let mut log = vec![at(0)];
            let decision = arrive(&mut log, at(offset), &LIMIT);
            let reset = Duration::from_millis((HOUR - offset).unsigned_abs());
            prop_assert_eq!(decision, LimitDecision::Allowed { remaining: 1, reset });
        }
    }

    #[test]
    fn a_lowered_limit_waits_for_more_than_one_to_leave() {
        let spent = [at(0), at(1000), at(2000), at(3000)];
        let limit = Limit { units: 2, ..LIMIT };
        let Some((_, LimitDecision::Refused { retry_after })) = judge(&[limit], &spent, at(3000)) else {
            panic!("allowed")
        };
        assert_eq!(at(3000) + retry_after, at(2000 + HOUR));
    }

    const DAY: Limit = Limit { units: 4, window: Duration::from_hours(24) };

    #[test]
    fn of_two_limits_the_nearer_one_decides() {
        let decided = |spent: &[Timestamp], now| judge(&[LIMIT, DAY], spent, now).unwrap();
        assert_eq!(decided(&[], at(0)).0, LIMIT, "3 of 3 are nearer than 4 of 4");
        let spent = [at(0), at(HOUR), at(2 * HOUR)];
        assert_eq!(decided(&spent, at(3 * HOUR)).0, DAY, "one of the day is left, and three of the hour");
        let spent = [at(0), at(9 * HOUR), at(9 * HOUR), at(9 * HOUR)];
        let (limit, decision) = decided(&spent, at(9 * HOUR));
        let retry_after = Duration::from_hours(15);
        assert_eq!(
            (limit, decision),
            (DAY, LimitDecision::Refused { retry_after }),
            "both refuse, the day longer"
        );
        let spent = [at(9 * HOUR), at(9 * HOUR), at(9 * HOUR)];
        assert_eq!(decided(&spent, at(9 * HOUR)).0, LIMIT);
    }

    #[test]
    fn limits_that_are_off_decide_nothing() {
        let off = Limit { units: 0, ..LIMIT };
        assert_eq!(judge(&[off], &[at(0)], at(0)), None);
        assert_eq!(horizon(&[off], at(0)), None);
        assert_eq!(horizon(&[off, DAY, LIMIT], at(0)), Some(at(-24 * HOUR)));
        assert_eq!(judge(&[off, DAY], &[], at(0)).unwrap().0, DAY);
    }
}
