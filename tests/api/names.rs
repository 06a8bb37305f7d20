//! Setting `tokens.issuer` or `tokens.audience` logs nobody out, and does not leave tokens without them good for ever.

use std::time::Duration;

use crate::foreign::{check, pair, refresh, token};
use crate::support::{App, PHONE, SECRET};
use crate::tokens::{claims, signed};

const DAY: Duration = Duration::from_hours(24);
const ISSUER: (&str, &str) = ("FRESHK_TOKENS__ISSUER", "https://login.example");
const AUDIENCE: (&str, &str) = ("FRESHK_TOKENS__AUDIENCE", "shop");

/// The access token of a pair without one of its claims, signed by whoever has the secret.
fn without(app: &App, access: &str, claim: &str) -> String {
    let mut claims = claims(app, access);
    claims.as_object_mut().unwrap().remove(claim);
    signed(&claims, SECRET)
}

/// Time passes, and maintenance runs as often as it does: so the clock that ends things follows.
async fn pass(app: &App, days: u32) {
    for _ in 0..days {
        app.clock.advance(DAY);
        app.service().auth.maintain().await.unwrap();
    }
}

#[tokio::test]
async fn s14_tokens_without_the_names_are_good_for_as_long_as_a_refresh_token_lives() {
    let mut app = App::with(&[("FRESHK_TOKENS__ACCESS_TTL", "1d")]).await;
    let before = app.log_in(PHONE).await;
    app.set(ISSUER.0, ISSUER.1);
    app.restart().await;
    assert_eq!(app.status(token(&before, "access")).await.status, 200, "setting it logs nobody out");
    let old = token(&before, "refresh").to_owned();
    pass(&app, 29).await;
    app.restart().await;
    assert_eq!(check(&app, &old).await, 200, "a phone that lay in a drawer");
    let named = pair(&app, &old).await;
    assert_eq!(claims(&app, token(&named, "access"))["iss"], ISSUER.1);
    let nameless = without(&app, token(&named, "access"), "iss");
    assert_eq!(app.status(&nameless).await.status, 200, "on the 29th day");
    pass(&app, 1).await;
    let named = pair(&app, token(&named, "refresh")).await;
    let nameless = without(&app, token(&named, "access"), "iss");
    assert_eq!(app.status(&nameless).await.verdict(), (401, "token_invalid".to_owned()));
    assert_eq!(app.status(token(&named, "access")).await.status, 200);
    app.restart().await;
    assert_eq!(app.status(&nameless).await.code(), "token_invalid", "a restart changes nothing");

    // Each name has its own time.
    app.set(AUDIENCE.0, AUDIENCE.1);
    app.restart().await;
    assert_eq!(app.status(token(&named, "access")).await.status, 200, "one without the audience");
    assert_eq!(app.status(&nameless).await.code(), "token_invalid");
    pass(&app, 15).await;
    let both = pair(&app, token(&named, "refresh")).await;
    pass(&app, 15).await;
    let both = pair(&app, token(&both, "refresh")).await;
    assert_eq!(claims(&app, token(&both, "access"))["aud"], AUDIENCE.1);
    assert_eq!(app.status(token(&both, "access")).await.status, 200);
    assert_eq!(app.status(&without(&app, token(&both, "access"), "aud")).await.code(), "token_invalid");
}

/// Taken away and set again, a name begins anew: what was issued between has none.
#[tokio::test]
async fn s14_a_name_that_was_taken_away_begins_anew() {
    let mut app = App::with(&[ISSUER]).await;
    app.log_in(PHONE).await;
    pass(&app, 31).await;
    app.set(ISSUER.0, "");
    app.restart().await;
    let between = app.log_in(PHONE).await;
    app.set(ISSUER.0, ISSUER.1);
    app.restart().await;
    assert_eq!(app.status(token(&between, "access")).await.status, 200);
    pass(&app, 29).await;
    assert_eq!(refresh(&app, token(&between, "refresh")).await.status, 200);
}

/// S39: a clock that is wrong for a moment brings no day forward on which tokens are refused.
#[tokio::test]
async fn s39_a_leap_of_the_clock_requires_no_name_early() {
    let mut app = App::start().await;
    let before = app.log_in(PHONE).await;
    app.set(ISSUER.0, ISSUER.1);
    app.restart().await;
    app.clock.leap_ahead(DAY * 40);
    app.service().auth.maintain().await.unwrap();
    app.clock.leap_back(DAY * 40);
    app.service().auth.maintain().await.unwrap();
    assert_eq!(app.status(token(&before, "access")).await.status, 200);
    pair(&app, token(&before, "refresh")).await;
}
