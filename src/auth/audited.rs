//! A transaction whose acts leave lines in the audit trail.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::Auth;
use super::outbox::{Events, Outbox};
use super::trail::Trail;
use crate::domain::audit::{Actor, AuditEvent, AuditRecord};
use crate::domain::event::About;
use crate::domain::{EventKind, Timestamp};
use crate::storage::{Locks, Store, StoreResult, Tx};

/// An open transaction, who acts in it, and the lines about what was done. They are written together when the act has ended,
/// in the same transaction, and logged after its commit.
pub struct AuditedTx<'t> {
    tx: &'t mut dyn Tx,
    actor: Arc<Actor>,
    trail: Trail,
    events: Events,
}

impl<'t> AuditedTx<'t> {
    fn new(tx: &'t mut dyn Tx, actor: Arc<Actor>, events: Events) -> Self {
        Self { tx, actor, trail: Trail::default(), events }
    }

    /// The instant of the act.
    pub fn at(&self) -> Timestamp {
        self.actor.at
    }

    /// Who acts.
    pub(super) fn actor(&self) -> &Arc<Actor> {
        &self.actor
    }

    /// Has somebody else act from here on.
    pub(super) fn set_actor(&mut self, actor: Actor) {
        self.actor = Arc::new(actor);
    }

    /// The beginning of a line about what the actor did.
    pub(super) fn did(&self, event: AuditEvent) -> AuditRecord {
        self.actor.did(event)
    }

    /// Adds a line to the trail.
    pub(super) fn record(&mut self, record: AuditRecord) {
        self.trail.add(record);
    }

    /// Adds a line to the log alone.
    pub(super) fn only_log(&mut self, record: AuditRecord) {
        self.trail.only_log(record);
    }

    /// Whether a webhook is told of this.
    pub(super) fn tells(&self, kind: EventKind) -> bool {
        self.events.wants(kind)
    }

    /// Writes an event for the webhooks that are told of this.
    pub(super) fn tell(&mut self, kind: EventKind, about: About<'_>) -> StoreResult<()> {
        self.events.write(self.tx, self.actor.at, kind, about)
    }

    /// Writes the lines of so far: an act that changes lines already written wants them to be there.
    pub(super) fn flush(&mut self) -> StoreResult<()> {
        self.tx.audit(self.trail.take_unwritten())
    }
}

impl<'t> Deref for AuditedTx<'t> {
    type Target = dyn Tx + 't;

    fn deref(&self) -> &Self::Target {
        self.tx
    }
}

impl DerefMut for AuditedTx<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.tx
    }
}

/// Runs `act` in a transaction in which `actor` acts, and logs its lines once they are durable; `locks` cover what it reads and
/// then replaces, `outbox` says whom its events are for.
///
/// # Errors
/// Any [`StoreError`](crate::storage::StoreError), as [`Store::write`].
pub(super) async fn write<T, F>(
    store: &Store,
    outbox: &Outbox,
    locks: Locks,
    actor: Arc<Actor>,
    act: F,
) -> StoreResult<T>
where
    T: Send + 'static,
    F: Fn(&mut AuditedTx<'_>) -> StoreResult<T> + Send + 'static,
{
    let events = outbox.begin();
    let written = store.write(locks, move |tx| {
        let mut audited = AuditedTx::new(tx, actor.clone(), events.clone());
        let done = act(&mut audited)?;
        audited.flush()?;
        Ok((done, audited.trail, audited.events.count()))
    });
    let (done, trail, events) = written.await?;
    trail.log();
    if events > 0 {
        outbox.note_written();
    }
    Ok(done)
}

impl Auth {
    /// Runs `act` in a transaction in which `actor` acts, and logs its lines once they are durable.
    pub(super) async fn write<T, F>(
        &self,
        locks: Locks,
        actor: impl Into<Arc<Actor>>,
        act: F,
    ) -> StoreResult<T>
    where
        T: Send + 'static,
        F: Fn(&mut AuditedTx<'_>) -> StoreResult<T> + Send + 'static,
    {
        write(&self.parts.store, &self.parts.outbox, locks, actor.into(), act).await
    }
}
