//! The trusted proxies against what the server has seen and what the audit trail shows.

use std::time::Duration;

use freshk::domain::Timestamp;
use freshk::metrics::{PROXY_FAULT, UNTRUSTED_PROXY};

use super::monitoring::{identity, page_with};
use super::set_up::{SetUp, now};

const NONE: (&str, &str) = ("FRESHK_SERVER__TRUSTED_PROXIES", "");

#[test]
fn s37_what_a_server_saw_is_read_from_its_metrics() {
    let set_up = SetUp::good();
    let server = set_up.place.serve(&[NONE]);
    server.ask("GET /health/live HTTP/1.1\r\nhost: localhost\r\nx-real-ip: 203.0.113.7");
    let ops = server.ops.to_string();
    let (told, _) = set_up.told(&[], &[NONE, ("FRESHK_OPS__LISTEN", &ops)]);
    let lines = told["lines"].as_array().unwrap();
    let line = lines.iter().find(|line| line["check"] == "trusted proxies").unwrap();
    assert!(line["found"].as_str().unwrap().starts_with("127.0.0.1 passed a request on"), "{line}");
    let right = "freshk.toml: trusted_proxies = [\"127.0.0.1/32\"] and forwarded_header = \"x-real-ip\"";
    assert!(line["help"].as_str().unwrap().contains(right), "{line}");
}

#[test]
fn s37_the_line_to_write_is_repeated_until_the_configuration_has_it() {
    let set_up = SetUp::good();
    let sees = |ago: Duration| {
        let at = (now() - ago).as_secs();
        let lines = format!(
            "{PROXY_FAULT}{{fault=\"untrusted\"}} {at}\n{UNTRUSTED_PROXY}{{peer=\"127.0.0.1\",header=\"x-real-ip\"}} {at}\n"
        );
        set_up.metrics.gives(page_with(now().as_secs(), &lines, &identity(&set_up.place.path("freshk.db"))));
    };
    sees(Duration::from_hours(23));
    let line = "trusted_proxies = [\"127.0.0.1/32\"] and forwarded_header = \"x-real-ip\"";
    set_up.assert_only(&[NONE], "warn trusted proxies", &format!("freshk.toml: {line}"));
    set_up.assert_ok(&[]);
    sees(Duration::from_hours(25));
    set_up.assert_ok(&[("FRESHK_SERVER__TRUSTED_PROXIES", "10.0.0.1")]);
}

#[test]
fn s37_what_the_running_server_has_seen_of_late_counts() {
    let set_up = SetUp::good();
    let sees = |fault: &str, ago: Duration| {
        let at = (now() - ago).as_secs();
        let line = format!("{PROXY_FAULT}{{fault=\"{fault}\"}} {at}\n");
        set_up.metrics.gives(page_with(now().as_secs(), &line, &identity(&set_up.place.path("freshk.db"))));
    };
    let day = Duration::from_hours(24);
    for (fault, mend) in [
        ("silent", "have the proxy name its client in x-forwarded-for"),
        ("untrusted", "server.trusted_proxies"),
    ] {
        sees(fault, Duration::from_mins(3));
        set_up.assert_only(&[], "warn trusted proxies", mend);
        sees(fault, day + day);
        set_up.assert_ok(&[]);
    }
    let never = format!("{PROXY_FAULT}{{fault=\"silent\"}} 0\n");
    set_up.metrics.gives(page_with(now().as_secs(), &never, &identity(&set_up.place.path("freshk.db"))));
    set_up.assert_ok(&[]);
}

#[test]
fn an_audit_trail_in_which_everybody_has_one_address() {
    let set_up = SetUp::good();
    let note = |rows: usize, mode: &str, address: &str, at: Timestamp| {
        for _ in 0..rows {
            set_up
                .place
                .sql()
                .execute(
                    "INSERT INTO audit (at, event, channel, ip) VALUES (?1, 'authn_code_requested', ?2, ?3)",
                    rusqlite::params![at.as_millis(), mode, address],
                )
                .unwrap();
        }
    };
    let forget = || {
        let all = "UPDATE audit_retention SET before = 1 << 62; DELETE FROM audit";
        set_up.place.sql().execute_batch(all).unwrap();
    };
    let day = Duration::from_hours(24);
    note(30, "production", "172.17.0.1", now() - day - day);
    note(30, "testing", "172.17.0.1", now());
    note(9, "production", "172.17.0.1", now());
    set_up.assert_ok(&[]);
    note(1, "production", "172.17.0.1", now());
    let more = "trusted_proxies = [\"127.0.0.1/32\", \"172.17.0.1/32\"]";
    set_up.assert_only(&[], "warn trusted proxies", more);
    note(1, "production", "203.0.113.7", now());
    set_up.assert_ok(&[]);
    forget();
    note(30, "production", "203.0.113.7", now());
    set_up.assert_ok(&[]);
    forget();
    note(30, "production", "127.0.0.1", now());
    set_up.assert_only(&[], "warn trusted proxies", "have the proxy name its client in x-forwarded-for");
}
