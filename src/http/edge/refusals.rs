//! Limits the log lines about refused requests, so that a flood of requests cannot fill the log (S40).

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::domain::{ClientAddress, Timestamp};
use crate::sync::lock;

/// Lines of one address (an IPv6 /64) in a minute; the refusals beyond are counted in one more.
const LINES: u64 = 20;

/// Addresses that have lines in a minute; the refusals of all others are counted in one line.
const MAX_ADDRESSES: usize = 1024;

const MINUTE: Duration = Duration::from_mins(1);

/// The refusals of the current minute.
pub(super) struct Refusals {
    clock: Arc<dyn Clock>,
    /// Whether anything is to be summed up; asked at every request.
    any: AtomicBool,
    minute: Mutex<Minute>,
}

#[derive(Default)]
struct Minute {
    until: Option<Timestamp>,
    by_address: HashMap<IpAddr, (ClientAddress, u64)>,
    others: u64,
}

impl Refusals {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, any: AtomicBool::new(false), minute: Mutex::default() }
    }

    /// Counts a refusal; whether it is to have a line of its own.
    pub(super) fn has_line(&self, client: ClientAddress) -> bool {
        self.sum_up();
        let now = self.clock.now();
        let mut minute = self.lock();
        minute.until.get_or_insert(now + MINUTE);
        self.any.store(true, Ordering::Relaxed);
        let address = client.counted();
        if minute.by_address.len() >= MAX_ADDRESSES && !minute.by_address.contains_key(&address) {
            minute.others += 1;
            return false;
        }
        let (_, count) = minute.by_address.entry(address).or_insert((client, 0));
        *count += 1;
        *count <= LINES
    }

    /// Writes what was counted in a minute that is over.
    pub(super) fn sum_up(&self) {
        if !self.any.load(Ordering::Relaxed) {
            return;
        }
        let now = self.clock.now();
        let over = {
            let mut minute = self.lock();
            if minute.until.is_none_or(|until| now < until) {
                return;
            }
            self.any.store(false, Ordering::Relaxed);
            std::mem::take(&mut *minute)
        };
        over.log();
    }

    fn lock(&self) -> MutexGuard<'_, Minute> {
        lock(&self.minute)
    }
}

impl Minute {
    fn log(&self) {
        for (client, count) in self.by_address.values().filter(|(_, count)| *count > LINES) {
            tracing::warn!(
                %client,
                count,
                logged = LINES,
                "an address had many requests refused within a minute; only the first have a line each"
            );
        }
        if self.others > 0 {
            tracing::warn!(
                count = self.others,
                addresses = MAX_ADDRESSES,
                "more addresses than are told apart had requests refused within a minute; these have no line"
            );
        }
    }
}

/// Logs the last minute at the end.
impl Drop for Refusals {
    fn drop(&mut self) {
        self.minute.get_mut().unwrap_or_else(PoisonError::into_inner).log();
    }
}

impl fmt::Debug for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusals").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use std::net::Ipv4Addr;

    fn address(bits: u32) -> ClientAddress {
        ClientAddress::new(Ipv4Addr::from_bits(bits).into())
    }

    fn lines(refusals: &Refusals, client: ClientAddress, count: usize) -> usize {
        (0..count).filter(|_| refusals.has_line(client)).count()
    }

    #[test]
    fn s40_an_address_has_twenty_lines_a_minute_and_another_its_own() {
        let clock = Arc::new(ManualClock::new());
        let refusals = Refusals::new(clock.clone());
        assert_eq!(lines(&refusals, address(1), 1000), 20);
        assert_eq!(lines(&refusals, address(2), 3), 3);
        clock.advance(Duration::from_millis(59_999));
        assert_eq!(lines(&refusals, address(1), 5), 0);
        clock.advance(Duration::from_millis(1));
        assert_eq!(lines(&refusals, address(1), 1000), 20);
    }

    #[test]
    fn s40_many_addresses_leave_memory_and_log_bounded() {
        let refusals = Refusals::new(Arc::new(ManualClock::new()));
        let written: usize = (0..100_000).map(|bits| lines(&refusals, address(bits), 1)).sum();
        assert_eq!(written, MAX_ADDRESSES);
        let minute = refusals.lock();
        assert_eq!((minute.by_address.len(), minute.others), (MAX_ADDRESSES, 100_000 - 1024));
    }
}
