//! Faults of the settings alone.

use std::os::unix::fs::PermissionsExt as _;

use freshk::domain::keys::KeyRing;
use freshk::domain::{Binding, ChallengeId, Code, PhoneNumber, Secret};

use super::set_up::{SECRET, SetUp, now};

#[test]
fn each_single_fault_of_the_settings_is_one_line() {
    let set_up = SetUp::good();
    let set_up_is_good = set_up.assert_ok(&[]);
    for line in
        ["secret", "rate limits", "sender", "clock", "free disk", "server", "error tracking", "monitoring"]
    {
        assert!(set_up_is_good.iter().any(|found| found == line), "{line}: {set_up_is_good:?}");
    }
    for (change, expected, mend) in [
        (("FRESHK_LIMITS__IP", "0"), "fail rate limits", "a number above 0"),
        (("FRESHK_LIMITS__USER", "0"), "fail rate limits", "a number above 0"),
        (("FRESHK_LIMITS__FLOOD_PER_SECOND", "0"), "fail rate limits", "a number above 0"),
        (("FRESHK_LOG__FILE", "freshk.db"), "fail logging", "another log.file"),
        (("FRESHK_LOG__LEVEL", "off"), "fail error tracking", "log.level = \"info\""),
        (("FRESHK_LOG__LEVEL", "warn,freshk::storage=off"), "fail error tracking", "error or more"),
        (("FRESHK_SERVER__PUBLIC_URL", ""), "warn TLS", "server.public_url"),
        (("FRESHK_SERVER__PUBLIC_URL", "http://api.example.com"), "fail TLS", "https://"),
        (
            ("FRESHK_SERVER__TRUSTED_PROXIES", ""),
            "warn trusted proxies",
            "trusted_proxies = [\"127.0.0.1/32\"]",
        ),
        (("FRESHK_SERVER__TRUSTED_PROXIES", "0.0.0.0/0"), "fail trusted proxies", "the proxy's own address"),
        (
            ("FRESHK_SERVER__TRUSTED_PROXIES", "127.0.0.1,::/0"),
            "fail trusted proxies",
            "the proxy's own address",
        ),
        (("FRESHK_OPS__LISTEN", "off"), "warn monitoring", "docs/alerts.yml"),
        (("FRESHK_OPS__LISTEN", "0.0.0.0:8001"), "warn monitoring", "127.0.0.1:8001"),
        (("DEBUG", "1"), "warn debug", "debug = false"),
    ] {
        // In debug Twilio is only asked where it is written down.
        set_up.assert_only(&[change, ("FRESHK_SMS__PROVIDER", "twilio")], expected, mend);
    }
    let in_the_open = [("FRESHK_SERVER__LISTEN", "0.0.0.0:8000"), ("FRESHK_SERVER__TRUSTED_PROXIES", "")];
    set_up.assert_only(&in_the_open, "fail TLS", "behind a proxy with TLS");
    set_up.assert_ok(&[("FRESHK_LOG__LEVEL", "freshk=error"), ("FRESHK_LOG__FILE", "logs/debug.log")]);
    set_up.assert_ok(&[("SECRET_KEY_FALLBACKS", "another-honest-secret-of-32-bytes-and-more")]);
}

#[test]
fn what_keeps_the_server_from_starting_is_a_fault_of_the_configuration_and_nothing_else_is_judged() {
    let set_up = SetUp::good();
    let too_long = "x".repeat(200) + " {code}";
    for (change, mend) in [
        (("FRESHK_SMS__TEMPLATE", too_long.as_str()), "shorten it"),
        (("FRESHK_SMS__TEMPLATE", "{code} {name}"), "{minutes}"),
        (("SECRET_KEY", "short"), "at least 32 bytes"),
        (("SECRET_KEY", ""), "at least 32 bytes"),
        (("SECRET_KEY", "your-production-secret-key"), "at least 32 bytes"),
        (("SECRET_KEY_FALLBACKS", "short"), "at least 32 bytes"),
        (("SECRET_KEY", "0000000000000000000000000000000000000000"), "`freshk key generate`"),
        (("SECRET_KEY", "changeme-changed-by-nobody-since-2019"), "`freshk key generate`"),
        (("SECRET_KEY", "django-insecure-n1!b%q^w7z@s(2k_x+4d8m-0v=f6h$j3"), "`freshk key generate`"),
        (("FRESHK_SMS__TEST_NUMBERS", "+15005550006=123456@2026-12-31"), "drawn at random"),
        (("TWILIO_AUTH_TOKEN", ""), "Twilio's console"),
        (("DATABASE_URL", "mysql://user:hush@localhost/freshk"), "sqlite://"),
        (("FRESHK_LIMIT__IP", "5"), "did you mean FRESHK_LIMITS__IP?"),
    ] {
        let (told, exit) = set_up.told(&[], &[change]);
        let lines = told["lines"].as_array().unwrap();
        assert!(!lines.is_empty() && exit == 1, "{change:?}: {told}");
        for line in lines {
            assert_eq!(
                (&line["verdict"], &line["check"]),
                (&"fail".into(), &"configuration".into()),
                "{line}"
            );
        }
        assert!(lines[0]["help"].as_str().unwrap().contains(mend), "{change:?}: {told}");
        assert!(!told.to_string().contains("hush"), "{told}");
    }
}

/// An earlier version took any code.
#[test]
fn a_test_number_whose_code_would_be_guessed_fails() {
    let set_up = SetUp::good();
    let keep = |code: &str| {
        let phone = PhoneNumber::parse("+15005550006", 10).unwrap();
        let ring = KeyRing::new(&Secret::new(SECRET), &[]);
        let hash = Code::parse(code, 6).unwrap().hash(ring.current(), Binding::Login(ChallengeId(0), &phone));
        let until = now() + std::time::Duration::from_hours(24);
        set_up
            .place
            .sql()
            .execute(
                "INSERT OR REPLACE INTO test_numbers VALUES (?1, ?2, ?3, ?4, 'command')",
                (phone.as_str(), hash.key, &hash.tag, until.as_millis()),
            )
            .unwrap();
    };
    for code in ["123456", "000000", "787878", "824193"] {
        keep(code);
        set_up.assert_only(&[], "fail test numbers", "another code");
    }
    keep("604927");
    set_up.assert_ok(&[]);
}

#[test]
fn what_the_server_only_warns_of_is_a_warning_with_its_mend() {
    let set_up = SetUp::good();
    let other = [("FRESHK_SECRET_KEY", "another-honest-secret-of-32-bytes-and-more")];
    set_up.assert_only(&other, "warn configuration", "remove one");
    let file = set_up.place.path("freshk.toml");
    std::fs::write(&file, format!("secret_key = \"{SECRET}\"\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    set_up.assert_only(&[], "warn configuration", "chmod 600 freshk.toml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    set_up.assert_ok(&[]);
}
