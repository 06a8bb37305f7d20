//! The pauses between two slices: a running server writes in them; where there is none, nobody waits.

use std::time::Duration;

use crate::cli::admin::AdminContext;
use crate::cli::engine::Place;
use crate::clock::Stopwatch;

/// `SQLite` waits longer and longer between its tries for the lock; a pause of half as long as it was held, and this,
/// always meets one of the server's.
const PAUSE: Duration = Duration::from_millis(10);

/// How often it is asked whether a server runs, which may start or stop meanwhile.
const ASK: Duration = Duration::from_secs(1);

/// How an import goes on after a slice.
pub(super) struct Pace<'a> {
    admin: &'a AdminContext,
    asked: Stopwatch,
    is_served: bool,
}

impl<'a> Pace<'a> {
    pub(super) fn new(admin: &'a AdminContext) -> Self {
        Self { admin, asked: Stopwatch::start(), is_served: is_served(admin) }
    }

    /// How long to wait after a slice that held the database for `held`: not at all where no server runs.
    pub(super) fn after(&mut self, held: Duration) -> Duration {
        if self.asked.elapsed() >= ASK {
            (self.asked, self.is_served) = (Stopwatch::start(), is_served(self.admin));
        }
        if self.is_served { PAUSE + held / 2 } else { Duration::ZERO }
    }

    /// Whether a server ran when it was last asked for; it empties the log.
    pub(super) const fn is_served(&self) -> bool {
        self.is_served
    }
}

/// If it cannot be told, somebody may wait.
fn is_served(admin: &AdminContext) -> bool {
    Place::of(&admin.config).may_be_served()
}
