//! Nodes that are killed and a database that crashes, under load, and a ledger outside of what was acknowledged: nothing of it is
//! lost, no code is good twice, nobody is logged out, and nobody who logged out is in again.
//!
//! `CHAOS_KILLS=500 CHAOS_CRASHES=50 cargo test --test cluster chaos -- --nocapture` is the long form.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use freshk::clock::Stopwatch;
use serde_json::{Value, json};

use crate::process::Server;
use crate::twilio::{FakeTwilio, sms_code};
use crate::{BASE, Cluster, postgres};

const PEOPLE: usize = 8;

/// What the people know.
struct World {
    nodes: RwLock<Vec<String>>,
    twilio: FakeTwilio,
    client: reqwest::Client,
    turn: AtomicUsize,
    is_over: AtomicBool,
    /// Calls that were answered as they should be.
    acknowledged: AtomicUsize,
    /// Calls that were repeated, because nobody answered or the server could not.
    repeated: AtomicUsize,
    logins: AtomicUsize,
    /// Access tokens of sessions whose logout was acknowledged.
    ended: Mutex<Vec<String>>,
}

impl World {
    /// One node after the other.
    fn node(&self) -> String {
        let nodes = self.nodes.read().unwrap();
        nodes[self.turn.fetch_add(1, Ordering::Relaxed) % nodes.len()].clone()
    }

