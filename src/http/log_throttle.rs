//! Limits how often a line is logged, so that a flood of requests cannot repeat it.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::sync::lock;

/// Lets one line through, and then none for a while.
pub struct LogThrottle {
    every: Duration,
    clock: Arc<dyn Clock>,
    last: Mutex<Option<Timestamp>>,
}

impl LogThrottle {
    /// At most once in `every`.
    pub fn every(every: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { every, clock, last: Mutex::new(None) }
    }

    /// Whether to write the line now; if so, not again for a while.
    pub fn should_log(&self) -> bool {
        let now = self.clock.now();
        let mut last = lock(&self.last);
        let is_due = last.is_none_or(|last| now >= last + self.every);
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}

impl fmt::Debug for LogThrottle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogThrottle").field("every", &self.every).finish_non_exhaustive()
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
        let throttle = LogThrottle::every(hour, clock.clone());
        assert!(throttle.should_log());
        assert!(!throttle.should_log());
        clock.advance(Duration::from_millis(3_599_999));
        assert!(!throttle.should_log());
        clock.advance(Duration::from_millis(1));
        assert!(throttle.should_log());
    }
}
