//! What became of messages, asked of Twilio where it cannot report it: without a public address.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use crate::sink::{Reply, Sink, WEBHOOK_SECRET};
use crate::support::{Answer, App, PHONE, until};
use crate::twilio::ACCOUNT_SID;

/// What a server does every second, once nothing of it is under way any more.
async fn second(app: &App) {
    app.clock.advance(Duration::from_secs(1));
    let auth = app.service().auth;
    auth.ask().await;
    auth.send_again().await;
}

async fn pass(app: &App, seconds: usize) {
    for _ in 0..seconds {
        second(app).await;
    }
}

async fn arrival(app: &App, request: &Answer) -> Value {
    let path = format!("/api/mobile/auth/production/delivery/{}/", request.header("x-delivery-id"));
    Answer::of(app.build(Method::GET, &path)).await.json()
}

#[tokio::test]
async fn without_a_public_address_the_state_of_a_delivery_is_asked_for() {
    let app = App::with(&[]).await;
    let request = app.request(PHONE).await;
    let sid = crate::callbacks::sid(&app);
    pass(&app, 1).await;
    assert_eq!(app.twilio.asked(), Vec::<String>::new());
    app.twilio.progress(&sid, "delivered", None);
    pass(&app, 1).await;
    assert_eq!(app.twilio.asked(), [format!("/2010-04-01/Accounts/{ACCOUNT_SID}/Messages/{sid}.json")]);
    assert_eq!(arrival(&app, &request).await["state"], "delivered");
    pass(&app, 620).await;
    assert_eq!(app.twilio.asked().len(), 1, "nothing more becomes of it");
    app.twilio.assert_conforming();
    assert_eq!(app.count("SELECT count(*) FROM audit WHERE event = 'sms_undelivered'"), 0);
}

#[tokio::test]
async fn the_pauses_grow_and_end_after_ten_minutes() {
    let app = App::with(&[]).await;
    app.request(PHONE).await;
    let (mut asked, mut at) = (0, Vec::new());
    for second_of in 1..=700 {
        second(&app).await;
        if app.twilio.asked().len() > asked {
            asked = app.twilio.asked().len();
            at.push(second_of);
        }
    }
    assert_eq!(at, [2, 6, 14, 30, 62, 122, 182, 242, 302, 362, 422, 482, 542]);
}

#[tokio::test]
async fn a_message_that_did_not_arrive_gives_its_unit_back() {
    let app = App::with(&[]).await;
    let request = app.request(PHONE).await;
    app.twilio.progress(&crate::callbacks::sid(&app), "undelivered", Some(30_003));
    pass(&app, 2).await;
    assert_eq!(arrival(&app, &request).await["state"], "undelivered");
    assert_eq!((app.spent("user"), app.spent("refunds")), (0, 1));
    assert_eq!(app.words("SELECT CAST(error_code AS TEXT) FROM messages"), ["30003"]);
}

#[tokio::test]
async fn who_does_not_answer_is_asked_again() {
    let app = App::with(&[]).await;
    let request = app.request(PHONE).await;
    app.twilio.progress(&crate::callbacks::sid(&app), "delivered", None);
    app.twilio.answer_nothing(true);
    pass(&app, 5).await;
    assert_eq!(arrival(&app, &request).await["state"], "sent");
    app.twilio.answer_nothing(false);
    pass(&app, 1).await;
    assert_eq!(
        (arrival(&app, &request).await["state"].clone(), app.twilio.asked().len()),
        ("delivered".into(), 2)
    );
}

#[tokio::test]
async fn calls_are_asked_after_as_calls() {
    let voice = [("FRESHK_SMS__SENDERS", "call"), ("FRESHK_SENDERS", "call|kind=voice")];
    let app = App::with(&voice).await;
    let request = app.request(PHONE).await;
    let sid = crate::callbacks::sid(&app);
    app.twilio.progress(&sid, "no-answer", None);
    pass(&app, 2).await;
    assert_eq!(app.twilio.asked(), [format!("/2010-04-01/Accounts/{ACCOUNT_SID}/Calls/{sid}.json")]);
    assert_eq!(arrival(&app, &request).await["state"], "undelivered");
}

#[tokio::test]
async fn where_twilio_reports_nobody_asks() {
    let app = crate::callbacks::with(&[]).await;
    app.request(PHONE).await;
    pass(&app, 10).await;
    assert_eq!(app.twilio.asked().len(), 0);
}

#[tokio::test]
async fn at_most_ten_messages_are_asked_after_in_a_second() {
    let app = App::with(&[("FRESHK_LIMITS__IP", "0"), ("FRESHK_LIMITS__FLOOD_PER_SECOND", "0")]).await;
    for n in 0..25 {
        assert_eq!(app.request(&format!("+1999{n:07}")).await.status, 200);
    }
    pass(&app, 2).await;
    assert_eq!(app.twilio.asked().len(), 10);
    pass(&app, 1).await;
    assert_eq!(app.twilio.asked().len(), 20);
}

