//! `freshk check` on a good set-up, and on one set-up for each single fault.

use freshk::cli::backups;
use serde_json::json;

use crate::place::{Place, until};

#[path = "check/canned.rs"]
mod canned;
#[path = "check/delivery.rs"]
mod delivery;
#[path = "check/files.rs"]
mod files;
#[path = "check/look.rs"]
mod look;
#[path = "check/monitoring.rs"]
mod monitoring;
#[path = "check/provider.rs"]
mod provider;
#[path = "check/proxies.rs"]
mod proxies;
#[path = "check/set_up.rs"]
mod set_up;
#[path = "check/settings.rs"]
mod settings;

use set_up::{SetUp, drilled, good_environment, now};

#[test]
fn a_good_set_up_beside_its_server_is_ok_in_every_line() {
    let (place, twilio) = (Place::new(), provider::twilio());
    let base_url = twilio.url();
    std::fs::create_dir(place.path("backups")).unwrap();
    let environment = good_environment(&base_url, "127.0.0.1:1");
    let server = place.serve(&environment);
    until(|| backups::until(&place.path("backups"), now()).is_ok_and(|found| !found.is_empty()));
    assert!(server.get("/metrics").contains("freshk_sessions_live"), "the scrape");
    drilled(&place, now());
    let ops = server.ops.to_string();
    let environment = [environment.as_slice(), &[("FRESHK_OPS__LISTEN", &ops)]].concat();
    let output = place.command(&["check"], &environment).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        (output.status.code(), text.lines().last().unwrap()),
        (Some(0), "24 ok, 0 warnings, 0 failures"),
        "{text}"
    );
    assert!(text.contains(" holds the database"), "{text}");
    assert!(text.contains("/metrics was read"), "{text}");
    assert!(server.stop());
}

#[test]
fn json_is_stable() {
    let set_up = SetUp::good();
    let mut told = set_up.told(&[], &[("FRESHK_LIMITS__IP", "0"), ("FRESHK_SERVER__PUBLIC_URL", "")]).0;
    let mut lines = told["lines"].take();
    for line in lines.as_array_mut().unwrap() {
        // How much, how long ago and where differ from run to run.
        if ["free disk", "WAL size", "backups", "restore drill", "monitoring"]
            .contains(&line["check"].as_str().unwrap())
        {
            line["found"] = json!("(differs)");
        }
    }
    insta::assert_json_snapshot!(lines);
}

#[test]
fn quiet_prints_what_is_not_ok_and_nothing_else() {
    let set_up = SetUp::good();
    let quiet = |args: &[&str], changes: &[(&str, &str)]| {
        let output = set_up.command(&[&["check", "--quiet"], args].concat(), changes).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    assert_eq!(quiet(&[], &[]), (0, String::new(), String::new()), "cron sends no mail");
    let (code, text, said) = quiet(&[], &[("FRESHK_BACKUP__DIR", "")]);
    assert_eq!((code, said.as_str()), (0, ""), "a warning is a person's to judge");
    assert!(text.contains("warn") && text.contains("backup.dir is not set"), "{text}");
    assert!(!text.contains("ok") && !text.contains("Monitoring"), "{text}");
    let (code, text, said) = quiet(&[], &[("FRESHK_LIMITS__IP", "0")]);
    assert!(code == 1 && text.contains("limits.ip") && said.contains("1 check failed"), "{text}{said}");
    let (code, text, _) = quiet(&["--json"], &[("FRESHK_LIMITS__IP", "0")]);
    let lines: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, lines["lines"].as_array().unwrap().len()), (1, 1), "{text}");
}
