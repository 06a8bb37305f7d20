//! Writing what became of a message; where that write fails, it is kept in mind and written later.
//!
//! The outcome is known to this process alone until then. Without it, the next request for the phone would take the
//! challenge for one that is still under way, and wait for an answer that nobody gives.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Auth;
use super::settle::{Outcome, Settlement};
use super::trail::Trail;
use crate::domain::{ChallengeId, Mode, PhoneNumber, Timestamp};
use crate::storage::{StoreResult, Tx};

/// Settlements whose write failed. There are no more than sends were under way when the database failed, since without it
/// none begins.
#[derive(Default)]
pub(super) struct Unsettled(Mutex<BTreeMap<ChallengeId, Late>>);

#[derive(Clone)]
struct Late {
    settlement: Settlement,
    outcome: Outcome,
    at: Timestamp,
}

impl Unsettled {
    fn select(&self, wanted: impl Fn(&Settlement) -> bool) -> Vec<Late> {
        self.lock().values().filter(|late| wanted(&late.settlement)).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ChallengeId, Late>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Auth {
    /// write#2. Where it fails, it is repeated before the next write for the phone, and by upkeep: the code is good from
    /// write#1 on, and what was sent was sent.
    pub(super) async fn settle(&self, settlement: Settlement, outcome: Outcome) {
        let late = Late { settlement, outcome, at: self.parts.clock.now() };
        let challenge = late.settlement.challenge;
        if let Err(fault) = self.write_settlement(late.clone(), |late, tx| late.write(tx).map(Some)).await {
            tracing::error!(%fault, challenge = challenge.0, "what became of an SMS could not be written; it is tried again");
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

    async fn write_late(&self, lates: Vec<Late>) -> Vec<ChallengeId> {
        let mut failed = Vec::new();
        for late in lates {
            let challenge = late.settlement.challenge;
            match self.write_settlement(late, Late::write_once).await {
                Ok(()) => drop(self.unsettled.lock().remove(&challenge)),
                Err(_) => failed.push(challenge),
            }
        }
        failed
    }

    async fn write_settlement(
        &self,
        late: Late,
        write: fn(Late, &mut dyn Tx) -> StoreResult<Option<Trail>>,
    ) -> StoreResult<()> {
        let reached = late.outcome.reached();
        if let Some(trail) = self.parts.store.write(move |tx| write(late, tx)).await? {
            trail.log();
            if let Some(state) = reached {
                self.parts.metrics.message_reached(state.as_str());
            }
        }
        Ok(())
    }
}

impl Late {
    fn write(self, tx: &mut dyn Tx) -> StoreResult<Trail> {
        self.settlement.write(tx, self.outcome, self.at)
    }

    /// Two requests may find the same settlement missing: `None` for the second.
    fn write_once(self, tx: &mut dyn Tx) -> StoreResult<Option<Trail>> {
        if self.settlement.is_written(tx)? { Ok(None) } else { self.write(tx).map(Some) }
    }
}