#[tokio::test]
async fn a_restart_goes_on_asking() {
    let mut app = App::with(&[]).await;
    let request = app.request(PHONE).await;
    let sid = crate::callbacks::sid(&app);
    app.restart().await;
    app.twilio.progress(&sid, "delivered", None);
    pass(&app, 1).await;
    assert_eq!(arrival(&app, &request).await["state"], "delivered");
    app.restart().await;
    pass(&app, 10).await;
    assert_eq!(app.twilio.asked().len(), 1, "nothing more becomes of it");
}

/// The database is read in pages of 200.
#[tokio::test]
async fn a_restart_finds_the_one_of_many_messages_that_has_not_come_to_its_end() {
    let mut app = App::with(&[("FRESHK_LIMITS__IP", "0"), ("FRESHK_LIMITS__FLOOD_PER_SECOND", "0")]).await;
    for n in 0..205 {
        assert_eq!(app.request(&format!("+1999{n:07}")).await.status, 200);
    }
    let sid = app.word("SELECT sid FROM messages ORDER BY id");
    app.execute("UPDATE messages SET state = 'delivered' WHERE id > (SELECT min(id) FROM messages)");
    app.restart().await;
    pass(&app, 1).await;
    assert_eq!(app.twilio.asked(), [format!("/2010-04-01/Accounts/{ACCOUNT_SID}/Messages/{sid}.json")]);
}

#[tokio::test]
async fn after_a_while_without_a_report_the_next_sender_sends_unless_the_code_has_arrived_by_then() {
    for (progress, sent) in [("sent", 1), ("delivered", 0)] {
        let sink = Sink::start();
        sink.reply(Reply::Says(200, r#"{"status":"accepted"}"#));
        let section = format!("local|kind=http|after=45s|url={}|secret={WEBHOOK_SECRET}", sink.url());
        let app = App::with(&[("FRESHK_SMS__SENDERS", "twilio,local"), ("FRESHK_SENDERS", &section)]).await;
        app.request(PHONE).await;
        pass(&app, 44).await;
        assert_eq!((sink.requests().len(), app.twilio.asked().len()), (0, 4));
        app.twilio.progress(&crate::callbacks::sid(&app), progress, None);
        pass(&app, 1).await;
        assert_eq!(sink.requests().len(), sent, "{progress}: asked at the 30th second, and once more now");
        assert_eq!(app.twilio.asked().len(), 5);
    }
}

/// Twilio, and after 45 seconds without a good report a program.
async fn with_after() -> (App, Sink) {
    let sink = Sink::start();
    sink.reply(Reply::Says(200, r#"{"status":"accepted"}"#));
    let section = format!("local|kind=http|after=45s|url={}|secret={WEBHOOK_SECRET}", sink.url());
    let variables = [
        ("FRESHK_SMS__SENDERS", "twilio,local"),
        ("FRESHK_SENDERS", section.as_str()),
        ("FRESHK_LIMITS__IP", "0"),
        ("FRESHK_LIMITS__FLOOD_PER_SECOND", "0"),
    ];
    (App::with(&variables).await, sink)
}

#[tokio::test]
async fn nobody_asks_after_a_code_that_needs_no_second_message() {
    let (app, sink) = with_after().await;
    app.log_in(PHONE).await;
    app.clock.advance(Duration::from_secs(45));
    app.service().auth.send_again().await;
    assert_eq!((app.twilio.asked().len(), sink.requests().len()), (0, 0));
}

#[tokio::test]
async fn at_most_ten_are_asked_after_at_once_before_second_messages() {
    let (app, sink) = with_after().await;
    for n in 0..15 {
        assert_eq!(app.request(&format!("+1999{n:07}")).await.status, 200);
    }
    app.clock.advance(Duration::from_secs(45));
    app.twilio.hold();
    let sending = tokio::spawn(app.service().auth.send_again());
    until(|| async { app.twilio.asked().len() >= 10 }).await;
    for _ in 0..20 {
        assert_eq!(Answer::of(app.build(Method::GET, "/health/ready")).await.status, 200);
    }
    assert_eq!(app.twilio.asked().len(), 10);
    app.twilio.release();
    sending.await.unwrap();
    assert_eq!((app.twilio.asked().len(), sink.requests().len()), (15, 15));
}

#[tokio::test]
async fn what_is_known_before_the_answer_of_the_provider_is_written_stays_known() {
    let app = App::with(&[]).await;
    app.break_all("UPDATE ON challenges");
    assert_eq!(app.request(PHONE).await.status, 200);
    app.mend();
    assert_eq!(app.words("SELECT state FROM messages"), ["intended"]);
    // Its first question says what it is called.
    app.twilio.answer_nothing(true);
    pass(&app, 2).await;
    let path = app.twilio.asked().remove(0);
    let sid = path.rsplit('/').next().unwrap().trim_end_matches(".json");
    app.twilio.answer_nothing(false);
    app.twilio.progress(sid, "delivered", None);
    pass(&app, 4).await;
    app.service().auth.maintain().await.unwrap();
    assert_eq!(app.words("SELECT state FROM messages"), ["delivered"]);
    assert_eq!(app.words("SELECT state FROM challenges"), ["live"]);
    assert_eq!(app.words("SELECT sid FROM messages"), [sid]);
}
