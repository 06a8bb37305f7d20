//! The lines of the log: which there are at `info`, what is in them, and how many a flood makes.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::logs::{self, Sink};
use crate::support::{Answer, App, PHONE, REQUEST, STATUS, VERIFY};
use crate::twilio::Answer as Twilio;

fn events(log: &Sink) -> Vec<String> {
    let event = |record: Value| Some(record.get("event")?.as_str()?.to_owned());
    log.records().into_iter().filter_map(event).collect()
}

#[tokio::test]
async fn s33_a_good_login_is_told_at_info() {
    let Some(log) = logs::catch(module_path!(), "s33_a_good_login_is_told_at_info", "info") else { return };
    let app = App::start().await;
    app.log_in(PHONE).await;
    assert_eq!(events(&log), ["sms_sent", "authn_login_success"]);
}

/// A field of a record that had a name of the record's own was told under another one.
#[tokio::test]
async fn s33_a_message_is_named_in_a_field_of_its_own() {
    let name = "s33_a_message_is_named_in_a_field_of_its_own";
    let Some(log) = logs::catch(module_path!(), name, "debug") else { return };
    let app = App::start().await;
    app.request_from("198.51.100.1", PHONE).await;
    app.twilio.always(Twilio::Error { http: 400, code: 21610, message: "STOP" });
    app.request_from("198.51.100.1", "+1234567891").await;
    let records = log.records();
    let named: Vec<_> = records.iter().filter(|record| record["message_id"].is_u64()).collect();
    assert!(named.len() >= 2, "{records:?}");
    for record in &records {
        let mut members = record.as_object().unwrap().keys();
        assert!(members.all(|name| !name.starts_with("field.")), "{record}");
    }
}

#[tokio::test]
async fn s34_the_name_that_a_trusted_proxy_gave_a_request_stands_beside_ours() {
    let name = "s34_the_name_that_a_trusted_proxy_gave_a_request_stands_beside_ours";
    let Some(log) = logs::catch(module_path!(), name, "debug") else { return };
    let ask = async |app: &App, name: &str| {
        let call = app.build(Method::GET, STATUS).header("x-forwarded-for", "203.0.113.7");
        let answer = call.header("x-request-id", name).send().await.unwrap();
        answer.headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    let of = |id: &str| {
        let records = log.records();
        // The second app draws the names that the first one drew.
        let is_its = |record: &Value| record["request_id"] == id && record["message"] == "request";
        records.into_iter().rfind(is_its).unwrap()
    };
    let trusting = App::start().await;
    let ours = ask(&trusting, "7d1f-c0 ffee{}").await;
    assert_eq!(ours.len(), 32, "ours is answered");
    assert_eq!(of(&ours)["proxy_request_id"], "7d1f-c0ffee");
    let untrusting = App::with(&[("FRESHK_SERVER__TRUSTED_PROXIES", "192.0.2.1")]).await;
    let ours = ask(&untrusting, "forged").await;
    assert!(of(&ours).get("proxy_request_id").is_none());
}

#[tokio::test]
async fn s38_each_refused_input_is_told_as_such() {
    let name = "s38_each_refused_input_is_told_as_such";
    let Some(log) = logs::catch(module_path!(), name, "info") else { return };
    let app = App::start().await;
    app.request(PHONE).await;
    let verify = |otp: Value| json!({ "phone_number": PHONE, "otp": otp });
    let last = || {
        let records = log.records();
        records.into_iter().rfind(|record| record["message"] == "request").unwrap()
    };
    let big = "x".repeat(20_000);
    for (path, body, code) in [
        (REQUEST, json!({ "phone_number": "nonsense" }), "invalid_phone_number"),
        (REQUEST, json!({}), "bad_request"),
        (REQUEST, json!({ "phone_number": big }), "payload_too_large"),
        (VERIFY, verify(json!("12")), "invalid_otp"),
        (VERIFY, verify(json!(12)), "bad_request"),
    ] {
        let answer = app.post(path, &body).await;
        let record = last();
        assert_eq!((answer.code().as_str(), &record["code"]), (code, &json!(code)));
        assert_eq!(record["event"], "input_validation_fail", "{record}");
        assert_eq!(record["request_id"], answer.header("x-request-id"));
    }
    let untyped = Answer::of(app.build(Method::POST, REQUEST).body("x")).await;
    assert_eq!((untyped.status, &last()["event"]), (415, &json!("input_validation_fail")));
    // A wrong code has the form of one, and a number that gets no SMS that of a number.
    app.verify(PHONE, &app.wrong_code(PHONE)).await;
    assert!(last().get("event").is_none(), "{}", last());
    app.twilio.always(Twilio::Error { http: 400, code: 21614, message: "landline" });
    assert_eq!(app.request("+19990000001").await.code(), "invalid_phone_number");
    assert!(last().get("event").is_none(), "{}", last());
}

#[tokio::test]
async fn s40_a_flood_of_refusals_is_twenty_lines_and_a_count() {
    let name = "s40_a_flood_of_refusals_is_twenty_lines_and_a_count";
    let Some(log) = logs::catch(module_path!(), name, "info") else { return };
    let app = App::with(&[("FRESHK_LIMITS__FLOOD_PER_SECOND", "0")]).await;
    let refused =
        async |ip: &str| app.post_from(ip, REQUEST, &json!({ "phone_number": "nonsense" })).await.status;
    for _ in 0..100 {
        assert_eq!(refused("203.0.113.7").await, 400);
    }
    assert_eq!(refused("203.0.113.8").await, 400);
    let lines = |client: &str| {
        let of = |record: &&Value| record["client"] == client && record["message"] == "request";
        log.records().iter().filter(of).count()
    };
    assert_eq!((lines("203.0.113.7"), lines("203.0.113.8")), (20, 1));
    let counts = || {
        let records = log.records();
        records.into_iter().filter(|record| record["count"].is_u64()).collect::<Vec<_>>()
    };
    assert!(counts().is_empty(), "the minute goes on");
    app.clock.advance(Duration::from_mins(1));
    app.request_from("203.0.113.9", PHONE).await;
    let counts = counts();
    assert_eq!(counts.len(), 1, "{counts:?}");
    assert_eq!((&counts[0]["client"], &counts[0]["count"]), (&json!("203.0.113.7"), &json!(100)));
    assert_eq!(refused("203.0.113.7").await, 400);
    assert_eq!(lines("203.0.113.7"), 21, "a new minute has new lines");
}
