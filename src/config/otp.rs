//! `[otp]`: codes.

use super::key::{Key, Kind, Section};
use super::reader::Reader;
use crate::domain::policy::OtpPolicy;

static LENGTH: Key = Key::new(
    "otp.length",
    // Six at least: NIST SP 800-63B §3.1.3.2. Nine at most: what one draw gives without bias.
    Kind::Number { min: 6, max: 9 },
    "6",
    "Digits of a code.",
);
static TTL: Key = Key::new(
    "otp.ttl",
    // Ten hours at most: no SMS can be given longer to arrive (Twilio's ValidityPeriod).
    Kind::Duration { min: "1s", max: "10h" },
    "10m",
    "How long a code is good.",
);
static MAX_ATTEMPTS: Key = Key::new(
    "otp.max_attempts",
    Kind::Number { min: 1, max: 100 },
    "5",
    "Wrong guesses that one code takes.",
);
static MAX_FAILURES: Key = Key::new(
    "otp.max_failures_per_day",
    Kind::Number { min: 1, max: 1000 },
    "15",
    "Wrong guesses that one phone takes in a day, over all its codes; then it waits until the day has slid on.",
);
static COOLDOWN: Key = Key::new(
    "otp.resend_cooldown",
    Kind::Duration { min: "0s", max: "1h" },
    "0s",
    "The least time between two codes for one phone.",
);
static LIVE_CODES: Key = Key::new(
    "otp.live_codes",
    Kind::Number { min: 1, max: 2 },
    "1",
    "How many codes of one phone may be good at once: with 2, a late SMS still works after the next was sent.",
);

/// As many wrong guesses as a phone may ever have.
pub(super) const MOST_FAILURES: (&Key, &str) = (&MAX_FAILURES, "1000");

pub(super) const SECTION: Section = Section {
    name: "otp",
    doc: "Codes.",
    keys: &[&LENGTH, &TTL, &MAX_ATTEMPTS, &MAX_FAILURES, &COOLDOWN, &LIVE_CODES],
};

pub(super) fn read(reader: &mut Reader<'_>) -> OtpPolicy {
    OtpPolicy {
        length: reader.number(&LENGTH),
        ttl: reader.duration(&TTL),
        max_attempts: reader.number(&MAX_ATTEMPTS),
        max_failures_per_day: reader.number(&MAX_FAILURES),
        resend_cooldown: reader.duration(&COOLDOWN),
        live_codes: reader.number(&LIVE_CODES),
    }
}
