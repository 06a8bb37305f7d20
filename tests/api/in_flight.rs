//! While an SMS is under way: requests for one phone become one, and the codes that are good in the meantime.

use std::sync::Arc;
use std::time::Duration;

use freshk::domain::PhoneNumber;
use freshk::storage::Locks;
use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::Notify;

use crate::support::{App, PHONE};
use crate::twilio::Answer as Twilio;

const STATES: &str = "SELECT state FROM challenges ORDER BY id";

fn address(n: usize) -> String {
    format!("203.0.113.{n}")
}

/// Starts `first`, then, once its SMS is under way, `then`, and lets Twilio answer when every other caller has been
/// counted: `charges` units of addresses, whatever the endpoint.
async fn during<A, B>(app: &App, charges: i64, first: A, then: B) -> (A::Output, B::Output)
where
    A: Future,
    B: Future,
{
    let sent = app.twilio.requests().len();
    app.twilio.hold();
    let then = async {
        app.sending(sent + 1).await;
        then.await
    };
    let release = async {
        let units = || app.count("SELECT count(*) FROM spends WHERE quota LIKE 'ip:%'");
        crate::support::until(|| async { units() >= charges }).await;
        app.twilio.release();
    };
    let (first, then, ()) = tokio::join!(first, then, release);
    (first, then)
}

#[tokio::test]
async fn two_requests_for_one_phone_become_one_sms_and_one_unit() {
    let app = App::start().await;
    let (leader, follower) =
        during(&app, 2, app.request_from(&address(1), PHONE), app.request_from(&address(2), PHONE)).await;
    for answer in [&leader, &follower] {
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(
            answer.json(),
            json!({
                "message": "Verification code sent successfully", "is_new_user": true, "expires_in": 600,
            })
        );
        assert_eq!(answer.header("ratelimit"), "\"otp-ip\";r=4;t=3600", "each has its own");
    }
    assert_ne!(leader.header("x-request-id"), follower.header("x-request-id"));
    assert_eq!((app.twilio.requests().len(), app.spent("user"), app.spent("ip:request")), (1, 1, 2));
    assert_eq!(app.words(STATES), ["live"]);
    assert_eq!(app.verify(PHONE, &app.code(PHONE)).await.status, 200);
}

#[tokio::test]
async fn twenty_requests_that_come_at_once_become_one() {
    let app = App::with(&[("FRESHK_TWILIO__MAX_IN_FLIGHT", "1")]).await;
    app.twilio.hold();
    let all = join_all((1..=20).map(|n| {
        let app = &app;
        async move { app.request_from(&address(n), PHONE).await }
    }));
    let release = async {
        crate::support::until(|| async { app.spent("ip:request") == 20 }).await;
        app.twilio.release();
    };
    let (answers, ()) = tokio::join!(all, release);
    for answer in &answers {
        assert_eq!(answer.status, 200, "a follower needs no place at the sender: {}", answer.text);
    }
    assert_eq!((app.twilio.requests().len(), app.spent("user")), (1, 1));
    assert_eq!(app.count("SELECT count(*) FROM audit WHERE event = 'sms_sent'"), 1);
    // The next one is a new one.
    assert_eq!(app.request(PHONE).await.status, 200);
    assert_eq!(app.twilio.requests().len(), 2);
}

#[tokio::test]
async fn requests_that_wait_for_one_phone_leave_the_places_at_the_sender_to_others() {
    const OTHER: &str = "+19990000001";
    let app = App::with(&[("FRESHK_TWILIO__MAX_IN_FLIGHT", "2")]).await;
    let (at_work, (end, ended)) = (Arc::new(Notify::new()), std::sync::mpsc::channel());
    let (store, enter) = (app.service().store, at_work.clone());
    let before = tokio::spawn(async move {
        let locks = Locks::none().phone(&PhoneNumber::parse(PHONE, 10).unwrap());
        let write = store.write(locks, move |_| {
            enter.notify_one();
            ended.recv_timeout(Duration::from_mins(1)).unwrap();
            Ok(())
        });
        write.await.unwrap();
    });
    at_work.notified().await;
    let asked = async |count: usize| {
        let line = format!("freshk_otp_requests_total{{channel=\"production\"}} {count}\n");
        crate::support::until(|| async { app.operations("/metrics").await.1.contains(&line) }).await;
    };
    let waiting = join_all((1..=5).map(|n| {
        let app = &app;
        async move { app.request_from(&address(n), PHONE).await }
    }));
    let other = async {
        asked(5).await;
        app.request_from(&address(6), OTHER).await
    };
    let release = async {
        asked(6).await;
        end.send(()).unwrap();
    };
    let (answers, other, ()) = tokio::join!(waiting, other, release);
    before.await.unwrap();
    assert_eq!(other.status, 200, "{}", other.text);
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    assert_eq!((app.twilio.requests().len(), app.spent("user")), (2, 2));
}

