//! How much room a file system has.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Room on a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What this user can still write.
    pub free: u64,
    /// All that it holds.
    pub total: u64,
}

/// The room where a file lies, or would lie.
///
/// # Errors
/// What the system says of the file system.
pub fn room(path: &Path) -> io::Result<Room> {
    let found = rustix::fs::statvfs(standing(path)?)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(Room { free: bytes(found.f_bavail), total: bytes(found.f_blocks) })
}

/// Whether two files lie, or would lie, on one file system.
///
/// # Errors
/// What the system says of either.
pub fn is_one(path: &Path, other: &Path) -> io::Result<bool> {
    Ok(standing(path)?.metadata()?.dev() == standing(other)?.metadata()?.dev())
}

/// The path itself, or the nearest directory above it that is there.
///
/// # Errors
/// There is no working directory.
pub fn standing(path: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    let found = absolute.ancestors().find(|part| part.exists());
    found.map(Path::to_owned).ok_or_else(|| io::ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_yet_to_be_made_lies_where_its_directory_does() {
        let dir = tempfile::tempdir().unwrap();
        let (here, there) = (room(dir.path()).unwrap(), room(&dir.path().join("not/yet.db")).unwrap());
        assert_eq!(here.total, there.total);
        assert!(here.free <= here.total && here.total > 0);
        assert!(is_one(dir.path(), &dir.path().join("not/yet.db")).unwrap());
        assert!(!is_one(dir.path(), Path::new("/proc")).unwrap());
    }
}
