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
use crate::domain::{ChallengeId, Channel, Mode, Timestamp};
use crate::storage::StoreResult;
use crate::storage::guard::{Payment, Purchase};

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

/// What is to be paid for.
#[derive(Clone, Copy)]
pub(super) struct Load {
    /// How many segments the text has.
    pub(super) segments: u32,
    /// What it goes by.
    pub(super) channel: Channel,
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
        self.count_warnings(&bought.warnings);
        if let Some(budget) = bought.unpaid {
            metrics.sms_unpaid(budget.as_str());
        }
        if let Some(Purchase { place, standing, cost, .. }) = &bought.purchase {
            metrics.sms_bought(&place.country, *standing != Standing::Known, *cost);
        }
    }
}

impl Auth {
    /// Counts that most of these budgets is spent since.
    pub(super) fn count_warnings(&self, budgets: &[Budget]) {
        for budget in budgets {
            self.parts.metrics.budget_warned(budget.as_str());
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

    /// Whether a wide block lets the message through, to see whether it is answered.
    pub(super) const fn is_probe(&self) -> bool {
        self.judged.is_let_through()
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
        load: Load,
    ) -> Result<(), FlowError> {
        let Some(buying) = &mut self.buying else { return Ok(()) };
        buying.cost = budgets.cost(&guard.place.country, load.segments);
        let is_known = buying.standing == Standing::Known;
        let mut till = Till { budgets, is_known, warnings: &mut self.warnings };
        match till.charge(tx, buying.cost, load.channel)? {
            Ok(charges) => buying.charges = charges,
            Err((budget, wait)) => {
                self.unpaid = Some(budget);
                return Err(AuthError::SmsBudgetExhausted(wait).into());
            }
        }
        Ok(())
    }

    /// Whether it is calls that are spent; then another channel may be paid for.
    pub(super) fn lacks_calls(&mut self) -> bool {
        self.unpaid.take_if(|budget| *budget == Budget::Voice).is_some()
    }

    /// Notes the message of a challenge as bought.
    pub(super) fn note(
        &mut self,
        tx: &mut AuditedTx<'_>,
        guard: &Guard,
        challenge: ChallengeId,
    ) -> StoreResult<()> {
        let Some(Buying { standing, cost, charges }) = self.buying.take() else { return Ok(()) };
        let (at, place) = (self.judged.sent_at(tx.at()), guard.place.clone());
        let purchase = Purchase { challenge, at, place, standing, cost, charges };
        tx.insert_purchase(&purchase)?;
        self.purchase = Some(purchase);
        Ok(())
    }

    /// Notes a second message of a challenge as bought, in the row of the first one. Gives what it was paid with.
    pub(super) fn note_second(
        &mut self,
        tx: &mut AuditedTx<'_>,
        guard: &Guard,
        challenge: ChallengeId,
    ) -> StoreResult<Option<Payment>> {
        let Some(Buying { standing, cost, charges }) = self.buying.take() else { return Ok(None) };
        let (at, place) = (tx.at(), guard.place.clone());
        self.purchase = Some(Purchase { challenge, at, place, standing, cost, charges: charges.clone() });
        let second = Payment { standing, cost, charges };
        if let Some(mut payment) = tx.payment(challenge)? {
            payment.cost += second.cost;
            payment.charges.extend(&second.charges);
            tx.update_payment(challenge, &payment)?;
        }
        Ok(Some(second))
    }
}

/// Takes what messages cost from the budgets.
struct Till<'a> {
    budgets: &'a BudgetPolicy,
    /// Whether the number buys from the second shares, too.
    is_known: bool,
    /// Of which budgets most is spent since.
    warnings: &'a mut Vec<Budget>,
}

impl Till<'_> {
    /// Takes what a message costs from all budgets, or from none; else gives which is spent, and until when.
    fn charge(
        &mut self,
        tx: &mut AuditedTx<'_>,
        cost: u64,
        channel: Channel,
    ) -> StoreResult<Result<Vec<Charge>, (Budget, Duration)>> {
        let mut charges = Vec::new();
        for budget in Budget::ALL {
            let units = match budget {
                Budget::Voice if channel != Channel::Voice => continue,
                Budget::Hour | Budget::Day | Budget::Voice => 1,
                Budget::Money => cost,
            };
            match self.take(tx, budget, units)? {
                Ok(charge) => charges.extend(charge),
                Err(wait) => {
                    give_back(tx, &charges)?;
                    return Ok(Err((budget, wait)));
                }
            }
        }
        Ok(Ok(charges))
    }

