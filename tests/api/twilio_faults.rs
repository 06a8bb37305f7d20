//! S22–S25, S27: what each of Twilio's good and bad days means for the person, for the rows, and for the next request.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::logs;
use crate::support::{App, FIRST_ID, PHONE};
use crate::twilio::{Answer, FakeTwilio, NUMBER};

/// Short enough to be waited for, long enough for a busy machine.
const HURRIED: [(&str, &str); 2] =
    [("FRESHK_TWILIO__TIMEOUT", "1s"), ("FRESHK_TWILIO__CONNECT_TIMEOUT", "500ms")];

const SENTENCE: &str = "SMS delivery failed. Please try again later.";

/// What one request for a new phone leaves behind.
#[derive(Debug, PartialEq, Eq)]
struct Trace {
    challenge: &'static str,
    message: &'static str,
    error_code: Option<u32>,
    users: i64,
    user_units: i64,
    refunds: i64,
    posts: usize,
}

const SENT: Trace = Trace {
    challenge: "live",
    message: "queued",
    error_code: None,
    users: 1,
    user_units: 1,
    refunds: 0,
    posts: 1,
};
const LOST: Trace = Trace { challenge: "unknown", message: "unknown", ..SENT };
const REFUSED: Trace =
    Trace { challenge: "void", message: "failed", users: 0, user_units: 0, refunds: 1, ..SENT };

/// Asks once, and holds everything that came of it against `trace`.
async fn left(app: &App, status: u16, code: &str, trace: &Trace, case: &str) {
    let answer = app.request(PHONE).await;
    let told = if code.is_empty() { String::new() } else { answer.code() };
    assert_eq!((answer.status, told.as_str()), (status, code), "{case}: {}", answer.text);
    assert_eq!(app.words("SELECT state FROM challenges"), [trace.challenge], "{case}");
    assert_eq!(app.words("SELECT state FROM messages"), [trace.message], "{case}");
    let error_code = trace.error_code.map(|code| code.to_string()).unwrap_or_default();
    assert_eq!(app.words("SELECT error_code FROM messages"), [error_code], "{case}");
    assert_eq!(app.count("SELECT count(*) FROM users"), trace.users, "{case}");
    assert_eq!(app.spent("user"), trace.user_units, "{case}");
    assert_eq!(app.spent("refunds"), trace.refunds, "{case}");
    assert_eq!(app.spent("ip:request"), 1, "{case}: the address's unit is never given back");
    assert_eq!(app.twilio.requests().len(), trace.posts, "{case}");
    app.twilio.assert_conforming();
    let noted = if trace.challenge == "live" { "sms_sent" } else { "sms_failed" };
    assert_eq!(app.words("SELECT event FROM audit WHERE event LIKE 'sms%'"), [noted], "{case}");
    let created = app.count("SELECT count(*) FROM audit WHERE event = 'user_created'");
    assert_eq!(created, trace.users, "{case}");
}

/// The code of the only message works, and its user is the one that was written.
async fn code_works(app: &App, case: &str) {
    let login = app.verify(PHONE, &app.code(PHONE)).await;
    assert_eq!(login.status, 200, "{case}: {}", login.text);
    assert_eq!(login.json()["user"]["id"], FIRST_ID, "{case}");
    assert_eq!(app.count("SELECT count(*) FROM users"), 1, "{case}");
}

/// Nothing of the phone is left, as if it had never asked.
async fn no_trace_of_the_phone(app: &App, case: &str) {
    let code = app.twilio.requests().last().map_or_else(|| "123456".to_owned(), crate::twilio::sms_code);
    assert_eq!(app.verify(PHONE, &code).await.code(), "user_not_found", "{case}");
}

