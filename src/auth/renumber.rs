//! Giving a user another number: what the user's own change and the operator's have in common.

use super::audited::AuditedTx;
use super::{devices, erasure, happened};
use crate::domain::keys::KeyRing;
use crate::domain::user::usernames_for;
use crate::domain::{EventKind, PhoneNumber, User};
use crate::storage::{StoreError, StoreResult, View};

/// Gives a user another number, and a name to fit if the old one was made from the old number. The devices end, and so does a
/// change of number that waits. The old number is nobody's then: its codes that are over go, and what was spent for it counts on.
pub(super) fn renumber(
    tx: &mut AuditedTx<'_>,
    user: &User,
    phone: &PhoneNumber,
    keys: &KeyRing,
) -> StoreResult<User> {
    tx.delete_phone_change(user.id, None)?;
    let changed = respell(tx, user, phone, keys)?;
    // Or the number of an account that lay dormant would be taken from it again.
    let at = tx.at();
    tx.note_seen(user.id, at)?;
    devices::end_all(tx, user.id, None)?;
    Ok(changed)
}

/// Writes a user's number in another way, and a name to fit if the old one was made from it; the telephone is the same, and its
/// devices go on.
pub(super) fn respell(
    tx: &mut AuditedTx<'_>,
    user: &User,
    phone: &PhoneNumber,
    keys: &KeyRing,
) -> StoreResult<User> {
    let mut changed = User { phone: Some(phone.clone()), ..user.clone() };
    if user.has_derived_name() {
        changed.username = free_name(&**tx, usernames_for(phone))?;
    }
    tx.update_user(&mut changed)?;
    happened::to_user(tx, EventKind::UserPhoneChanged, user, &changed)?;
    if let Some(before) = &user.phone {
        erasure::abandon(tx, before, keys)?;
    }
    Ok(changed)
}

/// The first of some names that nobody has.
pub(super) fn free_name(view: &dyn View, names: impl Iterator<Item = String>) -> StoreResult<String> {
    for name in names {
        if view.user_by_username(&name)?.is_none() {
            return Ok(name);
        }
    }
    Err(StoreError::Broken)
}
