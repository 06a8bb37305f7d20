//! The move from Django: what simplejwt issued under the same secret is accepted, and a refresh token exchanged once.

use std::sync::Arc;
use std::time::Duration;

use freshk::auth::operator::{self, Means, Operator};
use freshk::clock::Clock as _;
use freshk::domain::keys::KeyRing;
use freshk::domain::{Attributes, PhoneNumber, Secret, User, UserId};
use freshk::storage::users::ImportedUser;
use freshk::storage::{Locks, StoreResult};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, App, FIRST_ID, PHONE, RESEND, SECRET, STATUS, until};
use crate::tokens::signed;

pub(crate) const REFRESH: &str = "/api/mobile/auth/token/refresh/";
pub(crate) const CHECK: &str = "/api/mobile/auth/token/verify/";
pub(crate) const LOGOUT: &str = "/api/mobile/auth/logout/";
pub(crate) const LOGOUT_ALL: &str = "/api/mobile/auth/logout/all/";
pub(crate) const SESSIONS: &str = "/api/mobile/auth/sessions/";
pub(crate) const ON: (&str, &str) = ("FRESHK_TOKENS__ACCEPT_FOREIGN", "true");
const OTHER: &str = "+1234567899";
pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const DAY: i64 = 86_400;

pub(crate) async fn app_with(variables: &[(&str, &str)]) -> App {
    let free =
        [("FRESHK_LIMITS__FLOOD_PER_SECOND", "0"), ("FRESHK_LIMITS__IP", "0"), ("FRESHK_LIMITS__USER", "0")];
    App::with(&free.iter().chain(variables).copied().collect::<Vec<_>>()).await
}

/// Accepts foreign tokens, and has imported user 57.
pub(crate) async fn app() -> App {
    let app = app_with(&[ON]).await;
    import(&app, Some(57), PHONE).await;
    app
}

/// What the operator does beside the server, though in its process.
pub(crate) async fn operate<T, F>(app: &App, act: F) -> T
where
    T: Send + 'static,
    F: Fn(&mut Operator<'_, '_>) -> StoreResult<T> + Send + 'static,
{
    let keys = Arc::new(KeyRing::new(&Secret::new(SECRET), &[]));
    // Whatever an act of these tests may replace.
    let users = (1..100).chain(FIRST_ID..FIRST_ID + 9).map(UserId).collect::<Vec<_>>();
    let phone = PhoneNumber::parse(PHONE, 10).unwrap();
    let locks = Locks::none().test_numbers().phone(&phone).users(&users);
    let means = Means { keys, outbox: app.service().outbox };
    operator::act(&app.service().store, locks, app.clock.now(), means, act).await.unwrap()
}

async fn on_user<T, F>(app: &App, act: F) -> T
where
    T: Send + 'static,
    F: Fn(&mut Operator<'_, '_>, &User) -> StoreResult<T> + Send + 'static,
{
    on(app, 57, act).await
}

pub(crate) async fn on<T, F>(app: &App, user: i64, act: F) -> T
where
    T: Send + 'static,
    F: Fn(&mut Operator<'_, '_>, &User) -> StoreResult<T> + Send + 'static,
{
    operate(app, move |operator| {
        let user = operator.view().user(UserId(user))?.unwrap();
        act(operator, &user)
    })
    .await
}

/// Deactivates a user, as `freshk user deactivate` does.
pub(crate) async fn deactivate(app: &App, user: i64) {
    on(app, user, |operator, user| operator.deactivate(user)).await;
}

/// Activates a user, as `freshk user activate` does.
pub(crate) async fn activate(app: &App, user: i64) {
    on(app, user, |operator, user| operator.activate(user)).await;
}

pub(crate) async fn import(app: &App, id: Option<i64>, phone: &str) -> i64 {
    let user = ImportedUser {
        id: id.map(UserId),
        username: None,
        phone: PhoneNumber::parse(phone, 10).unwrap(),
        role: "retailer".to_owned(),
        is_active: true,
        phone_verified: true,
        joined_at: app.clock.now(),
        attributes: Attributes::default(),
    };
    operate(app, move |operator| operator.import(std::slice::from_ref(&user))).await.written[0].1.0
}

