//! `kill -9` under load (S29): what was acknowledged is kept in a ledger outside, and held against every restart.
//!
//! `CRASH_ROUNDS` says how many rounds (5), `CRASH_SEED` with which chance (1).
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod audit;
mod backup;
mod burst;
mod ledger;

#[path = "../support/process.rs"]
#[expect(dead_code, reason = "shared with the tests of serve, which use the rest")]
mod process;

#[path = "../support/twilio.rs"]
#[expect(dead_code, unused_imports, reason = "shared with the tests of the adapter, which use the rest")]
mod twilio;

use std::sync::Arc;

use freshk::random::SeededRandom;
use ledger::Ledger;
use process::Place;
use twilio::FakeTwilio;

const BASE: &str = "/api/mobile/auth";

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s29_nothing_acknowledged_is_lost_or_revived_by_a_kill() {
    let rounds = setting("CRASH_ROUNDS", 5);
    let random = SeededRandom::new(setting("CRASH_SEED", 1));
    let twilio = Arc::new(FakeTwilio::start());
    // Without a grace, so that a token of two generations ago is outside the rules at once.
    let place = Place::production(&twilio).with("FRESHK_TOKENS__REUSE_GRACE", "0s");
    let mut ledger = Ledger::default();
    for round in 0..=rounds {
        let server = place.start();
        audit::hold(&mut ledger, &server, &place, &twilio, &random).await;
        if round < rounds {
            let answers = 5 + burst::below(&random, 120);
            burst::run(&mut ledger, server, &twilio, &random, answers).await;
        } else {
            server.stop();
        }
    }
    audit::hold_rows(&ledger, &place, &twilio);
    twilio.assert_conforming();
    println!("{rounds} rounds of kill -9: {}", ledger.figures());
    assert!(ledger.logins > 0 && ledger.in_doubt > 0, "the load was none: {}", ledger.figures());
}
