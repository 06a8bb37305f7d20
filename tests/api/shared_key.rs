//! Refresh tokens have a key that nobody shares: whoever has the secret, as a Django project does, neither makes nor renews
//! one.

use std::time::Duration;

use serde_json::{Value, json};

use crate::foreign::{CHECK, LOGOUT, REFRESH, check, pair, refresh, token, use_access};
use crate::support::{App, PHONE, SECRET};
use crate::tokens::{claims, signed};

async fn app() -> App {
    App::with(&[("FRESHK_LIMITS__FLOOD_PER_SECOND", "0"), ("FRESHK_LIMITS__IP", "0")]).await
}

/// The refresh token of a pair as it was signed before it had a key of its own.
fn under_the_secret(app: &App, pair: &Value) -> String {
    signed(&claims(app, token(pair, "refresh")), SECRET)
}

/// As the migration leaves a session that stood before it.
fn was_opened_before_the_migration(app: &App) {
    assert_eq!(app.execute("UPDATE sessions SET shared_key_until = generation"), 1);
}

async fn assert_refused(app: &App, forged: &str) {
    for (path, name) in [(REFRESH, "refresh"), (LOGOUT, "refresh"), (CHECK, "token")] {
        let refused = app.post(path, &json!({ name: forged })).await;
        assert_eq!(refused.verdict(), (401, "token_invalid".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn s14_whoever_shares_the_secret_can_make_no_refresh_token() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    let forged = under_the_secret(&app, &login);
    assert_ne!(forged, token(&login, "refresh"), "ours has another signature");
    assert_eq!(signed(&claims(&app, token(&login, "access")), SECRET), token(&login, "access"));
    assert_refused(&app, &forged).await;
    assert_eq!(app.status(token(&login, "access")).await.status, 200, "and the session stands");
    assert_eq!(check(&app, token(&login, "refresh")).await, 200);
    let next = pair(&app, token(&login, "refresh")).await;
    assert_refused(&app, &under_the_secret(&app, &next)).await;
}

#[tokio::test]
async fn a_session_of_before_is_refreshed_once_with_the_token_that_its_phone_holds() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    was_opened_before_the_migration(&app);
    let held = under_the_secret(&app, &login);
    assert_eq!(check(&app, &held).await, 200);
    let next = pair(&app, &held).await;
    assert_eq!(claims(&app, token(&next, "refresh"))["gen"], 1);
    // The answer was lost, and the phone asks again much later.
    app.clock.advance(Duration::from_hours(1));
    assert_eq!(pair(&app, &held).await["refresh"], next["refresh"]);
    assert_refused(&app, &under_the_secret(&app, &next)).await;
    let third = pair(&app, token(&next, "refresh")).await;
    assert_eq!(refresh(&app, &held).await.verdict(), (401, "token_reused".to_owned()));
    assert_eq!(app.status(token(&third, "access")).await.status, 401);
}

/// The phone had rotated before, and the migration came while that answer was on its way.
#[tokio::test]
async fn an_answer_that_the_migration_overtook_is_given_again() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    let held = under_the_secret(&app, &login);
    let next = pair(&app, token(&login, "refresh")).await;
    was_opened_before_the_migration(&app);
    assert_eq!(pair(&app, &held).await["refresh"], next["refresh"], "the same generation, under the new key");
    let third = pair(&app, &under_the_secret(&app, &next)).await;
    use_access(&app, &third).await;
}

#[tokio::test]
async fn logging_out_works_with_the_token_that_the_phone_holds() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    was_opened_before_the_migration(&app);
    let held = under_the_secret(&app, &login);
    assert_eq!(app.post(LOGOUT, &json!({ "refresh": held })).await.status, 200);
    assert_eq!(refresh(&app, &held).await.code(), "token_invalid");
}

/// Refresh tokens are HS256 under the derived key whatever signs access tokens, so another algorithm ends no session.
#[tokio::test]
async fn another_algorithm_for_access_tokens_ends_no_session() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.pem");
    let key = freshk::tokens::keys::generate(freshk::domain::Algorithm::EdDsa).unwrap();
    std::fs::write(&path, key).unwrap();
    let mut app = app().await;
    let login = app.log_in(PHONE).await;
    app.set("FRESHK_TOKENS__ALGORITHM", "EdDSA");
    app.set("FRESHK_TOKENS__KEY_FILE", &path.display().to_string());
    app.restart().await;
    assert_eq!(app.status(token(&login, "access")).await.code(), "token_invalid");
    let next = pair(&app, token(&login, "refresh")).await;
    assert_eq!(app.status(token(&next, "access")).await.status, 200);
}
