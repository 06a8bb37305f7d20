//! What a failure of `SQLite` means to the flows.

use rusqlite::{Error, ErrorCode};

use crate::storage::StoreError;

/// Logs an error, once and here, and says what it means. Messages of `SQLite` name tables and columns, never values.
pub(super) fn fault(error: &Error) -> StoreError {
    let fault = meaning(error);
    let code = error.sqlite_extended_error_code();
    tracing::error!(%error, code, %fault, "the database failed");
    fault
}

/// A rule of ours that was broken is no reason to try again; everything else is the machine's.
fn meaning(error: &Error) -> StoreError {
    match error.sqlite_error_code() {
        None
        | Some(
            ErrorCode::ConstraintViolation
            | ErrorCode::TypeMismatch
            | ErrorCode::TooBig
            | ErrorCode::ApiMisuse
            | ErrorCode::ParameterOutOfRange
            | ErrorCode::Unknown,
        ) => StoreError::Broken,
        Some(_) => StoreError::Unavailable,
    }
}

/// An update that must have found its one row.
///
/// # Errors
/// [`Error::StatementChangedRows`] if it did not.
pub(super) fn one_row(changed: usize) -> rusqlite::Result<()> {
    if changed == 1 { Ok(()) } else { Err(Error::StatementChangedRows(changed)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    fn of(code: i32) -> StoreError {
        meaning(&Error::SqliteFailure(ffi::Error::new(code), None))
    }

    #[test]
    fn the_machines_faults_pass_and_ours_stay() {
        for code in
            [ffi::SQLITE_FULL, ffi::SQLITE_IOERR, ffi::SQLITE_BUSY, ffi::SQLITE_READONLY, ffi::SQLITE_CORRUPT]
        {
            assert_eq!(of(code), StoreError::Unavailable, "{code}");
        }
        for code in [ffi::SQLITE_CONSTRAINT, ffi::SQLITE_MISMATCH, ffi::SQLITE_ERROR] {
            assert_eq!(of(code), StoreError::Broken, "{code}");
        }
        assert_eq!(meaning(&Error::StatementChangedRows(0)), StoreError::Broken);
    }
}
