//! Units: so many in every hour and every day, and never one more.

use std::time::Duration;

use super::{DAY, Model, Moment, Settings};
use crate::auth::AuthError;
use crate::domain::Timestamp;
use crate::domain::quota::Endpoint;

pub(in super::super) const HOUR: Duration = Duration::from_hours(1);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Counted {
    Calls(u8),
    Codes,
    Failures,
    Refunds,
    Changes,
}

/// Whose units these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Whose {
    Address(usize),
    Number(usize),
    Device(usize),
    User(usize),
}

impl Counted {
    /// How many, in how long.
    fn limits(self, settings: &Settings) -> Vec<(usize, Duration)> {
        match self {
            Self::Calls(_) => vec![(settings.address as usize, HOUR)],
            Self::Codes | Self::Changes => vec![(3, HOUR), (10, DAY)],
            Self::Failures => vec![(settings.failures as usize, DAY)],
            Self::Refunds => vec![(3, DAY)],
        }
    }
}

impl Model {
    fn units(&self, what: Counted, whose: Whose) -> &[(Timestamp, u64)] {
        self.spent.get(&(what, whose)).map_or(&[], Vec::as_slice)
    }

    /// How many units there are still, or how long none is.
    pub(super) fn left(&self, what: Counted, whose: Whose, now: Timestamp) -> Result<usize, Duration> {
        let spent = self.units(what, whose);
        let (mut left, mut wait) = (usize::MAX, None);
        for (units, window) in what.limits(&self.settings) {
            let within: Vec<_> = spent.iter().filter(|(at, _)| *at > now - window).collect();
            match units.checked_sub(within.len()) {
                None | Some(0) => wait = wait.max(Some(now.until(within[within.len() - units].0 + window))),
                Some(rest) => left = left.min(rest),
            }
        }
        wait.map_or(Ok(left), Err)
    }

    /// How many wrong guesses the day of a number still has.
    pub(in super::super) fn guesses_left(&self, number: usize, now: Timestamp) -> usize {
        self.left(Counted::Failures, Whose::Number(number), now).unwrap_or_default()
    }

    /// Refuses where there is none.
    pub(super) fn need(&self, what: Counted, whose: Whose, now: Timestamp) -> Result<usize, AuthError> {
        self.left(what, whose, now).map_err(AuthError::RateLimited)
    }

    pub(super) fn spend(&mut self, what: Counted, whose: Whose, now: Timestamp) -> u64 {
        self.serial += 1;
        self.spent.entry((what, whose)).or_default().push((now, self.serial));
        self.serial
    }

    /// Gives a unit back, three times a day.
    pub(super) fn give_back(&mut self, whose: Whose, unit: u64, now: Timestamp) {
        if self.left(Counted::Refunds, whose, now).is_err() {
            return;
        }
        let units = self.spent.entry((Counted::Codes, whose)).or_default();
        let before = units.len();
        units.retain(|(_, spent)| *spent != unit);
        if units.len() < before {
            self.spend(Counted::Refunds, whose, now);
        }
    }

    /// A call costs its address a unit of that endpoint.
    pub(super) fn gate(&mut self, endpoint: Endpoint, at: &Moment<'_>) -> Result<(), AuthError> {
        if self.settings.address == 0 {
            return Ok(());
        }
        let place = match endpoint {
            Endpoint::Request => 0,
            Endpoint::Verify => 1,
            Endpoint::Resend => 2,
            Endpoint::Phone => 3,
            Endpoint::PhoneVerify => 4,
            Endpoint::PhoneCancel => 5,
            Endpoint::AccountDelete => 6,
        };
        let (what, whose) = (Counted::Calls(place), Whose::Address(at.call.address));
        self.need(what, whose, at.now())?;
        self.spend(what, whose, at.now());
        Ok(())
    }

    /// A number that is nobody's any more: what was spent for it counts on, and none of it is given back.
    pub(super) fn bequeath(&mut self, number: usize) {
        for ((_, whose), units) in &mut self.spent {
            if *whose == Whose::Number(number) {
                for (_, unit) in units {
                    *unit = 0;
                }
            }
        }
    }
}
