//! What is worth a line in the log, but not one for every request.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::domain::Timestamp;

/// Arises at most once in a while.
pub(super) struct Occasion {
    every: Duration,
    clock: Arc<dyn Clock>,
    last: Mutex<Option<Timestamp>>,
}

impl Occasion {
    /// At most once in `every`.
    pub(super) fn every(every: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { every, clock, last: Mutex::new(None) }
    }

    /// Whether to speak now; if so, not again for a while.
    pub(super) fn arises(&self) -> bool {
        let now = self.clock.now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let arises = last.is_none_or(|last| now >= last + self.every);
        if arises {
            *last = Some(now);
        }
        arises
    }
}

impl fmt::Debug for Occasion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Occasion").field("every", &self.every).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn s37_once_an_hour() {
        let clock = Arc::new(ManualClock::new());
        let hour = Duration::from_hours(1);
        let occasion = Occasion::every(hour, clock.clone());
        assert!(occasion.arises());
        assert!(!occasion.arises());
        clock.advance(Duration::from_millis(3_599_999));
        assert!(!occasion.arises());
        clock.advance(Duration::from_millis(1));
        assert!(occasion.arises());
    }
}
