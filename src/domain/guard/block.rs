//! Blocks: what is held back, until when, and what is let through meanwhile.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::place::{GuardMode, Place};
use super::{Counts, Excess, Rule, Scope, Sends, Usual, hour};
use crate::domain::Timestamp;
use crate::domain::clock::AHEAD;
use crate::domain::quota::DAY;

/// How long the first block lasts, and how long it must be quiet before that of a country ends.
pub const FIRST_BLOCK: Duration = Duration::from_mins(15);

/// Whether a country, or the world, is not quiet: so many attempts of [`FIRST_BLOCK`], those that the block refused included,
/// prolong its block.
fn is_loud(attempts: u32, usual: Usual) -> bool {
    attempts > hour(usual) / 4
}

/// What is held back, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What it looks at.
    pub scope: Scope,
    /// Which network, range or country; nothing where all is held back.
    pub key: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when, as far as is known now.
    pub until: Timestamp,
    /// When the next message is let through to see whether it is answered; where [`Scope::is_wide`] alone.
    pub probe_at: Timestamp,
    /// The how manyth it is of a row of blocks, each within a day of the one before; where [`Scope::is_wide`], how many waits for
    /// a message that is let through have begun.
    pub times: u32,
    /// Why.
    pub excess: Excess,
}

/// What a wide block makes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passage {
    /// Those that were let through are answered: the block ends, as given, and the message is let through.
    Over(Block),
    /// It is let through, to see whether it is answered; the block goes on as given.
    Probe(Block),
    /// It is refused; the block goes on as given, where anything of it changes.
    Refused(Option<Block>),
}

/// How close the end of a block must be before one looks whether it is quiet.
const LOOK: Duration = Duration::from_mins(5);

/// How long a block is that ended because what it let through was answered: the message that it let through last speaks for it, if it
/// goes on.
const OVER: Duration = Duration::from_millis(1);

/// How many digits of a range's key are told to nobody but the operator.
const HIDDEN_DIGITS: usize = 5;

/// The longest of a row of blocks, and of the waits for the next message that is let through.
const LONGEST: Duration = Duration::from_hours(12);

/// How long the `times`-th block of a row lasts, and the `times`-th wait for the next message that is let through.
fn length(times: u32) -> Duration {
    (FIRST_BLOCK * (1 << times.clamp(1, 7).saturating_sub(1))).min(LONGEST)
}

impl Block {
    /// Begins one, after the one before with its key, if there was any.
    pub fn begin(before: Option<&Self>, place: &Place, excess: Excess, now: Timestamp) -> Self {
        let scope = excess.rule.scope();
        let is_recent = |before: &Self| before.until > now - DAY && before.is_believed(now);
        let row = before.filter(|before| !scope.is_wide() && is_recent(before));
        let times = row.map_or(0, |before| before.times).saturating_add(1);
        let until = now + length(times);
        Self { scope, key: place.key(scope).to_owned(), since: now, until, probe_at: until, times, excess }
    }

    /// The block that goes on where its day is still too full, although it was quiet: one of [`Rule::CountryDay`] that began
    /// within a day. A new one would have the next message wait anew.
    pub fn resumed(before: Option<&Self>, excess: Excess, now: Timestamp) -> Option<Self> {
        let is_of_day = |excess: Excess| excess.rule == Rule::CountryDay;
        let is_recent = |before: &Self| before.since > now - DAY && before.is_believed(now);
        let before = before.filter(|before| is_of_day(before.excess) && is_recent(before))?;
        is_of_day(excess).then(|| Self { until: now + FIRST_BLOCK, excess, ..before.clone() })
    }

    /// The block as one of the day, where it is a country's for another reason and its day is too full, too: the end of the other
    /// reason is no end for who waits.
    pub fn of_day(&self, counts: &Counts) -> Option<Self> {
        let is_other = self.scope == Scope::Country && self.excess.rule != Rule::CountryDay;
        let usual = Usual::default();
        let excess = Rule::CountryDay.excess(counts, usual, usual).filter(|_| is_other)?;
        Some(Self { excess, ..self.clone() })
    }

    /// When it is worth another attempt, as far as is known now: the end of the block, but a day that is too full is still so after
    /// it, until a message is let through.
    pub fn retry_at(&self) -> Timestamp {
        match self.excess.rule {
            Rule::CountryDay => self.until.max(self.probe_at),
            _ => self.until,
        }
    }

