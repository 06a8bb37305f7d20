//! Deletion by its owner: with a code for the number, at once or after a grace; afterwards nothing names the person.

use std::time::Duration;

use freshk::domain::keys::KeyRing;
use freshk::domain::{PhoneNumber, Secret, UserId};
use freshk::storage::Locks;
use futures_util::future::join;
use reqwest::Method;
use serde_json::{Value, json};

use crate::foreign::{operate, refresh, token};
use crate::sink::Sink;
use crate::support::{Answer, App, FIRST_ID, PHONE, REQUEST, SECRET};
use crate::{number, twilio};

const DELETE: &str = "/api/mobile/auth/account/delete/";
const DEVICE: &str = "x-device-token";
const OTHER: &str = "+4470011223344";
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Addresses are not what is looked at here.
async fn app_with(variables: &[(&str, &str)]) -> App {
    let free = [("FRESHK_LIMITS__IP", "0"), ("FRESHK_LIMITS__FLOOD_PER_SECOND", "0")];
    App::with(&free.iter().chain(variables).copied().collect::<Vec<_>>()).await
}

async fn app() -> App {
    app_with(&[]).await
}

async fn app_with_grace() -> App {
    app_with(&[("FRESHK_USERS__DELETION_GRACE", "7d")]).await
}

pub(crate) fn access(login: &Value) -> String {
    token(login, "access").to_owned()
}

async fn delete(app: &App, access: &str, otp: &str) -> Answer {
    Answer::of(app.build(Method::POST, DELETE).bearer_auth(access).json(&json!({ "otp": otp }))).await
}

async fn delete_on(app: &App, access: &str, otp: &str, device: &str) -> Answer {
    let call = app.build(Method::POST, DELETE).bearer_auth(access).header(DEVICE, device);
    Answer::of(call.json(&json!({ "otp": otp }))).await
}

/// Asks for a code and deletes with it.
pub(crate) async fn delete_with_code(app: &App, access: &str) -> Answer {
    assert_eq!(app.resend(access).await.status, 200);
    let answer = delete(app, access, &app.code(PHONE)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer
}

fn users(app: &App) -> i64 {
    app.count("SELECT count(*) FROM users")
}

fn told(app: &App, event: &str) -> Vec<String> {
    app.words(&format!("SELECT detail FROM audit WHERE event = '{event}' ORDER BY id"))
}

#[tokio::test]
async fn a_code_deletes_the_account_at_once_and_the_number_is_free() {
    let app = App::start().await;
    let login = app.log_in(PHONE).await;
    let access = access(&login);
    let answer = delete_with_code(&app, &access).await;
    assert_eq!(answer.json(), json!({ "message": "Your account is deleted." }));
    assert_eq!(answer.header("ratelimit"), "\"otp-ip\";r=4;t=3600");
    assert_eq!(users(&app), 0);
    assert_eq!(app.count("SELECT count(*) FROM sessions") + app.count("SELECT count(*) FROM devices"), 0);
    assert_eq!(app.status(&access).await.verdict(), (401, "token_invalid".to_owned()));
    assert_eq!(refresh(&app, token(&login, "refresh")).await.verdict(), (401, "token_invalid".to_owned()));
    assert_eq!(delete(&app, &access, "123456").await.verdict(), (401, "token_invalid".to_owned()));
    assert_eq!(told(&app, "user_deleted"), ["by its owner"]);
    app.clock.advance(HOUR);
    assert!(app.request(PHONE).await.json()["is_new_user"].as_bool().unwrap());
    let again = app.verify(PHONE, &app.code(PHONE)).await.json();
    assert_eq!(again["user"]["id"], FIRST_ID + 1, "an id is never given twice");
    assert_eq!(again.get("restored"), None);
}

#[tokio::test]
async fn an_access_token_alone_deletes_nothing() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    let (access, used) = (access(&login), app.code(PHONE));
    assert_eq!(delete(&app, &access, &used).await.code(), "invalid_otp", "it has logged in");
    assert_eq!(delete(&app, &access, "000000").await.code(), "invalid_otp", "no code was asked for");
    app.log_in(OTHER).await;
    assert_eq!(app.request(OTHER).await.status, 200);
    assert_eq!(delete(&app, &access, &app.code(OTHER)).await.code(), "invalid_otp", "another number's");
    for body in [json!({}), json!({ "otp": 123_456 }), json!({ "otp": null }), json!([])] {
        let answer = Answer::of(app.build(Method::POST, DELETE).bearer_auth(&access).json(&body)).await;
        assert_eq!(answer.code(), "bad_request", "{body}");
    }
    assert_eq!(app.post(DELETE, &json!({ "otp": used })).await.code(), "not_authenticated");
    assert_eq!(delete(&app, "abc", &used).await.code(), "token_invalid");
    assert_eq!(delete(&app, token(&login, "refresh"), &used).await.code(), "token_invalid");
    assert_eq!(app.bearer(Method::GET, DELETE, &access).await.status, 405);
    assert_eq!(users(&app), 2);
    assert_eq!(app.status(&access).await.status, 200);
}