/// As simplejwt writes them: access for five minutes, refresh for sixty days.
pub(crate) fn foreign(app: &App, kind: &str, user: i64, n: u32) -> String {
    foreign_under(SECRET, app, kind, user, n)
}

fn foreign_under(secret: &str, app: &App, kind: &str, user: i64, n: u32) -> String {
    let now = app.clock.now().as_secs();
    let ttl = if kind == "access" { 300 } else { 60 * DAY };
    let claims = json!({
        "token_type": kind, "exp": now + ttl, "iat": now, "jti": format!("{n:032x}"), "user_id": user.to_string(),
    });
    signed(&claims, secret)
}

pub(crate) async fn refresh(app: &App, token: &str) -> Answer {
    app.post(REFRESH, &json!({ "refresh": token })).await
}

/// Refreshes, which must succeed: the pair.
pub(crate) async fn pair(app: &App, token: &str) -> Value {
    let answer = refresh(app, token).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

pub(crate) async fn check(app: &App, token: &str) -> u16 {
    app.post(CHECK, &json!({ "token": token })).await.status
}

pub(crate) fn token<'a>(pair: &'a Value, name: &str) -> &'a str {
    pair[name].as_str().unwrap()
}

/// Uses an access token of ours, and waits until that is noted.
pub(crate) async fn use_access(app: &App, pair: &Value) {
    assert_eq!(app.status(token(pair, "access")).await.status, 200);
    until(|| async { app.count("SELECT count(*) FROM sessions WHERE generation_used = 0") == 0 }).await;
}

pub(crate) fn sessions(app: &App) -> i64 {
    app.count("SELECT count(*) FROM sessions")
}

const INVALID: (u16, &str) = (401, "token_invalid");

/// Holds that neither token opens anything, and that nothing is sent or stored.
async fn assert_worthless(app: &App, user: i64, n: u32, what: &str) {
    let before = (sessions(app), app.count("SELECT count(*) FROM exchanges"), app.twilio.requests().len());
    let (access, refresh_token) = (foreign(app, "access", user, n), foreign(app, "refresh", user, n + 1));
    let invalid = (INVALID.0, INVALID.1.to_owned());
    for (method, path) in
        [(Method::GET, STATUS), (Method::POST, RESEND), (Method::GET, SESSIONS), (Method::POST, LOGOUT_ALL)]
    {
        assert_eq!(app.bearer(method, path, &access).await.verdict(), invalid, "{what}: {path}");
    }
    for (path, name, token) in [
        (REFRESH, "refresh", &refresh_token),
        (LOGOUT, "refresh", &refresh_token),
        (CHECK, "token", &refresh_token),
        (CHECK, "token", &access),
    ] {
        assert_eq!(app.post(path, &json!({ name: token })).await.verdict(), invalid, "{what}: {path}");
    }
    let after = (sessions(app), app.count("SELECT count(*) FROM exchanges"), app.twilio.requests().len());
    assert_eq!(before, after, "{what}");
}

#[tokio::test]
async fn off_by_default_nothing_of_theirs_is_good() {
    let mut app = app_with(&[]).await;
    import(&app, Some(57), PHONE).await;
    assert_worthless(&app, 57, 1, "off").await;
    app.set(ON.0, ON.1);
    app.restart().await;
    assert_eq!(app.status(&foreign(&app, "access", 57, 1)).await.status, 200, "only the switch was missing");
}

#[tokio::test]
async fn an_access_token_is_good_at_every_bearer_endpoint_until_it_expires() {
    let app = app().await;
    let access = foreign(&app, "access", 57, 1);
    let login = app.log_in(PHONE).await;
    let status = app.status(&access).await;
    assert_eq!(status.status, 200, "{}", status.text);
    assert_eq!((&status.json()["user"]["id"], &status.json()["account_active"]), (&json!(57), &json!(true)));
    assert_eq!(app.resend(&access).await.status, 200);
    assert_eq!(app.twilio.requests().len(), 2);
    assert_eq!(check(&app, &access).await, 200);

    let list = app.bearer(Method::GET, SESSIONS, &access).await.json()["sessions"].clone();
    assert_eq!(
        (list.as_array().unwrap().len(), &list[0]["current"]),
        (1, &json!(false)),
        "no session is its own"
    );
    assert_eq!(app.count("SELECT generation_used FROM sessions"), 0, "no session was seen in use");
    let own = list[0]["id"].as_str().unwrap();
    let ended = app.bearer(Method::DELETE, &format!("{SESSIONS}{own}/"), &access).await;
    assert_eq!(ended.status, 200, "{}", ended.text);
    assert_eq!(app.status(token(&login, "access")).await.status, 401);

    app.clock.advance(SECOND * 299);
    assert_eq!(app.status(&access).await.status, 200);
    app.clock.advance(SECOND);
    assert_eq!(app.status(&access).await.code(), "token_expired");
    let wrong_kind = foreign(&app, "refresh", 57, 2);
    assert_eq!(app.status(&wrong_kind).await.code(), "token_invalid");
    assert_eq!(refresh(&app, &foreign(&app, "access", 57, 2)).await.code(), "token_invalid");
}

