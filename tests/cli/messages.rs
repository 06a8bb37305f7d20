//! Messages sent to try the provider, and codes that are deleted.

use std::process::Command;

use serde_json::json;

use crate::support::{Answer, PHONE, Place};
use crate::twilio::{ACCOUNT_SID, AUTH_TOKEN, Answer as Reply, FakeTwilio, NUMBER, sms_code};

/// A place with a database, in production.
fn place() -> Place {
    let place = Place::new();
    place.good("user create +1234567890");
    // With the secret of debug beside it a database is one for development.
    std::fs::remove_file(place.path("freshk.db.secret")).unwrap();
    place.write("freshk.toml", "secret_key = \"a secret for tests, of more than thirty-two bytes\"\n");
    std::fs::set_permissions(place.path("freshk.toml"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    place
}

fn command(place: &Place, twilio: &FakeTwilio, line: &str) -> Command {
    let mut command = place.command(line);
    command.envs([
        ("TWILIO_ACCOUNT_SID", ACCOUNT_SID),
        ("TWILIO_AUTH_TOKEN", AUTH_TOKEN),
        ("TWILIO_PHONE_NUMBER", NUMBER),
        ("FRESHK_TWILIO__BASE_URL", &twilio.url()),
        // Long enough for a busy machine, short enough to be waited for.
        ("FRESHK_TWILIO__TIMEOUT", "2s"),
        ("FRESHK_TWILIO__CONNECT_TIMEOUT", "1s"),
    ]);
    command
}

fn run(place: &Place, twilio: &FakeTwilio, line: &str) -> Answer {
    Answer::of(&command(place, twilio, line).output().unwrap())
}

fn noted(place: &Place) -> Vec<String> {
    let conn = rusqlite::Connection::open(place.path("freshk.db")).unwrap();
    let mut lines = conn.prepare("SELECT detail FROM audit WHERE event = 'sms_test_sent'").unwrap();
    let lines = lines.query_map([], |row| row.get(0)).unwrap();
    lines.collect::<Result<_, _>>().unwrap()
}

#[test]
fn a_test_message_is_shown_in_debug_and_audited() {
    let place = Place::new();
    place.good("user create +1234567890");
    let answer = place.run("sms send-test +1234567890");
    assert_eq!(
        (answer.code, answer.stdout.as_str()),
        (0, "the provider accepted a message to +12****7890\n")
    );
    assert_eq!(place.json("audit list --event sms_test_sent")["lines"][0]["detail"], "operator: accepted");
    assert_eq!(place.json("sms list")["messages"], json!([]));
}

#[test]
fn a_test_message_is_sent_once_with_a_code_that_opens_nothing() {
    let (place, twilio) = (place(), FakeTwilio::start());
    let answer = run(&place, &twilio, "sms send-test +1234567890");
    assert_eq!((answer.code, answer.stderr.as_str()), (0, ""));
    let said = answer.stdout.strip_prefix("the provider accepted a message to +12****7890 as SM").unwrap();
    assert_eq!(said.trim_end().len(), 32, "{said}");

    let requests = twilio.requests();
    let [request] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(request.path, format!("/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"));
    assert_eq!((request.field("To"), request.field("From")), (Some(PHONE), Some(NUMBER)));
    let code = sms_code(request);
    assert_eq!(code.len(), 6);
    let text = format!("Your FreshK code is {code}. It expires in 10 minutes. Never share it.");
    assert_eq!(request.field("Body"), Some(text.as_str()));
    twilio.assert_conforming();

    assert_eq!(noted(&place), ["operator: accepted"]);
    for table in ["challenges", "messages", "spends"] {
        assert_eq!(place.count(&format!("SELECT count(*) FROM {table}")), 0, "{table}");
    }
    let shown = run(&place, &twilio, "sms send-test +1234567890 --json --show-phones");
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    insta::assert_json_snapshot!(shown, { ".sid" => "[sid]" });
}

#[test]
fn what_twilio_refuses_is_told_with_its_mend() {
    for (http, code, told) in [
        (400, 21211, "not a valid number"),
        (400, 21614, "not a mobile number"),
        (400, 21635, "not a valid number"),
        (403, 21408, "the country is not enabled: Messaging, Settings, Geo permissions"),
        (400, 21610, "the recipient replied STOP"),
        (400, 21612, "no route from this sender to this number"),
        (429, 20429, "too many requests at once: lower twilio.max_in_flight"),
        (403, 30450, "blocked as SMS pumping: see the fraud guard's log"),
        (429, 21611, "the sender's queue is full: set twilio.segments_per_second"),
        (429, 63038, "the daily cap of the account is reached"),
        (401, 20003, "the credentials are refused: check twilio.account_sid and twilio.auth_token"),
        (400, 21212, "the sender is not valid: check twilio.phone_number"),
        (400, 21606, "the sender is not one of the account's, or cannot send SMS: check twilio.phone_number"),
        (400, 21608, "a trial account sends to verified numbers only: upgrade it"),
        (400, 99999, "Twilio refused the message"),
        (404, 20404, "no such account or address: check twilio.account_sid and twilio.base_url"),
    ] {
        let (place, twilio) = (place(), FakeTwilio::start());
        // What Twilio writes may quote the number.
        twilio.always(Reply::Error { http, code, message: "The number +1234567890 will not do" });
        let answer = run(&place, &twilio, "sms send-test +1234567890");
        assert_eq!((answer.code, answer.stdout.as_str()), (1, ""), "{code}: {}", answer.stderr);
        let expected = format!(
            "error: the message to +12****7890 was refused: HTTP {http}: {told}; \
             https://www.twilio.com/docs/api/errors/{code}\n"
        );
        assert!(answer.stderr.starts_with(&expected), "{code}: {}", answer.stderr);
        assert!(!answer.stderr.contains(PHONE), "{}", answer.stderr);
        // Only what surely was not taken in is tried again.
        assert_eq!(twilio.requests().len() > 1, http == 429, "{code}");
        assert_eq!(noted(&place), ["operator: refused"], "{code}");
    }
}

#[test]
fn a_fate_that_is_not_known_is_told_as_such() {
    for reply in [Reply::Html { http: 503 }, Reply::Hang, Reply::ResetAfterBody, Reply::Html { http: 200 }] {
        let (place, twilio) = (place(), FakeTwilio::start());
        twilio.always(reply.clone());
        let answer = run(&place, &twilio, "sms send-test +1234567890");
        assert_eq!((answer.code, answer.stdout.as_str()), (1, ""), "{reply:?}: {}", answer.stderr);
        let told = "error: it is not known whether the message to +12****7890 was accepted, and it may still arrive: ";
        assert!(answer.stderr.starts_with(told), "{reply:?}: {}", answer.stderr);
        assert_eq!(twilio.requests().len(), 1, "{reply:?}: a second one might be paid for twice");
        assert_eq!(noted(&place), ["operator: unknown"], "{reply:?}");
    }
    let (place, twilio) = (place(), FakeTwilio::refusing());
    let answer = run(&place, &twilio, "sms send-test +1234567890 --json");
    assert_eq!((answer.code, answer.stdout.as_str()), (1, ""), "{}", answer.stderr);
    assert!(answer.stderr.contains("was refused: Twilio was not reached"), "{}", answer.stderr);
}

#[test]
fn a_message_that_cannot_be_sent_is_told_before_anything_is_paid_for() {
    let (place, twilio) = (place(), FakeTwilio::start());
    for (line, code, told) in [
        ("sms send-test 1234567890", 2, "such as +1234567890"),
        ("sms send-test", 2, "<PHONE>"),
        ("sms send-test +1234567890 --database sqlite://nowhere.db", 1, "there is no database nowhere.db"),
    ] {
        let answer = run(&place, &twilio, line);
        assert_eq!(answer.code, code, "{line}: {}", answer.stderr);
        assert!(answer.stderr.contains(told), "{line}: {}", answer.stderr);
    }
    let mut without = command(&place, &twilio, "sms send-test +1234567890");
    let answer = Answer::of(&without.env_remove("TWILIO_AUTH_TOKEN").output().unwrap());
    assert_eq!(answer.code, 1);
    assert!(answer.stderr.contains("TWILIO_AUTH_TOKEN"), "{}", answer.stderr);
    assert!(twilio.requests().is_empty() && noted(&place).is_empty());
}

/// A message that went out is never told as one that did not.
#[test]
fn a_message_that_cannot_be_noted_was_sent_all_the_same() {
    let (place, twilio) = (place(), FakeTwilio::start());
    let conn = rusqlite::Connection::open(place.path("freshk.db")).unwrap();
    conn.execute_batch(
        "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT raise(ABORT, 'no room'); END",
    )
    .unwrap();
    let answer = run(&place, &twilio, "sms send-test +1234567890");
    assert_eq!((answer.code, twilio.requests().len()), (1, 1), "{}", answer.stderr);
    let told =
        "error: the message to +12****7890 was sent (accepted), and the audit trail has no line of it: ";
    assert!(answer.stderr.contains(told), "{}", answer.stderr);
}

#[test]
fn a_purge_deletes_codes_that_are_over_and_leaves_the_others() {
    let place = Place::new();
    place.good("user create +1234567890");
    let conn = rusqlite::Connection::open(place.path("freshk.db")).unwrap();
    let now: i64 = conn.query_row("SELECT unixepoch() * 1000", [], |row| row.get(0)).unwrap();
    let (minute, hour) = (60_000, 3_600_000);
    // State, how long ago it was made, and how long from now it expires.
    let stay = [
        ("live", 2 * hour, hour),
        ("unknown", 2 * hour, hour),
        ("sending", minute, 9 * minute),
        ("live", 30 * minute, -20 * minute),
        ("used", 59 * minute, -49 * minute),
        ("void", 10 * minute, -minute),
    ];
    let go = [
        ("used", 2 * hour, hour),
        ("void", 61 * minute, -51 * minute),
        ("live", 2 * hour, -hour),
        ("unknown", 25 * hour, -24 * hour),
    ];
    // The rest are more than one slice holds.
    let go: Vec<_> =
        go.into_iter().chain(std::iter::repeat_n(("used", 48 * hour, -47 * hour), 1200)).collect();
    let mut insert = conn
        .prepare(
            "INSERT INTO challenges (channel, phone, key_number, code_hmac, state, created_at, expires_at)
             VALUES ('production', '+1234567890', 1, zeroblob(32), ?1, ?2, ?3)",
        )
        .unwrap();
    for (state, ago, left) in go.iter().chain(&stay) {
        insert.execute((state, now - ago, now + left)).unwrap();
    }
    drop(insert);
    conn.execute_batch(
        "INSERT INTO messages (challenge_id, phone, state, segments, created_at, updated_at)
         SELECT id, phone, 'delivered', 1, created_at, created_at FROM challenges",
    )
    .unwrap();
    assert_eq!(place.json("otp purge"), json!({ "deleted": go.len() }));
    let left = "SELECT group_concat(state, ' ') FROM (SELECT state FROM challenges ORDER BY id)";
    let left: String = conn.query_row(left, [], |row| row.get(0)).unwrap();
    assert_eq!(left, "live unknown sending live used void");
    assert_eq!(place.count("SELECT count(*) FROM messages"), 6);
    let told = || place.json("audit list --event codes_purged")["lines"].as_array().unwrap().len();
    assert_eq!(told(), 3, "a line for each slice");
    assert_eq!(place.good("otp purge"), "0 codes deleted\n");
    assert_eq!(told(), 3, "none for nothing");
}