#[tokio::test]
async fn s10_every_refused_code_answers_with_the_same_bytes_and_what_is_no_code_costs_nothing() {
    let app = app().await;
    let access = access(&app.log_in(PHONE).await);
    app.clock.advance(DAY);
    let access = {
        drop(access);
        crate::deletion::access(&app.log_in(PHONE).await)
    };
    assert_eq!(app.resend(&access).await.status, 200);
    let superseded = app.code(PHONE);
    assert_eq!(app.resend(&access).await.status, 200);
    let part = delete(&app, &access, "12").await;
    assert_eq!(app.count("SELECT sum(attempts) FROM challenges"), 0);
    let mut refusals = vec![part, delete(&app, &access, &superseded).await];
    for _ in 0..4 {
        refusals.push(delete(&app, &access, &app.wrong_code(PHONE)).await);
    }
    refusals.push(delete(&app, &access, &app.code(PHONE)).await);
    app.clock.advance(Duration::from_mins(11));
    refusals.push(delete(&app, &access, &app.code(PHONE)).await);
    let first = refusals[0].body_without_request_id();
    for refused in &refusals {
        assert_eq!(refused.verdict(), (400, "invalid_otp".to_owned()));
        assert_eq!(refused.body_without_request_id(), first);
    }
    let reasons = ["not a code", "superseded", "wrong", "wrong", "wrong", "wrong", "over-tried", "expired"];
    assert_eq!(told(&app, "authn_login_fail"), reasons, "S38");
    assert_eq!(app.spent("failures"), 5);
}

#[tokio::test]
async fn a_wrong_code_here_is_a_wrong_guess_at_the_number() {
    let app = app().await;
    let access = access(&app.log_in(PHONE).await);
    assert_eq!(app.resend(&access).await.status, 200);
    for _ in 0..3 {
        assert_eq!(delete(&app, &access, &app.wrong_code(PHONE)).await.code(), "invalid_otp");
        assert_eq!(app.verify(PHONE, &app.wrong_code(PHONE)).await.code(), "invalid_otp");
    }
    // The sixth met a code that was over-tried.
    assert_eq!(app.count("SELECT max(attempts) FROM challenges"), 5);
    assert_eq!(delete(&app, &access, &app.code(PHONE)).await.code(), "invalid_otp");
    assert_eq!(users(&app), 1);
}

#[tokio::test]
async fn it_has_an_address_quota_of_its_own() {
    let app = App::start().await;
    let access = access(&app.log_in(PHONE).await);
    for _ in 0..5 {
        assert_eq!(delete(&app, &access, "123456").await.code(), "invalid_otp");
    }
    let refused = delete(&app, &access, "123456").await;
    assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("rate_limited", "3600"));
    assert_eq!(app.spent("ip:account_delete"), 5);
    assert_eq!(app.spent("ip:verify") + app.spent("ip:request"), 2, "the login's");
    app.clock.advance(HOUR);
    assert_eq!(delete(&app, &access, "123456").await.code(), "token_expired");
}

