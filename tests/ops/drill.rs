//! The drill: a backup is restored aside and logged in on, and nothing else is touched.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::place::{Place, stderr, until};

const DIR: (&str, &str) = ("FRESHK_BACKUP__DIR", "backups");

/// A database with a backup.
fn place() -> Place {
    let place = Place::new();
    place.database("x");
    fs::create_dir(place.path("backups")).unwrap();
    assert!(place.command(&["db", "backup"], &[DIR]).output().unwrap().status.success());
    place
}

fn drill(place: &Place, environment: &[(&str, &str)]) -> (Option<i32>, Value, String) {
    let environment = [&[DIR], environment].concat();
    let output = place.command(&["db", "drill", "--json"], &environment).output().unwrap();
    let said = stderr(&output);
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default(), said)
}

fn left(place: &Place) -> Vec<String> {
    place.files().into_iter().filter(|name| name.contains(".drill-")).collect()
}

#[test]
fn a_good_backup_is_logged_in_on_beside_its_server_and_nothing_else_is_touched() {
    let place = place();
    let server = place.serve(&[]);
    let count = |table: &str| -> i64 {
        place.sql().query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    let before = (count("users"), count("sessions"), count("test_numbers"), count("challenges"));
    // Everything that a production server would refuse, spend or tell.
    let (code, told, said) = drill(
        &place,
        &[
            ("FRESHK_LIMITS__IP", "1"),
            ("FRESHK_PHONE__ALLOWED_COUNTRIES", "IN"),
            ("FRESHK_SERVER__ALLOWED_HOSTS", "api.example.com"),
        ],
    );
    assert_eq!((code, &told["ok"]), (Some(0), &true.into()), "{said}");
    let steps: Vec<_> = told["steps"].as_array().unwrap().iter().map(|step| step["step"].clone()).collect();
    assert_eq!(steps, ["restore", "check", "start", "log in", "stop"]);
    assert!(told["backup"].as_str().unwrap().starts_with("backups/freshk-"), "{told}");
    assert_eq!((count("users"), count("sessions"), count("test_numbers"), count("challenges")), before);
    assert!(server.get("/health/ready").starts_with("HTTP/1.1 200"));
    assert_eq!(left(&place), Vec::<String>::new());
    let stamp: Value =
        serde_json::from_slice(&fs::read(place.path("backups/freshk-drill.json")).unwrap()).unwrap();
    assert!(told["backup"].as_str().unwrap().ends_with(stamp["backup"].as_str().unwrap()), "{stamp}");
    assert!(server.stop());
    let text = place.command(&["db", "drill"], &[DIR]).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("the backup is good") && text.contains("log in"), "{text}");
}

#[test]
fn a_damaged_backup_fails_the_drill_and_is_not_noted() {
    let place = place();
    let name = place.files_in("backups")[0].clone();
    let (backup, seal) =
        (place.path("backups").join(&name), place.path("backups").join(format!("{name}.sha256")));
    let mut bytes = fs::read(&backup).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4096].fill(0xff);
    fs::write(&backup, bytes).unwrap();
    for words in [".sha256", "damaged"] {
        let (code, told, said) = drill(&place, &[]);
        assert_eq!((code, &told["ok"]), (Some(1), &false.into()), "{said}");
        assert!(said.contains(words), "{said}");
        assert_eq!(left(&place), Vec::<String>::new());
        // Without a checksum the pages themselves tell.
        drop(fs::remove_file(&seal));
    }
    assert!(!place.path("backups/freshk-drill.json").exists());
    let (code, _, said) = drill(&place, &[DIR, ("FRESHK_BACKUP__DIR", "")]);
    assert!(code == Some(2) && said.contains("backup.dir is not set"), "{said}");
}

#[test]
fn a_lost_database_is_no_hindrance() {
    let place = place();
    fs::remove_file(place.path("freshk.db")).unwrap();
    let (code, told, said) = drill(&place, &[]);
    assert_eq!((code, &told["ok"]), (Some(0), &true.into()), "{said}");
    assert!(!place.path("freshk.db").exists());
}

#[test]
fn s41_what_a_drill_copies_is_its_users_alone_and_goes_when_it_is_interrupted_or_killed() {
    let place = place();
    place.fill(200_000);
    assert!(place.command(&["db", "backup"], &[DIR]).output().unwrap().status.success());
    let start = || {
        let mut command = place.command(&["db", "drill"], &[DIR]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut child = start();
    until(|| !left(&place).is_empty());
    let folder = place.path(&left(&place)[0]);
    assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let sent =
        Command::new("sh").args(["-c", "kill -s TERM \"$0\"", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(left(&place), Vec::<String>::new());
    let mut child = start();
    until(|| !left(&place).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(left(&place).len(), 1);
    let (code, ..) = drill(&place, &[]);
    assert_eq!((code, left(&place)), (Some(0), Vec::new()), "the next one cleans up");
}
