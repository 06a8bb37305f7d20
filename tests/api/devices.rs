//! Devices: whoever has logged in on one asks and guesses by limits of its own, whatever strangers do to the number.

use std::time::Duration;

use freshk::domain::{PhoneNumber, UserId};
use futures_util::future::join;
use reqwest::Method;
use serde_json::{Value, json};

use crate::foreign::{CHECK, LOGOUT_ALL, SESSIONS, operate, pair, refresh, token};
use crate::refresh::claims;
use crate::support::{Answer, App, FIRST_ID, PHONE, REQUEST, RESEND, SECRET, STATUS, VERIFY};
use crate::tokens::signed;

const HEADER: &str = "x-device-token";
const OTHER: &str = "+1234567899";
const DAY: Duration = Duration::from_hours(24);

/// Addresses are not what is looked at here.
async fn app() -> App {
    app_with(&[]).await
}

async fn app_with(variables: &[(&str, &str)]) -> App {
    let free = [("FRESHK_LIMITS__IP", "0"), ("FRESHK_LIMITS__FLOOD_PER_SECOND", "0")];
    App::with(&free.iter().chain(variables).copied().collect::<Vec<_>>()).await
}

async fn call(app: &App, path: &str, device: Option<&str>, body: &Value) -> Answer {
    let call = app.build(Method::POST, path).json(body);
    Answer::of(if let Some(device) = device { call.header(HEADER, device) } else { call }).await
}

async fn ask(app: &App, phone: &str, device: Option<&str>) -> Answer {
    call(app, REQUEST, device, &json!({ "phone_number": phone })).await
}

async fn give(app: &App, phone: &str, otp: &str, device: Option<&str>) -> Answer {
    call(app, VERIFY, device, &json!({ "phone_number": phone, "otp": otp })).await
}

/// A whole login; gives the answer of verify.
async fn log_in(app: &App, phone: &str, device: Option<&str>) -> Answer {
    assert_eq!(ask(app, phone, device).await.status, 200);
    let answer = give(app, phone, &app.code(phone), device).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer
}

async fn device(app: &App, phone: &str) -> String {
    log_in(app, phone, None).await.header(HEADER).to_owned()
}

fn devices(app: &App) -> Vec<String> {
    app.words("SELECT id FROM devices ORDER BY issued_at, id")
}

fn id(token: &str) -> String {
    claims(token)["jti"].as_str().unwrap().to_owned()
}

/// Strangers ask and guess until the number takes neither any more: three codes an hour, ten a day, fifteen guesses a day.
async fn spend_everything(app: &App, phone: &str) {
    for _ in 0..4 {
        while ask(app, phone, None).await.status == 200 {
            while give(app, phone, &app.wrong_code(phone), None).await.code() == "invalid_otp"
                && app.count("SELECT max(attempts) FROM challenges WHERE state = 'live'") < 5
            {}
        }
        app.clock.advance(Duration::from_hours(1));
    }
    assert_eq!(ask(app, phone, None).await.code(), "rate_limited");
    assert_eq!(give(app, phone, "000000", None).await.code(), "rate_limited");
}

