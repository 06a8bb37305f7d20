//! How recent sends went: what a request that sends nothing must look like where accounts are concealed.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use crate::domain::PhoneNumber;
use crate::random::Random;
use crate::sms::{FailureReason, SendOutcome};
use crate::sync::lock;

/// As many as show the spread.
const KEPT: usize = 64;

/// A typical answer of the provider, until there are real ones.
const TYPICAL: Duration = Duration::from_millis(250);

/// Digits after the calling code that tell the countries apart which share one: Jersey from the United Kingdom, Jamaica from
/// the United States.
const AREA: usize = 4;

/// How a send ends, as far as that can be expected of sends to other numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExpectedOutcome {
    /// The provider takes it.
    Accepted,
    /// Its answer is lost.
    Unknown,
    /// The provider has trouble of its own, or we with it.
    Refused,
    /// Messages to the number's country are not enabled.
    CountryNotAllowed,
}

/// How a send to a number would go now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// How long it would take.
    pub(super) took: Duration,
    /// How it would end.
    pub(super) outcome: ExpectedOutcome,
}

/// The latest real sends, oldest first. In memory alone, and never printed.
#[derive(Default)]
pub(super) struct RecentSends(Mutex<VecDeque<Past>>);

struct Past {
    to: PhoneNumber,
    took: Duration,
    outcome: ExpectedOutcome,
}

impl ExpectedOutcome {
    /// What the outcome of one send says of others; `None` where it concerns its number alone.
    fn of(outcome: &SendOutcome) -> Option<Self> {
        match outcome {
            SendOutcome::Accepted(_) => Some(Self::Accepted),
            SendOutcome::Unknown(_) => Some(Self::Unknown),
            SendOutcome::Refused(failure) => match failure.reason {
                FailureReason::Delivery => Some(Self::Refused),
                FailureReason::CountryNotAllowed => Some(Self::CountryNotAllowed),
                FailureReason::InvalidNumber
                | FailureReason::OptedOut { .. }
                | FailureReason::Destination => None,
            },
        }
    }
}

impl RecentSends {
    /// Notes a send.
    pub(super) fn note(&self, to: &PhoneNumber, took: Duration, outcome: &SendOutcome) {
        let Some(outcome) = ExpectedOutcome::of(outcome) else { return };
        let mut past = lock(&self.0);
        if past.len() == KEPT {
            past.pop_front();
        }
        past.push_back(Past { to: to.clone(), took, outcome });
    }

    /// How a send to `phone` would go now: it ends as the latest one did, and takes as long as one of those that ended so.
    /// Whether the country is enabled is judged by the latest number of the same area, or of the nearest one.
    pub(super) fn expect(&self, phone: &PhoneNumber, random: &dyn Random) -> Expected {
        let past = lock(&self.0);
        let compatriots = past.iter().filter(|each| each.to.calling_code() == phone.calling_code());
        let nearest = compatriots.max_by_key(|each| nearness(&each.to, phone)).map(|each| each.outcome);
        let outcome = nearest.filter(|outcome| *outcome == ExpectedOutcome::CountryNotAllowed);
        let mut elsewhere = past.iter().rev().map(|each| each.outcome);
        let outcome = outcome
            .or_else(|| elsewhere.find(|outcome| *outcome != ExpectedOutcome::CountryNotAllowed))
            .unwrap_or(ExpectedOutcome::Accepted);
        let alike: Vec<_> =
            past.iter().filter(|each| each.outcome == outcome).map(|each| each.took).collect();
        let count = u32::try_from(alike.len()).unwrap_or(0);
        let took = if count == 0 { TYPICAL } else { alike[random.below(count) as usize] };
        Expected { took, outcome }
    }
}

