//! A certificate in two files, which are read again when they change.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::config::tls::Files;
use crate::domain::Help as _;
use crate::http::tls::Tls;

/// Both files, as they were when they were last read.
pub(super) struct Watched {
    files: Files,
    seen: Seen,
    /// Whether what is there now could not be used when it was last read.
    is_broken: bool,
}

/// By what two files are known to be the same as before; nothing of one that cannot be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen([Option<Look>; 2]);

/// Device, inode, size, and when it was changed, in seconds and nanoseconds.
type Look = (u64, u64, u64, i64, i64);

impl Seen {
    fn of(files: &Files) -> Self {
        let look = |path: &Path| -> io::Result<_> {
            let found = fs::metadata(path)?;
            Ok((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
        };
        Self([look(&files.cert).ok(), look(&files.key).ok()])
    }
}

impl From<Files> for Watched {
    /// They may have changed since they were read: the first look reads them again.
    fn from(files: Files) -> Self {
        Self { seen: Seen([None, None]), files, is_broken: false }
    }
}

impl Watched {
    /// Takes both files where they have changed, or neither. While one of two files is replaced they do not fit each other: what
    /// cannot be used is told if it is still the same at the next look, and once.
    pub(super) fn look(&mut self, tls: &Tls) {
        let seen = Seen::of(&self.files);
        let is_settled = seen == self.seen;
        if is_settled && !self.is_broken {
            return;
        }
        self.seen = seen;
        match Files::read(&self.files.cert, &self.files.key) {
            Ok(files) => {
                if !files.pair.is_same(&self.files.pair) {
                    super::told(&files.pair);
                }
                tls.adopt(files.pair.clone());
                (self.files, self.is_broken) = (files, false);
            }
            Err(error) if is_settled => {
                self.is_broken = false;
                tracing::error!(
                    %error,
                    help = error.help(),
                    "the certificate has changed and cannot be used; the one before stays in force"
                );
            }
            Err(_) => self.is_broken = true,
        }
    }
}
