//! Whoever reads a command's answer may go away whenever it likes: `| head -1`.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use crate::support::Place;

/// More than a pipe holds.
const USERS: u32 = 5000;

fn place() -> Place {
    let place = Place::new();
    place.good("user create +1234567890");
    let conn = rusqlite::Connection::open(place.path("freshk.db")).unwrap();
    conn.execute_batch(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < {USERS})
         INSERT INTO users (username, phone, role, joined_at)
         SELECT 'user_' || i, '+' || (15550000000 + i), 'retailer', 0 FROM n;
         INSERT INTO audit (at, event, detail) SELECT 0, 'user_created', username FROM users;
         INSERT INTO challenges (id, channel, phone, key_number, code_hmac, state, created_at, expires_at, used_at)
         SELECT id, 'production', phone, 1, zeroblob(32), 'used', 0, 0, 0 FROM users;
         INSERT INTO messages (challenge_id, phone, state, segments, created_at, updated_at)
         SELECT id, phone, 'sent', 1, 0, 0 FROM challenges"
    ))
    .unwrap();
    place
}

#[test]
fn a_reader_that_was_never_there_is_no_error() {
    let place = place();
    for line in [
        "user list",
        "user export",
        "audit list",
        "audit list --follow",
        "sms list",
        "otp list",
        "stats",
        "limit show 127.0.0.1",
        "db check",
        "man",
        "completions zsh",
        "openapi",
        "openapi --json",
        "config example",
        "config show",
        "key generate",
        "--help",
        "user import --help",
    ] {
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
        // A list that is cut says so.
        let told: Vec<_> = told.lines().filter(|line| !line.starts_with("50 of 5,00")).collect();
        assert_eq!((output.status.code(), told.as_slice()), (Some(0), [].as_slice()), "{line}");
    }
}

#[test]
fn a_reader_that_takes_one_line_gets_it_and_nobody_complains() {
    let place = place();
    for (line, first) in [
        ("user list --limit 100000", "ID"),
        ("user list --limit 100000 --json", "{"),
        ("user export", "id,username,phone_number"),
        ("user export --format jsonl", "{\"id\":1,"),
        ("audit list --limit 100000", "AT"),
        ("audit list --limit 100000 --follow", "20"),
        ("sms list --limit 100000", "ID"),
        ("otp list --limit 100000 --json", "{"),
        ("openapi", "openapi: "),
    ] {
        let mut child = place.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut answer = BufReader::new(child.stdout.take().unwrap());
        let mut got = String::new();
        answer.read_line(&mut got).unwrap();
        assert!(got.starts_with(first), "{line}: {got}");
        drop(answer);
        let mut told = String::new();
        child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        assert_eq!((child.wait().unwrap().code(), told.as_str()), (Some(0), ""), "{line}");
    }
}
