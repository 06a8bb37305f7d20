//! Exit codes of every command: 0 done, 1 failed, 2 a command line that will not do. Whatever fails says what to do next.

use std::collections::BTreeSet;

use crate::help::leaves;
use crate::support::Place;

/// A command line, its exit code, and what is said where it is not 0. In this order, in one place with one user.
const LINES: &[(&str, u8, &str)] = &[
    ("serve --listen nowhere", 78, "server.listen"),
    ("serve --database sqlite://nowhere/freshk.db", 1, "create it, or correct database.url"),
    ("user list --limit 1", 0, ""),
    ("user list --limit many", 2, "--help"),
    ("user list --database sqlite://nowhere.db", 1, "`freshk serve` makes it"),
    ("user list --config nowhere.toml", 1, "name a file that exists"),
    ("user show 1", 0, ""),
    ("user show", 2, "<USER>"),
    ("user show nobody", 1, "`freshk user list"),
    ("user show 99", 1, "`freshk user list"),
    ("user create +1234567899 --role staff", 0, ""),
    ("user create", 2, "<PHONE>"),
    ("user create 1234567890", 2, "such as +1234567890"),
    ("user create +1234567891 --role boss", 2, "users.roles has retailer, staff"),
    ("user create +1234567890", 1, "`freshk user show`"),
    ("user set-role 1 staff", 0, ""),
    ("user set-role 1", 2, "<ROLE>"),
    ("user set-role 1 boss", 2, "choose one of them"),
    ("user set-role nobody staff", 1, "`freshk user list"),
    ("user set-attribute 1 plan gold", 0, ""),
    ("user set-attribute 1 plan", 2, "<VALUE>"),
    ("user set-attribute nobody plan gold", 1, "`freshk user list"),
    ("user set-phone 1 +1234567890", 0, ""),
    ("user set-phone 1", 2, "<PHONE>"),
    ("user set-phone 1 nonsense", 2, "such as +1234567890"),
    ("user set-phone 1 +1234567899", 1, "`freshk user show`"),
    ("user cancel-phone-change", 2, "<USER>"),
    ("user cancel-phone-change 1", 1, "`freshk user show`"),
    ("user cancel-phone-change nobody", 1, "`freshk user list"),
    ("user deactivate 1", 0, ""),
    ("user deactivate", 2, "<USER>"),
    ("user deactivate nobody", 1, "`freshk user list"),
    ("user activate 1", 0, ""),
    ("user activate", 2, "<USER>"),
    ("user activate nobody", 1, "`freshk user list"),
    ("user logout 1", 0, ""),
    ("user logout", 2, "<USER>"),
    ("user logout nobody", 1, "`freshk user list"),
    ("user restore 1", 1, "is not to be deleted"),
    ("user restore", 2, "<USER>"),
    ("user delete 2", 2, "add --yes"),
    ("user delete nobody", 1, "`freshk user list"),
    ("user delete 2 --yes", 0, ""),
    ("user check-duplicates", 0, ""),
    ("user check-duplicates --limit many", 2, "--help"),
    ("user check-duplicates --database sqlite://nowhere.db", 1, "`freshk serve` makes it"),
    ("user import users.csv", 0, ""),
    ("user import", 2, "<FILE>"),
    ("user import nowhere.csv", 1, "`freshk user export` writes a file in the right form"),
    ("user import bad.csv", 1, "leave them out with --skip-bad"),
    ("user export out.csv", 0, ""),
    ("user export --format xml", 2, "possible values: csv, jsonl"),
    ("user export nowhere/out.csv", 1, "name a file in a directory that exists"),
    ("session list", 0, ""),
    ("session list --user", 2, "--user <USER>"),
    ("session list --user nobody", 1, "`freshk user list"),
    ("session revoke", 2, "<SESSION>"),
    ("session revoke x", 2, "`freshk session list`"),
    ("session revoke 00000000000000000000000000000000", 1, "`freshk session list`"),
    ("otp list", 0, ""),
    ("otp list --phone x", 2, "such as +1234567890"),
    ("otp list --database sqlite://nowhere.db", 1, "`freshk serve` makes it"),
    ("otp purge", 0, ""),
    ("otp purge 1", 2, "--help"),
    ("otp purge --database sqlite://nowhere.db", 1, "`freshk serve` makes it"),
    ("limit show +1234567890", 0, ""),
    ("limit show x", 2, "write 203.0.113.7"),
    ("limit show --database sqlite://nowhere.db", 1, "`freshk serve` makes it"),
    ("limit reset 203.0.113.7", 0, ""),
    ("limit reset", 2, "<KEY>"),
    ("limit reset 1.2.3", 2, "write 203.0.113.7"),
    ("limit reset +1234567890 --database sqlite://nowhere.db", 1, "`freshk serve` makes it"),
    ("sms list --state sent", 0, ""),
    ("sms list --state nowhere", 2, "delivered"),
    ("sms list --database sqlite://nowhere.db", 1, "`freshk serve` makes it"),
    ("sms send-test +1234567890", 0, ""),
    ("sms send-test", 2, "<PHONE>"),
    ("sms send-test x", 2, "such as +1234567890"),
    ("sms send-test +1234567890 --database sqlite://nowhere.db", 1, "`freshk serve` makes it"),
    ("sms test-number add +15005550006 --code 604927 --until 1d", 0, ""),
    ("sms test-number add +15005550006 --code 604927", 2, "--until <UNTIL>"),
    ("sms test-number add +15005550006 --code 1 --until 1d", 2, "6 digits"),
    ("sms test-number add +1234567890 --code 604927 --until 1d", 1, "--existing-user"),
    ("sms test-number list", 0, ""),
    ("sms test-number list all", 2, "--help"),
    ("sms test-number list --database sqlite://nowhere.db", 1, "`freshk serve` makes it"),
    ("sms test-number remove +15005550006", 0, ""),
    ("sms test-number remove", 2, "<PHONE>"),
    ("sms test-number remove +15005550006", 1, "`freshk sms test-number list`"),
    ("selftest nowhere --phone +15005550006 --code 604927", 2, "https://api.your-domain.com"),
    ("selftest http://127.0.0.1:1 --phone +15005550006 --code 604927", 1, "check that the server runs"),
    ("event list --since 2h", 0, ""),
    ("event list --since yesterday", 2, "write a duration such as 90m, 2h or 7d"),
    ("event list --user nobody", 1, "`freshk user list"),
    ("event replay --since 2h", 0, ""),
    ("event replay", 2, "--since <TIME>"),
    ("event replay --since 2h --webhook shop", 1, "[[webhooks]]"),
    ("webhook list", 0, ""),
    ("webhook list all", 2, "--help"),
    ("webhook list --database sqlite://nowhere.db", 1, "`freshk serve` makes it"),
    ("webhook test", 2, "<NAME>"),
    ("webhook test shop", 1, "[[webhooks]]"),
    ("webhook enable", 2, "<NAME>"),
    ("webhook enable shop", 1, "[[webhooks]]"),
    ("audit list --since 2h", 0, ""),
    ("audit list --since yesterday", 2, "write a duration such as 90m, 2h or 7d"),
    ("audit list --event nothing", 2, "authn_login_fail"),
    ("audit list --phone x", 2, "such as +1234567890"),
    ("audit list --user nobody", 1, "`freshk user list"),
    ("stats", 0, ""),
    ("stats --since yesterday", 2, "write a duration such as 90m, 2h or 7d"),
    ("stats --database sqlite://nowhere.db", 1, "`freshk serve` makes it"),
    ("init --config mine.toml", 0, ""),
    ("init --config", 2, "--config <FILE>"),
    ("init --config other.toml --account-sid AC1", 2, "32 hexadecimal digits"),
    ("init --config mine.toml", 1, "--force"),
    ("health --listen 127.0.0.1:1", 1, "start the server"),
    ("health --listen nowhere", 1, "127.0.0.1:8000"),
    ("health now", 2, "--help"),
    ("check --online", 2, "--help"),
    ("check --offline --config nowhere.toml", 1, "configuration"),
    ("db migrate", 0, ""),
    ("db migrate now", 2, "--help"),
    ("db migrate --database sqlite://nowhere.db", 1, "`freshk serve` makes it"),
    ("db check", 0, ""),
    ("db check now", 2, "--help"),
    ("db check --database sqlite://nowhere.db", 1, "`freshk serve` makes it"),
    ("db move", 2, "<URL>"),
    ("db move sqlite://copy.db", 1, "freshk db backup"),
    ("db backup copy.db", 0, ""),
    ("db backup", 2, "set backup.dir"),
    ("db backup copy.db", 1, "name a file that does not exist"),
    ("db backup-stamp", 1, "freshk db backup"),
    ("db backups", 2, "set it"),
    ("db drill", 2, "set backup.dir"),
    ("db restore copy.db --yes", 0, ""),
    ("db restore", 2, "<FILE>"),
    ("db restore copy.db", 2, "add --yes"),
    ("db restore nowhere.db --yes", 1, "name one that exists"),
    ("db vacuum", 0, ""),
    ("db vacuum now", 2, "--help"),
    ("db vacuum --database sqlite://nowhere.db", 1, "`freshk serve` makes it"),
    ("config show", 0, ""),
    ("config show all", 2, "--help"),
    ("config show --env-file nowhere", 1, "name a file that exists"),
    ("config example", 0, ""),
    ("config example all", 2, "--help"),
    ("key generate --out mine.key", 0, ""),
    ("key generate --algorithm rot13", 2, "EdDSA"),
    ("key generate --out mine.key", 1, "name a file that does not exist yet"),
    ("key rotate now", 2, "--help"),
    ("key rotate", 1, "freshk key generate"),
    ("openapi", 0, ""),
    ("openapi all", 2, "--help"),
    ("completions zsh", 0, ""),
    ("completions", 2, "<SHELL>"),
    ("completions sh", 2, "possible values: bash"),
    ("man man1", 0, ""),
    ("man one two", 2, "--help"),
    ("man nowhere", 1, "name a directory that exists"),
];

