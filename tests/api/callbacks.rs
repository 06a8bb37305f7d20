//! S26: Twilio reports what became of a message, over HTTP.

use std::time::Duration;

use data_encoding::HEXLOWER;
use reqwest::Method;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::logs;
use crate::support::{Answer, App, PHONE};
use crate::twilio::{AUTH_TOKEN, Answer as Twilio, SignedCallback, signed_callback};

const PUBLIC: &str = "https://freshk.example/sub";
const PATH: &str = "/api/mobile/auth/sms/twilio/status/";
const STATES: &str = "SELECT state FROM messages";

async fn start() -> App {
    with(&[]).await
}

pub(crate) async fn with(variables: &[(&str, &str)]) -> App {
    let public = [("FRESHK_SERVER__PUBLIC_URL", PUBLIC)];
    App::with(&[&public, variables].concat()).await
}

/// Posts a form below the public address, as the proxy there passes it on.
async fn post(app: &App, path: &str, signature: &str, body: String) -> Answer {
    let request = app.build(Method::POST, path).header("x-twilio-signature", signature);
    Answer::of(request.header("content-type", "application/x-www-form-urlencoded").body(body)).await
}

async fn report_to(app: &App, path: &str, params: &[(&str, &str)]) -> Answer {
    let SignedCallback { signature, body } = signed_callback(AUTH_TOKEN, &format!("{PUBLIC}{path}"), params);
    post(app, path, &signature, body).await
}

/// A signed report of a message by Twilio's name for it.
pub(crate) async fn report(app: &App, sid: &str, status: &str, error_code: &str) {
    let params = [("MessageSid", sid), ("MessageStatus", status), ("ErrorCode", error_code), ("To", PHONE)];
    let answer = report_to(app, PATH, &params).await;
    assert_eq!((answer.status, answer.text.as_str()), (204, ""), "{status}");
}

/// A signed report to the very address that Twilio was given with the last message.
async fn report_to_callback(app: &App, sid: &str, status: &str) {
    let requests = app.twilio.requests();
    let url = requests.last().unwrap().field("StatusCallback").unwrap();
    let path = url.strip_prefix(PUBLIC).unwrap();
    let answer = report_to(app, path, &[("MessageSid", sid), ("MessageStatus", status)]).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
}

pub(crate) fn sid(app: &App) -> String {
    app.words("SELECT sid FROM messages ORDER BY id DESC LIMIT 1").remove(0)
}

fn some_sid() -> String {
    format!("SM{}", "f".repeat(32))
}

/// Twilio's answer is lost, and a report of the message comes before that is known.
#[tokio::test]
async fn s26_a_report_before_a_lost_answer_makes_the_code_live_unless_it_is_of_a_loss() {
    for (reported, challenge, told) in
        [("sent", "live", "sms_sent"), ("undelivered", "unknown", "sms_undelivered sms_failed")]
    {
        let app = start().await;
        app.twilio.always(Twilio::Html { http: 500 });
        app.twilio.hold();
        let meanwhile = async {
            app.sending(1).await;
            report_to_callback(&app, &some_sid(), reported).await;
            app.twilio.release();
        };
        let (asked, ()) = tokio::join!(app.request(PHONE), meanwhile);
        assert_eq!(asked.status, 500, "{reported}");
        assert_eq!(app.words("SELECT state FROM challenges"), [challenge], "{reported}");
        let events = app.words("SELECT event FROM audit WHERE event LIKE 'sms_%' ORDER BY id");
        assert_eq!(events.join(" "), told, "{reported}");
    }
}

#[tokio::test]
async fn s26_a_message_moves_on_and_never_back() {
    let app = start().await;
    app.request(PHONE).await;
    let sid = sid(&app);
    for (reported, state) in [
        ("queued", "queued"),
        ("sent", "sent"),
        ("sending", "sent"),
        ("something-new", "sent"),
        ("delivered", "delivered"),
        ("delivered", "delivered"),
        ("sent", "delivered"),
        ("undelivered", "delivered"),
    ] {
        report(&app, &sid, reported, "").await;
        assert_eq!(app.words(STATES), [state], "after {reported}");
    }
    assert_eq!((app.spent("user"), app.spent("refunds")), (1, 0));
    assert_eq!(app.count("SELECT count(*) FROM audit WHERE event = 'sms_undelivered'"), 0);
}

