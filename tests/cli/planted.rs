//! Files and links that somebody put where a command writes.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use crate::support::Place;

fn place() -> Place {
    let place = Place::new();
    place.good("user create +1234567890");
    place.write("theirs", "theirs");
    place
}

#[test]
fn s41_an_export_follows_no_link_and_keeps_no_mode() {
    let place = place();
    // Both under its name and under the one that it had while it was written.
    for name in ["users.csv", "users.csv.part"] {
        symlink(place.path("theirs"), place.path(name)).unwrap();
    }
    place.run("user export users.csv --yes");
    assert_eq!(place.read("theirs"), "theirs");
    assert!(place.read("users.csv").contains("+1234567890"));
    assert_eq!(mode(&place, "users.csv"), 0o600);
    for name in ["more.csv", "more.csv.part"] {
        place.write(name, "theirs");
        fs::set_permissions(place.path(name), Permissions::from_mode(0o666)).unwrap();
    }
    place.run("user export more.csv --yes");
    assert_eq!(place.read("more.csv.part"), "theirs", "a name that is taken is passed over");
    assert!(place.read("more.csv").contains("+1234567890"));
    assert_eq!(mode(&place, "more.csv"), 0o600);
}

#[test]
fn an_export_does_not_take_the_place_of_what_is_no_file() {
    let place = place();
    fs::create_dir(place.path("directory")).unwrap();
    for name in ["directory", "/dev/null", "/dev/stdout"] {
        let answer = place.run(&format!("user export {name}"));
        assert_eq!(answer.code, 1, "{name}");
        assert!(
            answer.stderr.contains("is not a file\nhelp: name one, or none"),
            "{name}: {}",
            answer.stderr
        );
    }
}

#[test]
fn s41_a_planted_lock_is_told_of_and_left_alone() {
    let place = place();
    symlink(place.path("theirs"), place.path("freshk.db.lock")).unwrap();
    for line in ["db vacuum", "serve --listen 127.0.0.1:0"] {
        let answer = place.run(line);
        assert_eq!(answer.code, 1, "{line}");
        let told = "freshk.db.lock is a link, or not a lock that freshk wrote\nhelp: find out who made it, and move it away";
        assert!(answer.stderr.contains(told), "{line}: {}", answer.stderr);
    }
    assert_eq!(place.read("theirs"), "theirs");
}

#[test]
fn s41_a_configuration_that_somebody_else_put_into_the_folder_is_not_read() {
    let place = place();
    place.write(".env", "");
    let nobody = 65534;
    let give = |name: &str, owner: u32| chown(place.path(name), Some(owner), None);
    if give("freshk.toml", nobody).is_err() {
        // Only root can make a file somebody else's.
        return;
    }
    place.write("freshk.toml", "[backup]\ndir = \".\"\ncommand = \"touch done\"\n");
    for (name, flag) in [("freshk.toml", "--config"), (".env", "--env-file")] {
        give(name, nobody).unwrap();
        let answer = place.run("db backup");
        assert_eq!(answer.code, 1, "{answer:?}");
        let told = format!(
            "\n{name}\n    it was found in this folder and belongs to another user (number {nobody})"
        );
        assert!(answer.stderr.contains(&told), "{name}: {}", answer.stderr);
        assert!(answer.stderr.contains(&format!("name it: {flag} {name}")), "{}", answer.stderr);
        assert_eq!(place.run("serve --listen 127.0.0.1:0").code, 78, "{name}");
        assert!(!place.path("done").exists());
        // Whoever became root is no stranger to the own files.
        let mut command = place.command("user list");
        command.env("SUDO_UID", nobody.to_string());
        assert!(command.output().unwrap().status.success(), "{name}");
        place.good(&format!("{flag} {name} user list"));
        give(name, 0).unwrap();
    }
    give("freshk.toml", nobody).unwrap();
    assert_eq!(place.run("--config freshk.toml db backup").code, 0);
    assert!(place.path("done").exists(), "it was named");
}

#[test]
fn a_configuration_that_everybody_can_change_is_told_of() {
    let place = place();
    fs::set_permissions(place.path("freshk.toml"), Permissions::from_mode(0o666)).unwrap();
    let answer = place.run("user list");
    assert_eq!(answer.code, 0);
    let told = "everybody can change freshk.toml, and with it the programs that it names\n    if it is yours, chmod 600 freshk.toml";
    assert!(answer.stderr.contains(told), "{}", answer.stderr);
}

fn mode(place: &Place, name: &str) -> u32 {
    place.path(name).symlink_metadata().unwrap().permissions().mode() & 0o777
}
