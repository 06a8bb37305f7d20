//! How long memory may be believed: for as long as it is known that what others end is heard of here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What others end is refused after two seconds at most, the time that an answer takes included.
const LASTS: Duration = Duration::from_millis(1800);

/// Judged by the clock when memory is asked, and not by a timer: a process that was halted, or whose machine was suspended, wakes up
/// without it.
pub(super) struct Lease {
    /// When the last word was sent that came back, in milliseconds, plus one; 0 where there is none.
    renewed: AtomicU64,
}

impl Lease {
    /// Not granted yet.
    pub(super) fn new() -> Self {
        Self { renewed: AtomicU64::new(0) }
    }

    /// A word that was sent to the server at `sent`, by [`since_boot`](crate::clock::since_boot), has come back, and with it all that was committed before.
    pub(super) fn renew(&self, sent: Duration) {
        let sent = u64::try_from(sent.as_millis()).unwrap_or(u64::MAX - 1);
        self.renewed.fetch_max(sent + 1, Ordering::SeqCst);
    }

    /// The connection is lost by which others are heard.
    pub(super) fn end(&self) {
        self.renewed.store(0, Ordering::SeqCst);
    }

    /// Before what time memory may be believed, by the same clock; none where nothing was heard yet.
    pub(super) fn end_of(&self) -> Option<Duration> {
        let sent = self.renewed.load(Ordering::SeqCst).checked_sub(1)?;
        Some(Duration::from_millis(sent) + LASTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s17_memory_is_believed_for_less_than_two_seconds_after_the_last_word_that_came_back() {
        let lease = Lease::new();
        assert_eq!(lease.end_of(), None, "nothing was heard yet");
        let sent = Duration::from_millis(500);
        // A halted process hears late what it sent early: the time of the sending counts.
        lease.renew(sent);
        let end = lease.end_of().unwrap();
        assert!(end > sent + Duration::from_secs(1) && end < sent + Duration::from_secs(2));
        lease.renew(2 * sent);
        lease.renew(sent);
        assert_eq!(lease.end_of(), Some(end + sent), "an older word takes nothing back");
        lease.end();
        assert_eq!(lease.end_of(), None);
    }
}
