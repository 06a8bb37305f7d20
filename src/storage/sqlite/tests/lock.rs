use super::*;
use crate::storage::sqlite::tests::Bed;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};

#[test]
fn one_holder_at_a_time_and_the_other_is_told_who() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("freshk.db");
    let held = ServeLock::acquire(&database).unwrap();
    let refused = ServeLock::acquire(&database).unwrap_err();
    let pid = std::process::id();
    assert!(matches!(refused, LockError::Held { pid: Some(found), .. } if found == pid), "{refused}");
    assert!(refused.to_string().ends_with(&format!("in use by process {pid}")), "{refused}");
    assert!(refused.help().contains("stop that process"), "{}", refused.help());
    assert_eq!(Holder::of(&database).unwrap().unwrap().pid, Some(pid));
    drop(held);
    assert_eq!(Holder::of(&database).unwrap(), None);
    ServeLock::acquire(&database).unwrap();
    let mode = dir.path().join("freshk.db.lock").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn who_asks_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Holder::of(&dir.path().join("freshk.db")).unwrap(), None);
    assert_eq!(dir.path().read_dir().unwrap().count(), 0);
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let refused = ServeLock::acquire(Path::new("/nowhere/freshk.db")).unwrap_err();
    assert_eq!(refused.to_string(), "there is no directory /nowhere");
    assert!(refused.help().contains("create it"), "{}", refused.help());
}

#[test]
fn s41_the_lock_follows_no_link_and_truncates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (database, theirs) = (dir.path().join("freshk.db"), dir.path().join("theirs"));
    let lock = dir.path().join("freshk.db.lock");
    fs::write(&theirs, "theirs").unwrap();
    symlink(&theirs, &lock).unwrap();
    let refused = ServeLock::acquire(&database).unwrap_err();
    assert!(matches!(&refused, LockError::NotOurs { path } if *path == lock), "{refused}");
    fs::remove_file(&lock).unwrap();
    symlink(dir.path().join("made"), &lock).unwrap();
    assert!(matches!(ServeLock::acquire(&database), Err(LockError::NotOurs { .. })));
    assert!(!dir.path().join("made").exists());
    fs::remove_file(&lock).unwrap();
    fs::hard_link(&theirs, &lock).unwrap();
    assert!(matches!(ServeLock::acquire(&database), Err(LockError::NotOurs { .. })));
    fs::remove_file(&lock).unwrap();
    fs::copy(&theirs, &lock).unwrap();
    assert!(matches!(ServeLock::acquire(&database), Err(LockError::NotOurs { .. })));
    assert_eq!(fs::read_to_string(&lock).unwrap(), "theirs");
    assert_eq!(fs::read_to_string(&theirs).unwrap(), "theirs");
}

#[test]
fn s41_a_lock_that_root_makes_belongs_to_the_owner_of_the_database() {
    let bed = Bed::new();
    drop(bed.store());
    let (database, lock) = (bed.options().path, bed.dir.path().join("freshk.db.lock"));
    if chown(&database, Some(65534), Some(65534)).is_err() {
        // Only root can.
        return;
    }
    // One that an earlier version made is given back, too.
    fs::write(&lock, "1\n").unwrap();
    ServeLock::acquire(&database).unwrap();
    let found = lock.metadata().unwrap();
    assert_eq!((found.uid(), found.gid()), (65534, 65534));
}

#[test]
fn a_lock_that_was_deleted_lets_no_second_server_in_and_is_made_again() {
    let bed = Bed::new();
    let _store = bed.store();
    let database = bed.options().path;
    let path = beside(&database, ".lock");
    let held = ServeLock::acquire(&database).unwrap();
    held.serve().unwrap();
    fs::remove_file(&path).unwrap();
    let holder = Holder { pid: None, served: None };
    assert_eq!(Holder::of(&database).unwrap(), Some(holder), "known by the log");
    let refused = ServeLock::acquire(&database).unwrap_err();
    assert!(matches!(refused, LockError::Held { .. }), "{refused}");
    fs::remove_file(&path).unwrap();
    held.keep();
    let holder = Holder::of(&database).unwrap().unwrap();
    let served = FileId::of(&database).unwrap().to_string();
    assert_eq!((holder.pid, holder.served), (Some(std::process::id()), Some(served)));
    drop(held);
    ServeLock::acquire(&database).unwrap().serve().unwrap();
}

#[test]
fn whom_the_log_refuses_is_not_named_by_the_lock() {
    let bed = Bed::new();
    let _store = bed.store();
    let database = bed.options().path;
    let held = ServeLock::acquire(&database).unwrap();
    held.serve().unwrap();
    fs::remove_file(beside(&database, ".lock")).unwrap();
    drop(ServeLock::acquire(&database).unwrap_err());
    assert_eq!(fs::read_to_string(beside(&database, ".lock")).unwrap(), "");
}

#[test]
fn what_was_served_once_stays_known() {
    let bed = Bed::new();
    let store = bed.store();
    let database = bed.options().path;
    assert_eq!(served_once(&database), None);
    let held = ServeLock::acquire(&database).unwrap();
    assert_eq!(served_once(&database), None, "whoever restores or migrates does not serve");
    held.serve().unwrap();
    drop(held);
    assert_eq!(served_once(&database), Some(beside(&database, ".lock")));
    drop(ServeLock::acquire(&database).unwrap());
    assert_eq!(served_once(&database), Some(beside(&database, ".lock")));
    drop(store);
}

#[test]
fn s28_whatever_a_power_loss_leaves_of_the_file_is_no_reason_not_to_start() {
    let dir = tempfile::tempdir().unwrap();
    let (database, lock) = (dir.path().join("freshk.db"), dir.path().join("freshk.db.lock"));
    let whole = b"4711\ndatabase 8:131\n";
    for length in 0..=whole.len() {
        for zeros in [0, 1, whole.len()] {
            let mut left = whole[..length].to_vec();
            left.resize(length + zeros, 0);
            fs::write(&lock, &left).unwrap();
            let known = served_once(&database).is_some();
            assert_eq!(known, length > 5, "{left:?}");
            ServeLock::acquire(&database).unwrap_or_else(|error| panic!("{left:?}: {error}"));
        }
    }
    let notes =
        ["4711\n", "1\n", "4711\ndatabase -\n", "1\ndatabase 8:131\n", "47110\ndatabase 65024:10043395\n"];
    for (before, after) in notes.iter().flat_map(|before| notes.iter().map(move |after| (before, after))) {
        // The file was not made shorter before the new note was written over the old one.
        let mut left = after.as_bytes().to_vec();
        left.extend(before.bytes().skip(after.len()));
        fs::write(&lock, &left).unwrap();
        ServeLock::acquire(&database).unwrap_or_else(|error| panic!("{after:?} over {before:?}: {error}"));
    }
    for theirs in [&[0; 129][..], b"4711\nours", b"4711\ndatabase 8:131\nmore\n", b"\x004711\n", b"theirs"] {
        fs::write(&lock, theirs).unwrap();
        assert!(matches!(ServeLock::acquire(&database), Err(LockError::NotOurs { .. })), "{theirs:?}");
        assert_eq!(fs::read(&lock).unwrap(), theirs);
    }
}
