//! Changing one's own number: who gets it, when, and who can take it back.

use std::time::Duration;

use freshk::clock::Clock as _;
use freshk::domain::{PhoneNumber, UserId};
use futures_util::future::join;
use reqwest::Method;
use serde_json::{Value, json};

use crate::foreign::{deactivate, operate, pair, token};
use crate::support::{Answer, App, FIRST_ID, PHONE, VERIFY, until};
use crate::test_numbers;

const ASK: &str = "/api/mobile/auth/account/phone/";
const PROVE: &str = "/api/mobile/auth/account/phone/verify/";
const DELETE: &str = "/api/mobile/auth/account/delete/";
const NEW: &str = "+1234567899";
const OTHER: &str = "+1987654321";
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const MINUTE: Duration = Duration::from_mins(1);

/// Addresses are not what is looked at here.
async fn app() -> App {
    App::with(&[("FRESHK_LIMITS__IP", "0"), ("FRESHK_LIMITS__FLOOD_PER_SECOND", "0")]).await
}

fn access(login: &Value) -> &str {
    token(login, "access")
}

async fn call(app: &App, method: Method, path: &str, login: Option<&Value>, body: &Value) -> Answer {
    let call = app.build(method, path).json(body);
    Answer::of(match login {
        Some(login) => call.bearer_auth(access(login)),
        None => call,
    })
    .await
}

/// Asks for a code for a change to a number.
pub(crate) async fn ask(app: &App, login: &Value, phone: &str) -> Answer {
    call(app, Method::POST, ASK, Some(login), &json!({ "phone_number": phone })).await
}

async fn prove(app: &App, login: &Value, phone: &str, otp: &str, current: Option<&str>) -> Answer {
    let body = json!({ "phone_number": phone, "otp": otp, "current_otp": current });
    call(app, Method::POST, PROVE, Some(login), &body).await
}

/// Takes a change back with a code.
async fn cancel(app: &App, phone: &str, code: &str) -> Answer {
    call(app, Method::DELETE, ASK, None, &json!({ "phone_number": phone, "cancel_code": code })).await
}

/// Takes a change back as the bearer.
async fn keep(app: &App, login: &Value) -> Answer {
    app.bearer(Method::DELETE, ASK, access(login)).await
}

/// Proves the new number alone: the change waits.
pub(crate) async fn begin(app: &App, login: &Value, phone: &str) -> Value {
    let asked = ask(app, login, phone).await;
    assert_eq!(asked.status, 200, "{}", asked.text);
    let proven = prove(app, login, phone, &app.code(phone), None).await;
    assert_eq!(proven.status, 200, "{}", proven.text);
    proven.json()
}

/// Proves both numbers.
pub(crate) async fn change(app: &App, login: &Value, phone: &str) -> Answer {
    assert_eq!(ask(app, login, phone).await.status, 200);
    let new = app.code(phone);
    assert_eq!(app.resend(access(login)).await.status, 200);
    let current = app.status(access(login)).await.json()["user"]["phone_number"].as_str().unwrap().to_owned();
    prove(app, login, phone, &new, Some(&app.code(&current))).await
}

/// The number of each user.
fn numbers(app: &App) -> Vec<String> {
    app.words("SELECT phone FROM users ORDER BY id")
}

fn pending(app: &App) -> Vec<String> {
    app.words("SELECT phone FROM phone_changes ORDER BY user_id")
}

fn cancelled(app: &App) -> Vec<String> {
    app.words("SELECT detail FROM audit WHERE event = 'user_phone_change_cancelled' ORDER BY id")
}

fn messages(app: &App) -> usize {
    app.twilio.requests().len()
}

async fn maintain(app: &App) {
    app.service().auth.maintain().await.unwrap();
}

#[tokio::test]
async fn with_both_numbers_proven_the_change_is_at_once_and_all_other_sessions_end() {
    let app = app().await;
    let (other, login) = (app.log_in(PHONE).await, app.log_in(PHONE).await);
    app.clock.advance(HOUR);
    let login = pair(&app, token(&login, "refresh")).await;
    let before = messages(&app);
    let changed = change(&app, &login, NEW).await;
    assert_eq!(
        (changed.status, changed.json()),
        (200, json!({ "message": "Phone number changed", "phone_number": NEW, "effective_at": null }))
    );
    assert_eq!(messages(&app), before + 2, "the number before needs no notice");
    assert_eq!(app.count("SELECT count(*) FROM audit WHERE event = 'user_phone_change_pending'"), 0);
    let status = app.status(access(&login)).await;
    let user =
        json!({ "id": FIRST_ID, "username": "user_1234567899", "phone_number": NEW, "role": "retailer" });
    assert_eq!((status.status, &status.json()["user"]), (200, &user));
    let refreshed = crate::foreign::refresh(&app, token(&other, "refresh")).await;
    assert_eq!(refreshed.verdict(), (401, "token_invalid".to_owned()));
    assert_eq!(app.count("SELECT count(*) FROM devices"), 0);
    let told = "SELECT detail FROM audit WHERE event = 'user_phone_changed' ORDER BY id";
    assert_eq!(app.words(told), ["the old number", "the new number"]);
    assert_eq!(
        app.words("SELECT DISTINCT end_reason FROM sessions WHERE ended_at IS NOT NULL"),
        ["number changed"]
    );
    // Both codes are used up, and the number before is free.
    let again = prove(&app, &login, NEW, &app.code(NEW), None).await;
    assert_eq!(again.code(), "bad_request");
    let fresh = app.log_in(PHONE).await;
    assert_eq!(fresh["user"]["id"], FIRST_ID + 1);
    assert_eq!(app.log_in(NEW).await["user"]["id"], FIRST_ID);
}

