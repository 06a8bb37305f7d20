//! Backups of the file are files, of which nothing is noted in it.

use super::tx::SqliteTx;
use crate::domain::Timestamp;
use crate::storage::StoreResult;
use crate::storage::backups::ReadBackups;

impl ReadBackups for SqliteTx<'_> {
    fn noted_backup(&self) -> StoreResult<Option<Timestamp>> {
        Ok(None)
    }
}
