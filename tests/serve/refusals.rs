//! What keeps the server from starting: exit code 1, a message that says what to do, and nothing touched.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rusqlite::Connection;

use crate::process::{Ended, Place};

/// Files under a directory with their bytes, save what comes and goes: the lock with its process id, the index of the
/// write-ahead log, and a log that is empty.
fn contents(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(directory)
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

/// Starts, is refused with `words`, and leaves every file as it was.
fn refused_untouched(place: &Place, words: &[&str]) {
    let before = contents(place.path());
    place.refused().assert_says(words);
    let after = contents(place.path());
    let names = |files: &[(String, Vec<u8>)]| -> Vec<String> {
        files.iter().map(|(name, bytes)| format!("{name}: {} bytes", bytes.len())).collect()
    };
    assert!(after == before, "the refusal changed files: {:?} became {:?}", names(&before), names(&after));
}

fn database(place: &Place, sql: &str) {
    Connection::open(place.database()).unwrap().execute_batch(sql).unwrap();
}

/// A database of ours, after one run.
fn used() -> Place {
    let place = Place::dev();
    place.start().stop();
    place
}

#[test]
fn a_database_of_another_program() {
    let place = Place::dev();
    database(&place, "PRAGMA application_id = 1234; CREATE TABLE notes (text)");
    refused_untouched(&place, &["freshk.db belongs to another program", "0x4d2", "correct database.url"]);
}

#[test]
fn a_database_that_says_nothing_of_its_owner() {
    let place = Place::dev();
    database(&place, "CREATE TABLE auth_user (id INTEGER PRIMARY KEY)");
    refused_untouched(&place, &["freshk.db belongs to another program", "correct database.url"]);
}

#[test]
fn a_file_that_is_no_database() {
    let place = Place::dev();
    fs::write(place.database(), "Dear diary, ".repeat(1000)).unwrap();
    refused_untouched(&place, &["freshk.db is not a database", "move it away"]);
}

#[test]
fn a_directory_where_the_file_should_be() {
    let place = Place::dev();
    fs::create_dir(place.database()).unwrap();
    refused_untouched(&place, &["freshk.db is not a database", "database.url"]);
}

#[test]
fn a_database_of_a_later_version() {
    let place = used();
    database(&place, "PRAGMA user_version = 99");
    refused_untouched(&place, &["has schema 99", "install the version that wrote it"]);
}

#[test]
fn a_damaged_database() {
    let place = used();
    let mut bytes = fs::read(place.database()).unwrap();
    // The page of the schema, behind the header of the file.
    bytes[100..4096].fill(0xff);
    fs::write(place.database(), bytes).unwrap();
    refused_untouched(&place, &["freshk.db is damaged", "freshk db restore"]);
}

#[test]
fn a_file_that_may_not_be_written() {
    let place = used();
    fs::set_permissions(place.database(), Permissions::from_mode(0o400)).unwrap();
    refused_untouched(&place, &["freshk.db cannot be written", "give the user that runs freshk the right"]);
}

#[test]
fn a_directory_that_may_not_be_written() {
    let place = Place::dev();
    fs::set_permissions(place.path(), Permissions::from_mode(0o500)).unwrap();
    let refusal = place.refused();
    fs::set_permissions(place.path(), Permissions::from_mode(0o700)).unwrap();
    refusal.assert_says(&["cannot be written", "give the user that runs freshk the right"]);
    assert!(!place.database().exists());
}

#[test]
fn a_directory_that_is_not_there() {
    let place = Place::dev().with("DATABASE_URL", "sqlite://data/freshk.db");
    refused_untouched(&place, &["there is no directory data\nhelp: create it"]);
}

#[test]
fn a_database_that_another_process_has_locked() {
    let place = used();
    let other = place.sql();
    other
        .execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; DELETE FROM users WHERE id = 0")
        .unwrap();
    place.refused().assert_says(&["freshk.db is locked by another process", "stop that process"]);
    other.execute_batch("ROLLBACK").unwrap();
}

#[test]
fn a_second_server_on_the_same_database() {
    let place = Place::dev();
    let mut first = place.start();
    place
        .refused()
        .assert_says(&[&format!("is in use by process {}", first.pid()), "stop that process first"]);
    assert!(first.is_running());
}

#[test]
fn a_postgres_url_whose_password_is_not_shown() {
    let place = Place::dev().with("DATABASE_URL", "postgres://user:hush@127.0.0.1:1/freshk_production");
    refused_untouched(
        &place,
        &["127.0.0.1:1/freshk_production cannot be reached", "database.url", "correct the host and port"],
    );
    assert!(!place.refused().stderr.contains("hush"));
}

#[test]
fn a_port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let place = Place::dev().argument("--listen").argument(&address);
    place.refused().assert_says(&[&format!("{address} is already in use"), "server.listen"]);
}

#[test]
fn an_address_of_another_machine() {
    let place = Place::dev().argument("--listen").argument("192.0.2.1:8000");
    place.refused().assert_says(&["192.0.2.1:8000 is not an address of this machine", "server.listen"]);
}

#[test]
fn a_template_without_a_code() {
    let place = Place::dev().with("FRESHK_SMS__TEMPLATE", "Welcome to FreshK!");
    refused_untouched(&place, &["sms.template", "{code}"]);
}

#[test]
fn a_secret_beside_the_database_that_is_none() {
    let place = used();
    let secret = place.path().join("freshk.db.secret");
    fs::write(secret, "short").unwrap();
    refused_untouched(&place, &["freshk.db.secret", "delete it"]);
}

#[test]
fn every_fault_of_the_configuration_at_once() {
    let place = Place::production(&crate::twilio::FakeTwilio::refusing())
        .with("DEBUG", "perhaps")
        .with("FRESHK_OTP__TTL", "soon")
        .with("FRESHK_SERVER__LISTNE", "127.0.0.1:1")
        .with("FRESHK_LOG__LEVEL", "loud")
        .with("SECRET_KEY", "your-production-secret-key");
    let Ended { code, stderr, .. } = place.refused();
    assert_eq!(code, Some(78));
    for words in
        ["DEBUG", "otp.ttl", "LISTNE", "did you mean FRESHK_SERVER__LISTEN?", "log.level", "SECRET_KEY"]
    {
        assert!(stderr.contains(words), "{words} is missing from:\n{stderr}");
    }
    assert!(contents(place.path()).is_empty());
}

#[test]
fn production_without_its_provider() {
    let place = Place::production(&crate::twilio::FakeTwilio::refusing())
        .with("TWILIO_ACCOUNT_SID", "")
        .with("TWILIO_AUTH_TOKEN", "");
    refused_untouched(&place, &["twilio", "TWILIO_ACCOUNT_SID"]);
}

#[test]
fn a_misspelt_file_of_configuration() {
    let place = Place::dev();
    fs::write(place.path().join("freshk.toml"), "[otp\nlength = 6").unwrap();
    refused_untouched(&place, &["freshk.toml"]);
    let place = Place::dev().argument("--config").argument("nowhere.toml");
    refused_untouched(&place, &["nowhere.toml"]);
}

#[test]
fn a_wrong_command_line_is_exit_code_two() {
    let place = Place::dev().argument("--port").argument("8000");
    let refusal = place.refused();
    assert_eq!(refusal.code, Some(2), "{refusal:?}");
    assert!(refusal.stderr.contains("--port"), "{refusal:?}");
}
