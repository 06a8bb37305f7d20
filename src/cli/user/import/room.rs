//! Room on the disk for taking an import back.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use crate::files::Draft;

/// As much as a slice puts into the write-ahead log, and from there into the database, several times over.
const BYTES: usize = 4 * 1024 * 1024;

/// Deleting users takes room too, and on a disk that is full there is none: so much is held until it is needed, or dropped.
/// It has no name, so an import that is killed leaves nothing behind.
pub(super) struct Room {
    _file: File,
}

impl Room {
    /// Takes it, beside the database.
    ///
    /// # Errors
    /// Where there is not even so much.
    pub(super) fn take(database: &Path) -> io::Result<Self> {
        let draft = Draft::beside(database, "import", None)?;
        let mut file = draft.file().try_clone()?;
        fs::remove_file(draft.path())?;
        file.write_all(&vec![0; BYTES])?;
        file.sync_data()?;
        Ok(Self { _file: file })
    }
}
