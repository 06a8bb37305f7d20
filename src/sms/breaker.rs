//! Spares people the wait, and Twilio the calls, while sending cannot work.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::sync::lock;

/// What one send says about those to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// Twilio answered: yes, or a no that concerns one message, its number or its country.
    Good,
    /// No answer, or one that tells of Twilio's own trouble; so many in a row open the breaker.
    Failing,
    /// The credentials or the sender are refused: the next send would be too, to whatever number. Opens at once.
    Broken,
}

/// What a report changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// No more sends for a while.
    Opened,
    /// Sends go through again.
    Closed,
}

/// Counts failures; open, it lets one probe through after each cooldown.
pub(super) struct Breaker {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

/// Permission for one send; dropped without a report, it has never been.
pub(super) struct Permit {
    breaker: Arc<Breaker>,
    epoch: u64,
}

/// The rules, with the instant as an argument.
struct State {
    /// Consecutive failures that open it; 0: only [`Health::Broken`] does.
    threshold: u32,
    cooldown: Duration,
    /// The longest that a probe can take; after it another one goes.
    patience: Duration,
    circuit: CircuitState,
    /// Grows whenever the breaker opens or a probe goes, so that sends of an earlier time no longer count.
    epoch: u64,
}

enum CircuitState {
    Closed { failures: u32 },
    Open { until: Timestamp },
}

impl Breaker {
    /// A closed one.
    pub(super) fn new(threshold: u32, cooldown: Duration, patience: Duration, clock: Arc<dyn Clock>) -> Self {
        let circuit = CircuitState::Closed { failures: 0 };
        Self { clock, state: Mutex::new(State { threshold, cooldown, patience, circuit, epoch: 0 }) }
    }

    /// Asks for permission to send.
    ///
    /// # Errors
    /// How long it stays open.
    pub(super) fn admit(self: &Arc<Self>) -> Result<Permit, Duration> {
        let epoch = self.state().admit(self.clock.now())?;
        Ok(Permit { breaker: Arc::clone(self), epoch })
    }

    /// Whether sends are refused, or one probes.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state().circuit, CircuitState::Open { .. })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Permit {
    /// Tells what the send has shown.
    pub(super) fn report(self, health: Health) -> Change {
        self.breaker.state().report(self.epoch, health, self.breaker.clock.now())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.breaker.state().give_back(self.epoch, self.breaker.clock.now());
    }
}

impl State {
    fn admit(&mut self, now: Timestamp) -> Result<u64, Duration> {
        if let CircuitState::Open { until } = self.circuit {
            if now < until {
                return Err(now.until(until));
            }
            self.epoch += 1;
            self.circuit = CircuitState::Open { until: now + self.patience };
        }
        Ok(self.epoch)
    }

    fn report(&mut self, epoch: u64, health: Health, now: Timestamp) -> Change {
        if epoch != self.epoch {
            return Change::None;
        }
        let failures = match (health, &self.circuit) {
            (Health::Good, CircuitState::Closed { .. }) => {
                self.circuit = CircuitState::Closed { failures: 0 };
                return Change::None;
            }
            (Health::Good, CircuitState::Open { .. }) => {
                self.circuit = CircuitState::Closed { failures: 0 };
                return Change::Closed;
            }
            (Health::Failing, CircuitState::Closed { failures }) => failures.saturating_add(1),
            (Health::Failing, CircuitState::Open { .. }) | (Health::Broken, _) => return self.open(now),
        };
        if failures == self.threshold {
            return self.open(now);
        }
        self.circuit = CircuitState::Closed { failures };
        Change::None
    }

    fn open(&mut self, now: Timestamp) -> Change {
        self.epoch += 1;
        self.circuit = CircuitState::Open { until: now + self.cooldown };
        Change::Opened
    }

