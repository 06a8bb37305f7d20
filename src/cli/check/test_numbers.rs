//! Test numbers: each logs in with a code that somebody wrote down.

use super::line::Line;
use crate::cli::engine::Place;
use crate::cli::output::counted;
use crate::cli::when;
use crate::config::Config;
use crate::domain::keys::KeyRing;
use crate::domain::{TestNumber, Timestamp};

const WHAT: &str = "test numbers";

/// None where no database can be read: another line says so.
pub(super) fn line(config: &Config, now: Timestamp, readable: Option<&Place>) -> Option<Line> {
    let kept = readable?.look(|view| view.test_numbers()).ok()?;
    let good: Vec<_> = kept.into_iter().filter(|number| number.is_good(now)).collect();
    Some(judged(config, &good))
}

fn judged(config: &Config, numbers: &[TestNumber]) -> Line {
    let Some(last) = numbers.iter().map(|number| number.until).max() else { return Line::ok(WHAT, "none") };
    // In debug the secret may be one that only the server reads.
    let keys = config.secret_key.as_ref().map(|secret| KeyRing::new(secret, &config.secret_key_fallbacks));
    let is_guessable =
        |number: &&TestNumber| keys.as_ref().is_some_and(|keys| number.is_guessable(keys, config.otp.length));
    if let Some(number) = numbers.iter().find(is_guessable) {
        return Line::fail(
            WHAT,
            format!("the code of {} is easily guessed", number.phone.masked()),
            "give it another code with `freshk sms test-number add`, or remove it",
        );
    }
    let found = format!("{}, the last until {}", counted(numbers.len(), "number"), when::long(last));
    Line::ok(WHAT, found)
}
