//! A user and a session whose tokens tests and fuzzers try.

use std::time::Duration;

use super::{TokenPair, Tokens};
use crate::domain::clock::Times;
use crate::domain::session::{Lifetimes, Login};
use crate::domain::{Attributes, PhoneNumber, Session, SessionId, Timestamp, User, UserId};

/// When they were issued.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000)
}

/// A user in good standing.
pub(crate) fn user() -> User {
    User {
        id: UserId(7),
        username: "user_1234567890".into(),
        phone: PhoneNumber::parse("+1234567890", PhoneNumber::MIN_DIGITS).ok(),
        role: "retailer".into(),
        is_active: true,
        phone_verified: true,
        joined_at: now(),
        has_foreign_tokens: false,
        is_testing_only: false,
        attributes: Attributes::default(),
        deletes_at: None,
        version: 0,
    }
}

/// A session of that user, just opened.
pub(crate) fn session() -> Session {
    let lifetimes = Lifetimes {
        access: Duration::from_mins(15),
        refresh: Duration::from_hours(30 * 24),
        session: Duration::from_hours(365 * 24),
    };
    let login = Login { user: UserId(7), device: String::new(), ip: String::new() };
    Session::open(SessionId::new(now(), [1; 10]), "f".repeat(32), login, &Times::right(now()), &lifetimes)
}

/// The first pair of that session.
pub(crate) fn pair(tokens: &Tokens) -> Option<TokenPair> {
    tokens.pair(&session(), &user(), "a".repeat(32), now())
}