#[tokio::test]
async fn s25_any_201_counts_as_sent() {
    for answer in [
        Answer::Accepted,
        Answer::AcceptedGarbage,
        Answer::AcceptedTruncated,
        Answer::AcceptedWrongLength,
        Answer::AcceptedHuge,
        Answer::AcceptedSlowBody,
    ] {
        let case = format!("{answer:?}");
        let app = App::with(&HURRIED).await;
        app.twilio.always(answer.clone());
        left(&app, 200, "", &SENT, &case).await;
        let sids = app.words("SELECT sid FROM messages");
        assert_eq!(sids[0].starts_with("SM"), answer == Answer::Accepted, "{case}");
        code_works(&app, &case).await;
    }
}

#[tokio::test]
async fn s23_s25_what_is_ambiguous_is_sent_once_and_leaves_code_and_user() {
    for (answer, error_code) in [
        (Answer::Html { http: 500 }, None),
        (Answer::Html { http: 503 }, None),
        (Answer::Html { http: 200 }, None),
        (Answer::Error { http: 500, code: 20500, message: "Internal Server Error" }, Some(20500)),
        (Answer::Problem { http: 503, code: 20503, message: "Unavailable" }, Some(20503)),
        (Answer::Hang, None),
        (Answer::OneByteASecond, None),
        (Answer::ResetAfterBody, None),
    ] {
        let case = format!("{answer:?}");
        // In a hurry there would be no time for a second attempt, which is what must not be made.
        let stalls = matches!(answer, Answer::Hang | Answer::OneByteASecond);
        let app = App::with(if stalls { &HURRIED } else { &[] }).await;
        app.twilio.always(answer);
        left(&app, 500, "sms_delivery_failed", &Trace { error_code, ..LOST }, &case).await;
        code_works(&app, &case).await;
    }
}

#[tokio::test]
async fn s25_a_reset_before_the_body_is_ambiguous_too() {
    let app = App::start().await;
    app.twilio.always(Answer::ResetBeforeBody);
    left(&app, 500, "sms_delivery_failed", &LOST, "reset").await;
    assert_eq!(app.verify(PHONE, "000000").await.code(), "invalid_otp", "a code is alive");
    assert_eq!(app.spent("failures"), 1);
}

#[tokio::test]
async fn s25_a_listener_that_never_accepts_is_ambiguous() {
    let app = App::on(FakeTwilio::never_accepting(), &HURRIED).await;
    left(&app, 500, "sms_delivery_failed", &Trace { posts: 0, ..LOST }, "never accepting").await;
    assert_eq!(app.verify(PHONE, "000000").await.code(), "invalid_otp", "a code is alive");
}

#[tokio::test]
async fn s23_what_never_left_is_definite() {
    for (case, twilio) in [("refusing", FakeTwilio::refusing()), ("full", FakeTwilio::full())] {
        let app = App::on(twilio, &HURRIED).await;
        left(&app, 500, "sms_delivery_failed", &Trace { posts: 0, ..REFUSED }, case).await;
        no_trace_of_the_phone(&app, case).await;
    }
}

#[tokio::test]
async fn s22_a_redirect_is_definite_and_not_followed() {
    let app = App::start().await;
    app.twilio.always(Answer::Redirect302);
    left(&app, 500, "sms_delivery_failed", &REFUSED, "302").await;
    no_trace_of_the_phone(&app, "302").await;
}

#[tokio::test]
async fn s25_each_code_of_the_table_in_both_shapes() {
    const NUMBER_AT_FAULT: (u16, &str) = (400, "invalid_phone_number");
    const COUNTRY_AT_FAULT: (u16, &str) = (403, "country_not_allowed");
    const FAILED: (u16, &str) = (500, "sms_delivery_failed");
    let table = [
        (400, 21211, NUMBER_AT_FAULT),
        (400, 21614, NUMBER_AT_FAULT),
        (400, 21635, NUMBER_AT_FAULT),
        (400, 21408, COUNTRY_AT_FAULT),
        (400, 21610, FAILED),
        (400, 21612, NUMBER_AT_FAULT),
        (401, 20003, FAILED),
        (400, 21212, FAILED),
        (400, 21606, FAILED),
        (400, 21608, FAILED),
        (400, 21611, FAILED),
        (400, 63038, FAILED),
        (400, 30450, FAILED),
        (400, 30453, FAILED),
        (403, 60410, FAILED),
        (400, 99999, FAILED),
    ];
    for (http, code, (status, word)) in table {
        let message = "Twilio's own words";
        for answer in [Answer::Error { http, code, message }, Answer::Problem { http, code, message }] {
            let case = format!("{answer:?}");
            let app = App::start().await;
            app.twilio.always(answer);
            left(&app, status, word, &Trace { error_code: Some(code), ..REFUSED }, &case).await;
            no_trace_of_the_phone(&app, &case).await;
        }
    }
}

