//! Restoring: what it refuses, and what it keeps.

use std::os::unix::fs::MetadataExt as _;

use crate::place::Place;

fn username(place: &Place) -> String {
    place.sql().query_row("SELECT username FROM users", [], |row| row.get(0)).unwrap()
}

#[test]
fn s31_what_is_replaced_is_kept_and_stale_logs_go() {
    let place = Place::new();
    place.database("old");
    place.ok(&["db", "backup", "copy.db"]);
    // A connection that goes on holding the log is a process that uses the database.
    let user = place.sql();
    user.execute("UPDATE users SET username = 'new'", []).unwrap();
    assert!(place.path("freshk.db-wal").exists());
    drop(user);
    let kept = place.json(&["db", "restore", "copy.db", "--yes"])["kept"].as_str().unwrap().to_owned();
    assert!(!place.path("freshk.db-wal").exists() && !place.path("freshk.db-shm").exists());
    assert_eq!(username(&place), "old");
    let kept = rusqlite::Connection::open(kept).unwrap();
    let name: String = kept.query_row("SELECT username FROM users", [], |row| row.get(0)).unwrap();
    assert_eq!(name, "new");
    assert!(place.serve(&[]).stop(), "a server runs on it");
}

#[test]
fn it_asks_and_where_nobody_can_be_asked_it_wants_yes() {
    let place = Place::new();
    place.database("old");
    place.ok(&["db", "backup", "copy.db"]);
    let (code, said) = place.fails(&["db", "restore", "copy.db"]);
    assert!(code == 2 && said.contains("add --yes"), "{said}");
}

#[test]
fn what_is_no_backup_is_refused_and_nothing_changes() {
    let place = Place::new();
    place.database("old");
    let foreign = rusqlite::Connection::open(place.path("foreign.db")).unwrap();
    foreign.execute_batch("CREATE TABLE t (x); PRAGMA application_id = 7").unwrap();
    place.ok(&["db", "backup", "newer.db"]);
    let newer = rusqlite::Connection::open(place.path("newer.db")).unwrap();
    newer.pragma_update(None, "user_version", 999).unwrap();
    std::fs::write(place.path("rubbish.db"), "rubbish ".repeat(2000)).unwrap();
    for (file, words) in [
        ("foreign.db", "belongs to another program"),
        ("newer.db", "has schema 999"),
        ("rubbish.db", "is not a database"),
        ("missing.db", "there is no such file"),
    ] {
        let (code, said) = place.fails(&["db", "restore", file, "--yes"]);
        assert!(code == 1 && said.contains(words), "{file}: {said}");
    }
    assert_eq!(username(&place), "old");
    assert!(!place.files().iter().any(|name| name.contains("before-restore")), "{:?}", place.files());
}

#[test]
fn a_database_in_use_by_a_command_is_left_alone() {
    let place = Place::new();
    place.database("old");
    place.ok(&["db", "backup", "copy.db"]);
    let user = place.sql();
    user.execute_batch("BEGIN; SELECT * FROM users").unwrap();
    let (code, said) = place.fails(&["db", "restore", "copy.db", "--yes"]);
    assert!(code == 1 && said.contains("is in use by another process"), "{said}");
    assert!(!place.files().iter().any(|name| name.contains("restore")), "{:?}", place.files());
    drop(user);
    assert_eq!(username(&place), "old");
}

#[test]
fn a_damaged_database_is_replaced_and_its_stale_log_is_not_read_into_the_new_one() {
    let place = Place::new();
    place.database("old");
    place.ok(&["db", "backup", "copy.db"]);
    std::fs::write(place.path("freshk.db"), "rubbish ".repeat(2000)).unwrap();
    std::fs::write(place.path("freshk.db-wal"), "a log").unwrap();
    let kept = place.json(&["db", "restore", "copy.db", "--yes"])["kept"].as_str().unwrap().to_owned();
    assert_eq!(username(&place), "old");
    assert!(std::fs::read_to_string(kept).unwrap().starts_with("rubbish "));
    assert_eq!(place.json(&["db", "check"])["ok"], true);
}

