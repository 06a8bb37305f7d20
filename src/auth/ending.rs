//! The end of sessions: each leaves its line in the audit trail.

use super::lookup::{holder, live_session};
use super::trail::Trail;
use crate::domain::audit::{Actor, AuditEvent};
use crate::domain::session::EndReason;
use crate::domain::{Session, SessionId, Timestamp, User, UserId};
use crate::storage::{StoreResult, Tx};

/// Ends a session for `reason`.
pub(super) fn end(
    tx: &mut dyn Tx,
    trail: &mut Trail,
    actor: &Actor,
    session: Session,
    reason: EndReason,
) -> StoreResult<()> {
    let line = actor.did(AuditEvent::TokenRevoked).user(session.user).session(&session.id);
    trail.add(tx, line.detail(and_untold(reason.as_str(), session.replays_untold)))?;
    tx.update_session(&session.ended(actor.at, reason))
}

/// A detail, and how many repetitions of old tokens were counted since the session's last line about them.
pub(super) fn and_untold(detail: &str, untold: u32) -> String {
    match untold {
        0 => detail.to_owned(),
        untold => format!("{detail}; {untold} repetitions before it"),
    }
}

/// Who logs out, and what the audit trail has been told of it.
pub(super) struct Ending {
    pub(super) actor: Actor,
    /// When a session must not have expired to be one that can be ended.
    pub(super) live_at: Timestamp,
    pub(super) trail: Trail,
}

impl Ending {
    /// Ends a session.
    pub(super) fn session(&mut self, tx: &mut dyn Tx, session: Session) -> StoreResult<()> {
        end(tx, &mut self.trail, &self.actor, session, EndReason::Logout)
    }

    /// Ends a live session of `user`; false where there is none of this name.
    pub(super) fn one(&mut self, tx: &mut dyn Tx, id: &SessionId, user: UserId) -> StoreResult<bool> {
        let session = live_session(tx, id, user, self.live_at)?;
        session.map_or(Ok(false), |session| self.session(tx, session).map(|()| true))
    }

    /// Ends all that `user` could still come with.
    pub(super) fn all(&mut self, tx: &mut dyn Tx, user: UserId) -> StoreResult<()> {
        for session in tx.live_sessions(user, self.live_at)? {
            self.session(tx, session)?;
        }
        if let Some(user) = holder(tx, user)? {
            let line = self.actor.did(AuditEvent::TokenRevoked).user(user.id);
            self.trail.add(tx, line.detail("logout: foreign tokens"))?;
            tx.update_user(&User { has_foreign_tokens: false, ..user })?;
        }
        Ok(())
    }
}
