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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UserId;
    use crate::domain::session::{EndReason, SessionStatus};

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn known() -> (SessionStatus, User) {
        let phone = PhoneNumber::parse("+15550000001", 10).unwrap();
        let user = User::new(UserId(1), "user_15550000001".to_owned(), phone, "retailer", NOW);
        let session = SessionStatus {
            user: user.id,
            generation: 3,
            generation_used: true,
            refresh_expires_at: NOW + std::time::Duration::from_millis(1),
            last_used_at: NOW,
            ended: None,
        };
        (session, User { phone_verified: true, ..user })
    }

    /// Whether memory suffices for the token of a generation, with this change of what it knows.
    fn suffices(generation: u32, change: impl FnOnce(&mut SessionStatus, &mut User)) -> bool {
        let (mut session, mut user) = known();
        change(&mut session, &mut user);
        let claims = Claims {
            kind: TokenKind::Access,
            jti: "a".repeat(32),
            user: user.id,
            session: SessionId::new(NOW, [1; 10]),
            generation,
            under_access_key: false,
        };
        lets_in(&Principal { session: Arc::new(session), user: Arc::new(user) }, &claims, NOW)
    }

    #[test]
    fn memory_suffices_for_tokens_of_a_live_session_and_a_user_who_lacks_nothing() {
        for generation in [0, 2, 3] {
            assert!(suffices(generation, |_, _| {}), "{generation}");
        }
    }

    #[test]
    fn what_another_server_may_have_done_since_is_read() {
        assert!(!suffices(4, |_, _| {}), "refreshed the session");
        assert!(
            !suffices(3, |session, _| session.refresh_expires_at = NOW),
            "refreshed it before it expired"
        );
        assert!(!suffices(3, |session, _| session.ended = Some(EndReason::Deactivated)));
        assert!(!suffices(3, |_, user| user.is_active = false), "activated the user");
        assert!(!suffices(3, |_, user| user.phone_verified = false), "seen the number proven");
        assert!(!suffices(3, |_, user| user.deletes_at = Some(NOW)), "restored the account");
    }
}
