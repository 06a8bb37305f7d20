//! What is asked of the changes of number that wait.

use super::error::StoreResult;
use crate::domain::{PhoneChange, PhoneNumber, Timestamp, UserId};

/// Reads changes of number.
#[expect(clippy::missing_errors_doc, reason = "a read fails where the database does, and nowhere else")]
pub trait ReadPhoneChanges {
    /// The change of a user that waits.
    fn phone_change(&self, user: UserId) -> StoreResult<Option<PhoneChange>>;
    /// The change to a number that waits; there is one at most.
    fn phone_change_to(&self, phone: &PhoneNumber) -> StoreResult<Option<PhoneChange>>;
    /// The change to a number, and that of the user who has it.
    fn phone_changes_about(&self, phone: &PhoneNumber) -> StoreResult<Vec<PhoneChange>>;
    /// Changes that are due at `at`, in the order in which they became due, at most `rows` after the one that is due then and of
    /// this user.
    fn phone_changes_due(
        &self,
        at: Timestamp,
        after: Option<(Timestamp, UserId)>,
        rows: usize,
    ) -> StoreResult<Vec<PhoneChange>>;
}

/// Writes changes of number.
pub trait WritePhoneChanges: ReadPhoneChanges {
    /// Writes a change, in the place of an earlier one of its user.
    ///
    /// # Errors
    /// [`StoreError::Broken`](super::StoreError::Broken) where there is no such user, or a change of another user to the number.
    fn keep_phone_change(&mut self, change: &PhoneChange) -> StoreResult<()>;
    /// Writes how many wrong codes were given to take a change back; false where it is gone.
    ///
    /// # Errors
    /// Those of the database alone.
    fn count_wrong_cancel(&mut self, change: &PhoneChange) -> StoreResult<bool>;
    /// Deletes the change of a user, whatever the number or only that to `phone`; false where there is none.
    ///
    /// # Errors
    /// Those of the database alone.
    fn delete_phone_change(&mut self, user: UserId, phone: Option<&PhoneNumber>) -> StoreResult<bool>;
}
