//! The flood guard: how fast one address may call at all, before anything is read or looked up.
//!
//! It lives in memory alone and is generous; it protects the machine, not a phone. The quotas that protect a phone are
//! sliding windows in the ledger.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::RwLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::domain::ClientAddress;
use crate::sync::{read, write};

/// Addresses remembered at once. An address is forgotten as soon as its bucket is full again, so that a machine which
/// answers 50,000 requests a second at the default rate holds about a thousand.
const MOST_ADDRESSES: usize = 1 << 16;

/// Admissions between two looks at the number of addresses.
const SWEEP_EVERY: usize = 1 << 12;

type Limiter<C> = RateLimiter<IpAddr, DashMapStateStore<IpAddr>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// A leaky bucket per address (an IPv6 /64 counts as one).
#[derive(Debug)]
pub struct FloodGuard<C: Clock = DefaultClock> {
    buckets: Option<Buckets<C>>,
}

/// How fast one address may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    per_second: NonZeroU32,
    burst: NonZeroU32,
}

#[derive(Debug)]
struct Buckets<C: Clock> {
    pace: Pace,
    quota: Quota,
    clock: C,
    limiter: RwLock<Limiter<C>>,
    admissions: AtomicUsize,
}

impl Pace {
    /// `per_second` requests for ever and `burst` of them at once; `None` for 0 a second, which is no pace.
    pub fn new(per_second: u32, burst: u32) -> Option<Self> {
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        NonZeroU32::new(per_second).map(|per_second| Self { per_second, burst })
    }

    /// The time that one request takes.
    pub fn interval(self) -> Duration {
        Duration::from_secs(1) / self.per_second.get()
    }

    /// How far requests may run ahead of their time.
    pub fn tolerance(self) -> Duration {
        self.interval() * (self.burst.get() - 1)
    }
}

impl FloodGuard {
    /// `per_second` requests for ever and `burst` of them at once; 0 a second turns the guard off.
    pub fn new(per_second: u32, burst: u32) -> Self {
        Self::with_clock(per_second, burst, DefaultClock::default())
    }
}

impl<C: Clock + Clone> FloodGuard<C> {
    /// The same, on a clock of the caller's; for tests.
    pub fn with_clock(per_second: u32, burst: u32, clock: C) -> Self {
        let buckets = Pace::new(per_second, burst).map(|pace| {
            let quota = Quota::per_second(pace.per_second).allow_burst(pace.burst);
            let limiter = RwLock::new(limiter(quota, &clock));
            Buckets { pace, quota, clock, limiter, admissions: AtomicUsize::new(0) }
        });
        Self { buckets }
    }

    /// Admits one request.
    ///
    /// # Errors
    /// How long the address has to wait; waiting just that long is enough.
    pub fn admit(&self, address: ClientAddress) -> Result<(), Duration> {
        let Some(buckets) = &self.buckets else { return Ok(()) };
        if buckets.admissions.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            buckets.sweep();
        }
        let limiter = read(&buckets.limiter);
        limiter.check_key(&address.counted()).map_err(|refusal| refusal.wait_time_from(buckets.clock.now()))
    }

    /// How fast an address may call; `None` where the guard is off.
    pub fn pace(&self) -> Option<Pace> {
        self.buckets.as_ref().map(|buckets| buckets.pace)
    }

    /// How many addresses are remembered.
    pub fn remembered(&self) -> usize {
        self.buckets.as_ref().map_or(0, |buckets| read(&buckets.limiter).len())
    }
}

impl<C: Clock + Clone> Buckets<C> {
    fn sweep(&self) {
        {
            let limiter = read(&self.limiter);
            limiter.retain_recent();
            if limiter.len() < MOST_ADDRESSES {
                return;
            }
        }
        // More addresses than any honest crowd has: memory must stay bounded, so everybody starts afresh. What a
        // flooder gains is one more burst; no quota of the ledger is touched.
        let mut full = write(&self.limiter);
        if full.len() >= MOST_ADDRESSES {
            *full = limiter(self.quota, &self.clock);
        }
    }
}

fn limiter<C: Clock + Clone>(quota: Quota, clock: &C) -> Limiter<C> {
    RateLimiter::new(quota, DashMapStateStore::default(), clock.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn v4(bits: u32) -> ClientAddress {
        ClientAddress::new(Ipv4Addr::from_bits(bits).into())
    }

    #[test]
    fn a_burst_passes_then_the_rate_holds_and_the_wait_is_true() {
        let clock = FakeRelativeClock::default();
        let guard = FloodGuard::with_clock(2, 3, clock.clone());
        for _ in 0..3 {
            assert_eq!(guard.admit(v4(1)), Ok(()));
        }
        let wait = guard.admit(v4(1)).unwrap_err();
        assert_eq!(wait, Duration::from_millis(500));
        clock.advance(Duration::from_nanos(499_999_999));
        assert!(guard.admit(v4(1)).is_err());
        clock.advance(Duration::from_nanos(1));
        assert_eq!(guard.admit(v4(1)), Ok(()));
        assert_eq!(guard.admit(v4(2)), Ok(()));
    }

    #[test]
    fn s12_an_ipv6_network_counts_as_one() {
        let guard = FloodGuard::with_clock(1, 1, FakeRelativeClock::default());
        let host = |n| ClientAddress::new(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, n).into());
        assert_eq!(guard.admit(host(1)), Ok(()));
        assert!(guard.admit(host(2)).is_err());
    }

    #[test]
    fn zero_turns_it_off() {
        let guard = FloodGuard::with_clock(0, 0, FakeRelativeClock::default());
        assert!((0..1000).all(|_| guard.admit(v4(1)).is_ok()));
    }

    #[test]
    fn s21_a_million_addresses_leave_memory_bounded() {
        let guard = FloodGuard::with_clock(50, 100, FakeRelativeClock::default());
        for bits in 0..1_000_000 {
            assert_eq!(guard.admit(v4(bits)), Ok(()));
            if bits % 1000 == 0 {
                assert!(guard.remembered() < MOST_ADDRESSES + SWEEP_EVERY);
            }
        }
    }

    #[test]
    fn s21_honest_addresses_are_forgotten_without_losing_the_one_that_floods() {
        let clock = FakeRelativeClock::default();
        let guard = FloodGuard::with_clock(1, 100_000, clock.clone());
        let flooder = v4(u32::MAX);
        for _ in 0..100_000 {
            assert_eq!(guard.admit(flooder), Ok(()));
        }
        for bits in 0..100_000 {
            clock.advance(Duration::from_millis(1));
            assert_eq!(guard.admit(v4(bits)), Ok(()));
        }
        assert!(guard.remembered() < 3 * SWEEP_EVERY, "{}", guard.remembered());
        while guard.admit(flooder).is_ok() {}
        assert!(guard.admit(flooder).is_err());
    }

    #[test]
    fn a_pace_has_an_interval_and_a_tolerance_and_addresses_are_counted() {
        let pace = Pace::new(4, 10).unwrap();
        assert_eq!(
            (pace.interval(), pace.tolerance()),
            (Duration::from_millis(250), Duration::from_millis(2250))
        );
        assert_eq!(Pace::new(0, 10), None);
        let guard = FloodGuard::with_clock(4, 10, FakeRelativeClock::default());
        assert_eq!((guard.pace(), guard.remembered()), (Some(pace), 0));
        assert_eq!((guard.admit(v4(1)), guard.admit(v4(2))), (Ok(()), Ok(())));
        assert_eq!(guard.remembered(), 2);
    }
}
