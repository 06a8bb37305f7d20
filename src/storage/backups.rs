//! What is asked of backups that others make.

use super::error::StoreResult;
use crate::domain::Timestamp;

/// Reads when a backup was noted.
pub trait ReadBackups {
    /// When somebody last said that a backup was made, where others make them; none of a file, whose backups are looked at
    /// themselves.
    ///
    /// # Errors
    /// Those of the database alone.
    fn noted_backup(&self) -> StoreResult<Option<Timestamp>>;
}
