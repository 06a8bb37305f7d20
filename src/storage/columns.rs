//! What every engine's columns need: how lengths and counts stand in them, and what an impossible word is.

use std::time::Duration;

/// A word in a row that means nothing to us; it may be somebody's data, so it is not told.
#[derive(Debug, thiserror::Error)]
#[error("a row holds a word that means nothing here")]
pub(super) struct Impossible;

/// How many rows, as a database counts.
pub(super) fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// An amount of a budget: more than a database can count is as much as it can.
pub(super) fn units(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX)
}

/// A length of time, in milliseconds.
pub(super) fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds, as a length of time.
pub(super) fn length(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or_default())
}
