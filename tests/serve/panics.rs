//! A panic is a record in the log like any other, one, with the name of its request (S33).

use std::process::{Command, Stdio};

use freshk::domain::Timestamp;
use freshk::storage::sqlite::{OpenOptions, SqliteStore};
use freshk::storage::{Locks, Store};
use freshk::telemetry::{self, Format};
use serde_json::Value;
use tracing::Instrument as _;

/// What the test below runs in a process of its own, for logs and the panic hook belong to the whole process.
#[test]
#[ignore = "the child of s33_a_panic_is_one_json_object"]
#[should_panic(expected = "first line")]
fn panics() {
    let _logging = telemetry::init("info", Format::Json, None, None).unwrap();
    panic!("first line\nsecond line");
}

/// On the writer's thread and on a reader's, far from the request.
#[tokio::test]
#[ignore = "the child of s33_a_panic_in_the_database_is_one_record_of_its_request"]
async fn panics_in_the_database() {
    let _logging = telemetry::init("info", Format::Json, None, None).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let options = OpenOptions::new(dir.path().join("freshk.db"), Timestamp::from_millis(0));
    let store = Store::new(SqliteStore::open(options).unwrap());
    let write = store.write::<(), _>(Locks::none(), |_| panic!("in a write"));
    let read = store.read::<(), _>(|_| panic!("in a read"));
    let request = tracing::error_span!("request", request_id = "r1");
    let faults = async { (write.await.is_err(), read.await.is_err()) }.instrument(request).await;
    assert_eq!(faults, (true, true));
}

/// The records that a test writes in a process of its own.
fn logged(name: &str) -> Vec<Value> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("panics::{name}"), "--ignored", "--nocapture"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let logged = String::from_utf8(output.stderr).unwrap();
    logged.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

#[test]
fn s33_a_panic_is_one_json_object() {
    let lines = logged("panics");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["level"], "ERROR");
    assert_eq!(lines[0]["text"], "first line\nsecond line");
    assert!(lines[0]["place"].as_str().unwrap().contains("panics.rs:"), "{lines:?}");
}

#[test]
fn s33_a_panic_in_the_database_is_one_record_of_its_request() {
    let lines = logged("panics_in_the_database");
    let panics = lines.iter().filter(|line| line["message"] == "a panic");
    let told: Vec<_> = panics.map(|line| (&line["text"], &line["request_id"])).collect();
    assert_eq!(
        told,
        [(&"in a write".into(), &"r1".into()), (&"in a read".into(), &"r1".into())],
        "{lines:?}"
    );
}
