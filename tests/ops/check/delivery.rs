//! Whether codes reach people.

use std::time::Duration;

use super::monitoring::{identity, page_with};
use super::set_up::{SetUp, now};

const MINUTE: Duration = Duration::from_mins(1);

impl SetUp {
    /// A message of some age.
    fn message(&self, state: &str, age: Duration) {
        let at = (now() - age).as_millis();
        let sql = self.place.sql();
        sql.execute(
            "INSERT INTO challenges (channel, phone, key_number, code_hmac, state, created_at, expires_at)
             VALUES ('production', '+15550000001', 0, x'00', 'live', ?1, ?1)",
            [at],
        )
        .unwrap();
        sql.execute(
            "INSERT INTO messages (challenge_id, phone, state, segments, created_at, updated_at)
             VALUES (last_insert_rowid(), '+15550000001', ?1, 1, ?2, ?2)",
            (state, at),
        )
        .unwrap();
    }

    fn unsent(&self, why: &str, count: u32, age: Duration) {
        let minute = (now() - age).as_millis() / 60_000;
        let row = (minute, why, count);
        self.place.sql().execute("INSERT INTO unsent VALUES (?1, ?2, ?3)", row).unwrap();
    }
}

#[test]
fn an_outage_fails_though_the_breaker_lets_no_message_begin() {
    let set_up = SetUp::good();
    assert!(set_up.assert_ok(&[]).iter().any(|line| line == "SMS delivery"));
    for _ in 0..5 {
        set_up.message("unknown", MINUTE);
    }
    set_up.unsent("breaker_open", 115, MINUTE);
    set_up.assert_only(&[], "fail SMS delivery", "status.twilio.com");
    let (told, _) = set_up.told(&[], &[]);
    assert!(told.to_string().contains("120 of 120 codes of the last 15 minutes did not go out"), "{told}");
}

#[test]
fn an_open_breaker_fails() {
    let set_up = SetUp::good();
    let ours = identity(&set_up.place.path("freshk.db"));
    set_up.metrics.gives(page_with(now().as_secs(), "freshk_sms_breaker_open 1\n", &ours));
    set_up.assert_only(&[], "fail SMS delivery", "why it opened");
    set_up.metrics.gives(page_with(now().as_secs(), "freshk_sms_breaker_open 0\n", &ours));
    set_up.assert_ok(&[]);
}

#[test]
fn some_failures_warn_and_old_ones_do_not() {
    let set_up = SetUp::good();
    for _ in 0..5 {
        set_up.message("failed", MINUTE * 16);
    }
    set_up.unsent("overloaded", 7, MINUTE * 17);
    set_up.assert_ok(&[]);
    set_up.message("undelivered", MINUTE);
    set_up.assert_only(&[], "warn SMS delivery", "freshk sms list");
    for _ in 0..4 {
        set_up.message("delivered", MINUTE);
    }
    set_up.assert_ok(&[]);
    set_up.unsent("overloaded", 1, MINUTE);
    set_up.assert_only(&[], "warn SMS delivery", "freshk sms list");
}

#[test]
fn messages_of_which_twilio_reports_nothing_warn() {
    let set_up = SetUp::good();
    for _ in 0..3 {
        set_up.message("queued", MINUTE * 4);
    }
    set_up.assert_ok(&[]);
    for _ in 0..3 {
        set_up.message("queued", MINUTE * 20);
    }
    set_up.assert_only(
        &[],
        "warn SMS delivery",
        "https://api.example.com/api/mobile/auth/sms/twilio/status/",
    );
    set_up.assert_only(&[("FRESHK_SERVER__PUBLIC_URL", "")], "warn TLS", "server.public_url");
    set_up.message("delivered", MINUTE * 20);
    set_up.assert_ok(&[]);
}
