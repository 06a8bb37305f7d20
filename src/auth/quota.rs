//! Checking and spending quotas inside the transaction of the act that they limit.

use std::borrow::Cow;
use std::time::Duration;

use super::AuthError;
use super::audited::AuditedTx;
use super::error::FlowError;
use crate::domain::address::refusals_key;
use crate::domain::audit::{AuditDetail, AuditEvent};
use crate::domain::keys::KeyRing;
use crate::domain::quota::{Limit, Quota};
use crate::domain::{DeviceId, PhoneNumber, SpendId, Timestamp};
use crate::limits::window::{self, LimitDecision};
use crate::storage::StoreResult;
use crate::storage::ahead::Wanted;

/// What a flow answers, with the state of the quotas that it consulted.
#[derive(Clone, Debug)]
pub struct WithQuotas<T> {
    /// In the order in which the answer's headers name them; empty where the limit is off or was not reached.
    pub quotas: Vec<QuotaState>,
    /// The answer.
    pub result: Result<T, AuthError>,
}

/// A quota as the standard headers give it.
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
    /// Whether it was this quota that refused.
    pub refused: bool,
}

/// Whose units are judged.
pub(super) struct Subject<'p> {
    /// The key under which they are spent.
    own: Cow<'p, str>,
    /// Those of the same phone before its user was deleted, one for each secret that may have hashed it.
    erased: Vec<String>,
}

/// A quota of one subject as the ledger has it, read once: to look at, or to spend from.
pub(super) struct Balance<'s> {
    quota: Quota,
    subject: &'s str,
    /// What the limit says of one more unit; `None` with the limit off.
    decision: Option<(Limit, LimitDecision)>,
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
    /// A quota that has nothing left for so long.
    pub(super) const fn refused(quota: Quota, limit: Limit, wait: Duration) -> Self {
        Self { quota, limit, remaining: 0, reset: wait, refused: true }
    }

    const fn new(quota: Quota, limit: Limit, decision: LimitDecision) -> Self {
        match decision {
            LimitDecision::Allowed { remaining, reset } => {
                Self { quota, limit, remaining, reset, refused: false }
            }
            LimitDecision::Refused { retry_after } => Self::refused(quota, limit, retry_after),
        }
    }
}

impl<T> WithQuotas<T> {
    /// An answer for which no quota was consulted.
    pub(super) const fn none(result: Result<T, AuthError>) -> Self {
        Self { quotas: Vec::new(), result }
    }
}

impl<'p> Subject<'p> {
    /// An address, or a user by its id.
    pub(super) fn plain(key: &'p str) -> Self {
        Self { own: Cow::Borrowed(key), erased: Vec::new() }
    }

    /// A device.
    pub(super) fn device(device: &DeviceId) -> Self {
        Self { own: Cow::Owned(device.subject()), erased: Vec::new() }
    }

    /// A phone; deleting its user and registering again gives nothing back.
    pub(super) fn phone(phone: &'p PhoneNumber, keys: &KeyRing) -> Self {
        let erased = keys.all().map(|keys| keys.erased_subject(phone)).collect();
        Self { own: Cow::Borrowed(phone.as_str()), erased }
    }

    /// The key under which units are spent.
    pub(super) fn own(&self) -> &str {
        &self.own
    }

    /// What [`Balance::read`] will ask; nothing with the limits off.
    pub(super) fn wanted(&self, quota: Quota, limits: &[Limit], now: Timestamp) -> Option<Wanted<'static>> {
        let since = window::horizon(limits, now)?;
        Some(Wanted::Spends { quota, subjects: self.all().into_iter().map(str::to_owned).collect(), since })
    }

    fn all(&self) -> Vec<&str> {
        std::iter::once(&*self.own).chain(self.erased.iter().map(String::as_str)).collect()
    }
}

impl<'s> Balance<'s> {
    /// Reads what `subject` has spent. Units in the future (a clock that stepped back across a restart) count as spent now,
    /// and move to now in the ledger too, so that the wait in the answer is true.
    pub(super) fn read(
        tx: &mut AuditedTx<'_>,
        quota: Quota,
        subject: &'s Subject<'_>,
        limits: &[Limit],
    ) -> StoreResult<Self> {
        let (now, keys) = (tx.at(), subject.all());
        let subject = &*subject.own;
        let Some(since) = window::horizon(limits, now) else {
            return Ok(Self { quota, subject, decision: None });
        };
        let mut spent = tx.spends(quota, &keys, since)?;
        if spent.last().is_some_and(|latest| *latest > now) {
            for key in keys {
                tx.clamp_future_spends(quota, key, now)?;
            }
            for at in &mut spent {
                *at = (*at).min(now);
            }
        }
        Ok(Self { quota, subject, decision: window::judge(limits, &spent, now) })
    }

    /// How the quota stands, nothing spent; `None` with the limit off.
    pub(super) fn state(&self) -> Option<QuotaState> {
        let (limit, decision) = self.decision?;
        let state = QuotaState::new(self.quota, limit, decision);
        Some(if state.refused { state } else { QuotaState { remaining: state.remaining + 1, ..state } })
    }

    /// Spends a unit if there is one.
    pub(super) fn spend(&self, tx: &mut AuditedTx<'_>) -> StoreResult<Spent> {
        let Some((limit, decision)) = self.decision else { return Ok(Spent::Off) };
        let state = QuotaState::new(self.quota, limit, decision);
        if state.refused {
            return Ok(Spent::Refused(state));
        }
        let at = tx.at();
        Ok(Spent::Unit(tx.spend(self.quota, self.subject, at)?, state))
    }

    /// Counts a refusal for so long, and audits it if it is the first of its window; gives what to answer.
    pub(super) fn refuse(&self, tx: &mut AuditedTx<'_>, wait: Duration) -> StoreResult<AuthError> {
        refuse(tx, self.quota, self.subject, wait)
    }

    /// How many units are left, nothing spent; refuses where there is none.
    pub(super) fn left(&self, tx: &mut AuditedTx<'_>) -> Result<usize, FlowError> {
        match self.state() {
            None => Ok(usize::MAX),
            Some(QuotaState { refused: true, reset, .. }) => Err(self.refuse(tx, reset)?.into()),
            Some(QuotaState { remaining, .. }) => Ok(remaining as usize),
        }
    }
}

/// Spends a unit whether or not there is one; none with the limits off.
pub(super) fn count(
    tx: &mut AuditedTx<'_>,
    quota: Quota,
    subject: &str,
    limits: &[Limit],
) -> StoreResult<Option<SpendId>> {
    let at = tx.at();
    window::horizon(limits, at).map(|_| tx.spend(quota, subject, at)).transpose()
}

/// Reads a quota and spends a unit if there is one.
pub(super) fn spend(
    tx: &mut AuditedTx<'_>,
    quota: Quota,
    subject: &Subject<'_>,
    limits: &[Limit],
) -> StoreResult<Spent> {
    Balance::read(tx, quota, subject, limits)?.spend(tx)
}

/// Counts a refusal, and audits it if it is the first of its window.
pub(super) fn refuse(
    tx: &mut AuditedTx<'_>,
    quota: Quota,
    subject: &str,
    wait: Duration,
) -> StoreResult<AuthError> {
    let at = tx.at();
    if tx.count_refusals(quota, &refusals_key(subject), at..at + wait, 1)? {
        tx.record(tx.did(AuditEvent::LimitExceeded).detail(AuditDetail::Refused(quota)));
    }
    Ok(AuthError::RateLimited(wait))
}