#[tokio::test]
async fn a_deactivated_user_cannot_delete_the_account() {
    let app = app().await;
    let access = access(&app.log_in(PHONE).await);
    assert_eq!(app.resend(&access).await.status, 200);
    operate(&app, |operator| {
        let user = operator.view().user(UserId(FIRST_ID))?.unwrap();
        operator.deactivate(&user).map(drop)
    })
    .await;
    let refused = delete(&app, &access, &app.code(PHONE)).await;
    assert_eq!(refused.verdict(), (403, "account_disabled".to_owned()));
    assert_eq!(users(&app), 1);
}

#[tokio::test]
async fn deleting_buys_no_code_and_no_guess() {
    let app = app().await;
    let mut access = access(&app.log_in(PHONE).await);
    assert_eq!(app.resend(&access).await.status, 200);
    assert_eq!(delete(&app, &access, &app.wrong_code(PHONE)).await.code(), "invalid_otp");
    assert_eq!(delete(&app, &access, &app.code(PHONE)).await.status, 200);
    // The login's code and that of the deletion; the third is the last.
    access = crate::deletion::access(&app.log_in(PHONE).await);
    let refused = app.resend(&access).await;
    assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("rate_limited", "3600"));
    assert_eq!(app.twilio.requests().len(), 3);
    let erased = "SELECT count(*) FROM spends WHERE subject LIKE 'erased:%' AND quota = ";
    assert_eq!(app.count(&format!("{erased}'user'")), 2);
    assert_eq!(app.count(&format!("{erased}'failures'")), 1);
    // The operator gives them back, those of before included.
    let (phone, text) = (PhoneNumber::parse(PHONE, 10).unwrap(), PHONE.to_owned());
    let given =
        operate(&app, move |operator| operator.reset_limits(std::slice::from_ref(&text), Some(&phone))).await;
    assert_eq!(given.0, 4);
    assert_eq!(app.resend(&access).await.status, 200);
}

/// Else the number would change while the deletion waits, and a login with the one before would restore nothing.
#[tokio::test]
async fn s17_a_deletion_that_waits_ends_a_change_of_number_also_that_of_a_session_that_has_logged_out() {
    let app = app_with_grace().await;
    let (asks, deletes) = (app.log_in(PHONE).await, app.log_in(PHONE).await);
    number::begin(&app, &asks, "+15550000001").await;
    let logout = app.post("/api/mobile/auth/logout/", &json!({ "refresh": token(&asks, "refresh") })).await;
    assert_eq!((logout.status, app.count("SELECT count(*) FROM phone_changes")), (200, 1), "{}", logout.text);
    app.clock.advance(HOUR);
    let deletes = crate::foreign::pair(&app, token(&deletes, "refresh")).await;
    delete_with_code(&app, &access(&deletes)).await;
    assert_eq!(app.count("SELECT count(*) FROM phone_changes"), 0);
    assert_eq!(told(&app, "user_phone_change_cancelled").len(), 1);
    app.clock.advance(2 * DAY);
    app.service().auth.maintain().await.unwrap();
    assert_eq!(app.log_in(PHONE).await["user"]["id"], FIRST_ID, "restored");
}

#[tokio::test]
async fn what_was_spent_under_the_name_of_a_user_goes_with_the_user() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    number::begin(&app, &login, "+15550000001").await;
    let own = format!("SELECT count(*) FROM spends WHERE subject = '{FIRST_ID}'");
    assert_eq!(app.count(&own), 1);
    delete_with_code(&app, &access(&login)).await;
    assert_eq!(app.count(&own), 0);
}

#[tokio::test]
async fn ten_codes_a_day_hold_over_deletions_and_a_new_secret() {
    let secret = "the first secret for tests of more than thirty-two bytes";
    let mut app = app_with(&[("SECRET_KEY", secret)]).await;
    let mut codes = 0;
    for round in 0..6 {
        if round == 3 {
            app.stop().await;
            app.set("SECRET_KEY", SECRET);
            app.set("SECRET_KEY_FALLBACKS", secret);
            app.boot().await;
        }
        if app.request(PHONE).await.status == 200 {
            codes += 1;
            let login = app.verify(PHONE, &app.code(PHONE)).await.json();
            if app.resend(&access(&login)).await.status == 200 {
                codes += 1;
                assert_eq!(delete(&app, &access(&login), &app.code(PHONE)).await.status, 200);
            }
        }
        app.clock.advance(HOUR);
    }
    assert_eq!(codes, 10);
    assert_eq!(app.request(PHONE).await.code(), "rate_limited");
}

