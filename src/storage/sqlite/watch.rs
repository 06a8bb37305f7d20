//! Whether the files that are open are still those at their paths. A database that is deleted or replaced while it is open
//! goes on taking writes, and nobody finds them again.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::{Connection, ffi};

use super::connect::{self, Role, log_of};
use crate::files::{FileId, Owner};

/// The database, its write-ahead log and the index of that, as they were when they were opened. `SQLite` replaces none of
/// them while a connection is open.
pub(super) struct FileWatch {
    path: PathBuf,
    owner: Owner,
    noted: Vec<(PathBuf, FileId)>,
    is_lost: AtomicBool,
    /// Whether the write-ahead log may hold somebody who was erased.
    holds_erased: AtomicBool,
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// All as it was at the last look.
    Unchanged,
    /// Since the last look a file went away, or another one came in its place.
    Lost,
    /// Since the last look the very files that are open came back.
    Regained,
}

impl FileWatch {
    /// Notes the files of a database that a connection holds open.
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        let mut noted = vec![(path.to_owned(), FileId::of(path)?)];
        for log in [log_of(path, "-wal"), log_of(path, "-shm")] {
            if let Ok(id) = FileId::of(&log) {
                noted.push((log, id));
            }
        }
        let owner = Owner::beside(path)?;
        Ok(Self {
            path: path.to_owned(),
            owner,
            noted,
            is_lost: AtomicBool::default(),
            holds_erased: AtomicBool::default(),
        })
    }

    /// Where the database was opened.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Who owned it then.
    pub(super) fn owner(&self) -> Owner {
        self.owner
    }

    /// Which file is open as the database.
    pub(super) fn database(&self) -> FileId {
        self.noted[0].1
    }

    /// Whether the last look found that a file is gone or replaced.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::SeqCst)
    }

    /// Notes that somebody was erased whom the write-ahead log may still hold.
    pub(super) fn note_erasure(&self) {
        self.holds_erased.store(true, Ordering::SeqCst);
    }

    /// Whether that was noted since this was asked last.
    pub(super) fn take_erasure(&self) -> bool {
        self.holds_erased.swap(false, Ordering::SeqCst)
    }

    /// Looks at the paths.
    pub(super) fn look(&self) -> Look {
        let is_lost = self.missing().is_some();
        match (self.is_lost.swap(is_lost, Ordering::SeqCst), is_lost) {
            (false, true) => Look::Lost,
            (true, false) => Look::Regained,
            _ => Look::Unchanged,
        }
    }

    /// The first path that does not lead to the file that is open any more. A path that cannot be looked at tells nothing.
    pub(super) fn missing(&self) -> Option<&Path> {
        let is_gone = |path: &Path, id: &FileId| match FileId::of(path) {
            Ok(found) => found != *id,
            Err(error) => matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
        };
        self.noted.iter().find(|(path, id)| is_gone(path, id)).map(|(path, _)| path.as_path())
    }

    /// Opens another connection, unless the path leads to another file by now.
    pub(super) fn open(&self, role: Role, busy: Duration) -> rusqlite::Result<Connection> {
        let conn = Connection::open_with_flags(&self.path, role.flags())?;
        self.confirm()?;
        connect::prepare(&conn, role, busy)?;
        Ok(conn)
    }

    /// Refuses a connection that was just opened by the path where that leads to another file by now. Nothing must be read
    /// through it: it would take the log of the one for that of the other.
    pub(super) fn confirm(&self) -> rusqlite::Result<()> {
        if self.missing().is_none() {
            return Ok(());
        }
        let moved = ffi::Error::new(ffi::SQLITE_READONLY_DBMOVED);
        Err(rusqlite::Error::SqliteFailure(moved, Some("the database was deleted or replaced".to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::beside;
    use crate::storage::sqlite::open;
    use crate::storage::sqlite::tests::Bed;
    use std::fs;

    #[test]
    fn what_is_deleted_or_replaced_is_noticed_and_so_is_its_return() {
        for suffix in ["", "-wal", "-shm"] {
            let bed = Bed::new();
            let (_conn, path) = open::open(&bed.options()).unwrap();
            let watch = FileWatch::begin(&path).unwrap();
            assert_eq!(watch.look(), Look::Unchanged);
            let (file, aside) = (beside(&path, suffix), bed.dir.path().join("aside"));
            fs::rename(&file, &aside).unwrap();
            assert_eq!((watch.look(), watch.is_lost()), (Look::Lost, true), "{suffix}");
            assert_eq!(watch.look(), Look::Unchanged);
            assert!(watch.confirm().is_err());
            fs::write(&file, "another").unwrap();
            assert_eq!((watch.look(), watch.is_lost()), (Look::Unchanged, true), "{suffix}");
            fs::rename(&aside, &file).unwrap();
            assert_eq!((watch.look(), watch.is_lost()), (Look::Regained, false), "{suffix}");
            watch.confirm().unwrap();
        }
    }

    #[test]
    fn a_link_that_leads_elsewhere_by_now_is_noticed() {
        let bed = Bed::new();
        let (_conn, path) = open::open(&bed.options()).unwrap();
        let link = bed.dir.path().join("link.db");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let watch = FileWatch::begin(&link).unwrap();
        assert_eq!(watch.noted.len(), 3, "the log stands beside the file, not beside the link");
        fs::remove_file(&link).unwrap();
        fs::write(bed.dir.path().join("other.db"), "").unwrap();
        std::os::unix::fs::symlink(bed.dir.path().join("other.db"), &link).unwrap();
        assert_eq!(watch.look(), Look::Lost);
    }
}