#[tokio::test]
async fn request_and_resend_share_an_sms_and_each_gets_its_own_shape() {
    for resend_leads in [false, true] {
        let app = App::start().await;
        let login = app.log_in(PHONE).await;
        let access = login["access"].as_str().unwrap();
        let (request, resend) = if resend_leads {
            let (resend, request) = during(&app, 4, app.resend(access), app.request(PHONE)).await;
            (request, resend)
        } else {
            during(&app, 4, app.request(PHONE), app.resend(access)).await
        };
        assert_eq!((request.status, resend.status), (200, 200), "{} {}", request.text, resend.text);
        let message = "Verification code sent successfully";
        assert_eq!(request.json(), json!({ "message": message, "is_new_user": false, "expires_in": 600 }));
        assert_eq!(resend.json(), json!({ "message": message, "expires_in": 600 }));
        assert_eq!(request.header("ratelimit"), "\"otp-ip\";r=4;t=3600");
        assert_eq!(resend.header("ratelimit"), "\"otp-ip\";r=4;t=3600, \"otp-user\";r=1;t=3600");
        assert_eq!((app.spent("ip:request"), app.spent("ip:resend"), app.spent("user")), (2, 1, 2));
        assert_eq!(app.twilio.requests().len(), 2, "the login's and the shared one");
    }
}

#[tokio::test]
async fn the_leaders_failure_is_the_followers() {
    let opted_out = Twilio::Error { http: 403, code: 21610, message: "STOP" };
    for answer in
        [Twilio::Error { http: 400, code: 21211, message: "no" }, opted_out, Twilio::Html { http: 503 }]
    {
        let app = App::start().await;
        app.twilio.always(answer.clone());
        let (leader, follower) =
            during(&app, 2, app.request_from(&address(1), PHONE), app.request_from(&address(2), PHONE)).await;
        assert!(leader.status >= 400, "{answer:?}: {}", leader.text);
        assert_eq!(leader.status, follower.status, "{answer:?}");
        assert_eq!(leader.body_without_request_id(), follower.body_without_request_id(), "{answer:?}");
        assert_eq!(app.twilio.requests().len(), 1, "{answer:?}");
        assert!(app.spent("user") <= 1 && app.spent("refunds") <= 1, "{answer:?}");
    }
}

#[tokio::test]
async fn a_caller_can_be_refused_by_its_own_address_only() {
    let app = App::with(&[("FRESHK_LIMITS__IP", "1")]).await;
    // Two addresses have spent their unit; theirs is the only refusal, whether they come before or after.
    for address in [address(1), address(2)] {
        assert_eq!(app.request_from(&address, "+19990000001").await.status, 200);
    }
    assert_eq!(app.request_from(&address(1), PHONE).await.code(), "rate_limited");
    let then = async {
        let refused = app.request_from(&address(2), PHONE).await;
        let follower = app.request_from(&address(4), PHONE).await;
        (refused, follower)
    };
    let (leader, (refused, follower)) = during(&app, 4, app.request_from(&address(3), PHONE), then).await;
    assert_eq!(refused.verdict(), (429, "rate_limited".to_owned()));
    assert_eq!((leader.status, follower.status), (200, 200), "{} {}", leader.text, follower.text);
    assert_eq!(app.twilio.requests().len(), 3);
}

#[tokio::test]
async fn of_many_at_once_those_without_a_unit_of_their_own_harm_nobody() {
    let app = App::with(&[("FRESHK_LIMITS__IP", "1")]).await;
    for n in 1..=5 {
        app.request_from(&address(n), &format!("+1999000000{n}")).await;
    }
    app.twilio.hold();
    let all = join_all((1..=10).map(|n| {
        let app = &app;
        async move { app.request_from(&address(n), PHONE).await }
    }));
    let release = async {
        crate::support::until(|| async { app.spent("ip:request") == 10 }).await;
        app.twilio.release();
    };
    let (answers, ()) = tokio::join!(all, release);
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(answer.status, if n < 5 { 429 } else { 200 }, "{n}: {}", answer.text);
    }
    assert_eq!(app.twilio.requests().len(), 6);
}

#[tokio::test]
async fn a_phone_whose_unit_the_leader_spent_follows_still() {
    let app = App::with(&[("FRESHK_LIMITS__USER", "1")]).await;
    let (leader, follower) = during(&app, 2, app.request(PHONE), app.request(PHONE)).await;
    assert_eq!((leader.status, follower.status), (200, 200), "{}", follower.text);
    assert_eq!(app.request(PHONE).await.code(), "rate_limited");
}