#[tokio::test]
async fn with_a_grace_all_sessions_end_and_a_login_restores_the_account() {
    let app = app_with_grace().await;
    let (first, second) = (app.log_in(PHONE).await, app.log_in(PHONE).await);
    let answer = delete_with_code(&app, &access(&second)).await.json();
    let deletes_at: jiff::Timestamp = answer["deletes_at"].as_str().unwrap().parse().unwrap();
    assert_eq!(deletes_at.as_second(), freshk::clock::Clock::now(&*app.clock).as_secs() + 7 * 86_400);
    for login in [&first, &second] {
        assert_eq!(app.status(&access(login)).await.code(), "token_invalid");
        assert_eq!(refresh(&app, token(login, "refresh")).await.code(), "token_invalid");
    }
    assert_eq!(app.count("SELECT count(*) FROM users WHERE deletes_at IS NOT NULL"), 1);
    app.clock.advance(DAY);
    app.service().auth.maintain().await.unwrap();
    assert_eq!(app.request(PHONE).await.json()["is_new_user"], false);
    let restored = app.verify(PHONE, &app.code(PHONE)).await.json();
    assert_eq!((&restored["restored"], &restored["user"]["id"]), (&json!(true), &json!(FIRST_ID)));
    assert_eq!(app.count("SELECT count(*) FROM users WHERE deletes_at IS NOT NULL"), 0);
    assert_eq!(app.log_in(PHONE).await.get("restored"), None, "only then");
    app.clock.advance(8 * DAY);
    app.service().auth.maintain().await.unwrap();
    assert_eq!(users(&app), 1);
    assert_eq!(told(&app, "user_deletion_requested"), ["by its owner"]);
    assert_eq!(told(&app, "user_restored"), ["by its owner"]);
}

#[tokio::test]
async fn s39_maintenance_deletes_when_the_grace_is_over_and_not_by_a_clock_that_leaps() {
    let app = app_with_grace().await;
    delete_with_code(&app, &access(&app.log_in(PHONE).await)).await;
    app.clock.leap_ahead(8 * DAY);
    app.service().auth.maintain().await.unwrap();
    assert_eq!(users(&app), 1, "the clock is in doubt");
    app.clock.leap_back(8 * DAY);
    app.clock.advance(Duration::from_secs(7 * 86_400 - 1));
    app.service().auth.maintain().await.unwrap();
    assert_eq!(users(&app), 1);
    app.clock.advance(Duration::from_secs(1));
    app.service().auth.maintain().await.unwrap();
    assert_eq!(users(&app), 0);
    assert_eq!(told(&app, "user_deleted"), ["the grace is over"]);
    app.clock.advance(DAY);
    assert!(app.request(PHONE).await.json()["is_new_user"].as_bool().unwrap());
    assert_eq!(app.verify(PHONE, &app.code(PHONE)).await.json().get("restored"), None);
}

#[tokio::test]
async fn more_users_than_one_slice_are_deleted_in_one_round() {
    let app = app_with_grace().await;
    for n in 0..45 {
        app.execute(&format!(
            "INSERT INTO users (username, phone, role, joined_at, imported_at, deletes_at) \
             VALUES ('u{n}', '+1555{n:07}', 'r', 0, 0, {n})"
        ));
    }
    app.service().auth.maintain().await.unwrap();
    assert_eq!((users(&app), told(&app, "user_deleted").len()), (0, 45));
}

