//! What cannot be done: exit 2 for a command line that will not do, else 1, and always what to do next.

use std::process::Stdio;

use crate::support::{Place, database};

#[test]
fn usage_errors_exit_with_2_and_others_with_1() {
    let place = Place::new();
    place.good("user create +1234567890");
    for (line, code, told) in [
        ("user show nobody", 1, "freshk user list"),
        ("user show 99", 1, "freshk user list"),
        ("user create 1234567890", 2, "such as +1234567890"),
        ("user create +1234567890", 1, "has a user already"),
        ("user create +1234567891 --role boss", 2, "users.roles has retailer, staff"),
        ("user set-role 1 boss", 2, "users.roles"),
        ("user set-phone 1 nonsense", 2, "such as +1234567890"),
        ("user delete 1", 2, "add --yes"),
        ("session revoke x", 2, "freshk session list"),
        ("session list --user nobody", 1, "freshk user list"),
        ("otp list --phone x", 2, "such as +1234567890"),
        ("limit show x", 2, "203.0.113.7"),
        ("limit reset 1.2.3", 2, "203.0.113.7"),
        ("sms list --state nowhere", 2, "delivered"),
        ("sms send-test x", 2, "such as +1234567890"),
        ("audit list --event nothing", 2, "authn_login_fail"),
        ("audit list --since yesterday", 2, "7d"),
        ("stats --since yesterday", 2, "7d"),
        ("user export /nowhere/users.csv", 1, "a directory that exists"),
    ] {
        let answer = place.run(line);
        assert_eq!((answer.code, answer.stdout.as_str()), (code, ""), "{line}: {}", answer.stderr);
        assert!(
            answer.stderr.starts_with("error: ") && answer.stderr.contains(told),
            "{line}: {}",
            answer.stderr
        );
    }
}

#[test]
fn a_database_that_will_not_do_is_named_with_its_mend() {
    let missing = Place::new();
    let answer = missing.run("user list");
    assert_eq!(answer.code, 1);
    assert!(
        answer.stderr.contains("there is no database freshk.db\n`freshk serve` makes it"),
        "{}",
        answer.stderr
    );
    assert!(!database(&missing).exists());

    let text = Place::new();
    text.write("freshk.db", "these are a few words and no database at all".repeat(30));
    let answer = text.run("user list");
    assert_eq!(answer.code, 1);
    assert!(answer.stderr.contains("is not a database; move it away"), "{}", answer.stderr);

    let foreign = Place::new();
    let conn = rusqlite::Connection::open(database(&foreign)).unwrap();
    conn.execute_batch("CREATE TABLE theirs (x); PRAGMA user_version = 3").unwrap();
    let answer = foreign.run("user list");
    assert!(answer.stderr.contains("belongs to another program"), "{}", answer.stderr);

    let newer = Place::new();
    newer.good("user create +1234567890");
    rusqlite::Connection::open(database(&newer)).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    let answer = newer.run("user list");
    assert_eq!(answer.code, 1);
    assert!(answer.stderr.contains("install the version that wrote it"), "{}", answer.stderr);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new();
    place.good("user create +1234567890");
    for line in
        ["user list", "user export", "audit list", "stats", "audit list --follow", "limit show 127.0.0.1"]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = place
            .command(line)
            .stdout(Stdio::from(writer))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), told.as_str()), (Some(0), ""), "{line}");
    }
}

#[test]
fn every_command_has_examples() {
    let place = Place::new();
    for line in [
        "user list",
        "user show",
        "user create",
        "user set-role",
        "user set-phone",
        "user activate",
        "user deactivate",
        "user logout",
        "user delete",
        "user import",
        "user export",
        "session list",
        "session revoke",
        "otp list",
        "otp purge",
        "limit show",
        "limit reset",
        "sms list",
        "sms send-test",
        "audit list",
        "stats",
    ] {
        let help = place.good(&format!("{line} --help"));
        assert!(help.contains("Example") && help.contains(&format!("freshk {line}")), "{line}\n{help}");
    }
}

#[test]
fn a_test_message_is_shown_in_debug_and_audited() {
    let place = Place::new();
    place.good("user create +1234567890");
    let answer = place.run("sms send-test +1234567890");
    assert_eq!((answer.code, answer.stdout.as_str()), (0, "the provider has a message to +12******90\n"));
    assert_eq!(place.json("audit list --event sms_test_sent")["lines"][0]["detail"], "operator: accepted");
    assert_eq!(place.json("sms list")["messages"], serde_json::json!([]));
}
