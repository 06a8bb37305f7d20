//! Whether what a token names still stands: its session, or the user whose foreign tokens are good.

use crate::domain::{Session, SessionId, Timestamp, User, UserId};
use crate::storage::{Stored, View};
use crate::tokens::Claims;

/// The session of this name, if it is the user's and live.
pub(super) fn live_session(
    view: &dyn View,
    id: &SessionId,
    user: UserId,
    now: Timestamp,
) -> Stored<Option<Session>> {
    Ok(view.session(id)?.filter(|session| session.user == user && session.is_live(now)))
}

/// The session that a token of ours stands for, if it is live and takes tokens under the key that signed this one.
pub(super) fn session_of(view: &dyn View, claims: &Claims, now: Timestamp) -> Stored<Option<Session>> {
    let session = live_session(view, &claims.session, claims.user, now)?;
    Ok(session.filter(|session| !claims.under_access_key || session.takes_shared_key(claims.generation)))
}

/// The user of a foreign token, deactivated or not, if it is good for anybody.
pub(super) fn holder(view: &dyn View, user: UserId) -> Stored<Option<User>> {
    Ok(view.user(user)?.filter(|user| user.has_foreign_tokens))
}
