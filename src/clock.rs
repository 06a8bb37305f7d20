//! The only caller of the system's clock.
#![expect(clippy::disallowed_methods, reason = "this is the place that the ban on direct calls points to")]

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::domain::Timestamp;
use crate::domain::clock::{ClockEvent, LeapGuard, Reading, StoredClock, Times};
use crate::sync::lock;

/// What time it is, in the senses that the program needs. Each reading looks whether the wall clock has leaped, and logs
/// a warning if it has.
pub trait Clock: Send + Sync + 'static {
    /// All times at once.
    fn read(&self) -> Times;

    /// Begins anew at the start of a server, with what an earlier run stored; the rest of the program need not.
    fn start(&self, stored: Option<StoredClock>);

    /// What the next start must know, as of now.
    fn stored(&self) -> StoredClock;

    /// The time for quota windows, codes and rows: never runs backwards while the process lives, and leaps only after
    /// the wall clock.
    fn now(&self) -> Timestamp {
        self.read().now
    }

    /// What the wall clock says, which may leap: the time for what others compare with their own clock, above all the
    /// `iat` and `exp` of tokens, and for the sessions that these are read from.
    fn wall(&self) -> Timestamp {
        self.read().wall
    }
}

/// Whatever shows a monotonic clock and a wall clock.
pub trait Hands: fmt::Debug + Send + Sync + 'static {
    /// Reads both.
    fn read(&self) -> Reading;
}

/// A clock over some hands.
#[derive(Debug)]
pub struct GuardedClock<H> {
    hands: H,
    guard: Mutex<LeapGuard>,
}

/// The system's clock.
pub type SystemClock = GuardedClock<SystemHands>;

/// A clock that moves when told to; for tests.
pub type ManualClock = GuardedClock<ManualHands>;

impl<H: Hands> GuardedClock<H> {
    fn over(hands: H) -> Self {
        let (guard, _) = LeapGuard::start(hands.read(), None);
        Self { hands, guard: Mutex::new(guard) }
    }

    fn guard(&self) -> std::sync::MutexGuard<'_, LeapGuard> {
        lock(&self.guard)
    }
}

impl<H: Hands> Clock for GuardedClock<H> {
    fn read(&self) -> Times {
        let mut guard = self.guard();
        // Under the lock, so that readings come in their order.
        let (times, event) = guard.read(self.hands.read());
        drop(guard);
        event.into_iter().for_each(tell);
        times
    }

    fn start(&self, stored: Option<StoredClock>) {
        let mut guard = self.guard();
        let (started, event) = LeapGuard::start(self.hands.read(), stored);
        *guard = started;
        drop(guard);
        event.into_iter().for_each(tell);
    }

    fn stored(&self) -> StoredClock {
        self.read();
        self.guard().stored()
    }
}

/// Tells the operator.
fn tell(event: ClockEvent) {
    const MEANWHILE: &str = "until the clock has gone right for 10 minutes nothing is deleted ahead of its time, and \
         refresh answers 503 where a token seems to have expired; see that a time service keeps the clock right \
         (timedatectl)";
    match event {
        ClockEvent::Ahead(by) => {
            tracing::warn!(seconds = by.as_secs_f64(), "the wall clock leaped ahead: {MEANWHILE}");
        }
        ClockEvent::Back(by) => {
            tracing::warn!(seconds = by.as_secs_f64(), "the wall clock leaped back: {MEANWHILE}");
        }
        ClockEvent::AheadAtStart(by) => tracing::warn!(
            seconds = by.as_secs_f64(),
            "the wall clock is ahead of the time at which this database was last served; that is right if the server \
             was stopped for so long: {MEANWHILE}"
        ),
        ClockEvent::BackAtStart(by) => tracing::warn!(
            seconds = by.as_secs_f64(),
            "the wall clock is behind the time at which this database was last served: {MEANWHILE}"
        ),
        ClockEvent::Returned => tracing::warn!("the wall clock is right again after its leap"),
        ClockEvent::Confirmed => tracing::warn!(
            "the wall clock has gone right for 10 minutes after its leap and is believed; restart the server to date new \
             rows by it if it was set back"
        ),
    }
}

/// Two readings of a machine that is halted in between would look like a leap.
const AT_ONCE: Duration = Duration::from_millis(100);

/// How often the hands are read again for that.
const ATTEMPTS: usize = 5;

/// The hands of the system's clock.
#[derive(Debug)]
pub struct SystemHands {
    begun: Instant,
    correction: Correction,
}

/// How a machine's wall clock is corrected by a database's, which all that serve it share.
#[derive(Clone, Debug, Default)]
pub struct Correction {
    /// Milliseconds to add.
    by: Arc<AtomicI64>,
}

