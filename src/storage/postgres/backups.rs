//! The one row of `backup_stamp`: others make the backups, and say so.

use super::migrate::{self, MIGRATIONS};
use super::open::{on_a_thread, told};
use super::open_error::PostgresError;
use super::settings::PostgresSettings;
use super::tx::{PostgresTx, first};
use crate::domain::Timestamp;
use crate::storage::StoreResult;
use crate::storage::backups::ReadBackups;

const READ: &str = "SELECT at FROM backup_stamp";

const NOTE: &str = "INSERT INTO backup_stamp (id, at) \
     VALUES (1, (extract(epoch FROM clock_timestamp()) * 1000)::BIGINT) \
     ON CONFLICT (id) DO UPDATE SET at = excluded.at";

impl ReadBackups for PostgresTx<'_> {
    fn noted_backup(&self) -> StoreResult<Option<Timestamp>> {
        self.row(READ, &[], first)
    }
}

/// Notes that a backup was made now.
///
/// # Errors
/// [`PostgresError`], in words for the operator.
pub fn note_backup(settings: &PostgresSettings) -> Result<(), PostgresError> {
    on_a_thread(settings, |conn, _| {
        migrate::run(conn, settings, MIGRATIONS, false)?;
        conn.execute(NOTE, &[]).map(drop).map_err(|failure| told(settings, &failure))
    })
}