#[tokio::test]
async fn after_a_change_nothing_is_kept_under_the_number_before_and_what_was_spent_counts_on() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    assert_eq!(change(&app, &login, NEW).await.status, 200);
    for kept in ["challenges WHERE phone", "messages WHERE phone", "spends WHERE subject"] {
        assert_eq!(app.count(&format!("SELECT count(*) FROM {kept} = '{PHONE}'")), 0, "{kept}");
    }
    assert_eq!(app.request(PHONE).await.status, 200, "two codes were sent");
    assert_eq!(app.request(PHONE).await.code(), "rate_limited", "three an hour, whoever has the number");
    // The session that asked is given a device of the new number.
    let refreshed = crate::foreign::refresh(&app, token(&login, "refresh")).await;
    assert_eq!((refreshed.status, refreshed.header("x-device-token").is_empty()), (200, false));
    assert_eq!(app.count("SELECT count(*) FROM devices"), 1);
}

#[tokio::test]
async fn without_proof_of_the_number_before_it_is_told_and_the_change_waits_a_day() {
    let app = app().await;
    let (other, login) = (app.log_in(PHONE).await, app.log_in(PHONE).await);
    let before = messages(&app);
    let answer = begin(&app, &login, NEW).await;
    let at = app.clock.now() + DAY;
    let expected = json!({
        "message": "The phone number will change; the current one has been told",
        "phone_number": NEW,
        "effective_at": jiff::Timestamp::from_second(at.as_secs()).unwrap().to_string(),
    });
    assert_eq!(answer, expected);
    let lines = "SELECT detail FROM audit WHERE event = 'user_phone_change_pending' ORDER BY id";
    assert_eq!(app.words(lines), ["the old number", "the new number"]);
    let sent = app.twilio.requests();
    assert_eq!(sent.len(), before + 2);
    let notice = sent.last().unwrap();
    assert_eq!(notice.field("To"), Some(PHONE));
    let text = notice.field("Body").unwrap();
    assert!(text.starts_with("Your account gets another phone number in 24 hours."), "{text}");
    app.twilio.assert_conforming();
    app.clock.advance(Duration::from_secs(24 * 3600 - 1));
    maintain(&app).await;
    assert_eq!(numbers(&app), [PHONE]);
    let other = pair(&app, token(&other, "refresh")).await;
    app.clock.advance(Duration::from_secs(1));
    maintain(&app).await;
    assert_eq!((numbers(&app), pending(&app)), (vec![NEW.to_owned()], vec![]));
    assert_eq!(app.status(access(&other)).await.code(), "token_invalid", "all but the one that asked");
    let login = pair(&app, token(&login, "refresh")).await;
    assert_eq!(app.status(access(&login)).await.json()["user"]["phone_number"], NEW);
}

#[tokio::test]
async fn a_change_that_is_due_is_done_by_the_next_act_that_meets_it() {
    for acts in ["new", "old", "cancel", "keep", "ask"] {
        let app = app().await;
        let (stays, login) = (app.log_in(PHONE).await, app.log_in(PHONE).await);
        begin(&app, &login, NEW).await;
        let code = app.code(PHONE);
        app.clock.advance(Duration::from_mins(24 * 60 - 5));
        let stays = pair(&app, token(&stays, "refresh")).await;
        let login = pair(&app, token(&login, "refresh")).await;
        app.request(PHONE).await;
        app.request(NEW).await;
        app.clock.advance(Duration::from_mins(5));
        match acts {
            "new" => assert_eq!(app.verify(NEW, &app.code(NEW)).await.json()["user"]["id"], FIRST_ID),
            "old" => assert_eq!(app.verify(PHONE, &app.code(PHONE)).await.json()["user"]["id"], FIRST_ID + 2),
            "cancel" => {
                assert_eq!(cancel(&app, PHONE, &code).await.verdict(), (400, "invalid_otp".to_owned()));
            }
            "keep" => assert_eq!(keep(&app, &login).await.verdict(), (404, "not_found".to_owned())),
            _ => assert_eq!(ask(&app, &login, NEW).await.verdict(), (400, "bad_request".to_owned())),
        }
        assert_eq!(app.count(&format!("SELECT id FROM users WHERE phone = '{NEW}'")), FIRST_ID, "{acts}");
        assert_eq!(app.status(access(&stays)).await.code(), "token_invalid", "{acts}");
    }
}

#[tokio::test]
async fn a_change_that_cannot_be_done_keeps_no_other_from_being_done() {
    let app = app().await;
    let (mine, others) = (app.log_in(PHONE).await, app.log_in(OTHER).await);
    begin(&app, &mine, NEW).await;
    begin(&app, &others, "+15550000001").await;
    app.clock.advance(DAY);
    app.break_when("UPDATE ON users", Some(&format!("NEW.id = {FIRST_ID}")));
    maintain(&app).await;
    assert_eq!(numbers(&app), [PHONE, "+15550000001"]);
    app.mend();
    maintain(&app).await;
    assert_eq!(numbers(&app), [NEW, "+15550000001"]);
}