#[tokio::test]
async fn s25_a_refusal_without_a_body_is_judged_by_its_class() {
    let app = App::start().await;
    app.twilio.always(Answer::Html { http: 400 });
    left(&app, 500, "sms_delivery_failed", &REFUSED, "400 in HTML").await;
    no_trace_of_the_phone(&app, "400 in HTML").await;
}

#[tokio::test]
async fn s23_throttling_is_tried_once_more_where_the_wait_is_short() {
    for (retry_after, posts) in [(None, 2), (Some("1"), 2), (Some("3"), 1), (Some("soon"), 1)] {
        let case = format!("Retry-After: {retry_after:?}");
        let app = App::start().await;
        app.twilio.always(Answer::TooMany { retry_after });
        let trace = Trace { error_code: Some(20429), posts, ..REFUSED };
        left(&app, 500, "sms_delivery_failed", &trace, &case).await;
        no_trace_of_the_phone(&app, &case).await;
    }
    let app = App::start().await;
    app.twilio.script(vec![Answer::TooMany { retry_after: None }]);
    left(&app, 200, "", &Trace { posts: 2, ..SENT }, "throttled once").await;
    code_works(&app, "throttled once").await;
}

#[tokio::test]
async fn the_words_for_the_person() {
    let app = App::start().await;
    app.twilio.script(vec![
        Answer::Error { http: 400, code: 21610, message: "unsubscribed" },
        Answer::Error { http: 400, code: 30450, message: "blocked" },
    ]);
    let opted_out = app.request(PHONE).await.json()["error"].clone();
    let told = opted_out.as_str().unwrap();
    assert!(told.contains(&format!("Text START to {NUMBER}")), "{told}");
    assert_eq!(app.request(PHONE).await.json()["error"], SENTENCE);
}

/// Its format was right, and trying again never helps: neither is said.
#[tokio::test]
async fn a_number_or_country_that_gets_no_messages_is_told_so() {
    for (code, verdict, sentence) in [
        (21211, (400, "invalid_phone_number"), "This number cannot receive text messages. "),
        (21614, (400, "invalid_phone_number"), "This number cannot receive text messages. "),
        (21635, (400, "invalid_phone_number"), "This number cannot receive text messages. "),
        (21612, (400, "invalid_phone_number"), "This number cannot receive text messages. "),
        (21408, (403, "country_not_allowed"), "No text messages are sent to this country. "),
    ] {
        let app = App::start().await;
        let login = app.log_in(PHONE).await;
        app.twilio.always(Answer::Error { http: 400, code, message: "no" });
        let access = login["access"].as_str().unwrap();
        for answer in [app.request(PHONE).await, app.resend(access).await] {
            assert_eq!((answer.status, answer.code().as_str()), verdict, "{code}");
            let told = answer.json()["error"].as_str().unwrap().to_owned();
            assert!(told.starts_with(sentence) && !told.contains("format"), "{code}: {told}");
            assert_eq!(answer.json().get("retry_after"), None, "{code}");
        }
    }
}

