//! `serve --dev`, as the README begins: the guide's own curl lines, the code read from the console.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::process::{Place, Server};
use crate::twilio::FakeTwilio;
use crate::{PHONE, REQUEST, STATUS, VERIFY, answer, client, post};

/// The guide's lines, to the letter.
const GUIDE: [&str; 2] = [
    r#"curl -X POST http://localhost:8000/api/mobile/auth/production/request/ \
  -H "Content-Type: application/json" \
  -d '{"phone_number": "+1234567890"}'"#,
    r#"curl -X POST http://localhost:8000/api/mobile/auth/production/verify/ \
  -H "Content-Type: application/json" \
  -d '{"phone_number": "+1234567890", "otp": "123456"}'"#,
];

/// Runs a line of the guide in a shell, on this server's port. On a machine without curl the same bytes go out by hand: the
/// tests need nothing that is not there.
fn curl(server: &Server, line: &str) -> Value {
    let line = line.replace("localhost:8000", &format!("localhost:{}", server.address().port()));
    if Command::new("curl").arg("--version").output().is_err() {
        return by_hand(server, &line);
    }
    let output = Command::new("sh").args(["-c", &line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What curl makes of the line: one POST with its path and its `-d`.
fn by_hand(server: &Server, line: &str) -> Value {
    let path = line.split("localhost").nth(1).unwrap().split_whitespace().next().unwrap();
    let path = &path[path.find('/').unwrap()..];
    let body = line.split("-d '").nth(1).unwrap().trim_end_matches('\'');
    let length = body.len();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}

/// The codes on the console, oldest first.
fn printed(server: &Server) -> Vec<String> {
    let text = server.stdout.text();
    let after = text.split("code is ").skip(1);
    after.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect()).collect()
}

fn wait_for_code(server: &mut Server, count: usize) -> String {
    server.eventually("a code on the console", |server| printed(server).get(count - 1).cloned())
}

#[test]
fn the_guides_own_lines_give_the_guides_answers() {
    let place = Place::dev();
    let mut server = place.start();
    let sent = curl(&server, GUIDE[0]);
    assert_eq!(
        sent,
        json!({ "message": "Verification code sent successfully", "is_new_user": true, "expires_in": 600 })
    );
    let code = wait_for_code(&mut server, 1);
    assert!(server.stdout.text().contains(PHONE), "{}", server.stdout.text());
    if code != "123456" {
        let refused = curl(&server, GUIDE[1]);
        assert_eq!(
            (&refused["error"], &refused["code"]),
            (&json!("Invalid or expired OTP"), &json!("invalid_otp"))
        );
    }
    let login = curl(&server, &GUIDE[1].replace("123456\"", &format!("{code}\"")));
    assert_eq!(login["message"], "Authentication successful");
    assert_eq!(
        login["user"],
        json!({
            "id": 1_000_000_001, "username": "user_1234567890", "phone_number": PHONE, "role": "retailer", "phone_verified": true,
        })
    );
    for token in ["access", "refresh"] {
        assert!(
            login[token].as_str().unwrap().starts_with("eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9."),
            "{login}"
        );
    }
    assert!(!server.stderr.text().contains(&code), "the log holds the code");
    server.stop();
}

#[test]
fn the_banner_says_where_the_api_the_docs_and_the_database_are() {
    let place = Place::dev();
    let mut server = place.start();
    let address = server.address().to_string();
    let banner = server
        .eventually("the banner", |server| Some(server.stdout.text()).filter(|text| text.contains("codes ")));
    for words in [
        format!("API       http://{address}/api/mobile/auth/\n"),
        format!("docs      http://{address}/docs\n"),
        "database  freshk.db\n".to_owned(),
        "not for production".to_owned(),
    ] {
        assert!(banner.contains(&words), "{words:?} is missing from:\n{banner}");
    }
}

/// Six codes for one phone, where production has three an hour.
async fn six_codes(server: &Server) -> Vec<u16> {
    let mut verdicts = Vec::new();
    for _ in 0..6 {
        verdicts.push(post(server, "", REQUEST, &json!({ "phone_number": PHONE })).await.0);
    }
    verdicts
}

#[tokio::test]
async fn the_limits_are_those_of_production_unless_a_flag_turns_them_off_and_the_banner_tells_both() {
    let place = Place::dev();
    let mut server = place.start();
    let banner = server.eventually("the banner", |server| {
        Some(server.stdout.text()).filter(|text| text.contains("limits "))
    });
    assert!(banner.contains("limits    5 calls per address and 3 codes per phone in 1h\n"), "{banner}");
    assert!(banner.contains("--no-limits") && banner.contains("--lan"), "{banner}");
    assert!(banner.lines().all(|line| line.chars().count() <= 80), "{banner}");
    assert_eq!(six_codes(&server).await, [200, 200, 200, 429, 429, 429]);

    let place = Place::dev().argument("--no-limits").with("FRESHK_LIMITS__IP", "5");
    let mut server = place.start();
    let banner = server.eventually("the banner", |server| {
        Some(server.stdout.text()).filter(|text| text.contains("limits "))
    });
    assert!(banner.contains("limits    off: "), "{banner}");
    assert_eq!(six_codes(&server).await, [200; 6]);
}

#[test]
fn nothing_but_development_on_the_console_is_without_limits() {
    let twilio = FakeTwilio::start();
    Place::production(&twilio).argument("--no-limits").refused().assert_usage(&["--dev"]);
    Place::production(&twilio).argument("--lan").refused().assert_usage(&["--dev"]);
    let place = Place::production(&twilio).argument("--dev").argument("--no-limits");
    place
        .with("FRESHK_SMS__PROVIDER", "twilio")
        .refused()
        .assert_usage(&["could buy a message", "leave it out"]);
}

#[tokio::test]
async fn a_phone_on_the_same_network_is_let_in_where_a_flag_asks_for_it() {
    let place = Place::dev().argument("--lan");
    // The address in the log is the loopback one where the banner shows it.
    let mut command = place.command();
    command.args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let api = lines.find(|line| line.contains("API ")).unwrap();
    let port: u16 = api.rsplit_once(':').unwrap().1.split('/').next().unwrap().parse().unwrap();
    // 127.0.0.2 is another address of this machine.
    let answer = client().get(format!("http://127.0.0.2:{port}/health/live")).send().await;
    let phones: Vec<_> = lines.take(3).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(answer.unwrap().status(), 200);
    let emulator = format!("an Android emulator: http://10.0.2.2:{port}");
    assert!(phones.iter().any(|line| line.contains(&emulator)), "{phones:?}");
    assert!(!phones.iter().any(|line| line.contains("--lan")), "{phones:?}");
}

#[tokio::test]
async fn the_testing_mode_is_isolated_from_production() {
    let place = Place::dev();
    let mut server = place.start();
    let body = json!({ "phone_number": PHONE });
    let (sent, _) = answer(client().post(server.url("/api/mobile/auth/request/")).json(&body)).await;
    assert_eq!(sent, 200);
    let code = wait_for_code(&mut server, 1);
    let body = json!({ "phone_number": PHONE, "otp": code });
    let (production, refused) = answer(client().post(server.url(VERIFY)).json(&body)).await;
    assert_eq!((production, &refused["code"]), (400, &json!("invalid_otp")), "{refused}");
    let (testing, login) = answer(client().post(server.url("/api/mobile/auth/verify/")).json(&body)).await;
    assert_eq!(testing, 200, "{login}");
    // Three units of the testing mode spent leave production's whole.
    for _ in 0..2 {
        let body = json!({ "phone_number": PHONE });
        assert_eq!(answer(client().post(server.url("/api/mobile/auth/request/")).json(&body)).await.0, 200);
    }
    let body = json!({ "phone_number": PHONE });
    assert_eq!(answer(client().post(server.url("/api/mobile/auth/request/")).json(&body)).await.0, 429);
    assert_eq!(answer(client().post(server.url(REQUEST)).json(&body)).await.0, 200);
}

#[tokio::test]
async fn the_secret_of_debug_outlives_a_restart_and_files_are_the_owners_alone() {
    let place = Place::dev();
    let mut server = place.start();
    assert_eq!(post(&server, "", REQUEST, &json!({ "phone_number": PHONE })).await.0, 200);
    let code = wait_for_code(&mut server, 1);
    let (_, login) = post(&server, "", VERIFY, &json!({ "phone_number": PHONE, "otp": code })).await;
    for file in place.path().read_dir().unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?} has mode {mode:o}", file.file_name());
    }
    server.stop();
    let server = place.start();
    let access = login["access"].as_str().unwrap();
    let (status, known) = answer(client().get(server.url(STATUS)).bearer_auth(access)).await;
    assert_eq!((status, &known["user"]["phone_number"]), (200, &json!(PHONE)));
}

#[tokio::test]
async fn docs_and_description_are_served_without_anything_from_elsewhere() {
    let place = Place::dev();
    let server = place.start();
    let response = client().get(server.url("/docs")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("http"), "{policy}");
    assert!(response.text().await.unwrap().starts_with("<!doctype html>\n<html lang=\"en\">"));
    let (status, description) = answer(client().get(server.url("/openapi.json"))).await;
    assert_eq!(status, 200);
    assert_eq!(description["servers"][0]["url"], "/");
    assert!(description["paths"]["/api/mobile/auth/request/"].is_object());
    let callback = "/api/mobile/auth/sms/twilio/status/";
    assert!(description["paths"][callback].is_null(), "what a provider calls is nothing for an app");
    let (status, callbacks) = answer(client().get(server.url("/openapi-callbacks.json"))).await;
    assert_eq!(status, 200);
    assert!(callbacks["paths"][callback]["post"].is_object());
}