/// An id that was given here may be the one that Django gave to somebody else.
#[tokio::test]
async fn only_an_id_that_an_import_brought_is_theirs() {
    let app = app().await;
    app.log_in(OTHER).await;
    let here = app.count("SELECT id FROM users WHERE phone = '+1234567899'");
    assert_worthless(&app, here, 1, "registered here").await;
    let numbered_here = import(&app, None, "+1234567898").await;
    assert_worthless(&app, numbered_here, 1, "imported without its id").await;
    assert_worthless(&app, 4711, 1, "nobody").await;
}

#[tokio::test]
async fn s17_a_deactivated_user_is_out_and_spends_no_token() {
    let app = app().await;
    let first = pair(&app, &foreign(&app, "refresh", 57, 3)).await;
    deactivate(&app, 57).await;
    let (access, theirs) = (foreign(&app, "access", 57, 1), foreign(&app, "refresh", 57, 2));
    assert_eq!(app.status(&access).await.json()["account_active"], false);
    let disabled = (403, "account_disabled".to_owned());
    assert_eq!(app.resend(&access).await.verdict(), disabled);
    assert_eq!(refresh(&app, &theirs).await.verdict(), disabled);
    assert_eq!(app.post(LOGOUT, &json!({ "refresh": theirs })).await.verdict(), disabled);
    assert_eq!((check(&app, &access).await, check(&app, &theirs).await), (401, 401));
    assert_eq!((sessions(&app), app.count("SELECT count(*) FROM exchanges")), (1, 1));
    assert_eq!(app.twilio.requests().len(), 0);
    let exchanged = foreign(&app, "refresh", 57, 3);
    assert_eq!(refresh(&app, &exchanged).await.verdict(), disabled, "nor is it repeated");

    activate(&app, 57).await;
    assert_eq!(app.status(token(&first, "access")).await.verdict(), (401, "token_invalid".to_owned()));
    assert_worthless(&app, 57, 1, "ended for good").await;
    assert_worthless(&app, 57, 5, "issued while the user was deactivated").await;
    assert_eq!(refresh(&app, &exchanged).await.code(), "token_invalid");
    app.log_in(PHONE).await;
}

#[tokio::test]
async fn to_activate_whom_nobody_deactivated_takes_no_foreign_token_away() {
    let app = app().await;
    activate(&app, 57).await;
    assert_eq!(app.status(&foreign(&app, "access", 57, 1)).await.status, 200);
    pair(&app, &foreign(&app, "refresh", 57, 2)).await;
}

