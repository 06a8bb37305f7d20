//! Who can read or change a file, and whose it is.

use std::path::Path;

/// Everybody on the machine.
pub(super) const OTHERS_READ: u32 = 0o004;

/// The same, and they can change it.
pub(super) const OTHERS_WRITE: u32 = 0o002;

/// Anybody but the owner, in any way.
pub(super) const GROUP_OR_OTHERS: u32 = 0o077;

/// Whether the mode of a file gives one of these rights.
#[cfg(unix)]
pub(super) fn gives(path: &Path, rights: u32) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & rights != 0)
}

/// Elsewhere the mode of a file says nothing.
#[cfg(not(unix))]
pub(super) fn gives(_: &Path, _: u32) -> bool {
    false
}

/// The owner of a file, if it is none of these users; of a link whoever owns either end.
#[cfg(unix)]
pub(super) fn stranger(path: &Path, known: &[u32]) -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    let owners = [std::fs::symlink_metadata(path), std::fs::metadata(path)].into_iter().flatten();
    owners.map(|found| found.uid()).find(|owner| !known.contains(owner))
}

/// Elsewhere it cannot be told.
#[cfg(not(unix))]
pub(super) fn stranger(_: &Path, _: &[u32]) -> Option<u32> {
    None
}
