//! Accounts that lie dormant: phone companies give a number that nobody uses to somebody else after months.

use super::audited::AuditedTx;
use super::ending::end_all;
use super::phone_change::cancel;
use super::renumber::free_name;
use super::{devices, happened};
use crate::domain::audit::AuditEvent;
use crate::domain::phone_change::Cancelled;
use crate::domain::policy::Retention;
use crate::domain::session::EndReason;
use crate::domain::user::recycled_usernames;
use crate::domain::{EventKind, Timestamp, User};
use crate::storage::{StoreResult, View};

/// Whether nobody has used the account of a user for so long, at `retention`, that its number may be somebody else's. Where tokens of
/// the system before are good, nobody here sees whether one is used.
pub(super) fn is_dormant(
    view: &dyn View,
    user: &User,
    policy: &Retention,
    retention: Timestamp,
) -> StoreResult<bool> {
    let is_seen_elsewhere = policy.takes_foreign_tokens && user.has_foreign_tokens;
    if policy.dormant_after.is_zero() || !user.phone_verified || !user.is_active || is_seen_elsewhere {
        return Ok(false);
    }
    let seen = view.last_seen(user.id)?;
    Ok(seen.is_some_and(|seen| seen + policy.dormant_after <= retention))
}

/// Takes its number from a user, who is deactivated: whoever the account belongs to has lost the number, and whoever has the number
/// never had the account.
pub(super) fn recycle(tx: &mut AuditedTx<'_>, user: &User, live_at: Timestamp) -> StoreResult<()> {
    // While the number still names the user whom the write has locked by it.
    end_all(tx, user.id, live_at, EndReason::Deactivated)?;
    devices::end_all(tx, user.id, None)?;
    cancel(tx, user.id, Cancelled::Deactivated)?;
    let Some(before) = tx.user(user.id)? else { return Ok(()) };
    let name = free_name(&**tx, recycled_usernames(user.id))?;
    let mut recycled = before.clone().recycled(name);
    tx.update_user(&mut recycled)?;
    tx.record(tx.did(AuditEvent::UserRecycled).user(user.id));
    happened::to_user(tx, EventKind::UserDeactivated, &before, &recycled)
}
