//! A socket in the file system, for a proxy on this machine: its owner and its group may open it.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use super::BindError;
use super::listener::{Listener, Name};

/// Who may open it.
const MODE: u32 = 0o660;

/// Listens at `path`. What a server that is gone has left there is replaced; a server that answers is not.
pub(super) fn bind(path: &Path) -> Result<Listener, BindError> {
    match path.symlink_metadata() {
        Ok(found) if !found.file_type().is_socket() => return Err(BindError::NoSocket(path.to_owned())),
        Ok(_) if is_answered(path) => return Err(BindError::Answers(path.to_owned())),
        _ => {}
    }
    make(path).map_err(|error| BindError::Path { path: path.to_owned(), error })
}

/// Only a refusal shows that nobody is there.
fn is_answered(path: &Path) -> bool {
    !UnixStream::connect(path)
        .is_err_and(|error| matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound))
}

/// Under another name at first: whoever finds it under its own may open it already.
fn make(path: &Path) -> io::Result<Listener> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    if draft.symlink_metadata().is_ok_and(|found| found.file_type().is_socket()) {
        fs::remove_file(&draft)?;
    }
    let socket = UnixListener::bind(&draft)?;
    fs::set_permissions(&draft, Permissions::from_mode(MODE))?;
    fs::rename(&draft, path)?;
    let name = Name::of(path)?;
    Ok(Listener::at(socket, name))
}
