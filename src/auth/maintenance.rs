//! What has to be done now and then, in slices that never hold the writer for long.

use std::time::Duration;

use super::audited::AuditedTx;
use super::lookup::living;
use super::settle::{lose, user_of};
use super::{Auth, AuthError, happened};
use crate::domain::address::refusals_key;
use crate::domain::audit::{Actor, AuditDetail, AuditEvent, AuditRecord};
use crate::domain::clock::Times;
use crate::domain::guard::MEMORY;
use crate::domain::message::MessageState;
use crate::domain::policy::Policy;
use crate::domain::quota::{DAY, Quota};
use crate::domain::settled::{SendResult, Settled};
use crate::domain::{Challenge, Registration, RunId, Timestamp};
use crate::storage::{Locks, PurgeHorizon, StoreResult, Tx};

/// Rows that one slice touches.
const SLICE: usize = 200;

/// Which challenges are not settled although they could be.
#[derive(Clone, Copy, Debug)]
enum Spared {
    /// None.
    None,
    /// Those that a living node leads.
    OfTheLiving,
}

impl Spared {
    /// The runs whose challenges are not settled.
    fn runs(self, living: impl FnOnce() -> StoreResult<Vec<RunId>>) -> StoreResult<Vec<RunId>> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::OfTheLiving => living(),
        }
    }
}

/// How long used and void challenges, and what became of their messages, can still be looked at.
const CHALLENGES_KEPT: Duration = Duration::from_hours(7 * 24);

impl Auth {
    /// Start-up: the clock begins with what an earlier run stored, the names of tokens are held against what it noted, and
    /// because the flows of that run are gone, every challenge that does not say what came of its sending has an unknown fate.
    ///
    /// # Errors
    /// [`AuthError::Unavailable`] without a database.
    pub async fn settle_after_restart(&self) -> Result<(), AuthError> {
        let stored = self.parts.store.read(|view| view.clock()).await?;
        self.parts.clock.start(stored);
        self.note_names().await?;
        // All of them, even those of a clock that ran ahead; what a living node leads, it settles itself.
        self.settle_before(Timestamp::from_millis(i64::MAX), Spared::OfTheLiving).await?;
        Ok(self.take_questions_over().await?)
    }

    /// One round of maintenance.
    ///
    /// # Errors
    /// The first thing that failed; the next round tries again.
    pub async fn maintain(&self) -> Result<(), AuthError> {
        let times = self.parts.clock.read();
        let longest = self.parts.production.deadline().max(self.parts.testing.deadline());
        // What is known is better than what is assumed.
        self.settle_all_late().await;
        self.settle_before(times.now - longest, Spared::None).await?;
        self.count_refusals(times.now).await?;
        self.count_attempts(times.now).await?;
        self.require_names(times.retention);
        let (clock, horizon) = (self.parts.clock.stored(), self.horizon(&times));
        // With the clock that it goes by: a restart never takes back the time that a row was deleted for.
        let purge = move |tx: &mut dyn Tx| {
            tx.store_clock(&clock)?;
            tx.purge(&horizon, SLICE)
        };
        while self.parts.store.write(Locks::none(), purge).await? {}
        self.complete_all_due(times).await?;
        self.forget_unverified(horizon.now).await?;
        self.delete_due(horizon.now).await?;
        let sessions = self.parts.store.read(move |view| view.count_live_sessions(times.wall)).await?;
        self.parts.metrics.set_live_sessions(sessions);
        if let Some(noted) = self.parts.store.read(|view| view.noted_backup()).await? {
            self.parts.metrics.set_backup_age(Some(noted.until(times.now)));
        }
        Ok(())
    }

    /// Stores the clock for the next start, when the server stops.
    ///
    /// # Errors
    /// [`AuthError::Unavailable`] without a database; the next start goes by what the last round stored.
    pub async fn store_clock(&self) -> Result<(), AuthError> {
        let clock = self.parts.clock.stored();
        Ok(self.parts.store.write(Locks::none(), move |tx| tx.store_clock(&clock)).await?)
    }

    /// Writes the line that the server started or stopped.
    ///
    /// # Errors
    /// [`AuthError::Unavailable`] without a database.
    pub async fn note(&self, event: AuditEvent) -> Result<(), AuthError> {
        self.note_line(Actor::system(self.parts.clock.now()), event, None).await
    }

    /// Counts durably what memory refused, within the window that refused it: one that has ended since is not yet
    /// summed up.
    async fn count_refusals(&self, now: Timestamp) -> Result<(), AuthError> {
        for chunk in self.refusals.take(now).chunks(SLICE) {
            let chunk = chunk.to_vec();
            let write = self.parts.store.write(Locks::none(), move |tx| {
                for refused in &chunk {
                    let at = now.min(refused.until - Duration::from_millis(1));
                    let key = refusals_key(&refused.subject);
                    tx.count_refusals(refused.quota, &key, at..refused.until, refused.count)?;
                }
                Ok(())
            });
            write.await?;
        }
        Ok(())
    }

