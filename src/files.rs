//! Files that are written beside others: made new and never through a link, readable by their owner alone, and owned by
//! whoever owns what they stand beside, also when root writes them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::random::{Random as _, SystemRandom};

/// The mode of files that hold people's data or secrets.
pub const PRIVATE: u32 = 0o600;

/// How many names are tried before the directory is given up: two of 64 random bits are never equal by chance.
const NAMES: usize = 16;

/// Who owns a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
}

/// Which file a path leads to, however it is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl Owner {
    /// The owner of the file at `path`; of its directory where there is no such file.
    ///
    /// # Errors
    /// Whatever the system says of both.
    pub fn beside(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path).or_else(|_| fs::metadata(directory(path)))?;
        Ok(Self { uid: found.uid(), gid: found.gid() })
    }

    /// Gives a file to this owner. Where this process may not do that, or the file system knows no owners, the file stays
    /// as it is.
    ///
    /// # Errors
    /// Anything else that the system says.
    pub fn give(self, file: &File) -> io::Result<()> {
        let found = file.metadata()?;
        if (found.uid(), found.gid()) == (self.uid, self.gid) {
            return Ok(());
        }
        match fchown(file, Some(self.uid), Some(self.gid)) {
            Err(error) if !matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => {
                Err(error)
            }
            _ => Ok(()),
        }
    }
}

impl FileId {
    /// Of the file that `path` leads to.
    ///
    /// # Errors
    /// Whatever the system says of it.
    pub fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|found| Self::from(&found))
    }
}

impl From<&fs::Metadata> for FileId {
    fn from(found: &fs::Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino() }
    }
}

impl std::fmt::Display for FileId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.device, self.inode)
    }
}

/// A new file under a random name beside the one that it is to become. It is deleted when it is dropped before that.
#[derive(Debug)]
pub struct Draft {
    file: File,
    path: PathBuf,
    is_done: bool,
}

impl Draft {
    /// Makes `<target>.<mark>-<16 hexadecimal digits>`, for its owner alone: `owner`, or else this process. A name that is
    /// taken is passed over.
    ///
    /// # Errors
    /// A directory that is not there, cannot be written or has no room.
    pub fn beside(target: &Path, mark: &str, owner: Option<Owner>) -> io::Result<Self> {
        let names = std::iter::repeat_with(|| beside(target, &format!(".{mark}-{}", random_name())));
        let (file, path) = make(names.take(NAMES))?;
        let draft = Self { file, path, is_done: false };
        if let Some(owner) = owner {
            owner.give(&draft.file)?;
        }
        Ok(draft)
    }

    /// Where it is until it has its name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file, to write to.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Makes what was written durable and gives it the name `target`, in place of whatever has that name; a link of that
    /// name is replaced, not followed.
    ///
    /// # Errors
    /// Whatever the system says; then `target` is as it was.
    pub fn replace(mut self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        if FileId::from(&fs::symlink_metadata(&self.path)?) != FileId::from(&self.file.metadata()?) {
            return Err(io::Error::other("another process has replaced the file while it was written"));
        }
        fs::rename(&self.path, target)?;
        self.is_done = true;
        sync_directory(target)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_done {
            // What is left of it is of no use; that it cannot be deleted changes nothing.
            drop(fs::remove_file(&self.path));
        }
    }
}

