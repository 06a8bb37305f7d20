//! A panic is a record in the log like any other (S33).

use std::process::{Command, Stdio};

use freshk::telemetry::{self, Format};
use serde_json::Value;

/// What the test below runs in a process of its own, for logs and the panic hook belong to the whole process.
#[test]
#[ignore = "the child of s33_a_panic_is_one_json_object"]
#[should_panic(expected = "first line")]
fn panics() {
    let _logging = telemetry::init("info", Format::Json, None).unwrap();
    panic!("first line\nsecond line");
}

#[test]
fn s33_a_panic_is_one_json_object() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "panics::panics", "--ignored", "--nocapture"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let logged = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<Value> = logged.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(lines.len(), 1, "{logged}");
    assert_eq!(lines[0]["level"], "ERROR");
    assert_eq!(lines[0]["text"], "first line\nsecond line");
    assert!(lines[0]["place"].as_str().unwrap().contains("panics.rs:"), "{logged}");
}
