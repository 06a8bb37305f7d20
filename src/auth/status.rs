//! Who bears an access token, and whether its session is live.

use std::sync::Arc;

use super::lookup::holder;
use super::{Auth, AuthError};
use crate::domain::{PhoneNumber, SessionId, User};
use crate::tokens::{TokenKind, Verified};

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
    /// Reads a Bearer access token: no disk where session and user are in memory. A foreign token's user is always read. The
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
        let principal = self.parts.store.principal(&claims.session).await?.ok_or(AuthError::TokenInvalid)?;
        let (session, at) = (&principal.session, times.earlier());
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
