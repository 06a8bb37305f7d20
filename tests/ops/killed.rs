//! Backups and restores that are killed: whenever that is, the old state or the new one stands, and the next run goes through.
//!
//! The moments are chosen by what lies in the directory, looked at again and again without a pause.

use std::process::{Child, Stdio};
use std::thread;

use crate::place::Place;

const USERS: u32 = 60_000;

/// Something in the directory that shows how far a command has come.
type Moment = fn(&Place) -> bool;

/// A database with a name in it that a restore changes back, and a backup of the name before.
fn place() -> Place {
    let place = Place::new();
    place.database("old");
    place.fill(USERS);
    place.ok(&["db", "backup", "good.db"]);
    place
        .sql()
        .execute("UPDATE users SET username = 'new' WHERE id = (SELECT min(id) FROM users)", [])
        .unwrap();
    place
}

fn size(place: &Place, name: &str) -> u64 {
    place.path(name).metadata().map_or(0, |file| file.len())
}

/// The size of what is to become a file, by what its name begins with; it goes on with random digits.
fn draft(place: &Place, begins: &str) -> Option<u64> {
    let files = place.files();
    files.iter().find(|name| name.starts_with(begins)).map(|name| size(place, name))
}

fn start(place: &Place, args: &[&str]) -> Child {
    place.command(args, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Runs a command and kills it at its moment, as often as it takes to be faster than the command.
fn kill_at(place: &Place, args: &[&str], moment: Moment, mut check: impl FnMut()) {
    for _ in 0..20 {
        let mut child = start(place, args);
        let ended = loop {
            if moment(place) {
                child.kill().unwrap();
                break child.wait().unwrap();
            }
            if let Some(ended) = child.try_wait().unwrap() {
                break ended;
            }
            thread::yield_now();
        };
        check();
        if ended.code().is_none() {
            return;
        }
    }
    panic!("{args:?} was never killed in the middle");
}

fn whole(place: &Place) -> String {
    assert_eq!(place.json(&["db", "check"])["ok"], true);
    let sql = place.sql();
    let count: u32 = sql.query_row("SELECT count(*) FROM users", [], |row| row.get(0)).unwrap();
    assert_eq!(count, USERS);
    sql.query_row("SELECT username FROM users WHERE id = (SELECT min(id) FROM users)", [], |row| row.get(0))
        .unwrap()
}

#[test]
fn s31_a_backup_that_is_killed_leaves_no_file_of_its_name_or_a_good_one() {
    let place = place();
    let moments: [Moment; 4] = [
        |place| draft(place, "copy.db.part-").is_some(),
        |place| draft(place, "copy.db.part-") > Some(0),
        |place| draft(place, "copy.db.part-") > Some(size(place, "good.db") / 2),
        |place| draft(place, "copy.db.part-") >= Some(size(place, "good.db")),
    ];
    for moment in moments {
        kill_at(&place, &["db", "backup", "copy.db"], moment, || {
            assert_eq!(whole(&place), "new");
            if place.path("copy.db").exists() {
                let copy = rusqlite::Connection::open(place.path("copy.db")).unwrap();
                let count: u32 = copy.query_row("SELECT count(*) FROM users", [], |row| row.get(0)).unwrap();
                assert_eq!(count, USERS);
                std::fs::remove_file(place.path("copy.db")).unwrap();
            }
            // Nobody knows whether somebody still writes one, so no other run deletes it.
            for left in place.files().iter().filter(|name| name.contains(".part-")) {
                std::fs::remove_file(place.path(left)).unwrap();
            }
        });
    }
    place.ok(&["db", "backup", "copy.db"]);
    assert!(!place.files().iter().any(|name| name.contains(".part")), "{:?}", place.files());
}

#[test]
fn s31_a_restore_that_is_killed_leaves_the_old_database_or_the_new_one() {
    let place = place();
    let moments: [Moment; 5] = [
        |place| draft(place, "freshk.db.restore-").is_some(),
        |place| draft(place, "freshk.db.restore-") > Some(0),
        |place| draft(place, "freshk.db.restore-") > Some(size(place, "good.db") / 2),
        |place| draft(place, "freshk.db.restore-") >= Some(size(place, "good.db")),
        // Between the second name of what is replaced and the renaming.
        |place| place.files().iter().any(|name| name.contains("before-restore")),
    ];
    for moment in moments {
        kill_at(&place, &["db", "restore", "good.db", "--yes"], moment, || {
            let name = whole(&place);
            assert!(name == "old" || name == "new", "{name}");
            place
                .sql()
                .execute("UPDATE users SET username = 'new' WHERE id = (SELECT min(id) FROM users)", [])
                .unwrap();
            // The next run begins among what this one left, but for what would look like its own.
            for kept in place.files().iter().filter(|name| name.contains("before-restore")) {
                std::fs::remove_file(place.path(kept)).unwrap();
            }
        });
    }
    place.ok(&["db", "restore", "good.db", "--yes"]);
    assert_eq!(whole(&place), "old");
}
