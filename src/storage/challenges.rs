//! What is asked of the challenges.

use super::error::StoreResult;
use crate::domain::code::CodeHash;
use crate::domain::{
    Challenge, ChallengeId, DeliveryId, Mode, NewChallenge, PhoneNumber, Purpose, RunId, Timestamp,
};

/// Reads challenges.
#[expect(clippy::missing_errors_doc, reason = "a read fails where the database does, and nowhere else")]
pub trait ReadChallenges {
    /// The newest challenges of a phone in a mode and for a purpose, newest first, at most `limit`.
    fn challenges(
        &self,
        mode: Mode,
        phone: &PhoneNumber,
        purpose: Purpose,
        limit: usize,
    ) -> StoreResult<Vec<Challenge>>;
    /// The newest challenge of a phone in a mode and for a purpose that a device asked for, or that none did.
    fn newest_challenge(
        &self,
        mode: Mode,
        phone: &PhoneNumber,
        purpose: Purpose,
        by_device: bool,
    ) -> StoreResult<Option<Challenge>>;
    /// Whether a phone has a code in a mode, for whatever purpose, that may be given at `at`.
    fn has_live_code(&self, mode: Mode, phone: &PhoneNumber, at: Timestamp) -> StoreResult<bool>;
    /// One challenge.
    fn challenge(&self, id: ChallengeId) -> StoreResult<Option<Challenge>>;
    /// The challenge whose delivery this id finds.
    fn challenge_by_delivery(&self, id: &DeliveryId) -> StoreResult<Option<Challenge>>;
    /// Challenges that were created before `before` and do not say what came of their sending, oldest first, at most `limit`;
    /// without those that one of the `spared` runs leads.
    fn unsettled_before(
        &self,
        before: Timestamp,
        spared: &[RunId],
        limit: usize,
    ) -> StoreResult<Vec<Challenge>>;
    /// Challenges with ids below `before`, the newest first, at most `rows`.
    fn challenges_before(&self, before: ChallengeId, rows: usize) -> StoreResult<Vec<Challenge>>;
}

/// Writes challenges.
pub trait WriteChallenges: ReadChallenges {
    /// Writes a challenge as *sending*; `hash` gets its number and gives the hash of its code.
    ///
    /// # Errors
    /// Those of the database alone.
    fn insert_challenge(
        &mut self,
        challenge: NewChallenge,
        hash: &dyn Fn(ChallengeId) -> CodeHash,
    ) -> StoreResult<Challenge>;
    /// Replaces state, attempts, use and what came of the sending, and counts the version on.
    ///
    /// # Errors
    /// [`StoreError::Broken`](super::StoreError::Broken) where the row is not there, or was replaced since it was read.
    fn update_challenge(&mut self, challenge: &mut Challenge) -> StoreResult<()>;
    /// Deletes all challenges of a phone with their messages, or only those whose code can no longer be given at `over_at`; gives
    /// how many challenges those were.
    ///
    /// # Errors
    /// Those of the database alone.
    fn delete_challenges_of(&mut self, phone: &PhoneNumber, over_at: Option<Timestamp>)
    -> StoreResult<usize>;
    /// Deletes codes made before `before` that cannot be given any more at `now`, and their messages; looks at `rows`
    /// after `after` at most. Gives how many were deleted, and where to go on.
    ///
    /// # Errors
    /// Those of the database alone.
    fn purge_codes(
        &mut self,
        before: Timestamp,
        now: Timestamp,
        after: ChallengeId,
        rows: usize,
    ) -> StoreResult<(usize, Option<ChallengeId>)>;
}