/// A harasser, or one landline, must not keep everybody else's codes back.
#[tokio::test]
async fn one_destinations_trouble_opens_the_breaker_for_nobody() {
    for (http, code) in [
        (403, 20403),
        (403, 99999),
        (400, 21608),
        (403, 21608),
        (403, 21408),
        (400, 21211),
        (400, 21610),
        (400, 21612),
        (403, 30450),
        (403, 60410),
        (400, 99999),
    ] {
        let app = App::with(&[("FRESHK_LIMITS__IP", "0")]).await;
        let refusal = Answer::Error { http, code, message: "not to this number" };
        app.twilio.script(vec![refusal; 6]);
        for n in 0..6 {
            assert!(app.request(&format!("+1999000000{n}")).await.status >= 400, "{http} {code}");
        }
        assert_eq!(app.twilio.requests().len(), 6, "{http} {code}: each was tried");
        assert_eq!(app.request(PHONE).await.status, 200, "{http} {code}");
    }
    let app = App::with(&[("FRESHK_LIMITS__IP", "0")]).await;
    app.twilio.script(vec![Answer::Html { http: 403 }]);
    assert_eq!(app.request("+19990000001").await.code(), "sms_delivery_failed");
    assert_eq!(app.request(PHONE).await.status, 200, "403 without a code");
}

#[tokio::test]
async fn s33_the_line_about_a_failed_sms_names_its_request() {
    let name = "s33_the_line_about_a_failed_sms_names_its_request";
    let Some(log) = logs::catch(module_path!(), name, "info") else { return };
    let app = App::start().await;
    app.twilio.always(Answer::Error { http: 401, code: 20003, message: "Authenticate" });
    let refused = app.request(PHONE).await;
    let text = log.text();
    let line = text.lines().find(|line| line.contains("SMS failed")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["request_id"], refused.header("x-request-id"));
    assert_eq!((&line["level"], &line["page"]), (&json!("ERROR"), &json!(true)), "an operator is called");
    assert!(!text.contains(PHONE) && !text.contains(&app.code(PHONE)), "{text}");
}

#[tokio::test]
async fn s33_the_breaker_opens_with_an_error_that_names_its_cause() {
    let name = "s33_the_breaker_opens_with_an_error_that_names_its_cause";
    let Some(log) = logs::catch(module_path!(), name, "warn") else { return };
    let app = App::with(&[("FRESHK_TWILIO__BREAKER_FAILURES", "2"), ("FRESHK_LIMITS__IP", "0")]).await;
    app.twilio.script(vec![Answer::Html { http: 503 }, Answer::Html { http: 503 }]);
    for phone in ["+19990000001", "+19990000002", "+19990000003"] {
        assert_eq!(app.request(phone).await.code(), "sms_delivery_failed");
    }
    let lines = log.records();
    let lines: Vec<_> = lines.iter().filter(|line| line["target"] == "freshk::sms").collect();
    let levels: Vec<_> = lines.iter().map(|line| line["level"].as_str().unwrap()).collect();
    assert_eq!(levels, ["WARN", "ERROR"], "{lines:?}");
    let opened = lines[1];
    assert_eq!((&opened["breaker"], &opened["page"]), (&json!("opened"), &json!(true)));
    assert_eq!(opened["detail"], "HTTP 503; see https://status.twilio.com");
    assert!(opened["message"].as_str().unwrap().contains("for 30 s no message is sent"), "{opened}");
}

#[tokio::test]
async fn s33_a_country_that_is_not_enabled_is_an_error_once_an_hour() {
    let name = "s33_a_country_that_is_not_enabled_is_an_error_once_an_hour";
    let Some(log) = logs::catch(module_path!(), name, "warn") else { return };
    let app = App::with(&[("FRESHK_LIMITS__IP", "0")]).await;
    app.twilio.always(Answer::Error { http: 403, code: 21408, message: "not enabled" });
    for (phone, wait) in [("+19990000001", 0), ("+19990000002", 3600), ("+19990000003", 0)] {
        assert_eq!(app.request(phone).await.code(), "country_not_allowed");
        app.clock.advance(Duration::from_secs(wait));
    }
    let lines = log.records();
    let lines = lines.iter().filter(|line| line["target"] == "freshk::sms");
    let told: Vec<_> = lines.map(|line| (&line["level"], &line["country"])).collect();
    let (error, warning, country) = (json!("ERROR"), json!("WARN"), json!("1"));
    assert_eq!(told, [(&error, &country), (&warning, &country), (&error, &country)]);
}

