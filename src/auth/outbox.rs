//! The outbox: events for the webhooks, written in the transaction of the act that they tell of.

use std::sync::Arc;

use tokio::sync::watch;

use crate::domain::event::About;
use crate::domain::{Event, EventId, EventKind, Timestamp, Webhook};
use crate::random::{self, Random};
use crate::storage::{StoreResult, Tx};

/// Who is told of what. Without a webhook nothing is written.
#[derive(Clone)]
pub struct Outbox {
    webhooks: Arc<[Webhook]>,
    random: Arc<dyn Random>,
    /// How many writes have left events.
    written: watch::Sender<u64>,
}

impl Outbox {
    /// For these webhooks; `random` names the events.
    pub fn new(webhooks: &[Webhook], random: Arc<dyn Random>) -> Self {
        Self { webhooks: webhooks.into(), random, written: watch::Sender::new(0) }
    }

    /// Changes after each write of this process that leaves events.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    /// For one transaction.
    pub(super) fn begin(&self) -> Events {
        let chance = if self.webhooks.is_empty() { [0; 16] } else { random::event_chance(&*self.random) };
        Events { webhooks: self.webhooks.clone(), chance, count: 0 }
    }

    /// A transaction with events was committed.
    pub(super) fn note_written(&self) {
        self.written.send_modify(|writes| *writes = writes.wrapping_add(1));
    }
}

/// The events of one transaction.
#[derive(Clone)]
pub(super) struct Events {
    webhooks: Arc<[Webhook]>,
    /// What their names are made of.
    chance: [u8; 16],
    count: u32,
}

impl Events {
    /// How many were written.
    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    /// Whether a webhook is told of this.
    pub(super) fn wants(&self, kind: EventKind) -> bool {
        self.webhooks.iter().any(|webhook| webhook.wants(kind))
    }

    /// Writes one, for the webhooks that are told of this.
    pub(super) fn write(
        &mut self,
        tx: &mut dyn Tx,
        at: Timestamp,
        kind: EventKind,
        about: About<'_>,
    ) -> StoreResult<()> {
        let told: Vec<_> = self.webhooks.iter().filter(|webhook| webhook.wants(kind)).collect();
        if told.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = told.iter().map(|webhook| webhook.name.as_str()).collect();
        let id = EventId::new(self.chance, self.count);
        let event = Event { id, kind, at, user: about.user(), data: about.data() };
        tx.insert_event(&event, &names)?;
        self.count += 1;
        Ok(())
    }
}