#[tokio::test]
async fn s7_strangers_who_spend_the_number_s_day_do_not_lock_its_owners_device_out() {
    let app = app().await;
    let owner = device(&app, PHONE).await;
    app.clock.advance(DAY);
    spend_everything(&app, PHONE).await;
    // Just the right code is of no use to whoever has no device; its owner is in.
    assert_eq!(ask(&app, PHONE, Some(&owner)).await.status, 200);
    let code = app.code(PHONE);
    assert_eq!(give(&app, PHONE, &code, None).await.code(), "rate_limited");
    let answer = give(&app, PHONE, &code, Some(&owner)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(id(answer.header(HEADER)), id(&owner), "the same device, its token renewed");
    let access = answer.json()["access"].as_str().unwrap().to_owned();
    let resent =
        Answer::of(app.build(Method::POST, RESEND).bearer_auth(&access).header(HEADER, &owner)).await;
    assert_eq!(resent.status, 200, "{}", resent.text);
    assert_eq!(app.resend(&access).await.code(), "rate_limited", "without its token it is anybody");
}

#[tokio::test]
async fn what_the_device_of_a_number_spent_is_given_back_with_the_number() {
    let app = app().await;
    let owner = device(&app, PHONE).await;
    while ask(&app, PHONE, Some(&owner)).await.status == 200 {}
    let units = app.count("SELECT count(*) FROM spends WHERE subject LIKE 'device:%'");
    assert!(units > 0);
    let of_number = app.count(&format!("SELECT count(*) FROM spends WHERE subject = '{PHONE}'"));
    let (phone, text) = (PhoneNumber::parse(PHONE, 10).unwrap(), PHONE.to_owned());
    let given =
        operate(&app, move |operator| operator.reset_limits(std::slice::from_ref(&text), Some(&phone))).await;
    assert_eq!(given, (usize::try_from(units + of_number).unwrap(), 1), "and the refusal of the device");
    assert_eq!(ask(&app, PHONE, Some(&owner)).await.status, 200);
}

#[tokio::test]
async fn a_code_takes_five_guesses_from_each_side() {
    let app = app().await;
    let owner = device(&app, PHONE).await;
    ask(&app, PHONE, Some(&owner)).await;
    let (code, wrong) = (app.code(PHONE), app.wrong_code(PHONE));
    for side in [None, Some(owner.as_str())] {
        for _ in 0..5 {
            assert_eq!(give(&app, PHONE, &wrong, side).await.code(), "invalid_otp");
        }
    }
    for side in [None, Some(owner.as_str())] {
        assert_eq!(give(&app, PHONE, &code, side).await.code(), "invalid_otp", "over-tried");
    }
    // Strangers who guess first leave the owner the five of the device.
    ask(&app, PHONE, Some(&owner)).await;
    for _ in 0..5 {
        give(&app, PHONE, &app.wrong_code(PHONE), None).await;
    }
    assert_eq!(give(&app, PHONE, &app.code(PHONE), Some(&owner)).await.status, 200);
}

#[tokio::test]
async fn s6_a_stolen_device_token_buys_at_most_its_own_quotas() {
    let app = app().await;
    let stolen = device(&app, PHONE).await;
    app.clock.advance(DAY);
    let (mut codes, mut guesses) = (0, 0);
    for _ in 0..24 {
        while ask(&app, PHONE, Some(&stolen)).await.status == 200 {
            codes += 1;
            while give(&app, PHONE, &app.wrong_code(PHONE), Some(&stolen)).await.code() == "invalid_otp" {
                guesses += 1;
                if guesses % 5 == 0 {
                    break;
                }
            }
        }
        app.clock.advance(Duration::from_mins(55));
    }
    // Fifteen guesses of the day; with them spent it gets no code any more.
    assert_eq!((codes, guesses), (3, 15));
    // What it spent counts for the number, too: strangers have nothing on top.
    assert_eq!(give(&app, PHONE, "000000", None).await.code(), "rate_limited");
    assert_eq!(app.count("SELECT count(*) FROM spends WHERE quota = 'failures'"), 30);
}

#[tokio::test]
async fn codes_are_limited_to_ten_a_day_for_the_number_and_for_a_device() {
    let app = app().await;
    let owner = device(&app, PHONE).await;
    app.clock.advance(DAY);
    for side in [Some(owner.as_str()), None] {
        let mut codes = 0;
        for _ in 0..5 {
            while ask(&app, PHONE, side).await.status == 200 {
                codes += 1;
            }
            app.clock.advance(Duration::from_hours(1));
        }
        // The ten of the device have spent the number's day, too.
        assert_eq!(codes, if side.is_some() { 10 } else { 0 });
    }
    let refused = ask(&app, PHONE, Some(&owner)).await;
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    app.clock.advance(Duration::from_secs(wait - 1));
    assert_eq!(ask(&app, PHONE, Some(&owner)).await.code(), "rate_limited", "S20");
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(ask(&app, PHONE, Some(&owner)).await.status, 200);
    let app = app_with(&[("FRESHK_LIMITS__USER_PER_DAY", "0"), ("FRESHK_LIMITS__USER", "0")]).await;
    for _ in 0..12 {
        assert_eq!(ask(&app, PHONE, None).await.status, 200);
    }
}

#[tokio::test]
async fn calls_with_and_without_a_token_never_share_a_flight() {
    let app = app().await;
    let owner = device(&app, PHONE).await;
    app.twilio.hold();
    let (stranger, own) = (ask(&app, PHONE, None), ask(&app, PHONE, Some(&owner)));
    let release = async {
        app.sending(3).await;
        app.twilio.release();
    };
    let ((stranger, own), ()) = join(join(stranger, own), release).await;
    assert_eq!((stranger.status, own.status), (200, 200));
    assert_eq!(app.twilio.requests().len(), 3, "the login's, and one for each side");
}

#[tokio::test]
async fn three_devices_live_and_the_one_whose_login_is_longest_ago_ends() {
    let app = app_with(&[("FRESHK_LIMITS__USER", "0"), ("FRESHK_LIMITS__USER_PER_DAY", "0")]).await;
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(device(&app, PHONE).await);
        app.clock.advance(Duration::from_secs(1));
    }
    let renewed = log_in(&app, PHONE, Some(&tokens[0])).await;
    assert_eq!(id(renewed.header(HEADER)), id(&tokens[0]));
    app.clock.advance(Duration::from_secs(1));
    let fourth = device(&app, PHONE).await;
    assert_eq!(devices(&app), [id(&tokens[2]), id(&tokens[0]), id(&fourth)]);
    // Four sessions, three devices; a session whose device has ended gets no other by refreshing.
    assert_eq!(app.count("SELECT count(*) FROM sessions WHERE ended_at IS NULL"), 5);
    assert_eq!(app.count("SELECT count(DISTINCT device_id) FROM sessions"), 4);
}

