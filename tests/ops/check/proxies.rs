//! The trusted proxies against what the log and the audit trail show.

use std::time::Duration;

use freshk::domain::Timestamp;
use freshk::metrics::PROXY_FAULT;

use super::monitoring::{identity, page_with};
use super::set_up::{SetUp, now};

const NONE: (&str, &str) = ("FRESHK_SERVER__TRUSTED_PROXIES", "");
const LOG: (&str, &str) = ("FRESHK_LOG__FILE", "logs/debug.log");

#[test]
fn s37_the_warning_in_the_log_is_repeated_until_the_configuration_answers_it() {
    for format in ["json", "pretty"] {
        let set_up = SetUp::good();
        let server = set_up.place.serve(&[NONE, LOG, ("FRESHK_LOG__FORMAT", format)]);
        server.ask("GET /health/live HTTP/1.1\r\nhost: localhost\r\nx-real-ip: 203.0.113.7");
        assert!(server.stop());
        let line = "trusted_proxies = [\"127.0.0.1/32\"] and forwarded_header = \"x-real-ip\"";
        set_up.assert_only(&[NONE, LOG], "warn trusted proxies", &format!("freshk.toml: {line}"));
        set_up.assert_ok(&[LOG]);
    }
}

#[test]
fn of_the_log_only_the_end_of_the_last_day_counts() {
    let set_up = SetUp::good();
    let another = ("FRESHK_SERVER__TRUSTED_PROXIES", "10.0.0.1");
    let logs = set_up.place.path("logs");
    // Anew each time: two instants may lie in one day, or in two.
    let write = |at: Timestamp, more: &str| {
        drop(std::fs::remove_dir_all(&logs));
        std::fs::create_dir(&logs).unwrap();
        let at = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap();
        let file = logs.join(format!("debug.{}.log", at.strftime("%Y-%m-%d")));
        let line = "WARN freshk::http::client_ip: a proxy; if it is yours, write under [server] in freshk.toml: \
                    trusted_proxies = [\"127.0.0.1/32\"] peer=127.0.0.1";
        std::fs::write(file, format!("{at}  {line}\n{more}")).unwrap();
    };
    write(now() - Duration::from_hours(25), "");
    set_up.assert_ok(&[LOG, another]);
    write(now() - Duration::from_hours(23), "2026-01-01T00:00:00Z  INFO freshk::cli::serve: serving\n");
    set_up.assert_only(&[LOG, another], "warn trusted proxies", "trusted_proxies = [\"127.0.0.1/32\"]");
    write(now(), &"x".repeat(5 * 1024 * 1024));
    set_up.assert_ok(&[LOG, another]);
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
    for (fault, mend) in
        [("silent", "have the proxy say in x-forwarded-for"), ("untrusted", "server.trusted_proxies")]
    {
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
    set_up.assert_only(&[], "warn trusted proxies", "have the proxy say in x-forwarded-for");
}
