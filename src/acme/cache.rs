//! Where the certificate, its key and the account with the authority are kept.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use crate::domain::Timestamp;
use crate::files::Draft;

/// The certificate and its key.
pub(super) const CERTIFICATE: &str = "certificate.pem";

/// The account with the authority.
pub(super) const ACCOUNT: &str = "account.json";

/// The authority that made the certificate, by its directory.
pub(super) const AUTHORITY: &str = "authority";

/// How the latest attempts went.
pub(super) const ATTEMPTS: &str = "attempts.json";

/// When the authority wants the certificate to be renewed.
pub(super) const WINDOW: &str = "window.json";

/// The questions of the authority that are open.
pub(super) const CHALLENGES: &str = "challenges.json";

/// Why nothing can be kept, or read.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct CacheError {
    /// Where.
    pub place: String,
    /// What is wrong.
    pub reason: String,
}

/// Keeps texts by their names; calls block.
pub trait Cache: Send + Sync {
    /// The text of a name.
    ///
    /// # Errors
    /// [`CacheError`]
    fn read(&self, name: &str) -> Result<Option<String>, CacheError>;

    /// Keeps a text in place of the one before.
    ///
    /// # Errors
    /// [`CacheError`]
    fn write(&self, name: &str, text: &str) -> Result<(), CacheError>;

    /// Whether this server may order a certificate now; while it may, no other one may.
    ///
    /// # Errors
    /// [`CacheError`]
    fn lease(&self, now: Timestamp) -> Result<bool, CacheError>;

    /// Lets another server order.
    ///
    /// # Errors
    /// [`CacheError`]
    fn release(&self) -> Result<(), CacheError>;

    /// Whether other servers read the same.
    fn is_shared(&self) -> bool;
}

/// A folder that only its owner can read, for one server.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The one at `path`, which is made when something is kept.
    pub const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    fn make(&self) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.0) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }

    fn failed(&self, error: &io::Error) -> CacheError {
        CacheError { place: self.0.display().to_string(), reason: error.to_string() }
    }
}

impl Cache for Folder {
    fn read(&self, name: &str) -> Result<Option<String>, CacheError> {
        match fs::read_to_string(self.0.join(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn write(&self, name: &str, text: &str) -> Result<(), CacheError> {
        let path = self.0.join(name);
        let written = self.make().and_then(|()| {
            let draft = Draft::beside(&path, "new", None)?;
            draft.file().write_all(text.as_bytes())?;
            draft.replace(&path)
        });
        written.map_err(|error| self.failed(&error))
    }

    fn lease(&self, _: Timestamp) -> Result<bool, CacheError> {
        Ok(true)
    }

    fn release(&self) -> Result<(), CacheError> {
        Ok(())
    }

    fn is_shared(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn s43_keys_are_kept_for_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acme");
        let folder = Folder::new(path.clone());
        assert_eq!(folder.read(CERTIFICATE).unwrap(), None);
        for text in ["first", "second"] {
            folder.write(CERTIFICATE, text).unwrap();
            assert_eq!(Folder::new(path.clone()).read(CERTIFICATE).unwrap().as_deref(), Some(text));
        }
        let mode = |path: PathBuf| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(path.clone()), mode(path.join(CERTIFICATE))), (0o700, 0o600));
        for bad in [path.join(CERTIFICATE), dir.path().join("none/acme")] {
            assert!(Folder::new(bad).write(CERTIFICATE, "third").is_err());
        }
    }
}
