//! Attributes of users, which access tokens carry as claims.

use freshk::domain::Attributes;
use serde_json::{Value, json};

use crate::foreign::operate;
use crate::support::{App, PHONE};
use crate::tokens::claims;

async fn set(app: &App, attributes: &str) {
    let attributes = Attributes::parse(attributes).unwrap();
    operate(app, move |operator| {
        let user = operator.view().users_after(freshk::domain::UserId(0), 1)?.remove(0);
        operator.set_attributes(&user, attributes.clone())
    })
    .await;
}

/// The access token's claims, and the refresh token.
async fn refreshed(app: &App, refresh: &str) -> (Value, Value, String) {
    let pair = app.post("/api/mobile/auth/token/refresh/", &json!({ "refresh": refresh })).await.json();
    let (access, refresh) = (pair["access"].as_str().unwrap(), pair["refresh"].as_str().unwrap());
    (claims(app, access), claims(app, refresh), refresh.to_owned())
}

#[tokio::test]
async fn an_access_token_carries_the_attributes_that_are_named_from_the_next_refresh_on() {
    let app = App::with(&[("FRESHK_TOKENS__CLAIMS", "plan,seats")]).await;
    let login = app.log_in(PHONE).await;
    let first = claims(&app, login["access"].as_str().unwrap());
    assert!(first.get("plan").is_none());

    set(&app, r#"{"plan":"gold","seats":{"front":2},"note":"pays late"}"#).await;
    let (access, refresh, next) = refreshed(&app, login["refresh"].as_str().unwrap()).await;
    assert_eq!((&access["plan"], &access["seats"]), (&json!("gold"), &json!({ "front": 2 })));
    assert!(access.get("note").is_none(), "no key names it");
    assert!(refresh.get("plan").is_none(), "a refresh token is for nobody to read");
    for (name, value) in first.as_object().unwrap() {
        if !["exp", "iat", "jti", "gen"].contains(&name.as_str()) {
            assert_eq!(&access[name], value, "{name}");
        }
    }

    set(&app, "{}").await;
    let (access, _, _) = refreshed(&app, &next).await;
    assert!(access.get("plan").is_none() && access.get("seats").is_none());
    assert_eq!(app.count("SELECT count(*) FROM audit WHERE detail = 'operator: attributes changed'"), 2);
    assert_eq!(app.count("SELECT count(*) FROM users WHERE attributes IS NOT NULL"), 0);
}

#[tokio::test]
async fn without_the_key_tokens_carry_none() {
    let app = App::start().await;
    let login = app.log_in(PHONE).await;
    set(&app, r#"{"plan":"gold"}"#).await;
    let (access, _, _) = refreshed(&app, login["refresh"].as_str().unwrap()).await;
    assert!(access.get("plan").is_none());
}

#[tokio::test]
async fn a_token_with_the_largest_attributes_is_good() {
    let app = App::with(&[("FRESHK_TOKENS__CLAIMS", "large")]).await;
    let login = app.log_in(PHONE).await;
    set(&app, &json!({ "large": "x".repeat(1012) }).to_string()).await;
    let pair =
        app.post("/api/mobile/auth/token/refresh/", &json!({ "refresh": login["refresh"] })).await.json();
    assert_eq!(app.status(pair["access"].as_str().unwrap()).await.status, 200);
}
