//! Test numbers, named at the command line and in the configuration.

use std::time::Duration;

use freshk::clock::{Clock as _, SystemClock};
use serde_json::json;

use crate::support::{Answer, PHONE, Place};

const CODE: &str = "604927";

fn add(place: &Place, more: &str) -> Answer {
    place.run(&format!("sms test-number add {PHONE} --code {CODE} {more}"))
}

#[tokio::test]
async fn a_running_server_takes_it_and_lets_it_go() {
    let place = Place::new();
    let server = place.serve();
    let added = add(&place, "--until 14d");
    assert_eq!((added.code, added.stderr.as_str()), (0, ""), "{}", added.stdout);
    assert!(added.stdout.starts_with("+12****7890 logs in with that code, without an SMS, until 2"));
    insta::assert_json_snapshot!(place.json("sms test-number list"), { ".test_numbers[].until" => "[at]" });

    let body = json!({ "phone_number": PHONE, "otp": CODE });
    assert_eq!(server.request(PHONE).await, 200);
    assert_eq!(server.post("/verify/", &body).await.0, 200);
    assert_eq!(place.json("sms list"), json!({ "messages": [], "total": 0 }));

    assert_eq!(server.request(PHONE).await, 200);
    place.good(&format!("sms test-number remove {PHONE}"));
    assert_eq!(server.post("/verify/", &body).await.1["code"], "invalid_otp");
    assert_eq!(place.json("sms test-number list"), json!({ "test_numbers": [], "total": 0 }));
    for event in ["test_number_added", "test_number_removed"] {
        let lines = place.json(&format!("audit list --event {event}"));
        assert_eq!(lines["lines"].as_array().map(Vec::len), Some(1), "{lines}");
    }
}

#[test]
fn what_will_not_do_is_told_with_its_mend() {
    let place = Place::new();
    place.good("user create +1234567890");
    for (more, code, mend) in [
        ("--until 14d", 1, "--existing-user"),
        ("--until 2020-01-01 --existing-user", 1, "give a later day"),
        ("--until 400d --existing-user", 1, "an earlier end"),
        ("--until soon", 2, "2026-12-31"),
        ("", 2, "--until"),
    ] {
        let answer = add(&place, more);
        assert_eq!(answer.code, code, "{more}: {}", answer.stderr);
        assert!(answer.stderr.contains(mend) && !answer.stderr.contains(CODE), "{more}: {}", answer.stderr);
    }
    let short = place.run("sms test-number add +1234567890 --code 12345 --until 14d");
    assert!(short.code == 2 && short.stderr.contains("6 digits"), "{}", short.stderr);
    let unknown = place.run("sms test-number remove +1234567890");
    assert!(unknown.code == 1 && unknown.stderr.contains("test-number list"), "{}", unknown.stderr);
    assert_eq!(add(&place, "--until 14d --existing-user").code, 0);
}

#[test]
fn a_code_that_somebody_would_try_first_is_refused() {
    let place = Place::new();
    for code in ["000000", "111111", "123456", "654321", "121212", "123123", "824193", "345678"] {
        let answer = place.run(&format!("sms test-number add {PHONE} --code {code} --until 14d"));
        assert_eq!(answer.code, 1, "{code}: {}", answer.stdout);
        assert!(answer.stderr.contains("that code is easily guessed"), "{}", answer.stderr);
        assert!(answer.stderr.contains("at random") && !answer.stderr.contains(code), "{}", answer.stderr);
    }
    assert_eq!(place.json("sms test-number list"), json!({ "test_numbers": [], "total": 0 }));
}

#[test]
fn no_user_comes_to_have_its_number() {
    let place = Place::new();
    assert_eq!(add(&place, "--until 14d").code, 0);
    place.good("user create +1234567891");
    place.write("users.csv", format!("phone_number\n{PHONE}\n"));
    for line in
        [format!("user create {PHONE}"), format!("user set-phone 1 {PHONE}"), "user import users.csv".into()]
    {
        let answer = place.run(&line);
        let told = answer.stdout + &answer.stderr;
        assert!(answer.code == 1 && told.contains("test number"), "{line}: {told}");
    }
    assert_eq!(place.count("SELECT count(*) FROM users"), 1);
}

