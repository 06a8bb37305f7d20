//! What a crash leaves in the middle of a send, and how the next start settles it.

use std::time::Duration;

use crate::support::{App, PHONE};
use crate::twilio::Answer as Twilio;

/// Puts the rows back to where they were between write#1 and write#2, as a crash leaves them.
fn as_a_crash_leaves_it(app: &App) {
    app.execute("DELETE FROM users");
    app.execute("UPDATE messages SET state = 'intended', sid = NULL");
    let changed = app.execute(
        "UPDATE challenges SET state = 'sending', settled_at = NULL, result = NULL WHERE state = 'live'",
    );
    assert_eq!(changed, 1);
}

fn assert_unknown(app: &App) {
    assert_eq!(app.words("SELECT state FROM challenges"), ["unknown"]);
    assert_eq!(app.words("SELECT state FROM messages"), ["unknown"]);
    assert_eq!(app.words("SELECT phone FROM users"), [PHONE]);
    assert_eq!((app.spent("user"), app.spent("refunds")), (1, 0));
    let told = app.words("SELECT detail FROM audit WHERE event = 'sms_failed'");
    assert_eq!(told, ["unknown: its flow ended"]);
}

#[tokio::test]
async fn a_restart_leaves_code_user_and_spent_quota() {
    let mut app = App::start().await;
    app.request(PHONE).await;
    app.stop().await;
    as_a_crash_leaves_it(&app);
    app.boot().await;
    assert_unknown(&app);
    let login = app.verify(PHONE, &app.code(PHONE)).await;
    assert_eq!(login.status, 200, "{}", login.text);
    assert_eq!(app.words("SELECT state FROM challenges"), ["used"]);
    assert_eq!(app.twilio.requests().len(), 1, "no second SMS is bought");
}

#[tokio::test]
async fn a_restart_settles_once() {
    let mut app = App::start().await;
    app.request(PHONE).await;
    app.stop().await;
    as_a_crash_leaves_it(&app);
    app.boot().await;
    app.restart().await;
    assert_unknown(&app);
}

#[tokio::test]
async fn maintenance_settles_what_lost_its_flow_and_nothing_younger() {
    let app = App::start().await;
    app.request(PHONE).await;
    as_a_crash_leaves_it(&app);
    // Twilio's deadline and a little.
    app.clock.advance(Duration::from_secs(12));
    app.service().auth.maintain().await.unwrap();
    assert_eq!(app.words("SELECT state FROM challenges"), ["sending"]);
    app.clock.advance(Duration::from_millis(1));
    app.service().auth.maintain().await.unwrap();
    assert_unknown(&app);
    assert_eq!(app.verify(PHONE, &app.code(PHONE)).await.status, 200);
}

/// Before maintenance ran, a request does not wait for a flow that is gone.
#[tokio::test]
async fn a_request_after_the_deadline_leads_anew() {
    let app = App::start().await;
    app.request(PHONE).await;
    let older = app.code(PHONE);
    as_a_crash_leaves_it(&app);
    app.clock.advance(Duration::from_secs(12));
    assert_eq!(app.request(PHONE).await.status, 200);
    assert_eq!(app.twilio.requests().len(), 2);
    assert_eq!(app.words("SELECT state FROM challenges ORDER BY id"), ["void", "live"]);
    assert_eq!(app.verify(PHONE, &older).await.code(), "invalid_otp");
}

#[tokio::test]
async fn a_used_code_stays_used_over_a_restart() {
    let mut app = App::start().await;
    app.log_in(PHONE).await;
    let code = app.code(PHONE);
    app.restart().await;
    assert_eq!(app.verify(PHONE, &code).await.code(), "invalid_otp");
}

/// The SMS arrived and its code was used, and then the process went before Twilio's answer.
#[tokio::test]
async fn a_restart_settles_the_message_of_a_used_code() {
    let mut app = App::start().await;
    app.log_in(PHONE).await;
    app.stop().await;
    app.execute("UPDATE messages SET state = 'intended', sid = NULL");
    app.execute("UPDATE challenges SET settled_at = NULL, result = NULL");
    app.boot().await;
    assert_eq!(app.words("SELECT state || ' ' || result FROM challenges"), ["used unknown"]);
    assert_eq!(app.words("SELECT state FROM messages"), ["unknown"]);
    assert_eq!(app.spent("refunds"), 0);
}

/// Twilio's report came, and then the process went before its answer: the report is proof enough.
#[tokio::test]
async fn a_report_before_the_crash_makes_the_code_live() {
    let mut app = App::start().await;
    app.request(PHONE).await;
    app.stop().await;
    as_a_crash_leaves_it(&app);
    app.execute("UPDATE messages SET state = 'delivered'");
    app.boot().await;
    assert_eq!(app.words("SELECT state FROM challenges"), ["live"]);
    assert_eq!(app.words("SELECT state FROM messages"), ["delivered"]);
    assert_eq!(app.words("SELECT phone FROM users"), [PHONE]);
    assert_eq!(app.verify(PHONE, &app.code(PHONE)).await.status, 200);
}

