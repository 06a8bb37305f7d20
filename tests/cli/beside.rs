//! Commands beside a running server, which obeys.

use freshk::clock::{Clock as _, SystemClock};
use serde_json::json;

use crate::support::{PHONE, Place, obeys};

#[tokio::test]
async fn s17_the_server_sees_deactivation_role_and_logout() {
    let place = Place::new();
    let server = place.serve();
    let token = server.log_in(PHONE).await;
    assert_eq!(server.status(&token).await.1["account_active"], true);

    place.good("user deactivate +1234567890");
    obeys(async || server.status(&token).await.1["account_active"] == false).await;
    assert_eq!(server.request(PHONE).await, 403);
    place.good("user activate +1234567890");
    obeys(async || server.status(&token).await.0 == 401).await;
    let token = server.log_in(PHONE).await;

    place.good("user set-role +1234567890 staff");
    obeys(async || server.status(&token).await.1["user"]["role"] == "staff").await;

    insta::assert_json_snapshot!(place.json("session list --user 1"), {
        ".sessions[].id" => "[session]",
        ".sessions[].device" => "[device]",
        ".sessions[].device_id" => "[device token]",
        ".sessions[].created_at" => "[at]",
        ".sessions[].last_used_at" => "[at]",
        ".sessions[].expires_at" => "[at]",
    });
    assert_eq!(place.json("user logout 1"), json!({ "id": 1, "sessions_ended": 1 }));
    obeys(async || server.status(&token).await.0 == 401).await;
    assert_eq!(place.json("session list")["sessions"], json!([]));
}

