//! Faults of the database, its disk and its backups.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use age::x25519::Identity;
use freshk::cli::backups;
use freshk::cli::disk;
use serde_json::json;

use super::set_up::{SetUp, drilled, now};

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_database_that_is_not_there() {
    let set_up = SetUp::good();
    // What answers as the server has another one open, and is told of in a line of its own.
    let line = |changes: &[(&str, &str)]| {
        let lines = set_up.told(&[], changes).0["lines"].take();
        lines.as_array().unwrap().iter().find(|line| line["check"] == "database").unwrap().clone()
    };
    let other = [("DATABASE_URL", "sqlite://other.db"), ("FRESHK_BACKUP__DIR", "")];
    let never = line(&other);
    assert_eq!(
        (&never["verdict"], never["help"].as_str().unwrap().contains("freshk serve")),
        (&json!("warn"), true)
    );
    let lost = line(&other[..1]);
    assert_eq!(lost["verdict"], "fail", "there is a backup: {lost}");
    assert!(lost["help"].as_str().unwrap().contains("freshk db restore"), "{lost}");
    assert!(!set_up.place.path("other.db").exists(), "a check makes nothing");
    let nowhere = line(&[("DATABASE_URL", "sqlite://nowhere/freshk.db")]);
    assert_eq!(
        (&nowhere["verdict"], nowhere["help"].as_str().unwrap().contains("create it")),
        (&json!("fail"), true)
    );
}

#[test]
fn a_database_that_will_not_do() {
    let set_up = SetUp::good();
    let database = set_up.place.path("freshk.db");
    let good = fs::read(&database).unwrap();
    for (spoil, mend) in [
        ("PRAGMA application_id = 1", "freshk user import"),
        ("PRAGMA user_version = 99", "install the version that wrote it"),
        (
            "PRAGMA foreign_keys = OFF;
             INSERT INTO messages (challenge_id, phone, state, segments, created_at, updated_at)
             VALUES (99, '+15550000001', 'sent', 1, 0, 0)",
            "freshk db restore",
        ),
    ] {
        set_up.place.sql().execute_batch(spoil).unwrap();
        set_up.assert_only(&[], "fail database", mend);
        fs::write(&database, &good).unwrap();
    }
    let mut file = OpenOptions::new().write(true).open(&database).unwrap();
    file.seek(SeekFrom::Start(4096)).unwrap();
    file.write_all("rubbish ".repeat(2048).as_bytes()).unwrap();
    set_up.assert_only(&[], "fail database", "freshk db restore");
    fs::write(&database, "rubbish ".repeat(1000)).unwrap();
    set_up.assert_only(&[], "fail database", "correct database.url");
    fs::write(&database, &good).unwrap();
    set_up.assert_ok(&[]);
}

/// A database that began before the default was far above Django's own ids.
#[test]
fn ids_that_a_django_project_may_give_too() {
    let set_up = SetUp::good();
    set_up.place.sql().execute_batch("UPDATE sqlite_sequence SET seq = 1000 WHERE name = 'users'").unwrap();
    set_up.assert_only(&[], "warn user ids", "set users.first_id = 1000000001");
    set_up.assert_ok(&[("FRESHK_USERS__FIRST_ID", "1001")]);
}

#[test]
fn a_database_that_another_process_keeps_to_itself() {
    let set_up = SetUp::good();
    let other = set_up.place.sql();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; DELETE FROM spends").unwrap();
    set_up.assert_only(&[], "fail database", "stop that process");
    drop(other);
    set_up.assert_ok(&[]);
}

#[test]
fn a_database_that_cannot_be_written_or_that_others_can_read() {
    let set_up = SetUp::good();
    let database = set_up.place.path("freshk.db");
    chmod(&database, 0o400);
    set_up.assert_only(&[], "fail database", "the right to write it");
    chmod(&database, 0o644);
    set_up.assert_only(&[], "fail file mode", "chmod 600");
    assert_eq!(database.metadata().unwrap().permissions().mode() & 0o777, 0o644, "a check changes nothing");
    chmod(&database, 0o600);
    chmod(database.parent().unwrap(), 0o555);
    set_up.assert_only(&[], "fail database", "the right to write it");
    chmod(database.parent().unwrap(), 0o755);
    set_up.assert_ok(&[]);
}

#[test]
fn a_log_that_grows_and_a_disk_that_fills() {
    let set_up = SetUp::good();
    // Files with holes: they take no room.
    let log = set_up.place.path("freshk.db-wal");
    File::create(&log).unwrap().set_len(257 * 1024 * 1024).unwrap();
    chmod(&log, 0o600);
    set_up.assert_only(&[], "warn WAL size", "end that process");
    fs::remove_file(&log).unwrap();
    let database = set_up.place.path("freshk.db");
    let file = OpenOptions::new().write(true).open(&database).unwrap();
    let (length, free) = (file.metadata().unwrap().len(), disk::room(&database).unwrap().free);
    file.set_len(free / 4 * 3).unwrap();
    set_up.assert_only(&[], "warn free disk", "delete files on the disk of");
    let recipient = Identity::generate().to_public().to_string();
    let encrypted = [("FRESHK_BACKUP__ENCRYPT_TO", recipient.as_str())];
    set_up.assert_only(&encrypted, "fail free disk", "use a larger one");
    file.set_len(free * 2).unwrap();
    set_up.assert_only(&[], "fail free disk", "use a larger one");
    file.set_len(length).unwrap();
    set_up.assert_ok(&[]);
}

