//! SIGHUP: the configuration is read again and taken over, as a whole or not at all.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use freshk::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};

use crate::process::{Place, SECRET, Server};
use crate::twilio::{FakeTwilio, sms_code};
use crate::{PHONE, answer, client, request, status, verify};

const OTHER_SECRET: &str = "another secret for tests, of more than thirty-two bytes";
const TEST_NUMBER: &str = "+15005550009";
const TEST_CODE: &str = "827364";

/// Writes the configuration file.
fn configure(place: &Place, toml: &str) {
    let file = place.path().join("freshk.toml");
    fs::write(&file, toml).unwrap();
    fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
}

/// Writes the file and has the server read it; gives what is logged from then on until it is done.
fn reload(server: &mut Server, place: &Place, toml: &str) -> String {
    configure(place, toml);
    let before = server.stderr.text().len();
    server.signal("HUP");
    server.eventually("the reload to end", |server| {
        let told = server.stderr.text().split_off(before);
        let is_done = ["was reloaded", "was not reloaded"].iter().any(|end| told.contains(end));
        is_done.then_some(told)
    })
}

/// A table of the configuration with a test number.
fn test_number(phone: &str) -> String {
    let until = (SystemClock::new().now() + Duration::from_hours(48)).iso();
    format!("[[sms.test_numbers]]\nphone = \"{phone}\"\ncode = \"{TEST_CODE}\"\nuntil = \"{until}\"\n")
}

/// What is not HTTP gets a line at the level debug.
fn garble(server: &Server) {
    TcpStream::connect(server.address()).unwrap().write_all(b"\x16\x03\x01nonsense\r\n\r\n").unwrap();
}

#[tokio::test]
async fn limits_level_text_and_test_numbers_are_taken_over_while_the_server_runs() {
    let twilio = FakeTwilio::start();
    let place = Place::production(&twilio);
    configure(&place, "[limits]\nip = 2\n");
    let mut server = place.start();
    garble(&server);
    for (phone, expected) in [("+1234567891", 200), ("+1234567892", 200), ("+1234567893", 429)] {
        assert_eq!(request(&server, "198.51.100.1", phone).await.0, expected);
    }
    let toml = format!(
        "[limits]\nip = 6\n[sms]\ntemplate = \"Acme: {{code}}\"\n{}[log]\nlevel = \"debug\"\n",
        test_number(TEST_NUMBER)
    );
    let told = reload(&mut server, &place, &toml);
    assert!(told.contains("limits.ip, sms.template, sms.test_numbers, log.level"), "{told}");
    assert!(!told.contains("need a restart") && !told.contains(TEST_CODE), "{told}");
    server.eventually("the line of the audit trail", |server| {
        server.stderr.text().contains("sys_reload").then_some(())
    });

    // The address was refused before, and memory knows.
    assert_eq!(request(&server, "198.51.100.1", "+1234567893").await.0, 200);
    assert!(twilio.requests()[2].field("Body").unwrap().starts_with("Acme: "));
    assert_eq!(request(&server, "198.51.100.1", TEST_NUMBER).await.0, 200);
    assert_eq!(verify(&server, "198.51.100.1", TEST_NUMBER, TEST_CODE).await.0, 200);
    assert_eq!(twilio.requests().len(), 3, "a test number gets no SMS");
    assert!(!server.stderr.text().contains("connection ended"), "the first garbled one was not logged");
    garble(&server);
    server.eventually("a line at the level debug", |server| {
        server.stderr.text().contains("connection ended").then_some(())
    });

    // What is taken out again is gone.
    reload(&mut server, &place, "[limits]\nip = 6\n");
    let (code, refused) = verify(&server, "198.51.100.2", TEST_NUMBER, TEST_CODE).await;
    assert_eq!(code, 400, "{refused}");
}

#[tokio::test]
async fn a_configuration_with_a_fault_leaves_the_one_before_in_force_as_a_whole() {
    let twilio = FakeTwilio::start();
    let place = Place::production(&twilio);
    configure(&place, "[limits]\nip = 2\n");
    let mut server = place.start();
    assert_eq!(request(&server, "198.51.100.1", PHONE).await.0, 200);
    verify(&server, "198.51.100.1", PHONE, &sms_code(&twilio.requests()[0])).await;
    let more = "[limits]\nip = 100\n";
    for (toml, words) in [
        (
            format!("{more}[otp]\nttl = \"soon\"\n"),
            vec!["otp.ttl", "freshk.toml", "soon", "write a duration"],
        ),
        (format!("{more}[otp\n"), vec!["it is not TOML at line 3"]),
        (format!("{more}[nonsense]\nx = 1\n"), vec!["nonsense.x", "there is no such key"]),
        // Only the database knows that this number has a user.
        (format!("{more}{}", test_number(PHONE)), vec!["sms.test_numbers", "existing_user = true"]),
        (format!("debug = true\n{more}"), vec!["debug has changed", "restart the server"]),
    ] {
        let told = reload(&mut server, &place, &toml);
        assert!(told.contains("was not reloaded; the one before stays in force"), "{told}");
        for word in words {
            assert!(told.contains(word), "{word:?} is missing from:\n{told}");
        }
    }
    fs::remove_file(place.path().join("freshk.toml")).unwrap();
    fs::create_dir(place.path().join("freshk.toml")).unwrap();
    assert_eq!(request(&server, "198.51.100.1", "+1234567891").await.0, 200);
    assert_eq!(request(&server, "198.51.100.1", "+1234567892").await.0, 429, "two, as before");
    assert!(server.is_running());
}

