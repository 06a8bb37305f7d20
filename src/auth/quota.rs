//! Checking and spending quotas inside the transaction of the act that they limit.

use std::time::Duration;

use super::error::Stop;
use super::trail::Trail;
use super::{Auth, AuthError, Origin};
use crate::domain::address::refusals_key;
use crate::domain::audit::{Actor, AuditEvent};
use crate::domain::quota::{Endpoint, Limit, Quota};
use crate::domain::{Mode, SpendId, Timestamp};
use crate::limits::window::{self, Verdict};
use crate::storage::{StoreResult, Tx};

/// What a flow answers, with the state of the quotas that it consulted.
#[derive(Clone, Debug)]
pub struct Limited<T> {
    /// In the order in which the answer's headers name them; empty where the limit is off or was not reached.
    pub quotas: Vec<QuotaState>,
    /// The answer.
    pub result: Result<T, AuthError>,
}

/// A quota as the standard headers tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaState {
    /// Whose it is: an address's or a phone's.
    pub quota: Quota,
    /// How much there is in a window.
    pub limit: Limit,
    /// How much is left.
    pub remaining: u32,
    /// Until the next unit returns.
    pub reset: Duration,
    /// Whether it was this quota that said no.
    pub refused: bool,
}

/// What came of spending a unit.
pub(super) enum Spent {
    /// The limit is off.
    Off,
    /// A unit was spent.
    Unit(SpendId, QuotaState),
    /// None is left.
    Refused(QuotaState),
}

impl QuotaState {
    fn new(quota: Quota, limit: Limit, verdict: Verdict) -> Self {
        match verdict {
            Verdict::Allowed { remaining, reset } => Self { quota, limit, remaining, reset, refused: false },
            Verdict::Refused { retry_after } => {
                Self { quota, limit, remaining: 0, reset: retry_after, refused: true }
            }
        }
    }
}

impl<T> Limited<T> {
    /// An answer for which no quota was consulted.
    pub(super) const fn free(result: Result<T, AuthError>) -> Self {
        Self { quotas: Vec::new(), result }
    }
}

/// The quota of one caller's address.
#[derive(Clone, Debug)]
pub(super) struct AddressQuota {
    pub(super) quota: Quota,
    pub(super) limit: Limit,
    pub(super) subject: String,
}

impl Auth {
    /// The quota of the caller's address; the testing mode and a limit of 0 have none.
    pub(super) fn address_quota(
        &self,
        mode: Mode,
        endpoint: Endpoint,
        origin: &Origin,
    ) -> Option<AddressQuota> {
        let (quota, limit) = self.policy().limits.for_address(endpoint, origin.address.carried());
        let on = mode == Mode::Production && limit.units > 0;
        on.then(|| AddressQuota { quota, limit, subject: origin.address.subject() })
    }

    /// The refusal of an address that memory knows to be out.
    pub(super) fn refuse_early<T>(
        &self,
        address: Option<&AddressQuota>,
        now: Timestamp,
        foreign_writes: u64,
    ) -> Option<Limited<T>> {
        let AddressQuota { quota, limit, subject } = address?;
        let wait = self.refusals.refuse(*quota, subject, now, foreign_writes)?;
        let state = QuotaState::new(*quota, *limit, Verdict::Refused { retry_after: wait });
        Some(Limited { quotas: vec![state], result: Err(AuthError::RateLimited(wait)) })
    }

    /// Lets memory say no to an address that the ledger has just refused.
    pub(super) fn remember_refusal(
        &self,
        address: Option<AddressQuota>,
        state: Option<QuotaState>,
        now: Timestamp,
        foreign_writes: u64,
    ) {
        if let (Some(address), Some(state)) = (address, state.filter(|state| state.refused)) {
            self.refusals.remember(address.quota, address.subject, now + state.reset, foreign_writes);
        }
    }
}

