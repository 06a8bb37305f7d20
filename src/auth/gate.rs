//! What the flows that cost a caller's address a unit have in common: the cache of refusals refuses first, the ledger decides, and
//! what the ledger refuses goes into the cache.

use std::sync::Arc;

use super::audited::AuditedTx;
use super::error::FlowError;
use super::quota::{QuotaState, Spent, Subject, WithQuotas, refuse, spend};
use super::{Auth, AuthError};
use crate::domain::quota::{Endpoint, Limit, Quota};
use crate::domain::{ClientAddress, Mode, Timestamp};
use crate::storage::Locks;

/// The quota that one call costs its caller's address. The testing mode and a limit of 0 have none.
pub(super) struct AddressGate(Option<AddressQuota>);

struct AddressQuota {
    quota: Quota,
    limit: Limit,
    subject: String,
}

/// A call that costs its caller's address a unit.
#[derive(Clone, Copy)]
pub(super) struct Call {
    pub(super) mode: Mode,
    pub(super) endpoint: Endpoint,
    pub(super) address: ClientAddress,
    pub(super) now: Timestamp,
}

impl Auth {
    /// Runs the flow of a call in a task of its own, unless the cache of refusals has the address.
    pub(super) async fn gated<T, F>(
        self: &Arc<Self>,
        call: Call,
        flow: impl FnOnce(Arc<Self>, Arc<AddressGate>) -> F,
    ) -> WithQuotas<T>
    where
        T: Send + 'static,
        F: Future<Output = WithQuotas<T>> + Send + 'static,
    {
        // Before the ledger is asked: a refusal that another process takes back meanwhile is not remembered.
        let doubts = self.doubts();
        let (gate, now) = (Arc::new(self.gate(call)), call.now);
        if let AddressGate(Some(AddressQuota { quota, limit, subject })) = &*gate
            && let Some(wait) = self.refusals.refuse(*quota, subject, now, doubts)
        {
            let quotas = vec![QuotaState::refused(*quota, *limit, wait)];
            return WithQuotas { quotas, result: Err(AuthError::RateLimited(wait)) };
        }
        let (auth, flow) = (self.clone(), flow(self.clone(), gate.clone()));
        let gated = self.run(async move {
            let answer = flow.await;
            if let (Some(address), Some(refused)) = (&gate.0, gate.refusal(&answer.quotas)) {
                let until = now + refused.reset;
                auth.refusals.remember(address.quota, address.subject.clone(), until, doubts);
            }
            answer
        });
        gated.await.unwrap_or_else(|died| WithQuotas::none(Err(died)))
    }

    fn gate(&self, Call { mode, endpoint, address, .. }: Call) -> AddressGate {
        let (quota, limit) = self.policy().limits.for_address(endpoint, address.carried());
        let is_on = mode == Mode::Production && limit.units > 0;
        AddressGate(is_on.then(|| AddressQuota { quota, limit, subject: address.subject() }))
    }
}

impl AddressGate {
    /// Whether the call costs the address a unit.
    pub(super) const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// What spending a unit of the address takes.
    pub(super) fn locks(&self) -> Locks {
        let subject = self.0.as_ref().map(|address| address.subject.clone());
        subject.map_or_else(Locks::none, |subject| Locks::none().address(subject))
    }

    /// Spends a unit of the address; how its quota stands, refused or not, goes into `state` for the answer's headers.
    pub(super) fn spend(
        &self,
        tx: &mut AuditedTx<'_>,
        state: &mut Option<QuotaState>,
    ) -> Result<(), FlowError> {
        let Some(AddressQuota { quota, limit, subject }) = &self.0 else { return Ok(()) };
        match spend(tx, *quota, &Subject::plain(subject), std::slice::from_ref(limit))? {
            Spent::Off => Ok(()),
            Spent::Unit(_, spent) => {
                *state = Some(spent);
                Ok(())
            }
            Spent::Refused(refused) => {
                *state = Some(refused);
                Err(refuse(tx, *quota, subject, refused.reset)?.into())
            }
        }
    }

    fn refusal(&self, quotas: &[QuotaState]) -> Option<QuotaState> {
        let quota = self.0.as_ref()?.quota;
        quotas.iter().find(|state| state.refused && state.quota == quota).copied()
    }
}