impl Correction {
    /// Goes by the time that `ask` gives, which is taken to be of the middle of the asking; gives how far this machine's was
    /// off. A difference within the time that the asking took is none.
    ///
    /// # Errors
    /// That of `ask`; the correction stays.
    pub fn follow<E>(&self, ask: impl FnOnce() -> Result<Timestamp, E>) -> Result<Duration, E> {
        let (asked, begun) = (wall(), Instant::now());
        let theirs = ask()?;
        let took = begun.elapsed();
        let ours = asked + took / 2;
        let by = theirs.as_millis() - ours.as_millis();
        let changed = (by - self.by.load(Ordering::Relaxed)).unsigned_abs();
        if u128::from(changed) > took.as_millis() / 2 + 1 {
            self.by.store(by, Ordering::Relaxed);
        }
        Ok(Duration::from_millis(by.unsigned_abs()))
    }

    fn apply(&self, wall: Timestamp) -> Timestamp {
        Timestamp::from_millis(wall.as_millis().saturating_add(self.by.load(Ordering::Relaxed)))
    }
}

impl Hands for SystemHands {
    fn read(&self) -> Reading {
        let mut monotonic = self.begun.elapsed();
        for _ in 0..ATTEMPTS {
            let wall = self.correction.apply(wall());
            let after = self.begun.elapsed();
            if after.saturating_sub(monotonic) < AT_ONCE {
                return Reading { monotonic, wall };
            }
            monotonic = after;
        }
        Reading { monotonic, wall: self.correction.apply(wall()) }
    }
}

impl SystemClock {
    /// Starts at the wall's time.
    pub fn new() -> Self {
        Self::over(SystemHands { begun: Instant::now(), correction: Correction::default() })
    }
}

impl SystemClock {
    /// What corrects it.
    pub fn correction(&self) -> Correction {
        self.hands.correction.clone()
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The time since the machine started, in which the time counts for which it was suspended; elsewhere than on Linux since the
/// first call, without that.
pub fn since_boot() -> Duration {
    #[cfg(target_os = "linux")]
    {
        let since = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let part = |part: i64| u64::try_from(part).unwrap_or_default();
        Duration::from_secs(part(since.tv_sec)) + Duration::from_nanos(part(since.tv_nsec))
    }
    #[cfg(not(target_os = "linux"))]
    {
        static FIRST: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        FIRST.get_or_init(Instant::now).elapsed()
    }
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

/// The hands of a [`ManualClock`].
#[derive(Debug)]
pub struct ManualHands(Mutex<Reading>);

impl Hands for ManualHands {
    fn read(&self) -> Reading {
        *self.lock()
    }
}

impl ManualHands {
    fn lock(&self) -> std::sync::MutexGuard<'_, Reading> {
        lock(&self.0)
    }
}

impl ManualClock {
    /// Starts at 2026-01-01T00:00:00Z.
    pub fn new() -> Self {
        let wall = Timestamp::from_millis(1_767_225_600_000);
        Self::over(ManualHands(Mutex::new(Reading { monotonic: Duration::ZERO, wall })))
    }

    /// Time passes.
    pub fn advance(&self, by: Duration) {
        let mut hands = self.hands.lock();
        hands.monotonic += by;
        hands.wall = hands.wall + by;
    }

    /// The wall clock leaps ahead.
    pub fn leap_ahead(&self, by: Duration) {
        let mut hands = self.hands.lock();
        hands.wall = hands.wall + by;
    }

    /// The wall clock leaps back.
    pub fn leap_back(&self, by: Duration) {
        let mut hands = self.hands.lock();
        hands.wall = hands.wall - by;
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_start_forgets_what_the_run_before_it_noticed() {
        let clock = ManualClock::new();
        let stored = clock.stored();
        clock.leap_back(Duration::from_hours(1));
        assert!(clock.read().doubt.is_some());
        clock.start(None);
        assert_eq!(clock.read().doubt, None);
        clock.start(Some(stored));
        assert!(clock.read().doubt.is_some());
    }

    #[test]
    fn a_corrected_clock_goes_by_the_others_time_and_keeps_it_where_that_cannot_be_asked() {
        let clock = SystemClock::new();
        let correction = clock.correction();
        let ahead = wall() + Duration::from_mins(2);
        let off = correction.follow(|| Ok::<_, ()>(ahead)).unwrap();
        assert!(off > Duration::from_secs(119) && off <= Duration::from_mins(2));
        assert!(clock.wall() >= ahead && clock.wall() < ahead + Duration::from_mins(1));
        assert_eq!(correction.follow(|| Err(7)), Err(7));
        assert!(clock.wall() >= ahead);
    }

    #[test]
    fn the_system_clock_is_monotonic() {
        let clock = SystemClock::new();
        let first = clock.now();
        assert!(clock.now() >= first);
    }
}
