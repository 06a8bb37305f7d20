//! What is asked of the exchanges: foreign refresh tokens that were exchanged or logged out.

use super::error::StoreResult;
use crate::domain::Exchange;

/// Reads exchanges.
#[expect(clippy::missing_errors_doc, reason = "a read fails where the database does, and nowhere else")]
pub trait ReadExchanges {
    /// What became of the foreign refresh token of this name, until it has expired.
    fn exchange(&self, jti: &str) -> StoreResult<Option<Exchange>>;
}

/// Writes exchanges.
pub trait WriteExchanges: ReadExchanges {
    /// Writes what became of a foreign refresh token, once.
    ///
    /// # Errors
    /// [`StoreError::Broken`](super::StoreError::Broken) where one of this name is written already.
    fn insert_exchange(&mut self, exchange: &Exchange) -> StoreResult<()>;
}
