//! What the flows that cost a caller's address a unit have in common: the cache of refusals refuses first, the ledger decides, and
//! what the ledger refuses goes into the cache.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::audited::AuditedTx;
use super::error::FlowError;
use super::quota::{Balance, QuotaState, Spent, Subject, WithQuotas};
use super::{Auth, AuthError};
use crate::domain::quota::{Endpoint, Limit, Quota};
use crate::domain::{ClientAddress, Mode, Timestamp};
use crate::limits::shared::SharedRefusal;
use crate::storage::Locks;
use crate::storage::ahead::Wanted;

/// The quota that one call costs its caller's address. The testing mode and a limit of 0 have none.
pub(super) struct AddressGate(Option<AddressQuota>);

struct AddressQuota {
    quota: Quota,
    /// Whose units the call costs, with their limits: the address's own, and those of the /48 around an IPv6 one.
    shares: Vec<(String, Limit)>,
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
        if let Some(quota) = &gate.0
            && let Some(refused) = self.refused_early(quota, now, doubts).await
        {
            let result = Err(AuthError::RateLimited(refused.reset));
            return WithQuotas { quotas: vec![refused], result };
        }
        // On the heap: a flow is large, and moves into its task.
        let (auth, flow) = (self.clone(), Box::pin(flow(self.clone(), gate.clone())));
        let gated = self.run(async move {
            let answer = flow.await;
            if let Some((quota, subject, wait)) = gate.refusal(&answer.quotas) {
                auth.refusals.remember(quota, subject.to_owned(), now + wait, doubts);
                if let Some(shared) = &auth.parts.shared {
                    shared.tell(quota, subject, SharedRefusal { until: now + wait, asked: now });
                }
            }
            answer
        });
        gated.await.unwrap_or_else(|died| WithQuotas::none(Err(died)))
    }

    /// The refusal of a quota that is known to be exhausted: to this server, or to another that tells of it.
    async fn refused_early(&self, known: &AddressQuota, now: Timestamp, doubts: u64) -> Option<QuotaState> {
        let AddressQuota { quota, shares } = known;
        let refuse = || {
            let subjects = shares.iter().map(|(subject, _)| subject.as_str());
            let (place, wait) = self.refusals.refuse(*quota, subjects, now, doubts)?;
            Some(QuotaState::refused(*quota, shares[place].1, wait))
        };
        if let refused @ Some(_) = refuse() {
            return refused;
        }
        let shared = self.parts.shared.as_ref()?;
        let asked = shares.iter().map(|(subject, limit)| shared.refusal(*quota, subject, *limit, now));
        for ((subject, _), told) in shares.iter().zip(join_all(asked).await) {
            if let Some(told) = told {
                self.refusals.adopt(*quota, subject.clone(), told, doubts);
            }
        }
        refuse()
    }

    fn gate(&self, Call { mode, endpoint, address, .. }: Call) -> AddressGate {
        let limits = &self.policy().limits;
        let (quota, limit) = limits.for_address(endpoint, address.carried());
        // The counter of a /48 has one limit: that of its other addresses.
        let is_apart = limits.is_within_site(address.carried());
        let is_on = mode == Mode::Production && limit.units > 0;
        AddressGate(is_on.then(|| {
            let site = address.site().filter(|_| !is_apart).map(|site| (site, limit.of_site()));
            AddressQuota { quota, shares: std::iter::once((address.subject(), limit)).chain(site).collect() }
        }))
    }
}

impl AddressGate {
    /// Whether the call costs the address a unit.
    pub(super) const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// What spending a unit of the address takes.
    pub(super) fn locks(&self) -> Locks {
        let shares = self.0.iter().flat_map(|address| &address.shares);
        shares.fold(Locks::none(), |locks, (subject, _)| locks.address(subject))
    }

    /// What [`Self::spend`] will ask.
    pub(super) fn wanted(&self, now: Timestamp) -> Vec<Wanted<'static>> {
        let Some(AddressQuota { quota, shares }) = &self.0 else { return Vec::new() };
        let wanted = |(subject, limit): &(String, Limit)| {
            Subject::plain(subject).wanted(*quota, std::slice::from_ref(limit), now)
        };
        shares.iter().filter_map(wanted).collect()
    }

    /// Spends a unit of the address, and one of the /48 around it, or neither; how the one stands that is nearer to its limit,
    /// refused or not, goes into `state` for the answer's headers.
    pub(super) fn spend(
        &self,
        tx: &mut AuditedTx<'_>,
        state: &mut Option<QuotaState>,
    ) -> Result<(), FlowError> {
        let Some(AddressQuota { quota, shares }) = &self.0 else { return Ok(()) };
        let subjects: Vec<_> = shares.iter().map(|(subject, _)| Subject::plain(subject)).collect();
        let mut balances = Vec::with_capacity(shares.len());
        for (subject, (_, limit)) in subjects.iter().zip(shares) {
            balances.push(Balance::read(tx, *quota, subject, std::slice::from_ref(limit))?);
        }
        let refusal = balances
            .iter()
            .filter_map(|balance| Some((balance, balance.state().filter(|state| state.refused)?)))
            .max_by_key(|(_, refused)| refused.reset);
        if let Some((balance, refused)) = refusal {
            *state = Some(refused);
            return Err(balance.refuse(tx, refused.reset)?.into());
        }
        for balance in balances {
            if let Spent::Unit(_, spent) = balance.spend(tx)? {
                let nearest = state.get_or_insert(spent);
                if spent.remaining < nearest.remaining {
                    *nearest = spent;
                }
            }
        }
        Ok(())
    }

    /// Which quota refused the call, whose it is, and for how long.
    fn refusal(&self, quotas: &[QuotaState]) -> Option<(Quota, &str, Duration)> {
        let AddressQuota { quota, shares } = self.0.as_ref()?;
        let refused = quotas.iter().find(|state| state.refused && state.quota == *quota)?;
        let (subject, _) = shares.iter().find(|(_, limit)| *limit == refused.limit)?;
        Some((*quota, subject, refused.reset))
    }
}