#[tokio::test]
async fn a_code_is_good_before_twilio_has_answered_and_a_late_answer_never_revives_it() {
    for answer in [
        Twilio::Accepted,
        Twilio::Html { http: 503 },
        Twilio::Error { http: 400, code: 30450, message: "blocked" },
    ] {
        let app = App::start().await;
        app.twilio.always(answer.clone());
        let verify = async {
            let code = app.code(PHONE);
            (app.verify(PHONE, &code).await, code)
        };
        let (_, (login, code)) = during(&app, 2, app.request(PHONE), verify).await;
        assert_eq!(login.status, 200, "{answer:?}: {}", login.text);
        assert_eq!(app.words(STATES), ["used"], "{answer:?}");
        assert_eq!(app.words("SELECT phone_verified FROM users"), ["1"], "{answer:?}");
        assert_eq!(app.verify(PHONE, &code).await.code(), "invalid_otp", "{answer:?}");
        assert_eq!(app.status(login.json()["access"].as_str().unwrap()).await.status, 200, "{answer:?}");
    }
}

/// The SMS may arrive before Twilio has answered: that the code is used by then does not end the send.
#[tokio::test]
async fn whoever_asks_while_the_sms_of_a_used_code_is_under_way_buys_no_second_one() {
    let app = App::start().await;
    let then = async {
        assert_eq!(app.verify(PHONE, &app.code(PHONE)).await.status, 200);
        app.request(PHONE).await
    };
    let (leader, follower) = during(&app, 3, app.request(PHONE), then).await;
    assert_eq!((leader.status, follower.status), (200, 200), "{}", follower.text);
    assert_eq!((app.twilio.requests().len(), app.spent("user")), (1, 1));
}

#[tokio::test]
async fn a_challenge_says_who_sends_it_and_what_came_of_that() {
    let mut app = App::start().await;
    for (answer, result) in [
        (Twilio::Accepted, "accepted"),
        (Twilio::Error { http: 400, code: 21211, message: "invalid" }, "invalid_number"),
        (Twilio::Error { http: 403, code: 21408, message: "not enabled" }, "country_not_allowed"),
        (Twilio::Error { http: 403, code: 21610, message: "stopped" }, "opted_out"),
        (Twilio::Error { http: 400, code: 30450, message: "blocked" }, "refused"),
    ] {
        app.twilio.always(answer);
        app.request(&format!("+1234567{:04}", app.count("SELECT count(*) FROM challenges"))).await;
        let newest = "SELECT result FROM challenges WHERE settled_at = created_at ORDER BY id DESC LIMIT 1";
        assert_eq!(app.words(newest), [result]);
    }
    assert_eq!(app.words("SELECT DISTINCT length(leader) FROM challenges"), ["16"]);
    app.restart().await;
    app.twilio.always(Twilio::Accepted);
    app.request_from(&address(9), PHONE).await;
    assert_eq!(
        app.words("SELECT count(DISTINCT leader) FROM challenges"),
        ["2"],
        "each run has a name of its own"
    );
}

#[tokio::test]
async fn s4_both_codes_are_good_while_the_newer_sms_is_under_way() {
    for use_newer in [false, true] {
        let app = App::start().await;
        app.request(PHONE).await;
        let older = app.code(PHONE);
        let verify = async {
            let code = if use_newer { app.code(PHONE) } else { older.clone() };
            app.verify(PHONE, &code).await
        };
        let (asked, login) = during(&app, 3, app.request(PHONE), verify).await;
        assert_eq!((asked.status, login.status), (200, 200), "{}", login.text);
        let newer = app.code(PHONE);
        let states: [&str; 2] = if use_newer { ["void", "used"] } else { ["used", "void"] };
        assert_eq!(app.words(STATES), states, "a login spends them all");
        for code in [older, newer] {
            assert_eq!(app.verify(PHONE, &code).await.code(), "invalid_otp");
        }
    }
}

#[tokio::test]
async fn s4_the_older_code_stays_good_where_the_newer_sms_failed_or_is_unknown() {
    for (answer, states) in [
        (Twilio::Error { http: 400, code: 30450, message: "blocked" }, ["live", "void"]),
        (Twilio::ResetAfterBody, ["live", "unknown"]),
    ] {
        let app = App::start().await;
        app.request(PHONE).await;
        let older = app.code(PHONE);
        app.twilio.always(answer.clone());
        assert_eq!(app.request(PHONE).await.code(), "sms_delivery_failed");
        assert_eq!(app.words(STATES), states);
        assert_eq!(app.verify(PHONE, &older).await.status, 200, "{answer:?}");
        assert_eq!(app.verify(PHONE, &app.code(PHONE)).await.code(), "invalid_otp", "{answer:?}");
    }
}

