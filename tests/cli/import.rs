//! Users from elsewhere, and back.

use std::fmt::Write as _;

use crate::support::{Place, is_private};

const HEADER: &str = "id,username,phone_number,role,is_active,phone_verified,date_joined\r\n";

fn many(count: u32) -> String {
    let mut file = HEADER.to_owned();
    for number in 1..=count {
        let id = number * 3;
        let verified = number % 2 == 0;
        write!(
            file,
            "{id},user_1555{number:07},+1555{number:07},retailer,true,{verified},2020-02-29T12:00:00.123Z\r\n"
        )
        .unwrap();
    }
    file
}

#[test]
fn export_gives_the_file_back() {
    let place = Place::new();
    let file = many(2500);
    place.write("users.csv", &file);
    let report = place.json("user import users.csv");
    assert_eq!((&report["imported"], &report["refused"]), (&2500.into(), &serde_json::json!([])));
    assert_eq!(place.good("user export"), file);
    let exported = place.run("user export out.jsonl");
    assert_eq!(exported.code, 0, "{}", exported.stderr);
    assert!(is_private(&place.path("out.jsonl")));

    let other = Place::new();
    other.write("users.jsonl", place.read("out.jsonl"));
    other.good("user import users.jsonl");
    assert_eq!(other.good("user export --format csv"), file);
    assert_eq!(other.json("user create +1234567890")["id"], 7501, "above the highest");
    let again = other.json("user import users.jsonl");
    assert_eq!((&again["unchanged"], &again["imported"]), (&2500.into(), &0.into()));
}

#[test]
fn attributes_come_back_from_both_formats_and_a_file_has_their_column_where_any_user_has_them() {
    let place = Place::new();
    place.write(
        "users.jsonl",
        "{\"phone_number\":\"+15550000001\",\"attributes\":{\"plan\":\"gold, \\\"old\\\"\",\"seats\":[1,2]}}\n\
         {\"phone_number\":\"+15550000002\",\"attributes\":{}}\n",
    );
    place.good("user import users.jsonl");
    let (csv, jsonl) = (place.good("user export"), place.good("user export --format jsonl"));
    assert!(
        csv.starts_with("id,username,phone_number,role,is_active,phone_verified,date_joined,attributes\r\n")
    );
    assert_eq!(jsonl.matches("attributes").count(), 1, "{jsonl}");
    for (name, file) in [("users.csv", &csv), ("users.jsonl", &jsonl)] {
        let other = Place::new();
        other.write(name, file);
        other.good(&format!("user import {name}"));
        assert_eq!((&other.good("user export"), &other.good("user export --format jsonl")), (&csv, &jsonl));
        assert_eq!(other.json(&format!("user import {name}"))["unchanged"], 2);
    }
    for (attributes, told) in [
        ("[]", "attributes is not an object"),
        ("{\"exp\":1}", "attributes is the name exp is reserved"),
        ("\"{\"", "attributes is not a JSON object"),
    ] {
        let line = format!("{{\"phone_number\":\"+15550000003\",\"attributes\":{attributes}}}\n");
        place.write("bad.jsonl", line);
        let answer = place.run("user import bad.jsonl");
        assert_eq!(answer.code, 1, "{attributes}");
        assert!(answer.stdout.contains(told), "{attributes}: {}", answer.stdout);
    }
}

