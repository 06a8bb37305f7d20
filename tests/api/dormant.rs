//! Accounts that lie dormant: their numbers may be somebody else's by now.

use std::time::Duration;

use freshk::domain::PhoneNumber;
use serde_json::{Value, json};

use crate::foreign::{activate, deactivate, on, operate, refresh, token};
use crate::sink::Sink;
use crate::support::{Answer, App, FIRST_ID, PHONE, VERIFY};

const DAY: Duration = Duration::from_hours(24);

async fn app() -> App {
    App::with(&[("FRESHK_USERS__DORMANT_AFTER", "90d")]).await
}

/// Time passes as it does for a server that runs: maintenance each day.
async fn pass(app: &App, days: u32) {
    for _ in 0..days {
        app.clock.advance(DAY);
        app.service().auth.maintain().await.unwrap();
    }
}

/// The users' ids, names, numbers and whether they are active.
fn users(app: &App) -> Vec<String> {
    app.words("SELECT id || ' ' || username || ' ' || coalesce(phone, 'none') || ' ' || is_active FROM users ORDER BY id")
        .into_iter()
        .map(|line| line.replace("true", "1").replace("false", "0"))
        .collect()
}

fn audited(app: &App, event: &str) -> usize {
    app.words(&format!("SELECT user_id FROM audit WHERE event = '{event}'")).len()
}

#[tokio::test]
async fn a_login_on_a_dormant_account_is_a_new_persons() {
    let sink = Sink::start();
    let webhook = sink.webhook("shop", "");
    let mut app = App::with(&[("FRESHK_USERS__DORMANT_AFTER", "90d"), ("FRESHK_WEBHOOKS", &webhook)]).await;
    let login = app.log_in(PHONE).await;
    app.deliver().await;
    drop(sink.take_kinds());
    pass(&app, 90).await;
    assert_eq!(
        app.count("SELECT count(*) FROM sessions"),
        0,
        "that the account was used is known all the same"
    );
    let fresh = app.log_in(PHONE).await;
    assert_eq!(fresh["user"]["id"], FIRST_ID + 1);
    assert_eq!(
        (&fresh["is_new_user"], &fresh["user"]["username"]),
        (&json!(true), &json!("user_1234567890"))
    );
    let (old, new) = (FIRST_ID, FIRST_ID + 1);
    assert_eq!(
        users(&app),
        [format!("{old} user_recycled_{old} none 0"), format!("{new} user_1234567890 {PHONE} 1")]
    );
    assert_eq!(app.words("SELECT user_id FROM audit WHERE event = 'user_recycled'"), [old.to_string()]);
    app.deliver().await;
    let mut kinds = sink.take_kinds();
    kinds.sort();
    assert_eq!(kinds, ["session.created", "user.created", "user.deactivated", "user.verified"]);
    // Whoever had the account before gets no further with it.
    assert_eq!(refresh(&app, token(&login, "refresh")).await.status, 401);
    // The new person's next login is one like any other.
    assert_eq!(app.log_in(PHONE).await["user"]["id"], new);
}

#[tokio::test]
async fn what_the_old_account_had_open_is_refused_as_that_of_a_deactivated_user() {
    // Sessions that live longer than an account takes to lie dormant.
    let long = [
        ("FRESHK_USERS__DORMANT_AFTER", "90d"),
        ("FRESHK_TOKENS__REFRESH_TTL", "200d"),
        ("FRESHK_TOKENS__ACCESS_TTL", "1d"),
    ];
    let app = App::with(&long).await;
    let login = app.log_in(PHONE).await;
    pass(&app, 90).await;
    app.log_in(PHONE).await;
    let refreshed = refresh(&app, token(&login, "refresh")).await;
    assert_eq!(refreshed.verdict(), (403, "account_disabled".to_owned()));
}

#[tokio::test]
async fn any_use_keeps_an_account_and_a_device_of_its_own_gets_in_after_any_time() {
    let app = app().await;
    let mut login = app.log_in(PHONE).await;
    for _ in 0..6 {
        pass(&app, 25).await;
        login = refresh(&app, token(&login, "refresh")).await.json();
    }
    pass(&app, 89).await;
    assert_eq!(app.log_in(PHONE).await["user"]["id"], FIRST_ID, "a day less is not long enough");
    pass(&app, 60).await;
    app.request_from("198.51.100.1", PHONE).await;
    let body = json!({ "phone_number": PHONE, "otp": app.code(PHONE) });
    let device = Answer::of(app.build(reqwest::Method::POST, VERIFY).json(&body)).await;
    let device = device.header("x-device-token").to_owned();
    pass(&app, 200).await;
    app.request_from("198.51.100.2", PHONE).await;
    let body = json!({ "phone_number": PHONE, "otp": app.code(PHONE) });
    let call = app.build(reqwest::Method::POST, VERIFY).header("x-device-token", &device).json(&body);
    let answer: Value = Answer::of(call).await.json();
    assert_eq!((&answer["user"]["id"], answer.get("is_new_user")), (&json!(FIRST_ID), None));
    assert_eq!(audited(&app, "user_recycled"), 0);
}

