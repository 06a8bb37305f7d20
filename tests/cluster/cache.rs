//! What several nodes count together in a cache, and that nothing else depends on it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::process::Server;
use crate::redis::Redis;
use crate::{Cluster, PHONE};

const BURST: usize = 20;
const IN_USE: &str = "the cache is in use";
const LOST: &str = "the cache is lost";

/// Nodes that take one request a second of an address, and a burst.
async fn start(redis: &Redis) -> Option<Cluster> {
    let cluster = Cluster::with(&[
        ("FRESHK_CACHE__URL", &redis.url()),
        ("FRESHK_LIMITS__FLOOD_PER_SECOND", "1"),
        ("FRESHK_LIMITS__FLOOD_BURST", &BURST.to_string()),
    ])?;
    for node in &cluster.nodes {
        cluster.until("the cache to be in use", || says(node, IN_USE) > 0).await;
    }
    Some(cluster)
}

/// How often a node's log has said something.
fn says(node: &Server, words: &str) -> usize {
    node.stderr.text().matches(words).count()
}

/// How many of as many calls as all nodes let pass by themselves are let pass.
async fn passed(cluster: &Cluster, ip: &str) -> usize {
    let mut passed = 0;
    for _ in 0..cluster.nodes.len() * BURST {
        let call = cluster.client.get(cluster.any().url("/api/mobile/auth/production/status/"));
        let status = call.header("x-forwarded-for", ip).send().await.unwrap().status();
        passed += usize::from(status == 401);
        assert!(status == 401 || status == 429, "{status}");
    }
    passed
}

/// The clock, and an answer that came too late, let a few more pass.
const A_FEW: usize = 15;

#[tokio::test(flavor = "multi_thread")]
async fn the_pace_of_an_address_holds_over_all_nodes_while_the_cache_is_there_and_on_each_without() {
    let Some(redis) = Redis::start() else { return };
    let Some(cluster) = start(&redis).await else { return };
    let shared = passed(&cluster, "203.0.113.7").await;
    assert!((BURST..BURST + A_FEW).contains(&shared), "{shared}");

    redis.signal("STOP");
    assert_eq!(passed(&cluster, "203.0.113.8").await, 3 * BURST, "one that hangs refuses nobody");
    for node in &cluster.nodes {
        cluster.until("the loss to be told", || says(node, LOST) == 1).await;
    }
    let again = redis.kill();
    assert_eq!(passed(&cluster, "203.0.113.9").await, 3 * BURST, "nor one that has ended");
    let _redis = again();
    for node in &cluster.nodes {
        cluster.until("its return", || says(node, IN_USE) == 2).await;
        assert_eq!(says(node, LOST), 1, "{}", node.stderr.text());
    }
    let shared = passed(&cluster, "203.0.113.10").await;
    assert!((BURST..BURST + A_FEW).contains(&shared), "{shared}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_ledger_refused_on_one_node_another_refuses_without_it() {
    let Some(redis) = Redis::start() else { return };
    let Some(cluster) = start(&redis).await else { return };
    let [first, second, _] = &cluster.nodes[..] else { panic!("three") };
    // An answer that comes too late sends the call to the ledger: then once more.
    for attempt in 0..5 {
        let ip = format!("198.51.100.{attempt}");
        for _ in 0..5 {
            cluster.request(first, &ip, PHONE).await;
        }
        let mut session = cluster.schema.session();
        let (mut input, output) = (session.stdin.take().unwrap(), session.stdout.take().unwrap());
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        assert_eq!(cluster.request(first, &ip, PHONE).await.0, 429);
        writeln!(input, "BEGIN; LOCK TABLE spends; SELECT 'locked';").unwrap();
        assert!(lines.any(|line| line == "locked"));
        let refused = timeout(Duration::from_secs(3), cluster.request(second, &ip, PHONE)).await;
        drop(input);
        session.wait().unwrap();
        let Ok((status, answer)) = refused else { continue };
        assert_eq!((status, answer["code"].as_str()), (429, Some("rate_limited")), "{answer}");
        assert!(answer["retry_after"].as_u64().is_some_and(|wait| wait > 3000), "{answer}");
        return;
    }
    panic!("the other node asked the ledger each time");
}

#[tokio::test(flavor = "multi_thread")]
async fn s34_the_cache_names_nobody_and_forgets_everything() {
    let Some(redis) = Redis::start() else { return };
    let Some(cluster) = start(&redis).await else { return };
    let calls = (0..12).map(|_| cluster.request(cluster.any(), "203.0.113.7", PHONE));
    join_all(calls).await;
    cluster.request(&cluster.nodes[0], "203.0.113.7", PHONE).await;
    let keys = redis.ask(&["--scan"]);
    assert!(!keys.is_empty());
    for key in keys {
        let (left, value) = (redis.ask(&["PTTL", &key]), redis.ask(&["GET", &key]));
        assert!(key.starts_with("freshk:"), "{key}");
        // -2 is one that has gone meanwhile.
        let left: i64 = left[0].parse().unwrap();
        assert!((0..=21_000).contains(&left) || left == -2, "{key} {left}");
        for told in [key, value.concat()] {
            assert!(!told.contains("203.0.113") && !told.contains("1234567890"), "{told}");
        }
    }
    let checked = cluster.place.tool("check --offline").output().unwrap();
    let text = String::from_utf8(checked.stdout).unwrap();
    assert!(text.contains(&redis.url()) && text.contains("answers in"), "{text}");
    drop(redis);
    let checked = cluster.place.tool("check --offline").output().unwrap();
    let text = String::from_utf8(checked.stdout).unwrap();
    assert!(text.contains("each server limits by itself"), "{text}");
}
