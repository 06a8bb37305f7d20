//! The way to one webhook: which events go now, and what follows their answers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::{Answer, Parts, Posting};
use crate::domain::webhook::{IN_FLIGHT, REST, REST_AFTER_FEW, pause_after};
use crate::domain::{RunId, Timestamp, Webhook};
use crate::storage::events::{Failed, QueueId, Tried, Waiting};
use crate::storage::{Locks, StoreResult, View};

/// How often the database is looked at although this process has written no event: a command may have.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long events under way are waited for when the server stops. What is not noted by then is sent again.
const GRACE: Duration = Duration::from_secs(2);

/// One webhook, and what is under way to it.
pub(super) struct Outlet {
    parts: Arc<Parts>,
    webhook: Arc<Webhook>,
    under_way: JoinSet<(Waiting, Answer)>,
    busy: HashSet<QueueId>,
    standing: Standing,
    /// Whether it is this server that sends, and when that was looked at.
    duty: Option<(Timestamp, bool)>,
}

/// What the last attempts say of a webhook.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    /// When it last took an event.
    taken_at: Option<Timestamp>,
    /// When it was last tried.
    tried_at: Option<Timestamp>,
    /// Whether it then answered that it refuses that event.
    has_refused: bool,
}

/// What is looked for in the database.
struct Search {
    webhook: Arc<Webhook>,
    now: Timestamp,
    /// Which failed events are tried although they are not due.
    failed: Option<Failed>,
    /// Whether one is tried to find out whether the webhook is back.
    probes: bool,
    rows: usize,
}

impl Outlet {
    pub(super) fn new(parts: Arc<Parts>, webhook: Webhook) -> Self {
        Self {
            parts,
            webhook: Arc::new(webhook),
            under_way: JoinSet::new(),
            busy: HashSet::new(),
            standing: Standing::default(),
            duty: None,
        }
    }

    /// Sends what is due until `stop`; looks anew whenever `written` changes.
    pub(super) async fn run(mut self, stop: CancellationToken, mut written: watch::Receiver<u64>) {
        while !stop.is_cancelled() {
            written.mark_unchanged();
            if let Err(error) = self.begin().await {
                tracing::warn!(webhook = self.webhook.name, %error, "events for a webhook cannot be read");
            }
            tokio::select! {
                Some(ended) = self.under_way.join_next() => self.settle_or_log(ended).await,
                Ok(()) = written.changed() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = stop.cancelled() => {}
            }
        }
        let rest = async {
            while let Some(ended) = self.under_way.join_next().await {
                self.settle_or_log(ended).await;
            }
        };
        // Those that take longer are sent again after the next start.
        drop(tokio::time::timeout(GRACE, rest).await);
    }

    /// Sends what is due, and what becomes due by that, to the end.
    pub(super) async fn drain(&mut self) -> StoreResult<()> {
        loop {
            self.begin().await?;
            let Some(ended) = self.under_way.join_next().await else { return Ok(()) };
            self.settle(ended).await?;
        }
    }

    /// Has as many events set out as there is room for.
    async fn begin(&mut self) -> StoreResult<()> {
        let mut room = IN_FLIGHT.saturating_sub(self.under_way.len());
        if room == 0 {
            return Ok(());
        }
        let now = self.parts.clock.now();
        if !self.is_on_duty(now).await? {
            return Ok(());
        }
        let search = Search {
            webhook: self.webhook.clone(),
            now,
            failed: self.standing.failed(now),
            probes: self.standing.probes(now),
            rows: room + self.busy.len(),
        };
        for waiting in self.parts.store.read(move |view| search.read(view)).await? {
            if room > 0 && self.busy.insert(waiting.queue) {
                self.send(waiting);
                room -= 1;
            }
        }
        Ok(())
    }

    /// Whether this server sends; that can change when another one comes or ends.
    async fn is_on_duty(&mut self, now: Timestamp) -> StoreResult<bool> {
        if let Some((at, is_own)) = self.duty
            && at.until(now) < LOOK_AGAIN
        {
            return Ok(is_own);
        }
        let run = self.parts.run.clone();
        let is_own = self.parts.store.read(move |view| is_sender(view, &run)).await?;
        self.duty = Some((now, is_own));
        Ok(is_own)
    }

    fn send(&mut self, waiting: Waiting) {
        let (transport, webhook) = (self.parts.transport.clone(), self.webhook.clone());
        let wall = self.parts.clock.wall();
        self.under_way.spawn(async move {
            let event = &waiting.event;
            let posting = Posting::new(&webhook, event.id.as_str(), event.body(), wall);
            let posted = spawn_blocking(move || transport.post(&posting)).await;
            let answer = posted.unwrap_or_else(|_| Answer::Silent("the sending thread panicked".to_owned()));
            (waiting, answer)
        });
    }

