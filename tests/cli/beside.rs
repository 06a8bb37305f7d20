//! Commands beside a running server, which obeys.

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
        ".sessions[].created_at" => "[at]",
        ".sessions[].last_used_at" => "[at]",
        ".sessions[].expires_at" => "[at]",
    });
    assert_eq!(place.json("user logout 1"), json!({ "id": 1, "sessions_ended": 1 }));
    obeys(async || server.status(&token).await.0 == 401).await;
    assert_eq!(place.json("session list")["sessions"], json!([]));
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
    assert_eq!(place.json("otp list --phone +15551234567")["codes"].as_array().unwrap().len(), 1);
    assert_eq!(place.json("sms list --state failed")["messages"], json!([]));
    assert_eq!(place.json("otp purge"), json!({ "deleted": 0 }), "what is fresh stays");
}
