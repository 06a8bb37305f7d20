//! The end of sessions: each leaves its line in the audit trail.

use super::audited::AuditedTx;
use super::happened;
use super::lookup::{holder, live_session};
use crate::domain::audit::{AuditDetail, AuditEvent};
use crate::domain::phone_change::Cancelled;
use crate::domain::session::EndReason;
use crate::domain::{EventKind, Session, SessionId, Timestamp, User, UserId};
use crate::storage::StoreResult;

/// Ends a session for `reason`.
pub(super) fn end(tx: &mut AuditedTx<'_>, session: Session, reason: EndReason) -> StoreResult<()> {
    end_by(tx, session, reason, false)
}

/// Ends a session for `reason`; `by_operator` tells whether nobody else did.
pub(super) fn end_by(
    tx: &mut AuditedTx<'_>,
    session: Session,
    reason: EndReason,
    by_operator: bool,
) -> StoreResult<()> {
    if matches!(reason, EndReason::Reuse | EndReason::Revoked) {
        cancel_change_of(tx, session.user, Some(&session.id))?;
    }
    let detail = AuditDetail::Ended { reason, by_operator, unlisted: session.replays_untold };
    let line = tx.did(AuditEvent::TokenRevoked).user(session.user).session(&session.id);
    tx.record(line.detail(detail));
    let at = tx.at();
    let mut session = session.ended(at, reason);
    tx.update_session(&mut session)?;
    happened::to_session(tx, EventKind::SessionEnded, &session)
}

/// Ends a session of `user` that is live at `live_at`; false where there is none of this name.
pub(super) fn end_one(
    tx: &mut AuditedTx<'_>,
    id: &SessionId,
    user: UserId,
    live_at: Timestamp,
) -> StoreResult<bool> {
    let Some(session) = live_session(&**tx, id, user, live_at)? else { return Ok(false) };
    cancel_change_of(tx, user, Some(&session.id))?;
    end(tx, session, EndReason::Logout).map(|()| true)
}

/// Ends the change of number that a session asked for, or a foreign token, which has none, where that ends because it may be a
/// thief's: nobody else would be left to take it back. Who only logs out keeps the change.
fn cancel_change_of(tx: &mut AuditedTx<'_>, user: UserId, asked_by: Option<&SessionId>) -> StoreResult<()> {
    let change = tx.phone_change(user)?;
    if change.is_some_and(|change| change.session.as_ref() == asked_by)
        && tx.delete_phone_change(user, None)?
    {
        let line = tx.did(AuditEvent::PhoneChangeCancelled).user(user);
        tx.record(line.detail(AuditDetail::PhoneChangeCancelled(Cancelled::SessionEnded)));
    }
    Ok(())
}

/// Ends all that `user` could still come with, for `reason`.
pub(super) fn end_all(
    tx: &mut AuditedTx<'_>,
    user: UserId,
    live_at: Timestamp,
    reason: EndReason,
) -> StoreResult<()> {
    for session in tx.live_sessions(user, live_at)? {
        cancel_change_of(tx, user, Some(&session.id))?;
        end(tx, session, reason)?;
    }
    if let Some(user) = holder(&**tx, user)? {
        end_foreign(tx, user, AuditDetail::ForeignTokens)?;
    }
    Ok(())
}

/// Makes a user's foreign tokens worthless, whenever they were issued, and ends the change of number that one of them asked for.
pub(super) fn end_foreign(tx: &mut AuditedTx<'_>, user: User, how: AuditDetail) -> StoreResult<User> {
    cancel_change_of(tx, user.id, None)?;
    let mut user = User { has_foreign_tokens: false, ..user };
    tx.update_user(&mut user)?;
    tx.record(tx.did(AuditEvent::TokenRevoked).user(user.id).detail(how));
    Ok(user)
}