/// The first user of a Django project is often its superuser, and a token names its user by id.
#[test]
fn new_users_get_ids_that_a_django_project_does_not_give() {
    let by_default = |place: &Place, line: &str| {
        let mut command = place.command(line);
        let output = command.env_remove("FRESHK_USERS__FIRST_ID").arg("--json").output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let place = Place::new();
    place.write("users.csv", many(3));
    assert_eq!(by_default(&place, "user import users.csv --dry-run")["next_id"], 1_000_000_001);
    assert_eq!(by_default(&place, "user import users.csv")["next_id"], 1_000_000_001);
    assert_eq!(by_default(&place, "user create +1234567890")["id"], 1_000_000_001);
    place.write("high.csv", "id,phone_number\n2000000000,+15559999999\n");
    assert_eq!(by_default(&place, "user import high.csv")["next_id"], 2_000_000_001_i64, "in any case");

    let before = Place::new();
    assert_eq!(before.json("user create +1234567891")["id"], 1);
    assert_eq!(by_default(&before, "user create +1234567890")["id"], 2, "it goes on counting");
    before.write("users.csv", many(3));
    assert_eq!(by_default(&before, "user import users.csv --skip-bad")["next_id"], 10);
    let chosen =
        before.command("user create +1234567892 --json").env("FRESHK_USERS__FIRST_ID", "500").output();
    let user: serde_json::Value = serde_json::from_slice(&chosen.unwrap().stdout).unwrap();
    assert_eq!(user["id"], 500);
}

#[test]
fn a_dry_run_writes_nobody() {
    let place = Place::new();
    place.write("users.csv", many(10));
    let report = place.json("user import users.csv --dry-run");
    assert_eq!((&report["good"], &report["imported"]), (&10.into(), &0.into()));
    assert_eq!(place.count("SELECT count(*) FROM users"), 0);
}

#[test]
fn every_refused_line_is_told_and_nothing_is_imported_unless_they_are_skipped() {
    let place = Place::new();
    place.good("user create +15550000000");
    let mut file = b"phone_number,id,role,username,is_active,date_joined\n\
        +15550000000,,,,,\n+15550000001,,,,,\n+15550000001,,,,,\nrubbish,,,,,\n+15550000002,0,,,,\n\
        +15550000003,,boss,,,\n+15550000004,,,,maybe,\n+15550000005,,,,,yesterday\n+15550000006,,\n\
        +15550000007,1,,,,\n"
        .to_vec();
    file.extend(b"+15550000008,,,br\xffken,,\n+15550000009,77,,anna,no,2020-02-29 12:00:00+00:00\n");
    place.write("users.csv", &file);
    let refused = place.run("user import users.csv --json");
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("nothing was imported: 9 lines refused"), "{}", refused.stderr);
    let report: serde_json::Value = serde_json::from_str(&refused.stdout).unwrap();
    insta::assert_json_snapshot!(report);
    assert_eq!(place.count("SELECT count(*) FROM users"), 1);

    let skipped = place.good("user import users.csv --skip-bad");
    assert!(skipped.starts_with("line 4: phone_number is that of line 3 too\n"), "{skipped}");
    assert!(
        skipped.ends_with(
            "12 lines: 2 good, 1 already there, 9 refused; 2 users imported\nnew users get ids from 79 on\n"
        ),
        "{skipped}"
    );
    let anna = place.json("user show anna");
    assert_eq!((&anna["id"], &anna["is_active"]), (&77.into(), &false.into()));
}

#[test]
fn a_file_that_is_no_file_of_users_is_refused_with_a_mend() {
    let place = Place::new();
    for (name, text, told) in [
        (
            "wrong.csv",
            "phone,name\n+15550000001,x\n",
            "the column \"phone\", and those known are id, username",
        ),
        ("twice.csv", "phone_number,phone_number\n", "twice"),
        ("lacks.csv", "id,username\n1,x\n", "lacks the column phone_number"),
        ("empty.csv", "", "lacks the column phone_number"),
    ] {
        place.write(name, text);
        let answer = place.run(&format!("user import {name}"));
        assert_eq!(answer.code, 1, "{name}");
        assert!(
            answer.stderr.contains(told) && answer.stderr.contains("freshk user export"),
            "{}",
            answer.stderr
        );
    }
    for name in ["/dev/null", "none.csv"] {
        assert_eq!(place.run(&format!("user import {name}")).code, 1);
    }
    place.write("rubbish.jsonl", format!("{{\n[]\n{{\"phone\": 1}}\n{}\n", "x".repeat(100_000)));
    let answer = place.run("user import rubbish.jsonl");
    let lines: Vec<_> = answer.stdout.lines().collect();
    assert_eq!(
        lines,
        [
            "line 1: it is not a JSON object",
            "line 2: it is not a JSON object",
            "line 3: it has the member \"phone\", which is not known",
            "line 4: it has more than 65536 bytes",
            "4 lines: 0 good, 0 already there, 4 refused; 0 users imported",
        ]
    );
}

/// Joined elsewhere long ago, never verified: maintenance counts from the import.
#[tokio::test]
async fn maintenance_leaves_imported_users_alone() {
    let place = Place::new();
    place.write("users.csv", many(3));
    place.good("user import users.csv");
    place.good("user create +1234567890");
    // One more who came as long ago, though by registering: that maintenance takes it shows that it came round.
    let conn = rusqlite::Connection::open(place.path("freshk.db")).unwrap();
    conn.execute_batch(
        "UPDATE users SET joined_at = 0; UPDATE users SET imported_at = 0 WHERE imported_at > 0",
    )
    .unwrap();
    let server = place.serve();
    crate::support::until(async || {
        place.count("SELECT count(*) FROM users WHERE phone = '+1234567890'") == 0
    })
    .await;
    assert_eq!(place.count("SELECT count(*) FROM users"), 3);
    drop(server);
}
