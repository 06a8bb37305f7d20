//! Instants at the command line: `--since 2h`, `--since 2026-01-31T12:00:00Z`, and how answers show them.

use std::str::FromStr;

use crate::config::instant::{day, instant};
use crate::domain::Timestamp;

/// A point in time as the operator gives it: a duration before now, or an ISO 8601 instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// So long ago.
    Ago(std::time::Duration),
    /// That instant.
    At(Timestamp),
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(ago) = humantime::parse_duration(text) {
            return Ok(Self::Ago(ago));
        }
        // As tables show it.
        let shown = || text.parse::<jiff::civil::DateTime>().ok().filter(|_| text.contains(' '));
        let utc = || instant(&format!("{}Z", shown()?));
        instant(text).or_else(|| day(text)).or_else(utc).map(Self::At).ok_or_else(|| {
            "write a duration such as 90m, 2h or 7d, a day such as 2026-01-31, or an instant such as \
             2026-01-31T12:00:00Z or \"2026-01-31 12:00:00\", in UTC"
                .to_owned()
        })
    }
}

impl When {
    /// The instant that is meant at `now`.
    pub fn instant(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(ago) => now - ago,
            Self::At(at) => at,
        }
    }
}

/// For people, in UTC and to the second: `2026-01-31 12:00:00`; the column or the sentence says that it is UTC.
pub fn short(at: Timestamp) -> String {
    let instant = jiff::Timestamp::from_second(at.as_secs());
    instant.map_or_else(|_| at.as_secs().to_string(), |instant| instant.strftime("%F %T").to_string())
}

/// In a sentence: `2026-01-31 12:00:00 UTC`.
pub fn long(at: Timestamp) -> String {
    format!("{} UTC", short(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn durations_days_and_instants() {
        assert_eq!("2h".parse(), Ok(When::Ago(Duration::from_hours(2))));
        let day = When::At(Timestamp::from_millis(1_769_817_600_000));
        assert_eq!("2026-01-31".parse(), Ok(day));
        assert_eq!("2026-01-31T01:00:00+01:00".parse(), Ok(day));
        assert!("yesterday".parse::<When>().unwrap_err().contains("7d"));
    }

    #[test]
    fn instants_are_shown_in_utc() {
        let at = Timestamp::from_millis(1_769_817_600_120);
        assert_eq!(at.iso(), "2026-01-31T00:00:00.120Z");
        assert_eq!(short(at), "2026-01-31 00:00:00");
        assert_eq!(long(at), "2026-01-31 00:00:00 UTC");
        assert_eq!(
            short(at).parse(),
            Ok(When::At(Timestamp::from_millis(1_769_817_600_000))),
            "it reads back"
        );
    }
}
