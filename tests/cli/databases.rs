//! Databases that will not do: each command exits with 1, or a server with 78 where it is not to be started again, says what to do,
//! and changes nothing.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use crate::support::{Answer, Place, database};

/// Those that write and those that read, with the database of a server beside them and alone.
const COMMANDS: [&str; 17] = [
    "user list",
    "user show 1",
    "user deactivate 1",
    "user import users.csv",
    "user export",
    "session list",
    "otp list",
    "otp purge",
    "limit reset +1234567890",
    "sms list",
    "audit list",
    "stats",
    "db check",
    "db backup copy.db",
    "db migrate",
    "db vacuum",
    "serve --listen 127.0.0.1:0",
];

/// Nobody's user.
const NOBODY: u32 = 65534;

/// A database with one user, and a file to import.
fn place() -> Place {
    let place = Place::new();
    place.good("user create +1234567890");
    place.write("users.csv", "phone_number\n+15551234567\n");
    place
}

fn sql(place: &Place, sql: &str) -> rusqlite::Connection {
    let conn = rusqlite::Connection::open(database(place)).unwrap();
    conn.execute_batch(sql).unwrap();
    conn
}

/// What lies there, save what comes and goes: the lock with its process id, the index of the log, and an empty log.
fn contents(place: &Place) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(place.path("."))
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()))
        .filter(|(name, _)| !name.ends_with("db.lock") && !name.ends_with("-shm"))
        .filter(|(name, bytes)| !name.ends_with("-wal") || !bytes.is_empty())
        .collect();
    files.sort();
    files
}

fn refused(line: &str, answer: &Answer, told: &[&str]) {
    let for_ever = line.starts_with("serve") && answer.stderr.contains("this freshk knows");
    let code = if for_ever { 78 } else { 1 };
    assert_eq!((answer.code, answer.stdout.as_str()), (code, ""), "{line}: {}", answer.stderr);
    assert!(answer.stderr.starts_with("error: "), "{line}: {}", answer.stderr);
    assert!(told.iter().any(|told| answer.stderr.contains(told)), "{line}: {}", answer.stderr);
    assert!(!answer.stderr.contains("panicked"), "{line}: {}", answer.stderr);
}

/// Runs every command in a place, each to the same end.
fn all_refused(place: &Place, told: &str) {
    let before = contents(place);
    for line in COMMANDS {
        refused(line, &place.run(line), &[told]);
        let same = contents(place) == before;
        assert!(same, "{line} changed files");
    }
}

#[test]
fn another_programs() {
    let place = place();
    sql(&place, "PRAGMA application_id = 7");
    all_refused(&place, "belongs to another program (application id 0x7)\nhelp: correct database.url");
}

#[test]
fn a_newer_freshks() {
    let place = place();
    sql(&place, "PRAGMA user_version = 99");
    all_refused(&place, "has schema 99, this freshk knows 6\nhelp: install the version that wrote it");
}

#[test]
fn a_damaged_one() {
    let place = place();
    let mut bytes = fs::read(database(&place)).unwrap();
    // The page of the schema, behind the header of the file.
    bytes[100..4096].fill(0xff);
    fs::write(database(&place), bytes).unwrap();
    all_refused(&place, "is damaged\nhelp: restore the latest backup with `freshk db restore`");
}

#[test]
fn a_file_that_is_none() {
    let place = place();
    place.write("freshk.db", "these are a few words and no database at all".repeat(300));
    all_refused(&place, "is not a database\nhelp: move it away, or correct database.url");
}

#[test]
fn one_that_is_not_there() {
    let place = Place::new();
    for line in COMMANDS {
        // These make it.
        if line.starts_with("serve") || line.starts_with("user import") {
            continue;
        }
        refused(line, &place.run(line), &["there is no database freshk.db\nhelp: `freshk serve` makes it"]);
        assert!(!database(&place).exists(), "{line}");
    }
    for line in COMMANDS {
        let answer = place.run(&format!("{line} --database sqlite://nowhere/freshk.db"));
        refused(line, &answer, &["there is no database nowhere/freshk.db", "there is no directory"]);
        assert!(!place.path("nowhere").exists(), "{line}");
    }
}

