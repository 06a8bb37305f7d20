//! The list of backups, the latest of them, and what restores leave behind.

use std::fs;

use freshk::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};

use crate::place::Place;

const DIR: [(&str, &str); 1] = [("FRESHK_BACKUP__DIR", "backups")];

/// A database with a user of a name, and a directory for backups.
fn place(username: &str) -> Place {
    let place = Place::new();
    place.database(username);
    fs::create_dir(place.path("backups")).unwrap();
    place
}

/// Runs what must succeed with `backup.dir`, and answers in JSON.
fn told(place: &Place, args: &[&str]) -> Value {
    let output = place.command(&[args, &["--json"]].concat(), &DIR).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", crate::place::stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn fails(place: &Place, args: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
    let output = place.command(args, environment).output().unwrap();
    (output.status.code().unwrap(), crate::place::stderr(&output))
}

fn username(place: &Place) -> String {
    place.sql().query_row("SELECT username FROM users", [], |row| row.get(0)).unwrap()
}

#[test]
fn the_list_says_of_each_backup_how_it_stands_the_latest_first() {
    let place = place("x");
    assert_eq!(told(&place, &["db", "backups"]), json!({ "backups": [], "total": 0 }));
    let made = told(&place, &["db", "backup"])["file"].as_str().unwrap().to_owned();
    let (dir, good) = (place.path("backups"), fs::read(place.path(&made)).unwrap());
    fs::write(dir.join("freshk-20200101T000000Z.db"), "rubbish").unwrap();
    fs::write(dir.join("freshk-20210101T000000Z.db"), &good).unwrap();
    fs::write(dir.join("freshk-20220101T000000Z.db"), &good).unwrap();
    let digest = "0".repeat(64);
    fs::write(dir.join("freshk-20220101T000000Z.db.sha256"), format!("{digest}  x\n")).unwrap();
    fs::write(dir.join("mine.db"), &good).unwrap();
    let list = told(&place, &["db", "backups"]);
    let schema = list["backups"][0]["schema"].as_i64().unwrap();
    let told_of = |at: usize| {
        let backup = &list["backups"][at];
        (backup["schema"].as_i64(), backup["checksum"].as_str().unwrap())
    };
    assert_eq!(list["total"], 4);
    assert_eq!(list["backups"][0]["file"], made);
    assert_eq!(list["backups"][0]["bytes"], good.len());
    assert_eq!(told_of(0), (Some(schema), "ok"));
    assert_eq!(told_of(1), (Some(schema), "differs"));
    assert_eq!(told_of(2), (Some(schema), "missing"));
    assert_eq!(told_of(3), (None, "missing"));
    assert_eq!(list["backups"][0]["encrypted"], false);
    assert_eq!(list["backups"][1]["made_at"], "2022-01-01T00:00:00.000Z");
    let text = place.command(&["db", "backups", "--limit", "1"], &DIR).output().unwrap();
    let table = String::from_utf8(text.stdout.clone()).unwrap();
    assert!(table.contains(&made) && !table.contains("2022"), "{table}");
    assert!(crate::place::stderr(&text).contains("1 of 4"));
}

#[test]
fn the_latest_that_no_wrong_clock_dated_ahead_is_restored() {
    let place = place("old");
    told(&place, &["db", "backup"]);
    let latest = place.files_in("backups")[0].clone();
    fs::write(place.path("backups/freshk-20991231T000000Z.db"), "rubbish").unwrap();
    fs::copy(place.path("backups").join(&latest), place.path("backups/freshk-20200101T000000Z.db")).unwrap();
    place.sql().execute("UPDATE users SET username = 'new'", []).unwrap();
    let (code, said) = fails(&place, &["db", "restore", "--latest"], &DIR);
    assert!(code == 2 && said.contains(&latest) && said.contains("old, replaces"), "{said}");
    let answer = told(&place, &["db", "restore", "--latest", "--yes"]);
    assert_eq!(answer["backup"], format!("backups/{latest}"));
    assert_eq!(username(&place), "old");
}

#[test]
fn where_there_is_no_latest_it_is_said_what_to_do() {
    let place = place("x");
    for (environment, code, words) in [
        (&[][..], 2, "set backup.dir"),
        (&DIR[..], 1, "there is no backup in backups"),
        (&[("FRESHK_BACKUP__DIR", "nowhere")][..], 1, "create the directory"),
    ] {
        let (exit, said) = fails(&place, &["db", "restore", "--latest", "--yes"], environment);
        assert!(exit == code && said.contains(words), "{said}");
    }
    assert_eq!(username(&place), "x");
    for args in [&["db", "restore"][..], &["db", "restore", "x.db", "--latest"]] {
        assert_eq!(fails(&place, args, &DIR).0, 2, "{args:?}");
    }
}

#[test]
fn old_databases_that_restores_replaced_go_and_young_ones_stay() {
    let place = place("x");
    place.ok(&["db", "backup", "copy.db"]);
    let (now, day) = (SystemClock::new().now(), std::time::Duration::from_hours(24));
    let kept = |days: u32| format!("freshk.db.before-restore-{}.bak", (now - day * days).as_millis());
    for days in [1, 6, 8, 9, 10] {
        fs::write(place.path(&kept(days)), "").unwrap();
    }
    fs::write(place.path(&format!("{}-wal", kept(9))), "").unwrap();
    let others = ["freshk.db.before-restore-mine.bak", "freshk.db.before-v2-20200101T000000Z.bak"];
    for other in others {
        fs::write(place.path(other), "").unwrap();
    }
    // A link would have it delete what somebody else named.
    std::os::unix::fs::symlink("/nowhere", place.path(&kept(11))).unwrap();
    let deleted = place.json(&["db", "restore", "copy.db", "--yes"])["deleted"].take();
    assert_eq!(deleted.as_array().unwrap().len(), 3, "{deleted}");
    let files = place.files();
    let is_there = |name: &String| files.contains(name);
    assert!([1, 6].iter().all(|days| is_there(&kept(*days))), "{files:?}");
    assert!(![8, 9, 10].iter().any(|days| is_there(&kept(*days))), "{files:?}");
    assert!(!files.iter().any(|name| name.ends_with("bak-wal")) && is_there(&kept(11)), "{files:?}");
    assert!(others.iter().all(|other| place.path(other).exists()));
}

/// Who tries one backup after another replaces the newest data first.
#[test]
fn whatever_one_night_of_restores_replaced_is_kept() {
    let place = place("x");
    place.ok(&["db", "backup", "copy.db"]);
    place.sql().execute("UPDATE users SET username = 'newest'", []).unwrap();
    let first = place.json(&["db", "restore", "copy.db", "--yes"])["kept"].as_str().unwrap().to_owned();
    for _ in 0..5 {
        place.ok(&["db", "restore", "copy.db", "--yes"]);
    }
    let kept = rusqlite::Connection::open(first).unwrap();
    let name: String = kept.query_row("SELECT username FROM users", [], |row| row.get(0)).unwrap();
    assert_eq!(name, "newest");
}
