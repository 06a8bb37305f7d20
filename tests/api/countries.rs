//! `[phone]`: which countries are sent to, and one account for each telephone.

use reqwest::Method;
use serde_json::json;

use crate::foreign::REFRESH;
use crate::support::{Answer, App, PHONE};

const NOT_ALLOWED: (u16, &str) = (403, "country_not_allowed");
const INVALID: (u16, &str) = (400, "invalid_phone_number");
const JAMAICA: &str = "+18765550123";
const CANADA: &str = "+14165550123";

#[tokio::test]
async fn a_country_that_is_not_sent_to_is_refused_before_anything_is_spent() {
    let app = App::with(&[("FRESHK_PHONE__ALLOWED_COUNTRIES", "US, ca")]).await;
    let refused = app.request(JAMAICA).await;
    assert_eq!((refused.status, refused.code().as_str()), NOT_ALLOWED);
    assert_eq!((app.spent("ip:request"), app.count("SELECT count(*) FROM challenges")), (0, 0));
    assert_eq!(app.twilio.requests().len(), 0);
    assert_eq!(app.request(CANADA).await.status, 200);
}

#[tokio::test]
async fn an_account_of_a_denied_country_gets_no_more_codes_and_keeps_its_session() {
    let mut app = App::start().await;
    let login = app.log_in(JAMAICA).await;
    let access = login["access"].as_str().unwrap();
    app.set("FRESHK_PHONE__DENIED_COUNTRIES", "JM");
    app.set("FRESHK_PHONE__ALLOWED_COUNTRIES", "JM,US");
    app.restart().await;
    for refused in [app.request(JAMAICA).await, app.resend(access).await] {
        assert_eq!((refused.status, refused.code().as_str()), NOT_ALLOWED);
    }
    assert_eq!(app.status(access).await.status, 200);
    let refreshed = app.post(REFRESH, &json!({ "refresh": login["refresh"] })).await;
    assert_eq!(refreshed.status, 200);
    assert_eq!(app.twilio.requests().len(), 1);
}

#[tokio::test]
async fn an_account_cannot_move_to_a_number_of_a_denied_country() {
    let app = App::with(&[("FRESHK_PHONE__DENIED_COUNTRIES", "JM")]).await;
    let login = app.log_in(PHONE).await;
    let call = app
        .build(Method::POST, "/api/mobile/auth/account/phone/")
        .bearer_auth(login["access"].as_str().unwrap());
    let refused = Answer::of(call.json(&json!({ "phone_number": JAMAICA }))).await;
    assert_eq!((refused.status, refused.code().as_str()), NOT_ALLOWED);
    assert_eq!(app.spent("ip:phone"), 0);
}

#[tokio::test]
async fn strict_refuses_what_is_no_telephones_number_and_has_one_account_for_each_telephone() {
    let app = App::with(&[("FRESHK_PHONE__STRICT", "true")]).await;
    for phone in [PHONE, "+19002345678", "+449098790123"] {
        let refused = app.request(phone).await;
        assert_eq!((refused.status, refused.code().as_str()), INVALID, "{phone}");
        let refused = app.verify(phone, "123456").await;
        assert_eq!((refused.status, refused.code().as_str()), INVALID, "{phone}");
    }
    assert_eq!(app.spent("ip:request"), 0);

    let (old, canonical) = ("+5215512345678", "+525512345678");
    let first = app.log_in(canonical).await;
    assert_eq!(app.request(old).await.json()["is_new_user"], false);
    let again = app.verify(old, &app.code(canonical)).await.json();
    assert_eq!(again["user"]["id"], first["user"]["id"]);
    assert_eq!(again["user"]["phone_number"], canonical);
    assert_eq!(app.count("SELECT count(*) FROM users"), 1);
    let sent = app.twilio.requests();
    assert!(sent.iter().all(|sms| sms.field("To") == Some(canonical)));
}