#[tokio::test]
async fn the_operator_restores_within_the_grace_and_deactivation_stops_no_deletion() {
    let app = app_with_grace().await;
    delete_with_code(&app, &access(&app.log_in(PHONE).await)).await;
    operate(&app, |operator| {
        let user = operator.view().user(UserId(FIRST_ID))?.unwrap();
        operator.restore(&user).map(drop)
    })
    .await;
    app.clock.advance(8 * DAY);
    app.service().auth.maintain().await.unwrap();
    assert_eq!((users(&app), told(&app, "user_restored")), (1, vec!["operator: restored".to_owned()]));
    let login = app.log_in(PHONE).await;
    assert_eq!(login.get("restored"), None);
    delete_with_code(&app, &access(&login)).await;
    operate(&app, |operator| {
        let user = operator.view().user(UserId(FIRST_ID))?.unwrap();
        operator.deactivate(&user).map(drop)
    })
    .await;
    assert_eq!(app.request(PHONE).await.code(), "account_disabled");
    app.clock.advance(8 * DAY);
    app.service().auth.maintain().await.unwrap();
    assert_eq!(users(&app), 0);
}

#[tokio::test]
async fn s7_strangers_who_spend_the_number_s_day_keep_nobody_from_deleting() {
    let app = app_with_grace().await;
    let requested = app.request(PHONE).await;
    assert_eq!(requested.status, 200);
    let login = app.verify(PHONE, &app.code(PHONE)).await;
    let device = login.header(DEVICE).to_owned();
    for _ in 0..2 {
        app.request(PHONE).await;
        for _ in 0..5 {
            app.verify(PHONE, &app.wrong_code(PHONE)).await;
        }
    }
    app.clock.advance(HOUR);
    app.request(PHONE).await;
    for _ in 0..5 {
        app.verify(PHONE, &app.wrong_code(PHONE)).await;
    }
    let refreshed = refresh(&app, token(&login.json(), "refresh")).await.json();
    let access = access(&refreshed);
    assert_eq!(app.resend(&access).await.code(), "rate_limited");
    let resend = app.build(Method::POST, crate::support::RESEND).bearer_auth(&access);
    assert_eq!(Answer::of(resend.header(DEVICE, &device)).await.status, 200);
    let code = app.code(PHONE);
    for none in ["", "x", &"x".repeat(4096), token(&refreshed, "access")] {
        assert_eq!(delete_on(&app, &access, &code, none).await.code(), "rate_limited", "it is ignored");
    }
    assert_eq!(delete(&app, &access, &code).await.code(), "rate_limited");
    let answer = delete_on(&app, &access, &code, &device).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    // It lives through the grace: with it the owner comes back whatever strangers do.
    let call = app.build(Method::POST, REQUEST).header(DEVICE, &device);
    assert_eq!(Answer::of(call.json(&json!({ "phone_number": PHONE }))).await.status, 200);
    let body = json!({ "phone_number": PHONE, "otp": app.code(PHONE) });
    let call = app.build(Method::POST, crate::support::VERIFY).header(DEVICE, &device).json(&body);
    assert_eq!(Answer::of(call).await.json()["restored"], true);
}

#[tokio::test]
async fn device_tokens_of_others_and_of_the_deleted_judge_nothing() {
    let app = app().await;
    let log_in = async |phone: &str| {
        assert_eq!(app.request(phone).await.status, 200);
        app.verify(phone, &app.code(phone)).await
    };
    let (own, other) = (log_in(PHONE).await, log_in(OTHER).await);
    let access = access(&own.json());
    assert_eq!(app.resend(&access).await.status, 200);
    for _ in 0..5 {
        let wrong = app.wrong_code(PHONE);
        assert_eq!(delete_on(&app, &access, &wrong, other.header(DEVICE)).await.code(), "invalid_otp");
    }
    assert_eq!(delete(&app, &access, &app.code(PHONE)).await.code(), "invalid_otp", "the phone's five");
    let code = app.code(PHONE);
    assert_eq!(delete_on(&app, &access, &code, own.header(DEVICE)).await.status, 200);
    assert_eq!(app.count("SELECT count(*) FROM spends WHERE subject LIKE 'device:%'"), 0);
    // The token outlives the device, and is nobody's.
    let call = app.build(Method::POST, REQUEST).header(DEVICE, own.header(DEVICE));
    assert_eq!(Answer::of(call.json(&json!({ "phone_number": PHONE }))).await.status, 200);
    assert_eq!(app.count("SELECT count(*) FROM challenges WHERE device_id IS NOT NULL"), 0);
}

