//! What is asked of the stored clock.

use super::error::StoreResult;
use crate::domain::clock::StoredClock;

/// Reads the clock.
#[expect(clippy::missing_errors_doc, reason = "a read fails where the database does, and nowhere else")]
pub trait ReadClock {
    /// What the server that last served the database stored of its clock.
    fn clock(&self) -> StoreResult<Option<StoredClock>>;
}

/// Writes the clock.
pub trait WriteClock: ReadClock {
    /// Stores the clock for the next start.
    ///
    /// # Errors
    /// Those of the database alone.
    fn store_clock(&mut self, clock: &StoredClock) -> StoreResult<()>;
}
