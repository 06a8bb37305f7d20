//! What became of attempts to send a code, counted: the guide's *SMS delivery success rate*.

use std::time::Duration;

use crate::domain::message::MessageState;

/// After this time a message of which the provider has reported nothing counts as merely accepted.
const REPORT_DUE: Duration = Duration::from_mins(2);

/// Attempts by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// The carrier delivered it.
    pub delivered: u64,
    /// The provider has it, and has not said that it was delivered.
    pub accepted: u64,
    /// The provider refused it, or the carrier could not deliver it.
    pub failed: u64,
    /// The provider's answer was lost.
    pub unknown: u64,
    /// Nothing was sent: the sender's breaker was open, or no place was free.
    pub refused: u64,
    /// It is being sent, or its report is not yet due; not counted among the attempts.
    pub under_way: u64,
}

impl Attempts {
    /// Counts a message of so much age; `is_reported` where the provider reports deliveries.
    pub fn add(&mut self, state: MessageState, age: Duration, is_reported: bool) {
        let count = match state {
            MessageState::Intended => &mut self.under_way,
            MessageState::Queued | MessageState::Sending | MessageState::Sent => {
                if is_reported && age < REPORT_DUE { &mut self.under_way } else { &mut self.accepted }
            }
            MessageState::Unknown => &mut self.unknown,
            MessageState::Delivered => &mut self.delivered,
            MessageState::Undelivered | MessageState::Failed => &mut self.failed,
        };
        *count += 1;
    }

    /// How many attempts there were whose outcome is due.
    pub const fn total(&self) -> u64 {
        self.delivered + self.accepted + self.failed + self.unknown + self.refused
    }

    /// How many of them succeeded: were delivered or, where no deliveries are reported, accepted.
    pub const fn successes(&self, is_reported: bool) -> u64 {
        if is_reported { self.delivered } else { self.delivered + self.accepted }
    }

    /// How many did not lead to a message that the provider has.
    pub const fn failures(&self) -> u64 {
        self.failed + self.unknown + self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attempt_counts_and_only_a_delivered_one_succeeds_where_deliveries_are_reported() {
        let mut attempts = Attempts { refused: 115, ..Attempts::default() };
        for state in MessageState::ALL {
            attempts.add(state, REPORT_DUE, true);
        }
        let expected =
            Attempts { delivered: 1, accepted: 3, failed: 2, unknown: 1, refused: 115, under_way: 1 };
        assert_eq!(attempts, expected);
        assert_eq!((attempts.total(), attempts.failures()), (122, 118));
        assert_eq!((attempts.successes(true), attempts.successes(false)), (1, 4));
    }

    #[test]
    fn a_report_that_is_not_yet_due_is_no_failure() {
        let mut attempts = Attempts::default();
        attempts.add(MessageState::Queued, Duration::from_secs(119), true);
        assert_eq!((attempts.total(), attempts.under_way), (0, 1));
        attempts.add(MessageState::Queued, Duration::from_secs(1), false);
        assert_eq!((attempts.total(), attempts.accepted), (1, 1));
    }
}
