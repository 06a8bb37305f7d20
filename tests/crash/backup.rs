//! A backup taken under load (S31): whole, with all that was acknowledged before it began, and good to go on from.

use std::sync::Arc;

use freshk::random::SeededRandom;
use serde_json::json;

use crate::burst::{self, Client, fresh_address};
use crate::ledger::Ledger;
use crate::process::Place;
use crate::twilio::{FakeTwilio, sms_code};
use crate::{audit, setting};

/// Answers of the load under which the backups are taken.
const LOAD: u64 = 600;

const LATE: &str = "+15005550006";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s31_a_backup_taken_under_load_is_whole_and_people_log_in_on_it() {
    let random = SeededRandom::new(setting("CRASH_SEED", 1));
    let twilio = Arc::new(FakeTwilio::start());
    let place = Place::production(&twilio).with("FRESHK_TOKENS__REUSE_GRACE", "0s");
    let mut ledger = Ledger::default();
    burst::run(&mut ledger, place.start(), &twilio, &random, LOAD / 4).await;
    let acknowledged = ledger.phones.len();

    let server = place.start();
    let backing_up = {
        let mut backup = place.tool("db backup backup.db");
        std::thread::spawn(move || backup.output().unwrap())
    };
    burst::run(&mut ledger, server, &twilio, &random, LOAD).await;
    let output = backing_up.join().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    ledger.phones.truncate(acknowledged);

    place.run("db restore backup.db --yes");
    let server = place.start();
    audit::hold(&mut ledger, &server, &place, &twilio, &random).await;
    assert!(ledger.checks > 0);
    let client = Client::new(&server);
    let post = async |path: &str, body| {
        let answered = client.post(&fresh_address(&random), path, &body).await;
        let Ok((status, answer)) = answered else { panic!("the restored server does not answer") };
        assert_eq!(status, 200, "{answer}");
    };
    post("/production/request/", json!({ "phone_number": LATE })).await;
    let requests = twilio.requests();
    let code = sms_code(requests.iter().rev().find(|sms| sms.field("To") == Some(LATE)).unwrap());
    post("/production/verify/", json!({ "phone_number": LATE, "otp": code })).await;
    server.stop();
}