#[tokio::test]
async fn a_definite_failure_leaves_a_known_user_as_it_was() {
    let app = App::start().await;
    let login = app.log_in(PHONE).await;
    app.twilio.always(Answer::Error { http: 400, code: 21614, message: "landline" });
    assert_eq!(app.request(PHONE).await.code(), "invalid_phone_number");
    assert_eq!(app.spent("user"), 1, "only the login's");
    assert_eq!(app.status(login["access"].as_str().unwrap()).await.status, 200);
}

#[tokio::test]
async fn a_unit_comes_back_three_times_a_day_and_no_more() {
    let app = App::with(&[("FRESHK_LIMITS__IP", "0")]).await;
    app.twilio.always(Answer::Error { http: 400, code: 30450, message: "blocked" });
    for _ in 0..6 {
        assert_eq!(app.request(PHONE).await.code(), "sms_delivery_failed");
    }
    assert_eq!((app.spent("user"), app.spent("refunds")), (3, 3));
    let refused = app.request(PHONE).await;
    assert_eq!(refused.verdict(), (429, "rate_limited".to_owned()));
    assert_eq!(app.twilio.requests().len(), 6);
    app.clock.advance(Duration::from_hours(24));
    assert_eq!(app.request(PHONE).await.code(), "sms_delivery_failed");
    assert_eq!(app.count("SELECT count(*) FROM spends WHERE quota = 'refunds'"), 4, "a new day");
}

#[tokio::test]
async fn an_open_breaker_spends_the_addresss_unit_and_not_the_phones() {
    let app = App::start().await;
    app.twilio.script(vec![Answer::Error { http: 401, code: 20003, message: "Authenticate" }]);
    assert_eq!(app.request(PHONE).await.code(), "sms_delivery_failed");
    app.clock.advance(Duration::from_secs(10));
    for spent in 2..=3 {
        let refused = app.request(PHONE).await;
        assert_eq!(refused.verdict(), (500, "sms_delivery_failed".to_owned()));
        assert_eq!(refused.json()["retry_after"], 20);
        assert_eq!(refused.header("retry-after"), "20");
        assert_eq!((app.spent("user"), app.spent("ip:request")), (0, spent));
    }
    assert_eq!(app.twilio.requests().len(), 1);
    assert_eq!(app.count("SELECT count(*) FROM challenges"), 1, "only the first");

    app.clock.advance(Duration::from_secs(20));
    assert_eq!(app.request(PHONE).await.status, 200, "the probe closes it");
    assert_eq!(app.request(PHONE).await.status, 200);
    assert_eq!(app.twilio.requests().len(), 3);
}

/// Nothing else tells of them: there is no message that nobody sent.
#[tokio::test]
async fn s35_codes_that_the_breaker_refuses_are_counted_and_the_first_of_a_minute_is_audited() {
    let app = App::with(&[("FRESHK_TWILIO__BREAKER_COOLDOWN", "10m"), ("FRESHK_LIMITS__IP", "0")]).await;
    app.twilio.script(vec![Answer::Error { http: 401, code: 20003, message: "Authenticate" }]);
    for n in 0..5 {
        assert_eq!(app.request(&format!("+1999000000{n}")).await.code(), "sms_delivery_failed");
    }
    app.clock.advance(Duration::from_mins(1));
    assert_eq!(app.request(PHONE).await.code(), "sms_delivery_failed");
    let counted = "SELECT why || ' ' || count FROM unsent ORDER BY minute";
    assert_eq!(app.words(counted), ["breaker_open 4", "breaker_open 1"]);
    let audited =
        app.words("SELECT detail FROM audit WHERE event = 'sms_failed' AND detail LIKE 'not sent%'");
    assert_eq!(audited, vec!["not sent: the provider is left alone after failures"; 2]);
    assert_eq!(app.count("SELECT count(*) FROM messages"), 1);
    let (_, page) = app.operations("/metrics").await;
    let line = "freshk_sms_deliveries_total{state=\"refused\"} 5";
    assert!(page.lines().any(|found| found == line), "{page}");
}