/// It was asked for before `phone.strict` was switched on.
#[tokio::test]
async fn a_change_to_an_old_spelling_is_done_in_the_one_by_which_its_user_is_found() {
    const BEFORE: &str = "+447400123456";
    const MEXICAN: [&str; 2] = ["+5215512345678", "+525512345678"];
    for (wanted, acts) in
        [(MEXICAN[0], "login"), (MEXICAN[0], "maintenance"), ("+15550000001", "maintenance")]
    {
        let app = App::with(&[("FRESHK_LIMITS__IP", "0"), ("FRESHK_PHONE__STRICT", "true")]).await;
        let login = app.log_in(BEFORE).await;
        begin(&app, &login, MEXICAN[1]).await;
        app.execute(&format!("UPDATE phone_changes SET phone = '{wanted}'"));
        app.clock.advance(Duration::from_mins(24 * 60 - 1));
        app.request(MEXICAN[1]).await;
        app.clock.advance(MINUTE);
        if acts == "login" {
            let found = app.verify(MEXICAN[1], &app.code(MEXICAN[1])).await.json();
            assert_eq!(found["user"]["id"], FIRST_ID, "{found}");
        } else {
            maintain(&app).await;
        }
        let own = format!("SELECT phone FROM users WHERE id = {FIRST_ID}");
        let (phone, why) = if wanted == MEXICAN[0] {
            (MEXICAN[1], vec![])
        } else {
            // Nobody could log in with that one.
            (BEFORE, owned(&["the new number is no telephone's"]))
        };
        assert_eq!((app.word(&own), pending(&app), cancelled(&app)), (phone.to_owned(), vec![], why));
    }
}

#[tokio::test]
async fn whoever_reads_the_notice_takes_the_change_back_without_a_session() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    begin(&app, &login, NEW).await;
    let code = app.code(PHONE);
    assert_eq!(
        cancel(&app, NEW, &code).await.verdict(),
        (400, "invalid_otp".to_owned()),
        "the number before"
    );
    let taken_back = cancel(&app, PHONE, &code).await;
    assert_eq!((taken_back.status, taken_back.json()), (200, json!({ "message": "Phone number kept" })));
    assert_eq!(cancel(&app, PHONE, &code).await.verdict(), (400, "invalid_otp".to_owned()), "once");
    app.clock.advance(2 * DAY);
    maintain(&app).await;
    assert_eq!((numbers(&app), pending(&app)), (vec![PHONE.to_owned()], vec![]));
    assert_eq!(cancelled(&app), ["by the cancel code"]);
}

#[tokio::test]
async fn any_session_of_the_user_takes_the_change_back_and_a_login_with_the_number_before_does() {
    let app = app().await;
    let (other, login) = (app.log_in(PHONE).await, app.log_in(PHONE).await);
    begin(&app, &login, NEW).await;
    let kept = keep(&app, &other).await;
    assert_eq!((kept.status, kept.json()), (200, json!({ "message": "Phone number kept" })));
    let none = keep(&app, &other).await;
    assert_eq!(
        (none.verdict(), &none.json()["error"]),
        ((404, "not_found".to_owned()), &json!("No change of number is waiting."))
    );
    app.clock.advance(HOUR);
    let login = pair(&app, token(&login, "refresh")).await;
    begin(&app, &login, NEW).await;
    app.log_in(PHONE).await;
    assert_eq!(pending(&app), [""; 0]);
    assert_eq!(cancelled(&app), ["by the user", "login with the old number"]);
}

#[tokio::test]
async fn the_fifth_wrong_cancel_code_ends_the_change_so_that_nobody_spends_the_owners_guesses() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    begin(&app, &login, NEW).await;
    let (right, wrong) = (app.code(PHONE), app.wrong_code(PHONE));
    for guess in ["", "12345", "abcdef"] {
        assert_eq!(cancel(&app, PHONE, guess).await.verdict(), (400, "invalid_otp".to_owned()), "no guess");
    }
    for left in [1, 1, 1, 1, 0] {
        let refused = cancel(&app, PHONE, &wrong).await;
        assert_eq!(refused.verdict(), (400, "invalid_otp".to_owned()));
        assert_eq!(pending(&app).len(), left);
    }
    // S10: whatever is wrong.
    let after = cancel(&app, PHONE, &right).await.body_without_request_id();
    let unknown = cancel(&app, OTHER, &right).await.body_without_request_id();
    assert_eq!(after, unknown);
    assert_eq!(cancelled(&app), ["too many wrong cancel codes"]);
    let wrong = "SELECT count(*) FROM audit WHERE detail = 'wrong cancel code'";
    assert_eq!(app.count(wrong), 5);
}

#[tokio::test]
async fn s4_a_code_for_a_change_opens_nothing_else_and_no_other_code_is_good_for_it() {
    let app = app().await;
    let (mine, others) = (app.log_in(PHONE).await, app.log_in(OTHER).await);
    ask(&app, &mine, NEW).await;
    let code = app.code(NEW);
    assert_eq!(app.verify(NEW, &code).await.verdict(), (400, "invalid_otp".to_owned()));
    assert_eq!(prove(&app, &others, NEW, &code, None).await.verdict(), (400, "invalid_otp".to_owned()));
    assert_eq!(numbers(&app), [PHONE, OTHER], "no user is made for a number that is asked for");
    app.request(NEW).await;
    let login_code = app.code(NEW);
    assert_eq!(prove(&app, &mine, NEW, &login_code, None).await.verdict(), (400, "invalid_otp".to_owned()));
    // Neither voids the other.
    assert_eq!(prove(&app, &mine, NEW, &code, None).await.status, 200);
    assert_eq!(app.verify(NEW, &login_code).await.json()["user"]["id"], FIRST_ID + 2);
    // A code for a change to a number does not prove it as the current one.
    let app = self::app().await;
    let (mine, others) = (app.log_in(PHONE).await, app.log_in(OTHER).await);
    ask(&app, &others, PHONE).await;
    let theirs = app.code(PHONE);
    ask(&app, &mine, NEW).await;
    let refused = prove(&app, &mine, NEW, &app.code(NEW), Some(&theirs)).await;
    assert_eq!(refused.verdict(), (400, "invalid_otp".to_owned()));
    // Nor does it delete an account.
    let refused = call(&app, Method::POST, DELETE, Some(&mine), &json!({ "otp": theirs })).await;
    assert_eq!(refused.verdict(), (400, "invalid_otp".to_owned()));
}