    /// After a report this finds nothing left to give back: the report closed the breaker or began a new epoch.
    fn give_back(&mut self, epoch: u64, now: Timestamp) {
        if epoch == self.epoch && matches!(self.circuit, CircuitState::Open { .. }) {
            self.circuit = CircuitState::Open { until: now };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const COOLDOWN: Duration = Duration::from_secs(30);
    const PATIENCE: Duration = Duration::from_secs(15);

    fn breaker(threshold: u32) -> (Arc<Breaker>, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new());
        (Arc::new(Breaker::new(threshold, COOLDOWN, PATIENCE, Arc::clone(&clock) as _)), clock)
    }

    fn report(breaker: &Arc<Breaker>, health: Health) -> Change {
        breaker.admit().ok().unwrap().report(health)
    }

    fn refusal(breaker: &Arc<Breaker>) -> Option<Duration> {
        breaker.admit().err()
    }

    #[test]
    fn consecutive_failures_open_it() {
        let (breaker, _) = breaker(3);
        assert_eq!(report(&breaker, Health::Failing), Change::None);
        assert_eq!(report(&breaker, Health::Failing), Change::None);
        assert_eq!(report(&breaker, Health::Failing), Change::Opened);
        assert_eq!(refusal(&breaker), Some(COOLDOWN));
    }

    #[test]
    fn an_answer_starts_the_count_anew() {
        let (breaker, _) = breaker(2);
        for _ in 0..5 {
            assert_eq!(report(&breaker, Health::Failing), Change::None);
            assert_eq!(report(&breaker, Health::Good), Change::None);
        }
    }

    #[test]
    fn a_refused_sender_opens_it_at_once() {
        let (breaker, _) = breaker(0);
        for _ in 0..100 {
            assert_eq!(report(&breaker, Health::Failing), Change::None);
        }
        assert_eq!(report(&breaker, Health::Broken), Change::Opened);
        assert!(refusal(&breaker).is_some());
    }

    #[test]
    fn after_the_cooldown_one_probe_decides() {
        let (breaker, clock) = breaker(1);
        report(&breaker, Health::Failing);
        clock.advance(Duration::from_millis(29_999));
        assert_eq!(refusal(&breaker), Some(Duration::from_millis(1)));
        clock.advance(Duration::from_millis(1));
        let probe = breaker.admit().ok().unwrap();
        assert_eq!(refusal(&breaker), Some(PATIENCE), "one probe at a time");
        assert_eq!(probe.report(Health::Failing), Change::Opened);
        assert_eq!(refusal(&breaker), Some(COOLDOWN));

        clock.advance(COOLDOWN);
        assert_eq!(report(&breaker, Health::Good), Change::Closed);
        let (first, second) = (breaker.admit(), breaker.admit());
        assert!(first.is_ok() && second.is_ok());
    }

    #[test]
    fn a_probe_that_is_dropped_unused_lets_another_through() {
        let (breaker, clock) = breaker(1);
        report(&breaker, Health::Broken);
        clock.advance(COOLDOWN);
        drop(breaker.admit());
        assert_eq!(report(&breaker, Health::Good), Change::Closed);
    }

    #[test]
    fn a_probe_that_is_lost_blocks_for_no_longer_than_a_send_takes() {
        let (breaker, clock) = breaker(1);
        report(&breaker, Health::Failing);
        clock.advance(COOLDOWN);
        let lost = breaker.admit().ok().unwrap();
        clock.advance(PATIENCE);
        let second = breaker.admit().ok().unwrap();
        assert_eq!(lost.report(Health::Good), Change::None, "only the latest probe decides");
        assert!(refusal(&breaker).is_some());
        assert_eq!(second.report(Health::Good), Change::Closed);
    }

    #[test]
    fn sends_from_before_it_opened_decide_nothing() {
        let (breaker, clock) = breaker(1);
        let (late_good, late_bad, unused) = (breaker.admit(), breaker.admit(), breaker.admit());
        report(&breaker, Health::Failing);
        clock.advance(Duration::from_secs(10));
        assert_eq!(late_good.ok().unwrap().report(Health::Good), Change::None);
        assert_eq!(late_bad.ok().unwrap().report(Health::Broken), Change::None);
        drop(unused);
        assert_eq!(refusal(&breaker), Some(Duration::from_secs(20)));
    }
}
