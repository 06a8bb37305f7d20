//! Which refused attempts get a line of their own where no quota bounds them: so many an hour, the rest are counted.
//!
//! In memory alone: a restart begins anew, which an attacker does not command.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::domain::Timestamp;
use crate::sync::lock;

/// Lines of one address in an hour.
const LINES_OF_AN_ADDRESS: u32 = 20;

/// Lines of all addresses in an hour: what a network of many addresses can write at most.
const LINES_OF_ALL: u32 = 500;

const HOUR: Duration = Duration::from_hours(1);

/// The attempts of the current hour.
#[derive(Default)]
pub struct AttemptLines(Mutex<State>);

#[derive(Default)]
struct State {
    hour: Hour,
    /// What the hours before had beyond their lines, until it is taken.
    over: Option<Unlisted>,
}

#[derive(Default)]
struct Hour {
    ends: Option<Timestamp>,
    lines: u32,
    /// The lines of each address that has any: no more addresses than lines.
    of_address: HashMap<String, u32>,
    without_line: u64,
    /// An address without a line, and whether there are others.
    unlisted: Option<(String, bool)>,
}

/// Attempts without a line of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlisted {
    /// How many.
    pub count: u64,
    /// The address that made all of them; `None` where there were several.
    pub address: Option<String>,
}

impl AttemptLines {
    /// Whether the next attempt of `address` would get a line.
    pub fn has_line(&self, address: &str, now: Timestamp) -> bool {
        let mut state = self.lock();
        state.turn(now);
        state.hour.has_line(address)
    }

    /// Counts a refused attempt of `address`; whether it gets a line.
    pub fn count(&self, address: &str, now: Timestamp) -> bool {
        let mut state = self.lock();
        state.turn(now);
        state.hour.count(address, now)
    }

    /// Takes what the hours that are over had beyond their lines.
    pub fn take(&self, now: Timestamp) -> Option<Unlisted> {
        let mut state = self.lock();
        state.turn(now);
        state.over.take()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

impl State {
    /// Begins a new hour where the current one is over, or where the clock has stepped back before it.
    fn turn(&mut self, now: Timestamp) {
        if self.hour.ends.is_none_or(|ends| now < ends && ends <= now + HOUR) {
            return;
        }
        let Hour { without_line, unlisted, .. } = std::mem::take(&mut self.hour);
        let Some((address, others)) = unlisted else { return };
        let address = (!others).then_some(address);
        self.over = Some(match self.over.take() {
            None => Unlisted { count: without_line, address },
            Some(before) => Unlisted {
                count: before.count + without_line,
                address: address.filter(|address| before.address.as_ref() == Some(address)),
            },
        });
    }
}

impl Hour {
    fn has_line(&self, address: &str) -> bool {
        let own = self.of_address.get(address).copied().unwrap_or_default();
        own < LINES_OF_AN_ADDRESS && self.lines < LINES_OF_ALL
    }

    fn count(&mut self, address: &str, now: Timestamp) -> bool {
        self.ends.get_or_insert(now + HOUR);
        let has_line = self.has_line(address);
        if has_line {
            self.lines += 1;
            *self.of_address.entry(address.to_owned()).or_default() += 1;
        } else {
            self.without_line += 1;
            let (first, others) = self.unlisted.get_or_insert_with(|| (address.to_owned(), false));
            *others |= first != address;
        }
        has_line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn lines(attempts: &AttemptLines, address: &str, now: Timestamp, count: u32) -> usize {
        (0..count).filter(|_| attempts.count(address, now)).count()
    }

    #[test]
    fn s38_an_address_has_twenty_lines_an_hour_and_the_rest_is_counted() {
        let attempts = AttemptLines::default();
        assert_eq!(lines(&attempts, "a", at(0), 100), 20);
        assert!(!attempts.has_line("a", at(3599)) && attempts.has_line("b", at(3599)));
        assert_eq!(attempts.take(at(3599)), None, "the hour goes on");
        assert!(attempts.has_line("a", at(3600)), "another one begins");
        assert_eq!(lines(&attempts, "b", at(3600), 3), 3);
        let rest = Unlisted { count: 80, address: Some("a".to_owned()) };
        assert_eq!(attempts.take(at(3600)), Some(rest));
        assert_eq!(attempts.take(at(9999)), None);
    }

    #[test]
    fn s38_many_addresses_leave_memory_and_lines_bounded() {
        let attempts = AttemptLines::default();
        let written: usize = (0..20_000).map(|n| lines(&attempts, &n.to_string(), at(0), 2)).sum();
        assert_eq!(written, LINES_OF_ALL as usize);
        assert_eq!(attempts.lock().hour.of_address.len(), LINES_OF_ALL as usize / 2);
        let rest = Unlisted { count: 40_000 - u64::from(LINES_OF_ALL), address: None };
        assert_eq!(attempts.take(at(3600)), Some(rest));
    }

    #[test]
    fn a_clock_that_steps_back_opens_the_hour_anew() {
        let attempts = AttemptLines::default();
        lines(&attempts, "a", at(100_000), 30);
        assert!(attempts.has_line("a", at(0)));
        assert_eq!(attempts.take(at(0)).map(|rest| rest.count), Some(10));
    }

    #[test]
    fn what_several_hours_had_beyond_their_lines_is_summed_up() {
        let attempts = AttemptLines::default();
        lines(&attempts, "a", at(0), 30);
        lines(&attempts, "a", at(3600), 25);
        let two = Unlisted { count: 15, address: Some("a".to_owned()) };
        assert_eq!(attempts.take(at(7200)), Some(two));
        lines(&attempts, "a", at(7200), 30);
        lines(&attempts, "b", at(10_800), 25);
        assert_eq!(attempts.take(at(14_400)), Some(Unlisted { count: 15, address: None }));
    }
}