#[tokio::test]
async fn a_code_for_a_change_and_a_login_code_never_share_a_flight() {
    let app = App::start().await;
    let login = app.log_in(PHONE).await;
    app.twilio.hold();
    let release = async {
        app.sending(3).await;
        app.twilio.release();
    };
    let ((asked, requested), ()) = join(join(ask(&app, &login, NEW), app.request(NEW)), release).await;
    assert_eq!((asked.status, requested.status, messages(&app)), (200, 200, 3));
    // Two calls for one purpose do.
    app.twilio.hold();
    let release = async {
        until(|| async { app.spent("ip:account_phone") == 3 }).await;
        app.twilio.release();
    };
    let ((one, two), ()) = join(join(ask(&app, &login, OTHER), ask(&app, &login, OTHER)), release).await;
    assert_eq!((one.status, two.status, messages(&app)), (200, 200, 4));
}

#[tokio::test]
async fn that_a_number_is_somebodys_is_told_only_to_who_has_proven_it() {
    let app = app().await;
    let (mine, _) = (app.log_in(PHONE).await, app.log_in(OTHER).await);
    let (free, used) = (ask(&app, &mine, NEW).await, ask(&app, &mine, OTHER).await);
    assert_eq!((free.status, free.json()), (used.status, used.json()));
    assert_eq!(free.json(), json!({ "message": "Verification code sent successfully", "expires_in": 600 }));
    assert_eq!(prove(&app, &mine, OTHER, &app.wrong_code(OTHER), None).await.code(), "invalid_otp");
    let refused = prove(&app, &mine, OTHER, &app.code(OTHER), None).await;
    assert_eq!(refused.verdict(), (409, "phone_in_use".to_owned()));
    assert_eq!(refused.json()["error"], "This number belongs to another account.");
    assert_eq!((numbers(&app), pending(&app)), (vec![PHONE.to_owned(), OTHER.to_owned()], vec![]));
}

#[tokio::test]
async fn a_registration_that_nobody_logged_in_with_makes_way() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    app.request(NEW).await;
    let login_code = app.code(NEW);
    assert_eq!(change(&app, &login, NEW).await.status, 200);
    assert_eq!(numbers(&app), [NEW]);
    assert_eq!(app.words("SELECT username FROM users"), ["user_1234567899"]);
    assert_eq!(
        app.verify(NEW, &login_code).await.json()["user"]["id"],
        FIRST_ID,
        "who has the number has the account"
    );
}

#[tokio::test]
async fn a_registration_that_the_operator_shut_out_makes_no_way() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    app.request(NEW).await;
    deactivate(&app, FIRST_ID + 1).await;
    assert_eq!(change(&app, &login, NEW).await.verdict(), (409, "phone_in_use".to_owned()));
    assert_eq!(numbers(&app), [PHONE, NEW]);
}

#[tokio::test]
async fn a_number_that_has_become_a_test_number_is_nobodys_neither_at_once_nor_when_the_change_is_due() {
    for waits in [false, true] {
        let app = app().await;
        let login = app.log_in(PHONE).await;
        if waits {
            begin(&app, &login, NEW).await;
            test_numbers::name(&app, NEW, 7 * DAY, false).await.unwrap();
            app.clock.advance(DAY);
            maintain(&app).await;
            assert_eq!(cancelled(&app), ["the number is somebody else's"]);
        } else {
            assert_eq!(ask(&app, &login, NEW).await.status, 200);
            let code = app.code(NEW);
            test_numbers::name(&app, NEW, 7 * DAY, false).await.unwrap();
            assert_eq!(prove(&app, &login, NEW, &code, None).await.code(), "phone_in_use");
        }
        assert_eq!((numbers(&app), pending(&app)), (vec![PHONE.to_owned()], vec![]));
    }
}

#[tokio::test]
async fn s17_a_change_of_number_ends_foreign_tokens_unless_one_of_them_asked() {
    for foreign_asks in [false, true] {
        let app = crate::foreign::app().await;
        let login = app.log_in(PHONE).await;
        let theirs = crate::foreign::foreign(&app, "access", 57, 1);
        assert_eq!(app.status(&theirs).await.status, 200);
        let asking = if foreign_asks { json!({ "access": theirs }) } else { login };
        assert_eq!(change(&app, &asking, NEW).await.status, 200);
        let status = if foreign_asks { 200 } else { 401 };
        assert_eq!(app.status(&theirs).await.status, status, "{foreign_asks}");
        assert_eq!(app.status(access(&asking)).await.status, 200, "who asked stays");
        let lines = "SELECT count(*) FROM audit WHERE event = 'authn_token_revoked' AND detail = 'logout: foreign tokens'";
        assert_eq!(app.count(lines), i64::from(!foreign_asks));
    }
}

