//! `GET production/delivery/{id}/`: what the app learns of a code that it asked for.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::callbacks::{report, sid, with};
use crate::support::{Answer, App, PHONE, REQUEST};
use crate::twilio::Answer as Twilio;

async fn delivery(app: &App, id: &str) -> Answer {
    let path = format!("/api/mobile/auth/production/delivery/{id}/");
    Answer::of(app.build(Method::GET, &path)).await
}

fn id(answer: &Answer) -> String {
    answer.header("x-delivery-id").to_owned()
}

async fn state(app: &App, answer: &Answer) -> Value {
    let told = delivery(app, &id(answer)).await;
    assert_eq!(told.status, 200, "{}", told.text);
    told.json()
}

#[tokio::test]
async fn a_request_says_what_finds_the_state_of_its_code_and_reports_move_it() {
    let app = with(&[("FRESHK_OTP__RESEND_COOLDOWN", "45s")]).await;
    let sent = app.request(PHONE).await;
    assert_eq!(sent.status, 200);
    assert_eq!(id(&sent).len(), 22);
    assert!(!sent.text.contains(&id(&sent)), "the body stays the guide's");
    assert_eq!(state(&app, &sent).await, json!({ "state": "sent", "channel": "sms" }));
    let sid = sid(&app);
    report(&app, &sid, "sent", "").await;
    assert_eq!(state(&app, &sent).await, json!({ "state": "sent", "channel": "sms" }));
    report(&app, &sid, "undelivered", "30003").await;
    app.clock.advance(Duration::from_secs(15));
    let told = json!({ "state": "undelivered", "channel": "sms", "retry_after": 30 });
    assert_eq!(state(&app, &sent).await, told);
    app.clock.advance(Duration::from_mins(1));
    let again = app.request(PHONE).await;
    report(&app, &crate::callbacks::sid(&app), "delivered", "").await;
    assert_eq!(state(&app, &again).await, json!({ "state": "delivered", "channel": "sms" }));
    assert_eq!(state(&app, &sent).await["retry_after"], 0, "each request has its own");
}

#[tokio::test]
async fn an_id_that_is_none_and_one_whose_code_is_gone_are_not_found() {
    let app = App::start().await;
    let sent = app.request(PHONE).await;
    for none in ["x", "AAAAAAAAAAAAAAAAAAAAAA", "1", "%00", "AAAAAAAAAAAAAAAAAAAAAA%2F"] {
        assert_eq!(delivery(&app, none).await.verdict(), (404, "not_found".to_owned()), "{none}");
    }
    app.execute("DELETE FROM challenges");
    assert_eq!(delivery(&app, &id(&sent)).await.verdict(), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn a_failure_whose_message_may_arrive_has_an_id_and_a_sure_one_has_none() {
    let app = App::start().await;
    app.twilio.script(vec![
        Twilio::Html { http: 500 },
        Twilio::Error { http: 400, code: 21614, message: "no" },
        Twilio::Error { http: 403, code: 21610, message: "no" },
    ]);
    let unknown = app.request(PHONE).await;
    assert_eq!(unknown.status, 500);
    assert_eq!(
        state(&app, &unknown).await,
        json!({ "state": "unknown", "channel": "sms", "retry_after": 0 })
    );
    for status in [400, 500] {
        let refused = app.request("+1234567891").await;
        assert_eq!((refused.status, id(&refused).as_str()), (status, ""));
    }
}

#[tokio::test]
async fn resend_has_one_and_all_callers_of_a_flight_have_the_same() {
    let app = App::start().await;
    let login = app.log_in(PHONE).await;
    let token = login["access"].as_str().unwrap();
    assert_eq!(id(&app.resend(token).await).len(), 22);

    app.twilio.hold();
    let body = json!({ "phone_number": PHONE });
    let count = app.twilio.requests().len() + 1;
    let first = async { app.post_from("198.51.100.2", REQUEST, &body).await };
    let second = async {
        app.sending(count).await;
        let other = app.post_from("198.51.100.3", REQUEST, &body);
        let release = async {
            // The login's, and both callers'.
            crate::support::until(|| async { app.spent("ip:request") == 3 }).await;
            app.twilio.release();
        };
        tokio::join!(other, release).0
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first.status, second.status), (200, 200));
    assert_eq!(id(&first), id(&second));
    assert_eq!(app.twilio.requests().len(), count);
}

#[tokio::test]
async fn s10_where_accounts_are_concealed_it_says_no_more_than_sent_of_anybody() {
    let app = with(&[("FRESHK_PRIVACY__CONCEAL_ACCOUNTS", "true"), ("FRESHK_LIMITS__IP", "0")]).await;
    let deactivated = "+19990000002";
    app.log_in(deactivated).await;
    app.execute(&format!("UPDATE users SET is_active = false WHERE phone = '{deactivated}'"));
    let withheld = app.request(deactivated).await;
    let sent = app.request(PHONE).await;
    let told = json!({ "state": "sent", "channel": "sms" });
    assert_eq!((state(&app, &withheld).await, state(&app, &sent).await), (told.clone(), told.clone()));
    report(&app, &sid(&app), "delivered", "").await;
    assert_eq!(state(&app, &sent).await, told);
    let texts = [delivery(&app, &id(&withheld)).await.text, delivery(&app, &id(&sent)).await.text];
    assert_eq!(texts[0], texts[1]);
}

#[tokio::test]
async fn another_channel_needs_a_sender_for_it() {
    let app = App::start().await;
    app.request(PHONE).await;
    for word in ["whatsapp", "voice", "sms", "pigeon"] {
        let refused = app.post(REQUEST, &json!({ "phone_number": PHONE, "channel": word })).await;
        assert_eq!(refused.verdict(), (400, "bad_request".to_owned()), "{word}");
        assert!(refused.text.contains("codes come by text message alone"), "{}", refused.text);
    }
    assert_eq!(app.spent("user"), 1);
}
