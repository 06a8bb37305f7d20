//! A node that is halted and wakes up, and nodes whose own clock is wrong.

use std::io::{self, Write as _};
use std::path::Path;

use serde_json::json;

use crate::process::Server;
use crate::{Cluster, PHONE};

/// The connections by which nodes live: the oldest node's is what the server ends when it has been silent for ten seconds.
const FORGET_THE_OLDEST: &str =
    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted
    AND classid::bigint = (SELECT lock >> 32 & 4294967295 FROM nodes ORDER BY started_at LIMIT 1)
    AND objid::bigint = (SELECT lock & 4294967295 FROM nodes ORDER BY started_at LIMIT 1)";

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_halted_sends_nothing_twice_and_settles_what_it_led() {
    let Some(cluster) = Cluster::start() else { return };
    let halted = &cluster.nodes[0];
    cluster.twilio.hold();
    let led = cluster.request(halted, "198.51.100.1", PHONE);
    let others = async {
        cluster.until("the SMS", || cluster.twilio.requests().len() == 1).await;
        halted.signal("STOP");
        cluster.schema.sql(FORGET_THE_OLDEST).unwrap();
        // To the others it has ended: what it sends may arrive or not.
        let newcomer = cluster.place.start();
        assert_eq!(cluster.schema.words("SELECT state FROM challenges"), ["unknown"]);
        cluster.twilio.release();
        let code = cluster.code();
        let (status, login) = cluster.verify(&newcomer, "198.51.100.2", &code).await;
        assert_eq!(status, 200, "the code is good: {login}");
        let (status, _) = cluster.request(&newcomer, "198.51.100.2", PHONE).await;
        assert_eq!(status, 200);
        halted.signal("CONT");
        (newcomer, login)
    };
    let (answer, (newcomer, login)) = tokio::join!(led, others);
    assert!(matches!(answer.0, 200 | 500), "{}", answer.1);
    assert_eq!(cluster.twilio.requests().len(), 2, "one for each request");
    // The code of the second request is good, whatever the halted node has written of the first.
    assert_eq!(cluster.verify(halted, "198.51.100.3", &cluster.code()).await.0, 200);
    let sessions = cluster.count("SELECT count(*) FROM sessions WHERE ended_at IS NULL");
    assert_eq!(sessions, 2);
    assert_eq!(cluster.status(halted, login["access"].as_str().unwrap()).await.0, 200);
    newcomer.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_halted_serves_no_session_that_ended_meanwhile() {
    let Some(cluster) = Cluster::start() else { return };
    let [halted, other, _] = &cluster.nodes[..] else { panic!("three") };
    let login = cluster.log_in().await;
    let (access, body) = (login["access"].as_str().unwrap(), json!({ "refresh": login["refresh"] }));
    assert_eq!(cluster.status(halted, access).await.0, 200);
    assert_eq!(cluster.status(halted, access).await.0, 200, "from memory");
    halted.signal("STOP");
    assert_eq!(cluster.post(other, "198.51.100.1", "/logout/", &body).await.0, 200);
    // What it has in memory is worth nothing when it wakes up, before it has heard anything.
    cluster.schema.sql("SELECT pg_sleep(2)").unwrap();
    halted.signal("CONT");
    assert_eq!(cluster.status(halted, access).await.0, 401);
    assert_eq!(cluster.post(halted, "198.51.100.1", "/token/refresh/", &body).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_whose_clocks_are_two_minutes_off_serve_as_one() {
    let folders = ["x86_64-linux-gnu", "aarch64-linux-gnu"];
    let libraries = folders.map(|folder| format!("/usr/lib/{folder}/faketime/libfaketime.so.1"));
    let Some(library) = libraries.iter().find(|library| Path::new(library).exists()) else {
        let told = "\nlibfaketime is not installed here: A TEST OF WRONG CLOCKS DID NOT RUN (apt-get install libfaketime)\n";
        drop(io::stderr().write_all(told.as_bytes()));
        assert!(std::env::var_os("TEST_REDIS").is_none(), "{told}");
        return;
    };
    let Some(mut cluster) = Cluster::of(1, &[]) else { return };
    for offset in ["+120", "-120"] {
        let mut command = cluster.place.command();
        command.env("LD_PRELOAD", library).env("FAKETIME", offset).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        cluster.nodes.push(Server::start(command));
    }
    // Each asks for a code on one, gives it to the next, and refreshes on the third.
    for turn in 0..3 {
        let node = |step: usize| &cluster.nodes[(turn + step) % 3];
        assert_eq!(cluster.request(node(0), "198.51.100.1", PHONE).await.0, 200);
        let (status, login) = cluster.verify(node(1), "198.51.100.1", &cluster.code()).await;
        assert_eq!(status, 200, "{login}");
        let body = json!({ "refresh": login["refresh"] });
        let (status, pair) = cluster.post(node(2), "198.51.100.1", "/token/refresh/", &body).await;
        assert_eq!(status, 200, "{pair}");
        for step in 0..3 {
            assert_eq!(cluster.status(node(step), pair["access"].as_str().unwrap()).await.0, 200);
        }
    }
    // The phone has had its three, and each node says alike how long that lasts.
    let mut waits = Vec::new();
    for node in &cluster.nodes {
        let (status, answer) = cluster.request(node, "198.51.100.9", PHONE).await;
        assert_eq!(status, 429, "{answer}");
        waits.push(answer["retry_after"].as_i64().unwrap());
    }
    let apart = waits.iter().max().unwrap() - waits.iter().min().unwrap();
    assert!(apart < 60 && waits.iter().all(|wait| (3000..=3600).contains(wait)), "{waits:?}");
    for node in &cluster.nodes[1..] {
        cluster.until("the clock to be told of", || node.stderr.text().contains("clock")).await;
    }
}
