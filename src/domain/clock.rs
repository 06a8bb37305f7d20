//! The rules of time: how a wall clock that leaps is told from one that goes right, and what may follow it.
//!
//! Three times come from two clocks of the machine, the monotonic one and the wall clock:
//! - `now`, for quota windows, codes and rows, goes at the pace of the monotonic clock and never back;
//! - `wall`, for the `iat` and `exp` of tokens, is what the wall clock says, right or wrong;
//! - `retention`, for whatever deletes, follows the wall clock slowly. It is stored, so that a restart under a wrong
//!   clock deletes nothing either.

use std::time::Duration;

use crate::domain::Timestamp;

/// How far the wall clock may move against the monotonic one before that is a leap. Time services correct less than
/// this without being asked to.
const TOLERANCE: Duration = Duration::from_secs(2);

/// How long a wall clock must go right after a leap until what it says is believed.
const CONFIRMED_AFTER: Duration = Duration::from_mins(10);

/// How far the retention time may be set ahead, beside the time that passes, for each [`CONFIRMED_AFTER`] without a leap.
const CATCH_UP: Duration = Duration::from_hours(1);

/// A stop of the program that is as short as this needs no explanation; after a longer one the clock is in doubt.
const SHORT_STOP: Duration = CATCH_UP;

/// How far ahead of one's own time what another server dated may be. What lies further ahead was written before a clock was set back
/// that had been ahead, and says nothing about now.
pub const AHEAD: Duration = Duration::from_mins(1);

/// A wall clock that is further ahead than this at a start is not even followed by `now`.
const LONGEST_STOP: Duration = Duration::from_hours(24);

/// One reading of the machine's two clocks, taken together.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// The monotonic clock, from whatever beginning.
    pub monotonic: Duration,
    /// The wall clock.
    pub wall: Timestamp,
}

/// What time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// For quota windows, codes and rows: never goes back.
    pub now: Timestamp,
    /// What the wall clock says: for what others compare with their own clock.
    pub wall: Timestamp,
    /// For whatever deletes or ends: what lies before it is certainly past.
    pub retention: Timestamp,
    /// After a leap: how long until the wall clock is believed again, unless it leaps once more.
    pub doubt: Option<Duration>,
}

impl Times {
    /// The times while the wall clock goes right.
    pub const fn right(now: Timestamp) -> Self {
        Self { now, wall: now, retention: now, doubt: None }
    }

    /// The earlier of `now` and `wall`: no session has expired while one of them says that it has not.
    pub fn earlier(&self) -> Timestamp {
        self.now.min(self.wall)
    }
}

/// What is stored of the clock, for the next start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredClock {
    /// The wall clock's time, as far as it was believed.
    pub wall: Timestamp,
    /// The retention time.
    pub retention: Timestamp,
    /// How long the wall clock has gone right since the last leap or the last time that the retention time caught up.
    pub quiet: Duration,
}

/// Something about the wall clock that the operator should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockEvent {
    /// While the program ran, it leaped ahead by so much.
    Ahead(Duration),
    /// While the program ran, it leaped back by so much.
    Back(Duration),
    /// At the start it is so far ahead of the time at which the database was last served.
    AheadAtStart(Duration),
    /// At the start it is so far behind the time at which the database was last served.
    BackAtStart(Duration),
    /// It is back where it was before the leap.
    Returned,
    /// It has gone right for so long that it is believed again.
    Confirmed,
}

/// Tells a wall clock that leaps from one that goes right, and derives the program's times from both clocks.
#[derive(Debug)]
pub struct LeapGuard {
    /// The monotonic clock at the last reading, in milliseconds; so are all below.
    read_at: i64,
    /// The wall clock against the monotonic one, as last believed.
    believed: i64,
    /// `now` against the monotonic clock.
    now: i64,
    doubt: Option<Doubt>,
    quiet: Duration,
    retention: Timestamp,
}

/// A leap that is neither undone nor confirmed.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    /// The wall clock against the monotonic one since the leap.
    wall: i64,
    /// How far ahead of what was believed the wall clock may be and still count as back: nobody knows how long the
    /// program was stopped.
    slack: Duration,
}

