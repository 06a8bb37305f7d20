//! Whoever presents a refresh token, and what is done about one that was presented before.

use std::time::Duration;

use super::AuthError;
use super::ending::end;
use super::trail::Trail;
use crate::domain::audit::{Actor, AuditEvent, AuditRecord};
use crate::domain::clock::Times;
use crate::domain::session::{EndReason, Presented};
use crate::domain::{ClientAddress, Session, Timestamp, User};
use crate::storage::{Stored, Tx, View};
use crate::tokens::Claims;

/// Who presents a refresh token.
pub(super) struct Presenter {
    pub(super) actor: Actor,
    pub(super) address: ClientAddress,
    pub(super) times: Times,
}

/// The session whose current pair is the answer, and its user.
pub(super) type Rotated = Result<(Session, User), AuthError>;

impl Presenter {
    /// Tells of a repetition, where it is worth telling.
    pub(super) fn repeats(
        &self,
        tx: &mut dyn Tx,
        trail: &mut Trail,
        session: &Session,
        after_grace: bool,
    ) -> Stored<()> {
        let detail = if self.is_another_network(session) {
            "repeated from another network"
        } else if after_grace {
            "repeated after the grace"
        } else {
            return Ok(());
        };
        trail.add(tx, self.line(AuditEvent::TokenReuse, session).detail(detail))
    }

    /// Ends a session of which a token was presented outside the rules; gives what to answer.
    pub(super) fn reuses(&self, tx: &mut dyn Tx, trail: &mut Trail, session: Session) -> Stored<AuthError> {
        trail.add(tx, self.line(AuditEvent::TokenReuse, &session).detail("outside the rules"))?;
        end(tx, trail, &self.actor, session, EndReason::Reuse)?;
        Ok(AuthError::TokenReused)
    }

    pub(super) fn line(&self, event: AuditEvent, session: &Session) -> AuditRecord {
        self.actor.did(event).user(session.user).session(&session.id)
    }

    fn is_another_network(&self, session: &Session) -> bool {
        let before = session.ip.parse().map(ClientAddress::new);
        before.is_ok_and(|before| before.counted() != self.address.counted())
    }
}

/// Judges a refresh token by the session's row and what is known of its earlier generations.
pub(super) fn judge(
    view: &dyn View,
    session: &Session,
    claims: &Claims,
    now: Timestamp,
    grace: Duration,
) -> Stored<Presented> {
    let away = view.rotated_at(&session.id, claims.generation)?;
    Ok(session.present(claims.generation, &claims.jti, away, now, grace))
}