#[tokio::test]
async fn whoever_proves_the_number_first_has_it() {
    let app = app().await;
    let (mine, others) = (app.log_in(PHONE).await, app.log_in(OTHER).await);
    begin(&app, &mine, NEW).await;
    begin(&app, &others, NEW).await;
    assert_eq!(app.words("SELECT user_id FROM phone_changes"), [(FIRST_ID + 1).to_string()]);
    app.log_in(NEW).await;
    assert_eq!(pending(&app), [""; 0]);
    assert_eq!(cancelled(&app), ["the number is somebody else's"; 2]);
    // So does a change that is done at once.
    let app = self::app().await;
    let (mine, others) = (app.log_in(PHONE).await, app.log_in(OTHER).await);
    begin(&app, &mine, NEW).await;
    assert_eq!(change(&app, &others, NEW).await.status, 200);
    assert_eq!(pending(&app), [""; 0]);
    assert_eq!(cancelled(&app), ["the number is somebody else's"]);
    // A number that was given away meanwhile is not taken from anybody.
    let app = self::app().await;
    let login = app.log_in(PHONE).await;
    begin(&app, &login, NEW).await;
    operate(&app, |operator| {
        operator.create(&PhoneNumber::parse(NEW, 10).unwrap(), "retailer", true).map(drop)
    })
    .await;
    app.clock.advance(DAY);
    maintain(&app).await;
    assert_eq!((numbers(&app), pending(&app)), (vec![PHONE.to_owned(), NEW.to_owned()], vec![]));
    assert_eq!(cancelled(&app), ["the number is somebody else's"]);
}

#[tokio::test]
async fn the_newer_of_two_changes_replaces_the_other() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    begin(&app, &login, NEW).await;
    let first = app.code(PHONE);
    begin(&app, &login, OTHER).await;
    assert_eq!(pending(&app), [OTHER]);
    assert_eq!(cancel(&app, PHONE, &first).await.code(), "invalid_otp");
    assert_eq!(cancelled(&app), ["replaced by a later change"]);
    assert_eq!(cancel(&app, PHONE, &app.code(PHONE)).await.status, 200);
}

#[tokio::test]
async fn a_change_that_is_due_when_another_number_is_proven_is_done_and_not_replaced() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    begin(&app, &login, NEW).await;
    app.clock.advance(Duration::from_mins(24 * 60 - 5));
    let login = pair(&app, token(&login, "refresh")).await;
    assert_eq!(ask(&app, &login, OTHER).await.status, 200);
    app.clock.advance(Duration::from_mins(5));
    let proven = prove(&app, &login, OTHER, &app.code(OTHER), None).await;
    assert_eq!(proven.status, 200, "{}", proven.text);
    assert_eq!((numbers(&app), pending(&app), cancelled(&app)), (owned(&[NEW]), owned(&[OTHER]), vec![]));
}

/// Under which number each line of a proof stands.
#[tokio::test]
async fn a_wrong_code_has_its_line_at_its_number_and_what_follows_at_the_new_one() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    begin(&app, &login, OTHER).await;
    assert_eq!(ask(&app, &login, NEW).await.status, 200);
    assert_eq!(app.resend(access(&login)).await.status, 200);
    let (wrong_new, wrong_current) = (app.wrong_code(NEW), app.wrong_code(PHONE));
    assert_eq!(prove(&app, &login, NEW, &wrong_new, Some(&wrong_current)).await.code(), "invalid_otp");
    let proven = prove(&app, &login, NEW, &app.code(NEW), Some(&app.code(PHONE))).await;
    assert_eq!(proven.status, 200, "{}", proven.text);
    let lines = "SELECT event || ' ' || phone FROM audit
                 WHERE event IN ('authn_login_fail', 'user_phone_change_cancelled') ORDER BY id";
    let [new, current] = [NEW, PHONE].map(|phone| PhoneNumber::parse(phone, 10).unwrap().masked());
    let expected = [
        format!("authn_login_fail {new}"),
        format!("authn_login_fail {current}"),
        format!("user_phone_change_cancelled {new}"),
    ];
    assert_eq!(app.words(lines), expected);
}

#[tokio::test]
async fn a_wrong_code_of_either_number_is_a_wrong_guess_at_that_number_and_neither_is_used_up() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    ask(&app, &login, NEW).await;
    app.resend(access(&login)).await;
    let (new, current) = (app.code(NEW), app.code(PHONE));
    let (wrong_new, wrong_current) = (app.wrong_code(NEW), app.wrong_code(PHONE));
    let attempts = || {
        ["challenges WHERE change_of IS NOT NULL", "challenges WHERE change_of IS NULL AND state = 'live'"]
            .map(|of| app.count(&format!("SELECT attempts FROM {of}")))
    };
    for (new, current, expected) in
        [(&new, &wrong_current, [0, 1]), (&wrong_new, &current, [1, 1]), (&wrong_new, &wrong_current, [2, 2])]
    {
        assert_eq!(prove(&app, &login, NEW, new, Some(current)).await.code(), "invalid_otp");
        assert_eq!(attempts(), expected);
    }
    assert_eq!(app.spent("failures"), 4);
    for part in ["", "12345"] {
        assert_eq!(prove(&app, &login, NEW, &new, Some(part)).await.code(), "invalid_otp", "no guess");
    }
    assert_eq!(attempts(), [2, 2]);
    assert_eq!(prove(&app, &login, NEW, &new, Some(&current)).await.status, 200);
    assert_eq!(
        app.count("SELECT count(*) FROM challenges WHERE state = 'used'"),
        1,
        "those of the number before are gone"
    );
}

