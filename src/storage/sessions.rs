//! What is asked of the sessions and their rotations.

use super::error::StoreResult;
use crate::domain::{Session, SessionId, Timestamp, UserId};

/// Reads sessions.
#[expect(clippy::missing_errors_doc, reason = "a read fails where the database does, and nowhere else")]
pub trait ReadSessions {
    /// The session with this id, ended or not.
    fn session(&self, id: &SessionId) -> StoreResult<Option<Session>>;
    /// The sessions of a user that have not ended and whose refresh token is good at `now`, oldest first.
    fn live_sessions(&self, user: UserId, now: Timestamp) -> StoreResult<Vec<Session>>;
    /// The latest sessions of a user, ended or not, the newest first, at most `rows`.
    fn sessions_of(&self, user: UserId, rows: usize) -> StoreResult<Vec<Session>>;
    /// How many sessions, of all users, have not ended and can still be refreshed at `now`.
    fn count_live_sessions(&self, now: Timestamp) -> StoreResult<u64>;
    /// When a generation of a session was rotated away, while that is still known.
    fn rotated_at(&self, session: &SessionId, generation: u32) -> StoreResult<Option<Timestamp>>;
    /// Sessions in the order of their ids, ended or not, at most `rows`.
    fn sessions_after(&self, after: Option<&SessionId>, rows: usize) -> StoreResult<Vec<Session>>;
}

/// Writes sessions.
pub trait WriteSessions: ReadSessions {
    /// Writes a new session.
    ///
    /// # Errors
    /// [`StoreError::Broken`](super::StoreError::Broken) where there is no such user, or a session of this id.
    fn insert_session(&mut self, session: &Session) -> StoreResult<()>;
    /// Replaces the row of `session.id`, whose user stays, and counts its version on. What [`WriteSessions::touch_session`] noted of the same
    /// generation since the row was read stays.
    ///
    /// # Errors
    /// [`StoreError::Broken`](super::StoreError::Broken) where the row is not there, is another user's, or was replaced since it was
    /// read.
    fn update_session(&mut self, session: &mut Session) -> StoreResult<()>;
    /// Notes that a token of `generation` was seen at `at`, in one statement that needs no lock and leaves the version; not
    /// where the session has ended or is not there.
    ///
    /// # Errors
    /// Those of the database alone.
    fn touch_session(&mut self, id: &SessionId, generation: u32, at: Timestamp) -> StoreResult<()>;
    /// Notes that a generation was rotated away, and forgets those of the session that were before `forget`.
    ///
    /// # Errors
    /// [`StoreError::Broken`](super::StoreError::Broken) where it is noted already, or there is no such session.
    fn note_rotation(
        &mut self,
        session: &SessionId,
        generation: u32,
        at: Timestamp,
        forget: Timestamp,
    ) -> StoreResult<()>;
}