#[tokio::test]
async fn a_user_who_is_deleted_while_a_message_is_under_way_does_not_come_back() {
    let app = app().await;
    let access = access(&app.log_in(PHONE).await);
    assert_eq!(app.resend(&access).await.status, 200);
    let code = app.code(PHONE);
    app.twilio.hold();
    let deleting = async {
        app.sending(3).await;
        let deleted = delete(&app, &access, &code).await;
        app.twilio.release();
        deleted
    };
    let (resent, deleted) = join(app.resend(&access), deleting).await;
    assert_eq!((resent.status, deleted.status), (200, 200), "{}", deleted.text);
    app.service().auth.maintain().await.unwrap();
    assert_eq!(users(&app) + app.count("SELECT count(*) FROM challenges"), 0);
}

/// A thief with a stolen session has asked for a change to a number of its own; the owner deletes the account.
#[tokio::test]
async fn a_change_of_number_that_waits_ends_with_the_account_and_never_restores_it() {
    const NEW: &str = "+1987654321";
    for (grace, left) in [("7d", 1), ("0s", 0)] {
        let app = app_with(&[("FRESHK_USERS__DELETION_GRACE", grace)]).await;
        let access = access(&app.log_in(PHONE).await);
        let call = async |path: &str, body: Value| {
            Answer::of(app.build(Method::POST, path).bearer_auth(&access).json(&body)).await
        };
        let ask = "/api/mobile/auth/account/phone/";
        assert_eq!(call(ask, json!({ "phone_number": NEW })).await.status, 200);
        let body = json!({ "phone_number": NEW, "otp": app.code(NEW) });
        assert_eq!(call("/api/mobile/auth/account/phone/verify/", body).await.status, 200);
        assert_eq!(call(ask, json!({ "phone_number": "+1987654322" })).await.status, 200, "a code is out");
        assert_eq!(app.count("SELECT count(*) FROM phone_changes"), 1);
        delete_with_code(&app, &access).await;
        assert_eq!(app.count("SELECT count(*) FROM phone_changes"), 0);
        app.clock.advance(2 * DAY);
        app.service().auth.maintain().await.unwrap();
        assert_eq!(
            (users(&app), app.count("SELECT count(*) FROM users WHERE deletes_at IS NOT NULL")),
            (left, left)
        );
        assert_eq!(app.request(NEW).await.json()["is_new_user"], true, "it is nobody's");
        let login = app.verify(NEW, &app.code(NEW)).await.json();
        assert_eq!((login.get("restored"), &login["user"]["id"]), (None, &json!(FIRST_ID + 1)));
    }
}

#[tokio::test]
async fn webhooks_are_told_when_it_is_done_with_the_id_alone() {
    let sink = Sink::start();
    let webhook = sink.webhook("shop", "");
    let mut app = app_with(&[("FRESHK_USERS__DELETION_GRACE", "7d"), ("FRESHK_WEBHOOKS", &webhook)]).await;
    let login = app.log_in(PHONE).await;
    app.deliver().await;
    assert_eq!(sink.take_kinds(), ["user.created", "user.verified", "session.created"]);
    delete_with_code(&app, &access(&login)).await;
    app.deliver().await;
    assert_eq!(sink.take_kinds(), ["session.ended"]);
    app.clock.advance(HOUR);
    let restored = app.log_in(PHONE).await;
    delete_with_code(&app, &access(&restored)).await;
    app.clock.advance(7 * DAY);
    app.service().auth.maintain().await.unwrap();
    app.deliver().await;
    let told = sink.requests();
    assert_eq!(sink.take_kinds(), ["session.created", "session.ended", "user.deleted"]);
    for received in told.iter().rev().take(3) {
        assert_eq!(received.json()["data"]["user"], json!({ "id": FIRST_ID }), "also what waited");
    }
}

