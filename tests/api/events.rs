//! What happens to users reaches the webhooks: in order, signed, at least once, and without keeping anybody waiting.

use std::time::Duration;

use freshk::domain::webhook::{IN_FLIGHT, WebhookSecret};
use freshk::domain::{Attributes, PhoneNumber};
use freshk::storage::Locks;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::foreign::{activate, deactivate, import, on, operate};
use crate::sink::{Received, Reply, Sink, WEBHOOK_SECRET};
use crate::support::{App, FIRST_ID, PHONE, until};
use crate::{callbacks, deletion, logs, number};

const OTHER: &str = "+1234567899";
const WEBHOOKS: &str = "FRESHK_WEBHOOKS";

/// An app with one webhook that is told of everything.
async fn start() -> (App, Sink) {
    with("").await
}

/// The same, told of these events.
async fn with(events: &str) -> (App, Sink) {
    let sink = Sink::start();
    let webhook = sink.webhook("shop", events);
    (App::with(&[(WEBHOOKS, &webhook), ("FRESHK_LIMITS__IP", "0")]).await, sink)
}

fn waiting(app: &App) -> i64 {
    app.count("SELECT count(*) FROM deliveries WHERE state = 'waiting'")
}

fn user_of(received: &Received) -> Value {
    received.json()["data"]["user"].clone()
}

/// Each user's events, as they came, by phone.
fn kinds_of(requests: &[Received], phone: &str) -> Vec<String> {
    let of = requests.iter().filter(|received| user_of(received)["phone_number"] == phone);
    of.map(Received::kind).collect()
}

fn count(requests: &[Received]) -> usize {
    requests.len()
}

