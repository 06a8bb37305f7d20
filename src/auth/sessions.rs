//! A user's sessions: seen in use, listed, ended.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::audited::AuditedTx;
use super::ending::{end, end_all, end_one};
use super::lookup::find_own;
use super::presenter::judge;
use super::{Auth, AuthError, Authenticated, Origin, devices, exchange};
use crate::domain::session::{EndReason, Presentation, SessionStatus};
use crate::domain::{Secret, Session, SessionId, Timestamp};
use crate::storage::{Locks, StoreResult, View};
use crate::sync::lock;
use crate::tokens::{Claims, TokenError, TokenKind, Verified};

/// How coarse `last_used_at` may be: a session in steady use costs one write a minute.
const COARSE: Duration = Duration::from_mins(1);

/// What is being written right now, so that a burst of requests costs one write. By generation: the use of an older one
/// never keeps the first use of the current one from being noted.
#[derive(Default)]
pub(super) struct Touching(Mutex<HashSet<(SessionId, u32)>>);

impl Touching {
    fn begin(&self, session: &SessionId, generation: u32) -> bool {
        lock(&self.0).insert((session.clone(), generation))
    }

    fn end(&self, session: SessionId, generation: u32) {
        lock(&self.0).remove(&(session, generation));
    }
}

impl Auth {
    /// Notes that an access token of `generation` was seen: one write, which the answer does not wait for.
    pub(super) fn touch(
        self: &Arc<Self>,
        id: &SessionId,
        session: &SessionStatus,
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
            let write =
                auth.parts.store.write(Locks::none(), move |tx| tx.touch_session(&touched, generation, now));
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
        let times = self.parts.clock.read();
        let verified = match self.settings().tokens.verify(token, TokenKind::Access, times.wall) {
            Err(TokenError::Invalid) => {
                self.settings().tokens.verify(token, TokenKind::Refresh, times.wall)?
            }
            other => other?,
        };
        let at = times.earlier();
        // The caller need not be the bearer of the token.
        let presentation =
            Presentation { now: times.now, grace: self.policy().reuse_grace, from_elsewhere: false };
        let good = self.parts.store.read(move |view| match &verified {
            Verified::Own(claims) => is_good(view, claims, &presentation, at),
            Verified::Foreign(claims) => exchange::is_good(view, claims, &presentation, at),
        });
        if good.await? { Ok(()) } else { Err(AuthError::TokenInvalid) }
    }

    /// Ends the session of a refresh token, of whatever generation.
    ///
    /// # Errors
    /// [`AuthError::TokenInvalid`] where it has ended already, [`AuthError::AccountDisabled`] where it did with its user's
    /// deactivation, [`AuthError::TokenExpired`].
    pub async fn log_out(self: &Arc<Self>, token: &str, origin: Origin) -> Result<(), AuthError> {
        // One that has expired by a wall clock that leaped ends its session too: that would come back with the clock.
        let at = self.parts.clock.read().earlier();
        let verified = self.settings().tokens.verify(token, TokenKind::Refresh, at)?;
        let locks = match &verified {
            Verified::Own(claims) => Locks::none().session(claims.user, &claims.session),
            Verified::Foreign(claims) => Locks::none().user(claims.user),
        };
        let ended = self.end(locks, origin, move |tx, live_at| match &verified {
            Verified::Own(claims) => match find_own(&**tx, claims, live_at)? {
                Ok((session, _)) => end(tx, session, EndReason::Logout).map(Ok),
                Err(error) => Ok(Err(error)),
            },
            Verified::Foreign(claims) => exchange::log_out(tx, claims, live_at),
        });
        ended.await?
    }

    /// Ends all sessions of the bearer, this one included, and makes foreign tokens worthless. With the token of one of the
    /// bearer's devices, all the others end, too: an access token alone takes no device from its owner.
    ///
    /// # Errors
    /// [`AuthError::Unavailable`] and its like without a database.
    pub async fn log_out_everywhere(
        self: &Arc<Self>,
        bearer: &Authenticated,
        device_token: Option<Secret>,
        origin: Origin,
    ) -> Result<(), AuthError> {
        let user = bearer.user.clone();
        let claims = self.device_claims(device_token.as_ref(), self.parts.clock.read().wall);
        let ended = self.end(Locks::none().user(user.id), origin, move |tx, live_at| {
            if let Some(device) = devices::find(&**tx, claims.as_ref(), Some(&user), live_at)? {
                devices::end_all(tx, user.id, Some(&device.id))?;
            }
            end_all(tx, user.id, live_at, EndReason::Logout)
        });
        ended.await
    }

    /// The bearer's live sessions, the newest first, each with its device unless that has ended.
    ///
    /// # Errors
    /// [`AuthError::Unavailable`] without a database.
    pub async fn sessions(&self, bearer: &Authenticated) -> Result<Vec<Session>, AuthError> {
        let (user, at) = (bearer.user.id, self.parts.clock.read().earlier());
        let read = self.parts.store.read(move |view| {
            let mut devices = view.devices_of(user)?;
            devices.retain(|device| device.is_live(at));
            let mut sessions = view.live_sessions(user, at)?;
            for session in &mut sessions {
                session.device_id.take_if(|id| !devices.iter().any(|device| device.id == *id));
            }
            sessions.reverse();
            Ok(sessions)
        });
        Ok(read.await?)
    }

    /// Ends one of the bearer's sessions.
    ///
    /// # Errors
    /// [`AuthError::SessionNotFound`] for one that has ended, never was, or is another's.
    pub async fn end_session(
        self: &Arc<Self>,
        bearer: &Authenticated,
        id: &str,
        origin: Origin,
    ) -> Result<(), AuthError> {
        let id = SessionId::parse(id).ok_or(AuthError::SessionNotFound)?;
        let user = bearer.user.id;
        let locks = Locks::none().session(user, &id);
        let ended = self.end(locks, origin, move |tx, live_at| end_one(tx, &id, user, live_at));
        if ended.await? { Ok(()) } else { Err(AuthError::SessionNotFound) }
    }

    /// Has `act` end sessions, in a flow of its own; it is given the instant at which these must be live.
    async fn end<T, F>(self: &Arc<Self>, locks: Locks, origin: Origin, act: F) -> Result<T, AuthError>
    where
        T: Send + 'static,
        F: Fn(&mut AuditedTx<'_>, Timestamp) -> StoreResult<T> + Send + 'static,
    {
        let (auth, times) = (self.clone(), self.parts.clock.read());
        let flow = async move {
            let ended = auth.write(locks, origin.actor(times.now), move |tx| act(tx, times.earlier()));
            Ok(ended.await?)
        };
        self.run(flow).await?
    }
}

fn is_good(
    view: &dyn View,
    claims: &Claims,
    presentation: &Presentation,
    at: Timestamp,
) -> StoreResult<bool> {
    let Ok((session, user)) = find_own(view, claims, at)? else { return Ok(false) };
    if !user.is_active {
        return Ok(false);
    }
    Ok(claims.kind == TokenKind::Access || judge(view, &session, claims, presentation)?.is_good())
}