#[tokio::test]
async fn s4_both_codes_stand_under_one_guess_budget() {
    let app = App::with(&[("FRESHK_LIMITS__IP", "0")]).await;
    app.request(PHONE).await;
    let older = app.code(PHONE);
    app.twilio.always(Twilio::ResetAfterBody);
    app.request(PHONE).await;
    let newer = app.code(PHONE);
    let wrong = (0..3).map(|n| format!("{n:06}")).find(|code| *code != older && *code != newer).unwrap();
    for _ in 0..5 {
        assert_eq!(app.verify(PHONE, &wrong).await.code(), "invalid_otp");
    }
    assert_eq!(app.words("SELECT attempts FROM challenges"), ["5", "5"]);
    assert_eq!(app.spent("failures"), 10, "a guess that is tried against two codes counts as two");
    for code in [older, newer] {
        assert_eq!(app.verify(PHONE, &code).await.code(), "invalid_otp");
    }
}

/// Reports of lost messages give units back, so that a phone can have more codes of unknown fate than its quota says.
async fn pile_up(app: &App, codes: usize) -> Vec<String> {
    app.twilio.always(Twilio::ResetAfterBody);
    let mut sent = Vec::new();
    for _ in 0..codes {
        assert_eq!(app.request(PHONE).await.code(), "sms_delivery_failed");
        sent.push(app.code(PHONE));
    }
    sent
}

#[tokio::test]
async fn s4_of_many_codes_of_unknown_fate_two_are_alive() {
    for (given, status) in [(0, 400), (1, 400), (2, 400), (3, 200), (4, 200)] {
        let app = App::with(&[("FRESHK_LIMITS__USER", "0")]).await;
        let codes = pile_up(&app, 5).await;
        assert_eq!(app.words(STATES), ["unknown"; 5]);
        assert_eq!(app.verify(PHONE, &codes[given]).await.status, status, "code {given} of 5");
        let counted = if status == 200 { 0 } else { 2 };
        assert_eq!(app.spent("failures"), counted, "a guess is tried against two codes at most");
    }
}

#[tokio::test]
async fn s4_the_code_that_twilio_accepted_stays_good_beside_the_newest_of_unknown_fate() {
    for (given, status) in [(0, 200), (1, 400), (2, 200)] {
        let app = App::with(&[("FRESHK_LIMITS__USER", "0")]).await;
        app.request(PHONE).await;
        let mut codes = vec![app.code(PHONE)];
        codes.extend(pile_up(&app, 2).await);
        assert_eq!(app.words(STATES), ["live", "unknown", "unknown"]);
        assert_eq!(app.verify(PHONE, &codes[given]).await.status, status, "code {given} of 3");
    }
}

/// What waits behind two others is not void: the person may have that one alone.
#[tokio::test]
async fn s4_a_code_is_alive_again_where_the_newer_sms_was_not_sent() {
    let app = App::with(&[("FRESHK_LIMITS__USER", "0")]).await;
    let codes = pile_up(&app, 2).await;
    app.twilio.always(Twilio::Error { http: 400, code: 30450, message: "blocked" });
    assert_eq!(app.request(PHONE).await.code(), "sms_delivery_failed");
    assert_eq!(app.words(STATES), ["unknown", "unknown", "void"]);
    assert_eq!(app.verify(PHONE, &codes[0]).await.status, 200);
}

#[tokio::test]
async fn s6_a_days_last_guess_is_tried_against_the_newest_code_alone() {
    let app = App::with(&[
        ("FRESHK_LIMITS__IP", "0"),
        ("FRESHK_LIMITS__USER", "0"),
        ("FRESHK_OTP__MAX_FAILURES_PER_DAY", "3"),
    ])
    .await;
    let codes = pile_up(&app, 2).await;
    let wrong = (0..3).map(|n| format!("{n:06}")).find(|code| !codes.contains(code)).unwrap();
    assert_eq!(app.verify(PHONE, &wrong).await.code(), "invalid_otp");
    assert_eq!(app.spent("failures"), 2);
    assert_eq!(
        app.verify(PHONE, &codes[0]).await.code(),
        "invalid_otp",
        "the older one is not tried any more"
    );
    assert_eq!(app.spent("failures"), 3, "no day sees more guesses than it has");
    assert_eq!(app.verify(PHONE, &codes[1]).await.code(), "rate_limited");
}
