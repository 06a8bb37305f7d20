//! The refresh of a session: rotation that forgives a lost answer, and still catches a stolen token.

use std::time::Duration;

use super::error::{Stop, said};
use super::trail::Trail;
use super::{Auth, AuthError, Origin};
use crate::domain::audit::{Actor, AuditEvent};
use crate::domain::session::{EndReason, Lifetimes, Presented};
use crate::domain::{ClientAddress, Session, Timestamp, User};
use crate::random;
use crate::storage::{Stored, Tx, View};
use crate::tokens::{Claims, TokenKind, TokenPair};

impl Auth {
    /// Answers a refresh token with the session's next pair, or with its current one again.
    ///
    /// # Errors
    /// [`AuthError::TokenReused`] where the token is outside the rules, after the session was ended for it;
    /// [`AuthError::TokenInvalid`], [`AuthError::TokenExpired`], [`AuthError::AccountDisabled`].
    pub async fn refresh(&self, token: &str, origin: Origin) -> Result<TokenPair, AuthError> {
        let now = self.parts.clock.now();
        let claims = self.parts.tokens.verify(token, TokenKind::Refresh, now)?;
        let random = &*self.parts.random;
        let actor = Actor {
            ip: Some(origin.address.to_string()),
            request_id: Some(origin.request_id),
            ..Actor::system(now)
        };
        let rotation = Rotation {
            claims,
            actor,
            address: origin.address,
            next_jti: random::jti(random),
            lifetimes: self.policy().lifetimes,
            grace: self.policy().reuse_grace,
        };
        let (result, trail) = self.parts.store.write(move |tx| rotation.write(tx)).await?;
        trail.log();
        let (session, user) = result?;
        self.parts.tokens.pair(&session, &user, random::jti(random), now).ok_or(AuthError::Internal)
    }
}

/// Everything that the write needs, drawn and derived beforehand.
struct Rotation {
    claims: Claims,
    actor: Actor,
    address: ClientAddress,
    next_jti: String,
    lifetimes: Lifetimes,
    grace: Duration,
}

type Rotated = Result<(Session, User), AuthError>;

impl Rotation {
    fn write(self, tx: &mut dyn Tx) -> Stored<(Rotated, Trail)> {
        let mut trail = Trail::default();
        Ok((said(self.decide(tx, &mut trail))?, trail))
    }

    fn decide(&self, tx: &mut dyn Tx, trail: &mut Trail) -> Result<(Session, User), Stop> {
        let (claims, now) = (&self.claims, self.actor.at);
        let session = tx.session(&claims.session)?.filter(|session| session.user == claims.user);
        let session = session.filter(|session| session.is_live(now)).ok_or(AuthError::TokenInvalid)?;
        let user = tx.user(claims.user)?.ok_or(AuthError::TokenInvalid)?;
        let line = |event| self.actor.did(event).user(user.id).session(&session.id);
        let presented = judge(tx, &session, claims, now, self.grace)?;
        // A stolen token is found out whatever became of the user.
        if !user.is_active && presented != Presented::Reuse {
            return Err(AuthError::AccountDisabled.into());
        }
        match presented {
            Presented::Rotate => {
                tx.note_rotation(&session.id, session.generation, now, now - self.grace)?;
                let mut session = session.rotated(self.next_jti.clone(), now, &self.lifetimes);
                session.ip = self.address.to_string();
                tx.update_session(&session)?;
                trail.add(tx, self.actor.did(AuditEvent::TokenCreated).user(user.id).session(&session.id))?;
                Ok((session, user))
            }
            Presented::Repeat { after_grace } => {
                if self.is_another_network(&session) {
                    trail.add(tx, line(AuditEvent::TokenReuse).detail("repeated from another network"))?;
                } else if after_grace {
                    trail.add(tx, line(AuditEvent::TokenReuse).detail("repeated after the grace"))?;
                }
                Ok((session, user))
            }
            Presented::Reuse => {
                trail.add(tx, line(AuditEvent::TokenReuse).detail("outside the rules"))?;
                trail.add(tx, line(AuditEvent::TokenRevoked).detail(EndReason::Reuse.as_str()))?;
                tx.update_session(&session.ended(now, EndReason::Reuse))?;
                Err(AuthError::TokenReused.into())
            }
        }
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