impl LeapGuard {
    /// Begins at a start of the program, with what an earlier run stored.
    pub fn start(reading: Reading, stored: Option<StoredClock>) -> (Self, Option<ClockEvent>) {
        let (at, wall) = (millis(reading.monotonic), reading.wall.as_millis());
        let offset = wall - at;
        let Some(stored) = stored else {
            let (quiet, retention) = (Duration::ZERO, reading.wall);
            return (
                Self { read_at: at, believed: offset, now: offset, doubt: None, quiet, retention },
                None,
            );
        };
        let retention = stored.retention;
        let believed = stored.wall.as_millis() - at;
        let moved = offset - believed;
        if (-millis(TOLERANCE)..=millis(SHORT_STOP)).contains(&moved) {
            let quiet = stored.quiet;
            return (
                Self { read_at: at, believed: offset, now: offset, doubt: None, quiet, retention },
                None,
            );
        }
        // A clock that is years ahead would end every code; one that is behind merely lengthens them by the step.
        let now = if moved > millis(LONGEST_STOP) { believed } else { offset };
        let doubt = Some(Doubt { wall: offset, slack: SHORT_STOP });
        let by = Duration::from_millis(moved.unsigned_abs());
        let event = if moved > 0 { ClockEvent::AheadAtStart(by) } else { ClockEvent::BackAtStart(by) };
        (Self { read_at: at, believed, now, doubt, quiet: Duration::ZERO, retention }, Some(event))
    }

    /// Takes a reading; readings come in the order in which they were taken.
    pub fn read(&mut self, reading: Reading) -> (Times, Option<ClockEvent>) {
        let at = millis(reading.monotonic).max(self.read_at);
        let passed = Duration::from_millis((at - self.read_at).unsigned_abs());
        self.read_at = at;
        self.retention = self.retention + passed;
        let offset = reading.wall.as_millis() - at;
        let mut event = self.judge(offset, passed);
        if self.quiet >= CONFIRMED_AFTER {
            event = self.confirm().or(event);
        }
        if self.doubt.is_none() {
            self.now = self.now.max(self.believed);
            self.retention = self.retention.min(reading.wall);
        }
        let doubt = self.doubt.map(|_| CONFIRMED_AFTER.saturating_sub(self.quiet));
        let now = Timestamp::from_millis(at + self.now);
        (Times { now, wall: reading.wall, retention: self.retention, doubt }, event)
    }

    /// What the next start must know, as of the last reading.
    pub fn stored(&self) -> StoredClock {
        StoredClock {
            wall: Timestamp::from_millis(self.read_at + self.believed),
            retention: self.retention,
            quiet: self.quiet,
        }
    }

    /// Holds where the wall clock is against where it should be.
    fn judge(&mut self, offset: i64, passed: Duration) -> Option<ClockEvent> {
        let expected = self.doubt.map_or(self.believed, |doubt| doubt.wall);
        let moved = offset - expected;
        if moved.abs() <= millis(TOLERANCE) {
            self.quiet += passed;
            match &mut self.doubt {
                Some(doubt) => doubt.wall = offset,
                None => self.believed = offset,
            }
            return None;
        }
        self.quiet = Duration::ZERO;
        let slack = self.doubt.map_or(TOLERANCE, |doubt| doubt.slack);
        let is_back = (-millis(TOLERANCE)..=millis(slack)).contains(&(offset - self.believed));
        if self.doubt.is_some() && is_back {
            self.doubt = None;
            self.believed = offset;
            return Some(ClockEvent::Returned);
        }
        self.doubt = Some(Doubt { wall: offset, slack });
        let by = Duration::from_millis(moved.unsigned_abs());
        Some(if moved > 0 { ClockEvent::Ahead(by) } else { ClockEvent::Back(by) })
    }

    /// The wall clock has gone right for long enough: it is believed, and the retention time catches up with it.
    fn confirm(&mut self) -> Option<ClockEvent> {
        let times = self.quiet.as_millis() / CONFIRMED_AFTER.as_millis();
        let times = u32::try_from(times).unwrap_or(u32::MAX);
        self.quiet = self.quiet.saturating_sub(CONFIRMED_AFTER.saturating_mul(times));
        self.retention = self.retention + CATCH_UP.saturating_mul(times);
        let doubt = self.doubt.take()?;
        self.believed = doubt.wall;
        Some(ClockEvent::Confirmed)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "clock/tests.rs"]
mod tests;
