//! Memory of sessions over several nodes: it spares the database, and believes nothing that ended elsewhere.

use std::io::{BufRead as _, BufReader, Write as _};
use std::time::Duration;

use serde_json::json;

use crate::proxy::Proxy;
use crate::{Cluster, postgres};

/// Everybody may ask for as many codes as this takes.
const UNLIMITED: [(&str, &str); 3] =
    [("FRESHK_LIMITS__IP", "0"), ("FRESHK_LIMITS__USER", "0"), ("FRESHK_LIMITS__USER_PER_DAY", "0")];

#[tokio::test(flavor = "multi_thread")]
async fn a_session_in_memory_needs_no_database_unless_tokens_are_strict() {
    let Some(cluster) = Cluster::of(1, &[]) else { return };
    let strict = cluster.place_with("FRESHK_TOKENS__STRICT", "true").start();
    let node = &cluster.nodes[0];
    let login = cluster.log_in().await;
    let access = login["access"].as_str().unwrap();
    // The first use is noted, and what was noted is read once more.
    assert_eq!(cluster.status(node, access).await.0, 200);
    let noted = || cluster.schema.words("SELECT generation_used FROM sessions") == ["1"];
    cluster.until("the use to be noted", noted).await;
    for node in [node, &strict] {
        assert_eq!(cluster.status(node, access).await.0, 200);
    }
    let mut holder = cluster.schema.session();
    let mut input = holder.stdin.take().unwrap();
    writeln!(input, "BEGIN; LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE; SELECT 'locked';").unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "locked");
    let mut answers = Vec::new();
    // On a busy machine memory may not be believed for a moment.
    while answers.last() != Some(&200) && answers.len() < 10 {
        answers.push(cluster.status(node, access).await.0);
    }
    assert_eq!(answers.last(), Some(&200), "{answers:?}");
    assert_eq!(cluster.status(&strict, access).await.0, 503);
    drop(input);
    holder.wait().unwrap();
    assert_eq!(cluster.status(&strict, access).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn s17_what_ends_elsewhere_is_refused_within_two_seconds_also_where_nothing_is_heard() {
    let Some(server) = postgres::server() else { return };
    let Some(cluster) = Cluster::of(1, &UNLIMITED) else { return };
    let proxy = Proxy::before(server.socket());
    let deaf = cluster.place_with("DATABASE_URL", &postgres::url_on(proxy.port())).start();
    let rounds = std::env::var("MEMORY_ROUNDS").map_or(2, |rounds| rounds.parse().unwrap());
    for is_deaf in [false, true] {
        let mut took = Vec::new();
        for _ in 0..rounds {
            proxy.deafen(false);
            let login = cluster.log_in().await;
            let access = login["access"].as_str().unwrap();
            assert_eq!(cluster.status(&deaf, access).await.0, 200);
            let unused = "SELECT count(*) FROM sessions WHERE NOT generation_used";
            cluster.until("the use to be noted", || cluster.count(unused) == 0).await;
            assert_eq!(cluster.status(&deaf, access).await.0, 200, "and remembered");
            proxy.deafen(is_deaf);
            let body = json!({ "refresh": login["refresh"] });
            assert_eq!(cluster.post(&cluster.nodes[0], "198.51.100.1", "/logout/", &body).await.0, 200);
            took.push(cluster.is_out(&deaf, access).await);
        }
        took.sort();
        let of = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)];
        eprintln!("deaf: {is_deaf}; heard after p50 {:?}, p99 {:?}, at most {:?}", of(50), of(99), of(100));
        assert!(took.iter().all(|took| *took <= Duration::from_secs(2)));
    }
    let told = || deaf.stderr.text().contains("what other servers end is not heard");
    cluster.until("the operator to be told", told).await;
    // Nobody waits for that: what memory may not say is read.
    let login = cluster.log_in().await;
    assert_eq!(cluster.status(&deaf, login["access"].as_str().unwrap()).await.0, 200);
    proxy.deafen(false);
    cluster.until("it to hear again", || deaf.stderr.text().contains("is heard again")).await;
}