#[tokio::test]
async fn keys_that_need_a_restart_are_named_each_time_and_not_taken_over() {
    let twilio = FakeTwilio::start();
    let place = Place::production(&twilio);
    configure(&place, "");
    let mut server = place.start();
    let toml = "[server]\nbody_limit = \"1KiB\"\n[twilio]\nmax_in_flight = 3\n";
    for more in ["", "[limits]\nuser = 4\n"] {
        let told = reload(&mut server, &place, &format!("{toml}{more}"));
        assert!(told.contains("was reloaded"), "{told}");
        let told = server.eventually("what waits", |server| {
            Some(server.stderr.text().split_off(0)).filter(|text| text.contains("need a restart"))
        });
        assert!(told.contains("server.body_limit, twilio.max_in_flight"), "{told}");
    }
    let long = format!("+1234567890{}", " ".repeat(2000));
    assert_ne!(request(&server, "198.51.100.1", &long).await.0, 413, "16 KiB, as before");
}

#[tokio::test]
async fn a_new_secret_logs_nobody_out_and_is_refused_where_it_would() {
    let twilio = FakeTwilio::start();
    let place = Place::production(&twilio).with("SECRET_KEY", "");
    configure(&place, &format!("secret_key = \"{SECRET}\"\n"));
    let mut server = place.start();
    let log_in = async |server: &Server, address: &str, phone: &str| -> Value {
        assert_eq!(request(server, address, phone).await.0, 200);
        let code = sms_code(twilio.requests().last().unwrap());
        verify(server, address, phone, &code).await.1
    };
    let before = log_in(&server, "198.51.100.1", PHONE).await;
    // One whose code is under way when the secret changes.
    assert_eq!(request(&server, "198.51.100.2", "+1234567891").await.0, 200);
    let code = sms_code(twilio.requests().last().unwrap());

    let told = reload(&mut server, &place, &format!("secret_key = \"{OTHER_SECRET}\"\n"));
    assert!(
        told.contains("everybody would be logged out") && told.contains("secret_key_fallbacks"),
        "{told}"
    );
    assert!(!told.contains(OTHER_SECRET), "{told}");

    let both = format!("secret_key = \"{OTHER_SECRET}\"\nsecret_key_fallbacks = [\"{SECRET}\"]\n");
    let told = reload(&mut server, &place, &both);
    assert!(told.contains("secret_key, secret_key_fallbacks") && told.contains("was reloaded"), "{told}");
    assert_eq!(verify(&server, "198.51.100.2", "+1234567891", &code).await.0, 200);
    assert_eq!(status(&server, before["access"].as_str().unwrap()).await, 200);
    let refresh = json!({ "refresh": before["refresh"] });
    let path = "/api/mobile/auth/token/refresh/";
    assert_eq!(answer(client().post(server.url(path)).json(&refresh)).await.0, 200);
    let after = log_in(&server, "198.51.100.3", "+1234567892").await;

    // The new secret alone has signed what came after.
    server.stop();
    configure(&place, &format!("secret_key = \"{OTHER_SECRET}\"\n"));
    let server = place.start();
    assert_eq!(status(&server, after["access"].as_str().unwrap()).await, 200);
    assert_eq!(status(&server, before["access"].as_str().unwrap()).await, 401);
}

#[tokio::test]
async fn a_key_that_was_rotated_signs_after_a_reload() {
    let twilio = FakeTwilio::start();
    let place = Place::production(&twilio);
    place.run("key generate --algorithm EdDSA --out signing.pem");
    let toml = "[tokens]\nalgorithm = \"EdDSA\"\nkey_file = \"signing.pem\"\n";
    configure(&place, toml);
    let mut server = place.start();
    let keys = async |server: &Server| -> Vec<Value> {
        let (_, mut set) = answer(client().get(server.url("/.well-known/jwks.json"))).await;
        std::mem::take(set["keys"].as_array_mut().unwrap())
    };
    let before = keys(&server).await;
    place.run("key rotate");
    reload(&mut server, &place, toml);
    let after = keys(&server).await;
    assert_eq!((before.len(), after.len()), (1, 2));
    assert!(after.contains(&before[0]) && after[0] != before[0], "{after:?}");
}

#[tokio::test]
async fn a_configuration_that_cannot_be_read_to_its_end_keeps_no_later_reload_waiting() {
    let twilio = FakeTwilio::start();
    let place = Place::production(&twilio);
    configure(&place, "[limits]\nip = 2\n");
    let mut server = place.start();
    // A pipe that nobody writes.
    let file = place.path().join("freshk.toml");
    fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    server.signal("HUP");
    server.eventually("the reload to be given up", |server| {
        server.stderr.text().contains("could not be read within").then_some(())
    });
    fs::remove_file(&file).unwrap();
    assert!(reload(&mut server, &place, "[limits]\nip = 3\n").contains("was reloaded"));
}