#[tokio::test]
async fn where_accounts_are_concealed_it_is_the_same() {
    let app = app_with(&[("FRESHK_PRIVACY__CONCEAL_ACCOUNTS", "true")]).await;
    let access = access(&app.log_in(PHONE).await);
    assert_eq!(app.resend(&access).await.status, 200);
    assert_eq!(delete(&app, &access, &app.wrong_code(PHONE)).await.code(), "invalid_otp");
    assert_eq!(delete(&app, &access, &app.code(PHONE)).await.status, 200);
    assert_eq!(app.verify(PHONE, "123456").await.code(), "invalid_otp");
    app.clock.advance(HOUR);
    assert_eq!(app.log_in(PHONE).await["is_new_user"], true);
}

/// All that the database holds; on `SQLite` with a fresh backup.
async fn everything(app: &App) -> Vec<u8> {
    if app.schema().is_none() {
        app.service().store.checkpoint().await.unwrap();
        let copy = app.database().with_file_name("copy.db");
        freshk::storage::sqlite::back_up(&app.database(), &copy, None).unwrap();
    }
    app.stored()
}

/// Which of the things that name the phone are there.
async fn traces(app: &App, phone: &PhoneNumber) -> Vec<String> {
    let keys = KeyRing::new(&Secret::new(SECRET), &[]);
    let hash = keys.current().audit_hash(phone);
    let hex = data_encoding::HEXLOWER.encode(&hash);
    let needles: Vec<(String, Vec<u8>)> = [
        ("digits", phone.digits().as_bytes()),
        ("masked", phone.masked().as_bytes()),
        ("hash", &hash[..]),
        ("hash in hexadecimal digits", hex.as_bytes()),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes.to_vec()))
    .into();
    let all = everything(app).await;
    let is_there = |needle: &[u8]| all.windows(needle.len()).any(|window| window == needle);
    needles.into_iter().filter(|(_, needle)| is_there(needle)).map(|(name, _)| name).collect()
}

/// Other users, whose numbers come before and after.
async fn neighbours(app: &App, numbers: std::ops::Range<u32>) {
    let at = freshk::clock::Clock::now(&*app.clock);
    let store = app.service().store;
    let write = store.write(Locks::none(), move |tx| {
        for n in numbers.clone() {
            let phone = format!("+19{:02}5{n:07}", n * 7 % 100);
            tx.insert_user(&PhoneNumber::parse(&phone, 10).unwrap(), "retailer", at)?;
        }
        Ok(())
    });
    write.await.unwrap();
}

#[tokio::test]
async fn after_deletion_a_byte_search_finds_neither_digits_nor_masked_form_nor_hash() {
    for grace in ["0s", "1d"] {
        let sink = Sink::start();
        let webhook = sink.webhook("shop", "");
        let mut app =
            app_with(&[("FRESHK_USERS__DELETION_GRACE", grace), ("FRESHK_WEBHOOKS", &webhook)]).await;
        let phone = PhoneNumber::parse("+19175550123", 10).unwrap();
        // Neighbours on the same pages; what splits these leaves copies.
        neighbours(&app, 0..500).await;
        let number = "+19175550123";
        assert_eq!(app.verify(number, "123456").await.code(), "user_not_found");
        let login = app.log_in(number).await;
        let mut access = access(&login);
        app.deliver().await;
        assert!(!sink.take_kinds().is_empty(), "some is delivered, and kept for a while");
        app.verify(number, &app.wrong_code(number)).await;
        app.twilio.script(vec![twilio::Answer::Error { http: 400, code: 21_614, message: number }]);
        app.resend(&access).await;
        for _ in 0..4 {
            app.resend(&access).await;
        }
        app.clock.advance(HOUR);
        app.service().auth.maintain().await.unwrap();
        assert!(told(&app, "excess_rate_limit_exceeded").iter().any(|line| line.contains("refused")));
        neighbours(&app, 500..1000).await;
        access = crate::deletion::access(&refresh(&app, token(&login, "refresh")).await.json());
        assert_eq!(app.resend(&access).await.status, 200);
        assert_eq!(delete(&app, &access, &app.wrong_code(number)).await.code(), "invalid_otp");
        let hash = if app.schema().is_some() { "hash in hexadecimal digits" } else { "hash" };
        assert_eq!(traces(&app, &phone).await, ["digits", "masked", hash]);
        assert_eq!(delete(&app, &access, &app.code(number)).await.status, 200);
        if grace != "0s" {
            app.clock.advance(DAY);
            app.service().auth.maintain().await.unwrap();
        }
        assert_eq!(users(&app), 1000);
        assert!(app.count("SELECT count(*) FROM deliveries WHERE state = 'waiting'") > 0);
        assert_eq!(traces(&app, &phone).await, [""; 0], "{grace}");
        let erased = "SELECT count(*) FROM spends WHERE subject LIKE 'erased:%'";
        assert_eq!(app.count(erased) > 0, grace == "0s", "by the day their windows are over");
        app.clock.advance(DAY);
        app.service().auth.maintain().await.unwrap();
        assert_eq!(app.count(erased), 0, "gone with their windows");
        assert_eq!(traces(&app, &phone).await, [""; 0]);
    }
}

