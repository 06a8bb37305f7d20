//! Opening a session: within the most that a user may have, and told in the audit trail.

use super::ending::end;
use super::intent::TEST_NUMBER;
use super::trail::Trail;
use super::{Auth, Origin};
use crate::domain::audit::{Actor, AuditEvent};
use crate::domain::clock::Times;
use crate::domain::session::{EndReason, Lifetimes, Login};
use crate::domain::{Session, SessionId, Timestamp, UserId};
use crate::random;
use crate::storage::{StoreResult, Tx};

/// What opens a session.
#[derive(Clone, Copy, Debug)]
pub(super) enum OpenedBy {
    /// The code that was sent to the number.
    Code,
    /// The code of a test number; what it opens ends when that does.
    TestNumber {
        /// The end.
        until: Timestamp,
    },
    /// A foreign refresh token.
    Exchange,
}

impl OpenedBy {
    /// How the audit trail tells it from a code that was sent.
    pub(super) fn detail(self) -> Option<String> {
        match self {
            Self::Code => None,
            Self::TestNumber { .. } => Some(TEST_NUMBER.to_owned()),
            Self::Exchange => Some("exchanged a foreign refresh token".to_owned()),
        }
    }
}

/// A session that a write may open; drawn and derived beforehand.
pub(super) struct NewSession {
    /// Its name.
    pub(super) id: SessionId,
    jti: String,
    device: String,
    ip: String,
    lifetimes: Lifetimes,
    max_sessions: usize,
    /// What time it was when it was drawn.
    pub(super) times: Times,
}

impl Auth {
    /// Draws a session for whoever calls from `origin` with a device of this name.
    pub(super) fn new_session(&self, device: String, origin: &Origin, times: Times) -> NewSession {
        let random = &*self.parts.random;
        NewSession {
            id: random::session_id(random, times.now),
            jti: random::jti(random),
            device,
            ip: origin.address.to_string(),
            lifetimes: self.policy().lifetimes,
            max_sessions: self.policy().max_sessions,
            times,
        }
    }
}

impl NewSession {
    /// Opens it, and tells by what.
    pub(super) fn open(
        &self,
        tx: &mut dyn Tx,
        trail: &mut Trail,
        actor: &Actor,
        user: UserId,
        by: OpenedBy,
    ) -> StoreResult<Session> {
        let login = Login { user, device: self.device.clone(), ip: self.ip.clone() };
        let mut session =
            Session::open(self.id.clone(), self.jti.clone(), login, &self.times, &self.lifetimes);
        if let OpenedBy::TestNumber { until } = by {
            session = session.bounded(until);
        }
        self.make_room(tx, trail, actor, user)?;
        tx.insert_session(&session)?;
        for event in [AuditEvent::SessionCreated, AuditEvent::TokenCreated] {
            let mut line = actor.did(event).user(user).session(&session.id);
            line.detail = by.detail();
            trail.add(tx, line)?;
        }
        Ok(session)
    }

    /// Ends the user's oldest sessions, so that one more stays within the most that a user may have.
    fn make_room(&self, tx: &mut dyn Tx, trail: &mut Trail, actor: &Actor, user: UserId) -> StoreResult<()> {
        let sessions = tx.live_sessions(user, self.times.earlier())?;
        let surplus = (sessions.len() + 1).saturating_sub(self.max_sessions);
        for oldest in sessions.into_iter().take(surplus) {
            end(tx, trail, actor, oldest, EndReason::Displaced)?;
        }
        Ok(())
    }
}