/// What became of a message is written, where that failed at first, before a code is judged.
#[tokio::test]
async fn a_code_that_was_never_sent_takes_no_guess_although_that_could_not_be_written_at_once() {
    for (path, unsent) in [(PROVE, NEW), (PROVE, PHONE), (DELETE, PHONE)] {
        let app = app().await;
        let login = app.log_in(PHONE).await;
        if unsent == PHONE {
            assert_eq!(ask(&app, &login, NEW).await.status, 200);
        }
        app.twilio.script(vec![crate::twilio::Answer::Error { http: 400, code: 21610, message: "STOP" }]);
        app.break_all("UPDATE ON challenges");
        let asked =
            if unsent == NEW { ask(&app, &login, NEW).await } else { app.resend(access(&login)).await };
        assert_eq!(asked.code(), "sms_delivery_failed", "{path} {unsent}");
        app.mend();
        let proof = match (path, unsent) {
            (PROVE, PHONE) => {
                let wrong = app.wrong_code(PHONE);
                json!({ "phone_number": NEW, "otp": app.code(NEW), "current_otp": wrong })
            }
            (PROVE, _) => json!({ "phone_number": NEW, "otp": app.wrong_code(NEW) }),
            _ => json!({ "otp": app.wrong_code(PHONE) }),
        };
        let refused = call(&app, Method::POST, path, Some(&login), &proof).await;
        assert_eq!(refused.code(), "invalid_otp", "{path} {unsent}");
        let told = "SELECT detail FROM audit WHERE event = 'authn_login_fail'";
        assert_eq!((app.words(told), app.spent("failures")), (owned(&["no code"]), 0), "{path} {unsent}");
    }
}

/// Without the limit of addresses a guess that could hit nothing costs nothing, and its lines are bounded all the same.
#[tokio::test]
async fn s38_guesses_that_cost_nothing_have_twenty_lines_an_hour_beside_those_that_cost() {
    for path in [PROVE, DELETE] {
        let app = app().await;
        let login = app.log_in(PHONE).await;
        let (asked, body) = if path == PROVE {
            let asked = ask(&app, &login, NEW).await;
            (asked, json!({ "phone_number": NEW, "otp": app.wrong_code(NEW) }))
        } else {
            let asked = app.request(PHONE).await;
            (asked, json!({ "otp": app.wrong_code(PHONE) }))
        };
        assert_eq!(asked.status, 200, "{path}");
        for _ in 0..30 {
            let refused = call(&app, Method::POST, path, Some(&login), &body).await;
            assert_eq!(refused.code(), "invalid_otp", "{path}");
        }
        assert_eq!(
            app.count("SELECT count(*) FROM audit WHERE event = 'authn_login_fail'"),
            5 + 20,
            "{path}"
        );
    }
}

#[tokio::test]
async fn s5_a_code_for_a_change_takes_five_guesses() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    ask(&app, &login, NEW).await;
    for _ in 0..5 {
        assert_eq!(prove(&app, &login, NEW, &app.wrong_code(NEW), None).await.code(), "invalid_otp");
    }
    assert_eq!(prove(&app, &login, NEW, &app.code(NEW), None).await.code(), "invalid_otp", "over-tried");
    assert_eq!((app.spent("failures"), pending(&app).len()), (5, 0));
}

#[tokio::test]
async fn ones_own_number_a_test_number_and_what_is_no_number_are_refused_and_nothing_is_sent() {
    let app = app().await;
    test_numbers::name(&app, OTHER, DAY, false).await.unwrap();
    let login = app.log_in(PHONE).await;
    let before = messages(&app);
    for (phone, verdict) in [
        (PHONE, (400, "bad_request")),
        (OTHER, (400, "invalid_phone_number")),
        ("1234567899", (400, "invalid_phone_number")),
    ] {
        let refused = ask(&app, &login, phone).await.verdict();
        assert_eq!(refused, (verdict.0, verdict.1.to_owned()), "{phone}");
    }
    assert_eq!(prove(&app, &login, PHONE, "123456", None).await.code(), "bad_request");
    assert_eq!(messages(&app), before);
    // Whoever knows the code of a test number could take its account along.
    assert_eq!(app.request(OTHER).await.status, 200);
    let reviewer = app.verify(OTHER, "604927").await.json();
    assert_eq!(ask(&app, &reviewer, NEW).await.code(), "bad_request");
    assert_eq!(messages(&app), before);
}

#[tokio::test]
async fn s19_asking_costs_the_address_the_user_and_the_new_number_as_request_does() {
    let app = App::with(&[("FRESHK_LIMITS__USER", "0"), ("FRESHK_LIMITS__USER_PER_DAY", "0")]).await;
    let login = app.log_in(PHONE).await;
    for left in (0..5).rev() {
        let asked = ask(&app, &login, NEW).await;
        assert_eq!(asked.header("ratelimit"), format!("\"otp-ip\";r={left};t=3600"), "{}", asked.text);
    }
    assert_eq!(ask(&app, &login, NEW).await.verdict(), (429, "rate_limited".to_owned()));
    assert_eq!(prove(&app, &login, NEW, &app.code(NEW), None).await.status, 200, "a quota of its own");
    assert_eq!(app.spent("ip:account_phone"), 5);

    let app = self::app().await;
    let (login, others) = (app.log_in(PHONE).await, app.log_in(OTHER).await);
    for last in 1..=3 {
        assert_eq!(ask(&app, &login, &format!("+155500000{last:02}")).await.status, 200);
    }
    let refused = ask(&app, &login, NEW).await;
    assert_eq!(
        (refused.verdict(), refused.header("retry-after")),
        ((429, "rate_limited".to_owned()), "3600")
    );
    for _ in 0..3 {
        assert_eq!(app.request(NEW).await.status, 200);
    }
    assert_eq!(ask(&app, &others, NEW).await.verdict(), (429, "rate_limited".to_owned()), "the number's own");
    assert_eq!(
        app.words("SELECT count(*) FROM spends WHERE quota = 'phone_changes' GROUP BY subject"),
        ["3"]
    );
    let (mut day, mut login) = (3, login);
    for _ in 0..5 {
        app.clock.advance(HOUR);
        login = pair(&app, token(&login, "refresh")).await;
        while ask(&app, &login, &format!("+155500000{day:02}")).await.status == 200 {
            day += 1;
        }
    }
    assert_eq!(day, 10);
}

