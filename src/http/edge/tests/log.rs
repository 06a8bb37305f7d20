//! What the edge writes into the log.

use super::*;
use crate::telemetry::{self, Format};
use std::process::Command;
use std::sync::Mutex;

/// Says so in the environment of a test that runs alone.
const ALONE: &str = "TEST_ALONE";

/// Nothing in a process that runs nothing but the test `name`; in any other, what such a process wrote to standard error.
/// `tracing` remembers for the whole process whether anybody listens to a line, and tests beside this one would make it
/// remember that nobody does.
fn elsewhere(name: &str) -> Option<String> {
    if std::env::var_os(ALONE).is_some() {
        return None;
    }
    let name = format!("{}::{name}", module_path!().split_once("::").unwrap().1);
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--exact", &name, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
    Some(String::from_utf8(output.stderr).unwrap())
}

/// Where the log goes in tests.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn lines(&self) -> Vec<Value> {
        let bytes = self.0.lock().unwrap();
        assert!(bytes.iter().all(|b| *b == b'\n' || !b.is_ascii_control()));
        std::str::from_utf8(&bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn logged() -> (Sink, tracing::subscriber::DefaultGuard) {
    let sink = Sink::default();
    let writer = sink.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(move || writer.clone())
        .finish();
    (sink, tracing::subscriber::set_default(subscriber))
}

/// Once by the panic itself, as the program sets it up, and once as a request that failed like any other.
#[tokio::test]
async fn s32_a_panic_is_an_answer_and_is_logged_once_with_its_request() {
    if let Some(logged) = elsewhere("s32_a_panic_is_an_answer_and_is_logged_once_with_its_request") {
        let lines: Vec<Value> = logged.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        assert_eq!(lines.len(), 2, "{logged}");
        assert_eq!(lines[0]["text"], "a test panicked\nwith a second line");
        assert!(lines[0]["place"].as_str().unwrap().contains("demo.rs:"), "{logged}");
        assert_eq!((&lines[1]["message"], &lines[1]["status"]), (&"request".into(), &500.into()));
        assert!(
            lines[0]["request_id"].is_string() && lines[0]["request_id"] == lines[1]["request_id"],
            "{logged}"
        );
        return;
    }
    let sink = telemetry::tracker::sink::Sink::start();
    let logging = telemetry::init("info", Format::Json, None, Some(sink.tracker())).unwrap();
    let edge = edge();
    let panicking = request(Method::POST, "/api/mobile/auth/panic/").header("x-forwarded-for", "203.0.113.7");
    let (response, body) = send(&edge, panicking.finish()).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(body["code"], "internal_error");
    assert!(!body.to_string().contains("test panicked"));
    let (again, _) = send(&edge, request(Method::GET, "/health/live").finish()).await;
    assert_eq!(again.status(), StatusCode::OK);
    drop(logging);
    let [report] = &sink.reports()[..] else { panic!("{:?}", sink.reports()) };
    assert_eq!(report["tags"]["request_id"], *response.header("x-request-id").unwrap());
}

#[tokio::test]
async fn s34_one_line_for_each_request_with_its_name_and_no_text_of_the_clients() {
    if elsewhere("s34_one_line_for_each_request_with_its_name_and_no_text_of_the_clients").is_some() {
        return;
    }
    let (sink, guard) = logged();
    let whoami = request(Method::GET, "/api/mobile/auth/whoami/").header("x-forwarded-for", "203.0.113.7");
    let (response, _) = send(&edge(), whoami.finish()).await;
    let id = response.header("x-request-id").unwrap();
    let evil = request(Method::from_bytes(b"EVILMETHOD").unwrap(), "/evil%0d%0a%1b[31m?evil=%0a")
        .header("user-agent", "evil\u{9b}")
        .header("x-forwarded-for", "evil\u{9b}31m")
        .finish();
    send(&edge(), evil).await;
    drop(guard);

    let lines = sink.lines();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0]["fields"]["message"], "inside");
    assert!(lines[..2].iter().all(|line| line["span"]["request_id"] == *id));
    assert_eq!(lines[1]["level"], "DEBUG");
    assert_eq!(lines[1]["fields"]["route"], "/api/mobile/auth/whoami/");
    assert_eq!(lines[1]["fields"]["status"], 200);
    assert_eq!(lines[1]["fields"]["method"], "GET");
    assert!(lines[1]["fields"]["latency_ms"].is_u64());
    assert_eq!(
        (&lines[2]["level"], &lines[2]["fields"]["peer"]),
        (&json!("WARN"), &json!("10.0.0.1")),
        "S37"
    );
    assert_eq!(lines[3]["fields"]["code"], "not_found");
    for line in &lines[2..] {
        assert!(!line.to_string().contains("evil") && !line.to_string().contains("EVIL"), "{line}");
    }
}
