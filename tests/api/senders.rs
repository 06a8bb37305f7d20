//! Several senders: who sends when, and what the rows and the app are told.

use std::time::Duration;

use freshk::clock::Clock as _;
use freshk::domain::Timestamp;
use freshk::domain::webhook::WebhookSecret;
use reqwest::Method;
use serde_json::{Value, json};

use crate::callbacks::with;
use crate::sink::{Reply, Sink, WEBHOOK_SECRET};
use crate::support::{Answer, App, PHONE, REQUEST, until};
use crate::twilio::{ACCOUNT_SID, Answer as Twilio, NUMBER};

const ACCEPTED: Reply = Reply::Says(200, r#"{"status":"accepted"}"#);

/// Twilio and a program, in this order, and how many messages each was sent.
struct Two {
    app: App,
    sink: Sink,
}

impl Two {
    async fn new(order: &str) -> Self {
        let sink = Sink::start();
        sink.reply(ACCEPTED);
        let section = format!("local|kind=http|url={}|secret={WEBHOOK_SECRET}", sink.url());
        let variables = [
            ("FRESHK_SMS__SENDERS", order),
            ("FRESHK_SENDERS", &section),
            ("FRESHK_LIMITS__IP", "0"),
            ("FRESHK_LIMITS__USER", "0"),
            ("FRESHK_LIMITS__USER_PER_DAY", "0"),
        ];
        Self { app: with(&variables).await, sink }
    }

    /// What came of a request: status, who has the message, and what each was sent.
    async fn request(&self) -> (u16, String, [usize; 2]) {
        let before = self.sent();
        let answer = self.app.request(PHONE).await;
        let after = self.sent();
        let sender = self.app.words("SELECT sender FROM messages ORDER BY id DESC LIMIT 1").remove(0);
        (answer.status, sender, [after[0] - before[0], after[1] - before[1]])
    }

    fn sent(&self) -> [usize; 2] {
        [self.app.twilio.requests().len(), self.sink.requests().len()]
    }
}

fn error(http: u16, code: u32) -> Twilio {
    Twilio::Error { http, code, message: "no" }
}

#[tokio::test]
async fn s23_a_sure_failure_of_twilio_moves_on_and_no_other_one_does() {
    for (answer, status, sender, sent) in [
        (Twilio::Accepted, 200, "twilio", [1, 0]),
        (Twilio::AcceptedGarbage, 200, "twilio", [1, 0]),
        (error(400, 21614), 200, "local", [1, 1]),
        (error(400, 21612), 200, "local", [1, 1]),
        (error(403, 21408), 200, "local", [1, 1]),
        (error(400, 21211), 400, "twilio", [1, 0]),
        (error(403, 21610), 500, "twilio", [1, 0]),
        (error(403, 30450), 500, "twilio", [1, 0]),
        (error(400, 21606), 200, "local", [1, 1]),
        (error(429, 63038), 200, "local", [2, 1]),
        (Twilio::TooMany { retry_after: Some("60") }, 200, "local", [1, 1]),
        (Twilio::Redirect302, 200, "local", [1, 1]),
        (Twilio::Html { http: 404 }, 200, "local", [1, 1]),
        (Twilio::Html { http: 500 }, 500, "twilio", [1, 0]),
        (Twilio::ResetBeforeBody, 500, "twilio", [1, 0]),
        (Twilio::ResetAfterBody, 500, "twilio", [1, 0]),
    ] {
        let two = Two::new("twilio,local").await;
        two.app.twilio.always(answer.clone());
        assert_eq!(two.request().await, (status, sender.to_owned(), sent), "{answer:?}");
        two.app.twilio.assert_conforming();
    }
}

#[tokio::test]
async fn s23_a_sure_failure_of_a_program_moves_on_and_no_other_one_does() {
    let says = |word| Reply::Says(200, word);
    for (reply, status, sender, sent) in [
        (ACCEPTED, 200, "local", [0, 1]),
        (says(r#"{"status":"invalid_number"}"#), 400, "local", [0, 1]),
        (says(r#"{"status":"refused"}"#), 200, "twilio", [1, 1]),
        (says(r#"{"status":"try_later"}"#), 200, "twilio", [1, 1]),
        (Reply::Status(500), 500, "local", [0, 1]),
        (Reply::Nothing, 500, "local", [0, 1]),
        (says("<html>"), 500, "local", [0, 1]),
    ] {
        let two = Two::new("local,twilio").await;
        two.sink.reply(reply.clone());
        assert_eq!(two.request().await, (status, sender.to_owned(), sent), "{reply:?}");
    }
}

#[tokio::test]
async fn the_same_code_goes_out_by_the_next_sender_and_opens_the_account() {
    let two = Two::new("twilio,local").await;
    two.app.twilio.always(error(400, 21612));
    assert_eq!(two.request().await.0, 200);
    let posted = two.sink.requests()[0].json();
    let code = posted["variables"]["code"].as_str().unwrap();
    assert_eq!(two.app.code(PHONE), code);
    assert_eq!(two.app.verify(PHONE, code).await.status, 200);
    assert_eq!(two.app.count("SELECT count(*) FROM messages"), 1);
}

#[tokio::test]
async fn if_all_fail_the_first_ones_error_is_told() {
    let two = Two::new("twilio,local").await;
    two.app.twilio.always(error(403, 21408));
    two.sink.reply(Reply::Says(200, r#"{"status":"refused"}"#));
    let answer = two.app.request(PHONE).await;
    assert_eq!(answer.verdict(), (403, "country_not_allowed".to_owned()));
    assert_eq!(two.sent(), [1, 1]);
    assert_eq!(two.app.words("SELECT sender || ' ' || error_code FROM messages"), ["twilio 21408"]);
}

#[tokio::test]
async fn while_one_breaker_is_open_the_next_sender_sends() {
    let two = Two::new("twilio,local").await;
    two.app.twilio.always(error(401, 20003));
    for sent in [[1, 1], [0, 1], [0, 1]] {
        assert_eq!(two.request().await, (200, "local".to_owned(), sent));
    }
}

/// Signs a report as the program does, and posts it.
async fn report(two: &Two, sender: &str, secret: &str, body: &Value) -> Answer {
    let (text, at) = (body.to_string(), two.app.clock.wall());
    let signature = WebhookSecret::parse(secret).unwrap().sign("r1", at, &text);
    post(two, sender, &signature, at, text).await
}

async fn post(two: &Two, sender: &str, signature: &str, at: Timestamp, text: String) -> Answer {
    let path = format!("/api/mobile/auth/sms/{sender}/status/");
    let request = two.app.build(Method::POST, &path).header("webhook-id", "r1");
    let request = request.header("webhook-timestamp", at.as_secs().to_string());
    let request = request.header("content-type", "application/json");
    Answer::of(request.header("webhook-signature", signature).body(text)).await
}

#[tokio::test]
async fn s26_a_program_reports_its_own_messages_and_no_others() {
    let two = Two::new("local,twilio").await;
    two.request().await;
    let id = two.sink.requests()[0].json()["message_id"].clone();
    two.sink.reply(Reply::Says(200, r#"{"status":"refused"}"#));
    two.request().await;
    let state = |sender| two.app.words(&format!("SELECT state FROM messages WHERE sender = '{sender}'"));
    let other = two.app.words("SELECT id FROM messages WHERE sender = 'twilio'").remove(0);
    for (id, status) in
        [(id.clone(), "delivered"), (id, "sent"), (json!(other), "failed"), (json!("999"), "sent")]
    {
        let body = json!({ "message_id": id, "status": status });
        assert_eq!(report(&two, "local", WEBHOOK_SECRET, &body).await.status, 204, "{body}");
    }
    assert_eq!((state("local"), state("twilio")), (vec!["delivered".to_owned()], vec!["queued".to_owned()]));
    let strange = json!({ "message_id": "1", "status": "dancing" });
    assert_eq!(report(&two, "local", WEBHOOK_SECRET, &strange).await.status, 204);
}

#[tokio::test]
async fn s26_of_two_programs_neither_reports_what_the_other_has() {
    let sink = Sink::start();
    sink.reply(ACCEPTED);
    let section = |name| format!("{name}|kind=http|url={}|secret={WEBHOOK_SECRET}", sink.url());
    let sections = format!("{},{}", section("one"), section("other"));
    let variables = [("FRESHK_SMS__SENDERS", "one,other"), ("FRESHK_SENDERS", sections.as_str())];
    let two = Two { app: with(&variables).await, sink };
    assert_eq!(two.app.request(PHONE).await.status, 200);
    let id = two.sink.requests()[0].json()["message_id"].clone();
    for (sender, state) in [("other", "queued"), ("one", "failed")] {
        let body = json!({ "message_id": id, "status": "failed" });
        assert_eq!(report(&two, sender, WEBHOOK_SECRET, &body).await.status, 204);
        let row = two.app.words("SELECT sender || ' ' || state FROM messages");
        assert_eq!(row, [format!("one {state}")], "{sender}");
    }
}

#[tokio::test]
async fn s26_forged_reports_change_nothing_and_count_against_the_pace() {
    let two = Two::new("local,twilio").await;
    two.request().await;
    let body = json!({ "message_id": two.sink.requests()[0].json()["message_id"], "status": "failed" });
    let forged = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for sender in ["local", "nobody", "twilio"] {
        let refused = report(&two, sender, forged, &body).await;
        assert_eq!(refused.verdict(), (403, "bad_signature".to_owned()), "{sender}");
    }
    let old = two.app.clock.wall() - Duration::from_secs(301);
    let signature = WebhookSecret::parse(WEBHOOK_SECRET).unwrap().sign("r1", old, &body.to_string());
    assert_eq!(post(&two, "local", &signature, old, body.to_string()).await.status, 403, "replayed");
    assert_eq!(two.app.words("SELECT state FROM messages"), ["queued"]);
    let mut limited = false;
    for _ in 0..200 {
        limited |= report(&two, "local", forged, &body).await.status == 429;
    }
    assert!(limited, "the flood guard holds");
}

const SECTIONS: &str =
    "wa|kind=whatsapp|content_sid=HX0123456789abcdef0123456789abcdef|from=+15005550009,call|kind=voice";

async fn with_channels() -> App {
    with(&[
        ("FRESHK_SMS__SENDERS", "twilio,wa,call"),
        ("FRESHK_SENDERS", SECTIONS),
        ("FRESHK_LIMITS__IP", "0"),
    ])
    .await
}

async fn ask(app: &App, channel: &str) -> Answer {
    app.post(REQUEST, &json!({ "phone_number": PHONE, "channel": channel })).await
}

#[tokio::test]
async fn another_channel_is_for_a_second_request_and_has_a_code_and_a_unit_of_its_own() {
    let app = with_channels().await;
    let refused = ask(&app, "whatsapp").await;
    assert_eq!(refused.verdict(), (400, "bad_request".to_owned()), "no first code");
    assert!(ask(&app, "pigeon").await.text.contains("whatsapp, voice"));
    assert_eq!(app.request(PHONE).await.status, 200);
    let whatsapp = ask(&app, "whatsapp").await;
    let voice = ask(&app, "voice").await;
    assert_eq!((whatsapp.status, voice.status), (200, 200), "{}", voice.text);
    assert_eq!(app.spent("user"), 3);
    let requests = app.twilio.requests();
    app.twilio.assert_conforming();
    let [sms, wa, call] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(sms.field("From"), Some(NUMBER));
    assert_eq!(
        (wa.field("To"), wa.field("From")),
        (Some(&*format!("whatsapp:{PHONE}")), Some("whatsapp:+15005550009"))
    );
    assert_eq!(
        (wa.field("ContentSid"), wa.field("Body")),
        (Some("HX0123456789abcdef0123456789abcdef"), None)
    );
    assert_eq!(call.path, format!("/2010-04-01/Accounts/{ACCOUNT_SID}/Calls.json"));
    let twiml = call.field("Twiml").unwrap();
    let spoken: String =
        twiml.split("</Say>").next().unwrap().chars().filter(char::is_ascii_digit).skip(1).collect();
    let variables: Value = serde_json::from_str(wa.field("ContentVariables").unwrap()).unwrap();
    assert_ne!(variables["1"], json!(spoken), "each its own code");
    let path = format!("/api/mobile/auth/production/delivery/{}/", voice.header("x-delivery-id"));
    assert_eq!(Answer::of(app.build(Method::GET, &path)).await.json()["channel"], "voice");
    assert_eq!(app.verify(PHONE, &spoken).await.status, 200);
}

#[tokio::test]
async fn a_request_by_another_channel_joins_no_flight() {
    let app = with_channels().await;
    app.request(PHONE).await;
    app.twilio.hold();
    let first = async { app.request(PHONE).await };
    let second = async {
        app.sending(2).await;
        let other = ask(&app, "voice");
        let release = async {
            app.sending(3).await;
            app.twilio.release();
        };
        tokio::join!(other, release).0
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first.status, second.status), (200, 200));
    assert_ne!(first.header("x-delivery-id"), second.header("x-delivery-id"));
    assert_eq!(app.twilio.requests().len(), 3);
}

#[tokio::test]
async fn s26_reports_are_good_under_either_auth_token_while_twilio_rotates_them() {
    let app = with(&[("FRESHK_TWILIO__AUTH_TOKEN_SECONDARY", "the other token of the account")]).await;
    app.request(PHONE).await;
    let sid = crate::callbacks::sid(&app);
    let path = "/api/mobile/auth/sms/twilio/status/";
    let params = [("MessageSid", sid.as_str()), ("MessageStatus", "delivered")];
    let url = format!("https://freshk.example/sub{path}");
    for (token, status) in [("a token of somebody else", 403), ("the other token of the account", 204)] {
        let signed = crate::twilio::signed_callback(token, &url, &params);
        let request = app.build(Method::POST, path).header("x-twilio-signature", signed.signature);
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(signed.body);
        assert_eq!(Answer::of(request).await.status, status);
    }
    assert_eq!(app.words("SELECT state FROM messages"), ["delivered"]);
}

/// Twilio, and after half a minute without a good report a program.
async fn with_after() -> Two {
    with_after_and(&[]).await
}

async fn with_after_and(more: &[(&str, &str)]) -> Two {
    let sink = Sink::start();
    sink.reply(ACCEPTED);
    let section = format!("local|kind=http|after=30s|url={}|secret={WEBHOOK_SECRET}", sink.url());
    let variables = [
        ("FRESHK_SMS__SENDERS", "twilio,local"),
        ("FRESHK_SENDERS", section.as_str()),
        ("FRESHK_LIMITS__IP", "0"),
    ];
    Two { app: with(&[&variables, more].concat()).await, sink }
}

impl Two {
    /// What a server does every second, once nothing of it is under way any more.
    async fn second(&self) {
        self.app.service().auth.send_again().await;
    }

    fn pass(&self, seconds: u64) {
        self.app.clock.advance(Duration::from_secs(seconds));
    }
}

#[tokio::test]
async fn without_a_good_report_in_time_the_next_sender_sends_the_same_code_once() {
    let two = with_after().await;
    let sent = two.app.request(PHONE).await;
    crate::callbacks::report(&two.app, &crate::callbacks::sid(&two.app), "sent", "").await;
    two.pass(29);
    two.second().await;
    assert_eq!(two.sent(), [1, 0]);
    two.pass(1);
    two.second().await;
    assert_eq!(two.sent(), [1, 1]);
    let code = two.sink.requests()[0].json()["variables"]["code"].as_str().unwrap().to_owned();
    assert_eq!(two.app.code(PHONE), code);
    for _ in 0..3 {
        two.pass(60);
        two.second().await;
    }
    assert_eq!(two.sent(), [1, 1], "never a third one");
    assert_eq!(two.app.words("SELECT sender FROM messages ORDER BY id"), ["twilio", "local"]);
    assert_eq!(two.app.spent("user"), 1);
    let id = two.sink.requests()[0].json()["message_id"].clone();
    report(&two, "local", WEBHOOK_SECRET, &json!({ "message_id": id, "status": "delivered" })).await;
    let path = format!("/api/mobile/auth/production/delivery/{}/", sent.header("x-delivery-id"));
    assert_eq!(Answer::of(two.app.build(Method::GET, &path)).await.json()["state"], "delivered");
    assert_eq!(two.app.verify(PHONE, &code).await.status, 200);
}

#[tokio::test]
async fn a_code_that_arrived_was_used_was_replaced_or_surely_failed_is_not_sent_again() {
    for case in ["delivered", "used", "replaced", "refused"] {
        let two = with_after().await;
        if case == "refused" {
            two.app.twilio.always(error(403, 21610));
        }
        two.app.request(PHONE).await;
        match case {
            "delivered" => {
                crate::callbacks::report(&two.app, &crate::callbacks::sid(&two.app), "delivered", "").await;
            }
            "used" => assert_eq!(two.app.verify(PHONE, &two.app.code(PHONE)).await.status, 200),
            "replaced" => {
                two.pass(25);
                two.app.request(PHONE).await;
                two.pass(5);
                two.second().await;
                assert_eq!(two.sent(), [2, 0], "the one that it replaced");
                continue;
            }
            _ => {}
        }
        two.pass(30);
        two.second().await;
        assert_eq!(two.sent(), [1, 0], "{case}");
    }
}

#[tokio::test]
async fn twilio_is_told_which_codes_were_used_where_that_is_wanted() {
    let app = with(&[("FRESHK_TWILIO__FEEDBACK", "true")]).await;
    app.request(PHONE).await;
    let code = app.code(PHONE);
    assert_eq!(app.twilio.requests()[0].field("ProvideFeedback"), Some("true"));
    let sid = crate::callbacks::sid(&app);
    assert_eq!(app.verify(PHONE, "000000").await.status, 400);
    // It never delays or fails a login.
    app.twilio.always(Twilio::Html { http: 500 });
    assert_eq!(app.verify(PHONE, &code).await.status, 200);
    app.sending(2).await;
    let told = app.twilio.requests()[1].clone();
    assert_eq!(told.path, format!("/2010-04-01/Accounts/{ACCOUNT_SID}/Messages/{sid}/Feedback.json"));
    assert_eq!(told.field("Outcome"), Some("confirmed"));
}

#[tokio::test]
async fn a_second_message_is_paid_from_the_budgets_and_given_back_where_it_was_refused() {
    let used = |two: &Two| two.app.count("SELECT sum(used) FROM budgets");
    for (budget, reply, sent, spent) in [
        ("1", ACCEPTED, [1, 0], 1),
        ("2", ACCEPTED, [1, 1], 2),
        ("2", Reply::Says(200, r#"{"status":"refused"}"#), [1, 1], 1),
    ] {
        let two = with_after_and(&[("FRESHK_SMS__BUDGET_PER_DAY", budget)]).await;
        two.sink.reply(reply);
        two.app.request(PHONE).await;
        two.pass(30);
        two.second().await;
        assert_eq!((two.sent(), used(&two)), (sent, spent), "{budget}");
    }
}

#[tokio::test]
async fn a_code_that_can_log_nobody_in_is_not_sent_again() {
    for case in ["guessed", "day", "deactivated", "test number"] {
        let two = with_after_and(&[("FRESHK_OTP__MAX_FAILURES_PER_DAY", "5")]).await;
        two.app.log_in(PHONE).await;
        if case == "day" {
            // Two of the day's five are left for a code that takes five.
            two.app.request(PHONE).await;
            for _ in 0..3 {
                two.app.verify(PHONE, &two.app.wrong_code(PHONE)).await;
            }
        }
        two.app.request(PHONE).await;
        let before = two.sent()[0];
        match case {
            "guessed" | "day" => {
                for _ in 0..5 {
                    two.app.verify(PHONE, &two.app.wrong_code(PHONE)).await;
                }
            }
            "deactivated" => assert_eq!(two.app.execute("UPDATE users SET is_active = 0"), 1),
            _ => {
                let named = crate::test_numbers::name(&two.app, PHONE, Duration::from_hours(1), true).await;
                assert_eq!(named, Ok(()));
            }
        }
        two.pass(30);
        two.second().await;
        assert_eq!(two.sent(), [before, 0], "{case}");
    }
}

#[tokio::test]
async fn a_code_with_less_than_half_a_minute_of_life_is_not_sent_again() {
    for (ttl, sent) in [("60s", [1, 0]), ("61s", [1, 1])] {
        let two = with_after_and(&[("FRESHK_OTP__TTL", ttl)]).await;
        assert_eq!(two.app.request(PHONE).await.status, 200);
        two.pass(30);
        two.second().await;
        assert_eq!(two.sent(), sent, "{ttl}");
    }
}

#[tokio::test]
async fn a_code_for_a_change_of_number_is_sent_again_unless_its_user_was_deactivated() {
    for (is_active, sent) in [(1, 1), (0, 0)] {
        let two = with_after().await;
        let login = two.app.log_in(PHONE).await;
        let asked = crate::number::ask(&two.app, &login, "+1234567899").await;
        assert_eq!(asked.status, 200, "{}", asked.text);
        two.app.execute(&format!("UPDATE users SET is_active = {is_active}"));
        two.pass(30);
        two.second().await;
        assert_eq!(two.sent(), [2, sent], "{is_active}");
    }
}

#[tokio::test]
async fn a_code_whose_first_message_had_no_answer_is_live_once_the_second_is_accepted() {
    let two = with_after().await;
    two.app.twilio.script(vec![Twilio::Html { http: 500 }]);
    assert_eq!(two.app.request(PHONE).await.status, 500);
    assert_eq!(two.app.words("SELECT state FROM challenges"), ["unknown"]);
    two.pass(30);
    two.second().await;
    assert_eq!(
        (two.sent(), two.app.words("SELECT state FROM challenges")),
        ([1, 1], vec!["live".to_owned()])
    );
    let told = "SELECT event FROM audit WHERE event LIKE 'sms_%' ORDER BY id";
    assert_eq!(two.app.words(told), ["sms_failed", "sms_sent"]);
}

#[tokio::test]
async fn s3_a_code_that_is_used_while_its_second_message_goes_out_stays_used() {
    let two = with_after().await;
    two.app.request(PHONE).await;
    two.pass(30);
    two.sink.hold("message_id");
    let meanwhile = async {
        until(|| async { two.sink.requests().len() == 1 }).await;
        assert_eq!(two.app.verify(PHONE, &two.app.code(PHONE)).await.status, 200);
        two.sink.release();
    };
    tokio::join!(two.second(), meanwhile);
    assert_eq!(two.app.words("SELECT state FROM challenges"), ["used"]);
    assert_eq!(two.app.verify(PHONE, &two.app.code(PHONE)).await.code(), "invalid_otp");
}

#[tokio::test]
async fn a_block_holds_back_the_second_messages_of_strangers_alone() {
    const KNOWN: &str = "+4915112345678";
    let two = with_after_and(&[("FRESHK_SMS__GUARD", "on")]).await;
    two.app.log_in(KNOWN).await;
    for n in 0..11 {
        two.app.request_from(&format!("198.18.{n}.7"), &format!("+49151{n:05}000")).await;
    }
    assert_eq!(two.app.request(KNOWN).await.status, 200);
    two.pass(30);
    two.second().await;
    let to: Vec<_> = two.sink.requests().iter().map(|request| request.json()["to"].clone()).collect();
    assert_eq!(to, [KNOWN]);
}

#[tokio::test]
async fn one_lost_message_of_two_is_not_the_codes_loss() {
    let two = with_after().await;
    let sent = two.app.request(PHONE).await;
    two.pass(30);
    two.second().await;
    let id = two.sink.requests()[0].json()["message_id"].clone();
    report(&two, "local", WEBHOOK_SECRET, &json!({ "message_id": id, "status": "failed" })).await;
    let path = format!("/api/mobile/auth/production/delivery/{}/", sent.header("x-delivery-id"));
    assert_eq!(Answer::of(two.app.build(Method::GET, &path)).await.json()["state"], "sent");
    assert_eq!((two.app.spent("user"), two.app.spent("refunds")), (1, 0));
    let sid = two.app.words("SELECT sid FROM messages WHERE sid IS NOT NULL").remove(0);
    crate::callbacks::report(&two.app, &sid, "undelivered", "30003").await;
    assert_eq!((two.app.spent("user"), two.app.spent("refunds")), (0, 1), "now both are lost");
}

#[tokio::test]
async fn a_code_that_is_lost_twice_gives_its_unit_back_once() {
    let two = with_after().await;
    two.app.request(PHONE).await;
    crate::callbacks::report(&two.app, &crate::callbacks::sid(&two.app), "undelivered", "30003").await;
    assert_eq!((two.app.spent("user"), two.app.spent("refunds")), (0, 1));
    two.pass(30);
    two.second().await;
    assert_eq!(two.sent(), [1, 1]);
    let id = two.sink.requests()[0].json()["message_id"].clone();
    report(&two, "local", WEBHOOK_SECRET, &json!({ "message_id": id, "status": "failed" })).await;
    assert_eq!(two.app.words("SELECT state FROM messages"), ["undelivered", "failed"]);
    assert_eq!((two.app.spent("user"), two.app.spent("refunds")), (0, 1));
}

#[tokio::test]
async fn the_cost_of_a_second_message_stands_with_its_country() {
    for (reply, cost) in [(ACCEPTED, 1_000_000), (Reply::Says(200, r#"{"status":"refused"}"#), 500_000)] {
        let two = with_after_and(&[("FRESHK_SMS__PRICE", "default=0.50")]).await;
        two.sink.reply(reply);
        two.app.request(PHONE).await;
        two.pass(30);
        two.second().await;
        assert_eq!(two.app.count("SELECT sum(cost) FROM purchases"), cost);
    }
}

#[tokio::test]
async fn s26_a_report_before_the_answer_counts_and_a_loss_is_given_back_once() {
    for (answer, state, sender) in
        [(Twilio::Accepted, "queued", "twilio"), (error(403, 21610), "failed", "twilio")]
    {
        let two = with_after().await;
        two.app.twilio.always(answer);
        two.app.twilio.hold();
        let asked = async { two.app.request(PHONE).await };
        let meanwhile = async {
            two.app.sending(1).await;
            let id = two.app.words("SELECT CAST(id AS TEXT) FROM messages").remove(0);
            report(&two, "local", WEBHOOK_SECRET, &json!({ "message_id": id, "status": "failed" })).await;
            assert_eq!(two.app.words("SELECT sender || ' ' || state FROM messages"), ["local failed"]);
            two.app.twilio.release();
        };
        tokio::join!(asked, meanwhile);
        let row = two.app.words("SELECT sender || ' ' || state FROM messages").remove(0);
        assert_eq!(row, format!("{sender} {state}"));
        assert_eq!((two.app.spent("user"), two.app.spent("refunds")), (0, 1));
    }
}

#[tokio::test]
async fn a_second_message_is_never_the_one_that_a_block_lets_through() {
    let two = with_after_and(&[("FRESHK_SMS__GUARD", "on")]).await;
    for n in 0..11 {
        two.app.request_from(&format!("198.18.{n}.7"), &format!("+49151{n:05}000")).await;
    }
    two.pass(30);
    assert_eq!(two.app.execute("UPDATE blocks SET probe_at = since WHERE scope = 'country'"), 1);
    two.second().await;
    assert_eq!(two.sent(), [10, 0]);
    assert_eq!(two.app.count("SELECT probe_at - since FROM blocks WHERE scope = 'country'"), 0);
    assert_eq!(two.app.request_from("198.18.99.7", "+4915199999000").await.status, 200, "a first one is");
}

#[tokio::test]
async fn a_call_is_given_back_where_a_program_reports_that_it_has_the_message() {
    let sink = Sink::start();
    sink.reply(ACCEPTED);
    let sections = format!("call|kind=voice,local|kind=http|url={}|secret={WEBHOOK_SECRET}", sink.url());
    let variables = [
        ("FRESHK_SMS__SENDERS", "call,local"),
        ("FRESHK_SENDERS", sections.as_str()),
        ("FRESHK_SMS__VOICE_BUDGET_PER_DAY", "1"),
    ];
    let two = Two { app: with(&variables).await, sink };
    two.app.twilio.script(vec![error(400, 21_214)]);
    two.sink.hold("message_id");
    let asked = async { two.app.request(PHONE).await };
    let meanwhile = async {
        until(|| async { two.sink.requests().len() == 1 }).await;
        let id = two.sink.requests()[0].json()["message_id"].clone();
        report(&two, "local", WEBHOOK_SECRET, &json!({ "message_id": id, "status": "delivered" })).await;
        two.sink.release();
    };
    assert_eq!(tokio::join!(asked, meanwhile).0.status, 200);
    assert_eq!(two.app.words("SELECT sender || ' ' || state FROM messages"), ["local delivered"]);
    assert_eq!(two.app.count("SELECT sum(used) FROM budgets WHERE budget = 'voice'"), 0);
}
