//! What is counted of the cache that servers share.

use super::Metrics;
use super::families::CacheOutcome;

/// What came of asking the cache that servers share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheAnswer {
    /// It answered in time.
    Good,
    /// It did not answer in time.
    Late,
    /// It answered what cannot be used, or the connection ended.
    Failed,
    /// It was not asked, since it is lost.
    Skipped,
}

impl CacheAnswer {
    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Late => "late",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

impl Metrics {
    /// The cache that servers share was asked.
    pub fn cache_answered(&self, answer: CacheAnswer) {
        self.0.cache.answers.get_or_create(&CacheOutcome { outcome: answer.as_str() }).inc();
    }

    /// Whether the cache that servers share cannot be used.
    pub fn set_cache_lost(&self, is_lost: bool) {
        self.0.cache.lost.set(u64::from(is_lost));
    }
}