#[test]
fn one_that_may_not_be_written() {
    let place = place();
    let program = place.path("freshk");
    let original = env!("CARGO_BIN_EXE_freshk");
    // Where it was built, others may not be let in.
    fs::hard_link(original, &program).or_else(|_| fs::copy(original, &program).map(drop)).unwrap();
    for file in ["freshk.db", "users.csv"] {
        fs::set_permissions(place.path(file), Permissions::from_mode(0o444)).unwrap();
    }
    fs::set_permissions(place.path("."), Permissions::from_mode(0o555)).unwrap();
    // Modes do not hold root back, who may become somebody else instead.
    let is_root = chown(place.path("."), Some(0), None).is_ok();
    let before = contents(&place);
    let answers = COMMANDS.map(|line| {
        let mut command = Command::new(&program);
        command.args(line.split_whitespace()).current_dir(place.path(".")).env_clear().stdin(Stdio::null());
        // In place of the file, which others may not read.
        command.arg("--config=/dev/null").env("DEBUG", "1");
        if is_root {
            command.uid(NOBODY).gid(NOBODY);
        }
        (line, Answer::of(&command.output().unwrap()))
    });
    let same = contents(&place) == before;
    fs::set_permissions(place.path("."), Permissions::from_mode(0o700)).unwrap();
    assert!(same);
    for (line, answer) in answers {
        refused(
            line,
            &answer,
            &["cannot be written\nhelp: give the user that runs freshk the right to write it"],
        );
    }
}

#[test]
fn one_that_another_process_keeps_to_itself() {
    // Each waits for five seconds: all at once, each in a place of its own.
    let waiting = COMMANDS.map(|line| {
        let place = place();
        let other =
            sql(&place, "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; DELETE FROM audit_retention");
        let mut command = place.command(line);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        (line, place, other, child)
    });
    for (line, place, other, child) in waiting {
        let answer = Answer::of(&child.wait_with_output().unwrap());
        refused(
            line,
            &answer,
            &["is locked by another process\nhelp: stop that process, or wait until it is done"],
        );
        drop(other);
        assert_eq!(place.count("SELECT count(*) FROM users WHERE is_active"), 1, "{line}");
        assert!(!place.path("copy.db").exists());
    }
}

/// With a write-ahead log a long transaction elsewhere stops nobody who only reads.
#[test]
fn one_that_another_process_is_writing() {
    let reads = ["user list", "audit list", "stats", "db check", "db backup copy.db", "db migrate"];
    let writes = ["user deactivate 1", "user import users.csv", "limit reset +1234567890", "db vacuum"];
    let waiting: Vec<_> = reads
        .into_iter()
        .chain(writes)
        .map(|line| {
            let place = place();
            let other = sql(&place, "BEGIN EXCLUSIVE; DELETE FROM audit_retention");
            let mut command = place.command(line);
            let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            (line, place, other, child)
        })
        .collect();
    for (line, place, other, child) in waiting {
        let answer = Answer::of(&child.wait_with_output().unwrap());
        drop(other);
        if reads.contains(&line) {
            assert_eq!((answer.code, answer.stderr.as_str()), (0, ""), "{line}");
            continue;
        }
        assert_eq!((answer.code, answer.stdout.as_str()), (1, ""), "{line}: {}", answer.stderr);
        assert!(
            answer.stderr.contains("locked") && answer.stderr.contains("process"),
            "{line}: {}",
            answer.stderr
        );
        assert_eq!(place.count("SELECT count(*) FROM users WHERE is_active"), 1, "{line}");
    }
}

#[test]
fn a_command_that_is_done_leaves_one_file() {
    let place = place();
    for line in ["user import users.csv", "user list", "user deactivate 1"] {
        place.good(line);
        let mut names: Vec<_> = contents(&place).into_iter().map(|(name, _)| name).collect();
        names.retain(|name| name.starts_with("freshk.db"));
        assert_eq!(names, ["freshk.db", "freshk.db.secret"], "{line}");
    }
}