    async fn settle_or_log(&mut self, ended: Result<(Waiting, Answer), JoinError>) {
        if let Err(error) = self.settle(ended).await {
            let webhook = &self.webhook.name;
            tracing::warn!(webhook, %error, "what came of events cannot be written: they are sent again");
            // Not at once: the webhook may have taken them.
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Notes what came of the events that have ended, in one write.
    async fn settle(&mut self, ended: Result<(Waiting, Answer), JoinError>) -> StoreResult<()> {
        let mut all: Vec<_> = ended.into_iter().collect();
        while let Some(ended) = self.under_way.try_join_next() {
            all.extend(ended);
        }
        // In one order, whoever writes.
        all.sort_by_key(|(waiting, _)| waiting.queue);
        let now = self.parts.clock.now();
        let mut is_gone = false;
        let mut settled = Vec::with_capacity(all.len());
        for (waiting, answer) in all {
            self.busy.remove(&waiting.queue);
            self.standing.note(&answer, now);
            is_gone |= answer.is_gone();
            // Nothing is sent while the webhook is off, and what waits goes at once when it is on again.
            let pause =
                if is_gone { Duration::ZERO } else { pause_after(waiting.attempts.saturating_add(1)) };
            let again = (!answer.is_taken()).then(|| now + pause);
            self.tell(&waiting, &answer, again.is_none());
            settled.push((waiting, Tried { at: now, answer: answer.to_string(), again }));
        }
        let webhook = self.webhook.clone();
        let write = self.parts.store.write(Locks::none(), move |tx| {
            for (waiting, tried) in &settled {
                tx.settle_event(&webhook.name, waiting, tried)?;
            }
            if is_gone { tx.switch_webhook(&webhook.name, Some(now)) } else { Ok(()) }
        });
        write.await?;
        if is_gone {
            let webhook = &self.webhook.name;
            tracing::error!(
                webhook,
                help = format!(
                    "`freshk webhook enable {webhook}` switches it on again; what waits is sent then"
                ),
                "a webhook answered 410 and is switched off"
            );
        }
        Ok(())
    }

    fn tell(&self, waiting: &Waiting, answer: &Answer, is_delivered: bool) {
        let (webhook, event) = (&self.webhook.name, &waiting.event);
        self.parts.metrics.event_tried(webhook, is_delivered);
        let (id, kind) = (event.id.as_str(), event.kind.as_str());
        if is_delivered {
            tracing::debug!(webhook, event = id, kind, "an event was delivered");
            return;
        }
        let attempt = waiting.attempts.saturating_add(1);
        tracing::warn!(webhook, event = id, kind, %answer, attempt, "a webhook did not take an event");
    }
}

/// Whether a run of a server sends: of those that live the oldest does, so that each event is sent by one alone. A server that
/// has the database for itself is in no list.
pub(super) fn is_sender(view: &dyn View, run: &RunId) -> StoreResult<bool> {
    Ok(view.nodes()?.first().is_none_or(|oldest| oldest.run == *run))
}

impl Standing {
    fn note(&mut self, answer: &Answer, now: Timestamp) {
        self.tried_at = Some(now);
        self.has_refused = answer.is_refusal();
        if answer.is_taken() {
            self.taken_at = Some(now);
        }
    }

    /// What failed before the webhook took another event is tried at once, though not again and again.
    fn failed(self, now: Timestamp) -> Option<Failed> {
        let before = self.taken_at?;
        let rested = |rest: Duration| before.min(now - rest);
        Some(Failed { few: rested(REST_AFTER_FEW), many: rested(REST) })
    }

    /// Whether an event is to be tried early where the next one is due much later: a webhook that comes back has everything
    /// within a minute. One that refuses an event works.
    fn probes(self, now: Timestamp) -> bool {
        !self.has_refused && self.tried_at.is_none_or(|tried| now >= tried + REST)
    }
}

impl Search {
    fn read(&self, view: &dyn View) -> StoreResult<Vec<Waiting>> {
        let Self { webhook, now, failed, probes, rows } = self;
        let name = &webhook.name;
        if view.webhook_off(name)?.is_some() {
            return Ok(Vec::new());
        }
        let mut found = view.due_events(name, *now, *rows)?;
        if let Some(failed) = failed {
            found.extend(view.failed_events(name, failed, rows - found.len())?);
        }
        if *probes && found.is_empty() && view.next_due(name)?.is_some_and(|due| due > *now + REST) {
            found = view.failed_events(name, &Failed { few: *now, many: *now }, 1)?;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
