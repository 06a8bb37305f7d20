//! Test numbers: a code of their own, no SMS, and nothing that a number like any other would not survive.

use std::time::Duration;

use freshk::auth::operator::TestNumberRefusal;
use freshk::clock::Clock as _;
use freshk::domain::test_number::Source::{self, Command, Configuration};
use freshk::domain::{Code, NewTestNumber, PhoneNumber};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::foreign::operate;
use crate::support::{Answer, App, FIRST_ID, PHONE};

const CODE: &str = "604927";
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const NO_IP_LIMIT: (&str, &str) = ("FRESHK_LIMITS__IP", "0");

/// Makes a number a test number of [`CODE`].
pub(crate) async fn name(
    app: &App,
    phone: &str,
    lasts: Duration,
    existing_user: bool,
) -> Result<(), TestNumberRefusal> {
    let (phone, code) = (PhoneNumber::parse(phone, 10).unwrap(), Code::parse(CODE, 6).unwrap());
    let new = NewTestNumber::new(phone, code, app.clock.now() + lasts, existing_user).unwrap();
    operate(app, move |operator| operator.add_test_number(&new)).await.map(drop)
}

async fn take_back(app: &App) {
    let phone = PhoneNumber::parse(PHONE, 10).unwrap();
    operate(app, move |operator| operator.remove_test_number(&phone)).await.unwrap();
}

async fn with_test_number(variables: &[(&str, &str)]) -> App {
    let app = App::with(variables).await;
    name(&app, PHONE, DAY, false).await.unwrap();
    app
}

async fn refresh(app: &App, token: &str) -> Answer {
    app.post("/api/mobile/auth/token/refresh/", &json!({ "refresh": token })).await
}

#[tokio::test]
async fn it_logs_in_with_its_code_and_no_sms_is_bought() {
    let app = with_test_number(&[NO_IP_LIMIT]).await;
    for round in 0..5 {
        let asked = app.request(PHONE).await;
        assert_eq!((asked.status, asked.json()["is_new_user"].clone()), (200, json!(round == 0)));
        let login = app.verify(PHONE, CODE).await;
        assert_eq!(login.status, 200, "{}", login.text);
        assert_eq!(app.verify(PHONE, CODE).await.code(), "invalid_otp", "once for each time it is asked for");
    }
    let token = app.log_in_for_test().await;
    assert_eq!(app.resend(&token).await.status, 200);
    assert!(app.twilio.requests().is_empty());
    assert_eq!((app.spent("user"), app.count("SELECT count(*) FROM messages")), (0, 0));
    let told = app.words("SELECT event FROM audit WHERE detail = 'test number' GROUP BY event");
    let expected = ["authn_code_requested", "authn_login_success", "authn_token_created", "session_created"];
    assert_eq!(told, expected);
    assert_eq!(app.count("SELECT count(*) FROM audit WHERE event = 'test_number_added'"), 1);
}

