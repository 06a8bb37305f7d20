//! What is asked of the text messages, and of the codes that found no sender.

use super::error::StoreResult;
use crate::domain::message::{Message, NewMessage, Unsent, UnsentCount};
use crate::domain::{ChallengeId, MessageId, PhoneNumber, Timestamp};

/// Reads messages.
#[expect(clippy::missing_errors_doc, reason = "a read fails where the database does, and nowhere else")]
pub trait ReadMessages {
    /// The message that the provider calls `sid`.
    fn message_by_sid(&self, sid: &str) -> StoreResult<Option<Message>>;
    /// The message with this id.
    fn message(&self, id: MessageId) -> StoreResult<Option<Message>>;
    /// The messages that carry a challenge's code, the oldest first.
    fn messages_of(&self, challenge: ChallengeId) -> StoreResult<Vec<Message>>;
    /// The latest messages with codes for a phone, the newest first, at most `rows`.
    fn messages_to(&self, phone: &PhoneNumber, rows: usize) -> StoreResult<Vec<Message>>;
    /// Messages with ids below `before`, the newest first, at most `rows`; each with whether its code was used.
    fn messages_before(&self, before: MessageId, rows: usize) -> StoreResult<Vec<(Message, bool)>>;
    /// How often codes found no sender since `since`, by minute and reason, the oldest first.
    fn unsent_since(&self, since: Timestamp) -> StoreResult<Vec<UnsentCount>>;
}

/// Writes messages.
pub trait WriteMessages: ReadMessages {
    /// Writes a message as *intended*.
    ///
    /// # Errors
    /// [`StoreError::Broken`](super::StoreError::Broken) where there is no such challenge.
    fn insert_message(&mut self, new: NewMessage) -> StoreResult<MessageId>;
    /// Replaces sender, SID, state, error, segments and time of a message, and counts its version on: the provider may count
    /// segments otherwise than the template did, and another sender may have taken it.
    ///
    /// # Errors
    /// [`StoreError::Broken`](super::StoreError::Broken) where the row is not there or was replaced since it was read, or where another message has the SID.
    fn update_message(&mut self, message: &mut Message) -> StoreResult<()>;
    /// Counts a code that found no sender; true for the first of its minute, which the caller then audits.
    ///
    /// # Errors
    /// Those of the database alone.
    fn count_unsent(&mut self, why: Unsent, at: Timestamp) -> StoreResult<bool>;
}
