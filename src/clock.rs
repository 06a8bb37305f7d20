//! The only caller of the system's clock.
#![expect(clippy::disallowed_methods, reason = "this is the place that the ban on direct calls points to")]

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::domain::Timestamp;

/// What time it is, in the two senses that the program needs.
pub trait Clock: Send + Sync + 'static {
    /// The time for quota windows, codes and rows: never runs backwards while the process lives.
    fn now(&self) -> Timestamp;

    /// What the wall clock says, which may leap: the time for what others compare with their own clock, above all the
    /// `iat` and `exp` of tokens, and for the sessions that these are read from.
    fn wall(&self) -> Timestamp;
}

/// The system's clock. Where the wall clock steps back, it goes on at half speed until the wall has caught up: nothing
/// runs backwards, and no code lives longer than by the step.
#[derive(Debug)]
pub struct SystemClock {
    last: Mutex<(Timestamp, Instant)>,
}

impl SystemClock {
    /// Starts at the wall's time.
    pub fn new() -> Self {
        Self { last: Mutex::new((wall(), Instant::now())) }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let instant = Instant::now();
        let slewed = slew(last.0, instant.duration_since(last.1), wall());
        // The anchor moves only with the answer: sub-millisecond steps must not be lost to rounding.
        if slewed > last.0 {
            *last = (slewed, instant);
        }
        slewed
    }

    fn wall(&self) -> Timestamp {
        wall()
    }
}

/// The wall's time, or, where that lies behind what was told before, the time told before plus half of what has passed.
fn slew(told: Timestamp, passed: Duration, wall: Timestamp) -> Timestamp {
    wall.max(told + passed / 2)
}

fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// How long something takes, for the few places that measure rather than decide.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// What has passed.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A clock that moves when told to; for tests.
#[derive(Debug)]
pub struct ManualClock(Mutex<Hands>);

/// Where the two hands of a [`ManualClock`] stand.
#[derive(Clone, Copy, Debug)]
struct Hands {
    now: Timestamp,
    wall: Timestamp,
}

impl ManualClock {
    /// Starts at 2026-01-01T00:00:00Z.
    pub const fn new() -> Self {
        let start = Timestamp::from_millis(1_767_225_600_000);
        Self(Mutex::new(Hands { now: start, wall: start }))
    }

    /// Time passes.
    pub fn advance(&self, by: Duration) {
        let mut hands = self.lock();
        *hands = Hands { now: hands.now + by, wall: hands.wall + by };
    }

    /// Steps back, as a wall clock may across a restart.
    pub fn step_back(&self, by: Duration) {
        let mut hands = self.lock();
        *hands = Hands { now: hands.now - by, wall: hands.wall - by };
    }

    /// The wall clock alone leaps ahead.
    pub fn leap_ahead(&self, by: Duration) {
        let mut hands = self.lock();
        hands.wall = hands.wall + by;
    }

    /// The wall clock alone leaps back.
    pub fn leap_back(&self, by: Duration) {
        let mut hands = self.lock();
        hands.wall = hands.wall - by;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Hands> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.lock().now
    }

    fn wall(&self) -> Timestamp {
        self.lock().wall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s2_time_never_runs_backwards_and_catches_up_after_a_step() {
        let told = Timestamp::from_millis(100_000);
        let hour = Duration::from_hours(1);
        let stepped = slew(told, Duration::from_secs(10), told + Duration::from_secs(10) - hour);
        assert_eq!(stepped, told + Duration::from_secs(5));
        let caught_up = slew(told, hour * 2, told + hour);
        assert_eq!(caught_up, told + hour);
        assert_eq!(slew(told, Duration::from_secs(1), told + hour), told + hour);
    }

    #[test]
    fn a_leap_moves_the_wall_alone_and_time_moves_both() {
        let clock = ManualClock::new();
        let start = clock.now();
        clock.leap_ahead(Duration::from_hours(2));
        clock.advance(Duration::from_secs(1));
        clock.leap_back(Duration::from_hours(1));
        assert_eq!(clock.now(), start + Duration::from_secs(1));
        assert_eq!(clock.wall(), clock.now() + Duration::from_hours(1));
    }

    #[test]
    fn the_system_clock_is_monotonic() {
        let clock = SystemClock::new();
        let first = clock.now();
        assert!(clock.now() >= first);
    }
}