#[test]
fn a_folder_of_the_log_that_this_user_cannot_write() {
    let set_up = SetUp::good();
    let folder = set_up.place.path("closed");
    fs::create_dir(&folder).unwrap();
    chmod(&folder, 0o555);
    for file in ["closed/debug.log", "closed/logs/debug.log"] {
        set_up.assert_only(&[("FRESHK_LOG__FILE", file)], "fail logging", "choose another log.file");
    }
    chmod(&folder, 0o755);
    set_up.assert_ok(&[("FRESHK_LOG__FILE", "closed/debug.log")]);
}

#[test]
fn backups_that_are_none() {
    let set_up = SetUp::good();
    set_up.assert_only(&[("FRESHK_BACKUP__DIR", "")], "warn backups", "docs/litestream.md");
    set_up.assert_only(&[("FRESHK_BACKUP__DIR", "nowhere")], "fail backups", "create the directory");
    set_up.assert_only(&[("FRESHK_BACKUP__DIR", "freshk.db")], "fail backups", "create the directory");
    let dir = set_up.place.path("backups");
    chmod(&dir, 0o555);
    set_up.assert_only(&[], "fail backups", "the right to write it");
    chmod(&dir, 0o755);
    let latest = dir.join(&set_up.place.files_in("backups")[0]);
    let old = dir.join("freshk-20200101T000000Z.db");
    fs::rename(&latest, &old).unwrap();
    set_up.assert_only(&[], "fail backups", "see the log for why");
    fs::remove_file(&old).unwrap();
    set_up.assert_only(&[], "fail backups", "freshk db backup");
    fs::write(backups::path(&dir, now()), "rubbish ".repeat(1000)).unwrap();
    set_up.assert_only(&[], "fail backups", "freshk db backup");
}

#[test]
fn s31_a_backup_with_a_flipped_bit_or_without_a_checksum() {
    let set_up = SetUp::good();
    let dir = set_up.place.path("backups");
    let [backup, seal, _] = &set_up.place.files_in("backups")[..] else {
        panic!("a backup and its checksum")
    };
    let (backup, seal) = (dir.join(backup), dir.join(seal));
    let good = fs::read(&backup).unwrap();
    let mut bytes = good.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&backup, bytes).unwrap();
    set_up.assert_only(&[], "fail backups", "freshk db backup");
    fs::write(&backup, good).unwrap();
    set_up.assert_ok(&[]);
    fs::remove_file(seal).unwrap();
    set_up.assert_only(&[], "warn backups", "which writes one beside it");
}

#[test]
fn a_backup_that_nobody_has_restored_for_a_month() {
    let set_up = SetUp::good();
    let days_ago = |days: u64| now() - std::time::Duration::from_hours(days * 24);
    drilled(&set_up.place, days_ago(29));
    set_up.assert_ok(&[]);
    drilled(&set_up.place, days_ago(31));
    set_up.assert_only(&[], "warn restore drill", "freshk db drill");
    fs::remove_file(set_up.place.path("backups/freshk-drill.json")).unwrap();
    set_up.assert_only(&[], "warn restore drill", "freshk db drill");
}

#[test]
fn an_encrypted_backup_is_compared_with_its_checksum() {
    let set_up = SetUp::good();
    let recipient = age::x25519::Identity::generate().to_public().to_string();
    let environment = [("FRESHK_BACKUP__ENCRYPT_TO", recipient.as_str())];
    let dir = set_up.place.path("backups");
    for name in set_up.place.files_in("backups").iter().filter(|name| name.contains(".db")) {
        fs::remove_file(dir.join(name)).unwrap();
    }
    assert!(set_up.command(&["db", "backup"], &environment).output().unwrap().status.success());
    set_up.assert_ok(&environment);
    let backup = dir.join(&set_up.place.files_in("backups")[0]);
    assert!(backups::is_encrypted(&backup), "{}", backup.display());
    let mut bytes = fs::read(&backup).unwrap();
    bytes[300] ^= 1;
    fs::write(&backup, bytes).unwrap();
    set_up.assert_only(&environment, "fail backups", "freshk db backup");
}

#[test]
fn s41_files_that_do_not_belong_to_the_owner_of_the_directory() {
    let set_up = SetUp::good();
    let (dir, database) = (set_up.place.path(""), set_up.place.path("freshk.db"));
    let (user, group) = (Some(65534), Some(65534));
    if chown(&dir, user, group).is_err() {
        // Only root can.
        return;
    }
    set_up.assert_only(&[], "fail file owner", "chown 65534:65534 freshk.db ");
    chown(&database, user, group).unwrap();
    set_up.assert_only(&[], "fail file owner", " freshk.db.lock");
    for file in set_up.place.files() {
        chown(set_up.place.path(&file), user, group).unwrap();
    }
    set_up.assert_ok(&[]);
    // A directory of root's own, which the owner of the database cannot write.
    chown(&dir, Some(0), Some(0)).unwrap();
    chmod(&dir, 0o755);
    set_up.assert_only(&[], "fail file owner", "chown 65534:65534");
    chmod(&dir, 0o775);
    set_up.assert_ok(&[]);
}

#[test]
fn a_file_of_somebody_else_named_by_mistake_is_left_as_it_is() {
    let set_up = SetUp::good();
    let theirs = set_up.place.path("passwd");
    fs::write(&theirs, "root:x:0:0:root:/root:/bin/bash\n".repeat(100)).unwrap();
    for mode in [0o644, 0o444] {
        chmod(&theirs, mode);
        let (told, _) = set_up.told(&[], &[("DATABASE_URL", "sqlite://passwd")]);
        assert!(!told.to_string().contains("chmod") && !told.to_string().contains("chown"), "{told}");
        assert!(told.to_string().contains("correct database.url"), "{told}");
    }
}