#[tokio::test]
async fn one_probe_after_the_cooldown() {
    let app = App::with(&[("FRESHK_TWILIO__BREAKER_FAILURES", "2"), ("FRESHK_LIMITS__IP", "0")]).await;
    app.twilio.always(Answer::Html { http: 503 });
    for n in 0..2 {
        assert_eq!(app.request(&format!("+199900000{n}0")).await.code(), "sms_delivery_failed");
    }
    app.twilio.always(Answer::Accepted);
    app.clock.advance(Duration::from_secs(30));
    app.twilio.hold();
    let probe = app.request(PHONE);
    let others = async {
        app.sending(3).await;
        let refused = app.request("+19990000099").await;
        app.twilio.release();
        refused
    };
    let (probe, refused) = tokio::join!(probe, others);
    assert_eq!(refused.code(), "sms_delivery_failed", "one probe at a time");
    assert!(refused.json()["retry_after"].is_u64());
    assert_eq!(probe.status, 200, "{}", probe.text);
    assert_eq!(app.request("+19990000099").await.status, 200);
}

#[tokio::test]
async fn s24_overflow_is_refused_at_once_and_status_goes_on_while_twilio_hangs() {
    let app = App::with(&[("FRESHK_TWILIO__MAX_IN_FLIGHT", "2"), ("FRESHK_LIMITS__IP", "0")]).await;
    let login = app.log_in(PHONE).await;
    app.twilio.hold();
    let phones = ["+19990000001", "+19990000002"];
    let hung = join_all(phones.map(|phone| app.request(phone)));
    let meanwhile = async {
        app.sending(3).await;
        for _ in 0..10 {
            let refused = app.request("+19990000003").await;
            assert_eq!(refused.verdict(), (503, "overloaded".to_owned()));
            assert_eq!(refused.header("retry-after"), "1");
            assert_eq!(app.status(login["access"].as_str().unwrap()).await.status, 200);
        }
        assert_eq!(app.count("SELECT count(*) FROM spends WHERE subject = '+19990000003'"), 0);
        app.twilio.release();
    };
    let (hung, ()) = tokio::join!(hung, meanwhile);
    assert!(hung.iter().all(|answer| answer.status == 200));
    assert_eq!(app.request("+19990000003").await.status, 200, "there is room again");
}

#[tokio::test]
async fn a_paced_sender_refuses_what_would_wait_too_long() {
    let app = App::with(&[
        ("FRESHK_TWILIO__SEGMENTS_PER_SECOND", "1"),
        ("FRESHK_TWILIO__MAX_WAIT", "1s"),
        ("FRESHK_LIMITS__IP", "0"),
    ])
    .await;
    let phones = ["+19990000001", "+19990000002", "+19990000003"];
    let answers = join_all(phones.map(|phone| app.request(phone))).await;
    let sent = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(sent, 2, "one at once, one after a second");
    let refused = answers.iter().find(|answer| answer.status != 200).unwrap();
    assert_eq!(refused.verdict(), (503, "overloaded".to_owned()));
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!((app.spent("user"), app.twilio.requests().len()), (2, 2));
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(app.request("+19990000009").await.status, 200, "waiting that long is enough");
}

#[tokio::test]
async fn s27_an_sms_is_valid_no_longer_than_its_code() {
    for (ttl, expires_in, validity) in
        [("10m", 600, "600"), ("90s", 90, "90"), ("1s", 1, "1"), ("10h", 36_000, "36000")]
    {
        let app = App::with(&[("FRESHK_OTP__TTL", ttl)]).await;
        assert_eq!(app.request(PHONE).await.json()["expires_in"], json!(expires_in));
        assert_eq!(app.twilio.requests()[0].field("ValidityPeriod"), Some(validity));
    }
}