#[tokio::test]
async fn a_code_that_was_not_sent_gives_the_number_its_unit_back_and_makes_no_user() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    let refused = crate::twilio::Answer::Error { http: 400, code: 21610, message: "STOP" };
    app.twilio.script(vec![refused]);
    assert_eq!(ask(&app, &login, NEW).await.code(), "sms_delivery_failed");
    assert_eq!((app.spent("user"), numbers(&app)), (1, vec![PHONE.to_owned()]));
    app.twilio.script(vec![crate::twilio::Answer::Html { http: 500 }]);
    assert_eq!(ask(&app, &login, NEW).await.code(), "sms_delivery_failed");
    assert_eq!(numbers(&app), [PHONE], "nor does one whose fate is unknown");
    assert_eq!(prove(&app, &login, NEW, &app.code(NEW), None).await.status, 200, "it is good all the same");
}

#[tokio::test]
async fn a_notice_that_fails_stops_nothing_and_gives_nothing_back() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    ask(&app, &login, NEW).await;
    app.twilio.script(vec![crate::twilio::Answer::Error { http: 400, code: 21610, message: "STOP" }]);
    assert_eq!(prove(&app, &login, NEW, &app.code(NEW), None).await.status, 200);
    assert_eq!(pending(&app), [NEW]);
    assert_eq!((app.spent("user"), app.spent("refunds")), (2, 0));
    let states = "SELECT state FROM messages ORDER BY id";
    assert_eq!(app.words(states), ["queued", "queued", "failed"]);
    let lines = |app: &App| {
        app.words(
            "SELECT event || ' ' || coalesce(detail, '-') FROM audit WHERE event LIKE 'sms_%' ORDER BY id",
        )
    };
    let refused = "sms_failed refused: HTTP 400: the recipient replied STOP; https://www.twilio.com/docs/api/errors/21610";
    assert_eq!(lines(&app), ["sms_sent -", "sms_sent -", refused]);
    let app = self::app().await;
    let login = app.log_in(PHONE).await;
    begin(&app, &login, NEW).await;
    assert_eq!(lines(&app), ["sms_sent -", "sms_sent -", "sms_sent change of number"]);
}

/// It has no code of the number's, whose unit is spent.
#[tokio::test]
async fn a_notice_that_is_reported_lost_gives_nothing_back() {
    let app = crate::callbacks::with(&[("FRESHK_LIMITS__IP", "0")]).await;
    let login = app.log_in(PHONE).await;
    begin(&app, &login, NEW).await;
    crate::callbacks::report(&app, &crate::callbacks::sid(&app), "undelivered", "30003").await;
    assert_eq!(app.words("SELECT state FROM messages ORDER BY id"), ["queued", "queued", "undelivered"]);
    assert_eq!((app.spent("user"), app.spent("refunds")), (2, 0));
    assert_eq!(pending(&app), [NEW], "and ends nothing");
}

#[tokio::test]
async fn s17_a_change_ends_with_its_users_deactivation_and_deletion() {
    for way in ["deactivate", "set-phone", "cancel", "delete"] {
        let app = app().await;
        let login = app.log_in(PHONE).await;
        begin(&app, &login, NEW).await;
        operate(&app, move |operator| {
            let user = operator.view().user(UserId(FIRST_ID))?.unwrap();
            match way {
                "deactivate" => operator.deactivate(&user).map(drop),
                "set-phone" => operator.set_phone(&user, &PhoneNumber::parse(OTHER, 10).unwrap()).map(drop),
                "cancel" => operator.cancel_phone_change(&user).map(drop),
                _ => operator.delete(&user).map(drop),
            }
        })
        .await;
        assert_eq!(pending(&app), [""; 0], "{way}");
        let status = if way == "deactivate" { 403 } else { 401 };
        if way != "cancel" {
            assert_eq!(ask(&app, &login, NEW).await.status, status, "{way}");
            assert_eq!(prove(&app, &login, NEW, "123456", None).await.status, status, "{way}");
            assert_eq!(keep(&app, &login).await.status, status, "{way}");
        }
        if way == "delete" {
            assert_eq!(app.count("SELECT count(*) FROM challenges"), 0, "codes for its changes, too");
        }
    }
}

