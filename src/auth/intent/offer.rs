//! Who could send a message, and who is paid to.

use super::{CodeIntent, Decided};
use crate::auth::AuthError;
use crate::auth::audited::AuditedTx;
use crate::auth::error::FlowError;
use crate::auth::purchase::Load;
use crate::domain::Via;
use crate::domain::audit::{AuditDetail, AuditEvent};
use crate::domain::message::Unsent;
use crate::sms::Unavailable;
use crate::storage::StoreResult;

/// Which sender has a place for a message, or why none has.
pub(in crate::auth) struct Offer {
    /// The first one.
    pub(in crate::auth) first: Result<Via, Unavailable>,
    /// The first one that does not call, where the first of all does.
    pub(in crate::auth) without_calls: Option<Result<Via, Unavailable>>,
    /// What the message costs in segments.
    pub(in crate::auth) segments: u32,
}

impl CodeIntent {
    /// Has the budgets pay for the message; gives who sends it. Where calls are spent, those who call are as if not there.
    pub(super) fn pay(&self, tx: &mut AuditedTx<'_>, decided: &mut Decided) -> Result<Via, FlowError> {
        let Offer { first, without_calls, segments } = &self.offer;
        let via = match first {
            Ok(via) => via,
            Err(unavailable) => return Err(note_unsent(tx, decided, *unavailable)?.into()),
        };
        let Some(guard) = &self.guard else { return Ok(via.clone()) };
        let load = |via: &Via| Load { segments: *segments, channel: via.channel };
        let paid = decided.bought.pay(tx, guard, &self.policy.budgets, load(via));
        let Err(FlowError::Refused(refusal)) = paid else { return paid.map(|()| via.clone()) };
        match without_calls {
            Some(Ok(other)) if decided.bought.lacks_calls() => {
                decided.without_calls = true;
                decided.bought.pay(tx, guard, &self.policy.budgets, load(other))?;
                Ok(other.clone())
            }
            Some(Err(unavailable))
                if *unavailable != Unavailable::NoSender && decided.bought.lacks_calls() =>
            {
                Err(note_unsent(tx, decided, *unavailable)?.into())
            }
            _ => Err(FlowError::Refused(refusal)),
        }
    }
}

/// Counts a code that found no sender: there is no row of a message for it.
fn note_unsent(
    tx: &mut AuditedTx<'_>,
    decided: &mut Decided,
    unavailable: Unavailable,
) -> StoreResult<AuthError> {
    let why = match unavailable {
        Unavailable::BreakerOpen(_) => Unsent::BreakerOpen,
        Unavailable::Overloaded(_) => Unsent::Overloaded,
        Unavailable::NoSender => return Ok(unavailable.into()),
    };
    decided.unsent = true;
    let at = tx.at();
    if tx.count_unsent(why, at)? {
        tx.record(tx.did(AuditEvent::SmsFailed).detail(AuditDetail::Unsent(why)));
    }
    Ok(unavailable.into())
}
