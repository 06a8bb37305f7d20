//! The operator's page and the alarms of a server that no monitoring system looks at.

use serde_json::Value;

use crate::process::{Place, Server};
use crate::sink::{Received, Reply, Sink};
use crate::twilio::FakeTwilio;
use crate::{PHONE, client, request};

/// A production server without backups, which an alarm tells of at its first reading.
fn start(twilio: &FakeTwilio, settings: &[(&str, &str)]) -> (Place, Server) {
    let place = Place::production(twilio).with("FRESHK_OPS__LISTEN", "127.0.0.1:0");
    let place = settings.iter().fold(place, |place, (name, value)| place.with(name, value));
    let server = place.start();
    (place, server)
}

fn posted(sink: &Sink) -> Vec<Value> {
    sink.requests().iter().filter(|received| !received.body.is_empty()).map(Received::json).collect()
}

async fn page(server: &Server, host: &str) -> reqwest::Response {
    let url = format!("http://{}/", server.operations());
    client().get(url).header("host", host).send().await.unwrap()
}

#[tokio::test]
async fn an_alarm_is_posted_once_and_the_heartbeat_goes_on_while_nobody_must_act_now() {
    let (twilio, alerts, heartbeat) = (FakeTwilio::start(), Sink::start(), Sink::start());
    let settings =
        [("FRESHK_OPS__ALERT_URL", &*alerts.url()), ("FRESHK_OPS__HEARTBEAT_URL", &heartbeat.url())];
    let (_place, mut server) = start(&twilio, &settings);
    server.eventually("the heartbeat", |_| (!heartbeat.requests().is_empty()).then_some(()));
    let told = server.eventually("the alarm", |_| Some(posted(&alerts)).filter(|told| !told.is_empty()));
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0]["alert"], &told[0]["state"]), (&"FreshKBackupOld".into(), &"opened".into()));
    assert_eq!(told[0]["severity"], "ticket");
    assert!(told[0]["text"].as_str().unwrap().contains("backup"), "{told:?}");
    assert!(server.stderr.text().contains("FreshKBackupOld"), "it is in the log, too");
    // The place that alarms go to is a secret of who receives them.
    assert!(!server.stderr.text().contains(&alerts.url()));
}

#[tokio::test]
async fn an_alarm_runs_a_command_that_no_shell_reads() {
    let twilio = FakeTwilio::start();
    let command = "sh -c 'printf \"%s|\" \"$@\" > told' sh {alert} {state} {severity} {text}";
    let (place, mut server) = start(&twilio, &[("FRESHK_OPS__ALERT_COMMAND", command)]);
    let told = server.eventually("the command", |_| {
        let text = std::fs::read_to_string(place.path().join("told")).unwrap_or_default();
        (text.matches('|').count() == 4).then_some(text)
    });
    assert!(told.starts_with("FreshKBackupOld|opened|ticket|FreshK: "), "{told}");
}

#[tokio::test]
async fn a_receiver_that_fails_stops_nothing_and_is_said_so() {
    let (twilio, alerts) = (FakeTwilio::start(), Sink::start());
    alerts.reply(Reply::Status(500));
    let (_place, mut server) = start(&twilio, &[("FRESHK_OPS__ALERT_URL", &alerts.url())]);
    server.eventually("the fault", |server| server.stderr.text().contains("it answered 500").then_some(()));
    assert_eq!(request(&server, "203.0.113.7", PHONE).await.0, 200);
}

#[tokio::test]
async fn the_page_tells_how_it_stands_to_who_asks_by_a_name_of_this_machine() {
    let twilio = FakeTwilio::start();
    let (_place, mut server) = start(&twilio, &[("ALLOWED_HOSTS", "auth.example.com,.example.org")]);
    let own = server.operations().to_string();
    server.eventually("the first reading", |server| {
        server.stderr.text().contains("FreshKBackupOld").then_some(())
    });
    let answer = page(&server, &own).await;
    assert_eq!(answer.status(), 200);
    let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(header("content-type").as_deref(), Some("text/html; charset=utf-8"));
    assert_eq!(header("cache-control").as_deref(), Some("no-store"));
    let policy = header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let text = answer.text().await.unwrap();
    for part in ["1 alarm is open", "FreshKBackupOld", "sys_startup", "<svg", "room on the disk"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("<script"));
    for (host, expected) in [
        ("localhost:8001", 200),
        ("[::1]:8001", 200),
        ("auth.example.com", 200),
        ("ops.example.org:8001", 200),
        ("notexample.org", 400),
        ("evil.example", 400),
        ("", 400),
    ] {
        assert_eq!(page(&server, host).await.status(), expected, "{host:?}");
    }
    // Looking at the page is no reading by a monitoring system.
    let metrics = client().get(format!("http://{own}/metrics")).header("user-agent", "freshk-check");
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("freshk_last_scrape_timestamp_seconds 0"));
}
