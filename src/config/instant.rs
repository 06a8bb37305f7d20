//! Instants and days as people write them.

use std::time::Duration;

use crate::domain::Timestamp;

const DAY: Duration = Duration::from_hours(24);

/// Reads an ISO 8601 instant with its offset, such as `2026-01-31T12:00:00Z`.
pub fn instant(text: &str) -> Option<Timestamp> {
    let instant: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp::from_millis(instant.as_millisecond()))
}

/// The first instant of an ISO 8601 day in UTC, such as `2026-01-31`.
pub fn day(text: &str) -> Option<Timestamp> {
    // The parser would pass over a time behind the day, and an instant without an offset is not that day.
    let day = text.parse::<jiff::civil::Date>().ok().filter(|day| day.to_string() == text)?;
    let start = day.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Timestamp::from_millis(start.timestamp().as_millisecond()))
}

/// Reads the end of something: an instant, or a day, which it lasts to the end of.
///
/// # Errors
/// What would be right.
pub fn end(text: &str) -> Result<Timestamp, &'static str> {
    let end = instant(text).or_else(|| Some(day(text)? + DAY));
    end.ok_or("write a day such as 2026-12-31 or an instant such as 2026-12-31T18:00:00Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_lasts_to_its_end() {
        let new_year = Timestamp::from_millis(1_767_225_600_000);
        assert_eq!(end("2025-12-31"), Ok(new_year));
        assert_eq!(end("2026-01-01T01:00:00+01:00"), Ok(new_year));
        assert!(end("").unwrap_err().contains("2026-12-31"));
        assert!(end("soon").is_err());
        for without_offset in ["2025-12-31T18:00:00", "2025-12-31 18:00", "2025-12-31T18"] {
            assert!(
                end(without_offset).is_err(),
                "{without_offset} is no day: it would last to the end of it"
            );
        }
    }
}
