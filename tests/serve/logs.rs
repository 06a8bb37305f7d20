//! The log in files, from the first request to the last line.

use std::fs;

use serde_json::{Value, json};

use crate::process::Place;
use crate::twilio::FakeTwilio;
use crate::{PHONE, REQUEST, client};

#[tokio::test]
async fn a_request_just_before_the_end_is_in_the_file() {
    let twilio = FakeTwilio::start();
    let place = Place::production(&twilio)
        .with("FRESHK_LOG__FILE", "logs/debug.log")
        .with("FRESHK_LOG__KEEP", "1")
        .with("FRESHK_LOG__LEVEL", "info,freshk::http=debug");
    let logs = place.path().join("logs");
    fs::create_dir(&logs).unwrap();
    for name in ["debug.2020-01-01.log", "debug.notes.log"] {
        fs::write(logs.join(name), "x").unwrap();
    }
    let server = place.start();
    let body = json!({ "phone_number": PHONE });
    let sent = client().post(server.url(REQUEST)).json(&body).send().await.unwrap();
    let id = sent.headers()["x-request-id"].to_str().unwrap().to_owned();
    server.stop();

    let today = fs::read_link(logs.join("debug.log")).unwrap();
    let today = today.file_name().unwrap().to_str().unwrap();
    let mut names: Vec<_> =
        fs::read_dir(&logs).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, [today, "debug.log", "debug.notes.log"], "one day is kept, and what is not ours");
    let text = fs::read_to_string(logs.join("debug.log")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let request = lines.iter().find(|line| line["request_id"] == id.as_str() && line["status"] == 200);
    assert!(request.is_some(), "{id} is not in\n{text}");
    assert_eq!(lines.last().unwrap()["message"], "stopped", "{text}");
    assert!(!text.contains(PHONE), "{text}");
}
