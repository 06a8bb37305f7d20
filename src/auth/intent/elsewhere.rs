//! Requests that another server leads, as the rows tell of them.

use crate::domain::settled::Settled;
use crate::domain::{RunId, Timestamp};
use crate::storage::StoreResult;

/// Whether a request that is under way no longer still was when a call `arrived`, and its leader lives: an ended run may have gone
/// by a clock that was ahead of this one's.
pub(super) fn was_in_flight(
    settled: Option<Settled>,
    leader: &RunId,
    arrived: Timestamp,
    living: impl FnOnce() -> StoreResult<Vec<RunId>>,
) -> StoreResult<bool> {
    if settled.is_some_and(|settled| settled.at > arrived) { lives(leader, living) } else { Ok(false) }
}

/// Whether the server that leads a request lives.
pub(super) fn lives(leader: &RunId, living: impl FnOnce() -> StoreResult<Vec<RunId>>) -> StoreResult<bool> {
    Ok(living()?.contains(leader))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::settled::SendResult;

    const ARRIVED: i64 = 1_700_000_000_000;

    /// Run 2 lives.
    fn living() -> Vec<RunId> {
        vec![RunId::new([2; 8])]
    }

    /// Whether a request was in flight that came to its end so long after the call came, and that this run leads; run 2 lives.
    fn was(settled: Option<i64>, leader: u8) -> bool {
        let at = |later| Timestamp::from_millis(ARRIVED + later);
        let settled = settled.map(|later| Settled::new(at(later), SendResult::Accepted));
        was_in_flight(settled, &RunId::new([leader; 8]), at(0), || Ok(living())).unwrap()
    }

    #[test]
    fn a_call_follows_what_a_living_server_settled_after_it_came_and_nothing_that_was_over_then() {
        assert!(was(Some(1), 2));
        assert!(!was(Some(0), 2) && !was(Some(-1), 2), "over when it came");
        assert!(!was(None, 2), "it has lost its flow");
        assert!(!was(Some(1), 3), "of an ended server, whose clock may have been ahead");
    }

    #[test]
    fn a_request_by_a_clock_far_ahead_is_under_way_while_its_server_lives() {
        assert!(lives(&RunId::new([2; 8]), || Ok(living())).unwrap());
        assert!(!lives(&RunId::new([3; 8]), || Ok(living())).unwrap());
    }
}