#[tokio::test]
async fn after_deletion_nothing_names_a_number_that_the_user_had_before() {
    let app = app().await;
    let [before, now] = ["+19175550123", "+19175550187"];
    assert_eq!(app.verify(before, "123456").await.code(), "user_not_found");
    let login = app.log_in(before).await;
    for _ in 0..6 {
        app.verify(before, "000000").await;
    }
    assert_eq!(crate::number::change(&app, &login, now).await.status, 200);
    app.clock.advance(HOUR);
    let login = refresh(&app, token(&login, "refresh")).await.json();
    assert_eq!(app.resend(&access(&login)).await.status, 200);
    assert_eq!(delete(&app, &access(&login), &app.code(now)).await.status, 200);
    for number in [before, now] {
        let phone = PhoneNumber::parse(number, 10).unwrap();
        assert_eq!(traces(&app, &phone).await, [""; 0], "{number}");
    }
    // What was spent for the number before counts on for who has it next.
    assert!(app.count("SELECT count(*) FROM spends WHERE subject LIKE 'erased:%'") > 0);
}

#[tokio::test]
async fn s30_whichever_of_its_writes_fails_nothing_is_half_deleted() {
    const NOW: &[&str] = &[
        "DELETE ON users",
        "DELETE ON challenges",
        "DELETE ON messages",
        "DELETE ON sessions",
        "DELETE ON devices",
        "UPDATE ON spends",
        "UPDATE ON audit",
        "INSERT ON audit",
    ];
    const LATER: &[&str] =
        &["UPDATE ON challenges", "UPDATE ON sessions", "UPDATE ON users", "INSERT ON audit"];
    for (grace, writes) in [("0s", NOW), ("7d", LATER)] {
        let app = app_with(&[("FRESHK_USERS__DELETION_GRACE", grace)]).await;
        let access = access(&app.log_in(PHONE).await);
        assert_eq!(app.resend(&access).await.status, 200);
        let tables = ["users", "challenges", "messages", "sessions", "devices", "spends", "audit"];
        let state = || {
            let rows = |table: &&str| app.rows(&format!("SELECT * FROM {table} ORDER BY id"));
            let mut rows: Vec<_> = tables.iter().map(rows).collect();
            // Seen in use by the calls themselves.
            rows[3].iter_mut().for_each(|session| {
                session.remove("last_used_at");
                session.remove("generation_used");
            });
            rows
        };
        assert_eq!(app.status(&access).await.status, 200);
        let before = state();
        for write in writes {
            app.break_all(write);
            let failed = delete(&app, &access, &app.code(PHONE)).await;
            app.mend();
            assert!(failed.status >= 500, "{grace}, {write}: {}", failed.text);
            assert_eq!(state(), before, "{grace}, {write}");
            assert_eq!(app.status(&access).await.status, 200);
        }
        assert_eq!(delete(&app, &access, &app.code(PHONE)).await.status, 200, "{grace}");
    }
}
