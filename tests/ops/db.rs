//! `freshk db`, and the server's own backups.

use std::os::unix::fs::PermissionsExt as _;

use crate::place::{Place, until};

#[test]
fn s31_a_backup_is_made_beside_a_server_and_opens() {
    let place = Place::new();
    place.database("before");
    let server = place.serve(&[]);
    let made = place.json(&["db", "backup", "copy.db"]);
    assert!(made["bytes"].as_u64().unwrap() > 4096);
    let copy = rusqlite::Connection::open(place.path("copy.db")).unwrap();
    let name: String = copy.query_row("SELECT username FROM users", [], |row| row.get(0)).unwrap();
    assert_eq!(name, "before");
    assert_eq!(place.path("copy.db").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!place.files().iter().any(|name| name.contains(".part")));
    let (code, said) = place.fails(&["db", "backup", "copy.db"]);
    assert!(code == 1 && said.contains("exists already\nhelp: name a file that does not"), "{said}");
    assert!(server.stop());
}

#[test]
fn a_backup_needs_a_place() {
    let place = Place::new();
    let (code, said) = place.fails(&["db", "backup", "copy.db"]);
    assert!(code == 1 && said.contains("there is no database") && said.contains("freshk serve"), "{said}");
    place.database("x");
    let (code, said) = place.fails(&["db", "backup"]);
    assert!(code == 2 && said.contains("backup.dir"), "{said}");
    let (code, said) = place.fails(&["db", "backup", "no/such/directory/copy.db"]);
    assert!(code == 1 && said.contains("check that its directory exists"), "{said}");
}

#[test]
fn the_server_makes_its_own_and_keeps_so_many() {
    let place = Place::new();
    place.database("x");
    let dir = place.path("backups");
    std::fs::create_dir(&dir).unwrap();
    for day in 1..4 {
        std::fs::write(dir.join(format!("freshk-2020010{day}T000000Z.db")), "").unwrap();
    }
    std::fs::write(dir.join("mine.db"), "").unwrap();
    let settings = [("FRESHK_BACKUP__DIR", "backups"), ("FRESHK_BACKUP__KEEP", "2")];
    let server = place.serve(&settings);
    let names = || {
        let entries = std::fs::read_dir(&dir).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    // Each with its checksum.
    until(|| names().iter().any(|name| name.ends_with(".db.sha256")) && names().len() == 4);
    let names: Vec<_> = names().into_iter().filter(|name| !name.ends_with(".sha256")).collect();
    assert_eq!(names[0], "freshk-20200103T000000Z.db");
    assert_eq!(names[2], "mine.db");
    assert!(rusqlite::Connection::open(dir.join(&names[1])).unwrap().table_exists(None, "users").unwrap());
    let page = server.get("/metrics");
    let age = page.lines().find_map(|line| line.strip_prefix("freshk_backup_age_seconds ")).unwrap();
    assert!(age.parse::<f64>().unwrap() < 600.0, "{age}");
}

#[test]
fn check_tells_a_whole_file_from_a_damaged_one() {
    let place = Place::new();
    place.database("x");
    let found = place.json(&["db", "check"]);
    assert_eq!((&found["ok"], &found["schema"]), (&true.into(), &6.into()));
    place
        .sql()
        .execute_batch(
            "PRAGMA foreign_keys = OFF;
             INSERT INTO messages (challenge_id, phone, state, segments, created_at, updated_at)
             VALUES (99, '+15550000001', 'sent', 1, 0, 0)",
        )
        .unwrap();
    let (code, said) = place.fails(&["db", "check"]);
    assert!(code == 1 && said.contains("freshk db restore"), "{said}");
    std::fs::write(
        place.path("freshk.db"),
        "this is no database, and long enough to be told so. ".repeat(100),
    )
    .unwrap();
    let (code, said) = place.fails(&["db", "check"]);
    assert!(code == 1 && said.contains("is not a database"), "{said}");
}

#[test]
fn what_wants_the_database_alone_names_the_server() {
    let place = Place::new();
    place.database("x");
    let copy = place.path("copy.db");
    place.ok(&["db", "backup", copy.to_str().unwrap()]);
    let server = place.serve(&[]);
    for args in [&["db", "migrate"][..], &["db", "vacuum"], &["db", "restore", "copy.db", "--yes"]] {
        let (code, said) = place.fails(args);
        assert!(code == 1 && said.contains("is in use by process") && said.contains("stop"), "{said}");
    }
    assert!(server.stop());
    assert!(place.ok(&["db", "migrate"]).contains("schema 6 is the latest"));
    assert!(place.json(&["db", "vacuum"])["after"].as_u64().unwrap() > 0);
}