    /// Calls until somebody answers; gives the answer, and whether an attempt before it is in doubt.
    async fn call(&self, build: impl Fn(&str) -> reqwest::RequestBuilder) -> (u16, Value, bool) {
        for attempt in 0..3000 {
            if let Ok(answer) = build(&self.node()).send().await {
                let status = answer.status().as_u16();
                if let Ok(body) = answer.json().await
                    && status < 500
                {
                    self.acknowledged.fetch_add(1, Ordering::Relaxed);
                    return (status, body, attempt > 0);
                }
            }
            self.repeated.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("nobody answers");
    }

    async fn post(&self, path: &str, key: &str, body: &Value) -> (u16, Value, bool) {
        let post = |node: &str| {
            let call = self.client.post(format!("{node}{BASE}{path}")).json(body);
            if key.is_empty() { call } else { call.header("idempotency-key", key) }
        };
        self.call(post).await
    }

    async fn status(&self, access: &str) -> u16 {
        let path = format!("{BASE}/production/status/");
        self.call(|node| self.client.get(format!("{node}{path}")).bearer_auth(access)).await.0
    }

    /// Asks until the bearer is refused, by whichever node; no call may be answered otherwise that begins two seconds after the
    /// first.
    async fn is_out(&self, access: &str) {
        let begun = Stopwatch::start();
        loop {
            let asked = begun.elapsed();
            match self.status(access).await {
                401 => return,
                status => assert!(asked < Duration::from_secs(2), "{status} after {asked:?}"),
            }
        }
    }

    /// The code of the last message to a phone.
    fn code(&self, phone: &str) -> String {
        let messages = self.twilio.requests();
        sms_code(messages.iter().rev().find(|message| message.field("To") == Some(phone)).unwrap())
    }

    /// Somebody logs in, refreshes and logs out, again and again.
    async fn live(&self, phone: String) {
        let mut login = 0;
        while !self.is_over.load(Ordering::Relaxed) {
            login += 1;
            let (status, answer, _) =
                self.post("/production/request/", "", &json!({ "phone_number": phone })).await;
            assert_eq!(status, 200, "{phone} may have a code: {answer}");
            let body = json!({ "phone_number": phone, "otp": self.code(&phone) });
            let key = format!("login-{login}-of-{phone}");
            let (status, answer, _) = self.post("/production/verify/", &key, &body).await;
            assert_eq!(status, 200, "the code of {phone} is good: {answer}");
            self.logins.fetch_add(1, Ordering::Relaxed);
            let (status, again, _) = self.post("/production/verify/", "", &body).await;
            assert_eq!(status, 400, "the code of {phone} was used: {again}");
            let mut pair = answer;
            for _ in 0..3 {
                let (status, next, _) =
                    self.post("/token/refresh/", "", &json!({ "refresh": pair["refresh"] })).await;
                assert_eq!(status, 200, "{phone} stays logged in: {next}");
                pair = next;
                assert_eq!(self.status(pair["access"].as_str().unwrap()).await, 200, "{phone} is in");
            }
            let (status, answer, in_doubt) =
                self.post("/logout/", "", &json!({ "refresh": pair["refresh"] })).await;
            // One that was in doubt may have ended it.
            assert!(status == 200 || (in_doubt && status == 401), "{phone} logs out: {status} {answer}");
            let access = pair["access"].as_str().unwrap().to_owned();
            self.is_out(&access).await;
            self.ended.lock().unwrap().push(access);
        }
    }
}

fn times(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |times| times.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn s29_kills_of_nodes_and_crashes_of_the_database_lose_nothing_that_was_acknowledged() {
    let (kills, crashes) = (times("CHAOS_KILLS", 6), times("CHAOS_CRASHES", 2));
    let Some(server) = postgres::fragile() else { return };
    let off = |key: &'static str| (key, "0");
    let Some(cluster) = Cluster::of(
        3,
        &[
            ("DATABASE_URL", &server.url()),
            ("FRESHK_TOKENS__ACCESS_TTL", "1d"),
            off("FRESHK_LIMITS__IP"),
            off("FRESHK_LIMITS__USER"),
            off("FRESHK_LIMITS__USER_PER_DAY"),
        ],
    ) else {
        return;
    };
    let schema = server.named(cluster.schema.name());
    let Cluster { twilio, place, mut nodes, client, .. } = cluster;
    let world = Arc::new(World {
        nodes: RwLock::new(nodes.iter().map(|node| node.url("")).collect()),
        twilio,
        client,
        turn: AtomicUsize::new(0),
        is_over: AtomicBool::new(false),
        acknowledged: AtomicUsize::new(0),
        repeated: AtomicUsize::new(0),
        logins: AtomicUsize::new(0),
        ended: Mutex::default(),
    });
    let people: Vec<_> = (0..PEOPLE)
        .map(|number| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.live(format!("+1999555{number:04}")).await })
        })
        .collect();
    let faults = kills + crashes;
    for fault in 0..faults {
        // Everybody is at it.
        let before = world.acknowledged.load(Ordering::Relaxed);
        while world.acknowledged.load(Ordering::Relaxed) < before + 2 * PEOPLE {
            assert!(people.iter().all(|person| !person.is_finished()), "somebody was wronged");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Crashes at equal distances among the kills.
        if fault * crashes / faults == (fault + 1) * crashes / faults {
            let at = fault % nodes.len();
            let fresh = tokio::task::block_in_place(|| {
                let killed: Server = nodes.swap_remove(at);
                assert!(!killed.stderr.text().contains("panicked"), "{}", killed.stderr.text());
                killed.kill();
                place.start()
            });
            nodes.push(fresh);
            *world.nodes.write().unwrap() = nodes.iter().map(|node| node.url("")).collect();
        } else {
            tokio::task::block_in_place(|| server.crash());
        }
    }
    world.is_over.store(true, Ordering::Relaxed);
    for person in people {
        person.await.unwrap();
    }
    let ended = std::mem::take(&mut *world.ended.lock().unwrap());
    for access in &ended {
        world.is_out(access).await;
    }
    let count = |query: &str| -> usize { schema.words(query)[0].parse().unwrap() };
    assert_eq!(count("SELECT count(*) FROM sessions"), ended.len(), "one for each login");
    assert_eq!(count("SELECT count(*) FROM sessions WHERE ended_at IS NULL"), 0);
    assert_eq!(count("SELECT count(*) FROM challenges WHERE used_at IS NOT NULL"), ended.len());
    eprintln!(
        "{kills} kills, {crashes} crashes: {} calls acknowledged, {} repeated, {} logins, {} messages",
        world.acknowledged.load(Ordering::Relaxed),
        world.repeated.load(Ordering::Relaxed),
        world.logins.load(Ordering::Relaxed),
        world.twilio.requests().len(),
    );
}
