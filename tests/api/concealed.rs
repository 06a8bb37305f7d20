//! S10 with `privacy.conceal_accounts`: who has an account cannot be told from the answers.

use serde_json::{Value, json};

use crate::support::{Answer, App, PHONE};
use crate::twilio::Answer as Twilio;

const KNOWN: &str = "+19990000001";
const DEACTIVATED: &str = "+19990000002";
const UNVERIFIED: &str = "+19990000003";
const UNKNOWN: &str = "+19990000004";
const NEVER_SEEN: &str = "+19990000005";

/// One of each kind, an hour ago, so that all quotas are whole again.
async fn start() -> App {
    let app = App::with(&[
        ("FRESHK_PRIVACY__CONCEAL_ACCOUNTS", "true"),
        ("FRESHK_LIMITS__IP", "0"),
        ("FRESHK_TWILIO__BREAKER_FAILURES", "100"),
    ])
    .await;
    app.log_in(KNOWN).await;
    app.log_in(DEACTIVATED).await;
    app.request(UNVERIFIED).await;
    app.execute(&format!("UPDATE users SET is_active = false WHERE phone = '{DEACTIVATED}'"));
    app.clock.advance(std::time::Duration::from_hours(1));
    app
}

/// All that a client can tell one answer from another by, save what names or dates it.
fn seen(answer: &Answer) -> (u16, Vec<(String, String)>, Value) {
    let headers = answer
        .headers
        .iter()
        .filter(|(name, _)| !["x-request-id", "date"].contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .map(|(name, value)| {
            let is_drawn = name == "x-delivery-id";
            (name, if is_drawn { value.len().to_string() } else { value })
        })
        .collect();
    (answer.status, headers, answer.body_without_request_id())
}

/// Gives what was answered to all of them alike.
fn alike(answers: &[Answer]) -> &Answer {
    for answer in answers {
        assert_eq!(seen(answer), seen(&answers[0]));
        assert_eq!(answer.text.len(), answers[0].text.len(), "the bytes too");
    }
    &answers[0]
}

async fn request_each(app: &App, phones: &[&str]) -> Vec<Answer> {
    let mut answers = Vec::new();
    for phone in phones {
        answers.push(app.request(phone).await);
    }
    answers
}

async fn verify_each(app: &App, phones: &[&str], otp: &str) -> Vec<Answer> {
    let mut answers = Vec::new();
    for phone in phones {
        answers.push(app.verify(phone, otp).await);
    }
    answers
}

#[tokio::test]
async fn s10_requests_for_all_kinds_of_numbers_are_answered_alike() {
    let app = start().await;
    let sent = app.twilio.requests().len();
    let answers = request_each(&app, &[KNOWN, DEACTIVATED, UNVERIFIED, UNKNOWN]).await;
    let told = alike(&answers);
    assert_eq!(told.status, 200, "{}", told.text);
    assert_eq!(told.json()["is_new_user"], false);
    let to: Vec<_> =
        app.twilio.requests()[sent..].iter().map(|sms| sms.field("To").unwrap().to_owned()).collect();
    assert_eq!(to, [KNOWN, UNVERIFIED, UNKNOWN], "nothing is sent to the deactivated");
    assert_eq!(app.count(&format!("SELECT count(*) FROM messages WHERE phone = '{DEACTIVATED}'")), 1);
}

#[tokio::test]
async fn s10_the_limits_of_all_kinds_are_alike() {
    let app = start().await;
    let phones = [KNOWN, DEACTIVATED, UNVERIFIED, UNKNOWN];
    for _ in 0..3 {
        assert_eq!(alike(&request_each(&app, &phones).await).status, 200);
    }
    assert_eq!(alike(&request_each(&app, &phones).await).verdict(), (429, "rate_limited".to_owned()));
}

#[tokio::test]
async fn s10_wrong_codes_for_all_kinds_are_answered_alike() {
    let app = start().await;
    let phones = [KNOWN, DEACTIVATED, UNVERIFIED, UNKNOWN, NEVER_SEEN];
    let told = verify_each(&app, &phones, "000000").await;
    assert_eq!(alike(&told).verdict(), (400, "invalid_otp".to_owned()), "without a code");
    assert_eq!(alike(&told).json()["error"], "Invalid or expired OTP");

    let requested = &phones[..4];
    alike(&request_each(&app, requested).await);
    for round in 1..=7 {
        let told = verify_each(&app, requested, "000000").await;
        assert_eq!(alike(&told).verdict(), (400, "invalid_otp".to_owned()), "round {round}");
        for phone in requested {
            let counted = app.count(&format!(
                "SELECT count(*) FROM spends WHERE quota = 'failures' AND subject = '{phone}'"
            ));
            assert_eq!(counted, round.min(5), "{phone}: guesses count alike");
        }
    }
}

#[tokio::test]
async fn s10_the_day_of_failures_ends_for_all_kinds_alike() {
    let app = start().await;
    let phones = [KNOWN, DEACTIVATED, UNKNOWN];
    for _ in 0..3 {
        alike(&request_each(&app, &phones).await);
        for _ in 0..5 {
            assert_eq!(alike(&verify_each(&app, &phones, "000000").await).code(), "invalid_otp");
        }
    }
    assert_eq!(alike(&verify_each(&app, &phones, "000000").await).code(), "rate_limited");
    assert_eq!(alike(&request_each(&app, &phones).await).code(), "rate_limited");
}

#[tokio::test]
async fn s10_who_is_new_is_told_with_the_proof() {
    let app = start().await;
    for (phone, is_new) in [(KNOWN, false), (UNVERIFIED, true), (UNKNOWN, true)] {
        assert_eq!(app.request(phone).await.json()["is_new_user"], false);
        let login = app.verify(phone, &app.code(phone)).await.json();
        assert_eq!(login["is_new_user"], is_new, "{phone}");
        assert_eq!(login.as_object().unwrap().len(), 5);
    }
    let openly = App::start().await;
    assert_eq!(openly.log_in(PHONE).await.get("is_new_user"), None);
}

#[tokio::test]
async fn s10_an_overloaded_sender_and_an_open_breaker_refuse_all_alike() {
    let app = start().await;
    app.twilio.script(vec![crate::twilio::Answer::Error { http: 401, code: 20003, message: "Authenticate" }]);
    assert_eq!(app.request(PHONE).await.code(), "sms_delivery_failed");
    let told = request_each(&app, &[KNOWN, DEACTIVATED, UNVERIFIED, UNKNOWN]).await;
    assert_eq!(alike(&told).json()["retry_after"], json!(30));
}

#[tokio::test]
async fn s10_while_twilio_fails_all_kinds_of_numbers_are_answered_alike() {
    for (answer, told) in [
        (Twilio::Html { http: 503 }, (500, "sms_delivery_failed")),
        (Twilio::ResetAfterBody, (500, "sms_delivery_failed")),
        (Twilio::Error { http: 400, code: 63038, message: "daily cap" }, (500, "sms_delivery_failed")),
        (Twilio::Error { http: 400, code: 21408, message: "not enabled" }, (403, "country_not_allowed")),
    ] {
        let app = start().await;
        let phones = [KNOWN, DEACTIVATED, UNVERIFIED, UNKNOWN];
        app.twilio.always(answer.clone());
        // Units come back for what surely was not sent, to all alike.
        for round in 1..=7 {
            let answers = request_each(&app, &phones).await;
            let verdict = alike(&answers).verdict();
            if verdict.0 == 429 {
                assert!(round > 3, "{answer:?}");
                break;
            }
            assert_eq!((verdict.0, verdict.1.as_str()), told, "{answer:?}, round {round}");
            assert_eq!(
                alike(&verify_each(&app, &phones, "000000").await).code(),
                "invalid_otp",
                "{answer:?}"
            );
        }
        for quota in ["user", "failures", "refunds"] {
            let spent = phones.map(|phone| {
                let of_phone = format!("quota = '{quota}' AND subject = '{phone}' AND at >= {}", now(&app));
                app.count(&format!("SELECT count(*) FROM spends WHERE {of_phone}"))
            });
            assert_eq!(spent, [spent[0]; 4], "{answer:?}: {quota}");
        }
        app.twilio.always(Twilio::Accepted);
        app.clock.advance(std::time::Duration::from_hours(24));
        assert_eq!(alike(&request_each(&app, &phones).await).status, 200, "{answer:?}: it has recovered");
    }
}

fn now(app: &App) -> i64 {
    freshk::clock::Clock::now(&*app.clock).as_millis()
}

/// What one number is refused for is not to be expected of others.
#[tokio::test]
async fn s10_one_numbers_trouble_is_not_the_deactivateds() {
    let app = start().await;
    for code in [21211, 21610, 30450] {
        app.twilio.script(vec![Twilio::Error { http: 400, code, message: "not this one" }]);
        assert!(app.request(UNKNOWN).await.status >= 400);
        app.clock.advance(std::time::Duration::from_hours(24));
        let answers = request_each(&app, &[DEACTIVATED, KNOWN, DEACTIVATED]).await;
        assert_eq!(alike(&answers).status, 200, "{code}");
    }
}

/// Only who got messages from us can have replied STOP.
#[tokio::test]
async fn s10_who_replied_stop_is_answered_as_any_number_to_which_sending_fails() {
    let app = start().await;
    app.twilio.script(vec![
        Twilio::Error { http: 400, code: 21610, message: "STOP" },
        Twilio::Error { http: 400, code: 30450, message: "blocked" },
    ]);
    let answers = request_each(&app, &[KNOWN, UNKNOWN]).await;
    assert_eq!(alike(&answers).verdict(), (500, "sms_delivery_failed".to_owned()));
    let access = app.log_in(KNOWN).await["access"].as_str().unwrap().to_owned();
    app.twilio.script(vec![Twilio::Error { http: 400, code: 21610, message: "STOP" }]);
    let bearer = app.resend(&access).await.json()["error"].as_str().unwrap().to_owned();
    assert!(bearer.contains("Text START"), "who has proven the number is told what to do: {bearer}");
}

/// One who has proven the number may know.
#[tokio::test]
async fn the_deactivated_bearer_is_told() {
    let app = App::with(&[("FRESHK_PRIVACY__CONCEAL_ACCOUNTS", "true")]).await;
    let login = app.log_in(PHONE).await;
    app.execute("UPDATE users SET is_active = 0");
    let refused = app.resend(login["access"].as_str().unwrap()).await;
    assert_eq!(refused.verdict(), (403, "account_disabled".to_owned()));
}

#[tokio::test]
async fn a_right_code_from_before_tells_the_deactivated_and_gives_no_tokens() {
    let app = App::with(&[("FRESHK_PRIVACY__CONCEAL_ACCOUNTS", "true")]).await;
    app.request(PHONE).await;
    app.execute("UPDATE users SET is_active = 0");
    assert_eq!(app.verify(PHONE, &app.code(PHONE)).await.verdict(), (403, "account_disabled".to_owned()));
}
