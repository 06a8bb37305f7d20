//! `[tokens]`: tokens and sessions.

use std::time::Duration;

use super::keys::{Key, Kind, Section};
use super::reader::Reader;
use crate::domain::session::Lifetimes;

/// `[tokens]`
#[derive(Clone, Copy, Debug)]
pub struct Tokens {
    /// How long tokens and sessions live.
    pub lifetimes: Lifetimes,
    /// How long a rotated refresh token may come again.
    pub reuse_grace: Duration,
    /// Sessions of one user at once; the oldest goes.
    pub max_sessions: usize,
}

static ACCESS: Key = Key::new(
    "tokens.access_ttl",
    Kind::Duration { least: "1s", most: "1d" },
    "15m",
    "How long an access token is good.",
);
static REFRESH: Key = Key::new(
    "tokens.refresh_ttl",
    Kind::Duration { least: "1s", most: "3650d" },
    "30d",
    "How long a refresh token is good, from its issue; so it slides with every rotation.",
);
static SESSION: Key = Key::new(
    "tokens.session_ttl",
    Kind::Duration { least: "1s", most: "3650d" },
    "365d",
    "The longest that a session lasts from its login, however often it is refreshed.",
);
static GRACE: Key = Key::new(
    "tokens.reuse_grace",
    Kind::Duration { least: "0s", most: "1h" },
    "60s",
    "How long a refresh token that was rotated away may come again: a phone may have lost the answer.",
);
static MAX_SESSIONS: Key = Key::new(
    "tokens.max_sessions",
    Kind::Number { least: 1, most: 1000 },
    "10",
    "Sessions of one user at once; the oldest goes.",
);

pub(super) const SECTION: Section = Section {
    name: "tokens",
    doc: "Tokens and sessions.",
    keys: &[&ACCESS, &REFRESH, &SESSION, &GRACE, &MAX_SESSIONS],
};

pub(super) fn read(reader: &mut Reader<'_>) -> Tokens {
    let lifetimes = Lifetimes {
        access: reader.duration(&ACCESS),
        refresh: reader.duration(&REFRESH),
        session: reader.duration(&SESSION),
    };
    let judged = !reader.is_faulty(&ACCESS) && !reader.is_faulty(&REFRESH);
    if judged && lifetimes.access > lifetimes.refresh {
        reader.fault(
            &ACCESS,
            "an access token would outlive the refresh token that renews it",
            "make tokens.access_ttl at most tokens.refresh_ttl",
        );
    }
    Tokens { lifetimes, reuse_grace: reader.duration(&GRACE), max_sessions: reader.number(&MAX_SESSIONS) }
}