fn configured(place: &Place, tables: &str) {
    place.write("freshk.toml", format!("debug = true\n{tables}"));
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(place.path("freshk.toml"), private).unwrap();
}

fn table(until: &str, more: &str) -> String {
    format!("[[sms.test_numbers]]\nphone = \"{PHONE}\"\ncode = \"{CODE}\"\nuntil = {until}\n{more}\n")
}

#[tokio::test]
async fn the_configuration_names_them_and_the_server_tells_of_them() {
    let place = Place::new();
    let until = (SystemClock::new().now() + Duration::from_hours(48)).iso();
    configured(&place, &table(&format!("\"{until}\""), ""));
    {
        let server = place.serve();
        assert_eq!(server.request(PHONE).await, 200);
        let body = json!({ "phone_number": PHONE, "otp": CODE });
        assert_eq!(server.post("/verify/", &body).await.0, 200);
        let listed = place.json("sms test-number list");
        assert_eq!(listed["test_numbers"][0]["source"], "configuration");
        for line in [
            format!("sms test-number remove {PHONE}"),
            format!("sms test-number add {PHONE} --code 190385 --until 1d"),
        ] {
            let answer = place.run(&line);
            assert!(answer.code == 1 && answer.stderr.contains("sms.test_numbers"), "{}", answer.stderr);
        }
        let shown = place.good("config show");
        assert!(shown.contains("sms.test_numbers") && !shown.contains(CODE), "{shown}");
    }
    // Its own user does not keep it from starting again.
    drop(place.serve());
    configured(&place, "");
    drop(place.serve());
    assert_eq!(place.json("sms test-number list"), json!({ "test_numbers": [], "total": 0 }));

    configured(&place, &table(&format!("\"{until}\""), ""));
    let refused = place.run("serve --listen 127.0.0.1:0");
    assert!(refused.code == 78 && refused.stderr.contains("existing_user = true"), "{}", refused.stderr);
    configured(&place, &table(&format!("\"{until}\""), "existing_user = true"));
    drop(place.serve());
}

#[test]
fn what_is_wrong_in_the_configuration_is_told_without_the_code() {
    let place = Place::new();
    for (tables, told) in [
        (table("\"soon\"", ""), "until of \"+1234567890\""),
        (table("2026-12-31", "codes = 5"), "\"codes\" is nothing"),
        (table("2026-12-31", "").replace(CODE, "60492"), "not of 6 digits"),
        (table("2026-12-31", "").replace(CODE, "111111"), "would be guessed"),
        (table("2026-12-31", "").replace(PHONE, "12"), "phone \"12\""),
        (table("2026-12-31", "").replace(PHONE, CODE), "phone (not shown)"),
        (format!("{0}{0}", table("2026-12-31", "")), "twice"),
        ("[sms]\ntest_numbers = 5\n".to_owned(), "phone=code@until"),
        ("[[sms.test_numbers]]\n".to_owned(), "phone"),
        (
            (0..11).map(|n| table("2026-12-31", "").replace(PHONE, &format!("+12345678{n:02}"))).collect(),
            "11 are too many",
        ),
    ] {
        configured(&place, &tables);
        let answer = place.run("config show");
        assert_eq!(answer.code, 1, "{tables}");
        assert!(
            answer.stderr.contains(told) && !answer.stderr.contains("60492"),
            "{tables}\n{}",
            answer.stderr
        );
        assert!(answer.stderr.contains("sms.test_numbers"), "{}", answer.stderr);
    }
    configured(&place, "");
    for (more, is_good) in [("", true), ("@existing_user", true), ("@nonsense", false)] {
        let mut command = place.command("config show");
        command.env("FRESHK_SMS__TEST_NUMBERS", format!("{PHONE}={CODE}@2026-12-31{more}"));
        assert_eq!(command.output().unwrap().status.success(), is_good, "{more}");
    }
}
