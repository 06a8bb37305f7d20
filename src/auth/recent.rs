//! How long recent sends took: what a concealed refusal must look like.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::random::Random;

/// As many as show the spread.
const KEPT: usize = 64;

/// A typical answer of the provider, until there are real ones.
const TYPICAL: Duration = Duration::from_millis(250);

/// The durations of the latest real sends.
#[derive(Default)]
pub(super) struct RecentSends(Mutex<(Vec<Duration>, usize)>);

impl RecentSends {
    /// Notes one.
    pub(super) fn note(&self, took: Duration) {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (kept, next) = &mut *guard;
        if kept.len() < KEPT {
            kept.push(took);
        } else {
            kept[*next % KEPT] = took;
        }
        *next += 1;
    }

    /// Draws one of them.
    pub(super) fn draw(&self, random: &dyn Random) -> Duration {
        let guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = u32::try_from(guard.0.len()).unwrap_or(0);
        if count == 0 { TYPICAL } else { guard.0[random.below(count) as usize] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    #[test]
    fn it_draws_from_the_latest_only() {
        let (sends, random) = (RecentSends::default(), SeededRandom::new(1));
        assert_eq!(sends.draw(&random), TYPICAL);
        sends.note(Duration::from_secs(9));
        for _ in 0..KEPT {
            sends.note(Duration::from_millis(100));
        }
        assert_eq!(sends.draw(&random), Duration::from_millis(100));
    }
}