#[tokio::test]
async fn without_the_option_and_for_the_deactivated_nothing_is_recycled() {
    let app = App::start().await;
    app.log_in(PHONE).await;
    pass(&app, 400).await;
    assert_eq!(app.log_in(PHONE).await["user"]["id"], FIRST_ID);
    let app = self::app().await;
    app.log_in(PHONE).await;
    operate(&app, |operator| {
        let user = operator.view().user(freshk::domain::UserId(FIRST_ID))?.unwrap();
        operator.deactivate(&user).map(drop)
    })
    .await;
    pass(&app, 400).await;
    assert_eq!(app.request(PHONE).await.code(), "account_disabled", "who was shut out stays out");
}

#[tokio::test]
async fn whoever_the_operator_lets_in_again_has_the_account_however_long_that_took() {
    let activated = app().await;
    activated.log_in(PHONE).await;
    deactivate(&activated, FIRST_ID).await;
    pass(&activated, 100).await;
    activate(&activated, FIRST_ID).await;
    assert_eq!(activated.log_in(PHONE).await["user"]["id"], FIRST_ID);

    let renumbered = app().await;
    renumbered.log_in(PHONE).await;
    pass(&renumbered, 100).await;
    let new = PhoneNumber::parse("+1234567899", 10).unwrap();
    on(&renumbered, FIRST_ID, move |operator, user| operator.set_phone(user, &new)).await.unwrap();
    assert_eq!(renumbered.log_in("+1234567899").await["user"]["id"], FIRST_ID);
}

/// Nobody here sees whether a token of the system before is used: an account that has some stays while they are good.
#[tokio::test]
async fn an_account_with_foreign_tokens_is_not_dormant_while_they_are_taken() {
    for (are_taken, has_some, stays) in [("true", true, true), ("true", false, false), ("false", true, false)]
    {
        let variables =
            [("FRESHK_USERS__DORMANT_AFTER", "90d"), ("FRESHK_TOKENS__ACCEPT_FOREIGN", are_taken)];
        let app = App::with(&variables).await;
        app.log_in(PHONE).await;
        app.execute(&format!("UPDATE users SET foreign_tokens = {}", i32::from(has_some)));
        pass(&app, 90).await;
        let user = app.log_in(PHONE).await["user"]["id"].clone();
        assert_eq!(user == FIRST_ID, stays, "{are_taken} {has_some}");
    }
}

#[tokio::test]
async fn s39_a_clock_that_leaps_makes_no_account_dormant() {
    let app = app().await;
    app.log_in(PHONE).await;
    app.clock.leap_ahead(400 * DAY);
    app.service().auth.maintain().await.unwrap();
    let login = app.log_in(PHONE).await;
    assert_eq!(login["user"]["id"], FIRST_ID);
}

#[tokio::test]
async fn the_operator_gives_whoever_comes_back_another_number() {
    let app = app().await;
    app.log_in(PHONE).await;
    pass(&app, 90).await;
    app.log_in(PHONE).await;
    operate(&app, |operator| {
        let user = operator.view().user(freshk::domain::UserId(FIRST_ID))?.unwrap();
        let phone = freshk::domain::PhoneNumber::parse("+1987654321", 10).unwrap();
        let (user, _) = operator.set_phone(&user, &phone)?.unwrap();
        operator.activate(&user).map(drop)
    })
    .await;
    assert_eq!(app.log_in("+1987654321").await["user"]["id"], FIRST_ID);
}

#[tokio::test]
async fn a_name_that_an_import_took_is_passed_over() {
    let app = app().await;
    for phone in [PHONE, "+1987654321"] {
        app.log_in(phone).await;
    }
    app.execute(&format!(
        "UPDATE users SET username = 'user_recycled_{FIRST_ID}' WHERE phone = '+1987654321'"
    ));
    pass(&app, 90).await;
    app.log_in(PHONE).await;
    let name = app.words(&format!("SELECT username FROM users WHERE id = {FIRST_ID}"));
    assert_eq!(name, [format!("user_recycled_{FIRST_ID}_2")]);
}
