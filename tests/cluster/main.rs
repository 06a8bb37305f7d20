//! Several servers of one database on `PostgreSQL`, behind whoever picks one of them: what holds for one holds over all.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod backups;
mod cache;
mod chaos;
mod codes;
mod commits;
mod ends;
mod events;
mod frozen;
mod guard;
mod memory;
mod nodes;
mod proxy;

#[path = "../support/postgres.rs"]
#[expect(dead_code, reason = "shared with the tests of the store, which use the rest")]
mod postgres;

#[path = "../support/process.rs"]
#[expect(dead_code, reason = "shared with the crash test, which uses the rest")]
mod process;

#[path = "../support/redis.rs"]
mod redis;

#[path = "../support/sink.rs"]
#[expect(dead_code, reason = "other suites use the rest")]
mod sink;

#[path = "../support/twilio.rs"]
#[expect(dead_code, unused_imports, reason = "shared with the tests of the adapter, which use the rest")]
mod twilio;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use freshk::clock::Stopwatch;
use futures_util::future::join_all;
use postgres::Schema;
use process::{Place, Server};
use serde_json::{Value, json};
use twilio::{FakeTwilio, sms_code};

const BASE: &str = "/api/mobile/auth";
/// Without a comma, so that it can be a fallback.
const SECRET: &str = "a secret for tests of more than thirty-two bytes";
const PHONE: &str = "+1234567890";

/// Nodes of one database, before one Twilio.
struct Cluster {
    twilio: FakeTwilio,
    schema: Schema,
    place: Place,
    nodes: Vec<Server>,
    client: reqwest::Client,
    turn: AtomicUsize,
}

impl Cluster {
    /// Starts three; `None` where there is no `PostgreSQL`.
    fn start() -> Option<Self> {
        Self::with(&[])
    }

    /// The same, with these variables.
    fn with(variables: &[(&str, &str)]) -> Option<Self> {
        Self::of(3, variables)
    }

    /// So many, with these variables.
    fn of(count: usize, variables: &[(&str, &str)]) -> Option<Self> {
        let server = postgres::server()?;
        let (twilio, schema) = (FakeTwilio::start(), server.schema());
        let place = place(&twilio, &schema);
        let place = variables.iter().fold(place, |place, (name, value)| place.with(name, value));
        let nodes = (0..count).map(|_| place.start()).collect();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_mins(1)).build().unwrap();
        Some(Self { twilio, schema, place, nodes, client, turn: AtomicUsize::new(0) })
    }

    /// The configuration of its nodes, with another variable.
    fn place_with(&self, name: &str, value: &str) -> Place {
        place(&self.twilio, &self.schema).with(name, value)
    }

    /// One node after the other.
    fn any(&self) -> &Server {
        &self.nodes[self.turn.fetch_add(1, Ordering::Relaxed) % self.nodes.len()]
    }

    async fn post(&self, node: &Server, ip: &str, path: &str, body: &Value) -> (u16, Value) {
        let call = self.client.post(node.url(&format!("{BASE}{path}")));
        let answer = call.header("x-forwarded-for", ip).json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn request(&self, node: &Server, ip: &str, phone: &str) -> (u16, Value) {
        self.post(node, ip, "/production/request/", &json!({ "phone_number": phone })).await
    }

    async fn verify(&self, node: &Server, ip: &str, otp: &str) -> (u16, Value) {
        let body = json!({ "phone_number": PHONE, "otp": otp });
        self.post(node, ip, "/production/verify/", &body).await
    }

    async fn status(&self, node: &Server, access: &str) -> (u16, Value) {
        let call = self.client.get(node.url(&format!("{BASE}/production/status/")));
        let answer = call.bearer_auth(access).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Asks until the bearer is answered like this; no call that begins later than two seconds after the first may be answered
    /// otherwise. Gives the answer, and how long that took.
    async fn becomes(
        &self,
        node: &Server,
        access: &str,
        is_so: impl Fn(&(u16, Value)) -> bool,
    ) -> (Value, Duration) {
        let begun = Stopwatch::start();
        loop {
            let asked = begun.elapsed();
            let answer = self.status(node, access).await;
            if is_so(&answer) {
                return (answer.1, asked);
            }
            assert!(asked < Duration::from_secs(2), "{answer:?} after {asked:?}");
        }
    }

    /// Asks until the bearer is refused.
    async fn is_out(&self, node: &Server, access: &str) -> Duration {
        self.becomes(node, access, |(status, _)| *status == 401).await.1
    }

    /// The code of the last SMS.
    fn code(&self) -> String {
        sms_code(self.twilio.requests().last().expect("an SMS went out"))
    }

    async fn log_in(&self) -> Value {
        let (status, answer) = self.request(self.any(), "198.51.100.1", PHONE).await;
        assert_eq!(status, 200, "{answer}");
        let (status, answer) = self.verify(self.any(), "198.51.100.1", &self.code()).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    fn count(&self, query: &str) -> usize {
        self.schema.words(query)[0].parse().unwrap()
    }

    /// Waits until it is so.
    async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        for _ in 0..3000 {
            if is_so() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("waited in vain for {what}");
    }
}

/// The configuration of a node.
fn place(twilio: &FakeTwilio, schema: &Schema) -> Place {
    Place::production(twilio)
        .with("SECRET_KEY", SECRET)
        .with("DATABASE_URL", &postgres::server().unwrap().url())
        .with("FRESHK_DATABASE__SCHEMA", schema.name())
        .with("FRESHK_DATABASE__MAX_CONNECTIONS", "6")
        .with("FRESHK_LIMITS__FLOOD_PER_SECOND", "0")
}

/// An address of its own for each call.
fn address(number: usize) -> String {
    format!("203.0.{}.{}", number / 200, number % 200)
}

/// How many calls were answered with each status.
async fn statuses(calls: impl Iterator<Item = impl Future<Output = (u16, Value)>>) -> Vec<(u16, usize)> {
    let mut counts = std::collections::BTreeMap::new();
    for (status, _) in join_all(calls).await {
        *counts.entry(status).or_insert(0) += 1;
    }
    counts.into_iter().collect()
}
