//! What is asked of the names in tokens, `iss` and `aud`, as they were at earlier starts.

use super::error::StoreResult;
use crate::domain::{NameClaim, Timestamp};

/// Reads the names.
#[expect(clippy::missing_errors_doc, reason = "a read fails where the database does, and nowhere else")]
pub trait ReadTokenNames {
    /// What tokens said in a claim when a server last started, and since when they did.
    fn token_name(&self, claim: NameClaim) -> StoreResult<Option<(String, Timestamp)>>;
}

/// Writes the names.
pub trait WriteTokenNames: ReadTokenNames {
    /// Stores what tokens say in a claim since `since`.
    ///
    /// # Errors
    /// Those of the database alone.
    fn store_token_name(&mut self, claim: NameClaim, name: Option<&str>, since: Timestamp)
    -> StoreResult<()>;
}
