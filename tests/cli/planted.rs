//! Files and links that somebody put where a command writes.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};

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

fn mode(place: &Place, name: &str) -> u32 {
    place.path(name).symlink_metadata().unwrap().permissions().mode() & 0o777
}
