//! Instants as the domain counts them.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// An instant in Unix milliseconds, UTC; the form in which every instant is stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From Unix milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Unix milliseconds.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole Unix seconds, rounded down: the form of `exp` and `iat` (RFC 7519 §2, `NumericDate`).
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Unix seconds with their fraction, as metrics have them.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds are exact for longer than anybody measures")]
    pub const fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// Whole days since 1970, in UTC.
    pub const fn day(self) -> i64 {
        self.as_secs().div_euclid(86_400)
    }

    /// ISO 8601 in UTC, to the millisecond: `2026-01-31T12:00:00.000Z`.
    pub fn iso(self) -> String {
        jiff::Timestamp::from_millisecond(self.0)
            .map_or_else(|_| self.0.to_string(), |instant| format!("{instant:.3}"))
    }

    /// How long until `later`; zero if that has passed.
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Whole seconds, rounded up: what a client must be told to wait so that the wait is enough.
pub fn seconds_up(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// A wait as a person says it: `45 seconds`, `1 minute`, `59 minutes`, `2 hours`; rounded up.
pub fn humanize_wait(duration: Duration) -> String {
    let seconds = seconds_up(duration).max(1);
    let (count, unit) = match seconds {
        ..60 => (seconds, "second"),
        60..3600 => (seconds.div_ceil(60), "minute"),
        _ => (seconds.div_ceil(3600), "hour"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_read_as_a_person_says_them_and_never_fall_short() {
        for (millis, said) in [
            (0, "1 second"),
            (999, "1 second"),
            (45_000, "45 seconds"),
            (60_000, "1 minute"),
            (60_001, "2 minutes"),
            (3_600_000, "1 hour"),
            (3_600_001, "2 hours"),
        ] {
            assert_eq!(humanize_wait(Duration::from_millis(millis)), said);
        }
    }

    #[test]
    fn seconds_round_up() {
        assert_eq!(seconds_up(Duration::from_millis(1)), 1);
        assert_eq!(seconds_up(Duration::from_secs(2)), 2);
    }

    #[test]
    fn a_day_begins_at_midnight_utc_and_metrics_have_the_fraction() {
        let midnight = Timestamp::from_millis(1_767_225_600_000);
        assert_eq!((midnight - Duration::from_millis(1)).day() + 1, midnight.day());
        assert_eq!(midnight.day(), 20_454);
        assert!((Timestamp::from_millis(1500).as_secs_f64() - 1.5).abs() < f64::EPSILON);
    }
}
