//! Counts what each address holds at once, up to a maximum.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::domain::ClientAddress;
use crate::sync::lock;

/// Counts by address as the limits count it, an IPv6 /64 as one. Holds no more entries than there are [`Held`].
#[derive(Clone, Debug)]
pub(super) struct Tally {
    max: usize,
    held: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One unit; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    tally: Tally,
    address: IpAddr,
}

impl Tally {
    /// At most `max` units an address.
    pub(super) fn new(max: usize) -> Self {
        Self { max, held: Arc::default() }
    }

    /// One unit for `address`; `None` where it holds all that it may.
    pub(super) fn take(&self, address: ClientAddress) -> Option<Held> {
        let address = address.counted();
        let mut held = self.lock();
        let count = held.entry(address).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        drop(held);
        Some(Held { tally: self.clone(), address })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        lock(&self.held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.tally.lock().entry(self.address) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s40_an_address_holds_so_many_and_another_its_own() {
        let tally = Tally::new(2);
        let address = |text: &str| ClientAddress::new(text.parse().unwrap());
        let (one, _two) = (tally.take(address("2001:db8::1")), tally.take(address("2001:db8::2")).unwrap());
        assert!(one.is_some());
        assert!(tally.take(address("2001:db8::3")).is_none(), "one /64 counts as one");
        let other = tally.take(address("203.0.113.7"));
        assert!(other.is_some());
        drop(one);
        assert!(tally.take(address("2001:db8::3")).is_some(), "what was given back can be taken");
        drop(other);
        assert_eq!(tally.lock().len(), 1, "who holds nothing is not remembered");
    }
}
