//! Finds what a token names: its session if that is live, or the user whose foreign tokens are good; and which servers live.

use super::AuthError;
use crate::domain::{Mode, PhoneNumber, RunId, Session, SessionId, TestNumber, Timestamp, User, UserId};
use crate::storage::{StoreResult, View};
use crate::tokens::Claims;

/// The test number with this phone, while it has not ended; the testing mode has none.
pub(super) fn good_test_number(
    view: &dyn View,
    mode: Mode,
    phone: &PhoneNumber,
    at: Timestamp,
) -> StoreResult<Option<TestNumber>> {
    if mode != Mode::Production {
        return Ok(None);
    }
    Ok(view.test_number(phone)?.filter(|number| number.is_good(at)))
}

/// The session of this name, if it is the user's and live.
pub(super) fn live_session(
    view: &dyn View,
    id: &SessionId,
    user: UserId,
    at: Timestamp,
) -> StoreResult<Option<Session>> {
    Ok(view.session(id)?.filter(|session| session.user == user && session.is_live(at)))
}

/// The session of this name, if it is the user's and live; else what whoever comes with it is answered.
pub(super) fn find_session(
    view: &dyn View,
    id: &SessionId,
    user: &User,
    at: Timestamp,
) -> StoreResult<Result<Session, AuthError>> {
    let Some(session) = view.session(id)?.filter(|session| session.user == user.id) else {
        return Ok(Err(AuthError::TokenInvalid));
    };
    Ok(if session.is_live(at) {
        Ok(session)
    } else if session.is_deactivated(at) && !user.is_active {
        Err(AuthError::AccountDisabled)
    } else {
        Err(AuthError::TokenInvalid)
    })
}

/// The session that a token of ours stands for, if it is live and takes tokens under the key that signed this one, and its
/// user; else what the token is answered.
pub(super) fn find_own(
    view: &dyn View,
    claims: &Claims,
    at: Timestamp,
) -> StoreResult<Result<(Session, User), AuthError>> {
    let Some(user) = view.user(claims.user)? else { return Ok(Err(AuthError::TokenInvalid)) };
    let found = find_session(view, &claims.session, &user, at)?;
    Ok(found.and_then(|session| {
        if claims.under_access_key && !session.takes_shared_key(claims.generation) {
            return Err(AuthError::TokenInvalid);
        }
        Ok((session, user))
    }))
}

/// The user of a foreign token, deactivated or not, if it is good for anybody.
pub(super) fn holder(view: &dyn View, user: UserId) -> StoreResult<Option<User>> {
    Ok(view.user(user)?.filter(|user| user.has_foreign_tokens))
}

/// The runs of servers that live.
pub(super) fn living(view: &dyn View) -> StoreResult<Vec<RunId>> {
    Ok(view.nodes()?.into_iter().map(|node| node.run).collect())
}
