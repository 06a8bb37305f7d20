//! Alarms: a rule that holds for long enough opens one, and one that no longer holds closes it; each is told once.

use std::collections::BTreeMap;

use super::history::History;
use super::rules::{RULES, Rule};
use crate::domain::Timestamp;

/// What became of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It holds now.
    Opened,
    /// It holds no longer.
    Closed,
}

impl Turn {
    /// The word that is told.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Closed => "closed",
        }
    }
}

/// An alarm that was opened or closed.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// Its rule.
    pub rule: &'static Rule,
    /// Which of both.
    pub turn: Turn,
    /// When it opened.
    pub since: Timestamp,
}

/// Which rules hold, and since when.
#[derive(Clone, Debug, Default)]
pub struct Alarms(BTreeMap<&'static str, Held>);

#[derive(Clone, Copy, Debug)]
struct Held {
    since: Timestamp,
    opened: Option<Timestamp>,
}

impl Alarms {
    /// Looks at the rules again, and gives what has changed.
    pub fn step(&mut self, history: &History, now: Timestamp) -> Vec<Change> {
        let mut changes = Vec::new();
        for rule in RULES {
            if !(rule.holds)(history, now) {
                if let Some(Held { opened: Some(since), .. }) = self.0.remove(rule.name) {
                    changes.push(Change { rule, turn: Turn::Closed, since });
                }
                continue;
            }
            let held = self.0.entry(rule.name).or_insert(Held { since: now, opened: None });
            if held.opened.is_none() && held.since.until(now) >= rule.holds_for {
                held.opened = Some(now);
                changes.push(Change { rule, turn: Turn::Opened, since: now });
            }
        }
        changes
    }

    /// The alarms that are open, in the order of the rules, with when they opened.
    pub fn open(&self) -> impl Iterator<Item = (&'static Rule, Timestamp)> + '_ {
        RULES.iter().filter_map(|rule| Some((rule, self.0.get(rule.name)?.opened?)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::watch::reading::Reading;

    /// Minutes in which the breaker is as told.
    fn told(minutes: &[u8]) -> Vec<(usize, &'static str, Turn)> {
        let (mut history, mut alarms) = (History::default(), Alarms::default());
        let start = Timestamp::from_millis(1_800_000_000_000);
        let mut told = Vec::new();
        for (minute, open) in minutes.iter().enumerate() {
            let now = start + Duration::from_mins(minute as u64);
            let page = format!("freshk_sms_breaker_open {open}\n");
            history.add(now, Reading::parse(&page, |_| true));
            let changes = alarms.step(&history, now);
            told.extend(changes.into_iter().map(|change| (minute, change.rule.name, change.turn)));
        }
        told
    }

    #[test]
    fn an_alarm_opens_when_its_rule_has_held_long_enough_and_is_told_once_each_way() {
        const BREAKER: &str = "FreshKSmsBreakerOpen";
        assert_eq!(told(&[0, 1, 1, 0, 0]), [], "two minutes, not one");
        assert_eq!(told(&[1, 1, 1, 1, 1, 0, 0]), [(2, BREAKER, Turn::Opened), (5, BREAKER, Turn::Closed)]);
        assert_eq!(told(&[1, 1, 0, 1, 1, 1]), [(5, BREAKER, Turn::Opened)], "it begins anew");
    }
}
