//! Buying a message inside the write that intends it: what it costs, which budgets pay for it, and giving that back.

use std::sync::Arc;
use std::time::Duration;

use super::audited::AuditedTx;
use super::error::FlowError;
use super::guard::{Guard, HeldBack, Judged};
use super::{Auth, AuthError, CodeRequest, happened};
use crate::domain::audit::{Actor, AuditDetail, AuditEvent};
use crate::domain::budget::{Budget, BudgetPolicy, BudgetWarning, Charge, Share};
use crate::domain::guard::{GuardMode, Place, Standing, Usual};
use crate::domain::policy::Policy;
use crate::domain::{ChallengeId, Mode, Timestamp};
use crate::storage::StoreResult;
use crate::storage::guard::Purchase;

/// What came of buying a message.
#[derive(Default)]
pub(super) struct Bought {
    /// What the guard made of it.
    judged: Judged,
    /// Which budget is spent.
    unpaid: Option<Budget>,
    /// Of which budgets most is spent since.
    warnings: Vec<Budget>,
    /// The message that is being bought.
    buying: Option<Buying>,
    /// The message that was bought.
    purchase: Option<Purchase>,
}

/// A message that is being bought.
struct Buying {
    standing: Standing,
    /// What it costs, in millionths.
    cost: u64,
    /// From which budgets that was taken.
    charges: Vec<Charge>,
}

impl Auth {
    /// What the guard must know of a call; nothing in the testing mode, whose codes are not sent.
    pub(super) async fn guard(
        &self,
        request: &CodeRequest,
        policy: &Policy,
        now: Timestamp,
    ) -> StoreResult<Option<Guard>> {
        if request.mode != Mode::Production {
            return Ok(None);
        }
        let address = request.origin.address;
        let place = Place::of(address, &request.phone);
        let mode = policy.guard.mode;
        let usual = match mode {
            GuardMode::Off => [Usual::default(); 2],
            GuardMode::On | GuardMode::Monitor => self.usual_traffic(now).await?.of(&place.country),
        };
        let is_allowed = policy.guard.allowed.holds(address, &request.phone);
        Ok(Some(Guard { mode, place, usual, is_allowed }))
    }
}

impl Auth {
    /// Counts what came of it.
    pub(super) fn count_purchase(&self, bought: &Bought) {
        let metrics = &self.parts.metrics;
        if let Some(HeldBack { rule, begins }) = bought.judged.held_back {
            let mode = self.policy().guard.mode.as_str();
            metrics.sms_held_back(rule.as_str(), mode);
            if begins {
                metrics.sms_block_begun(mode);
            }
        }
        for warning in &bought.warnings {
            metrics.budget_warned(warning.as_str());
        }
        if let Some(budget) = bought.unpaid {
            metrics.sms_unpaid(budget.as_str());
        }
        if let Some(Purchase { place, standing, cost, .. }) = &bought.purchase {
            metrics.sms_bought(&place.country, *standing != Standing::Known, *cost);
        }
    }
}

impl Bought {
    /// Has the guard judge a message; `is_known` where the number has been verified before, or the call has the token of a
    /// device.
    pub(super) fn judge(
        &mut self,
        tx: &mut AuditedTx<'_>,
        guard: &Guard,
        is_known: bool,
    ) -> Result<(), FlowError> {
        let standing = if is_known { Standing::Known } else { guard.judge(tx, &mut self.judged)? };
        self.buying = Some(Buying { standing, cost: 0, charges: Vec::new() });
        Ok(())
    }

    /// Takes back that the guard let the message through, which is not sent.
    pub(super) fn take_back(&mut self, tx: &mut AuditedTx<'_>) -> StoreResult<()> {
        self.judged.take_back(tx)
    }

