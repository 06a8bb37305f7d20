//! Foreign tokens, those that the system before this one issued: an access token is good while it lasts, a refresh
//! token is exchanged once for a session here.

use std::time::Duration;

use super::AuthError;
use super::ending::Ending;
use super::error::{Stop, said};
use super::lookup::{holder, live_session};
use super::opening::{NewSession, OpenedBy};
use super::presenter::{Presenter, Rotated};
use super::trail::Trail;
use crate::domain::audit::AuditEvent;
use crate::domain::clock::Times;
use crate::domain::session::Presented;
use crate::domain::{Exchange, Session, SessionId, Timestamp, User, UserId};
use crate::storage::{Stored, Tx, View};
use crate::tokens::{ForeignClaims, TokenKind};

/// Everything that the write needs, drawn beforehand.
pub(super) struct Exchanging {
    pub(super) claims: ForeignClaims,
    pub(super) presenter: Presenter,
    pub(super) session: NewSession,
    pub(super) grace: Duration,
}

impl Exchanging {
    pub(super) fn write(self, tx: &mut dyn Tx) -> Stored<(Rotated, Trail)> {
        let mut trail = Trail::default();
        Ok((said(self.decide(tx, &mut trail))?, trail))
    }

    fn decide(&self, tx: &mut dyn Tx, trail: &mut Trail) -> Result<(Session, User), Stop> {
        let user = holder(tx, self.claims.user)?.ok_or(AuthError::TokenInvalid)?;
        let Some(exchange) = tx.exchange(&self.claims.jti)? else {
            if !user.is_active {
                return Err(AuthError::AccountDisabled.into());
            }
            let actor = &self.presenter.actor;
            let session = self.session.open(tx, trail, actor, user.id, OpenedBy::Exchange)?;
            tx.insert_exchange(&spent(&self.claims, Some(session.id.clone()), actor.at))?;
            return Ok((session, user));
        };
        let times = &self.presenter.times;
        let session = session_of(tx, &exchange, user.id, times.earlier())?.ok_or(AuthError::TokenInvalid)?;
        let presented = exchange.presented_again(&session, times.now, self.grace);
        match presented {
            Presented::Repeat { .. } if !user.is_active => Err(AuthError::AccountDisabled.into()),
            Presented::Repeat { after_grace } => {
                self.presenter.repeats(tx, trail, &session, after_grace)?;
                Ok((session, user))
            }
            Presented::Rotate | Presented::Reuse => Err(self.presenter.reuses(tx, trail, session)?.into()),
        }
    }
}

/// Whether a foreign token of a user who is active is good.
pub(super) fn is_good(
    view: &dyn View,
    claims: &ForeignClaims,
    times: &Times,
    grace: Duration,
) -> Stored<bool> {
    if !holder(view, claims.user)?.is_some_and(|user| user.is_active) {
        return Ok(false);
    }
    if claims.kind == TokenKind::Access {
        return Ok(true);
    }
    let Some(exchange) = view.exchange(&claims.jti)? else { return Ok(true) };
    let session = session_of(view, &exchange, claims.user, times.earlier())?;
    Ok(session
        .is_some_and(|session| exchange.presented_again(&session, times.now, grace) != Presented::Reuse))
}

/// Ends a foreign refresh token, and the session that it was exchanged for; false where that was done before.
pub(super) fn log_out(tx: &mut dyn Tx, ending: &mut Ending, claims: &ForeignClaims) -> Stored<bool> {
    if holder(tx, claims.user)?.is_none() {
        return Ok(false);
    }
    let Some(exchange) = tx.exchange(&claims.jti)? else {
        tx.insert_exchange(&spent(claims, None, ending.actor.at))?;
        let line = ending.actor.did(AuditEvent::TokenRevoked).user(claims.user);
        ending.trail.add(tx, line.detail("logout: a foreign refresh token"))?;
        return Ok(true);
    };
    let session = session_of(tx, &exchange, claims.user, ending.live_at)?;
    session.map_or(Ok(false), |session| ending.session(tx, session).map(|()| true))
}

fn spent(claims: &ForeignClaims, session: Option<SessionId>, at: Timestamp) -> Exchange {
    Exchange { jti: claims.jti.clone(), user: claims.user, session, at, expires_at: claims.expires_at }
}

fn session_of(view: &dyn View, exchange: &Exchange, user: UserId, at: Timestamp) -> Stored<Option<Session>> {
    exchange.session.as_ref().map_or(Ok(None), |session| live_session(view, session, user, at))
}