#[tokio::test]
async fn a_repeated_verify_carries_the_same_token_again() {
    let app = app().await;
    ask(&app, PHONE, None).await;
    let give = async || {
        let body = json!({ "phone_number": PHONE, "otp": app.code(PHONE) });
        Answer::of(app.build(Method::POST, VERIFY).header("idempotency-key", "k".repeat(16)).json(&body))
            .await
    };
    let (first, again) = (give().await, give().await);
    assert_eq!((first.status, again.status), (200, 200), "{}", again.text);
    assert!(!first.header(HEADER).is_empty());
    assert_eq!(first.header(HEADER), again.header(HEADER));
}

#[tokio::test]
async fn a_refresh_gives_a_token_where_the_session_has_none_and_again_where_its_answer_was_lost() {
    let app = app().await;
    let login = log_in(&app, PHONE, None).await;
    let refreshed = refresh(&app, token(&login.json(), "refresh")).await;
    assert_eq!(refreshed.header(HEADER), "", "it has one");
    app.batch("DELETE FROM devices; UPDATE sessions SET device_id = NULL");
    let current = refreshed.json();
    let first = refresh(&app, token(&current, "refresh")).await;
    assert_eq!(devices(&app), [id(first.header(HEADER))]);
    let again = refresh(&app, token(&current, "refresh")).await;
    assert_eq!(again.header(HEADER), first.header(HEADER));
    app.clock.advance(Duration::from_mins(1));
    for which in ["the next one", "its repetition"] {
        let next = refresh(&app, token(&first.json(), "refresh")).await;
        assert_eq!((next.status, next.header(HEADER)), (200, ""), "{which} gives none");
    }
    assert_eq!(ask(&app, PHONE, Some(first.header(HEADER))).await.status, 200);
}

#[tokio::test]
async fn s14_a_device_token_opens_nothing() {
    let app = app_with(&[("FRESHK_TOKENS__ACCEPT_FOREIGN", "true")]).await;
    let owner = device(&app, PHONE).await;
    for (method, path) in [(Method::GET, STATUS), (Method::POST, RESEND), (Method::GET, SESSIONS)] {
        assert_eq!(
            app.bearer(method, path, &owner).await.verdict(),
            (401, "token_invalid".to_owned()),
            "{path}"
        );
    }
    assert_eq!(
        app.post(CHECK, &json!({ "token": owner })).await.verdict(),
        (401, "token_invalid".to_owned())
    );
    assert_eq!(refresh(&app, &owner).await.verdict(), (401, "token_invalid".to_owned()));
    let claims = claims(&owner);
    let names: Vec<_> = claims.as_object().unwrap().keys().collect();
    assert_eq!(names, ["token_type", "exp", "iat", "jti", "user_id"]);
    assert_eq!(claims["token_type"], "device");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 400 * 86_400);
}

#[tokio::test]
async fn a_token_that_is_not_good_is_ignored() {
    let app = app().await;
    let owner = device(&app, PHONE).await;
    let another = device(&app, OTHER).await;
    app.clock.advance(DAY);
    spend_everything(&app, PHONE).await;
    let forged = signed(&claims(&owner), SECRET);
    let long = "x".repeat(4096);
    for bad in [another.as_str(), &forged, "a.b.c", "", &long] {
        assert_eq!(ask(&app, PHONE, Some(bad)).await.code(), "rate_limited", "{bad}");
        assert_eq!(give(&app, PHONE, "000000", Some(bad)).await.code(), "rate_limited", "{bad}");
    }
    let twice = app.build(Method::POST, REQUEST).json(&json!({ "phone_number": PHONE }));
    assert_eq!(Answer::of(twice.header(HEADER, &owner).header(HEADER, &owner)).await.code(), "rate_limited");
    app.clock.advance(400 * DAY);
    assert_eq!(
        ask(&app, PHONE, Some(&owner)).await.status,
        200,
        "expired; the number's own quota is free again"
    );
    assert_eq!(app.count("SELECT count(*) FROM challenges WHERE device_id IS NOT NULL"), 0);
}