/// The end of a stop in good order waits for the SMS under way, and settles it.
#[tokio::test]
async fn a_stop_waits_for_the_sms_under_way() {
    let mut app = App::start().await;
    app.twilio.hold();
    let service = app.service();
    let stopping = async {
        app.sending(1).await;
        assert!(!service.auth.finish(Duration::from_millis(50)).await, "a flow is under way");
        app.twilio.release();
        assert!(service.auth.finish(Duration::from_secs(20)).await);
        assert_eq!(app.words("SELECT state FROM challenges"), ["live"]);
    };
    let (asked, ()) = tokio::join!(app.request(PHONE), stopping);
    assert_eq!(asked.status, 200);
    app.stop().await;
}

#[tokio::test]
async fn an_unknown_send_is_settled_before_the_next_start_has_anything_to_do() {
    let mut app = App::start().await;
    app.twilio.always(Twilio::ResetAfterBody);
    app.request(PHONE).await;
    app.restart().await;
    assert_eq!(app.count("SELECT count(*) FROM audit WHERE event = 'sms_failed'"), 1);
    assert_eq!(app.words("SELECT state FROM challenges"), ["unknown"]);
}

const MESSAGES: &str = "SELECT state FROM messages ORDER BY id";
const SMS_LINES: &str = "SELECT event FROM audit WHERE event LIKE 'sms%' ORDER BY id";

#[tokio::test]
async fn where_settling_failed_the_next_request_settles_and_leads() {
    for (answer, status, message, line, units) in [
        (Twilio::Accepted, 200, "queued", "sms_sent", 2),
        (Twilio::Html { http: 503 }, 500, "unknown", "sms_failed", 2),
        (Twilio::Error { http: 400, code: 30450, message: "blocked" }, 500, "failed", "sms_failed", 1),
    ] {
        let app = App::start().await;
        app.twilio.script(vec![answer.clone()]);
        app.break_all("UPDATE ON messages");
        assert_eq!(app.request(PHONE).await.status, status, "{answer:?}");
        assert_eq!(app.words("SELECT state FROM challenges"), ["sending"], "{answer:?}");
        app.mend();
        let (one, other) = tokio::join!(app.request(PHONE), app.request(PHONE));
        assert_eq!((one.status, other.status), (200, 200), "{answer:?}: {}", one.text);
        assert_eq!(app.words("SELECT state FROM challenges ORDER BY id"), ["void", "live"], "{answer:?}");
        assert_eq!(app.words(MESSAGES), [message, "queued"], "{answer:?}");
        assert_eq!(app.words(SMS_LINES), [line, "sms_sent"], "{answer:?}: each is told once");
        assert_eq!(app.spent("user"), units, "{answer:?}");
        assert_eq!(app.spent("refunds"), 2 - units, "{answer:?}: a unit comes back once");
    }
}

#[tokio::test]
async fn while_settling_goes_on_failing_the_next_request_leads_all_the_same() {
    let app = App::start().await;
    app.break_all("UPDATE ON messages");
    for sent in 1..=3 {
        assert_eq!(app.request(PHONE).await.status, 200);
        assert_eq!(app.twilio.requests().len(), sent);
    }
    assert_eq!(app.words("SELECT state FROM challenges"), ["sending"; 3]);
    app.mend();
    assert_eq!(app.verify(PHONE, &app.code(PHONE)).await.status, 200);
    assert_eq!(app.words("SELECT state FROM challenges ORDER BY id"), ["void", "void", "used"]);
    assert_eq!(app.words(MESSAGES), ["queued"; 3]);
}

#[tokio::test]
async fn s4_where_settling_failed_verify_knows_that_the_newer_sms_was_accepted() {
    let app = App::start().await;
    app.request(PHONE).await;
    let older = app.code(PHONE);
    app.break_all("UPDATE ON messages");
    assert_eq!(app.request(PHONE).await.status, 200);
    app.mend();
    assert_eq!(app.verify(PHONE, &older).await.code(), "invalid_otp");
    assert_eq!(app.verify(PHONE, &app.code(PHONE)).await.status, 200);
}

#[tokio::test]
async fn where_settling_failed_maintenance_writes_what_is_known() {
    let app = App::start().await;
    app.break_all("UPDATE ON messages");
    app.request(PHONE).await;
    app.mend();
    // Past Twilio's deadline, so that all but what is known would be taken for lost.
    app.clock.advance(Duration::from_mins(1));
    app.service().auth.maintain().await.unwrap();
    assert_eq!(app.words("SELECT state FROM challenges"), ["live"]);
    assert_eq!(app.words(MESSAGES), ["queued"]);
    assert_eq!(app.words("SELECT phone FROM users"), [PHONE]);
    app.service().auth.maintain().await.unwrap();
    assert_eq!(app.words(SMS_LINES), ["sms_sent"]);
}
