//! What the webhooks are told of an act, beside the lines of the audit trail.

use super::audited::AuditedTx;
use crate::domain::budget::BudgetWarning;
use crate::domain::event::About;
use crate::domain::guard::{Block, GuardMode};
use crate::domain::message::Message;
use crate::domain::{EventKind, Session, User, UserId};
use crate::storage::StoreResult;

/// A user was changed: `before` is how it was, `user` how it is. Of one who has just registered nobody knows yet: that there is
/// such a user comes first.
pub(super) fn to_user(
    tx: &mut AuditedTx<'_>,
    kind: EventKind,
    before: &User,
    user: &User,
) -> StoreResult<()> {
    if before.is_new() {
        tx.tell(EventKind::UserCreated, About::User(user))?;
    }
    tx.tell(kind, About::User(user))
}

/// A command wrote a user.
pub(super) fn created(tx: &mut AuditedTx<'_>, user: &User) -> StoreResult<()> {
    tx.tell(EventKind::UserCreated, About::User(user))
}

/// A user was deleted. What was told of it before is forgotten, and so is what still waits.
pub(super) fn deleted(tx: &mut AuditedTx<'_>, user: &User) -> StoreResult<()> {
    tx.scrub_events(user.id)?;
    if user.is_new() { Ok(()) } else { tx.tell(EventKind::UserDeleted, About::Deleted(user.id)) }
}

/// A session began or ended.
pub(super) fn to_session(tx: &mut AuditedTx<'_>, kind: EventKind, session: &Session) -> StoreResult<()> {
    if !tx.tells(kind) {
        return Ok(());
    }
    let Some(user) = tx.user(session.user)? else { return Ok(()) };
    tx.tell(kind, About::Session(&user, session))
}

/// A message did not arrive.
pub(super) fn undelivered(tx: &mut AuditedTx<'_>, message: &Message) -> StoreResult<()> {
    if !tx.tells(EventKind::SmsUndelivered) {
        return Ok(());
    }
    let user = tx.user_by_phone(&message.to)?;
    tx.tell(EventKind::SmsUndelivered, About::Message(user.as_ref(), message))
}

/// The guard holds something back, or would.
pub(super) fn blocked(tx: &mut AuditedTx<'_>, block: &Block, mode: GuardMode) -> StoreResult<()> {
    tx.tell(EventKind::SmsBlocked, About::Block(block, mode))
}

/// Most of a budget is spent.
pub(super) fn budget_warning(tx: &mut AuditedTx<'_>, warning: &BudgetWarning) -> StoreResult<()> {
    tx.tell(EventKind::SmsBudgetWarning, About::Budget(warning))
}

/// A command wrote users; they are read anew only where somebody is told.
pub(super) fn imported(tx: &mut AuditedTx<'_>, user: UserId) -> StoreResult<()> {
    if !tx.tells(EventKind::UserCreated) {
        return Ok(());
    }
    match tx.user(user)? {
        Some(user) => created(tx, &user),
        None => Ok(()),
    }
}