#[tokio::test]
async fn s26_without_a_good_signature_nothing_moves() {
    let app = start().await;
    app.request(PHONE).await;
    let sid = sid(&app);
    let url = format!("{PUBLIC}{PATH}");
    let params = [("MessageSid", sid.as_str()), ("MessageStatus", "delivered")];
    let SignedCallback { signature, body } = signed_callback(AUTH_TOKEN, &url, &params);
    let signed_by_another = signed_callback("another token of thirty-two bytes", &url, &params).signature;
    let request_host = format!("http://{}{PATH}", app.address());
    let signed_for_the_request_host = signed_callback(AUTH_TOKEN, &request_host, &params).signature;
    for wrong in ["", "AAAA", &signed_by_another, &signed_for_the_request_host] {
        let refused = post(&app, PATH, wrong, body.clone()).await;
        assert_eq!(refused.verdict(), (403, "bad_signature".to_owned()), "{wrong:?}");
    }
    let unsigned = app.build(Method::POST, PATH).header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(Answer::of(unsigned.body(body.clone())).await.verdict(), (403, "bad_signature".to_owned()));
    let other_body = body.replace("delivered", "undelivered");
    assert_eq!(post(&app, PATH, &signature, other_body).await.status, 403, "the body is covered");
    let other_query = format!("{PATH}?message=1");
    assert_eq!(post(&app, &other_query, &signature, body.clone()).await.status, 403, "the query is covered");
    assert_eq!(app.words(STATES), ["queued"]);
    assert_eq!(post(&app, PATH, &signature, body).await.status, 204);
    assert_eq!(app.words(STATES), ["delivered"]);
}

#[tokio::test]
async fn s26_without_a_public_address_no_callback_is_asked_for_and_none_believed() {
    let app = App::start().await;
    app.request(PHONE).await;
    assert_eq!(app.twilio.requests()[0].field("StatusCallback"), None);
    let sid = sid(&app);
    let params = [("MessageSid", sid.as_str()), ("MessageStatus", "delivered")];
    for base in ["", "http://127.0.0.1", PUBLIC] {
        let SignedCallback { signature, body } =
            signed_callback(AUTH_TOKEN, &format!("{base}{PATH}"), &params);
        assert_eq!(post(&app, PATH, &signature, body).await.verdict(), (403, "bad_signature".to_owned()));
    }
    assert_eq!(app.words(STATES), ["queued"]);
}

#[tokio::test]
async fn s26_the_address_that_twilio_is_given_is_the_one_that_verifies() {
    for public in [PUBLIC.to_owned(), format!("{PUBLIC}/")] {
        let app = App::with(&[("FRESHK_SERVER__PUBLIC_URL", &public)]).await;
        app.request(PHONE).await;
        let url = app.twilio.requests()[0].field("StatusCallback").unwrap().to_owned();
        assert_eq!(url, format!("{PUBLIC}{PATH}?message=1"));
        report_to_callback(&app, &sid(&app), "delivered").await;
        assert_eq!(app.words(STATES), ["delivered"]);
    }
}

#[tokio::test]
async fn s26_with_and_without_the_last_slash() {
    for path in [PATH, PATH.trim_end_matches('/')] {
        let app = start().await;
        app.request(PHONE).await;
        let sid = sid(&app);
        let answer = report_to(&app, path, &[("MessageSid", &sid), ("MessageStatus", "sent")]).await;
        assert_eq!(answer.status, 204, "{path}: {}", answer.text);
        assert_eq!(app.words(STATES), ["sent"]);
    }
}

