//! The budget of calls, where a code goes on to a sender that calls because another one surely could not send it.

use std::sync::Arc;

use super::Auth;
use super::audited::AuditedTx;
use super::purchase::pay_for_call;
use super::settle::{Settlement, takes_over};
use crate::domain::audit::Actor;
use crate::domain::budget::Budget;
use crate::domain::message::MessageState;
use crate::domain::{Channel, Via};
use crate::sms::route::{Passing, Permission};
use crate::storage::{Locks, StoreError, StoreResult};

/// Pays for the calls that one message goes on to.
pub(super) struct CallPayment {
    pub(super) auth: Arc<Auth>,
    pub(super) settlement: Settlement,
}

impl Passing for CallPayment {
    fn may_go_on<'a>(&'a self, to: &'a Via) -> Permission<'a> {
        let is_bounded = self.settlement.policy.budgets.limit(Budget::Voice).is_some();
        if to.channel != Channel::Voice || !is_bounded {
            return Box::pin(std::future::ready(true));
        }
        Box::pin(self.pay(to.clone()))
    }
}

impl CallPayment {
    /// Pays, in a write of its own: false where calls are spent, and where nobody can say.
    async fn pay(&self, via: Via) -> bool {
        let Self { auth, settlement } = self;
        let actor = Actor { at: auth.parts.clock.now(), ..Actor::clone(&settlement.actor) };
        let paying = settlement.clone();
        let paid = auth.write(Locks::none().phone(&settlement.phone), actor, move |tx| {
            let mut warnings = Vec::new();
            let is_paid = pay_for_call(tx, &paying.policy.budgets, paying.challenge, &mut warnings)?;
            if is_paid {
                paying.note_call(tx, via.clone())?;
            }
            Ok((is_paid, warnings))
        });
        match paid.await {
            Ok((is_paid, warnings)) => {
                auth.count_warnings(&warnings);
                if !is_paid {
                    auth.parts.metrics.sms_unpaid(Budget::Voice.as_str());
                }
                is_paid
            }
            Err(error) => {
                tracing::warn!(%error, phone = settlement.phone.masked(), "a call could not be paid for, so it is not made");
                false
            }
        }
    }
}

impl Settlement {
    /// Notes that a call is on its way, so that whatever becomes of it is settled with what it was paid.
    fn note_call(&self, tx: &mut AuditedTx<'_>, via: Via) -> StoreResult<()> {
        let Some(id) = self.message else { return Ok(()) };
        let mut message = tx.message(id)?.ok_or(StoreError::Broken)?;
        if takes_over(&message, &via) {
            message.state = MessageState::Intended;
            message.error_code = None;
        }
        message.via = via;
        message.updated_at = tx.at();
        tx.update_message(&mut message)
    }
}
