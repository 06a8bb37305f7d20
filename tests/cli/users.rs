//! Users, without a server.

use serde_json::json;

use crate::support::{Answer, PHONE, Place};

fn place_with_two() -> Place {
    let place = Place::new();
    place.good("user create +1234567890 --verified");
    place.good("user create +15551234567 --role staff");
    place
}

#[test]
fn users_are_created_listed_and_shown() {
    let place = place_with_two();
    insta::assert_json_snapshot!(place.json("user list"), { ".users[].date_joined" => "[at]" });
    insta::assert_json_snapshot!(place.json("user show 1 --show-phones"), { ".date_joined" => "[at]" });
    for name in ["2", "+15551234567", "user_15551234567"] {
        assert_eq!(place.json(&format!("user show {name}"))["id"], 2, "{name}");
    }
    let ids = |line: &str| {
        let users = place.json(line)["users"].as_array().unwrap().clone();
        users.iter().map(|user| user["id"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ids("user list --role staff"), [2]);
    assert_eq!(ids("user list --search 4567890"), [1]);
    assert_eq!(ids("user list --limit 1"), [1]);
    assert_eq!(ids("user list --inactive"), [0; 0]);
}

#[test]
fn phones_and_names_made_of_them_are_masked_unless_asked_for() {
    let place = place_with_two();
    for line in
        ["user list", "user show 1", "user list --json", "user show 1 --json", "user set-role 1 staff"]
    {
        let said = place.good(line);
        assert!(said.contains("+12****7890") && !said.contains("1234567890"), "{line}\n{said}");
        let said = place.good(&format!("{line} --show-phones"));
        assert!(said.contains(PHONE), "{line}\n{said}");
    }
}

#[test]
fn a_new_phone_renames_only_a_derived_name() {
    let place = place_with_two();
    let changed = place.json("user set-phone 1 +1234567891 --show-phones");
    assert_eq!(
        (&changed["username"], &changed["phone_number"]),
        (&"user_1234567891".into(), &"+1234567891".into())
    );
    place.write("named.csv", "username,phone_number\nanna,+1234567800\n");
    place.good("user import named.csv");
    let changed = place.json("user set-phone anna +1234567801 --show-phones");
    assert_eq!((&changed["username"], &changed["phone_number"]), (&"anna".into(), &"+1234567801".into()));
    let taken = place.run("user set-phone anna +15551234567");
    assert_eq!(taken.code, 1);
    assert!(taken.stderr.contains("belongs to another user\nhelp: `freshk user show`"), "{}", taken.stderr);
}

#[test]
fn every_act_leaves_its_line_in_the_trail() {
    let place = place_with_two();
    for line in [
        "user set-role 1 staff",
        "user deactivate 1",
        "user activate 1",
        "user set-phone 1 +1234567891",
        "user logout 1",
        "limit reset +1234567891",
        "user delete 1 --yes",
    ] {
        place.good(line);
    }
    let lines = place.json("audit list")["lines"].clone();
    let lines: Vec<_> =
        lines.as_array().unwrap().iter().map(|line| [&line["event"], &line["detail"]]).collect();
    insta::assert_json_snapshot!(lines);
}

#[test]
fn a_change_of_number_that_waits_is_shown_and_taken_back() {
    let place = place_with_two();
    let none = place.run("user cancel-phone-change 1");
    assert_eq!(none.code, 1);
    assert!(none.stderr.contains("no change of number of"), "{}", none.stderr);
    let database = rusqlite::Connection::open(place.path("freshk.db")).unwrap();
    database
        .execute_batch(
            "INSERT INTO phone_changes (user_id, phone, effective_at, key_number, cancel_hmac)
         VALUES (1, '+1234567899', 1800000000000, 0, x'00')",
        )
        .unwrap();
    let waiting =
        serde_json::json!({ "phone_number": "+12****7899", "effective_at": "2027-01-15T08:00:00.000Z" });
    assert_eq!(place.json("user show 1")["phone_change"], waiting);
    let shown = place.good("user show 1");
    assert!(shown.contains("to +12****7899 at 2027-01-15 08:00:00"), "{shown}");
    assert!(place.good("user cancel-phone-change 1").contains("keeps its number"));
    assert_eq!(place.json("user show 1")["phone_change"], serde_json::Value::Null);
    let line = place.json("audit list --event user_phone_change_cancelled")["lines"][0].clone();
    assert_eq!(line["detail"], "operator: change of number taken back");
}

/// What stays is the line of the audit trail, without the phone.
#[test]
fn a_deleted_user_leaves_no_phone_behind() {
    let place = place_with_two();
    let asked = place.run("user delete 1");
    assert_eq!(asked.code, 2);
    assert!(asked.stderr.contains("add --yes"), "{}", asked.stderr);
    insta::assert_json_snapshot!(place.json("user delete 1 --yes"));
    assert_eq!(place.run("user show 1").code, 1);
    assert_eq!(place.count("SELECT count(*) FROM audit WHERE user_id = 1"), 2);
    assert_eq!(
        place.count(
            "SELECT count(*) FROM audit WHERE user_id = 1 AND (phone IS NOT NULL OR phone_hash IS NOT NULL)"
        ),
        0
    );
    assert_eq!(place.json("user create +1234567890")["id"], 3, "an id is never given twice");
}

#[test]
fn a_list_that_is_cut_says_so_and_scripts_see_the_total() {
    let place = Place::new();
    let lines = (0..1189).map(|n| format!("+1555{n:07}\n")).collect::<Vec<_>>().concat();
    place.write("users.csv", format!("phone_number\n{lines}"));
    place.good("user import users.csv");
    let answer = place.run("user list");
    assert!(answer.stderr.starts_with("50 of 1,189"), "{}", answer.stderr);
    let answer = place.run("user list --json");
    let shown: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!((shown["users"].as_array().unwrap().len(), &shown["total"]), (50, &1189.into()));
    let all = place.json("user list --limit 2000");
    let phones: std::collections::HashSet<_> =
        all["users"].as_array().unwrap().iter().map(|user| user["phone_number"].to_string()).collect();
    assert_eq!(phones.len(), 1189, "masked phones do not collide");
    // The trail, page by page.
    let first = place.json("audit list --limit 2000")["lines"][0]["id"].as_i64().unwrap();
    let rest = place.json(&format!("audit list --after {first} --limit 2000"));
    assert!(rest["lines"].as_array().unwrap().iter().all(|line| line["id"].as_i64().unwrap() > first));
}

#[test]
fn every_command_takes_yes_and_no_flag_takes_nothing() {
    let place = Place::new();
    place.good("user create +1234567890 --yes");
    place.good("user deactivate 1 --yes");
    place.good("otp purge --yes");
    place.good("limit reset +1234567890 --yes");
    for flag in ["--database", "--listen"] {
        let mut command = place.command("serve");
        let output = command.args([flag, ""]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains("it is empty"), "{flag}: {said}");
    }
}

#[test]
fn attributes_are_set_shown_and_taken_out() {
    let place = place_with_two();
    let set = |name: &str, value: &str| {
        let mut command = place.command("user set-attribute 1");
        Answer::of(&command.args([name, value]).output().unwrap())
    };
    for (name, value) in
        [("plan", "gold"), ("seats", "3"), ("zip", "\"04109\""), ("debt", "-1"), ("beta", "true")]
    {
        assert_eq!(set(name, value).code, 0, "{name}");
    }
    let shown = &place.json("user show 1")["attributes"];
    assert_eq!(*shown, json!({ "plan": "gold", "seats": 3, "zip": "04109", "debt": -1, "beta": true }));
    for name in ["plan", "seats", "zip", "debt"] {
        assert_eq!(set(name, "null").code, 0, "{name}");
    }
    assert!(place.good("user show 1").contains("{\"beta\":true}"));
    assert_eq!(place.json("user show 2")["attributes"], json!({}));
    for (name, value, told) in [
        ("exp", "1", "the name exp is reserved"),
        ("user_id", "null", "the name user_id is reserved"),
        ("a b", "1", "visible ASCII"),
        ("", "1", "a name that is empty"),
        ("long", &"x".repeat(1024), "1047 bytes of JSON, and a user has 1024 at most"),
    ] {
        let answer = set(name, value);
        assert_eq!(answer.code, 1, "{name}");
        assert!(answer.stderr.contains(told), "{name}: {}", answer.stderr);
    }
    assert_eq!(
        place.json("user show 1")["attributes"],
        json!({ "beta": true }),
        "nothing of that was written"
    );
}

#[test]
fn a_user_who_is_to_be_deleted_is_shown_restored_and_left_out_of_an_export() {
    let place = place_with_two();
    let restored = place.run("user restore 1");
    assert_eq!(restored.code, 1);
    assert!(restored.stderr.contains("user 1 (+12****7890) is not to be deleted"), "{}", restored.stderr);
    let conn = rusqlite::Connection::open(place.path("freshk.db")).unwrap();
    conn.execute("UPDATE users SET deletes_at = 1767225600000 WHERE id = 1", []).unwrap();
    let shown = place.good("user show 1");
    assert!(shown.contains("to be deleted (UTC)") && shown.contains("2026-01-01 00:00:00"), "{shown}");
    assert_eq!(place.json("user show 1")["deletes_at"], "2026-01-01T00:00:00.000Z");
    let exported = place.run("user export");
    assert!(
        !exported.stdout.contains(PHONE) && exported.stdout.contains("+15551234567"),
        "{}",
        exported.stdout
    );
    assert!(exported.stderr.contains("1 user left out who asked for deletion"), "{}", exported.stderr);
    assert_eq!(place.good("user restore +1234567890"), "user 1 (+12****7890) stays\n");
    assert_eq!(place.json("user show 1")["deletes_at"], serde_json::Value::Null);
    assert!(!place.good("user show 1").contains("to be deleted"));
    assert!(place.run("user export").stdout.contains(PHONE));
    let last = place.json("audit list --limit 1")["lines"][0].clone();
    assert_eq!((&last["event"], &last["detail"]), (&"user_restored".into(), &"operator: restored".into()));
    conn.execute("UPDATE users SET deletes_at = 1767225600000 WHERE id = 1", []).unwrap();
    place.good("user delete 1 --yes");
    assert_eq!(place.run("user show 1").code, 1, "at once");
}