#[tokio::test]
async fn s26_an_unknown_message_is_noted_without_a_word() {
    let app = start().await;
    app.request(PHONE).await;
    report(&app, &some_sid(), "delivered", "").await;
    let path = format!("{PATH}?message=999");
    let answer = report_to(&app, &path, &[("MessageSid", &some_sid()), ("MessageStatus", "sent")]).await;
    assert_eq!(answer.status, 204);
    // Our own number does not name a message that Twilio has given another name.
    let path = format!("{PATH}?message=1");
    let answer = report_to(&app, &path, &[("MessageSid", &some_sid()), ("MessageStatus", "sent")]).await;
    assert_eq!(answer.status, 204);
    for params in [&[][..], &[("MessageSid", "SM1")], &[("MessageStatus", "sent")]] {
        assert_eq!(report_to(&app, PATH, params).await.status, 204, "{params:?}");
    }
    assert_eq!(app.words(STATES), ["queued"]);
}

#[tokio::test]
async fn s26_undelivered_gives_the_phones_unit_back_once_and_is_audited() {
    for (status, error_code) in [("undelivered", "30005"), ("failed", "30036"), ("undelivered", "")] {
        let app = start().await;
        app.request(PHONE).await;
        let sid = sid(&app);
        for _ in 0..3 {
            report(&app, &sid, status, error_code).await;
        }
        assert_eq!((app.spent("user"), app.spent("refunds")), (0, 1), "{status} {error_code}");
        assert_eq!(app.words("SELECT error_code FROM messages"), [error_code]);
        let told = app.words("SELECT detail FROM audit WHERE event = 'sms_undelivered'");
        assert_eq!(told, [format!("{status} {error_code}").trim_end()]);
        let phone = app.words("SELECT phone FROM audit WHERE event = 'sms_undelivered'");
        assert_eq!(phone, ["+12****7890"]);
        assert_eq!(app.spent("ip:request"), 1, "the address's unit stays");
        assert_eq!(app.verify(PHONE, &app.code(PHONE)).await.status, 200, "carriers err: the code stays");
    }
}

#[tokio::test]
async fn s26_at_most_three_units_a_day_come_back() {
    let app = with(&[("FRESHK_LIMITS__IP", "0")]).await;
    for n in 1..=6 {
        assert_eq!(app.request(PHONE).await.status, 200, "{n}");
        report(&app, &sid(&app), "undelivered", "30003").await;
        assert_eq!(app.spent("user"), (n - 3).max(0), "{n}");
    }
    assert_eq!(app.request(PHONE).await.code(), "rate_limited");
}

#[tokio::test]
async fn s26_a_report_finds_a_message_whose_answer_was_lost_and_makes_its_code_live() {
    let app = start().await;
    app.request(PHONE).await;
    let older = app.code(PHONE);
    app.twilio.always(Twilio::ResetAfterBody);
    assert_eq!(app.request(PHONE).await.code(), "sms_delivery_failed");
    assert_eq!(app.words("SELECT state FROM challenges ORDER BY id"), ["live", "unknown"]);

    let sid = some_sid();
    report_to_callback(&app, &sid, "sent").await;
    assert_eq!(app.words("SELECT state FROM challenges ORDER BY id"), ["void", "live"]);
    assert_eq!(app.words("SELECT sid FROM messages WHERE id = 2"), [sid.as_str()]);
    // Now that its name is known, that will do.
    report(&app, &sid, "delivered", "").await;
    assert_eq!(app.words("SELECT state FROM messages ORDER BY id"), ["queued", "delivered"]);
    assert_eq!(app.verify(PHONE, &older).await.code(), "invalid_otp", "the SMS of the newer was accepted");
    assert_eq!(app.verify(PHONE, &app.code(PHONE)).await.status, 200);
}

#[tokio::test]
async fn s26_a_report_of_a_lost_message_that_failed_gives_the_unit_back_and_leaves_the_older_code() {
    let app = start().await;
    app.request(PHONE).await;
    let older = app.code(PHONE);
    app.twilio.always(Twilio::ResetAfterBody);
    app.request(PHONE).await;
    report_to_callback(&app, &some_sid(), "failed").await;
    assert_eq!(app.spent("user"), 1);
    assert_eq!(app.verify(PHONE, &older).await.status, 200);
}