#[tokio::test]
async fn a_change_ends_with_its_session_where_that_is_ended_from_elsewhere_and_outlives_a_logout() {
    for way in ["operator", "another session", "everywhere", "logout", "of another"] {
        let app = app().await;
        let (owner, thief) = (app.log_in(PHONE).await, app.log_in(PHONE).await);
        let third = app.log_in(PHONE).await;
        begin(&app, &thief, NEW).await;
        match way {
            "operator" => drop(
                operate(&app, |operator| {
                    let user =
                        operator.view().user_by_phone(&PhoneNumber::parse(PHONE, 10).unwrap())?.unwrap();
                    operator.log_out(&user)
                })
                .await,
            ),
            "another session" | "of another" => {
                let ended = if way == "of another" { &third } else { &thief };
                let sid = crate::tokens::claims(&app, access(ended))["sid"].as_str().unwrap().to_owned();
                let path = format!("/api/mobile/auth/sessions/{sid}/");
                assert_eq!(app.bearer(Method::DELETE, &path, access(&owner)).await.status, 200, "{way}");
            }
            "everywhere" => {
                let all = app.bearer(Method::POST, "/api/mobile/auth/logout/all/", access(&owner)).await;
                assert_eq!(all.status, 200, "{way}");
            }
            _ => {
                let body = json!({ "refresh": token(&thief, "refresh") });
                assert_eq!(app.post("/api/mobile/auth/logout/", &body).await.status, 200, "{way}");
            }
        }
        let (left, told): (&[&str], &[&str]) = if ["logout", "of another"].contains(&way) {
            (&[NEW], &[])
        } else {
            (&[], &["the session that asked was ended"])
        };
        assert_eq!((pending(&app), cancelled(&app)), (owned(left), owned(told)), "{way}");
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[tokio::test]
async fn s39_a_clock_that_leaps_brings_no_change_forward() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    begin(&app, &login, NEW).await;
    app.clock.leap_ahead(32 * DAY);
    maintain(&app).await;
    app.verify(NEW, "123456").await;
    assert_eq!((numbers(&app), pending(&app)), (vec![PHONE.to_owned()], vec![NEW.to_owned()]));
}

#[tokio::test]
async fn after_a_long_stop_a_change_waits_a_whole_day_all_the_same() {
    let mut app = app().await;
    app.stop().await;
    app.clock.advance(30 * 60 * MINUTE);
    app.boot().await;
    // The clock is believed by then, and the retention time is a day behind it.
    for _ in 0..11 {
        app.clock.advance(MINUTE);
        maintain(&app).await;
    }
    let login = app.log_in(PHONE).await;
    begin(&app, &login, NEW).await;
    for _ in 0..23 * 6 {
        app.clock.advance(10 * MINUTE);
        maintain(&app).await;
    }
    assert_eq!((numbers(&app), pending(&app)), (vec![PHONE.to_owned()], vec![NEW.to_owned()]));
    for _ in 0..2 * 6 {
        app.clock.advance(10 * MINUTE);
        maintain(&app).await;
    }
    assert_eq!((numbers(&app), pending(&app)), (vec![NEW.to_owned()], Vec::new()));
}

#[tokio::test]
async fn what_is_missing_or_wrong_is_named() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    let nothing = json!({});
    let nobody = |method, path| call(&app, method, path, None, &nothing);
    for (method, path) in [(Method::POST, ASK), (Method::POST, PROVE), (Method::DELETE, ASK)] {
        assert_eq!(nobody(method, path).await.verdict(), (401, "not_authenticated".to_owned()));
    }
    assert_eq!(
        Answer::of(app.build(Method::DELETE, ASK)).await.verdict(),
        (401, "not_authenticated".to_owned())
    );
    assert_eq!(app.bearer(Method::DELETE, ASK, "a.b.c").await.verdict(), (401, "token_invalid".to_owned()));
    for (method, path, body, words) in [
        (Method::POST, ASK, json!({}), "The field phone_number is missing."),
        (Method::POST, PROVE, json!({ "phone_number": NEW }), "The field otp is missing."),
        (
            Method::POST,
            PROVE,
            json!({ "phone_number": NEW, "otp": "1", "current_otp": 7 }),
            "The field current_otp must be a string.",
        ),
    ] {
        let refused = call(&app, method, path, Some(&login), &body).await;
        assert_eq!((refused.status, refused.json()["error"].as_str()), (400, Some(words)));
    }
    let refused = call(&app, Method::DELETE, ASK, None, &json!({ "phone_number": PHONE })).await;
    assert_eq!(
        (refused.status, refused.json()["error"].as_str()),
        (400, Some("The field cancel_code is missing."))
    );
}

#[tokio::test]
async fn s3_of_many_proofs_at_once_one_changes_the_number() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    ask(&app, &login, NEW).await;
    app.resend(access(&login)).await;
    let (new, current) = (app.code(NEW), app.code(PHONE));
    let calls = (0..8).map(|_| prove(&app, &login, NEW, &new, Some(&current)));
    let answers = futures_util::future::join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert_eq!(numbers(&app), [NEW]);
}

#[tokio::test]
async fn a_repeated_login_and_a_device_of_the_number_before_open_nothing_after_a_change() {
    let app = app().await;
    app.request(PHONE).await;
    let body = json!({ "phone_number": PHONE, "otp": app.code(PHONE) });
    let verify = async || {
        Answer::of(app.build(Method::POST, VERIFY).header("idempotency-key", "k".repeat(16)).json(&body))
            .await
    };
    let login = verify().await.json();
    assert_eq!(change(&app, &login, NEW).await.status, 200);
    assert_ne!(verify().await.status, 200, "the code was used by another account");
}

#[tokio::test]
async fn the_notice_goes_by_text_message_whatever_sender_is_first() {
    let whatsapp = "wa|kind=whatsapp|content_sid=HX0123456789abcdef0123456789abcdef|from=+15005550009";
    let senders = [("FRESHK_SMS__SENDERS", "wa,twilio"), ("FRESHK_SENDERS", whatsapp)];
    let app = App::with(&[&[("FRESHK_LIMITS__IP", "0")], &senders[..]].concat()).await;
    let code = || {
        let sent = app.twilio.requests();
        let variables = sent.last().unwrap().field("ContentVariables").unwrap().to_owned();
        serde_json::from_str::<Value>(&variables).unwrap()["1"].as_str().unwrap().to_owned()
    };
    assert_eq!(app.request(PHONE).await.status, 200);
    let login = app.verify(PHONE, &code()).await.json();
    assert_eq!(ask(&app, &login, NEW).await.status, 200);
    assert_eq!(prove(&app, &login, NEW, &code(), None).await.status, 200);
    let sent = app.twilio.requests();
    assert_eq!((sent.len(), sent[2].field("To")), (3, Some(PHONE)));
    assert!(sent[2].field("Body").unwrap().starts_with("Your account gets another phone number"));
}
