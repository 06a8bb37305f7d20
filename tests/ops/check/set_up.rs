//! A set-up in which all is well, and what `check` says of it after a change.

use std::time::Duration;

use freshk::cli::backups::drilled::Drilled;
use freshk::clock::{Clock as _, SystemClock};
use freshk::domain::Timestamp;
use serde_json::Value;

use super::canned::Canned;
use super::{monitoring, provider};
use crate::place::Place;

pub(super) const SECRET: &str = "an-honest-secret-of-more-than-32-bytes";
pub(super) const TOKEN: &str = "an-honest-token";

/// A place with a database, a backup of it, a Twilio and metrics that somebody reads.
pub(super) struct SetUp {
    pub(super) place: Place,
    pub(super) twilio: Canned,
    pub(super) metrics: Canned,
}

pub(super) fn good_environment<'a>(twilio: &'a str, ops: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("DEBUG", "0"),
        ("SECRET_KEY", SECRET),
        ("TWILIO_ACCOUNT_SID", "AC0123456789abcdef0123456789abcdef"),
        ("TWILIO_AUTH_TOKEN", TOKEN),
        ("TWILIO_PHONE_NUMBER", "+15005550006"),
        ("FRESHK_TWILIO__BASE_URL", twilio),
        ("FRESHK_SERVER__PUBLIC_URL", "https://api.example.com"),
        ("FRESHK_SERVER__TRUSTED_PROXIES", "127.0.0.1"),
        ("FRESHK_BACKUP__DIR", "backups"),
        ("FRESHK_OPS__LISTEN", ops),
    ]
}

pub(super) fn now() -> Timestamp {
    SystemClock::new().now()
}

/// Notes that a backup was restored to try it.
pub(super) fn drilled(place: &Place, at: Timestamp) {
    let drilled = Drilled { at, backup: "x".to_owned(), took: Duration::from_secs(1) };
    drilled.write(&place.path("backups")).unwrap();
}

impl SetUp {
    pub(super) fn good() -> Self {
        let place = Place::new();
        place.database("x");
        std::fs::create_dir(place.path("backups")).unwrap();
        let metrics = monitoring::read_at(now(), &place.path("freshk.db"));
        let set_up = Self { place, twilio: provider::twilio(), metrics };
        assert!(set_up.command(&["db", "backup"], &[]).output().unwrap().status.success());
        drilled(&set_up.place, now());
        set_up
    }

    /// A command in the good environment, but for `changes`; an empty value takes a variable away.
    pub(super) fn command(&self, args: &[&str], changes: &[(&str, &str)]) -> std::process::Command {
        let (twilio, ops) = (self.twilio.url(), self.metrics.address.to_string());
        let environment = good_environment(&twilio, &ops);
        self.place.command(args, &[environment.as_slice(), changes].concat())
    }

    /// What `check` prints, as JSON, and its exit code.
    pub(super) fn told(&self, args: &[&str], changes: &[(&str, &str)]) -> (Value, i32) {
        let output = self.command(&[&["check", "--json"], args].concat(), changes).output().unwrap();
        let all = String::from_utf8([output.stdout.clone(), output.stderr].concat()).unwrap();
        assert!(!all.contains(SECRET) && !all.contains(TOKEN) && !all.contains("panicked"), "{all}");
        (serde_json::from_slice(&output.stdout).unwrap(), output.status.code().unwrap())
    }

    /// Holds that all lines are ok, and which they are.
    pub(super) fn assert_ok(&self, changes: &[(&str, &str)]) -> Vec<String> {
        let (told, exit) = self.told(&[], changes);
        assert_eq!(not_ok(&told), Vec::<Value>::new(), "{changes:?}");
        assert_eq!(exit, 0);
        told["lines"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line["check"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Holds that one line alone is not ok: `expected` is its verdict and name, `mend` part of what to do.
    pub(super) fn assert_only(&self, changes: &[(&str, &str)], expected: &str, mend: &str) {
        let (told, exit) = self.told(&[], changes);
        let faults = not_ok(&told);
        assert_eq!(faults.len(), 1, "{changes:?}: {expected}: {faults:#?}");
        let text = |name: &str| faults[0][name].as_str().unwrap();
        assert_eq!(format!("{} {}", text("verdict"), text("check")), expected, "{changes:?}: {faults:#?}");
        assert!(text("help").contains(mend) && !text("found").is_empty(), "{changes:?}: {mend}: {faults:#?}");
        assert_eq!(exit, i32::from(text("verdict") == "fail"), "{changes:?}: {faults:#?}");
    }
}

fn not_ok(told: &Value) -> Vec<Value> {
    told["lines"].as_array().unwrap().iter().filter(|line| line["verdict"] != "ok").cloned().collect()
}
