//! `--json` of the commands that no other test holds by a snapshot: what a script relies on.

use serde_json::{Map, Value, json};

use crate::support::Place;

const SESSION: &str = "0190c5a4f3b27d0e9a61c2d3e4f50617";

/// A place with a user who is logged in.
fn place() -> Place {
    let place = Place::new();
    place.good("user create +1234567890 --verified");
    place.write("users.csv", "phone_number,role\n+15551234567,staff\nrubbish,\n");
    let conn = rusqlite::Connection::open(place.path("freshk.db")).unwrap();
    let log_in = "INSERT INTO sessions (id, user_id, generation, jti, generation_used, issued_at, refresh_expires_at, \
                  created_at, expires_at, last_used_at, device, ip) \
                  VALUES (?1, 1, 1, 'x', 0, 0, 9000000000000, 0, 9000000000000, 0, 'Pixel', '203.0.113.7')";
    conn.execute(log_in, [SESSION]).unwrap();
    let spend =
        "INSERT INTO spends (quota, subject, at) VALUES ('ip:verify', '203.0.113.7', unixepoch() * 1000)";
    conn.execute(spend, []).unwrap();
    place
}

/// Hides what differs from run to run.
fn steady(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| match name.as_str() {
                "bytes" | "before" | "after" if value.as_u64() > Some(4096) => (name, "[bytes]".into()),
                "kept" | "secret_key" if value.is_string() => (name.clone(), format!("[{name}]").into()),
                _ => (name, steady(value)),
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(values) => values.into_iter().map(steady).collect::<Vec<_>>().into(),
        Value::String(text) if text.len() == 24 && text.ends_with('Z') => "[at]".into(),
        other => other,
    }
}

#[test]
fn answers_for_scripts_keep_their_form() {
    let place = place();
    let answers: Map<_, _> = [
        "user show 1",
        "user create +1234567899 --role staff",
        "user set-role 1 staff",
        "user set-phone 2 +1234567898",
        "user deactivate 2",
        "user activate 2",
        "session revoke 0190c5a4f3b27d0e9a61c2d3e4f50617",
        "user logout 1",
        "user import users.csv --skip-bad",
        "user import users.csv --skip-bad --dry-run",
        "limit show 203.0.113.7",
        "limit reset 203.0.113.7",
        "limit reset +1234567890",
        "otp list",
        "otp purge",
        "sms list",
        "db check",
        "db backup copy.db",
        "db migrate",
        "db vacuum",
        "db restore copy.db --yes",
        "init --config mine.toml",
        "key generate",
        "key generate --algorithm EdDSA --out mine.pem",
    ]
    .into_iter()
    .map(|line| (line.to_owned(), steady(place.json(line))))
    .collect();
    insta::assert_json_snapshot!(answers);
}

#[test]
fn a_rotated_key_and_a_damaged_database_answer_in_json_too() {
    let place = place();
    place.good("key generate --algorithm EdDSA --out tokens.pem");
    let mut rotate = place.command("key rotate --json");
    rotate.envs([("FRESHK_TOKENS__ALGORITHM", "EdDSA"), ("FRESHK_TOKENS__KEY_FILE", "tokens.pem")]);
    let rotated: Value = serde_json::from_slice(&rotate.output().unwrap().stdout).unwrap();
    assert_eq!(rotated, json!({ "algorithm": "EdDSA", "path": "tokens.pem" }));
    let conn = rusqlite::Connection::open(place.path("freshk.db")).unwrap();
    conn.execute_batch("PRAGMA foreign_keys = OFF; DELETE FROM users WHERE id = 1").unwrap();
    let answer = place.run("db check --json");
    assert_eq!(answer.code, 1);
    let found: Value = serde_json::from_str(&answer.stdout).unwrap();
    let faults = ["rows of sessions refer to rows that are not there"];
    assert_eq!(found, json!({ "ok": false, "schema": 6, "known": 6, "faults": faults }));
}

#[test]
fn the_configuration_is_shown_key_by_key() {
    let shown = Place::new().json("config show");
    let settings = shown["settings"].as_array().unwrap();
    assert!(settings.len() > 50, "every key");
    for setting in settings {
        let members: Vec<_> = setting.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["key", "value", "origin"]);
        assert!(setting["key"].is_string() && setting["origin"].is_string(), "{setting}");
    }
    assert_eq!(shown["warnings"], json!([]));
    let debug = settings.iter().find(|setting| setting["key"] == "debug").unwrap();
    assert_eq!((&debug["value"], &debug["origin"]), (&"true".into(), &"freshk.toml".into()));
}

/// With `--follow` each line is an object, like those of the list.
#[test]
fn a_line_of_the_trail_is_the_same_listed_and_followed() {
    use std::io::{BufRead as _, BufReader};
    let place = place();
    let listed = place.json("audit list")["lines"][0].clone();
    let mut command = place.command("audit list --follow --json");
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), listed);
}