    /// Writes how many refused attempts of an hour that is over had no line of their own.
    async fn count_attempts(&self, now: Timestamp) -> Result<(), AuthError> {
        let Some(rest) = self.lines.take(now) else { return Ok(()) };
        let actor = Actor { ip: rest.address, ..Actor::system(now) };
        self.note_line(actor, AuditEvent::LoginFail, Some(AuditDetail::MoreAttempts(rest.count))).await
    }

    async fn note_line(
        &self,
        actor: Actor,
        event: AuditEvent,
        detail: Option<AuditDetail>,
    ) -> Result<(), AuthError> {
        let written = self.write(Locks::none(), actor, move |tx| {
            tx.record(AuditRecord { detail: detail.clone(), ..tx.did(event) });
            Ok(())
        });
        Ok(written.await?)
    }

    /// Gives challenges that lost their flow an unknown fate: the SMS may arrive, so the code stays good and its user
    /// exists.
    async fn settle_before(&self, before: Timestamp, spared: Spared) -> Result<(), AuthError> {
        let now = self.parts.clock.now();
        loop {
            // On one snapshot: a node has entered before it leads anything.
            let read = self
                .parts
                .store
                .read(move |view| view.unsettled_before(before, &spared.runs(|| living(view))?, SLICE));
            let left = read.await?;
            if left.is_empty() {
                return Ok(());
            }
            let locks = Locks::none().phones(left.iter().map(|challenge| &challenge.phone));
            let settings = self.settings();
            let (keys, policy) = (settings.keys.clone(), settings.policy.clone());
            let settled = self.write(locks, Actor::system(now), move |tx| {
                for found in &left {
                    // Its flow may have come to its end since it was read.
                    let found = tx.challenge(found.id)?.filter(|challenge| challenge.settled.is_none());
                    let Some(challenge) = found else { continue };
                    let phone = &challenge.phone;
                    let actor = Actor::system(now).with_phone(phone, keys.current().audit_hash(phone));
                    tx.set_actor(actor.in_mode(challenge.mode));
                    settle(tx, challenge, &policy)?;
                }
                Ok(())
            });
            settled.await?;
        }
    }

    /// Deletes users who registered long before `now` and never verified, where nothing is left of them.
    async fn forget_unverified(&self, now: Timestamp) -> Result<(), AuthError> {
        let before = now - self.policy().retention.unverified;
        let mut last = None;
        loop {
            let page =
                self.parts.store.read(move |view| view.registrations_after(last, before, SLICE)).await?;
            let Some(Registration { user, .. }) = page.last() else { return Ok(()) };
            last = Some((user.joined_at, user.id));
            let abandoned = page.into_iter().filter(|found| found.is_abandoned(now)).map(|found| found.user);
            let (phones, ids): (Vec<_>, Vec<_>) = abandoned.map(|user| (user.phone, user.id)).unzip();
            if ids.is_empty() {
                continue;
            }
            let locks = Locks::none().phones(phones.iter().flatten()).users(&ids);
            let delete = self.write(locks, Actor::system(self.parts.clock.now()), move |tx| {
                for &id in &ids {
                    // Somebody may have asked for a code since it was read.
                    if let Some(found) = tx.registration(id)?.filter(|found| found.is_abandoned(now)) {
                        tx.delete_user(id)?;
                        happened::deleted(tx, &found.user)?;
                    }
                }
                Ok(())
            });
            delete.await?;
        }
    }

    /// What may be deleted. Rows are dated by `now`, so it is held against the earlier of that and the retention time.
    fn horizon(&self, times: &Times) -> PurgeHorizon {
        let policy = self.policy();
        let over = times.retention.min(times.now);
        PurgeHorizon {
            now: over,
            spends: Quota::ALL.map(|quota| (quota, over - policy.limits.window_of(quota))),
            challenges: over - CHALLENGES_KEPT.max(policy.otp.ttl),
            sessions: over - DAY,
            purchases: over - MEMORY,
            guard: over - DAY,
            events: over - policy.retention.events,
            audit: over - policy.retention.audit,
        }
    }
}

fn settle(tx: &mut AuditedTx<'_>, challenge: Challenge, policy: &Policy) -> StoreResult<()> {
    let user = user_of(tx, &challenge.phone, challenge.purpose, &policy.default_role)?;
    // A notice to the number before belongs to the challenge as well, and its phone is not locked here.
    let mut messages = tx.messages_of(challenge.id)?;
    messages.retain(|message| message.to == challenge.phone);
    let settled = Settled::new(tx.at(), SendResult::Unknown);
    let fate = lose(tx, challenge, policy.otp.live_codes, settled)?;
    let silent = messages.into_iter().filter(|message| message.state.advances_to(MessageState::Unknown));
    for mut message in silent {
        message.state = MessageState::Unknown;
        message.updated_at = tx.at();
        tx.update_message(&mut message)?;
    }
    tx.record(fate.line(tx, "its flow ended".to_owned()).user(user));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_spares_what_living_servers_lead_and_a_round_nobody() {
        let living = || Ok(vec![RunId::new([2; 8])]);
        assert_eq!(Spared::OfTheLiving.runs(living).unwrap(), [RunId::new([2; 8])]);
        assert_eq!(Spared::None.runs(living).unwrap(), []);
    }
}