/// Twilio may report before it has answered; and its answer may be lost on top of that.
#[tokio::test]
async fn s26_a_report_before_the_answer_stands_whatever_the_answer_is() {
    for (answer, status) in
        [(Twilio::Accepted, 200), (Twilio::AcceptedGarbage, 200), (Twilio::ResetAfterBody, 500)]
    {
        let app = start().await;
        app.twilio.always(answer.clone());
        app.twilio.hold();
        let early = async {
            app.sending(1).await;
            report_to_callback(&app, &some_sid(), "delivered").await;
            assert_eq!(app.words(STATES), ["delivered"]);
            app.twilio.release();
        };
        let (asked, ()) = tokio::join!(app.request(PHONE), early);
        assert_eq!(asked.status, status, "{answer:?}");
        assert_eq!(app.words(STATES), ["delivered"], "{answer:?}");
        assert_eq!(app.words("SELECT sid FROM messages"), [some_sid()], "{answer:?}");
        assert_eq!(app.words("SELECT state FROM challenges"), ["live"], "{answer:?}");
        assert_eq!(app.count("SELECT count(*) FROM users"), 1, "{answer:?}");
        assert_eq!(app.verify(PHONE, &app.code(PHONE)).await.status, 200);
    }
}

#[tokio::test]
async fn s26_a_loss_reported_before_the_answer_stands_where_the_code_went_on_to_another_sender() {
    let refused = Twilio::Error { http: 400, code: 21_614, message: "no" };
    for (answer, status) in [(Twilio::Accepted, 200), (Twilio::ResetAfterBody, 500)] {
        let app = with(&[
            ("FRESHK_SMS__SENDERS", "twilio,second"),
            ("FRESHK_SENDERS", "second|kind=twilio|from=+15005550009"),
        ])
        .await;
        app.twilio.script(vec![refused.clone(), answer.clone()]);
        app.twilio.hold_from(1);
        let early = async {
            app.sending(2).await;
            report_to_callback(&app, &some_sid(), "undelivered").await;
            app.twilio.release();
        };
        let (asked, ()) = tokio::join!(app.request(PHONE), early);
        assert_eq!(asked.status, status, "{answer:?}");
        let row = app.words("SELECT sender || ' ' || state FROM messages");
        assert_eq!(row, ["second undelivered"], "{answer:?}");
        assert_eq!((app.spent("user"), app.spent("refunds")), (0, 1), "{answer:?}");
    }
}

#[tokio::test]
async fn s26_a_report_never_revives_a_used_code() {
    let app = start().await;
    app.twilio.always(Twilio::ResetAfterBody);
    app.request(PHONE).await;
    let code = app.code(PHONE);
    assert_eq!(app.verify(PHONE, &code).await.status, 200);
    report_to_callback(&app, &some_sid(), "delivered").await;
    assert_eq!(app.words("SELECT state FROM challenges"), ["used"]);
    assert_eq!(app.verify(PHONE, &code).await.code(), "invalid_otp");
}

#[tokio::test]
async fn s26_a_json_report_is_covered_by_its_hash() {
    let app = start().await;
    app.request(PHONE).await;
    let report =
        json!({ "MessageSid": sid(&app), "MessageStatus": "delivered", "ErrorCode": null }).to_string();
    let hash = HEXLOWER.encode(&Sha256::digest(&report));
    let path = format!("{PATH}?bodySHA256={hash}");
    let signature = signed_callback(AUTH_TOKEN, &format!("{PUBLIC}{path}"), &[]).signature;
    let unhashed = signed_callback(AUTH_TOKEN, &format!("{PUBLIC}{PATH}"), &[]).signature;
    let send = |path: String, signature: String, body: String| {
        let request = app.build(Method::POST, &path).header("x-twilio-signature", signature);
        Answer::of(request.header("content-type", "application/json").body(body))
    };
    let forged = report.replace("delivered", "undelivered");
    for (path, signature, body) in
        [(&path, &signature, &forged), (&PATH.to_owned(), &unhashed, &report), (&path, &unhashed, &report)]
    {
        let refused = send(path.clone(), signature.clone(), body.clone()).await;
        assert_eq!(refused.verdict(), (403, "bad_signature".to_owned()));
    }
    assert_eq!(app.words(STATES), ["queued"]);
    let answer = send(path, signature, report).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
    assert_eq!(app.words(STATES), ["delivered"]);
}