/// After a round of the dispatcher these lines are among the metrics.
async fn assert_figures(app: &mut App, lines: &[&str]) {
    app.dispatcher().tidy().await.unwrap();
    let (_, page) = app.operations("/metrics").await;
    for line in lines {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
}

#[tokio::test]
async fn a_first_login_is_told_in_order_and_signed() {
    let (mut app, sink) = start().await;
    app.request(PHONE).await;
    app.deliver().await;
    assert_eq!(sink.take_kinds(), [""; 0], "nobody has proven the number");
    app.verify(PHONE, &app.code(PHONE)).await;
    app.deliver().await;
    let requests = sink.requests();
    assert_eq!(sink.take_kinds(), ["user.created", "user.verified", "session.created"]);
    let secret = WebhookSecret::parse(WEBHOOK_SECRET).unwrap();
    let mut ids = Vec::new();
    for received in &requests {
        assert_eq!(received.path, "/freshk/webhook/");
        assert_eq!(received.header("content-type"), "application/json");
        let (id, at) = (received.header("webhook-id"), app.now());
        assert_eq!(received.header("webhook-timestamp"), at.as_secs().to_string());
        assert_eq!(received.header("webhook-signature"), secret.sign(id, at, &received.body));
        assert!(id.starts_with("evt_") && !ids.contains(&id), "{id}");
        ids.push(id);
        assert_eq!(received.json()["timestamp"], "2026-01-01T00:00:00.000Z");
        assert_eq!(
            user_of(received),
            json!({
                "id": FIRST_ID, "username": "user_1234567890", "phone_number": PHONE, "role": "retailer",
                "is_active": true, "phone_verified": true, "date_joined": "2026-01-01T00:00:00.000Z", "version": 1,
            })
        );
    }
    let session = requests[2].json()["data"]["session"].clone();
    assert_eq!(session["ip"], "127.0.0.1");
    assert_eq!(session["id"], app.words("SELECT id FROM sessions")[0]);
    assert_eq!(waiting(&app), 0);
    assert_eq!(app.count("SELECT count(*) FROM delivery_queues"), 0);
    app.log_in(PHONE).await;
    app.deliver().await;
    assert_eq!(sink.take_kinds(), ["session.created"], "the user is known by now");
}

#[tokio::test]
async fn without_a_webhook_for_it_nothing_is_written() {
    let app = App::start().await;
    app.log_in(PHONE).await;
    assert_eq!(app.count("SELECT count(*) FROM events"), 0);
    let (mut app, sink) = with("user.deactivated").await;
    app.log_in(PHONE).await;
    assert_eq!(app.count("SELECT count(*) FROM events"), 0);
    deactivate(&app, FIRST_ID).await;
    app.deliver().await;
    assert_eq!(sink.take_kinds(), ["user.deactivated"]);
}

#[tokio::test]
async fn what_the_operator_does_is_told_and_versions_rise() {
    let (mut app, sink) = start().await;
    let other = PhoneNumber::parse(OTHER, 10).unwrap();
    let new = PhoneNumber::parse(PHONE, 10).unwrap();
    operate(&app, move |operator| operator.create(&new, "retailer", false)).await.unwrap();
    on(&app, FIRST_ID, |operator, user| operator.set_role(user, "customer")).await;
    deactivate(&app, FIRST_ID).await;
    activate(&app, FIRST_ID).await;
    on(&app, FIRST_ID, move |operator, user| operator.set_phone(user, &other)).await.unwrap();
    let attributes = Attributes::default().with("shop", json!(7)).unwrap();
    on(&app, FIRST_ID, move |operator, user| operator.set_attributes(user, attributes.clone())).await;
    import(&app, Some(7), PHONE).await;
    app.deliver().await;
    let requests = sink.requests();
    let told: Vec<_> = requests
        .iter()
        .map(|received| {
            let user = user_of(received);
            let word = |name: &str| user[name].to_string().replace('"', "");
            format!("{} {} {} {}", received.kind(), word("id"), word("role"), word("version"))
        })
        .collect();
    let mut told = told;
    // Those of two users come side by side.
    told.sort_by_key(|line| line.contains(" 7 "));
    assert_eq!(
        told,
        [
            format!("user.created {FIRST_ID} retailer 1"),
            format!("user.updated {FIRST_ID} customer 2"),
            format!("user.deactivated {FIRST_ID} customer 3"),
            format!("user.activated {FIRST_ID} customer 4"),
            format!("user.phone_changed {FIRST_ID} customer 5"),
            format!("user.updated {FIRST_ID} customer 6"),
            "user.created 7 retailer 1".to_owned(),
        ]
    );
    app.log_in(OTHER).await;
    app.deliver().await;
    assert_eq!(sink.take_kinds()[7..], ["user.verified", "session.created"], "created once");
}

#[tokio::test]
async fn the_end_of_a_session_is_told_with_its_reason() {
    let (mut app, sink) = with("session.ended+user.deactivated").await;
    let tokens = app.log_in(PHONE).await;
    app.post("/api/mobile/auth/logout/", &json!({ "refresh": tokens["refresh"] })).await;
    app.log_in(PHONE).await;
    deactivate(&app, FIRST_ID).await;
    app.deliver().await;
    let requests = sink.requests();
    assert_eq!(sink.take_kinds(), ["session.ended", "user.deactivated", "session.ended"]);
    let reason = |place: usize| requests[place].json()["data"]["session"]["reason"].clone();
    assert_eq!((reason(0), reason(2)), (json!("logout"), json!("deactivated")));
}

#[tokio::test]
async fn an_event_that_was_not_taken_comes_again_under_its_id_and_the_next_waits_behind_it() {
    let (mut app, sink) = start().await;
    sink.reply(Reply::Status(500));
    app.log_in(PHONE).await;
    app.deliver().await;
    for pause in [5, 60, 300, 1800, 7200] {
        let before = count(&sink.requests());
        // Seen to be down, it is tried every 30 s; the schedule is looked at where that would come later.
        app.clock.advance(Duration::from_secs(pause.min(29) - 1));
        app.deliver().await;
        assert_eq!(count(&sink.requests()), before, "not before its time");
        app.clock.advance(Duration::from_secs(pause));
        app.deliver().await;
        assert_eq!(count(&sink.requests()), before + 1);
    }
    let requests = sink.requests();
    assert!(requests.iter().all(|received| received.kind() == "user.created"), "the others wait");
    let ids: Vec<_> = requests.iter().map(|received| received.header("webhook-id")).collect();
    assert!(ids.iter().all(|id| *id == ids[0]));
    let times: Vec<_> = requests.iter().map(|received| received.header("webhook-timestamp")).collect();
    assert!(times.is_sorted() && times[0] != times[1], "that of the attempt");
    sink.reply(Reply::Taken);
    sink.take_kinds();
    app.clock.advance(Duration::from_secs(30));
    app.deliver().await;
    assert_eq!(sink.take_kinds(), ["user.created", "user.verified", "session.created"]);
}

#[tokio::test]
async fn one_user_whose_event_is_refused_keeps_no_other_waiting() {
    let (mut app, sink) = start().await;
    sink.refuse(Some(PHONE));
    app.log_in(PHONE).await;
    app.log_in(OTHER).await;
    app.deliver().await;
    let requests = sink.requests();
    assert_eq!(kinds_of(&requests, OTHER), ["user.created", "user.verified", "session.created"]);
    assert_eq!(kinds_of(&requests, PHONE), ["user.created"]);
    // Others are taken all the time: it comes again, though not without a rest.
    for _ in 0..10 {
        app.clock.advance(Duration::from_secs(2));
        on(&app, FIRST_ID + 1, |operator, user| operator.set_role(user, "retailer")).await;
        app.deliver().await;
    }
    let tried = kinds_of(&sink.requests(), PHONE).len();
    assert!((2..=5).contains(&tried), "{tried} attempts in twenty seconds");
    sink.refuse(None);
    app.clock.advance(Duration::from_secs(30));
    on(&app, FIRST_ID + 1, |operator, user| operator.set_role(user, "retailer")).await;
    app.deliver().await;
    assert_eq!(waiting(&app), 0, "one success makes everything due");
}

#[tokio::test]
async fn a_webhook_that_was_dead_for_an_hour_has_everything_within_a_minute_of_its_return() {
    let (mut app, sink) = start().await;
    sink.reply(Reply::Nothing);
    for number in 0..40 {
        app.log_in(&format!("+15550000{number:03}")).await;
    }
    for _ in 0..120 {
        app.deliver().await;
        app.clock.advance(Duration::from_secs(30));
    }
    assert_eq!(waiting(&app), 120);
    let dead = sink.take_kinds().len();
    assert!(dead < 40 * 5 + 150, "{dead} attempts: a probe each 30 s, and the schedule of each");
    sink.reply(Reply::Taken);
    for _ in 0..2 {
        app.clock.advance(Duration::from_secs(30));
        app.deliver().await;
    }
    assert_eq!(waiting(&app), 0);
}

/// One that refuses an event works: it is asked again by the schedule of that event alone.
#[tokio::test]
async fn a_webhook_that_refuses_an_event_is_not_tried_early() {
    let (mut app, sink) = with("user.created").await;
    sink.reply(Reply::Status(422));
    app.log_in(PHONE).await;
    app.deliver().await;
    for _ in 0..40 {
        app.clock.advance(Duration::from_secs(30));
        app.deliver().await;
    }
    assert_eq!(
        count(&sink.requests()),
        4,
        "at once, after 5 s, 60 s and 300 s; the next one comes after half an hour"
    );
}

#[tokio::test]
async fn so_many_events_are_under_way_to_a_webhook_and_no_more() {
    let (mut app, sink) = with("user.created").await;
    for number in 0..20 {
        app.log_in(&format!("+15550000{number:03}")).await;
    }
    sink.hold("+1555");
    let stop = CancellationToken::new();
    let dispatching = tokio::spawn(app.take_dispatcher().run(stop.clone()));
    until(async || count(&sink.requests()) >= IN_FLIGHT).await;
    // Each write has the dispatcher look for more.
    for number in 20..25 {
        app.log_in(&format!("+15550000{number:03}")).await;
    }
    assert_eq!(count(&sink.requests()), IN_FLIGHT);
    let waits =
        async || app.operations("/metrics").await.1.contains("freshk_events_waiting{webhook=\"shop\"} 20");
    until(waits).await;
    sink.release();
    until(async || waiting(&app) == 0).await;
    assert_eq!(count(&sink.requests()), 25);
    stop.cancel();
    dispatching.await.unwrap();
}

#[tokio::test]
async fn what_waits_for_a_webhook_that_was_gone_goes_at_once_when_it_is_enabled() {
    let (mut app, sink) = with("user.created").await;
    sink.reply(Reply::Status(410));
    app.log_in(PHONE).await;
    app.deliver().await;
    sink.reply(Reply::Taken);
    app.service().store.write(Locks::none(), |tx| tx.switch_webhook("shop", None)).await.unwrap();
    app.deliver().await;
    assert_eq!((sink.take_kinds().len(), waiting(&app)), (2, 0));
}

#[tokio::test]
async fn a_webhook_that_is_gone_is_switched_off_until_it_is_enabled() {
    let (mut app, sink) = start().await;
    sink.reply(Reply::Status(410));
    app.log_in(PHONE).await;
    app.deliver().await;
    assert_eq!(sink.take_kinds(), ["user.created"]);
    sink.reply(Reply::Taken);
    for _ in 0..3 {
        app.clock.advance(Duration::from_hours(7));
        app.deliver().await;
    }
    assert_eq!(sink.take_kinds(), [""; 0]);
    let lines = ["freshk_webhook_off{webhook=\"shop\"} 1", "freshk_events_waiting{webhook=\"shop\"} 3"];
    assert_figures(&mut app, &lines).await;
    app.service().store.write(Locks::none(), |tx| tx.switch_webhook("shop", None)).await.unwrap();
    app.deliver().await;
    assert_eq!(sink.take_kinds(), ["user.created", "user.verified", "session.created"]);
}

#[tokio::test]
async fn redirects_endless_answers_and_failed_tls() {
    let (mut app, sink) = with("user.created").await;
    let elsewhere = Sink::start();
    app.log_in(PHONE).await;
    for (reply, answer) in [
        (Reply::Redirect(elsewhere.url()), "307"),
        (Reply::Status(302), "302"),
        (Reply::Nothing, "connection failed"),
        (Reply::Endless, "200"),
    ] {
        sink.reply(reply);
        app.deliver().await;
        let noted = app.words("SELECT answer FROM deliveries").remove(0);
        assert!(noted.contains(answer), "{noted}");
        app.clock.advance(Duration::from_hours(1));
    }
    assert_eq!(waiting(&app), 0, "whatever its body, 200 is taken");
    assert_eq!(count(&elsewhere.requests()), 0);
    let over_tls = sink.webhook("tls", "user.created").replace("http://", "https://");
    let mut app = App::with(&[(WEBHOOKS, &over_tls)]).await;
    app.log_in(PHONE).await;
    app.deliver().await;
    assert_eq!(app.words("SELECT answer FROM deliveries"), ["TLS failed"]);
}

#[tokio::test]
async fn a_webhook_that_hangs_delays_no_login_and_nobody_elses_events() {
    let (mut app, sink) = start().await;
    app.log_in(PHONE).await;
    app.log_in(OTHER).await;
    sink.hold(PHONE);
    let stop = CancellationToken::new();
    let dispatching = tokio::spawn(app.take_dispatcher().run(stop.clone()));
    until(async || kinds_of(&sink.requests(), OTHER).len() == 3).await;
    let access = app.log_in(PHONE).await["access"].as_str().unwrap().to_owned();
    assert_eq!(app.status(&access).await.status, 200);
    // A new event sets out by itself, while the other still hangs.
    on(&app, FIRST_ID + 1, |operator, user| operator.set_role(user, "retailer")).await;
    until(async || kinds_of(&sink.requests(), OTHER).len() == 4).await;
    assert_eq!(kinds_of(&sink.requests(), PHONE), ["user.created"]);
    sink.release();
    until(async || waiting(&app) == 0).await;
    let told = ["user.created", "user.verified", "session.created", "session.created"];
    assert_eq!(kinds_of(&sink.requests(), PHONE), told);
    stop.cancel();
    dispatching.await.unwrap();
}

#[tokio::test]
async fn what_was_committed_is_there_after_the_end_and_comes_under_its_id() {
    let (mut app, sink) = start().await;
    app.log_in(PHONE).await;
    assert_eq!(count(&sink.requests()), 0);
    let ids = app.words("SELECT name FROM events ORDER BY id");
    app.restart().await;
    app.deliver().await;
    let sent: Vec<_> =
        sink.requests().iter().map(|received| received.header("webhook-id").to_owned()).collect();
    assert_eq!(sent, ids);
}

#[tokio::test]
async fn what_was_told_comes_again_under_its_id_when_it_is_replayed() {
    let (mut app, sink) = start().await;
    app.log_in(PHONE).await;
    app.deliver().await;
    let at = app.now();
    let store = app.service().store;
    let again = store.write(Locks::none(), move |tx| {
        for (number, _) in tx.events_before(freshk::domain::EventNumber(i64::MAX), None, 10)? {
            tx.replay_event("shop", number, at)?;
        }
        Ok(())
    });
    again.await.unwrap();
    app.deliver().await;
    let requests = sink.requests();
    let ids: Vec<_> = requests.iter().map(|received| received.header("webhook-id")).collect();
    assert_eq!(ids[..3], ids[3..], "in their order again");
}

#[tokio::test]
async fn of_a_deleted_user_the_id_alone_is_told_also_in_what_waits() {
    let (mut app, sink) = start().await;
    sink.reply(Reply::Status(500));
    app.log_in(PHONE).await;
    app.deliver().await;
    sink.take_kinds();
    on(&app, FIRST_ID, |operator, user| operator.delete(user)).await;
    assert_eq!(app.count("SELECT count(*) FROM events WHERE data IS NOT NULL"), 0);
    sink.reply(Reply::Taken);
    app.clock.advance(Duration::from_mins(1));
    app.deliver().await;
    let requests = sink.requests();
    assert_eq!(sink.take_kinds(), ["user.created", "user.verified", "session.created", "user.deleted"]);
    for received in &requests {
        assert_eq!(received.json()["data"], json!({ "user": { "id": FIRST_ID } }));
    }
}

#[tokio::test]
async fn a_deletion_by_its_owner_is_told_when_it_is_done_and_its_restoring_is_not() {
    let sink = Sink::start();
    let webhook = sink.webhook("shop", "user.created+user.updated+user.verified+user.deleted");
    let variables = [(WEBHOOKS, webhook.as_str()), ("FRESHK_USERS__DELETION_GRACE", "7d")];
    let mut app = App::with(&variables).await;
    let login = app.log_in(PHONE).await;
    deletion::delete_with_code(&app, &deletion::access(&login)).await;
    app.clock.advance(Duration::from_hours(1));
    let login = app.log_in(PHONE).await;
    assert_eq!(login["restored"], true);
    app.deliver().await;
    assert_eq!(sink.take_kinds(), ["user.created", "user.verified"]);
    app.clock.advance(Duration::from_hours(1));
    let login = crate::foreign::pair(&app, login["refresh"].as_str().unwrap()).await;
    deletion::delete_with_code(&app, &deletion::access(&login)).await;
    app.clock.advance(Duration::from_hours(7 * 24));
    app.service().auth.maintain().await.unwrap();
    app.deliver().await;
    let requests = sink.requests();
    assert_eq!(sink.take_kinds(), ["user.deleted"]);
    assert_eq!(requests[0].json()["data"], json!({ "user": { "id": FIRST_ID } }));
    assert_eq!(app.count("SELECT count(*) FROM events WHERE data IS NOT NULL"), 0);
}

#[tokio::test]
async fn a_change_of_number_is_told_once_it_is_done() {
    let (mut app, sink) = with("user.created+user.phone_changed+user.deleted+session.ended").await;
    let (_other, login) = (app.log_in(PHONE).await, app.log_in(PHONE).await);
    // Somebody has asked for a code for that number and never entered it: nobody knows of that user, who makes way.
    app.request(OTHER).await;
    assert_eq!(number::change(&app, &login, OTHER).await.status, 200);
    app.deliver().await;
    let requests = sink.requests();
    assert_eq!(sink.take_kinds(), ["user.created", "user.phone_changed", "session.ended"]);
    let user = user_of(&requests[1]);
    assert_eq!((&user["phone_number"], &user["username"]), (&json!(OTHER), &json!("user_1234567899")));
    assert_eq!(requests[2].json()["data"]["session"]["reason"], "number_changed");
    // Without a code from the number before it waits a day.
    let new = "+1987654321";
    number::begin(&app, &login, new).await;
    app.deliver().await;
    assert_eq!(sink.take_kinds(), [""; 0]);
    app.clock.advance(Duration::from_hours(24));
    app.service().auth.maintain().await.unwrap();
    app.deliver().await;
    let requests = sink.requests();
    assert_eq!(sink.take_kinds(), ["user.phone_changed"]);
    assert_eq!(user_of(&requests[0])["phone_number"], new);
}

#[tokio::test]
async fn a_number_that_nobody_proved_leaves_no_event_when_it_is_forgotten() {
    let (mut app, sink) = start().await;
    app.request(PHONE).await;
    app.clock.advance(Duration::from_hours(30 * 24));
    app.service().auth.maintain().await.unwrap();
    assert_eq!(app.count("SELECT count(*) FROM users"), 0);
    app.deliver().await;
    assert_eq!(count(&sink.requests()), 0);
}

#[tokio::test]
async fn a_message_that_did_not_arrive_is_told() {
    let sink = Sink::start();
    let webhook = sink.webhook("shop", "sms.undelivered");
    let mut app = callbacks::with(&[(WEBHOOKS, &webhook)]).await;
    app.request(PHONE).await;
    callbacks::report(&app, &callbacks::sid(&app), "undelivered", "30003").await;
    app.deliver().await;
    let requests = sink.requests();
    assert_eq!(sink.take_kinds(), ["sms.undelivered"]);
    let data = requests[0].json()["data"].clone();
    assert_eq!(
        (&data["message"]["state"], &data["message"]["error_code"]),
        (&json!("undelivered"), &json!(30003))
    );
    assert_eq!(data["user"]["id"], FIRST_ID);
}

#[tokio::test]
async fn what_waits_for_five_days_or_is_too_much_is_dropped_the_oldest_first() {
    let sink = Sink::start();
    let webhook = sink.webhook("shop", "user.created+session.created");
    let variables =
        [(WEBHOOKS, webhook.as_str()), ("FRESHK_EVENTS__MAX_WAITING", "3"), ("FRESHK_LIMITS__IP", "0")];
    let mut app = App::with(&variables).await;
    sink.reply(Reply::Status(503));
    app.log_in(PHONE).await;
    app.clock.advance(Duration::from_secs(1));
    app.log_in(OTHER).await;
    app.dispatcher().tidy().await.unwrap();
    assert_eq!(waiting(&app), 3);
    assert_eq!(app.words("SELECT event_id FROM deliveries WHERE state = 'dropped'"), ["1"]);
    let (_, page) = app.operations("/metrics").await;
    assert!(page.contains("freshk_events_dropped_total{webhook=\"shop\"} 1"), "{page}");
    // By the time of whatever deletes, which a clock that leaps does not move.
    app.clock.leap_ahead(Duration::from_hours(6 * 24));
    app.dispatcher().tidy().await.unwrap();
    assert_eq!(waiting(&app), 3);
    for _ in 0..6 * 24 {
        app.clock.advance(Duration::from_hours(1));
        app.service().auth.maintain().await.unwrap();
    }
    app.dispatcher().tidy().await.unwrap();
    assert_eq!((waiting(&app), app.count("SELECT count(*) FROM delivery_queues")), (0, 0));
}

#[tokio::test]
async fn events_are_forgotten_when_their_retention_is_over() {
    let (mut app, _sink) = start().await;
    app.log_in(PHONE).await;
    app.deliver().await;
    app.clock.advance(Duration::from_hours(6 * 24));
    app.service().auth.maintain().await.unwrap();
    assert_eq!(app.count("SELECT count(*) FROM events"), 3);
    app.clock.advance(Duration::from_hours(2 * 24));
    app.service().auth.maintain().await.unwrap();
    assert_eq!(app.count("SELECT count(*) FROM events"), 0);
}

#[tokio::test]
async fn each_webhook_goes_its_own_way() {
    let (one, other) = (Sink::start(), Sink::start());
    let webhooks = format!("{},{}", one.webhook("one", ""), other.webhook("other", "user.created"));
    let mut app = App::with(&[(WEBHOOKS, &webhooks)]).await;
    one.reply(Reply::Status(503));
    app.log_in(PHONE).await;
    app.deliver().await;
    assert_eq!(other.take_kinds(), ["user.created"]);
    assert_eq!(waiting(&app), 3);
    assert_eq!(app.count("SELECT count(*) FROM events"), 3);
    let lines = [
        "freshk_events_waiting{webhook=\"one\"} 3",
        "freshk_events_waiting{webhook=\"other\"} 0",
        "freshk_events_delivered_total{webhook=\"other\"} 1",
        "freshk_events_delivered_total{webhook=\"one\"} 0",
        "freshk_event_failures_total{webhook=\"one\"} 1",
        "freshk_event_failures_total{webhook=\"other\"} 0",
    ];
    assert_figures(&mut app, &lines).await;
}

#[tokio::test]
async fn of_a_registration_that_made_way_for_a_change_of_number_no_event_says_more_than_the_id() {
    let sink = Sink::start();
    let app = callbacks::with(&[("FRESHK_WEBHOOKS", &sink.webhook("shop", "sms.undelivered"))]).await;
    let login = app.log_in(PHONE).await;
    app.request(OTHER).await;
    callbacks::report(&app, &callbacks::sid(&app), "undelivered", "30003").await;
    let told = || app.count("SELECT count(*) FROM events WHERE data IS NOT NULL");
    assert_eq!(told(), 1);
    assert_eq!(number::change(&app, &login, OTHER).await.status, 200);
    assert_eq!(told(), 0);
}

#[tokio::test]
async fn the_log_names_what_a_webhook_does_not_take_and_what_waits_for_one_that_is_not_there() {
    let name = "the_log_names_what_a_webhook_does_not_take_and_what_waits_for_one_that_is_not_there";
    let Some(log) = logs::catch(module_path!(), name, "debug") else { return };
    let (mut app, sink) = with("user.created").await;
    let told = |level: &str| {
        let records = log.records();
        let told = records.iter().filter(|line| line["level"] == level && line["webhook"].is_string());
        told.map(|line| line["webhook"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    app.log_in(PHONE).await;
    app.execute("UPDATE deliveries SET webhook = 'gone'");
    app.log_in(OTHER).await;
    app.dispatcher().tidy().await.unwrap();
    assert_eq!(told("ERROR"), [""; 0], "nothing was dropped");
    sink.reply(Reply::Status(500));
    app.deliver().await;
    assert_eq!((told("WARN"), told("DEBUG")), (vec!["shop".to_owned()], vec![]));
    sink.reply(Reply::Taken);
    app.clock.advance(Duration::from_mins(1));
    app.deliver().await;
    assert_eq!((told("WARN").len(), told("DEBUG")), (1, vec!["shop".to_owned()]));
    app.execute("UPDATE deliveries SET state = 'waiting', settled_at = NULL");
    let stop = CancellationToken::new();
    let dispatching = tokio::spawn(app.take_dispatcher().run(stop.clone()));
    until(async || told("WARN").len() == 2).await;
    stop.cancel();
    dispatching.await.unwrap();
    assert_eq!(told("WARN"), ["shop", "gone"], "what waits for one that is there is no news");
}
