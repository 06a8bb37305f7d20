//! The guard against SMS pumping: who buys text messages that nobody answers is held back. Pure rules: counts in, verdict out.
//!
//! Counted are text messages to numbers that have never been verified, sent to calls without the token of a device. A number
//! that has been verified before always passes, and is not counted. What is usual is made of first verifications, never of
//! attempts, which cost an attacker nothing.

use std::collections::BTreeMap;
use std::time::Duration;

mod block;
mod place;

pub use block::{Block, FIRST_BLOCK, Passage};
pub use place::{Allowed, GuardMode, GuardPolicy, Place, Standing};

/// What a rule looks at, and what is held back by its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Calls from an address network: a /24, or a /48 of IPv6.
    Network,
    /// Numbers that differ in their last three digits alone.
    Range,
    /// Numbers of a country.
    Country,
    /// All numbers.
    World,
}

/// Why somebody is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Too many messages of a network's day were not answered.
    Network,
    /// The same of a range of numbers.
    Range,
    /// Five minutes of a country have more attempts than its week ever had verifications.
    CountryBurst,
    /// The same of an hour.
    CountryHour,
    /// Too many messages of a country's day were not answered.
    CountryDay,
    /// As [`Self::CountryBurst`], over all countries.
    WorldBurst,
    /// As [`Self::CountryHour`], over all countries.
    WorldHour,
}

/// Messages to strangers that were answered by a verification, and that were not, or not yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sends {
    /// Not answered.
    pub unconverted: u32,
    /// Answered, each number once in its life.
    pub converted: u32,
}

/// What strangers were sent, in two windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    /// In five minutes.
    pub burst: Sends,
    /// In an hour.
    pub hour: Sends,
}

/// The most first verifications of a week.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usual {
    /// In five minutes.
    pub burst: u32,
    /// In an hour.
    pub hour: u32,
}

/// What is known when a stranger asks for a message; nothing of it counts that lies before the end of the scope's last block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// First verifications from the network in 30 days, counted no further than [`TRUSTED`].
    pub known: u32,
    /// Those of them that are older than a day, counted as far.
    pub known_longer: u32,
    /// The network's day.
    pub network: Sends,
    /// Whether a block of the network has ended within a day.
    pub network_was_blocked: bool,
    /// The range's day.
    pub range: Sends,
    /// Whether a block of the range has ended within a day.
    pub range_was_blocked: bool,
    /// The country's, of strangers from networks without trust.
    pub country: Windows,
    /// The country's day, of the same.
    pub country_day: Sends,
    /// Those of all countries.
    pub world: Windows,
}

/// How a rule was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// Which.
    pub rule: Rule,
    /// What was counted.
    pub counted: u32,
    /// What would have been allowed.
    pub allowed: u32,
}

/// So many first verifications in 30 days have a network trusted.
pub const TRUSTED: u32 = 2;

/// How long first verifications speak for their network.
pub const MEMORY: Duration = Duration::from_hours(30 * 24);

/// The short window.
pub const BURST: Duration = Duration::from_mins(5);

/// The long one.
pub const HOUR: Duration = Duration::from_hours(1);

/// How many of the short ones it has.
const BURSTS_IN_HOUR: i64 = 12;

/// How far back one looks for what is usual.
pub const WEEK: Duration = Duration::from_hours(7 * 24);

/// A day of a country has so many messages in any case, so that a launch in a new country is no attack.
pub const FLOOR: u32 = 20;

/// And five minutes of it so many.
const BURST_FLOOR: u32 = 10;

impl Scope {
    /// All of them, the narrowest first.
    pub const ALL: [Self; 4] = [Self::Network, Self::Range, Self::Country, Self::World];

    /// The word in rows, metrics and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Range => "range",
            Self::Country => "country",
            Self::World => "world",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word)
    }

    /// Whether its block ends when it is quiet, and lets single messages through until then.
    pub const fn is_wide(self) -> bool {
        matches!(self, Self::Country | Self::World)
    }
}