    /// Whether it holds anything back at `now`. One that ended because what it let through was answered holds back nothing, not even a
    /// message that is judged after that and whose own time is a little earlier: it would be refused as one of many attempts, and have
    /// the block go on.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.until > now && self.since.until(self.until) > OVER && self.is_believed(now)
    }

    /// Whether its times may be those of a clock that goes right. Another block than that is as good as none.
    pub fn is_believed(&self, now: Timestamp) -> bool {
        // It begins with the latest message that counts, which may be ahead as well.
        self.since <= now + AHEAD * 2 && self.until.max(self.probe_at) <= now + AHEAD + LONGEST
    }

    /// Of which country it is; none where it is no country's.
    pub fn country(&self) -> Option<&str> {
        (self.scope == Scope::Country).then_some(self.key.as_str())
    }

    /// Whether one must count the attempts that it refused, to say what it makes of a message.
    pub fn wants_attempts(&self, now: Timestamp) -> bool {
        self.until <= now + LOOK
    }

    /// What a wide block makes of a message at `now`: `probes` are what strangers were sent since it began, and `attempts` those that
    /// it refused in the last [`FIRST_BLOCK`], where they were [wanted](Self::wants_attempts).
    pub fn pass(&self, probes: Sends, attempts: Option<u32>, usual: Usual, now: Timestamp) -> Passage {
        if probes.converted > 0 && probes.unconverted <= probes.converted {
            return Passage::Over(Self { since: now - OVER, until: now, ..self.clone() });
        }
        // The attempt itself counts.
        let is_prolonged = attempts.is_some_and(|attempts| is_loud(attempts.saturating_add(1), usual));
        let until = if is_prolonged { now + FIRST_BLOCK } else { self.until };
        if now >= self.probe_at {
            let times = self.times.saturating_add(1);
            return Passage::Probe(Self { until, probe_at: now + length(times), times, ..self.clone() });
        }
        Passage::Refused(is_prolonged.then(|| Self { until, ..self.clone() }))
    }

    /// What is told of it, as JSON; of the numbers of a range, their first digits alone.
    pub fn told(&self, mode: GuardMode) -> Value {
        self.document(self.told_key(), mode)
    }

    /// The same for the operator, with the whole key.
    pub fn shown(&self, mode: GuardMode) -> Value {
        let mut document = self.document(&self.key, mode);
        document["probe_at"] = self.next_probe().map(Timestamp::iso).into();
        document
    }

    /// When the next message is let through, where single ones are while it lasts.
    pub fn next_probe(&self) -> Option<Timestamp> {
        self.scope.is_wide().then_some(self.probe_at)
    }

    /// What is held back and why, in words for the operator, with the whole key.
    pub fn in_full(&self) -> String {
        match self.scope {
            Scope::Range => format!("numbers {} and three more digits{}", self.key, self.why()),
            Scope::Network | Scope::Country | Scope::World => self.to_string(),
        }
    }

    /// The key without digits that would complete a masked number, which shows its last ones.
    fn told_key(&self) -> &str {
        let hidden = if self.scope == Scope::Range { HIDDEN_DIGITS } else { 0 };
        &self.key[..self.key.len().saturating_sub(hidden)]
    }

    fn document(&self, key: &str, mode: GuardMode) -> Value {
        json!({
            "scope": self.scope.as_str(),
            "key": key,
            "rule": self.excess.rule.as_str(),
            "counted": self.excess.counted,
            "allowed": self.excess.allowed,
            "since": self.since.iso(),
            "until": self.until.iso(),
            "guard": mode.as_str(),
        })
    }

    fn why(&self) -> String {
        let Excess { rule, counted, allowed } = self.excess;
        let time = match rule {
            Rule::Network | Rule::Range | Rule::CountryDay => "a day",
            Rule::CountryBurst | Rule::WorldBurst => "five minutes",
            Rule::CountryHour | Rule::WorldHour => "an hour",
        };
        format!(": {counted} messages of {time} to new numbers were not answered, and {allowed} are too many")
    }
}

/// What is held back and why, in words; of the numbers of a range, their first digits alone.
impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scope {
            Scope::Network => write!(f, "calls from {}", self.key)?,
            Scope::Range => write!(f, "a thousand of the numbers that begin with {}", self.told_key())?,
            Scope::Country => write!(f, "numbers of the country {}", self.key)?,
            Scope::World => f.write_str("numbers of all countries")?,
        }
        f.write_str(&self.why())
    }
}
