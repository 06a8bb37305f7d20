//! The guide's calls, to the letter.

use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, App, FIRST_ID, PHONE, REQUEST, STATUS, VERIFY};

#[tokio::test]
async fn a_phone_logs_in() {
    let app = App::start().await;
    let sent = app.request(PHONE).await;
    assert_eq!(sent.status, 200, "{}", sent.text);
    let told =
        json!({ "message": "Verification code sent successfully", "is_new_user": true, "expires_in": 600 });
    assert_eq!(sent.json(), told);

    let login = app.verify(PHONE, &app.code(PHONE)).await;
    assert_eq!(login.status, 200, "{}", login.text);
    let body = login.json();
    let user = json!({
        "id": FIRST_ID, "username": "user_1234567890", "phone_number": PHONE, "role": "retailer", "phone_verified": true,
    });
    assert_eq!(body["user"], user);
    assert_eq!(body["message"], "Authentication successful");
    assert_eq!(body.as_object().unwrap().len(), 4);
    for token in ["access", "refresh"] {
        assert!(body[token].as_str().unwrap().starts_with("eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9."));
    }

    let access = body["access"].as_str().unwrap();
    let status = app.status(access).await;
    assert_eq!(status.status, 200, "{}", status.text);
    let told = json!({
        "authenticated": true,
        "user": { "id": FIRST_ID, "username": "user_1234567890", "phone_number": PHONE, "role": "retailer" },
        "phone_verified": true,
        "account_active": true,
    });
    assert_eq!(status.json(), told);

    let resent = app.resend(access).await;
    assert_eq!(resent.status, 200, "{}", resent.text);
    assert_eq!(resent.json(), json!({ "message": "Verification code sent successfully", "expires_in": 600 }));
    app.twilio.assert_conforming();
    assert_eq!(app.twilio.requests().len(), 2);

    let again = app.request(PHONE).await;
    assert_eq!(again.json()["is_new_user"], false, "{}", again.text);
}

#[tokio::test]
async fn every_path_answers_without_its_slash_too_and_nothing_redirects() {
    let app = App::start().await;
    let sent = app.post(REQUEST.trim_end_matches('/'), &json!({ "phone_number": PHONE })).await;
    assert_eq!(sent.status, 200, "{}", sent.text);
    let body = json!({ "phone_number": PHONE, "otp": app.code(PHONE) });
    let login = app.post(VERIFY.trim_end_matches('/'), &body).await;
    let access = login.json()["access"].as_str().unwrap().to_owned();
    assert_eq!(app.bearer(Method::GET, STATUS.trim_end_matches('/'), &access).await.status, 200);
}

#[tokio::test]
async fn the_testing_mode_exists_only_in_debug() {
    let app = App::start().await;
    for path in ["/api/mobile/auth/request/", "/api/mobile/auth/verify/"] {
        let answer = app.post(path, &json!({ "phone_number": PHONE, "otp": "123456" })).await;
        assert_eq!(answer.verdict(), (404, "not_found".to_owned()));
    }
    let description = Answer::of(app.build(Method::GET, "/openapi.json")).await.text;
    assert!(description.contains("/production/request/") && !description.contains("/auth/request/"));
}
