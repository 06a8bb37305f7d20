//! Writing what became of a message; where that write fails, it is kept in mind and written later.
//!
//! The outcome is known to this process alone until then. Without it, the next request for the phone would take the
//! challenge for one that is still under way, and wait for an answer that nobody gives.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use super::Auth;
use super::audited::AuditedTx;
use super::settle::{Outcome, Settlement, warn_of_one_sid};
use crate::domain::audit::Actor;
use crate::domain::{ChallengeId, Mode, PhoneNumber, Timestamp};
use crate::storage::{Locks, StoreError, StoreResult};
use crate::sync::lock;

/// Settlements whose write failed. There are no more than sends were under way when the database failed, since without it
/// none begins.
#[derive(Default)]
pub(super) struct Unsettled(Mutex<BTreeMap<ChallengeId, PendingSettlement>>);

#[derive(Clone)]
struct PendingSettlement {
    settlement: Settlement,
    outcome: Outcome,
    at: Timestamp,
}

/// Writes one; false where that was done before.
type Writing = fn(&PendingSettlement, &mut AuditedTx<'_>) -> StoreResult<bool>;

impl Unsettled {
    fn select(&self, wanted: impl Fn(&Settlement) -> bool) -> Vec<PendingSettlement> {
        self.lock().values().filter(|late| wanted(&late.settlement)).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ChallengeId, PendingSettlement>> {
        lock(&self.0)
    }
}

impl Auth {
    /// write#2. Where it fails, it is repeated before the next write for the phone, and by maintenance: the code is good from
    /// write#1 on, and what was sent was sent.
    pub(super) async fn settle(&self, settlement: Settlement, outcome: Outcome) {
        let mut late = PendingSettlement { settlement, outcome, at: self.parts.clock.now() };
        let challenge = late.settlement.challenge;
        if let Err(error) = self.write_settlement(&mut late, PendingSettlement::write).await {
            tracing::error!(%error, challenge = challenge.0, "what became of an SMS could not be written; it is tried again");
            self.unsettled.lock().insert(challenge, late);
        }
    }

    /// Writes what is known of the phone's challenges and could not be written before; gives those for which it failed
    /// again.
    pub(super) async fn settle_late(&self, mode: Mode, phone: &PhoneNumber) -> Vec<ChallengeId> {
        self.write_late(self.unsettled.select(|settlement| settlement.is_of(mode, phone))).await
    }

    /// The same for all phones.
    pub(super) async fn settle_all_late(&self) {
        self.write_late(self.unsettled.select(|_| true)).await;
    }

    async fn write_late(&self, lates: Vec<PendingSettlement>) -> Vec<ChallengeId> {
        let mut failed = Vec::new();
        for mut late in lates {
            let challenge = late.settlement.challenge;
            match self.write_settlement(&mut late, PendingSettlement::write_once).await {
                Ok(()) => drop(self.unsettled.lock().remove(&challenge)),
                Err(_) => failed.push(challenge),
            }
        }
        failed
    }

    async fn write_settlement(&self, late: &mut PendingSettlement, write: Writing) -> StoreResult<()> {
        let written = self.write_named(late.clone(), write).await;
        // Of what a send brings, a name that another message has is what the database takes for impossible, and would for ever.
        if written == Err(StoreError::Broken) && late.outcome.forget_sid() {
            warn_of_one_sid(late.settlement.message);
            return self.write_named(late.clone(), write).await;
        }
        written
    }

    async fn write_named(&self, late: PendingSettlement, write: Writing) -> StoreResult<()> {
        let reached = late.outcome.reached();
        let actor = Actor { at: late.at, ..Actor::clone(&late.settlement.actor) };
        let locks = Locks::none().phone(&late.settlement.phone);
        let is_first = self.write(locks, actor, move |tx| write(&late, tx)).await?;
        if let Some(state) = reached.filter(|_| is_first) {
            self.parts.metrics.message_reached(state.as_str());
        }
        Ok(())
    }
}

impl PendingSettlement {
    fn write(&self, tx: &mut AuditedTx<'_>) -> StoreResult<bool> {
        self.settlement.write(tx, self.outcome.clone()).map(|()| true)
    }

    /// Two requests may find the same settlement missing: false for the second, which writes nothing.
    fn write_once(&self, tx: &mut AuditedTx<'_>) -> StoreResult<bool> {
        if self.settlement.is_written(tx)? { Ok(false) } else { self.write(tx) }
    }
}
