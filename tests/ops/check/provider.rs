//! What Twilio answers when it is asked for the account, and its clock.

use data_encoding::BASE64;
use freshk::domain::Timestamp;

use super::canned::{Canned, http};
use super::set_up::{SetUp, TOKEN, now};

/// The account as Twilio describes it, at an instant.
fn account(status: &str, kind: &str, date: Timestamp) -> String {
    let body = format!("{{\"sid\":\"AC0\",\"status\":\"{status}\",\"type\":\"{kind}\"}}");
    let date =
        jiff::Timestamp::from_millisecond(date.as_millis()).unwrap().strftime("%a, %d %b %Y %H:%M:%S GMT");
    http(200, &[("content-type", "application/json"), ("date", &date.to_string())], &body)
}

/// One whose account is active.
pub(super) fn twilio() -> Canned {
    Canned::serving(account("active", "Full", now()))
}

#[test]
fn each_answer_of_twilio_is_one_line() {
    let set_up = SetUp::good();
    for (answer, expected, mend) in [
        (account("active", "Trial", now()), "warn Twilio", "upgrade the account"),
        (account("suspended", "Full", now()), "fail Twilio", "console at twilio.com"),
        (account("closed", "Full", now()), "fail Twilio", "console at twilio.com"),
        (http(401, &[], "{\"code\":20003}"), "fail Twilio", "twilio.auth_token"),
        (http(404, &[], "{\"code\":20404}"), "fail Twilio", "twilio.account_sid"),
        (http(200, &[], "<html>Log in to the hotel's network\u{1b}[2J"), "fail Twilio", "twilio.base_url"),
        (http(302, &[("location", "/elsewhere")], ""), "warn Twilio", "status.twilio.com"),
        (http(503, &[], "<html>"), "warn Twilio", "status.twilio.com"),
        ("rubbish".to_owned(), "warn Twilio", "network and DNS"),
        (account("active", "Full", now() - std::time::Duration::from_mins(2)), "fail clock", "set-ntp true"),
        (account("active", "Full", now() + std::time::Duration::from_mins(2)), "fail clock", "set-ntp true"),
    ] {
        set_up.twilio.gives(answer);
        set_up.assert_only(&[], expected, mend);
    }
    // A key may send without being allowed to read the account.
    set_up.twilio.gives(http(401, &[], "{\"code\":20003}"));
    let key = [
        ("FRESHK_TWILIO__API_KEY_SID", "SK0123456789abcdef0123456789abcdef"),
        ("FRESHK_TWILIO__API_KEY_SECRET", TOKEN),
    ];
    set_up.assert_only(&key, "warn Twilio", "send yourself a code");
    set_up.assert_only(
        &[("FRESHK_TWILIO__BASE_URL", "http://127.0.0.1:1")],
        "warn Twilio",
        "network and DNS",
    );
}

#[test]
fn the_account_is_asked_for_with_the_credentials_unless_offline() {
    let set_up = SetUp::good();
    let (told, exit) = set_up.told(&["--offline"], &[]);
    let twilio = told["lines"].as_array().unwrap().iter().find(|line| line["check"] == "Twilio").unwrap();
    assert_eq!((twilio["verdict"].as_str(), exit), (Some("warn"), 0));
    assert_eq!(set_up.twilio.heads(), Vec::<String>::new());
    set_up.assert_ok(&[]);
    let [head] = set_up.twilio.heads().try_into().unwrap();
    assert!(
        head.starts_with("get /2010-04-01/accounts/ac0123456789abcdef0123456789abcdef.json http"),
        "{head}"
    );
    let basic =
        BASE64.encode(format!("AC0123456789abcdef0123456789abcdef:{TOKEN}").as_bytes()).to_lowercase();
    assert!(head.contains(&format!("authorization: basic {basic}\r\n")), "{head}");
}
