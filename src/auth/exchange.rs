//! Foreign tokens, those that the system before this one issued: an access token is good while it lasts, a refresh
//! token is exchanged once for a session here.

use super::AuthError;
use super::ending::Ending;
use super::error::{Stop, commit_refusal};
use super::lookup::{find_session, holder};
use super::opening::{NewSession, OpenedBy};
use super::presenter::{Presenter, Rotated, Told};
use crate::domain::audit::AuditEvent;
use crate::domain::session::{Evidence, Presentation, RefreshDecision};
use crate::domain::{Exchange, Session, SessionId, Timestamp, User};
use crate::storage::{StoreResult, Tx, View};
use crate::tokens::{ForeignClaims, TokenKind};

/// Everything that the write needs, drawn beforehand.
pub(super) struct Exchanging {
    pub(super) claims: ForeignClaims,
    pub(super) presenter: Presenter,
    pub(super) session: NewSession,
}

impl Exchanging {
    pub(super) fn write(self, tx: &mut dyn Tx) -> StoreResult<(Rotated, Told)> {
        let mut told = Told::default();
        Ok((commit_refusal(self.decide(tx, &mut told))?, told))
    }

    fn decide(&self, tx: &mut dyn Tx, told: &mut Told) -> Result<(Session, User), Stop> {
        let user = holder(tx, self.claims.user)?.ok_or(AuthError::TokenInvalid)?;
        let Some(exchange) = tx.exchange(&self.claims.jti)? else {
            if !user.is_active {
                return Err(AuthError::AccountDisabled.into());
            }
            let actor = &self.presenter.actor;
            let session = self.session.open(tx, &mut told.trail, actor, user.id, OpenedBy::Exchange)?;
            tx.insert_exchange(&spent(&self.claims, Some(session.id.clone()), actor.at))?;
            return Ok((session, user));
        };
        let session = session_of(tx, &exchange, &user, self.presenter.times.earlier())??;
        match exchange.presented_again(&session, &self.presenter.presentation(&session)) {
            RefreshDecision::Repeat(_) if !user.is_active => Err(AuthError::AccountDisabled.into()),
            RefreshDecision::Repeat(repetition) => {
                Ok((self.presenter.repeats(tx, told, session, repetition)?, user))
            }
            RefreshDecision::Rotate => {
                Err(self.presenter.reuses(tx, told, session, Evidence::OutsideTheRules)?.into())
            }
            RefreshDecision::Reuse(evidence) => {
                Err(self.presenter.reuses(tx, told, session, evidence)?.into())
            }
        }
    }
}

/// Whether a foreign token of a user who is active is good.
pub(super) fn is_good(
    view: &dyn View,
    claims: &ForeignClaims,
    presentation: &Presentation,
    at: Timestamp,
) -> StoreResult<bool> {
    let Some(user) = holder(view, claims.user)?.filter(|user| user.is_active) else { return Ok(false) };
    if claims.kind == TokenKind::Access {
        return Ok(true);
    }
    let Some(exchange) = view.exchange(&claims.jti)? else { return Ok(true) };
    let session = session_of(view, &exchange, &user, at)?;
    Ok(session.is_ok_and(|session| exchange.presented_again(&session, presentation).is_good()))
}

/// Ends a foreign refresh token, and the session that it was exchanged for; else gives what the token is answered.
pub(super) fn log_out(
    tx: &mut dyn Tx,
    ending: &mut Ending,
    claims: &ForeignClaims,
) -> StoreResult<Result<(), AuthError>> {
    let Some(user) = holder(tx, claims.user)? else { return Ok(Err(AuthError::TokenInvalid)) };
    let Some(exchange) = tx.exchange(&claims.jti)? else {
        if !user.is_active {
            return Ok(Err(AuthError::AccountDisabled));
        }
        tx.insert_exchange(&spent(claims, None, ending.actor.at))?;
        let line = ending.actor.did(AuditEvent::TokenRevoked).user(claims.user);
        ending.trail.add(tx, line.detail("logout: a foreign refresh token"))?;
        return Ok(Ok(()));
    };
    match session_of(tx, &exchange, &user, ending.live_at)? {
        Ok(session) => ending.session(tx, session).map(Ok),
        Err(error) => Ok(Err(error)),
    }
}

fn spent(claims: &ForeignClaims, session: Option<SessionId>, at: Timestamp) -> Exchange {
    Exchange { jti: claims.jti.clone(), user: claims.user, session, at, expires_at: claims.expires_at }
}

fn session_of(
    view: &dyn View,
    exchange: &Exchange,
    user: &User,
    at: Timestamp,
) -> StoreResult<Result<Session, AuthError>> {
    match &exchange.session {
        Some(session) => find_session(view, session, user, at),
        None => Ok(Err(AuthError::TokenInvalid)),
    }
}
