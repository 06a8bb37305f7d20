//! Messages in the language that the caller wants.

use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, App, PHONE, REQUEST};

impl App {
    async fn request_in(&self, languages: &str, phone: &str) -> Answer {
        let call = self.build(Method::POST, REQUEST).header("accept-language", languages);
        Answer::of(call.json(&json!({ "phone_number": phone }))).await
    }

    fn last_text(&self) -> String {
        self.twilio.requests().last().unwrap().field("Body").unwrap().to_owned()
    }
}

#[tokio::test]
async fn the_text_is_in_the_language_that_the_caller_wants_most() {
    let app = App::with(&[("FRESHK_LIMITS__IP", "0"), ("FRESHK_SMS__BRAND", "Acme")]).await;
    for (languages, phone, begin) in [
        ("fr-CA, en;q=0.8", "+14165550101", "Votre code Acme est "),
        ("de;q=0.1, sw;q=0.9", "+14165550102", "Msimbo wako wa Acme ni "),
        ("hi", "+14165550103", "Acme कोड "),
        ("nl, *;q=0.5", "+14165550104", "Your Acme code is "),
        ("", "+14165550105", "Your Acme code is "),
    ] {
        assert_eq!(app.request_in(languages, phone).await.status, 200);
        let text = app.last_text();
        assert!(text.starts_with(begin), "{languages}: {text}");
    }
}

#[tokio::test]
async fn resend_and_a_code_for_a_change_speak_the_callers_language_and_the_notice_of_it_does_not() {
    let app = App::with(&[("FRESHK_LIMITS__IP", "0")]).await;
    let login = app.log_in(PHONE).await;
    let access = login["access"].as_str().unwrap();
    let call = |path: &str| {
        let path = format!("/api/mobile/auth/{path}");
        app.build(Method::POST, &path).bearer_auth(access).header("accept-language", "es-MX, es;q=0.9")
    };
    assert_eq!(Answer::of(call("production/resend/")).await.status, 200);
    assert!(app.last_text().starts_with("Tu clave de FreshK es "));

    let new = "+14165550199";
    let asked = Answer::of(call("account/phone/").json(&json!({ "phone_number": new }))).await;
    assert_eq!(asked.status, 200);
    assert!(app.last_text().starts_with("Tu clave de FreshK es "));
    let proof = json!({ "phone_number": new, "otp": app.code(new) });
    assert_eq!(Answer::of(call("account/phone/verify/").json(&proof)).await.status, 200);
    // Whoever asks may be a thief, who would choose a language that the owner cannot read.
    assert!(app.last_text().starts_with("Your account gets another phone number in 24 hours."));
    app.twilio.assert_conforming();
}

#[tokio::test]
async fn a_header_of_8_kib_of_languages_costs_nobody_a_code() {
    let app = App::start().await;
    for languages in ["x".repeat(8192), "de-".repeat(2730), "xx,".repeat(2730), ",;q=".repeat(2048)] {
        let asked = app.request_in(&languages, PHONE).await;
        // Three codes an hour for a number.
        assert!(matches!(asked.status, 200 | 429), "{}", asked.status);
    }
    assert!(app.last_text().starts_with("Your FreshK code is "));
}
