//! All webhooks, and what has to be done now and then about what waits for them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::Parts;
use super::outlet::{Outlet, is_sender};
use crate::domain::webhook::PATIENCE;
use crate::domain::{Timestamp, Webhook};
use crate::storage::events::Backlog;
use crate::storage::{Locks, StoreResult};

/// How often what waits is counted, and what has waited for too long is dropped.
const ROUND: Duration = Duration::from_secs(10);

/// Events that one write drops.
const SLICE: usize = 200;

/// Takes events to the webhooks.
pub struct Dispatcher {
    parts: Arc<Parts>,
    webhooks: Vec<Webhook>,
    outlets: Vec<Outlet>,
    max_waiting: u64,
    written: watch::Receiver<u64>,
}

impl Dispatcher {
    /// Prepares it; `written` changes after each write that leaves events, of which `max_waiting` may wait for each webhook.
    pub fn new(parts: Parts, webhooks: &[Webhook], max_waiting: u64, written: watch::Receiver<u64>) -> Self {
        parts.metrics.begin_webhooks(webhooks.iter().map(|webhook| webhook.name.as_str()));
        let parts = Arc::new(parts);
        let outlets = webhooks.iter().map(|webhook| Outlet::new(parts.clone(), webhook.clone())).collect();
        Self { parts, webhooks: webhooks.to_vec(), outlets, max_waiting, written }
    }

    /// Sends what is due until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut outlets = JoinSet::new();
        for outlet in std::mem::take(&mut self.outlets) {
            outlets.spawn(outlet.run(stop.clone(), self.written.clone()));
        }
        if let Err(error) = self.name_strangers().await {
            tracing::warn!(%error, "what waits for webhooks cannot be read");
        }
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(rounds.tick()).await.is_some() {
            if let Err(error) = self.tidy().await {
                tracing::warn!(%error, "what waits for webhooks cannot be counted; the next round tries again");
            }
        }
        while outlets.join_next().await.is_some() {}
    }

    /// Sends what is due, and what becomes due by that, to the end.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn drain(&mut self) -> StoreResult<()> {
        for outlet in &mut self.outlets {
            outlet.drain().await?;
        }
        Ok(())
    }

    /// Counts what waits, and drops what has waited for too long or is too much.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn tidy(&self) -> StoreResult<()> {
        let times = self.parts.clock.read();
        // A clock that leaps ahead drops nothing.
        let over = times.retention.min(times.now) - PATIENCE;
        let run = self.parts.run.clone();
        let is_sender = self.parts.store.read(move |view| is_sender(view, &run)).await?;
        let backlogs = if is_sender { self.backlogs().await? } else { Vec::new() };
        for Backlog { webhook, waiting, since } in backlogs {
            let mut dropped = 0;
            if since < over {
                dropped += self.drop_waiting(&webhook, over, u64::MAX).await?;
            }
            let surplus = waiting.saturating_sub(dropped).saturating_sub(self.max_waiting);
            dropped += self.drop_waiting(&webhook, Timestamp::from_millis(i64::MAX), surplus).await?;
            if dropped > 0 {
                self.parts.metrics.events_dropped(&webhook, dropped);
                tracing::error!(
                    webhook,
                    dropped,
                    help = "see why the webhook does not take them: `freshk event list` shows what it answered, and `freshk event \
                            replay` sends again what is still kept",
                    "events waited for five days, or more than events.max_waiting did, and were dropped"
                );
            }
        }
        let backlogs = self.backlogs().await?;
        for webhook in &self.webhooks {
            let name = webhook.name.clone();
            let off = self.parts.store.read(move |view| view.webhook_off(&name)).await?;
            let found = backlogs.iter().find(|backlog| backlog.webhook == webhook.name);
            let (waiting, age) = found
                .map_or((0, Duration::ZERO), |backlog| (backlog.waiting, backlog.since.until(times.now)));
            self.parts.metrics.set_events_waiting(&webhook.name, waiting, age);
            self.parts.metrics.set_webhook_off(&webhook.name, off.is_some());
        }
        Ok(())
    }

    async fn backlogs(&self) -> StoreResult<Vec<Backlog>> {
        self.parts.store.read(|view| view.backlogs()).await
    }

    /// Drops at most `most` events that have waited for a webhook since before `before`; gives how many.
    async fn drop_waiting(&self, webhook: &str, before: Timestamp, most: u64) -> StoreResult<u64> {
        let (mut dropped, now) = (0, self.parts.clock.now());
        while dropped < most {
            let rows = usize::try_from(most - dropped).unwrap_or(SLICE).min(SLICE);
            let name = webhook.to_owned();
            let slice = self
                .parts
                .store
                .write(Locks::none(), move |tx| tx.drop_events(&name, before, now, rows))
                .await?;
            dropped += slice as u64;
            if slice < rows {
                break;
            }
        }
        Ok(dropped)
    }

    /// Says for which webhooks events wait that the configuration does not have.
    async fn name_strangers(&self) -> StoreResult<()> {
        for Backlog { webhook, waiting, .. } in self.backlogs().await? {
            if !self.webhooks.iter().any(|known| known.name == webhook) {
                tracing::warn!(
                    webhook,
                    waiting,
                    "events wait for a webhook that is not configured: they are dropped after five days"
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