    /// Takes so much from one budget, from whichever share has it; nothing from one that is off. Else gives until when it is spent.
    fn take(
        &mut self,
        tx: &mut AuditedTx<'_>,
        budget: Budget,
        units: u64,
    ) -> StoreResult<Result<Option<Charge>, Duration>> {
        let Some(limit) = self.budgets.limit(budget) else { return Ok(Ok(None)) };
        let now = tx.at();
        let shares: &[Share] = if self.is_known { &[Share::All, Share::Verified] } else { &[Share::All] };
        for share in shares {
            let window = budget.window(*share, now);
            let Some(used) = tx.spend_budget(window, units, limit)? else { continue };
            if BudgetWarning::is_due(used, limit) && tx.warn_of_budget(window)? {
                self.warnings.push(budget);
                warn(tx, BudgetWarning { window, used, limit })?;
            }
            return Ok(Ok(Some(Charge { window, units })));
        }
        Ok(Err(now.until(budget.window(Share::All, now).until())))
    }
}

/// Pays for the call that a message goes on to, which was paid for as a message; false where none may be made. Of which budgets
/// most is spent since goes into `warnings`.
pub(super) fn pay_for_call(
    tx: &mut AuditedTx<'_>,
    budgets: &BudgetPolicy,
    challenge: ChallengeId,
    warnings: &mut Vec<Budget>,
) -> StoreResult<bool> {
    // Its user may have been deleted while the message was under way.
    let Some(mut payment) = tx.payment(challenge)? else { return Ok(false) };
    // One call is made at most: what was paid for one that surely failed pays for the next.
    if payment.charges.iter().any(|charge| charge.window.budget == Budget::Voice) {
        return Ok(true);
    }
    let is_known = payment.standing == Standing::Known;
    let Ok(charge) = Till { budgets, is_known, warnings }.take(tx, Budget::Voice, 1)? else {
        return Ok(false);
    };
    if let Some(charge) = charge {
        payment.charges.push(charge);
        tx.update_payment(challenge, &payment)?;
    }
    Ok(true)
}

/// Gives the call back that a message was to go by, and did not.
pub(super) fn release_call(tx: &mut AuditedTx<'_>, challenge: ChallengeId) -> StoreResult<()> {
    let Some(mut payment) = tx.payment(challenge)? else { return Ok(()) };
    let is_call = |charge: &Charge| charge.window.budget == Budget::Voice;
    let (calls, rest) = payment.charges.into_iter().partition(is_call);
    payment.charges = rest;
    tx.update_payment(challenge, &payment)?;
    give_back(tx, &calls)
}

/// Tells that most of a budget is spent.
fn warn(tx: &mut AuditedTx<'_>, warning: BudgetWarning) -> StoreResult<()> {
    // Nobody in particular did it.
    let line = Arc::new(Actor::system(tx.at())).did(AuditEvent::SmsBudget);
    tx.record(line.detail(AuditDetail::BudgetWarning(warning)));
    happened::budget_warning(tx, &warning)
}

/// Gives back what a message was charged that was surely not sent.
fn give_back(tx: &mut AuditedTx<'_>, charges: &[Charge]) -> StoreResult<()> {
    for &Charge { window, units } in charges {
        tx.unspend_budget(window, units)?;
    }
    Ok(())
}

/// Takes the purchase of a message back that was surely not sent.
pub(super) fn cancel_purchase(tx: &mut AuditedTx<'_>, challenge: ChallengeId) -> StoreResult<()> {
    let charges = tx.delete_purchase(challenge)?;
    give_back(tx, &charges)
}

/// Takes back what a second message of a challenge was paid with, which was surely not sent.
pub(super) fn cancel_second(
    tx: &mut AuditedTx<'_>,
    challenge: ChallengeId,
    second: &Payment,
) -> StoreResult<()> {
    if let Some(mut payment) = tx.payment(challenge)? {
        payment.cost = payment.cost.saturating_sub(second.cost);
        for charge in &second.charges {
            if let Some(at) = payment.charges.iter().rposition(|other| other == charge) {
                payment.charges.remove(at);
            }
        }
        tx.update_payment(challenge, &payment)?;
    }
    give_back(tx, &second.charges)
}
