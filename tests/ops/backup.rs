//! Backups that cannot be made: nothing is left of them, and what was there stays.

use std::process::Output;

use crate::place::{Place, stderr, until};

const OLD: &str = "freshk-20200101T000000Z.db";

/// A place whose database is larger than [`in_a_full_place`] lets a file grow.
fn large() -> Place {
    let place = Place::new();
    place.database("x");
    place.fill(20_000);
    assert!(place.path("freshk.db").metadata().unwrap().len() > 1024 * 1024);
    place
}

/// Runs where no file can grow beyond half a megabyte: to whoever writes it is as if the disk were full.
fn in_a_full_place(place: &Place, args: &[&str], environment: &[(&str, &str)]) -> Output {
    let program = place.command(args, environment);
    let mut shell = std::process::Command::new("sh");
    // In units of 512 bytes or of 1024, as the shell has it.
    shell.args(["-c", "trap '' XFSZ; ulimit -f 512; exec \"$0\" \"$@\""]);
    shell.arg(program.get_program()).args(program.get_args());
    shell.env_clear().envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.current_dir(program.get_current_dir().unwrap()).output().unwrap()
}

#[test]
fn a_directory_that_is_not_there_is_told_and_not_made() {
    let place = Place::new();
    place.database("x");
    let before = place.files();
    let output = place.command(&["db", "backup"], &[("FRESHK_BACKUP__DIR", "nowhere")]).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no backup in nowhere was made"), "{said}");
    assert!(said.contains("check that its directory exists"), "{said}");
    assert_eq!(place.files(), before);
}

#[test]
fn a_full_disk_leaves_the_older_backups_and_no_half_one() {
    let place = large();
    std::fs::create_dir(place.path("backups")).unwrap();
    std::fs::write(place.path("backups").join(OLD), "an old one").unwrap();
    let settings = [("FRESHK_BACKUP__DIR", "backups"), ("FRESHK_BACKUP__KEEP", "1")];
    for (args, told) in [
        (&["db", "backup"][..], "no backup in backups was made"),
        (&["db", "backup", "backups/x.db"], "x.db"),
    ] {
        let output = in_a_full_place(&place, args, &settings);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains(told) && said.contains("has room"), "{args:?}: {said}");
        assert_eq!(place.files_in("backups"), [OLD], "{args:?}");
    }
    assert_eq!(std::fs::read_to_string(place.path("backups").join(OLD)).unwrap(), "an old one");
    assert_eq!(place.json(&["db", "check"])["ok"], true);
}

#[test]
fn a_restore_onto_a_full_disk_changes_nothing() {
    let place = large();
    place.ok(&["db", "backup", "copy.db"]);
    let before = place.files();
    let output = in_a_full_place(&place, &["db", "restore", "copy.db", "--yes"], &[]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("copy.db cannot be copied beside the database") && said.contains("room"), "{said}");
    let after = place.files();
    let after: Vec<_> = after.iter().filter(|name| *name != "freshk.db.lock").collect();
    assert_eq!(after, before.iter().filter(|name| *name != "freshk.db.lock").collect::<Vec<_>>());
    assert_eq!(place.json(&["db", "check"])["ok"], true);
}

#[test]
fn making_it_small_on_a_full_disk_changes_nothing() {
    let place = large();
    let output = in_a_full_place(&place, &["db", "vacuum"], &[]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("freshk.db cannot be read or written") && said.contains("has room"), "{said}");
    assert_eq!(place.json(&["db", "check"])["ok"], true);
}

#[test]
fn a_server_whose_backups_fail_says_so_and_serves_on() {
    let place = Place::new();
    let server = place.serve(&[("FRESHK_BACKUP__DIR", "nowhere")]);
    until(|| {
        std::fs::read_to_string(place.path("server.log")).unwrap().contains("check that its directory exists")
    });
    assert!(server.get("/health/ready").starts_with("HTTP/1.1 200"));
    assert!(server.stop());
}

#[test]
fn an_old_one_that_cannot_be_deleted_is_named_and_the_new_one_is_made() {
    let place = Place::new();
    place.database("x");
    std::fs::create_dir_all(place.path("backups").join(OLD)).unwrap();
    let settings = [("FRESHK_BACKUP__DIR", "backups"), ("FRESHK_BACKUP__KEEP", "1")];
    let output = place.command(&["db", "backup"], &settings).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("was made") && said.contains(OLD) && said.contains("delete it by hand"), "{said}");
    assert!(!said.contains("no backup"), "{said}");
    assert_eq!(place.files_in("backups").len(), 3, "the new one with its checksum");
}
