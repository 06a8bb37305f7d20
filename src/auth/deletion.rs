//! Deletion of an account by its owner: with a code for the number, at once or after a grace in which a login restores it.

use std::sync::Arc;

use super::audited::AuditedTx;
use super::ending::end_all;
use super::erasure::erase;
use super::error::{FlowError, commit_refusal};
use super::gate::{AddressGate, Call};
use super::phone_change::cancel;
use super::proof::{GivenCode, Guess, Judging};
use super::quota::{QuotaState, WithQuotas};
use super::{Auth, AuthError, Authenticated, Origin};
use crate::domain::audit::{Actor, AuditDetail, AuditEvent};
use crate::domain::clock::Times;
use crate::domain::phone_change::Cancelled;
use crate::domain::quota::Endpoint;
use crate::domain::session::EndReason;
use crate::domain::{Code, Mode, Purpose, Secret, Timestamp, User, UserId};
use crate::storage::{Locks, StoreResult};

/// Users whom one transaction of maintenance deletes.
const SLICE: usize = 20;

/// What was decided of a call for deletion.
struct Decided {
    /// How the quota of the caller's address stands.
    address: Option<QuotaState>,
    /// When the account is deleted; `None` where it is done.
    deletion: Result<Option<Timestamp>, AuthError>,
    was_free: bool,
}

impl Auth {
    /// Deletes the bearer's account: an access token is not enough, so `code` proves the number. Gives when, where a grace is
    /// configured; `None` where it is done. `device_token` is that of the caller's device, if one came along.
    pub async fn delete_account(
        self: &Arc<Self>,
        bearer: &Authenticated,
        code: Option<Code>,
        device_token: Option<Secret>,
        origin: Origin,
    ) -> WithQuotas<Option<Timestamp>> {
        let times = self.parts.clock.read();
        let (user, mode) = (bearer.user.id, Mode::Production);
        let phone = match bearer.phone() {
            Ok(phone) => phone.clone(),
            Err(error) => return WithQuotas::none(Err(error)),
        };
        // As at `verify/`: what can be no code is no guess, and costs nothing.
        let Some(code) = code else {
            let noted = self.run(self.clone().note_part(mode, phone, origin, times.now)).await;
            return WithQuotas::none(Err(noted.map_or_else(|died| died, |()| AuthError::NotACode)));
        };
        let call = Call { mode, endpoint: Endpoint::AccountDelete, address: origin.address, now: times.now };
        let given = GivenCode { mode, purpose: Purpose::Login, phone, code, device_token };
        self.gated(call, |auth, gate| auth.delete_proven(user, given, gate, (origin, times))).await
    }

    async fn delete_proven(
        self: Arc<Self>,
        bearer: UserId,
        given: GivenCode,
        gate: Arc<AddressGate>,
        (origin, times): (Origin, Times),
    ) -> WithQuotas<Option<Timestamp>> {
        // Which codes are good depends on what became of their messages.
        self.settle_late(given.mode, &given.phone).await;
        if let Err(error) = self.complete_due(None, &given.phone, &times).await {
            return WithQuotas::none(Err(error.into()));
        }
        let actor = self.actor(times.now, given.mode, &given.phone, &origin);
        let locks = gate.locks().user_of(&given.phone);
        let guess = self.guess(given, gate, &origin, &times);
        let decided = match self.write(locks, actor, move |tx| decide(&guess, tx, bearer)).await {
            Ok(decided) => decided,
            Err(error) => return WithQuotas::none(Err(error.into())),
        };
        self.count_free(decided.was_free, &origin, times.now);
        WithQuotas { quotas: decided.address.into_iter().collect(), result: decided.deletion }
    }

    /// Deletes the users whose grace was over at `now`.
    pub(super) async fn delete_due(&self, now: Timestamp) -> Result<(), AuthError> {
        loop {
            let due = self.parts.store.read(move |view| view.users_to_delete(now, SLICE)).await?;
            if due.is_empty() {
                return Ok(());
            }
            let locks = due.iter().fold(Locks::none(), |locks, user| locks.phones(&user.phone).user(user.id));
            let (keys, at) = (self.settings().keys.clone(), self.parts.clock.now());
            let deleted = self.write(locks, Actor::system(at), move |tx| {
                let mut deleted = 0;
                for found in &due {
                    // A login may have restored it since it was read, or the operator given it another phone.
                    let is_due = |user: &User| {
                        user.phone == found.phone && user.deletes_at.is_some_and(|due| due <= now)
                    };
                    let Some(user) = tx.user(found.id)?.filter(is_due) else { continue };
                    erase(tx, &user, &keys)?;
                    let line = tx.did(AuditEvent::UserDeleted).user(user.id);
                    tx.record(line.detail(AuditDetail::GraceOver));
                    deleted += 1;
                }
                Ok(deleted)
            });
            // Where nothing could be deleted, the next round tries again.
            if deleted.await? == 0 {
                return Ok(());
            }
        }
    }
}

fn decide(guess: &Guess, tx: &mut AuditedTx<'_>, bearer: UserId) -> StoreResult<Decided> {
    let mut address = None;
    let mut judging = Judging::begin(guess, tx)?;
    let deletion = commit_refusal(delete(&mut judging, bearer, &mut address))?;
    Ok(Decided { address, deletion, was_free: judging.was_free })
}

/// First fault wins, in the order of the contract.
fn delete(
    judging: &mut Judging<'_, '_>,
    bearer: UserId,
    address: &mut Option<QuotaState>,
) -> Result<Option<Timestamp>, FlowError> {
    let user = judging.bearer(bearer)?.clone();
    judging.guess.gate.spend(judging.tx, address)?;
    let proof = judging.prove(bearer)?;
    let Guess { policy, keys, live_at, .. } = judging.guess;
    let (tx, grace) = (&mut *judging.tx, policy.retention.deletion_grace);
    if grace.is_zero() {
        erase(tx, &user, keys)?;
        let line = tx.did(AuditEvent::UserDeleted).user(user.id);
        tx.record(line.detail(AuditDetail::ByOwner));
        return Ok(None);
    }
    proof.consume(tx)?;
    end_all(tx, user.id, *live_at, EndReason::Deletion)?;
    // Ending foreign tokens replaces the user, too. Devices stay: with them the owner gets in to restore the account.
    let user = tx.user(user.id)?.unwrap_or(user);
    // Or the number that a thief wants would restore it.
    cancel(tx, user.id, Cancelled::Deletion)?;
    let deletes_at = tx.at() + grace;
    tx.update_user(&mut User { deletes_at: Some(deletes_at), ..user })?;
    let line = tx.did(AuditEvent::DeletionRequested).user(bearer);
    tx.record(line.detail(AuditDetail::ByOwner));
    Ok(Some(deletes_at))
}
