//! A command needs only the keys that it uses: what is wrong or missing elsewhere does not stop it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Answer, Place};

const SECRET: &str = "an-honest-secret-of-more-than-32-bytes";

/// A production configuration without a secret and without Twilio, beside a database that is there.
fn place() -> Place {
    let place = Place::new();
    place.good("user create +1234567890 --verified");
    fs::remove_file(place.path("freshk.db.secret")).unwrap();
    place.write("freshk.toml", "[otp]\nttl = \"soon\"\n[users]\nroles = [\"retailer\"]\n");
    place
}

#[test]
fn a_backup_from_cron_needs_the_database_alone() {
    let place = place();
    place.good("db backup copy.db");
    place.good("db check");
    assert!(place.path("copy.db").exists());
}

#[test]
fn reading_needs_neither_a_secret_nor_twilio() {
    let place = place();
    for line in ["user list", "user show 1", "user export", "session list", "otp list", "sms list", "stats"] {
        place.good(line);
    }
    place.good("audit list");
    let answer = place.run("audit list --phone +1234567890");
    assert_eq!(answer.code, 1);
    assert!(answer.stderr.contains("secret_key"), "phones are found by their hashes: {}", answer.stderr);
}

#[test]
fn an_import_needs_the_secret_and_no_twilio() {
    let place = place();
    place.write("users.csv", "phone_number\n+15551234567\n");
    let answer = place.run("user import users.csv");
    assert!(answer.stderr.contains("the configuration has 1 fault:\n\nsecret_key"), "{}", answer.stderr);
    place.write(".env", format!("SECRET_KEY={SECRET}\n"));
    fs::set_permissions(place.path(".env"), Permissions::from_mode(0o600)).unwrap();
    place.good("user import users.csv");
}

#[test]
fn what_a_command_uses_must_be_good_and_so_must_the_name_of_a_key_that_is_like_it() {
    let place = place();
    let faulty = |toml: &str, key: &str| {
        place.write("freshk.toml", toml);
        let answer = place.run("user list");
        assert_eq!(answer.code, 1, "{toml}");
        assert!(answer.stderr.contains("1 fault:") && answer.stderr.contains(key), "{}", answer.stderr);
    };
    faulty("[database]\nurl = \"mysql://x\"\n", "database.url");
    faulty("[databse]\nurl = \"sqlite://freshk.db\"\n", "did you mean database.url?");
    faulty("[database\n", "it is not TOML");
    place.write("freshk.toml", "[twilio]\nfrom = \"+15005550006\"\n[elsewhere]\nx = 1\n");
    place.good("user list");
}

/// A command as a user without root's rights to read everything; elsewhere the tests run without them anyway.
fn without_rights(command: &Command) -> Command {
    let has_none = fs::read_to_string("/proc/self/status").unwrap().contains("CapEff:\t0000000000000000");
    if has_none {
        let mut same = Command::new(command.get_program());
        same.args(command.get_args());
        return same;
    }
    let mut wrapped = Command::new("setpriv");
    wrapped.args(["--bounding-set", "-dac_override,-dac_read_search"]);
    wrapped.arg(command.get_program()).args(command.get_args());
    wrapped
}

#[test]
fn a_folder_that_this_user_may_not_enter_does_not_hide_the_files_that_are_found_elsewhere() {
    let place = Place::new();
    let closed = place.path("closed");
    fs::create_dir(&closed).unwrap();
    place.write("closed/freshk.toml", "nonsense = 1\n");
    place.write("closed/.env", "FRESHK_NONSENSE=1\n");
    fs::create_dir(place.path("credentials")).unwrap();
    place.write("credentials/freshk.toml", "debug = true\n[otp]\nttl = \"7m\"\n");
    let run = |line: &str| {
        let mut command = without_rights(&place.command(line));
        command.current_dir(&closed).env_clear().stdin(Stdio::null());
        command.env("CREDENTIALS_DIRECTORY", place.path("credentials"));
        Answer::of(&command.output().unwrap())
    };
    fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
    let (shown, named) = (run("config show --json"), run("config show --config freshk.toml"));
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();

    assert_eq!(shown.code, 0, "{}", shown.stderr);
    assert!(shown.stderr.contains("may not enter") && shown.stderr.contains(".env"), "{}", shown.stderr);
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    let settings = shown["settings"].as_array().unwrap();
    let ttl = settings.iter().find(|setting| setting["key"] == "otp.ttl").unwrap();
    assert_eq!(ttl["value"], "7m");
    // One that is named must be read.
    assert!(named.code == 1 && named.stderr.contains("it cannot be read"), "{}", named.stderr);
}

#[test]
fn sending_and_serving_need_all_of_it() {
    let place = place();
    for (line, code) in [("sms send-test +1234567890", 1), ("serve", 78)] {
        let answer = place.run(line);
        assert_eq!(answer.code, code, "{line}");
        assert!(answer.stderr.contains("secret_key") && answer.stderr.contains("sms.provider"), "{line}");
    }
}
