//! The exchange of a foreign refresh token, one that the system before this one issued, for a session here.

use crate::domain::session::{Presentation, RefreshDecision};
use crate::domain::{Session, SessionId, Timestamp, UserId};

/// What became of a foreign refresh token: none is good twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The token's own name, worthless without the key that signed it.
    pub jti: String,
    /// Whose it was.
    pub user: UserId,
    /// The session that it opened; none where it was logged out instead.
    pub session: Option<SessionId>,
    /// When.
    pub at: Timestamp,
    /// When the token expires; nobody need remember it any longer.
    pub expires_at: Timestamp,
}

impl Exchange {
    /// Judges the token that comes again, while the session that it opened is live: to that session it is the generation
    /// before the first, rotated away by the exchange.
    pub fn presented_again(&self, session: &Session, presentation: &Presentation) -> RefreshDecision {
        session.present_older(session.generation == 0, Some(self.at), presentation)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::clock::Times;
    use crate::domain::session::{Evidence, Lifetimes, Login, Repetition};

    const GRACE: Duration = Duration::from_mins(1);

    fn exchanged() -> (Exchange, Session) {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let day = Duration::from_hours(24);
        let lifetimes = Lifetimes { access: day, refresh: 30 * day, session: 365 * day };
        let login = Login { user: UserId(1), device: String::new(), ip: String::new() };
        let session =
            Session::open(SessionId::new(now, [0; 10]), "0".into(), login, &Times::right(now), &lifetimes);
        let exchange = Exchange {
            jti: "a".repeat(32),
            user: UserId(1),
            session: Some(session.id.clone()),
            at: now,
            expires_at: now + day,
        };
        (exchange, session)
    }

    #[test]
    fn the_token_is_forgiven_within_the_grace_whatever_the_session_did() {
        let (exchange, session) = exchanged();
        let lifetimes = Lifetimes { access: GRACE, refresh: GRACE, session: GRACE };
        let used = Session { generation_used: true, ..session.clone() };
        let rotated = session.clone().rotated("1".into(), &Times::right(exchange.at), &lifetimes);
        for session in [session, used, rotated] {
            let at = |after: Duration| {
                let now = exchange.at + after;
                let presentation = Presentation { now, grace: GRACE, from_elsewhere: false };
                exchange.presented_again(&session, &presentation)
            };
            let forgiven = RefreshDecision::Repeat(Repetition::Prompt);
            assert_eq!(at(Duration::ZERO), forgiven);
            assert_eq!(at(Duration::from_millis(59_999)), forgiven);
            let is_fresh = session.generation == 0 && !session.generation_used;
            let later = if is_fresh {
                RefreshDecision::Repeat(Repetition::Late)
            } else {
                RefreshDecision::Reuse(Evidence::OutsideTheRules)
            };
            assert_eq!(at(GRACE), later);
        }
    }
}
