//! The refresh of a session: rotation that forgives a lost answer, and still catches a stolen token.

use std::sync::Arc;

use super::audited::AuditedTx;
use super::error::{FlowError, commit_refusal};
use super::exchange::TokenExchange;
use super::lookup::find_own;
use super::presenter::{Answer, Presenter, Refreshed, end_reused, judge, line, repeat};
use super::{Auth, AuthError, Origin};
use crate::domain::audit::AuditEvent;
use crate::domain::clock::Times;
use crate::domain::policy::Policy;
use crate::domain::session::RefreshDecision;
use crate::domain::{Secret, Session};
use crate::random;
use crate::storage::{Locks, StoreResult};
use crate::tokens::{Claims, TokenKind, TokenPair, Verified};

/// What a refresh is answered with.
#[derive(Debug)]
pub struct RefreshedTokens {
    /// The session's next pair, or its current one again.
    pub pair: TokenPair,
    /// The token of the session's device, where the session had none.
    pub device_token: Option<Secret>,
}

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
    ) -> Result<RefreshedTokens, AuthError> {
        let times = self.parts.clock.read();
        let refreshed = match self.settings().tokens.verify(token, TokenKind::Refresh, times.wall) {
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
    ) -> Result<RefreshedTokens, AuthError> {
        let random = &*self.parts.random;
        let (actor, policy) = (origin.actor(times.now), self.policy());
        let presenter = Presenter { address: origin.address, times, grace: policy.reuse_grace };
        let Refreshed { answer, reuse } = match verified {
            Verified::Own(claims) => {
                let locks = Locks::none().session(claims.user, &claims.session);
                let rotation = Rotation { claims, presenter, next_jti: random::jti(random), policy };
                self.write(locks, actor, move |tx| rotation.write(tx)).await?
            }
            Verified::Foreign(claims) => {
                let locks = Locks::none().user(claims.user);
                let session = self.new_session(device, &origin, times);
                let exchange = TokenExchange { claims, presenter, session };
                self.write(locks, actor, move |tx| exchange.write(tx)).await?
            }
        };
        if let Some(kind) = reuse {
            self.parts.metrics.token_reused(kind);
        }
        let Answer { session, user, is_repeated } = answer?;
        let access_jti = random::jti(random);
        let pair = self.settings().tokens.pair(&session, &user, access_jti, times.wall);
        let device_token = self.token_for_refreshed(&session, is_repeated, &origin, times).await;
        Ok(RefreshedTokens { pair: pair.ok_or(AuthError::Internal)?, device_token })
    }
}

/// Everything that the write needs, drawn and derived beforehand.
struct Rotation {
    claims: Claims,
    presenter: Presenter,
    next_jti: String,
    policy: Arc<Policy>,
}

impl Rotation {
    fn write(&self, tx: &mut AuditedTx<'_>) -> StoreResult<Refreshed> {
        let mut reuse = None;
        let decided = self.decide(tx, &mut reuse);
        Ok(Refreshed { answer: commit_refusal(decided)?, reuse })
    }

    fn decide(&self, tx: &mut AuditedTx<'_>, reuse: &mut Option<&'static str>) -> Result<Answer, FlowError> {
        let Self { claims, presenter, .. } = self;
        let (session, user) = find_own(&**tx, claims, presenter.times.earlier())??;
        let decision = judge(&**tx, &session, claims, &presenter.presentation(&session))?;
        // A stolen token is found out whatever became of the user.
        if !user.is_active && decision.is_good() {
            return Err(AuthError::AccountDisabled.into());
        }
        let is_repeated = matches!(decision, RefreshDecision::Repeat(_));
        let session = match decision {
            RefreshDecision::Rotate => self.rotate(tx, session)?,
            RefreshDecision::Repeat(repetition) => repeat(tx, reuse, session, repetition)?,
            RefreshDecision::Reuse(evidence) => {
                return Err(end_reused(tx, reuse, session, evidence)?.into());
            }
        };
        Ok(Answer { session, user, is_repeated })
    }

    /// Gives the session its next generation. Each rotation is logged, but the trail has one line a day and session: it is
    /// kept for months, and the row says when the session was last used, and from where.
    fn rotate(&self, tx: &mut AuditedTx<'_>, session: Session) -> StoreResult<Session> {
        let Presenter { times, address, grace } = &self.presenter;
        tx.note_rotation(&session.id, session.generation, times.now, times.now - *grace)?;
        let is_first_of_day = session.issued_at.day() != times.wall.day();
        let rotated = session.rotated(self.next_jti.clone(), times, &self.policy.lifetimes);
        let mut session = Session { ip: address.to_string(), ..rotated };
        tx.update_session(&mut session)?;
        let line = line(tx, AuditEvent::TokenCreated, &session);
        if is_first_of_day {
            tx.record(line);
        } else {
            tx.only_log(line);
        }
        Ok(session)
    }
}
