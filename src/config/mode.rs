//! Who can read a file.

use std::path::Path;

/// Everybody on the machine.
pub(super) const OTHERS_READ: u32 = 0o004;

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
