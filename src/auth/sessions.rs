//! A user's sessions: seen in use, listed, ended.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::refresh::judge;
use super::trail::Trail;
use super::{Auth, AuthError, Authenticated, Origin};
use crate::domain::audit::{Actor, AuditEvent};
use crate::domain::session::{EndReason, Presented, Standing};
use crate::domain::{Session, SessionId, Timestamp};
use crate::storage::{Stored, Tx};
use crate::tokens::{TokenError, TokenKind};

/// How coarse `last_used_at` may be: a session in steady use costs one write a minute.
const COARSE: Duration = Duration::from_mins(1);

/// What is being written right now, so that a burst of requests costs one write. By generation: the use of an older one
/// never keeps the first use of the current one from being noted.
#[derive(Default)]
pub(super) struct Touching(Mutex<HashSet<(SessionId, u32)>>);

impl Touching {
    fn begin(&self, session: &SessionId, generation: u32) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((session.clone(), generation))
    }

    fn end(&self, session: SessionId, generation: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(session, generation));
    }
}

impl Auth {
    /// Notes that an access token of `generation` was seen: one write, which the answer does not wait for.
    pub(super) fn touch(
        self: &Arc<Self>,
        id: &SessionId,
        session: &Standing,
        generation: u32,
        now: Timestamp,
    ) {
        let news = generation == session.generation && !session.generation_used;
        let stale = now >= session.last_used_at + COARSE;
        if !(news || stale) || !self.touching.begin(id, generation) {
            return;
        }
        let (auth, id) = (self.clone(), id.clone());
        self.tasks.spawn(async move {
            let touched = id.clone();
            let write = auth.parts.store.write(move |tx| match tx.session(&touched)? {
                Some(session) => tx.update_session(&session.seen(generation, now)),
                None => Ok(()),
            });
            // A full queue is no reason to do more: the next request tries again.
            if let Err(fault) = write.await {
                tracing::debug!(%fault, "a use could not be noted");
            }
            auth.touching.end(id, generation);
        });
    }

    /// Whether a token, access or refresh, of a user who is active is good now; asking does not count as use.
    ///
    /// # Errors
    /// [`AuthError::TokenExpired`]; [`AuthError::TokenInvalid`] for everything else, a deactivated user included: who
    /// asks here wants to let the bearer in.
    pub async fn check_token(&self, token: &str) -> Result<(), AuthError> {
        let now = self.parts.clock.now();
        let access = self.parts.tokens.verify(token, TokenKind::Access, now);
        let claims = match access {
            Err(TokenError::Invalid) => self.parts.tokens.verify(token, TokenKind::Refresh, now)?,
            other => other?,
        };
        let grace = self.policy().reuse_grace;
        let good = self.parts.store.read(move |view| {
            let session = view.session(&claims.session)?;
            let session = session.filter(|session| session.user == claims.user && session.is_live(now));
            let Some(session) = session else { return Ok(false) };
            if !view.user(session.user)?.is_some_and(|user| user.is_active) {
                return Ok(false);
            }
            Ok(claims.kind == TokenKind::Access
                || judge(view, &session, &claims, now, grace)? != Presented::Reuse)
        });
        if good.await? { Ok(()) } else { Err(AuthError::TokenInvalid) }
    }

    /// Ends the session of a refresh token, of whatever generation.
    ///
    /// # Errors
    /// [`AuthError::TokenInvalid`] where it has ended already, [`AuthError::TokenExpired`].
    pub async fn log_out(&self, token: &str, origin: Origin) -> Result<(), AuthError> {
        let claims = self.parts.tokens.verify(token, TokenKind::Refresh, self.parts.clock.now())?;
        let ended = self.end(origin, move |tx, now| {
            let session = tx.session(&claims.session)?;
            Ok(session.filter(|s| s.user == claims.user && s.is_live(now)).into_iter().collect())
        });
        if ended.await? == 0 { Err(AuthError::TokenInvalid) } else { Ok(()) }
    }

    /// Ends all sessions of the bearer, this one included.
    ///
    /// # Errors
    /// [`AuthError::Unavailable`] and its like without a database.
    pub async fn log_out_everywhere(&self, bearer: &Authenticated, origin: Origin) -> Result<(), AuthError> {
        let user = bearer.user.id;
        self.end(origin, move |tx, now| tx.live_sessions(user, now)).await.map(drop)
    }

    /// The bearer's live sessions, the newest first.
    ///
    /// # Errors
    /// [`AuthError::Unavailable`] without a database.
    pub async fn sessions(&self, bearer: &Authenticated) -> Result<Vec<Session>, AuthError> {
        let (user, now) = (bearer.user.id, self.parts.clock.now());
        let mut sessions = self.parts.store.read(move |view| view.live_sessions(user, now)).await?;
        sessions.reverse();
        Ok(sessions)
    }

    /// Ends one of the bearer's sessions.
    ///
    /// # Errors
    /// [`AuthError::SessionNotFound`] for one that has ended, never was, or is another's.
    pub async fn end_session(
        &self,
        bearer: &Authenticated,
        id: &str,
        origin: Origin,
    ) -> Result<(), AuthError> {
        let id = SessionId::parse(id).ok_or(AuthError::SessionNotFound)?;
        let user = bearer.user.id;
        let ended = self.end(origin, move |tx, now| {
            let session = tx.session(&id)?;
            Ok(session.filter(|session| session.user == user && session.is_live(now)).into_iter().collect())
        });
        if ended.await? == 0 { Err(AuthError::SessionNotFound) } else { Ok(()) }
    }

    /// Ends the sessions that `find` finds, and says how many.
    async fn end<F>(&self, origin: Origin, find: F) -> Result<usize, AuthError>
    where
        F: FnOnce(&mut dyn Tx, Timestamp) -> Stored<Vec<Session>> + Send + 'static,
    {
        let actor = Actor {
            ip: Some(origin.address.to_string()),
            request_id: Some(origin.request_id),
            ..Actor::system(self.parts.clock.now())
        };
        let write = self.parts.store.write(move |tx| {
            let mut trail = Trail::default();
            let sessions = find(tx, actor.at)?;
            let count = sessions.len();
            for session in sessions {
                let line = actor.did(AuditEvent::TokenRevoked).user(session.user).session(&session.id);
                trail.add(tx, line.detail(EndReason::Logout.as_str()))?;
                tx.update_session(&session.ended(actor.at, EndReason::Logout))?;
            }
            Ok((count, trail))
        });
        let (count, trail) = write.await?;
        trail.log();
        Ok(count)
    }
}