    /// Takes what the message costs from the budgets, or refuses it.
    pub(super) fn pay(
        &mut self,
        tx: &mut AuditedTx<'_>,
        guard: &Guard,
        budgets: &BudgetPolicy,
        segments: u32,
    ) -> Result<(), FlowError> {
        let Some(buying) = &mut self.buying else { return Ok(()) };
        buying.cost = budgets.cost(&guard.place.country, segments);
        let is_known = buying.standing == Standing::Known;
        match charge(tx, budgets, buying.cost, is_known, &mut self.warnings)? {
            Ok(charges) => buying.charges = charges,
            Err((budget, wait)) => {
                self.unpaid = Some(budget);
                return Err(AuthError::SmsBudgetExhausted(wait).into());
            }
        }
        Ok(())
    }

    /// Notes the message of a challenge as bought.
    pub(super) fn note(
        &mut self,
        tx: &mut AuditedTx<'_>,
        guard: &Guard,
        challenge: ChallengeId,
    ) -> StoreResult<()> {
        let Some(Buying { standing, cost, charges }) = self.buying.take() else { return Ok(()) };
        let (at, place) = (tx.at(), guard.place.clone());
        let purchase = Purchase { challenge, at, place, standing, cost, charges };
        tx.insert_purchase(&purchase)?;
        self.purchase = Some(purchase);
        Ok(())
    }

    /// Takes a second message of a challenge as bought; the row is that of the first one. Gives what it was charged.
    pub(super) fn note_second(
        &mut self,
        at: Timestamp,
        guard: &Guard,
        challenge: ChallengeId,
    ) -> Vec<Charge> {
        let Some(Buying { standing, cost, charges }) = self.buying.take() else { return Vec::new() };
        let place = guard.place.clone();
        self.purchase = Some(Purchase { challenge, at, place, standing, cost, charges: charges.clone() });
        charges
    }
}

/// Takes what a message costs from all budgets, or from none; else gives which is spent, and until when.
fn charge(
    tx: &mut AuditedTx<'_>,
    budgets: &BudgetPolicy,
    cost: u64,
    is_known: bool,
    warnings: &mut Vec<Budget>,
) -> StoreResult<Result<Vec<Charge>, (Budget, Duration)>> {
    let (now, mut charges) = (tx.at(), Vec::new());
    for budget in Budget::ALL {
        let Some(limit) = budgets.limit(budget) else { continue };
        let units = match budget {
            Budget::Hour | Budget::Day => 1,
            Budget::Money => cost,
        };
        let shares: &[Share] = if is_known { &[Share::All, Share::Verified] } else { &[Share::All] };
        let mut taken = None;
        for share in shares {
            let window = budget.window(*share, now);
            if let Some(used) = tx.spend_budget(window, units, limit)? {
                taken = Some((Charge { window, units }, used));
                break;
            }
        }
        let Some((charge, used)) = taken else {
            give_back(tx, charges)?;
            return Ok(Err((budget, now.until(budget.window(Share::All, now).until()))));
        };
        charges.push(charge);
        if BudgetWarning::is_due(used, limit) && tx.warn_of_budget(charge.window)? {
            warnings.push(budget);
            warn(tx, BudgetWarning { window: charge.window, used, limit })?;
        }
    }
    Ok(Ok(charges))
}

/// Tells that most of a budget is spent.
fn warn(tx: &mut AuditedTx<'_>, warning: BudgetWarning) -> StoreResult<()> {
    // Nobody in particular did it.
    let line = Arc::new(Actor::system(tx.at())).did(AuditEvent::SmsBudget);
    tx.record(line.detail(AuditDetail::BudgetWarning(warning)));
    happened::budget_warning(tx, &warning)
}

/// Gives back what a message was charged that was surely not sent.
pub(super) fn give_back(tx: &mut AuditedTx<'_>, charges: Vec<Charge>) -> StoreResult<()> {
    for Charge { window, units } in charges {
        tx.unspend_budget(window, units)?;
    }
    Ok(())
}

/// Takes the purchase of a message back that was surely not sent.
pub(super) fn cancel_purchase(tx: &mut AuditedTx<'_>, challenge: ChallengeId) -> StoreResult<()> {
    let charges = tx.delete_purchase(challenge)?;
    give_back(tx, charges)
}