#[test]
fn s31_a_backup_with_one_flipped_bit_is_refused_and_nothing_changes() {
    let place = Place::new();
    place.database("old");
    place.ok(&["db", "backup", "copy.db"]);
    place.sql().execute("UPDATE users SET username = 'new'", []).unwrap();
    let good = std::fs::read(place.path("copy.db")).unwrap();
    let mut bytes = good.clone();
    // In a page that nobody uses the check of the file finds nothing.
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(place.path("copy.db"), bytes).unwrap();
    let (code, said) = place.fails(&["db", "restore", "copy.db", "--yes"]);
    assert!(code == 1 && said.contains("copy.db.sha256") && said.contains("choose another backup"), "{said}");
    assert_eq!(username(&place), "new");
    std::fs::write(place.path("copy.db"), good).unwrap();
    std::fs::remove_file(place.path("copy.db.sha256")).unwrap();
    let output = place.run(&["db", "restore", "copy.db", "--yes"]);
    let said = crate::place::stderr(&output);
    assert!(output.status.success() && said.contains("there is no copy.db.sha256"), "{said}");
    assert_eq!(username(&place), "old");
}

#[test]
fn who_restores_a_damaged_backup_is_not_told_to_restore_the_latest() {
    let place = Place::new();
    place.database("old");
    place.ok(&["db", "backup", "copy.db"]);
    std::fs::remove_file(place.path("copy.db.sha256")).unwrap();
    let mut bytes = std::fs::read(place.path("copy.db")).unwrap();
    bytes[100..4096].fill(0xff);
    std::fs::write(place.path("copy.db"), bytes).unwrap();
    let (code, said) = place.fails(&["db", "restore", "copy.db", "--yes"]);
    assert!(code == 1 && said.contains("copy.db is damaged\nhelp: choose another backup"), "{said}");
    assert!(!said.contains("latest"), "{said}");
}

#[test]
fn s41_what_root_writes_belongs_to_the_owner_of_the_database() {
    let place = Place::new();
    place.database("old");
    std::fs::create_dir(place.path("backups")).unwrap();
    let owner = (65534, 65533);
    let is_root = std::os::unix::fs::chown(place.path(""), Some(owner.0), Some(owner.1)).is_ok();
    if !is_root {
        return;
    }
    for name in place.files() {
        std::os::unix::fs::chown(place.path(&name), Some(owner.0), Some(owner.1)).unwrap();
    }
    std::fs::remove_file(place.path("freshk.db.lock")).unwrap();
    place.ok(&["db", "vacuum"]);
    place.ok(&["db", "backup", "copy.db"]);
    let backup = place.command(&["db", "backup"], &[("FRESHK_BACKUP__DIR", "backups")]).output().unwrap();
    assert!(backup.status.success());
    place.ok(&["db", "restore", "copy.db", "--yes"]);
    // The directory's where there is no database.
    std::fs::remove_file(place.path("freshk.db")).unwrap();
    place.ok(&["db", "restore", "copy.db", "--yes"]);
    let directories = ["", "backups"];
    let files = directories.iter().flat_map(|directory| {
        place.files_in(directory).into_iter().map(|name| place.path(directory).join(name))
    });
    for file in files.filter(|file| !file.ends_with("server.log")) {
        let found = file.metadata().unwrap();
        assert_eq!((found.uid(), found.gid()), owner, "{}", file.display());
        assert!(found.is_dir() || found.mode() & 0o777 == 0o600, "{}", file.display());
    }
}

#[test]
fn s41_a_planted_link_is_not_followed_by_backup_and_restore() {
    let place = Place::new();
    place.database("old");
    let theirs = place.path("theirs");
    std::fs::write(&theirs, "theirs").unwrap();
    for name in ["copy.db.part", "copy.db.sha256", "freshk.db.restore"] {
        std::os::unix::fs::symlink(&theirs, place.path(name)).unwrap();
    }
    place.ok(&["db", "backup", "copy.db"]);
    place.ok(&["db", "restore", "copy.db", "--yes"]);
    assert_eq!(std::fs::read_to_string(&theirs).unwrap(), "theirs");
}
