//! What is asked of the test numbers.

use super::error::StoreResult;
use crate::domain::{PhoneNumber, TestNumber};

/// Reads test numbers.
#[expect(clippy::missing_errors_doc, reason = "a read fails where the database does, and nowhere else")]
pub trait ReadTestNumbers {
    /// The test number with this phone, ended or not.
    fn test_number(&self, phone: &PhoneNumber) -> StoreResult<Option<TestNumber>>;
    /// Every test number, in the order of the phones.
    fn test_numbers(&self) -> StoreResult<Vec<TestNumber>>;
}

/// Writes test numbers.
pub trait WriteTestNumbers: ReadTestNumbers {
    /// Writes a test number; an earlier one with its phone is replaced.
    ///
    /// # Errors
    /// Those of the database alone.
    fn keep_test_number(&mut self, number: &TestNumber) -> StoreResult<()>;
    /// Deletes a test number.
    ///
    /// # Errors
    /// Those of the database alone.
    fn forget_test_number(&mut self, phone: &PhoneNumber) -> StoreResult<()>;
}