/// What is shown elsewhere, beside a server, with a session, with a key; and what has nothing to fail at.
const NOT_HERE: [(&str, u8); 19] = [
    ("db backup-stamp", 0),
    ("db backups", 0),
    ("db backups", 1),
    ("db drill", 0),
    ("db drill", 1),
    ("db move", 0),
    ("serve", 0),
    ("check", 0),
    ("selftest", 0),
    ("health", 0),
    ("session revoke", 0),
    ("user restore", 0),
    ("webhook test", 0),
    ("webhook enable", 0),
    ("key rotate", 0),
    ("user cancel-phone-change", 0),
    ("config example", 1),
    ("openapi", 1),
    ("completions", 1),
];

fn place() -> Place {
    let place = Place::new();
    place.good("user create +1234567890");
    place.write("users.csv", "phone_number\n+15551234567\n");
    place.write("bad.csv", "phone_number\nrubbish\n");
    std::fs::create_dir(place.path("man1")).unwrap();
    place
}

#[test]
fn every_command_ends_as_it_should() {
    let place = place();
    for (line, code, told) in LINES {
        let answer = place.run(line);
        assert_eq!(answer.code, i32::from(*code), "{line}: {answer:?}");
        if *code == 0 {
            continue;
        }
        // These tell in their answers what they found.
        let answers = ["check", "user import bad.csv", "config show"];
        if answers.iter().any(|begin| line.starts_with(begin)) {
            assert!((answer.stdout + &answer.stderr).contains(told), "{line}");
            continue;
        }
        let said = answer.stderr;
        assert_eq!(answer.stdout, "", "{line}");
        assert!(said.contains("error: "), "{line}: {said}");
        assert!(said.contains(told), "{line}: {said}");
    }
}

#[test]
fn the_table_knows_every_command_and_every_end() {
    let leaves = leaves();
    let of = |line: &str| {
        leaves.iter().find(|leaf| line == *leaf || line.starts_with(&format!("{leaf} "))).cloned()
    };
    let mut shown: BTreeSet<_> =
        LINES.iter().map(|(line, code, _)| (of(line).unwrap_or_else(|| panic!("{line}")), *code)).collect();
    shown.extend(NOT_HERE.map(|(leaf, code)| (leaf.to_owned(), code)));
    for leaf in &leaves {
        for code in 0..2 {
            assert!(shown.contains(&(leaf.clone(), code)), "no line of `{leaf}` ends with {code}");
        }
    }
}

#[test]
fn no_command_takes_what_it_does_not_know() {
    let place = Place::new();
    for line in leaves() {
        let answer = place.run(&format!("{line} --nonsense"));
        assert_eq!((answer.code, answer.stdout.as_str()), (2, ""), "{line}");
        assert!(answer.stderr.contains("--nonsense"), "{line}: {}", answer.stderr);
    }
    for line in ["", "user", "db", "nonsense", "user nonsense"] {
        assert_eq!(place.run(line).code, 2, "{line}");
    }
    assert!(!place.path("freshk.db").exists());
}