/// Django may still refresh what it issued before, so a later `iat` is no sign of a later login.
#[tokio::test]
async fn s17_whoever_is_logged_out_everywhere_is_out_with_foreign_tokens_too() {
    for way in ["their own token", "a token of ours", "the operator", "another phone"] {
        let app = app().await;
        import(&app, Some(58), OTHER).await;
        let (access, theirs) = (foreign(&app, "access", 57, 1), foreign(&app, "refresh", 57, 2));
        let exchanged = pair(&app, &theirs).await;
        let login = app.log_in(PHONE).await;
        let out = match way {
            "their own token" => app.bearer(Method::POST, LOGOUT_ALL, &access).await.status,
            "a token of ours" => app.bearer(Method::POST, LOGOUT_ALL, token(&login, "access")).await.status,
            "the operator" => {
                on_user(&app, |operator, user| operator.log_out(user)).await;
                200
            }
            _ => {
                let phone = PhoneNumber::parse("+1234567000", 10).unwrap();
                on_user(&app, move |operator, user| operator.set_phone(user, &phone)).await.unwrap();
                200
            }
        };
        assert_eq!(out, 200, "{way}");
        for ours in [&exchanged, &login] {
            assert_eq!(app.status(token(ours, "access")).await.status, 401, "{way}");
        }
        assert_eq!(app.status(&access).await.code(), "token_invalid", "{way}");
        assert_eq!(refresh(&app, &theirs).await.code(), "token_invalid", "{way}");
        assert_worthless(&app, 57, 3, way).await;
        app.clock.advance(SECOND * 10);
        assert_worthless(&app, 57, 5, &format!("{way}, issued later")).await;
        let told = "SELECT count(*) FROM audit WHERE detail LIKE '%foreign tokens%' AND user_id = 57";
        assert_eq!(app.count(told), 1, "{way}");
        assert_eq!(app.status(&foreign(&app, "access", 58, 7)).await.status, 200, "{way}: others stay");
    }
}

#[tokio::test]
async fn s17_logged_out_while_they_were_not_accepted_is_logged_out() {
    let mut app = app_with(&[]).await;
    import(&app, Some(57), PHONE).await;
    let login = app.log_in(PHONE).await;
    assert_eq!(app.bearer(Method::POST, LOGOUT_ALL, token(&login, "access")).await.status, 200);
    app.set(ON.0, ON.1);
    app.restart().await;
    assert_worthless(&app, 57, 1, "logged out before").await;
}

/// Whatever is lost, an honest client, who stores an answer before it uses any of it, is never logged out.
#[tokio::test]
async fn a_token_serves_its_own_user_alone() {
    let app = app().await;
    import(&app, Some(58), OTHER).await;
    let first = pair(&app, &foreign(&app, "refresh", 57, 1)).await;
    assert_eq!(refresh(&app, &foreign(&app, "refresh", 58, 1)).await.code(), "token_invalid");
    let logout = app.post(LOGOUT, &json!({ "refresh": foreign(&app, "refresh", 58, 1) })).await;
    assert_eq!(logout.code(), "token_invalid");
    assert_eq!(app.status(token(&first, "access")).await.status, 200);
}

#[tokio::test]
async fn s15_fallbacks_are_good_and_a_key_of_its_own_changes_nothing() {
    const OLD: &str = "an old secret for tests of more than thirty-two bytes";
    const NEW: &str = "a new secret for tests of more than thirty-two bytes";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.pem");
    let text = freshk::tokens::keys::generate(freshk::domain::Algorithm::EdDsa).unwrap();
    std::fs::write(&path, text).unwrap();
    let mut app = app_with(&[ON, ("SECRET_KEY", OLD)]).await;
    import(&app, Some(57), PHONE).await;
    let login = app.log_in(PHONE).await;
    app.set("SECRET_KEY", NEW);
    app.set("SECRET_KEY_FALLBACKS", OLD);
    app.set("FRESHK_TOKENS__ALGORITHM", "EdDSA");
    app.set("FRESHK_TOKENS__KEY_FILE", &path.display().to_string());
    app.restart().await;
    assert_eq!(app.status(&foreign_under(OLD, &app, "access", 57, 1)).await.status, 200);
    assert_eq!(app.status(token(&login, "access")).await.code(), "token_invalid", "ours, under the secret");
    let first = pair(&app, &foreign_under(OLD, &app, "refresh", 57, 2)).await;
    assert_eq!(app.status(token(&first, "access")).await.status, 200);
    app.set("SECRET_KEY_FALLBACKS", "");
    app.restart().await;
    assert_eq!(
        app.status(&foreign_under(OLD, &app, "access", 57, 1)).await.code(),
        "token_invalid",
        "the secret is gone"
    );
}

#[tokio::test]
async fn a_deleted_user_leaves_no_exchange_and_its_tokens_open_nothing() {
    let app = app().await;
    pair(&app, &foreign(&app, "refresh", 57, 1)).await;
    assert_eq!(app.count("SELECT count(*) FROM exchanges"), 1);
    on_user(&app, |operator, user| operator.delete(user)).await;
    assert_eq!(app.count("SELECT count(*) FROM exchanges"), 0);
    assert_worthless(&app, 57, 1, "deleted").await;
}