/// How many of their first digits two numbers of one calling code share, as far as these tell the area.
fn nearness(one: &PhoneNumber, other: &PhoneNumber) -> usize {
    let digits = one.digits().bytes().zip(other.digits().bytes());
    digits.take(one.calling_code().len() + AREA).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::message::MessageState;
    use crate::random::SeededRandom;
    use crate::sms::{Accepted, Failure};

    fn phone(text: &str) -> PhoneNumber {
        PhoneNumber::parse(text, 10).unwrap()
    }

    fn accepted() -> SendOutcome {
        SendOutcome::Accepted(Accepted { sid: None, state: MessageState::Queued, segments: None })
    }

    fn refused(reason: FailureReason) -> SendOutcome {
        SendOutcome::Refused(Failure { reason, ..Failure::delivery("") })
    }

    fn expected(sends: &RecentSends, to: &str) -> ExpectedOutcome {
        sends.expect(&phone(to), &SeededRandom::new(1)).outcome
    }

    #[test]
    fn durations_are_those_of_the_latest_that_ended_alike() {
        let (sends, random, to) = (RecentSends::default(), SeededRandom::new(1), phone("+4915112345678"));
        let typical = Expected { took: TYPICAL, outcome: ExpectedOutcome::Accepted };
        assert_eq!(sends.expect(&to, &random), typical);
        sends.note(&to, Duration::from_secs(9), &accepted());
        for _ in 0..KEPT {
            sends.note(&to, Duration::from_millis(100), &accepted());
        }
        assert_eq!(sends.expect(&to, &random).took, Duration::from_millis(100));
        sends.note(&to, Duration::from_secs(10), &refused(FailureReason::Delivery));
        let failing = Expected { took: Duration::from_secs(10), outcome: ExpectedOutcome::Refused };
        assert_eq!(sends.expect(&to, &random), failing);
        assert!(sends.0.lock().unwrap().len() <= KEPT);
    }

    #[test]
    fn what_the_nearest_number_met_decides_nothing_but_whether_its_country_is_enabled() {
        let sends = RecentSends::default();
        sends.note(&phone("+4915112345678"), TYPICAL, &refused(FailureReason::Delivery));
        sends.note(&phone("+33612345678"), TYPICAL, &accepted());
        assert_eq!(expected(&sends, "+4915112345679"), ExpectedOutcome::Accepted);
        sends.note(&phone("+4915112345678"), TYPICAL, &refused(FailureReason::CountryNotAllowed));
        sends.note(&phone("+33612345678"), TYPICAL, &accepted());
        assert_eq!(expected(&sends, "+4915112345679"), ExpectedOutcome::CountryNotAllowed);
    }

    #[test]
    fn the_latest_outcome_that_says_anything_of_others_decides() {
        let sends = RecentSends::default();
        let note = |outcome| sends.note(&phone("+12025550123"), TYPICAL, &outcome);
        for (outcome, then) in [
            (refused(FailureReason::Delivery), ExpectedOutcome::Refused),
            (refused(FailureReason::InvalidNumber), ExpectedOutcome::Refused),
            (accepted(), ExpectedOutcome::Accepted),
            (refused(FailureReason::OptedOut { sender: None }), ExpectedOutcome::Accepted),
            (refused(FailureReason::Destination), ExpectedOutcome::Accepted),
        ] {
            note(outcome);
            assert_eq!(expected(&sends, "+4915112345678"), then);
        }
    }

    #[test]
    fn a_country_that_is_not_enabled_is_expected_of_its_own_numbers_alone() {
        let sends = RecentSends::default();
        sends.note(&phone("+447911123456"), TYPICAL, &accepted());
        // Jersey: its own country, under the same code.
        sends.note(&phone("+447797123456"), TYPICAL, &refused(FailureReason::CountryNotAllowed));
        sends.note(&phone("+351912345678"), TYPICAL, &refused(FailureReason::CountryNotAllowed));
        assert_eq!(expected(&sends, "+447911999999"), ExpectedOutcome::Accepted);
        assert_eq!(expected(&sends, "+447797999999"), ExpectedOutcome::CountryNotAllowed);
        assert_eq!(expected(&sends, "+351961234567"), ExpectedOutcome::CountryNotAllowed);
        assert_eq!(expected(&sends, "+4915112345678"), ExpectedOutcome::Accepted);
        sends.note(&phone("+447911123999"), TYPICAL, &refused(FailureReason::CountryNotAllowed));
        assert_eq!(expected(&sends, "+447911123456"), ExpectedOutcome::CountryNotAllowed, "of late");
    }
}
