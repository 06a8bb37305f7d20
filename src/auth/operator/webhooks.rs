//! What the operator does about webhooks.

use std::sync::Arc;

use crate::auth::Outbox;
use crate::auth::audited::{self, AuditedTx};
use crate::domain::audit::{Actor, AuditDetail, AuditEvent, OperatorAct};
use crate::domain::{EventNumber, Timestamp};
use crate::storage::{Locks, Store, StoreResult, View};

/// The operator at the webhooks, in an open transaction. No key is needed for it.
pub struct Webhooks<'a, 't> {
    tx: &'a mut AuditedTx<'t>,
}

/// Has the operator act at `at`, in one transaction, and logs the lines of the audit trail once they are durable.
///
/// # Errors
/// Any [`StoreError`](crate::storage::StoreError), as [`Store::write`].
pub async fn act_on_webhooks<T, F>(store: &Store, at: Timestamp, outbox: &Outbox, act: F) -> StoreResult<T>
where
    T: Send + 'static,
    F: Fn(&mut Webhooks<'_, '_>) -> StoreResult<T> + Send + 'static,
{
    let actor = Arc::new(Actor::system(at));
    audited::write(store, outbox, Locks::none(), actor, move |tx| act(&mut Webhooks { tx })).await
}

impl Webhooks<'_, '_> {
    /// What the operator sees in the transaction.
    pub fn view(&self) -> &dyn View {
        &**self.tx
    }

    /// Switches a webhook on; whether it was off.
    ///
    /// # Errors
    /// Any [`StoreError`](crate::storage::StoreError); then nothing remains of the act.
    pub fn enable(&mut self, webhook: &str) -> StoreResult<bool> {
        let was_off = self.tx.webhook_off(webhook)?.is_some();
        if was_off {
            self.tx.switch_webhook(webhook, None)?;
            self.note(AuditEvent::WebhookEnabled, OperatorAct::WebhookEnabled(webhook.to_owned()));
        }
        Ok(was_off)
    }

    /// Has events wait for a webhook again.
    ///
    /// # Errors
    /// Any [`StoreError`](crate::storage::StoreError); then nothing remains of the act.
    pub fn replay(&mut self, webhook: &str, numbers: &[EventNumber]) -> StoreResult<()> {
        let at = self.tx.at();
        numbers.iter().try_for_each(|number| self.tx.replay_event(webhook, *number, at))?;
        let act = OperatorAct::EventsReplayed { webhook: webhook.to_owned(), events: numbers.len() };
        self.note(AuditEvent::EventsReplayed, act);
        Ok(())
    }

    fn note(&mut self, event: AuditEvent, act: OperatorAct) {
        let line = self.tx.did(event);
        self.tx.record(line.detail(AuditDetail::Operator(act)));
    }
}