/// Judges one more unit; `None` with the limit off. Units in the future (a clock that stepped back across a restart)
/// count as spent now, and move to now in the ledger too, so that the wait told is true.
fn judge(
    tx: &mut dyn Tx,
    quota: Quota,
    limit: &Limit,
    subject: &str,
    now: Timestamp,
) -> StoreResult<Option<Verdict>> {
    if limit.units == 0 {
        return Ok(None);
    }
    let mut spent = tx.spends(quota, subject, window::horizon(limit, now))?;
    if spent.last().is_some_and(|latest| *latest > now) {
        tx.clamp_future_spends(quota, subject, now)?;
        for at in &mut spent {
            *at = (*at).min(now);
        }
    }
    Ok(Some(window::judge(limit, &spent, now)))
}

/// The state of a quota as it stands, nothing spent; `None` with the limit off.
pub(super) fn peek(
    tx: &mut dyn Tx,
    quota: Quota,
    limit: &Limit,
    subject: &str,
    now: Timestamp,
) -> StoreResult<Option<QuotaState>> {
    Ok(judge(tx, quota, limit, subject, now)?.map(|verdict| {
        let mut state = QuotaState::new(quota, *limit, verdict);
        if matches!(verdict, Verdict::Allowed { .. }) {
            state.remaining += 1;
        }
        state
    }))
}

/// Spends a unit if there is one.
pub(super) fn spend(
    tx: &mut dyn Tx,
    quota: Quota,
    limit: &Limit,
    subject: &str,
    now: Timestamp,
) -> StoreResult<Spent> {
    Ok(match judge(tx, quota, limit, subject, now)? {
        None => Spent::Off,
        Some(verdict @ Verdict::Allowed { .. }) => {
            Spent::Unit(tx.spend(quota, subject, now)?, QuotaState::new(quota, *limit, verdict))
        }
        Some(verdict @ Verdict::Refused { .. }) => Spent::Refused(QuotaState::new(quota, *limit, verdict)),
    })
}

/// Spends a unit of the caller's address and notes the quota's state for the answer's headers, refused or not.
pub(super) fn spend_address(
    tx: &mut dyn Tx,
    trail: &mut Trail,
    actor: &Actor,
    address: Option<&AddressQuota>,
    state: &mut Option<QuotaState>,
) -> Result<(), Stop> {
    let Some(AddressQuota { quota, limit, subject }) = address else { return Ok(()) };
    match spend(tx, *quota, limit, subject, actor.at)? {
        Spent::Off => Ok(()),
        Spent::Unit(_, spent) => {
            *state = Some(spent);
            Ok(())
        }
        Spent::Refused(out) => {
            *state = Some(out);
            Err(refuse(tx, trail, actor, *quota, subject, out.reset)?.into())
        }
    }
}

/// Counts a refusal, and audits it if it is the first of its window.
pub(super) fn refuse(
    tx: &mut dyn Tx,
    trail: &mut Trail,
    actor: &Actor,
    quota: Quota,
    subject: &str,
    wait: Duration,
) -> StoreResult<AuthError> {
    if tx.count_refusals(quota, &refusals_key(subject), actor.at, actor.at + wait, 1)? {
        trail.add(tx, actor.did(AuditEvent::LimitExceeded).detail(quota.as_str()))?;
    }
    Ok(AuthError::RateLimited(wait))
}

/// How many wrong guesses the phone's day still has; refuses while it is spent.
pub(super) fn failures_left(
    tx: &mut dyn Tx,
    trail: &mut Trail,
    actor: &Actor,
    mode: Mode,
    subject: &str,
    limit: &Limit,
) -> Result<usize, Stop> {
    let quota = Quota::Failures(mode);
    match judge(tx, quota, limit, subject, actor.at)? {
        Some(Verdict::Refused { retry_after }) => {
            Err(refuse(tx, trail, actor, quota, subject, retry_after)?.into())
        }
        Some(Verdict::Allowed { remaining, .. }) => Ok(remaining as usize + 1),
        None => Ok(usize::MAX),
    }
}
