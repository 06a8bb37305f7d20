//! `freshk check` on a good set-up, and on one set-up for each fault.

use std::os::unix::fs::PermissionsExt as _;

use crate::place::Place;

const GOOD: &[(&str, &str)] = &[
    ("DEBUG", "0"),
    ("SECRET_KEY", "an-honest-secret-of-more-than-32-bytes"),
    ("TWILIO_ACCOUNT_SID", "AC0123456789abcdef0123456789abcdef"),
    ("TWILIO_AUTH_TOKEN", "an-honest-token"),
    ("TWILIO_PHONE_NUMBER", "+15005550006"),
    ("FRESHK_SERVER__PUBLIC_URL", "https://api.example.com"),
    ("FRESHK_SERVER__TRUSTED_PROXIES", "127.0.0.1"),
    ("FRESHK_BACKUP__DIR", "backups"),
];

/// A place where all is well.
fn good() -> Place {
    let place = Place::new();
    place.database("x");
    std::fs::create_dir(place.path("backups")).unwrap();
    assert!(place.command(&["db", "backup"], GOOD).status().unwrap().success());
    place
}

/// The lines that are not ok, `verdict check`, and the exit code.
fn judged(place: &Place, changes: &[(&str, &str)]) -> (Vec<String>, i32) {
    let environment: Vec<_> = GOOD.iter().chain(changes).copied().collect();
    let output = place.command(&["check", "--offline", "--json"], &environment).output().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let lines = told["lines"].as_array().unwrap().iter().filter(|line| line["verdict"] != "ok");
    let lines = lines.map(|line| {
        assert_ne!(line["mend"], "", "every fault has its mend: {line}");
        format!("{} {}", line["verdict"].as_str().unwrap(), line["check"].as_str().unwrap())
    });
    (lines.collect(), output.status.code().unwrap())
}

#[test]
fn a_good_set_up_passes_and_offline_is_told() {
    assert_eq!(judged(&good(), &[]), (vec!["warn Twilio".to_owned()], 0));
}

#[test]
fn each_single_fault_of_the_settings_is_found() {
    let place = good();
    let long = "x".repeat(200) + " {code}";
    for (change, line, code) in [
        (("SECRET_KEY", "short"), "fail configuration", 1),
        (("DEBUG", "1"), "warn debug", 0),
        (("FRESHK_SMS__TEMPLATE", long.as_str()), "fail SMS text", 1),
        (("FRESHK_LIMITS__USER", "0"), "fail rate limits", 1),
        (("FRESHK_LOG__FILE", "freshk.db"), "fail logging", 1),
        (("FRESHK_SERVER__TRUSTED_PROXIES", ""), "warn TLS and proxy", 0),
        (("FRESHK_SERVER__PUBLIC_URL", "http://api.example.com"), "fail TLS and proxy", 1),
        (("FRESHK_OPS__LISTEN", "off"), "warn monitoring", 0),
        (("FRESHK_BACKUP__DIR", ""), "warn backups", 0),
        (("FRESHK_BACKUP__DIR", "nowhere"), "fail backups", 1),
        (("DATABASE_URL", "sqlite://other.db"), "warn database", 0),
    ] {
        let (lines, exit) = judged(&place, &[change]);
        assert!(lines.iter().any(|found| found == line), "{change:?}: {lines:?}");
        assert_eq!(exit, code, "{change:?}: {lines:?}");
    }
}

#[test]
fn each_single_fault_of_the_files_is_found() {
    let place = good();
    let database = place.path("freshk.db");
    std::fs::set_permissions(&database, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(judged(&place, &[]).0[0], "fail file mode");
    std::fs::set_permissions(&database, std::fs::Permissions::from_mode(0o600)).unwrap();
    let latest = std::fs::read_dir(place.path("backups")).unwrap().next().unwrap().unwrap().path();
    std::fs::rename(&latest, place.path("backups/freshk-20200101T000000Z.db")).unwrap();
    assert_eq!(judged(&place, &[]).0[0], "fail backups", "an old one");
    std::fs::write(&latest, "rubbish ".repeat(1000)).unwrap();
    assert_eq!(judged(&place, &[]).0[0], "fail backups", "a damaged one");
    std::fs::remove_file(&latest).unwrap();
    std::fs::write(&database, "rubbish ".repeat(1000)).unwrap();
    assert_eq!(judged(&place, &[]).0[0], "fail database");
}

#[test]
fn people_read_lines_with_the_mend_below() {
    let place = good();
    let environment: Vec<_> = GOOD.iter().chain(&[("FRESHK_LIMITS__IP", "0")]).copied().collect();
    let output = place.command(&["check", "--offline"], &environment).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("fail  rate limits    off: limits.ip\n"), "{text}");
    assert!(text.contains("-> give each a number above 0\n"), "{text}");
    assert!(!text.contains("an-honest"), "no secret is shown: {text}");
}
