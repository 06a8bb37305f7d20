//! The refresh of a session: rotation that forgives a lost answer, and still catches a stolen token.

use std::sync::Arc;

use super::error::{Stop, commit_refusal};
use super::exchange::Exchanging;
use super::lookup::find_own;
use super::presenter::{Presenter, Rotated, Told, judge};
use super::{Auth, AuthError, Origin};
use crate::domain::audit::AuditEvent;
use crate::domain::clock::Times;
use crate::domain::session::{Lifetimes, RefreshDecision};
use crate::domain::{Session, User};
use crate::random;
use crate::storage::{StoreResult, Tx};
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
        let grace = self.policy().reuse_grace;
        let presenter = Presenter { actor: origin.actor(times.now), address: origin.address, times, grace };
        let (result, told) = match verified {
            Verified::Own(claims) => {
                let (next_jti, lifetimes) = (random::jti(random), self.policy().lifetimes);
                let rotation = Rotation { claims, presenter, next_jti, lifetimes };
                self.parts.store.write(move |tx| rotation.write(tx)).await?
            }
            Verified::Foreign(claims) => {
                let session = self.new_session(device, &origin, times);
                let exchanging = Exchanging { claims, presenter, session };
                self.parts.store.write(move |tx| exchanging.write(tx)).await?
            }
        };
        told.publish(&self.parts.metrics);
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
}

impl Rotation {
    fn write(self, tx: &mut dyn Tx) -> StoreResult<(Rotated, Told)> {
        let mut told = Told::default();
        Ok((commit_refusal(self.decide(tx, &mut told))?, told))
    }

    fn decide(&self, tx: &mut dyn Tx, told: &mut Told) -> Result<(Session, User), Stop> {
        let Self { claims, presenter, .. } = self;
        let (session, user) = find_own(tx, claims, presenter.times.earlier())??;
        let decision = judge(tx, &session, claims, &presenter.presentation(&session))?;
        // A stolen token is found out whatever became of the user.
        if !user.is_active && decision.is_good() {
            return Err(AuthError::AccountDisabled.into());
        }
        match decision {
            RefreshDecision::Rotate => Ok((self.rotate(tx, told, session)?, user)),
            RefreshDecision::Repeat(repetition) => {
                Ok((presenter.repeats(tx, told, session, repetition)?, user))
            }
            RefreshDecision::Reuse(evidence) => Err(presenter.reuses(tx, told, session, evidence)?.into()),
        }
    }

    /// Gives the session its next generation. Each rotation is logged, but the trail has one line a day and session: it is
    /// kept for months, and the row says when the session was last used, and from where.
    fn rotate(&self, tx: &mut dyn Tx, told: &mut Told, session: Session) -> StoreResult<Session> {
        let Presenter { times, address, grace, .. } = &self.presenter;
        tx.note_rotation(&session.id, session.generation, times.now, times.now - *grace)?;
        let is_first_of_day = session.issued_at.day() != times.wall.day();
        let rotated = session.rotated(self.next_jti.clone(), times, &self.lifetimes);
        let session = Session { ip: address.to_string(), ..rotated };
        tx.update_session(&session)?;
        let line = self.presenter.line(AuditEvent::TokenCreated, &session);
        if is_first_of_day {
            told.trail.add(tx, line)?;
        } else {
            told.trail.only_log(line);
        }
        Ok(session)
    }
}
