//! What a sender lets through: its breaker, how many messages may be on their way, and its pace.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Unavailable;
use super::breaker::{Breaker, Change, Health, Permit};
use super::pace::{Pace, Turn};
use crate::clock::Clock;

/// What a refused caller waits for a free slot: most sends take less.
const UNTIL_A_SLOT: Duration = Duration::from_secs(1);

/// For threads and timers that come late; a deadline that is too long only delays maintenance.
const SLACK: Duration = Duration::from_secs(2);

/// The bounds of one sender.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// How many failures in a row (no answer, or 5xx) open the breaker; 0: none do.
    pub(super) breaker_failures: u32,
    /// How long it stays open before a probe goes.
    pub(super) breaker_cooldown: Duration,
    /// How many messages may be on their way at once.
    pub(super) max_in_flight: usize,
    /// The pace of the sender; 0: its provider queues.
    pub(super) segments_per_second: u32,
    /// How long a message may wait for its turn in that pace.
    pub(super) max_wait: Duration,
    /// For one message in all, once its turn has come.
    pub(super) timeout: Duration,
}

/// Grants places to messages, or refuses at once.
pub(super) struct Admission {
    clock: Arc<dyn Clock>,
    breaker: Arc<Breaker>,
    slots: Arc<Semaphore>,
    pace: Option<Arc<Pace>>,
    deadline: Duration,
    cooldown: Duration,
}

/// A reserved place: the breaker is closed, the message is one of those in flight, and its turn is fixed.
pub(super) struct Place {
    clock: Arc<dyn Clock>,
    permit: Permit,
    /// One of the sends that may be on their way at once.
    in_flight: OwnedSemaphorePermit,
    /// When it may go, where the sender is paced.
    turn: Option<Turn>,
}

impl Admission {
    /// With the breaker closed, and nothing on its way.
    pub(super) fn new(bounds: Bounds, clock: Arc<dyn Clock>) -> Self {
        let pace = Pace::new(bounds.segments_per_second, bounds.max_wait, Arc::clone(&clock));
        let waiting = if pace.is_some() { bounds.max_wait } else { Duration::ZERO };
        let deadline = waiting + bounds.timeout + SLACK;
        let (failures, cooldown) = (bounds.breaker_failures, bounds.breaker_cooldown);
        Self {
            breaker: Arc::new(Breaker::new(failures, cooldown, deadline, Arc::clone(&clock))),
            slots: Arc::new(Semaphore::new(bounds.max_in_flight.min(Semaphore::MAX_PERMITS))),
            pace,
            deadline,
            cooldown,
            clock,
        }
    }

    /// Reserves a place for a message of `segments`.
    ///
    /// # Errors
    /// Why there is none, and for how long.
    pub(super) fn reserve(&self, segments: u32) -> Result<Place, Unavailable> {
        let permit = self.breaker.admit().map_err(Unavailable::BreakerOpen)?;
        let in_flight =
            Arc::clone(&self.slots).try_acquire_owned().map_err(|_| Unavailable::Overloaded(UNTIL_A_SLOT))?;
        let turn = self.pace.as_ref().map(|pace| pace.reserve(segments)).transpose();
        let turn = turn.map_err(Unavailable::Overloaded)?;
        Ok(Place { clock: Arc::clone(&self.clock), permit, in_flight, turn })
    }

    /// Shares the pace among so many servers.
    pub(super) fn share(&self, among: u32) {
        if let Some(pace) = &self.pace {
            pace.share(among);
        }
    }

    /// The longest that a message can take from its place to its outcome.
    pub(super) const fn deadline(&self) -> Duration {
        self.deadline
    }

    /// How long the breaker stays open before a probe goes.
    pub(super) const fn cooldown(&self) -> Duration {
        self.cooldown
    }

    /// Whether the provider is left alone after failures, until a message goes through.
    pub(super) fn is_breaker_open(&self) -> bool {
        self.breaker.is_open()
    }
}

impl Place {
    /// Waits until the message may go.
    pub(super) async fn turn(&mut self) {
        if let Some(turn) = self.turn.take() {
            tokio::time::sleep(self.clock.now().until(turn.take())).await;
        }
    }

    /// Tells what the send has shown, and frees the place.
    pub(super) fn report(self, health: Health) -> Change {
        let Self { permit, in_flight, .. } = self;
        let change = permit.report(health);
        drop(in_flight);
        change
    }
}
