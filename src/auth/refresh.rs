//! The refresh of a session: rotation that forgives a lost answer, and still catches a stolen token.

use std::sync::Arc;
use std::time::Duration;

use super::error::{Stop, said};
use super::exchange::Exchanging;
use super::lookup::session_of;
use super::presenter::{Presenter, Rotated, judge};
use super::trail::Trail;
use super::{Auth, AuthError, Origin};
use crate::domain::audit::AuditEvent;
use crate::domain::clock::Times;
use crate::domain::session::{Lifetimes, Presented};
use crate::domain::{Session, User};
use crate::random;
use crate::storage::{Stored, Tx};
use crate::tokens::{Claims, TokenKind, TokenPair, Verified};

impl Auth {
    /// Answers a refresh token with the session's next pair, or with its current one again. A foreign one opens a session
    /// on the device of that name.
    ///
    /// # Errors
    /// [`AuthError::TokenReused`] where the token is outside the rules, after the session was ended for it;
    /// [`AuthError::TokenInvalid`], [`AuthError::TokenExpired`], [`AuthError::AccountDisabled`];
    /// [`AuthError::ClockInDoubt`] where the token seems to have expired while the wall clock is in doubt.
    pub async fn refresh(
        self: &Arc<Self>,
        token: &str,
        device: String,
        origin: Origin,
    ) -> Result<TokenPair, AuthError> {
        let times = self.parts.clock.read();
        let refreshed = match self.parts.tokens.verify(token, TokenKind::Refresh, times.wall) {
            Ok(verified) => self.run(self.clone().answer(verified, device, origin, times)).await?,
            Err(error) => Err(error.into()),
        };
        match (refreshed, times.doubt) {
            // A client that is told that its token has expired forgets it.
            (Err(AuthError::TokenExpired), Some(left)) => Err(AuthError::ClockInDoubt(left)),
            (refreshed, _) => refreshed,
        }
    }

    async fn answer(
        self: Arc<Self>,
        verified: Verified,
        device: String,
        origin: Origin,
        times: Times,
    ) -> Result<TokenPair, AuthError> {
        let random = &*self.parts.random;
        let presenter = Presenter { actor: origin.actor(times.now), address: origin.address, times };
        let (lifetimes, grace) = (self.policy().lifetimes, self.policy().reuse_grace);
        let (result, trail) = match verified {
            Verified::Own(claims) => {
                let rotation =
                    Rotation { claims, presenter, next_jti: random::jti(random), lifetimes, grace };
                self.parts.store.write(move |tx| rotation.write(tx)).await?
            }
            Verified::Foreign(claims) => {
                let session = self.new_session(device, &origin, times);
                let exchanging = Exchanging { claims, presenter, session, grace };
                self.parts.store.write(move |tx| exchanging.write(tx)).await?
            }
        };
        trail.log();
        let (session, user) = result?;
        self.parts.tokens.pair(&session, &user, random::jti(random), times.wall).ok_or(AuthError::Internal)
    }
}

/// Everything that the write needs, drawn and derived beforehand.
struct Rotation {
    claims: Claims,
    presenter: Presenter,
    next_jti: String,
    lifetimes: Lifetimes,
    grace: Duration,
}

impl Rotation {
    fn write(self, tx: &mut dyn Tx) -> Stored<(Rotated, Trail)> {
        let mut trail = Trail::default();
        Ok((said(self.decide(tx, &mut trail))?, trail))
    }

    fn decide(&self, tx: &mut dyn Tx, trail: &mut Trail) -> Result<(Session, User), Stop> {
        let (claims, now) = (&self.claims, self.presenter.actor.at);
        let live_at = self.presenter.times.earlier();
        let session = session_of(tx, claims, live_at)?.ok_or(AuthError::TokenInvalid)?;
        let user = tx.user(claims.user)?.ok_or(AuthError::TokenInvalid)?;
        let presented = judge(tx, &session, claims, now, self.grace)?;
        // A stolen token is found out whatever became of the user.
        if !user.is_active && presented != Presented::Reuse {
            return Err(AuthError::AccountDisabled.into());
        }
        match presented {
            Presented::Rotate => {
                tx.note_rotation(&session.id, session.generation, now, now - self.grace)?;
                let mut session =
                    session.rotated(self.next_jti.clone(), &self.presenter.times, &self.lifetimes);
                session.ip = self.presenter.address.to_string();
                tx.update_session(&session)?;
                trail.add(tx, self.presenter.line(AuditEvent::TokenCreated, &session))?;
                Ok((session, user))
            }
            Presented::Repeat { after_grace } => {
                self.presenter.repeats(tx, trail, &session, after_grace)?;
                Ok((session, user))
            }
            Presented::Reuse => Err(self.presenter.reuses(tx, trail, session)?.into()),
        }
    }
}