#[test]
fn a_reset_lets_go_what_the_guard_holds_back_around_the_key_and_nothing_else() {
    let place = Place::new();
    place.good("user create +1234567890");
    let held = || {
        let told = place.json("limit show")["blocks"].clone();
        told.as_array()
            .unwrap()
            .iter()
            .map(|block| block["key"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    rusqlite::Connection::open(place.path("freshk.db"))
        .unwrap()
        .execute_batch(
            "INSERT INTO blocks (scope, key, since, until, probe_at, times, rule, counted, allowed)
             SELECT column1, column2, unixepoch() * 1000, unixepoch() * 1000 + 900000, 0, 1, column1, 9, 5
             FROM (VALUES ('network', '203.0.113.0/24'), ('range', '+1234567'), ('range', '+1999999'))",
        )
        .unwrap();
    assert_eq!(held().len(), 3);
    place.good("limit reset +1234567890");
    assert_eq!(held(), ["203.0.113.0/24", "+1999999"]);
    place.good("limit reset 203.0.113.77");
    assert_eq!(held(), ["+1999999"]);
}

#[tokio::test]
async fn the_server_sees_a_revoked_session_and_a_deleted_user() {
    let place = Place::new();
    let server = place.serve();
    let token = server.log_in(PHONE).await;
    let session = place.json("session list")["sessions"][0]["id"].as_str().unwrap().to_owned();
    place.good(&format!("session revoke {session}"));
    obeys(async || server.status(&token).await.0 == 401).await;
    let again = place.run(&format!("session revoke {session}"));
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("session list"), "{}", again.stderr);

    let token = server.log_in(PHONE).await;
    assert_eq!(server.status(&token).await.0, 200);
    place.good("user delete +1234567890 --yes");
    obeys(async || server.status(&token).await.0 == 401).await;
    for table in ["users", "sessions", "challenges", "messages"] {
        assert_eq!(place.count(&format!("SELECT count(*) FROM {table}")), 0, "{table}");
    }
    assert_eq!(place.count("SELECT count(*) FROM spends WHERE subject LIKE '+%'"), 0);
    assert_eq!(place.count("SELECT count(*) FROM audit WHERE phone_hash IS NOT NULL"), 0);
}

#[tokio::test]
async fn the_server_sees_a_reset_limit_though_memory_said_no() {
    let place = Place::new();
    let server = place.serve();
    for _ in 0..3 {
        assert_eq!(server.request(PHONE).await, 200);
    }
    assert_eq!(server.request(PHONE).await, 429, "the phone is out");
    insta::assert_json_snapshot!(place.json("limit show +1234567890"), { ".limits[].reset" => "[at]" });
    place.good("limit reset +1234567890");
    assert_eq!(server.request(PHONE).await, 200);

    for _ in 0..2 {
        assert_eq!(server.request(PHONE).await, 429, "the address is out");
    }
    let out = place.json("limit show")["limits"].clone();
    assert_eq!((&out[0]["key"], &out[0]["quota"]), (&"127.0.0.1".into(), &"ip:request".into()), "{out}");
    place.good("limit reset 127.0.0.1");
    obeys(async || server.request(PHONE).await == 200).await;
}

#[tokio::test]
async fn codes_messages_and_figures_show_what_the_server_did() {
    let place = Place::new();
    let server = place.serve();
    server.log_in(PHONE).await;
    assert_eq!(server.post("/verify/", &json!({ "phone_number": PHONE, "otp": "000000" })).await.0, 400);
    assert_eq!(server.request("+15551234567").await, 200);
    assert_eq!(server.post("/verify/", &json!({ "phone_number": "+15551234567", "otp": "no" })).await.0, 400);

    let times = ["created_at", "expires_at", "used_at", "updated_at"];
    let hide = |mut shown: serde_json::Value, list: &str| {
        for row in shown[list].as_array_mut().unwrap() {
            for time in times {
                if row[time].is_string() {
                    row[time] = "[at]".into();
                }
            }
        }
        shown
    };
    insta::assert_json_snapshot!(hide(place.json("otp list"), "codes"));
    insta::assert_json_snapshot!(hide(place.json("sms list"), "messages"));
    let stats = place.json("stats --since 1h");
    insta::assert_json_snapshot!(stats, {
        ".windows[].since" => "[at]",
        ".windows[].until" => "[at]",
        ".windows[].course" => "[course]",
    });
    let said = place.good("stats");
    for expected in ["LAST HOUR", "LAST DAY", "LAST WEEK", "OTP requests", "50.0 % (1 of 2)", "█"] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
    assert!(said.contains("SMS: 2 delivered, 0 accepted, 0 failed, 0 unknown, 0 refused"), "{said}");
    assert_eq!(place.json("otp list --phone +15551234567")["codes"].as_array().unwrap().len(), 1);
    assert_eq!(place.json("sms list --state failed")["messages"], json!([]));
    assert_eq!(place.json("otp purge"), json!({ "deleted": 0 }), "what is fresh stays");
}

/// What the breaker refuses has no message, and yet somebody waits for a code.
#[test]
fn the_rate_of_delivered_messages_is_one_of_all_attempts() {
    let place = Place::new();
    place.good("user create +1234567890");
    let delivery = || {
        let said = place.good("stats --since 1h");
        let line = said.lines().find(|line| line.contains("SMS delivery success")).unwrap();
        let split = said.lines().find(|line| line.starts_with("SMS: ")).unwrap();
        (line.split_whitespace().skip(3).take(5).collect::<Vec<_>>().join(" "), split.to_owned())
    };
    assert_eq!(delivery().0, "- (none) ▁▁▁▁▁▁▁▁▁▁▁▁");
    let conn = rusqlite::Connection::open(place.path("freshk.db")).unwrap();
    let now = SystemClock::new().now().as_millis();
    for (state, count) in [("unknown", 5), ("intended", 1)] {
        for _ in 0..count {
            conn.execute(
                "INSERT INTO challenges (channel, phone, key_number, code_hmac, state, created_at, expires_at)
                 VALUES ('production', '+15550000001', 0, x'00', 'unknown', ?1, ?1)",
                [now],
            )
            .unwrap();
            conn.execute(
                "INSERT INTO messages (challenge_id, phone, state, segments, created_at, updated_at)
                 VALUES (last_insert_rowid(), '+15550000001', ?1, 1, ?2, ?2)",
                (state, now),
            )
            .unwrap();
        }
    }
    conn.execute("INSERT INTO unsent VALUES (?1, 'breaker_open', 115)", [now / 60_000]).unwrap();
    let (rate, split) = delivery();
    assert_eq!(rate, "0.0 % (0 of 120)");
    assert_eq!(split, "SMS: 0 delivered, 0 accepted, 0 failed, 5 unknown, 115 refused; 1 under way");
    let window = &place.json("stats --since 1h")["windows"][0];
    assert_eq!(window["sms_delivery_success"], 0.0, "{window}");
    assert_eq!(
        (&window["sms_attempts"]["total"], &window["sms_attempts"]["refused"]),
        (&120.into(), &115.into())
    );
}