impl Usual {
    /// Of first verifications by the number of their five minutes.
    pub fn of(buckets: &BTreeMap<i64, u32>) -> Self {
        let hour = |(first, _): (&i64, &u32)| {
            buckets.range(first..&(first + BURSTS_IN_HOUR)).map(|(_, count)| count).sum()
        };
        Self {
            burst: buckets.values().copied().max().unwrap_or_default(),
            hour: buckets.iter().map(hour).max().unwrap_or_default(),
        }
    }
}

impl Rule {
    /// All of them, the narrowest first.
    pub const ALL: [Self; 7] = [
        Self::Network,
        Self::Range,
        Self::CountryBurst,
        Self::CountryHour,
        Self::CountryDay,
        Self::WorldBurst,
        Self::WorldHour,
    ];

    /// The word in rows, metrics and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Range => "range",
            Self::CountryBurst => "country_burst",
            Self::CountryHour => "country_hour",
            Self::CountryDay => "country_day",
            Self::WorldBurst => "world_burst",
            Self::WorldHour => "world_hour",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.as_str() == word)
    }

    /// What its block holds back.
    pub const fn scope(self) -> Scope {
        match self {
            Self::Network => Scope::Network,
            Self::Range => Scope::Range,
            Self::CountryBurst | Self::CountryHour | Self::CountryDay => Scope::Country,
            Self::WorldBurst | Self::WorldHour => Scope::World,
        }
    }

    /// How one more message breaks the rule, if it does.
    pub fn excess(self, counts: &Counts, country: Usual, world: Usual) -> Option<Excess> {
        let day = counts.country_day;
        let (counted, allowed) = match self {
            Self::Network => unanswered(counts.network, if counts.network_was_blocked { 1 } else { 5 }, 3),
            Self::Range => unanswered(counts.range, if counts.range_was_blocked { 1 } else { 3 }, 2),
            Self::CountryBurst => unusual(counts.country.burst, burst(country), BURST_FLOOR),
            Self::CountryHour => unusual(counts.country.hour, hour(country), FLOOR),
            Self::CountryDay => (day.unconverted, day.converted.saturating_add(FLOOR)),
            Self::WorldBurst => {
                unusual(counts.world.burst, world.burst.saturating_add(world.burst / 2), BURST_FLOOR)
            }
            Self::WorldHour => unusual(counts.world.hour, world.hour.saturating_add(world.hour / 4), FLOOR),
        };
        (counted >= allowed).then_some(Excess { rule: self, counted, allowed })
    }
}

/// How many messages of a window were unanswered, and how many may be: as many as were answered, and no fewer than `floor`. More
/// than `usual` they must be in all.
fn unusual(sends: Sends, usual: u32, floor: u32) -> (u32, u32) {
    let Sends { unconverted, converted } = sends;
    let allowed = usual.saturating_sub(converted).max(converted.saturating_add(1)).max(floor);
    (unconverted, allowed)
}

/// As many messages as may be unanswered: `few`, or `times` as many as were answered and one.
const fn unanswered(sends: Sends, few: u32, times: u32) -> (u32, u32) {
    let many = sends.converted.saturating_mul(times).saturating_add(1);
    (sends.unconverted, if many > few { many } else { few })
}

fn burst(usual: Usual) -> u32 {
    usual.burst.saturating_mul(2).max(BURST_FLOOR)
}

fn hour(usual: Usual) -> u32 {
    usual.hour.saturating_add(usual.hour / 2).max(FLOOR)
}

/// Whether a network's callers are no strangers: others of it have been verified, and most of them today. Of one that has been
/// known for less than a day as many messages may be unanswered as are answered: numbers of one's own are verified in no time.
pub const fn is_trusted(counts: &Counts) -> bool {
    let times = if counts.known_longer >= TRUSTED { 3 } else { 1 };
    let (sends, most) = (counts.network, counts.network.converted.saturating_mul(times));
    counts.known >= TRUSTED && sends.unconverted < if most > 6 { most } else { 6 }
}

/// How the first message that breaks a rule breaks it.
pub fn judge(counts: &Counts, country: Usual, world: Usual) -> Option<Excess> {
    Rule::ALL.into_iter().find_map(|rule| rule.excess(counts, country, world))
}

#[cfg(test)]
mod tests;