#[tokio::test]
async fn a_report_is_a_form_or_json() {
    let app = start().await;
    let answer =
        Answer::of(app.build(Method::POST, PATH).header("content-type", "text/plain").body("x")).await;
    assert_eq!(answer.verdict(), (415, "unsupported_media_type".to_owned()));
    let told = "The body must be sent as application/x-www-form-urlencoded or application/json.";
    assert_eq!(answer.json()["error"], told);
}

#[tokio::test]
async fn a_forged_callback_counts_against_the_pace_and_costs_no_line_of_its_own() {
    let name = "a_forged_callback_counts_against_the_pace_and_costs_no_line_of_its_own";
    let Some(log) = logs::catch(module_path!(), name, "info") else { return };
    let app = with(&[("FRESHK_LIMITS__FLOOD_PER_SECOND", "1"), ("FRESHK_LIMITS__FLOOD_BURST", "30")]).await;
    let forge = async || post(&app, PATH, "forged", "MessageStatus=delivered".to_owned()).await;
    let mut refused = Vec::new();
    for _ in 0..100 {
        refused.push(forge().await.verdict());
    }
    assert!(refused[..30].iter().all(|verdict| *verdict == (403, "bad_signature".to_owned())), "{refused:?}");
    let limited = refused.iter().filter(|verdict| **verdict == (429, "rate_limited".to_owned())).count();
    assert!(limited > 20, "{refused:?}");
    report(&app, &some_sid(), "delivered", "").await;
    let records = log.records();
    let forged = |record: &&serde_json::Value| record["event"] == "authz_fail";
    assert_eq!(records.iter().filter(forged).count(), 1, "one warning");
    let lines = records.iter().filter(|record| record["code"] == "bad_signature").count();
    assert_eq!(lines, 20, "and the first of them");
    let mut got = Vec::new();
    for _ in 0..5 {
        got.push(Answer::of(app.build(Method::GET, PATH)).await.code());
    }
    assert!(got.contains(&"rate_limited".to_owned()), "a GET there is no callback: {got:?}");
}

#[tokio::test]
async fn the_callback_skips_the_host_check_and_the_flood_guard() {
    let app = with(&[
        ("ALLOWED_HOSTS", "freshk.example"),
        ("FRESHK_LIMITS__FLOOD_PER_SECOND", "1"),
        ("FRESHK_LIMITS__FLOOD_BURST", "1"),
    ])
    .await;
    let other = app.request(PHONE).await;
    assert_eq!(other.code(), "host_not_allowed");
    for _ in 0..20 {
        report(&app, &some_sid(), "delivered", "").await;
    }
    assert_eq!(app.request(PHONE).await.code(), "rate_limited", "the guard is on for the others");
}

/// The network of Twilio is no address of a client's: reports spend nobody's quota.
#[tokio::test]
async fn reports_spend_no_quota() {
    let app = start().await;
    app.request(PHONE).await;
    let sid = sid(&app);
    for _ in 0..20 {
        report(&app, &sid, "sent", "").await;
    }
    assert_eq!(app.count("SELECT count(*) FROM spends"), 2, "the request's own two");
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(app.request(PHONE).await.status, 200);
}

#[tokio::test]
async fn a_report_that_comes_after_the_unit_has_returned_costs_no_refund() {
    // A unit counts for the day, or for the hour where the day is not limited.
    for (per_day, window) in [("10", 86_400), ("0", 3600)] {
        let app = with(&[("FRESHK_LIMITS__USER_PER_DAY", per_day)]).await;
        for wait in [window - 1, window] {
            app.request(PHONE).await;
            app.clock.advance(Duration::from_secs(wait));
            report(&app, &sid(&app), "undelivered", "30003").await;
            assert_eq!(app.spent("refunds"), 1, "after {wait} s");
        }
        assert_eq!(app.count("SELECT count(*) FROM audit WHERE event = 'sms_undelivered'"), 2);
    }
}
