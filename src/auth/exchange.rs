//! Foreign tokens, those that the system before this one issued: an access token is good while it lasts, a refresh
//! token is exchanged once for a session here.

use super::AuthError;
use super::audited::AuditedTx;
use super::ending::end;
use super::error::{FlowError, commit_refusal};
use super::lookup::{find_session, holder};
use super::opening::{NewSession, OpenedBy};
use super::presenter::{Answer, Presenter, Refreshed, end_reused, repeat};
use crate::domain::audit::{AuditDetail, AuditEvent};
use crate::domain::session::{EndReason, Evidence, Presentation, RefreshDecision};
use crate::domain::{Exchange, Session, SessionId, Timestamp, User};
use crate::storage::{StoreResult, View};
use crate::tokens::{ForeignClaims, TokenKind};

/// Everything that the write needs, drawn beforehand.
pub(super) struct TokenExchange {
    pub(super) claims: ForeignClaims,
    pub(super) presenter: Presenter,
    pub(super) session: NewSession,
}

impl TokenExchange {
    pub(super) fn write(&self, tx: &mut AuditedTx<'_>) -> StoreResult<Refreshed> {
        let mut reuse = None;
        let decided = self.decide(tx, &mut reuse);
        Ok(Refreshed { answer: commit_refusal(decided)?, reuse })
    }

    fn decide(&self, tx: &mut AuditedTx<'_>, reuse: &mut Option<&'static str>) -> Result<Answer, FlowError> {
        let user = holder(&**tx, self.claims.user)?.ok_or(AuthError::TokenInvalid)?;
        let Some(exchange) = tx.exchange(&self.claims.jti)? else {
            if !user.is_active {
                return Err(AuthError::AccountDisabled.into());
            }
            let session = self.session.open(tx, user.id, OpenedBy::Exchange, None)?;
            let exchange = spent(&self.claims, Some(session.id.clone()), tx.at());
            tx.insert_exchange(&exchange)?;
            return Ok(Answer { session, user, is_repeated: false });
        };
        let session = session_of(&**tx, &exchange, &user, self.presenter.times.earlier())??;
        match exchange.presented_again(&session, &self.presenter.presentation(&session)) {
            RefreshDecision::Repeat(_) if !user.is_active => Err(AuthError::AccountDisabled.into()),
            RefreshDecision::Repeat(repetition) => {
                let session = repeat(tx, reuse, session, repetition)?;
                Ok(Answer { session, user, is_repeated: true })
            }
            RefreshDecision::Rotate => Err(end_reused(tx, reuse, session, Evidence::OutsideTheRules)?.into()),
            RefreshDecision::Reuse(evidence) => Err(end_reused(tx, reuse, session, evidence)?.into()),
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

/// Ends a foreign refresh token, and the session that it was exchanged for, if that is live at `live_at`; else gives what the
/// token is answered.
pub(super) fn log_out(
    tx: &mut AuditedTx<'_>,
    claims: &ForeignClaims,
    live_at: Timestamp,
) -> StoreResult<Result<(), AuthError>> {
    let Some(user) = holder(&**tx, claims.user)? else { return Ok(Err(AuthError::TokenInvalid)) };
    let Some(exchange) = tx.exchange(&claims.jti)? else {
        if !user.is_active {
            return Ok(Err(AuthError::AccountDisabled));
        }
        let exchange = spent(claims, None, tx.at());
        tx.insert_exchange(&exchange)?;
        let line = tx.did(AuditEvent::TokenRevoked).user(claims.user);
        tx.record(line.detail(AuditDetail::ForeignLogout));
        return Ok(Ok(()));
    };
    match session_of(&**tx, &exchange, &user, live_at)? {
        Ok(session) => end(tx, session, EndReason::Logout).map(Ok),
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
