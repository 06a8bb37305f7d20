//! Taking a person out of the database: what is left names nobody.

use super::audited::AuditedTx;
use super::happened;
use crate::domain::audit::Actor;
use crate::domain::keys::KeyRing;
use crate::domain::{PhoneNumber, User, UserId};
use crate::storage::{StoreError, StoreResult};

/// What was deleted with a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Sessions.
    pub sessions: usize,
    /// Codes, and with them their messages.
    pub challenges: usize,
    /// Units in the ledger that count under a hash of the phone until their window is over.
    pub spends: usize,
    /// Lines of the audit trail that no longer name the phone.
    pub audit: usize,
}

/// Deletes a user and whatever identifies the person. The audit lines stay, without the phone; so do spent units, under a
/// keyed hash of it, for a new user of the number meets them: deleting an account buys no message. Who acts has no phone
/// from here on.
pub(super) fn erase(tx: &mut AuditedTx<'_>, user: &User, keys: &KeyRing) -> StoreResult<Erased> {
    // The lines of so far are written first, so that they are cleared too.
    tx.flush()?;
    reset_own(tx, user.id)?;
    let sessions = tx.delete_user(user.id)?.ok_or(StoreError::Broken)?;
    let (mut challenges, mut spends) = (0, 0);
    if let Some(phone) = &user.phone {
        let at = tx.at();
        tx.forget_ranges_of(phone, at)?;
        challenges = tx.delete_challenges_of(phone, None)?;
        spends = bequeath(tx, phone, keys)?;
    }
    let hashes = |phone| keys.all().map(move |keys| keys.audit_hash(phone));
    let hashes: Vec<_> = user.phone.iter().flat_map(hashes).collect();
    let audit = tx.forget_phone(user.id, &hashes, user.phone.as_ref().map(PhoneNumber::masked).as_deref())?;
    happened::deleted(tx, user)?;
    let nameless = Actor { phone: None, ..Actor::clone(tx.actor()) };
    tx.set_actor(nameless);
    Ok(Erased { sessions, challenges, spends, audit })
}

/// Takes out what is kept under a number that is nobody's from here on. A code that can still be given stays for whoever reads it:
/// it was paid for, and opens nothing of the user who had the number.
pub(super) fn abandon(tx: &mut AuditedTx<'_>, phone: &PhoneNumber, keys: &KeyRing) -> StoreResult<()> {
    let at = tx.at();
    tx.forget_ranges_of(phone, at)?;
    tx.delete_challenges_of(phone, Some(at))?;
    bequeath(tx, phone, keys).map(drop)
}

/// Has what was spent for a number count under a keyed hash of it until its window is over; gives how many units those are.
fn bequeath(tx: &mut AuditedTx<'_>, phone: &PhoneNumber, keys: &KeyRing) -> StoreResult<usize> {
    tx.bequeath(phone.as_str(), &keys.current().erased_subject(phone))
}

/// Gives a user and its devices all their quotas back; gives the units and the windows of refusals forgotten.
pub(super) fn reset_own(tx: &mut AuditedTx<'_>, user: UserId) -> StoreResult<(usize, usize)> {
    let (mut units, mut refusals) = tx.reset_limits(&user.to_string())?;
    for device in tx.devices_of(user)? {
        let reset = tx.reset_limits(&device.id.subject())?;
        units += reset.0;
        refusals += reset.1;
    }
    Ok((units, refusals))
}
