//! Who bears an access token, and whether its session is live.

use std::sync::Arc;

use super::lookup::holder;
use super::{Auth, AuthError};
use crate::domain::{PhoneNumber, SessionId, Timestamp, User};
use crate::storage::Principal;
use crate::tokens::{Claims, TokenKind, Verified};

/// Whether the bearer is let in as memory knows session and user. Where it is not so they are read: another server may have
/// refreshed the session, or given the user something back, without a word to this one.
fn lets_in(Principal { session, user }: &Principal, claims: &Claims, at: Timestamp) -> bool {
    session.is_live(at)
        && claims.generation <= session.generation
        && user.is_active
        && user.phone_verified
        && user.deletes_at.is_none()
}

/// The bearer of a good access token, with session and user as they are now, not as they were at its issue.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// The session of the token; a foreign one has none.
    pub session: Option<SessionId>,
    /// Its user; perhaps deactivated, which only some endpoints mind.
    pub user: Arc<User>,
}

impl Authenticated {
    /// The bearer's number; one whose number has gone to somebody else is deactivated.
    pub(super) fn phone(&self) -> Result<&PhoneNumber, AuthError> {
        self.user.phone.as_ref().ok_or(AuthError::AccountDisabled)
    }
}

impl Auth {
    /// Reads a Bearer access token: no disk where session and user are in memory and let it in. A foreign token's user is always read. The
    /// bearer of a session that ended with its user's deactivation is known while that lasts.
    ///
    /// # Errors
    /// [`AuthError::TokenExpired`]; [`AuthError::TokenInvalid`] for everything else that is wrong with it, an ended
    /// session included; [`AuthError::Unavailable`] without a database.
    pub async fn authenticate(self: &Arc<Self>, token: &str) -> Result<Authenticated, AuthError> {
        let times = self.parts.clock.read();
        let claims = match self.settings().tokens.verify(token, TokenKind::Access, times.wall)? {
            Verified::Own(claims) => claims,
            Verified::Foreign(claims) => {
                let user = self.parts.store.read(move |view| holder(view, claims.user)).await?;
                let user = Arc::new(user.ok_or(AuthError::TokenInvalid)?);
                return Ok(Authenticated { session: None, user });
            }
        };
        let at = times.earlier();
        let is_strict = self.policy().reads_every_bearer;
        let suffices = |known: &Principal| !is_strict && lets_in(known, &claims, at);
        let principal = self.parts.store.principal(&claims.session, suffices).await?;
        let principal = principal.ok_or(AuthError::TokenInvalid)?;
        let session = &principal.session;
        if session.user != claims.user {
            return Err(AuthError::TokenInvalid);
        }
        if session.is_live(at) {
            self.touch(&claims.session, session, claims.generation, times.now);
        } else if principal.user.is_active || !session.is_deactivated(at) {
            return Err(AuthError::TokenInvalid);
        }
        Ok(Authenticated { session: Some(claims.session), user: principal.user })
    }
}