#[tokio::test]
async fn devices_end_with_deactivation_deletion_and_a_change_of_number() {
    for way in ["deactivate", "set-phone", "delete"] {
        let app = app().await;
        let owner = device(&app, PHONE).await;
        operate(&app, move |operator| {
            let user = operator.view().user(UserId(FIRST_ID))?.unwrap();
            let other = PhoneNumber::parse(OTHER, 10).unwrap();
            match way {
                "deactivate" => operator.deactivate(&user).map(drop),
                "set-phone" => operator.set_phone(&user, &other).map(drop),
                _ => operator.delete(&user).map(drop),
            }
        })
        .await;
        assert_eq!(devices(&app), [""; 0], "{way}");
        let phone = if way == "set-phone" { OTHER } else { PHONE };
        ask(&app, phone, Some(&owner)).await;
        assert_eq!(app.count("SELECT count(*) FROM challenges WHERE device_id IS NOT NULL"), 0, "{way}");
    }
}

#[tokio::test]
async fn logging_out_everywhere_ends_all_devices_but_the_one_it_brings_and_none_if_it_brings_none() {
    let app = app().await;
    let mut own = String::new();
    for n in 0..3 {
        own = device(&app, PHONE).await;
        app.clock.advance(Duration::from_secs(1 + n));
    }
    app.clock.advance(DAY);
    let access = log_in(&app, PHONE, Some(&own)).await.json()["access"].as_str().unwrap().to_owned();
    assert_eq!(app.bearer(Method::POST, LOGOUT_ALL, &access).await.status, 200);
    assert_eq!(devices(&app).len(), 3, "an access token alone takes no device from its owner");
    let access = log_in(&app, PHONE, Some(&own)).await.json()["access"].as_str().unwrap().to_owned();
    let out = app.build(Method::POST, LOGOUT_ALL).bearer_auth(&access).header(HEADER, &own);
    assert_eq!(Answer::of(out).await.status, 200);
    assert_eq!(devices(&app), [id(&own)]);
}

#[tokio::test]
async fn the_list_of_sessions_shows_the_device_that_each_belongs_to() {
    let app = app().await;
    let login = log_in(&app, PHONE, None).await;
    let again = log_in(&app, PHONE, Some(login.header(HEADER))).await.json();
    let shown = async || {
        let list = app.bearer(Method::GET, SESSIONS, token(&again, "access")).await.json();
        let sessions = list["sessions"].as_array().unwrap().clone();
        sessions.iter().map(|session| session["device_id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(shown().await, [json!(id(login.header(HEADER))), json!(id(login.header(HEADER)))]);
    app.execute("DELETE FROM devices");
    assert_eq!(shown().await, [Value::Null, Value::Null], "ended");
    pair(&app, token(&again, "refresh")).await;
    assert_eq!(devices(&app), [""; 0], "whose device has ended gets no other");
}

#[tokio::test]
async fn a_device_of_the_testing_mode_ends_with_the_first_proof_in_production() {
    const ASK: &str = "/api/mobile/auth/request/";
    let app = app_with(&[("DEBUG", "true"), ("FRESHK_SMS__PROVIDER", "twilio")]).await;
    call(&app, ASK, None, &json!({ "phone_number": PHONE })).await;
    app.batch(&format!(
        "UPDATE users SET phone_verified = true, testing_only = true;
             INSERT INTO devices VALUES ('{}', {FIRST_ID}, 0, 9999999999999)",
        "a".repeat(32)
    ));
    let owner = device(&app, PHONE).await;
    assert_eq!(devices(&app), [id(&owner)]);
}

#[tokio::test]
async fn a_code_that_failed_gives_the_device_its_unit_back_too() {
    let app = app().await;
    let owner = device(&app, PHONE).await;
    app.clock.advance(DAY);
    let refused = crate::twilio::Answer::Error { http: 400, code: 21610, message: "STOP" };
    app.twilio.script(vec![refused]);
    assert!(ask(&app, PHONE, Some(&owner)).await.status >= 400);
    assert_eq!(app.spent("user"), 1, "that of the first login, a day ago");
}