impl App {
    async fn log_in_for_test(&self) -> String {
        assert_eq!(self.request(PHONE).await.status, 200);
        let login = self.verify(PHONE, CODE).await;
        assert_eq!(login.status, 200, "{}", login.text);
        login.json()["access"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn its_code_opens_nothing_that_was_not_asked_for() {
    let app = with_test_number(&[]).await;
    assert_eq!(app.verify(PHONE, CODE).await.code(), "user_not_found");
    app.log_in_for_test().await;
    assert_eq!(app.verify(PHONE, CODE).await.code(), "invalid_otp");
    assert_eq!(app.verify("+1234567891", CODE).await.code(), "user_not_found");
}

#[tokio::test]
async fn s3_of_parallel_verifies_exactly_one_gets_tokens() {
    let app = with_test_number(&[NO_IP_LIMIT]).await;
    join_all((0..4).map(|_| app.request(PHONE))).await;
    let answers = join_all((0..20).map(|_| app.verify(PHONE, CODE))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert_eq!(app.count("SELECT count(*) FROM sessions"), 1);
}

#[tokio::test]
async fn s5_s6_wrong_codes_count_as_ever() {
    let app = with_test_number(&[NO_IP_LIMIT]).await;
    for _ in 0..3 {
        app.request(PHONE).await;
        for _ in 0..5 {
            assert_eq!(app.verify(PHONE, "999999").await.code(), "invalid_otp");
        }
        assert_ne!(app.verify(PHONE, CODE).await.status, 200, "over-tried");
    }
    assert_eq!(app.request(PHONE).await.code(), "rate_limited", "the day is spent");
    assert_eq!(app.verify(PHONE, CODE).await.code(), "rate_limited");
}

#[tokio::test]
async fn it_ends_and_so_does_what_it_opened() {
    let app = with_test_number(&[NO_IP_LIMIT]).await;
    app.clock.advance(Duration::from_mins(24 * 60 - 1));
    app.request(PHONE).await;
    let tokens = app.verify(PHONE, CODE).await.json();
    let (access, old) = (tokens["access"].as_str().unwrap(), tokens["refresh"].as_str().unwrap());
    assert_eq!(app.status(access).await.status, 200);
    // A session that has no device yet gets one that ends as well.
    app.execute("DELETE FROM devices");
    app.execute("UPDATE sessions SET device_id = NULL");
    let next = refresh(&app, old).await.json();
    let ends = app.clock.wall() + Duration::from_mins(1);
    assert_eq!(app.count("SELECT expires_at FROM devices"), ends.as_millis());
    app.request(PHONE).await;
    app.clock.advance(Duration::from_mins(1));

    assert_eq!(app.verify(PHONE, CODE).await.code(), "invalid_otp", "though its challenge is alive");
    assert_eq!(app.status(next["access"].as_str().unwrap()).await.status, 401);
    assert_eq!(refresh(&app, next["refresh"].as_str().unwrap()).await.status, 401);
    app.request(PHONE).await;
    assert_eq!(app.twilio.requests().len(), 1, "a number like any other");
    assert_eq!(app.verify(PHONE, &app.code(PHONE)).await.status, 200);
}

#[tokio::test]
async fn taken_back_it_is_refused_at_once_and_the_next_request_is_sent() {
    let app = with_test_number(&[]).await;
    app.request(PHONE).await;
    take_back(&app).await;
    assert_eq!(app.verify(PHONE, CODE).await.code(), "invalid_otp");
    assert_eq!(app.request(PHONE).await.status, 200);
    assert_eq!(app.twilio.requests().len(), 1);
    assert_eq!(app.verify(PHONE, &app.code(PHONE)).await.status, 200);
}

/// Nobody leads what a test number opened, so nobody may be left to wait for its outcome.
#[tokio::test]
async fn taken_back_while_an_sms_is_under_way_it_leaves_nobody_waiting() {
    let app = App::with(&[NO_IP_LIMIT]).await;
    app.twilio.hold();
    let ((), first) = tokio::join!(
        async {
            app.sending(1).await;
            name(&app, PHONE, DAY, false).await.unwrap();
            assert_eq!(app.request(PHONE).await.status, 200);
            take_back(&app).await;
            let next = app.request(PHONE);
            let release = async {
                app.sending(2).await;
                app.twilio.release();
            };
            assert_eq!(tokio::join!(next, release).0.status, 200);
        },
        app.request(PHONE)
    );
    assert_eq!(first.status, 200);
    assert_eq!(app.verify(PHONE, &app.code(PHONE)).await.status, 200);
}

#[tokio::test]
async fn a_user_s_number_is_refused_unless_meant_and_its_sent_codes_stay_good() {
    let app = App::start().await;
    app.request(PHONE).await;
    assert_eq!(
        name(&app, PHONE, DAY, false).await,
        Err(TestNumberRefusal::User(freshk::domain::UserId(FIRST_ID)))
    );
    name(&app, PHONE, DAY, true).await.unwrap();
    let login = app.verify(PHONE, &app.code(PHONE)).await;
    assert_eq!(login.status, 200);
    let token = login.json()["access"].as_str().unwrap().to_owned();
    app.clock.advance(DAY);
    let refreshed = refresh(&app, login.json()["refresh"].as_str().unwrap()).await;
    assert_eq!(refreshed.status, 200, "a code that was sent opens a session like any other");
    let sessions = app.bearer(Method::GET, "/api/mobile/auth/sessions/", &token).await;
    assert_eq!(sessions.code(), "token_expired");
}

#[tokio::test]
async fn a_deactivated_user_stays_out() {
    let app = with_test_number(&[]).await;
    let token = app.log_in_for_test().await;
    app.execute("UPDATE users SET is_active = 0");
    assert_eq!(app.request(PHONE).await.code(), "account_disabled");
    assert_eq!(app.resend(&token).await.code(), "account_disabled");
}

#[tokio::test]
async fn s35_with_its_user_it_goes_and_the_trail_tells() {
    let app = with_test_number(&[]).await;
    app.log_in_for_test().await;
    let delete = operate(&app, |operator| {
        let user = operator.view().user(freshk::domain::UserId(FIRST_ID))?.unwrap();
        operator.delete(&user)
    });
    delete.await;
    assert_eq!(app.count("SELECT count(*) FROM test_numbers"), 0);
    let told = "SELECT event FROM audit WHERE user_id = 1000000001 AND phone IS NULL AND phone_hash IS NULL \
                AND event IN ('test_number_removed', 'user_deleted') ORDER BY id";
    assert_eq!(app.words(told), ["test_number_removed", "user_deleted"]);
    assert_eq!(app.count("SELECT count(*) FROM audit WHERE phone IS NOT NULL OR phone_hash IS NOT NULL"), 0);
}

#[tokio::test]
async fn the_testing_mode_knows_no_test_numbers() {
    let app = with_test_number(&[("DEBUG", "1")]).await;
    let (request, verify) = ("/api/mobile/auth/request/", "/api/mobile/auth/verify/");
    app.post(request, &json!({ "phone_number": PHONE })).await;
    let answer = app.post(verify, &json!({ "phone_number": PHONE, "otp": CODE })).await;
    assert_eq!(answer.code(), "invalid_otp");
}

#[tokio::test]
async fn a_repeated_verify_gives_the_same_session() {
    let app = with_test_number(&[]).await;
    app.request(PHONE).await;
    let verify = || async {
        let body = json!({ "phone_number": PHONE, "otp": CODE });
        let call =
            app.build(Method::POST, crate::support::VERIFY).header("idempotency-key", "0123456789abcdef");
        Answer::of(call.json(&body)).await
    };
    let (first, again) = (verify().await, verify().await);
    assert_eq!((first.status, again.status), (200, 200), "{}", again.text);
    assert_eq!(first.json()["refresh"], again.json()["refresh"]);
}

#[tokio::test]
async fn there_are_ten_at_most_and_none_without_a_near_end() {
    let app = App::start().await;
    for last in 0..10 {
        name(&app, &format!("+123456780{last}"), DAY, false).await.unwrap();
    }
    assert_eq!(name(&app, PHONE, DAY, false).await, Err(TestNumberRefusal::TooMany));
    name(&app, "+1234567800", DAY * 2, false).await.unwrap();
    assert_eq!(name(&app, "+1234567800", DAY * 367, false).await, Err(TestNumberRefusal::TooFar));
    assert_eq!(name(&app, "+1234567800", Duration::ZERO, false).await, Err(TestNumberRefusal::Ended));
    app.clock.advance(DAY);
    name(&app, PHONE, DAY, false).await.unwrap();
}

/// What a start makes of the test numbers that the configuration names: the good ones after it, or which one is refused and why.
async fn adopt(
    app: &App,
    named: &[(u32, Duration)],
) -> Result<Vec<(PhoneNumber, Source)>, (PhoneNumber, TestNumberRefusal)> {
    let code = Code::parse(CODE, 6).unwrap();
    let of = |(number, lasts): &(u32, Duration)| {
        NewTestNumber::new(numbered(*number), code.clone(), app.clock.now() + *lasts, false).unwrap()
    };
    let named: Vec<_> = named.iter().map(of).collect();
    let adopted = operate(app, move |operator| operator.adopt_test_numbers(&named)).await?;
    Ok(adopted.into_iter().map(|number| (number.phone, number.source)).collect())
}

fn numbered(number: u32) -> PhoneNumber {
    PhoneNumber::parse(&format!("+155500000{number:02}"), 10).unwrap()
}

#[tokio::test]
async fn the_configuration_s_numbers_come_and_go_beside_those_of_commands() {
    let app = App::start().await;
    name(&app, numbered(1).as_str(), 2 * DAY, false).await.unwrap();
    let both = |first| vec![(numbered(1), first), (numbered(2), Configuration)];
    let with_third = [both(Command), vec![(numbered(3), Configuration)]].concat();
    assert_eq!(adopt(&app, &[(2, DAY), (3, DAY)]).await, Ok(with_third.clone()));
    let added = "SELECT count(*) FROM audit WHERE event = 'test_number_added'";
    assert_eq!(app.count(added), 3);
    assert_eq!(adopt(&app, &[(2, DAY), (3, DAY)]).await, Ok(with_third));
    assert_eq!(app.count(added), 3, "nothing is new");
    assert_eq!(adopt(&app, &[(2, DAY), (3, Duration::ZERO)]).await, Ok(both(Command)), "the third has ended");
    assert_eq!(app.words("SELECT phone FROM audit WHERE event = 'test_number_removed'").len(), 1);
    assert_eq!(
        adopt(&app, &[(1, DAY), (2, DAY)]).await,
        Ok(both(Configuration)),
        "a command's can be taken over"
    );
    app.clock.advance(DAY);
    assert_eq!(adopt(&app, &[]).await, Ok(vec![]));
}

#[tokio::test]
async fn those_of_commands_count_among_the_ten_while_they_are_good() {
    let app = App::start().await;
    for number in 1..=4 {
        name(&app, numbered(number).as_str(), if number == 1 { HOUR } else { 2 * DAY }, false).await.unwrap();
    }
    let named =
        |numbers: std::ops::RangeInclusive<u32>| numbers.map(|number| (number, DAY)).collect::<Vec<_>>();
    assert_eq!(adopt(&app, &named(11..=17)).await, Err((numbered(17), TestNumberRefusal::TooMany)));
    assert_eq!(app.count("SELECT count(*) FROM test_numbers"), 4, "and nothing is changed");
    assert_eq!(adopt(&app, &named(11..=16)).await.map(|all| all.len()), Ok(10));
    assert_eq!(adopt(&app, &named(4..=4)).await.map(|all| all.len()), Ok(4), "one of them is a command's");
    assert_eq!(adopt(&app, &[named(4..=4), named(11..=16)].concat()).await.map(|all| all.len()), Ok(10));
    app.clock.advance(HOUR);
    assert_eq!(
        adopt(&app, &named(11..=18)).await.map(|all| all.len()),
        Ok(10),
        "the first has ended, the fourth was given up"
    );
}

#[tokio::test]
async fn it_works_while_twilio_does_not_and_outlives_a_restart() {
    let mut app = with_test_number(&[]).await;
    app.twilio.always(crate::twilio::Answer::Error { http: 401, code: 20003, message: "Authenticate" });
    assert_eq!(app.request("+1234567891").await.code(), "sms_delivery_failed");
    app.log_in_for_test().await;
    app.restart().await;
    app.log_in_for_test().await;
}

/// An answer without its number and time.
fn seen(answer: &Answer) -> (u16, Vec<String>, serde_json::Value) {
    let headers =
        answer.headers.iter().filter(|(name, _)| !["x-request-id", "date"].contains(&name.as_str()));
    let headers = headers.map(|(name, value)| match (name.as_str(), value.to_str().unwrap()) {
        ("x-delivery-id", value) => format!("{name}: {} characters", value.len()),
        (_, value) => format!("{name}: {value}"),
    });
    let headers = headers.collect();
    (answer.status, headers, answer.body_without_request_id())
}

#[tokio::test]
async fn s10_where_accounts_are_concealed_it_is_answered_as_any_number_is() {
    let conceal = [
        ("FRESHK_PRIVACY__CONCEAL_ACCOUNTS", "true"),
        ("FRESHK_TWILIO__BREAKER_FAILURES", "100"),
        NO_IP_LIMIT,
    ];
    let app = with_test_number(&conceal).await;
    let other = "+1234567891";
    let both = || async { (app.request(other).await, app.request(PHONE).await) };
    for _ in 0..4 {
        let (other, test) = both().await;
        assert_eq!(seen(&other), seen(&test), "its quota is the phone's");
    }
    assert_eq!(
        (app.twilio.requests().len(), app.request(PHONE).await.status),
        (3, 429),
        "nothing was sent to it"
    );
    assert_eq!(app.words("SELECT DISTINCT phone FROM messages"), [other]);
    assert_eq!(app.verify(PHONE, CODE).await.status, 200);
    assert_eq!(app.verify(PHONE, CODE).await.code(), "invalid_otp", "once for each time it is asked for");

    for answer in [crate::twilio::Answer::Html { http: 503 }, crate::twilio::Answer::Redirect302] {
        app.clock.advance(Duration::from_hours(2));
        app.twilio.always(answer.clone());
        let (other, test) = both().await;
        assert_eq!((test.status, seen(&other)), (500, seen(&test)), "{answer:?}");
    }
    let open = crate::twilio::Answer::Error { http: 401, code: 20003, message: "Authenticate" };
    app.twilio.always(open);
    assert_eq!(app.request("+1234567892").await.code(), "sms_delivery_failed");
    let (other, test) = both().await;
    assert_eq!((&test.json()["retry_after"], seen(&other)), (&json!(30), seen(&test)), "the breaker is open");
}
