//! What is asked of the stored clock.

use super::error::StoreResult;
use crate::domain::clock::StoredClock;

/// Reads the clock.
pub trait ReadClock {
    /// What the server that last served the database stored of its clock.
    fn clock(&self) -> StoreResult<Option<StoredClock>>;
}

/// Writes the clock.
pub trait WriteClock: ReadClock {
    /// Stores the clock for the next start.
    fn store_clock(&mut self, clock: &StoredClock) -> StoreResult<()>;
}
