//! Room on the disk for taking an import back.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// As much as a slice puts into the write-ahead log, and from there into the database, several times over.
const BYTES: usize = 4 * 1024 * 1024;

/// Deleting users takes room too, and on a disk that is full there is none: so much is held until it is needed, or dropped.
pub(super) struct Room(PathBuf);

impl Room {
    /// Takes it, beside the database. What an import that was killed has left is taken over.
    ///
    /// # Errors
    /// Where there is not even so much.
    pub(super) fn take(database: &Path) -> io::Result<Self> {
        let room = Self(database.with_added_extension("import"));
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&room.0)?;
        file.write_all(&vec![0; BYTES])?;
        file.sync_data()?;
        Ok(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // One that stays takes room and does no harm; the next import takes it over.
        drop(fs::remove_file(&self.0));
    }
}
