//! One phone that everybody asks for, beside people who log in at an even pace: what that does to them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::client::{Call, Connection, Target};
use crate::sink::Sink;

/// For how many seconds people log in.
const SECONDS: u32 = 10;

/// Connections that ask for the hot phone, by turns: far more than the messages that a server sends at once, which are kept for those
/// who buy one.
const ASKING: usize = 200;

/// Measures logins without the hot phone and with it, and prints both.
pub(crate) async fn beside_others(target: &Target, sink: &Arc<Sink>, (calls, pace): (usize, u32)) {
    println!("\n{pace} logins a second for {SECONDS} s, without and with {calls} calls for one phone:");
    for (name, calls) in [("without", 0), ("with", calls)] {
        let asking: Vec<_> = (0..ASKING)
            .map(|at| tokio::spawn(ask(target.address.clone(), (at..calls).step_by(ASKING))))
            .collect();
        let (mut requests, mut verifies) = log_in(target, sink, (name, pace)).await;
        let mut answers = 0;
        for asking in asking {
            answers += asking.await.expect("nobody panics");
        }
        requests.sort_unstable();
        verifies.sort_unstable();
        let ms = |all: &[Duration], percent: usize| {
            all[(all.len() * percent / 100).min(all.len() - 1)].as_secs_f64() * 1000.0
        };
        println!(
            "{name:<8} request p50 {:.1} ms, p99 {:.1} ms; verify p50 {:.1} ms, p99 {:.1} ms; {answers} calls for the hot phone answered",
            ms(&requests, 50),
            ms(&requests, 99),
            ms(&verifies, 50),
            ms(&verifies, 99),
        );
    }
}

/// Asks for a code for the hot phone, again and again, each time from another address; gives how many were answered.
async fn ask(address: String, calls: impl Iterator<Item = usize>) -> usize {
    let (mut connection, mut answers) = (Connection::open(&address).await, 0);
    for n in calls {
        let call = Call::post(
            "/api/mobile/auth/production/request/",
            100_000 + n,
            r#"{"phone_number":"+19995550000"}"#,
        );
        // The first three buy a message or follow one that does, the rest are refused.
        let (status, _) = call.made_on(&mut connection).await;
        assert!(status == 200 || status == 429, "{status}");
        answers += 1;
    }
    answers
}

/// Has people log in at an even pace; gives how long each request and each verify took.
async fn log_in(
    target: &Target,
    sink: &Arc<Sink>,
    (round, pace): (&str, u32),
) -> (Vec<Duration>, Vec<Duration>) {
    let mut ticks = interval(Duration::from_secs(1) / pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut people = Vec::new();
    let first = if round == "without" { 0 } else { 50_000 };
    for n in 0..pace * SECONDS {
        ticks.tick().await;
        let (address, sink) = (target.address.clone(), Arc::clone(sink));
        people.push(tokio::spawn(async move {
            let n = first + n as usize;
            let (mut connection, phone) = (Connection::open(&address).await, format!("+1888{n:08}"));
            let body = format!(r#"{{"phone_number":"{phone}"}}"#);
            let watch = crate::watch();
            let call = Call::post("/api/mobile/auth/production/request/", 200_000 + n, &body);
            assert_eq!(call.made_on(&mut connection).await.0, 200);
            let request = watch.elapsed();
            let code = sink.code(&phone).expect("the request was sent");
            let body = format!(r#"{{"phone_number":"{phone}","otp":"{code}"}}"#);
            let watch = crate::watch();
            let call = Call::post("/api/mobile/auth/production/verify/", 200_000 + n, &body);
            assert_eq!(call.made_on(&mut connection).await.0, 200);
            (request, watch.elapsed())
        }));
    }
    let mut took = Vec::new();
    for person in people {
        took.push(person.await.expect("everybody gets in"));
    }
    took.into_iter().unzip()
}
