//! A place at a sender for a message, and who is paid to send it.

use super::{CodeIntent, Decided};
use crate::auth::AuthError;
use crate::auth::audited::AuditedTx;
use crate::auth::error::FlowError;
use crate::auth::purchase::Load;
use crate::domain::Channel;
use crate::domain::audit::{AuditDetail, AuditEvent};
use crate::domain::message::Unsent;
use crate::sms::Unavailable;
use crate::sms::route::{Need, Reservation};
use crate::storage::StoreResult;

impl CodeIntent {
    /// Reserves a place at a sender and has the budgets pay for the message. Where calls are spent, those who call are as if not
    /// there.
    pub(super) fn pay(
        &self,
        tx: &mut AuditedTx<'_>,
        decided: &mut Decided,
    ) -> Result<Reservation, FlowError> {
        let Self { senders, segments, .. } = self;
        let need = Need { to: &self.request.phone, segments: *segments, channel: self.request.channel };
        let place = match senders.reserve(need) {
            Ok(place) => place,
            Err(unavailable) => return Err(note_unsent(tx, decided, unavailable)?.into()),
        };
        let Some(guard) = &self.guard else { return Ok(place) };
        let load = |place: &Reservation| Load { segments: *segments, channel: place.via().channel };
        let paid = decided.bought.pay(tx, guard, &self.policy.budgets, load(&place));
        let Err(FlowError::Refused(refusal)) = paid else { return paid.map(|()| place) };
        let calls = place.via().channel == Channel::Voice;
        match calls.then(|| senders.reserve_without_calls(need)) {
            Some(Ok(other)) if decided.bought.lacks_calls() => {
                decided.bought.pay(tx, guard, &self.policy.budgets, load(&other))?;
                Ok(other)
            }
            Some(Err(unavailable))
                if unavailable != Unavailable::NoSender && decided.bought.lacks_calls() =>
            {
                Err(note_unsent(tx, decided, unavailable)?.into())
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
