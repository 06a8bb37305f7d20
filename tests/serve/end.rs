//! How the server ends: in good order, in time, and not because nobody listens to what it says.

use std::fs;
use std::io::Read as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::process::{Place, Server};
use crate::twilio::{Answer, FakeTwilio, sms_code};
use crate::{PHONE, answer, client, request, status, verify};

/// Asks for a code and waits until Twilio has the message, whose answer may never come.
fn held(place: &Place, twilio: &FakeTwilio) -> (Server, tokio::task::JoinHandle<Option<u16>>) {
    let server = place.start();
    let call = client().post(server.url(crate::REQUEST)).json(&json!({ "phone_number": PHONE }));
    let caller = tokio::spawn(async move { Some(call.send().await.ok()?.status().as_u16()) });
    // The call runs on another thread of this runtime.
    twilio.wait_for(1);
    (server, caller)
}

#[tokio::test(flavor = "multi_thread")]
async fn s32_a_signal_drains_what_is_under_way_and_refuses_what_is_new() {
    for signal in ["TERM", "INT"] {
        let twilio = FakeTwilio::start();
        twilio.always(Answer::Hang);
        // Twilio never answers: after its time-out the fate is unknown, which is an answer.
        let place = Place::production(&twilio).with("FRESHK_TWILIO__TIMEOUT", "2s");
        let place = place.with("FRESHK_TWILIO__CONNECT_TIMEOUT", "1s");
        let (mut server, caller) = held(&place, &twilio);
        server.signal(signal);
        server.eventually("new connections to be refused", |server| {
            std::net::TcpStream::connect(server.address()).is_err().then_some(())
        });
        assert_eq!(caller.await.unwrap(), Some(500), "{signal}: the answer came");
        assert!(server.ended().success(), "{signal}: {}", server.stderr.text());
        assert!(server.stderr.text().contains("\"stopped\""), "{}", server.stderr.text());
        let states: String =
            place.sql().query_row("SELECT state FROM challenges", [], |row| row.get(0)).unwrap();
        assert_eq!(states, "unknown");
    }
}

/// Other programs are told something by them; here they would end the server.
#[tokio::test(flavor = "multi_thread")]
async fn signals_that_mean_nothing_here_are_ignored() {
    let twilio = FakeTwilio::start();
    let place = Place::production(&twilio);
    let mut server = place.start();
    for signal in ["USR1", "USR2"] {
        server.signal(signal);
        let told = format!("\"signal\":\"SIG{signal}\"");
        server
            .eventually("the signal to be told", |server| server.stderr.text().contains(&told).then_some(()));
        assert!(server.is_running(), "{signal}");
    }
    assert_eq!(request(&server, "198.51.100.1", PHONE).await.0, 200);
    server.signal("TERM");
    assert!(server.ended().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once_and_the_next_start_settles() {
    let twilio = FakeTwilio::start();
    twilio.always(Answer::Hang);
    let place = Place::production(&twilio).with("FRESHK_SERVER__SHUTDOWN_TIMEOUT", "10m");
    let place = place.with("FRESHK_TWILIO__TIMEOUT", "60s");
    let (mut server, caller) = held(&place, &twilio);
    server.signal("TERM");
    server.eventually("the drain to begin", |server| {
        server.stderr.text().contains("shutting down").then_some(())
    });
    assert!(server.is_running(), "a flow is under way");
    server.signal("INT");
    assert!(server.ended().success(), "{}", server.stderr.text());
    assert_eq!(caller.await.unwrap(), None, "its connection was cut");
    drop(server);

    // The SMS may arrive, so its code is good.
    let code = sms_code(&twilio.requests()[0]);
    let server = place.start();
    let (verdict, login) = verify(&server, "198.51.100.1", PHONE, &code).await;
    assert_eq!(verdict, 200, "{login}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_ends_it_too() {
    let twilio = FakeTwilio::start();
    twilio.always(Answer::Hang);
    let place = Place::production(&twilio).with("FRESHK_SERVER__SHUTDOWN_TIMEOUT", "200ms");
    let place = place.with("FRESHK_TWILIO__TIMEOUT", "60s");
    let (mut server, caller) = held(&place, &twilio);
    server.signal("TERM");
    assert!(server.ended().success(), "{}", server.stderr.text());
    assert_eq!(caller.await.unwrap(), None);
    assert!(server.stderr.text().contains("did not finish in time"), "{}", server.stderr.text());
}

#[tokio::test]
async fn a_clean_end_leaves_one_file_that_knows_everything() {
    let twilio = FakeTwilio::start();
    let place = Place::production(&twilio);
    let server = place.start();
    assert_eq!(request(&server, "198.51.100.1", PHONE).await.0, 200);
    let (_, login) = verify(&server, "198.51.100.1", PHONE, &sms_code(&twilio.requests()[0])).await;
    server.stop();
    let log = fs::metadata(place.path().join("freshk.db-wal")).map_or(0, |log| log.len());
    assert_eq!(log, 0, "the write-ahead log is empty");
    let ends: i64 = place
        .sql()
        .query_row("SELECT count(*) FROM audit WHERE event = 'sys_shutdown'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(ends, 1);
    let server = place.start();
    assert_eq!(status(&server, login["access"].as_str().unwrap()).await, 200);
}

#[tokio::test]
async fn s33_every_line_of_production_is_one_json_object() {
    let twilio = FakeTwilio::start();
    let place = Place::production(&twilio).with("FRESHK_LOG__LEVEL", "debug");
    let mut server = place.start();
    assert_eq!(request(&server, "198.51.100.1", PHONE).await.0, 200);
    let (_, login) = verify(&server, "198.51.100.1", PHONE, &sms_code(&twilio.requests()[0])).await;
    server.signal("TERM");
    server.ended();
    let logged = server.eventually("the last line", |server| {
        Some(server.stderr.text()).filter(|text| text.contains("\"stopped\""))
    });
    for line in logged.lines() {
        let record: Value = serde_json::from_str(line).expect(line);
        assert!(record["timestamp"].is_string() && record["level"].is_string(), "{line}");
    }
    assert!(server.stdout.text().is_empty(), "nothing goes to standard output");
    for secret in [
        login["access"].as_str().unwrap(),
        &sms_code(&twilio.requests()[0]),
        PHONE,
        crate::twilio::AUTH_TOKEN,
    ] {
        assert!(!logged.contains(secret), "S34: the log holds a secret");
    }
}

/// `freshk serve | head -1` must go on serving.
#[tokio::test]
async fn nobody_listening_to_its_output_does_not_end_it() {
    let twilio = FakeTwilio::start();
    let place = Place::production(&twilio).with("FRESHK_LOG__LEVEL", "debug");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("127.0.0.1:{port}");
    let mut command = place.command();
    command.args(["--listen", &listen]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut server = Killed(command.spawn().unwrap());
    drop(server.0.stdout.take());
    let mut errors = server.0.stderr.take().unwrap();
    // The first byte of the log, then nobody reads any more.
    errors.read_exact(&mut [0]).unwrap();
    drop(errors);
    let live = format!("http://{listen}/health/ready");
    let mut ready = false;
    for _ in 0..1000 {
        ready = client().get(&live).send().await.is_ok();
        if ready {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(ready, "it serves");
    for _ in 0..3 {
        let call = client().post(format!("http://{listen}{}", crate::REQUEST));
        let (code, sent) = answer(call.json(&json!({ "phone_number": PHONE }))).await;
        assert_eq!(code, 200, "{sent}");
    }
    assert!(server.0.try_wait().unwrap().is_none(), "it is still running");
}

struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
