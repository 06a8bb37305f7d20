//! Places for connections: so many in all, and so many of one address.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{QUIET, ServerSettings};
use crate::clock::Clock;
use crate::domain::ClientAddress;
use crate::http::log_throttle::LogThrottle;
use crate::http::tally::{Held, Tally};

/// The places of one listener.
pub(super) struct Places {
    free: Arc<Semaphore>,
    max: usize,
    by_address: Tally,
    trusted: Vec<IpNet>,
    full: LogThrottle,
    crowded: LogThrottle,
    /// Connections closed since the last line about them.
    closed: AtomicU64,
}

/// A place for one more connection, of whomever.
pub(super) struct Free {
    _permit: Option<OwnedSemaphorePermit>,
}

/// A connection's place; free again when it is dropped.
pub(super) struct Place {
    _free: Free,
    _of_address: Option<Held>,
}

impl Places {
    pub(super) fn new(settings: &ServerSettings, clock: &Arc<dyn Clock>) -> Self {
        Self {
            free: Arc::new(Semaphore::new(settings.max_connections.min(Semaphore::MAX_PERMITS))),
            max: settings.max_connections,
            by_address: Tally::new(settings.max_connections_per_address),
            trusted: settings.trusted_proxies.clone(),
            full: LogThrottle::every(QUIET, clock.clone()),
            crowded: LogThrottle::every(QUIET, clock.clone()),
            closed: AtomicU64::new(0),
        }
    }

    /// A place for one more connection; while there is none, newcomers wait in the system's queue.
    pub(super) async fn free(&self) -> Free {
        if let Ok(place) = self.free.clone().try_acquire_owned() {
            return Free { _permit: Some(place) };
        }
        if self.full.should_log() {
            tracing::warn!(max_connections = self.max, "every connection is taken; newcomers wait");
        }
        // The semaphore is never closed.
        Free { _permit: self.free.clone().acquire_owned().await.ok() }
    }

    /// Gives the place to a connection of `peer`; `None` where its address has all that one may have.
    pub(super) fn give(&self, free: Free, peer: IpAddr) -> Option<Place> {
        let address = ClientAddress::new(peer);
        if self.trusted.iter().any(|network| network.contains(&address.ip())) {
            return Some(Place { _free: free, _of_address: None });
        }
        let held = self.by_address.take(address);
        if held.is_none() {
            self.note_closed(address);
        }
        held.map(|held| Place { _free: free, _of_address: Some(held) })
    }

    /// One line a minute, whoever it is: an address that opens connections as fast as it can must not fill the log.
    fn note_closed(&self, address: ClientAddress) {
        let closed = self.closed.fetch_add(1, Ordering::Relaxed) + 1;
        if self.crowded.should_log() {
            self.closed.fetch_sub(closed, Ordering::Relaxed);
            tracing::warn!(
                client = %address,
                closed,
                "an address has more connections than server.max_connections_per_address allows; those beyond are \
                 closed. If it is a proxy, name it in server.trusted_proxies"
            );
        }
    }
}