/// Opens a file at the first of `names` that is free; never one that is there.
fn make(names: impl Iterator<Item = PathBuf>) -> io::Result<(File, PathBuf)> {
    for name in names {
        match File::options().read(true).write(true).create_new(true).mode(PRIVATE).open(&name) {
            Ok(file) => return Ok((file, name)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// `path`, or where that name is taken `path` with random digits before its last suffix.
pub fn free_name(path: PathBuf) -> PathBuf {
    if path.symlink_metadata().is_err() {
        return path;
    }
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{}", random_name()));
    if let Some(suffix) = path.extension() {
        name.push(".");
        name.push(suffix);
    }
    path.with_file_name(name)
}

/// Opens a file that may be there already, and makes it if it is not: with `mode` at most, for `owner`, for appending or
/// for reading and writing. Nothing that is there is changed.
///
/// # Errors
/// A link, or anything else than a regular file with one name, is [`ErrorKind::AlreadyExists`].
pub fn open_own(path: &Path, appends: bool, mode: u32, owner: Owner) -> io::Result<File> {
    let mut options = File::options();
    options.read(!appends).write(!appends).append(appends).mode(mode);
    // Neither is a link followed, nor is a pipe waited for.
    let no_follow = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options.custom_flags(no_follow.bits().cast_signed());
    match options.clone().create_new(true).open(path) {
        Ok(file) => owner.give(&file).map(|()| file),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let found = path.symlink_metadata()?;
            if !found.is_file() || found.nlink() != 1 {
                return Err(error);
            }
            let file = options.open(path)?;
            if FileId::from(&file.metadata()?) == FileId::from(&found) { Ok(file) } else { Err(error) }
        }
        Err(error) => Err(error),
    }
}

/// The path of a file that stands beside another: its name and a suffix.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// The directory of a file.
pub fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

/// Makes a directory and those above it; each new one is its parent's owner's.
///
/// # Errors
/// Whatever the system says of it.
pub fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = directory(path);
    make_directory(parent)?;
    match fs::create_dir(path) {
        Ok(()) => Owner::beside(parent)?.give(&File::open(path)?),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes the names in the directory of a file durable.
///
/// # Errors
/// Whatever the system says of it.
pub fn sync_directory(of: &Path) -> io::Result<()> {
    File::open(directory(of))?.sync_all()
}

/// 16 hexadecimal digits that nobody can foresee.
pub fn random_name() -> String {
    let mut bytes = [0; 8];
    SystemRandom.fill(&mut bytes);
    data_encoding::HEXLOWER.encode(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    /// Nobody's user and group.
    const NOBODY: Owner = Owner { uid: 65534, gid: 65534 };

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn s41_a_draft_is_new_and_takes_the_place_of_a_link_without_following_it() {
        let dir = tempfile::tempdir().unwrap();
        let (target, theirs) = (dir.path().join("users.csv"), dir.path().join("theirs"));
        fs::write(&theirs, "theirs").unwrap();
        symlink(&theirs, &target).unwrap();
        let draft = Draft::beside(&target, "part", None).unwrap();
        draft.file().write_all(b"ours").unwrap();
        assert_eq!(mode(draft.path()), PRIVATE);
        draft.replace(&target).unwrap();
        assert_eq!(fs::read_to_string(&theirs).unwrap(), "theirs");
        assert_eq!(fs::read_to_string(&target).unwrap(), "ours");
        assert!(!target.symlink_metadata().unwrap().is_symlink());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left aside");
    }

    #[test]
    fn s41_a_name_that_is_taken_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["file", "link", "directory", "free", "other"].map(|name| dir.path().join(name));
        fs::write(&names[0], "theirs").unwrap();
        symlink("/nowhere/at/all", &names[1]).unwrap();
        fs::create_dir(&names[2]).unwrap();
        let (_, made) = make(names.clone().into_iter()).unwrap();
        assert_eq!(made, names[3]);
        assert_eq!(fs::read_to_string(&names[0]).unwrap(), "theirs");
        let taken = dir.path().join("freshk.db.before.bak");
        assert_eq!(free_name(taken.clone()), taken);
        symlink("/nowhere/at/all", &taken).unwrap();
        let free = free_name(taken).file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(free.starts_with("freshk.db.before-"), "{free}");
    }

    #[test]
    fn a_draft_that_comes_to_nothing_is_deleted() {
        let dir = tempfile::tempdir().unwrap();
        drop(Draft::beside(&dir.path().join("x"), "part", None).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_draft_that_somebody_replaced_gets_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("x");
        let draft = Draft::beside(&target, "part", None).unwrap();
        fs::rename(draft.path(), dir.path().join("moved")).unwrap();
        fs::write(draft.path(), "theirs").unwrap();
        assert!(draft.replace(&target).is_err());
        assert!(!target.exists());
    }

    #[test]
    fn s41_what_is_there_is_opened_unless_it_is_a_link_or_something_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("freshk.db.lock");
        let owner = Owner::beside(&path).unwrap();
        drop(open_own(&path, false, 0o600, owner).unwrap());
        fs::write(&path, "1\n").unwrap();
        let mut text = String::new();
        open_own(&path, false, 0o600, owner).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), mode(&path)), ("1\n", 0o600), "nothing is truncated");
        let other = dir.path().join("other");
        fs::hard_link(&path, &other).unwrap();
        let links = dir.path().join("links");
        symlink(&path, &links).unwrap();
        let dangling = dir.path().join("dangling");
        symlink(dir.path().join("made"), &dangling).unwrap();
        for taken in [&path, &links, &dangling, dir.path()] {
            let refused = open_own(taken, false, 0o600, owner).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::AlreadyExists, "{}", taken.display());
        }
        assert!(!dir.path().join("made").exists());
    }

    #[test]
    fn s41_root_gives_its_files_to_the_owner_of_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("freshk.db");
        if chown(dir.path(), Some(NOBODY.uid), Some(NOBODY.gid)).is_err() {
            // Only root can.
            return;
        }
        assert_eq!(Owner::beside(&path).unwrap(), NOBODY, "the directory's");
        let draft = Draft::beside(&path, "part", Some(NOBODY)).unwrap();
        draft.replace(&path).unwrap();
        chown(dir.path(), Some(0), Some(0)).unwrap();
        assert_eq!(Owner::beside(&path).unwrap(), NOBODY, "the file's own");
    }
}
